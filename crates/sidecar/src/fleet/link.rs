//! How NATS is come to: servers, credentials, certificates; and the streams that are there.

use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::stream::{self, Republish, StorageType, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions, Event};
use tokio::sync::mpsc;

use super::Membership;

/// Longest wait for an answer of the bus.
pub(super) const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Longest wait for what is done again if it fails. A cluster that chooses who leads answers nothing meanwhile, and not later either.
const TRIES_FOR: Duration = Duration::from_secs(2);

/// How soon the bus is tried again, and how late at most.
const AGAIN: Duration = Duration::from_millis(100);
const AGAIN_AT_MOST: Duration = Duration::from_secs(2);

/// Largest file of credentials, in bytes.
const MAX_CREDENTIALS: u64 = 64 << 10;

/// Comes to the bus, now or as soon as it is there; `events` hears of each time that it is reached or lost.
///
/// # Errors
///
/// In words: credentials or certificates that cannot be read, servers that cannot be.
pub(super) async fn come(
    membership: &Membership,
    events: mpsc::UnboundedSender<Event>,
) -> Result<Client, String> {
    let mut options = ConnectOptions::new()
        .name(format!("tradewind {}", membership.member))
        .retry_on_initial_connect()
        .request_timeout(Some(TRIES_FOR))
        .reconnect_delay_callback(|attempts| {
            let doubled = AGAIN.saturating_mul(1 << attempts.min(8));
            doubled.min(AGAIN_AT_MOST)
        })
        .event_callback(move |event| {
            let events = events.clone();
            async move {
                // Nobody hears it when this ends.
                drop(events.send(event));
            }
        });
    if let Some(path) = &membership.credentials {
        options = with_credentials(options, path)?;
    }
    if let Some(path) = &membership.ca {
        options = options.add_root_certificates(path.clone());
    }
    let is_tls = |it: &String| it.starts_with("tls://");
    if membership.ca.is_some() || membership.servers.iter().any(is_tls) {
        options = options.require_tls(true);
    }
    let connecting = options.connect(membership.servers.clone());
    connecting.await.map_err(|error| error.to_string())
}

/// What the bus keeps.
pub(super) fn jetstream(client: &Client) -> Context {
    let mut context = jetstream::new(client.clone());
    context.set_timeout(TRIES_FOR);
    context
}

/// A stream of one subject in files, whose messages the server hands on to all who listen to another.
pub(super) fn republished(subject: String, heard: String) -> stream::Config {
    stream::Config {
        subjects: vec![subject.clone()],
        storage: StorageType::File,
        republish: Some(Republish {
            source: subject,
            destination: heard,
            headers_only: false,
        }),
        ..stream::Config::default()
    }
}

/// Opens a stream, or makes it where there is none, kept by as many servers as this sidecar was told.
///
/// # Errors
///
/// In words: the bus does not have it, and does not let it be made.
pub(super) async fn stream(
    context: &Context,
    membership: &Membership,
    config: stream::Config,
) -> Result<Stream, String> {
    let replicas = usize::from(membership.replicas);
    let config = stream::Config {
        num_replicas: replicas,
        ..config
    };
    let name = config.name.clone();
    let opened = context.get_or_create_stream(config).await;
    let stream = opened.map_err(|error| format!("the stream {name} cannot be had: {error}"))?;
    let kept = stream.cached_info().config.num_replicas;
    if kept < replicas {
        tracing::warn!(
            stream = name,
            kept,
            wanted = replicas,
            "fewer servers of the bus keep a stream than this sidecar was told; `nats stream edit --replicas` changes that"
        );
    }
    Ok(stream)
}

fn with_credentials(options: ConnectOptions, path: &Path) -> Result<ConnectOptions, String> {
    let shown = path.display();
    let is_large = std::fs::metadata(path).is_ok_and(|it| it.len() > MAX_CREDENTIALS);
    if is_large {
        return Err(format!(
            "{shown} has more than {MAX_CREDENTIALS} bytes, which no credentials have"
        ));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let seed = text.trim();
    if seed.starts_with('S') && !seed.contains(char::is_whitespace) {
        return Ok(options.nkey(seed.to_owned()));
    }
    let read = options.credentials(&text);
    read.map_err(|error| {
        format!("{shown} has no credentials of NATS and no seed of an NKey: {error}")
    })
}
