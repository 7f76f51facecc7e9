//! Where what is published lies: a stream of NATS that keeps the last message of each subject.

use std::collections::BTreeSet;

use async_nats::Client;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::stream::{self, LastRawMessageErrorKind, RetentionPolicy, Stream};
use bytes::Bytes;
use prost::Message;
use tokio_stream::StreamExt as _;

use crate::fleet::subjects::Subjects;
use crate::fleet::{Membership, link, purges};
use crate::wire::proto::{FleetAdminState, FleetPointer};
use tradewind_engine::model::Digest;

/// How large the pieces of a text are, in bytes: well below the largest message of a bus by default, which is 1 MiB.
const PIECE: usize = 256 << 10;

/// Why something that lies there is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// The store does not answer, or not as it must.
    #[error("{0}")]
    Away(String),
    /// It is no message.
    #[error("{0}")]
    NoMessage(String),
}

/// The store, open.
#[derive(Debug, Clone)]
pub(super) struct Store {
    context: Context,
    stream: Stream,
    subjects: Subjects,
    /// Which store it is: it is told by this from one that was lost.
    pub(super) id: u64,
}

/// Something that lies there.
#[derive(Debug)]
pub(super) struct Found<T> {
    /// Its place.
    pub(super) at: u64,
    /// When it came there by the bus's clock, in ms of Unix time.
    pub(super) unix_ms: u64,
    pub(super) message: T,
}

/// What became of a message that takes the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    Done,
    /// Another is there by now.
    Overtaken,
}

impl Store {
    /// Opens it, or makes it where there is none.
    pub(super) async fn open(
        client: &Client,
        membership: &Membership,
        subjects: &Subjects,
    ) -> Result<Self, String> {
        let context = link::jetstream(client);
        let stream = link::stream(&context, membership, config(subjects)).await?;
        is_fit(stream.cached_info(), subjects)?;
        let id = purges::made_at(stream.cached_info());
        Ok(Self {
            context,
            stream,
            subjects: subjects.clone(),
            id,
        })
    }

    /// The place of its last message.
    ///
    /// # Errors
    ///
    /// In words: it does not answer, or is another one by now.
    pub(super) async fn last(&self) -> Result<u64, String> {
        let info = self.stream.get_info().await;
        let info = info.map_err(|error| format!("what is published cannot be read: {error}"))?;
        if purges::made_at(&info) != self.id {
            return Err("the bus lost what was published".to_owned());
        }
        Ok(info.state.last_sequence)
    }

    /// What all are to have; `None` where nothing was published.
    pub(super) async fn pointer(&self) -> Result<Option<Found<FleetPointer>>, Fault> {
        self.found(&self.subjects.edition()).await
    }

    /// Has all follow this, if what they follow is still at the place `behind`.
    pub(super) async fn point(&self, behind: u64, pointer: &FleetPointer) -> Result<Put, String> {
        let payload = pointer.encode_to_vec().into();
        self.put(self.subjects.edition(), payload, behind).await
    }

    /// The state of a node or site.
    pub(super) async fn state(&self, target: u64) -> Result<Option<Found<FleetAdminState>>, Fault> {
        self.found(&self.subjects.state_of(target)).await
    }

    /// All nodes and sites that have ever had one.
    pub(super) async fn targets(&self) -> Result<Vec<u64>, String> {
        let subjects = self.subjects_of(&self.subjects.all_states()).await?;
        let targets = subjects.iter().filter_map(|it| Subjects::target(it));
        Ok(targets.collect())
    }

    /// Has all put a state in force, if what is known of that node or site is still at the place `behind`.
    pub(super) async fn tell(
        &self,
        (target, behind): (u64, u64),
        state: &FleetAdminState,
    ) -> Result<Put, String> {
        let payload = state.encode_to_vec().into();
        self.put(self.subjects.state_of(target), payload, behind)
            .await
    }

    /// Lays a text there, in pieces, and looks whether it can be had.
    pub(super) async fn lay(&self, text: &str, digest: &Digest) -> Result<(), String> {
        for (at, piece) in text.as_bytes().chunks(PIECE).enumerate() {
            let subject = self.subjects.piece(digest, at);
            // Where one is already it should have the same bytes, for it is under their digest.
            self.put(subject, Bytes::copy_from_slice(piece), 0).await?;
        }
        self.fetch(digest, text.len()).await.map(drop)
    }

    /// Fetches a text of this length.
    pub(super) async fn fetch(&self, digest: &Digest, size: usize) -> Result<String, String> {
        let mut text = Vec::new();
        for at in 0..size.div_ceil(PIECE) {
            let subject = self.subjects.piece(digest, at);
            let piece = self.get(&subject).await?;
            let piece = piece.ok_or_else(|| format!("the bus has no {subject}"))?;
            if text.len() + piece.payload.len() > size {
                return Err(format!("{subject} is larger than it was told to be"));
            }
            text.extend_from_slice(&piece.payload);
        }
        if Digest::of(&text) != *digest {
            return Err(format!("what the bus has as text {digest} is another"));
        }
        String::from_utf8(text).map_err(|error| format!("the text {digest} is not UTF-8: {error}"))
    }

    /// Takes all texts away but these. Whoever is about to point to one of the others looks whether it is there afterwards.
    pub(super) async fn clear_but(&self, needed: &BTreeSet<String>) {
        let all = self.subjects_of(&self.subjects.all_pieces()).await;
        let digests = all.unwrap_or_default().into_iter().filter_map(|subject| {
            let digest = subject.rsplit('.').nth(1)?;
            Some(digest.to_owned())
        });
        let digests: BTreeSet<String> = digests.collect();
        for digest in digests.difference(needed) {
            let filter = self.subjects.pieces(digest);
            if let Err(error) = self.stream.purge().filter(filter).await {
                tracing::debug!(%error, digest, "a text that nobody needs stays on the bus");
            }
        }
    }

    async fn subjects_of(&self, filter: &str) -> Result<Vec<String>, String> {
        let failed = |error: String| format!("{filter} cannot be looked through: {error}");
        let subjects = self.stream.info_with_subjects(filter).await;
        let mut subjects = subjects.map_err(|error| failed(error.to_string()))?;
        let mut all = Vec::new();
        while let Some(found) = subjects.next().await {
            let (subject, _) = found.map_err(|error| failed(error.to_string()))?;
            all.push(subject);
        }
        Ok(all)
    }

    async fn found<T: Message + Default>(&self, subject: &str) -> Result<Option<Found<T>>, Fault> {
        let Some(letter) = self.get(subject).await.map_err(Fault::Away)? else {
            return Ok(None);
        };
        let message = T::decode(letter.payload);
        let message = message.map_err(|error| {
            Fault::NoMessage(format!("{subject} has what is no message: {error}"))
        })?;
        let unix_ms = letter.time.unix_timestamp_nanos() / 1_000_000;
        Ok(Some(Found {
            at: letter.sequence,
            unix_ms: u64::try_from(unix_ms).unwrap_or(0),
            message,
        }))
    }

    async fn get(&self, subject: &str) -> Result<Option<StreamMessage>, String> {
        match self.stream.get_last_raw_message_by_subject(subject).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(format!("{subject} cannot be read: {error}")),
        }
    }

    /// Puts a message there if the last of its subject is at that place, 0 for none.
    async fn put(&self, subject: String, payload: Bytes, behind: u64) -> Result<Put, String> {
        let message = PublishMessage::build()
            .payload(payload)
            .expected_last_subject_sequence(behind);
        let sent = self.context.send_publish(subject.clone(), message).await;
        let answer = match sent {
            Ok(ack) => ack.await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(_) => Ok(Put::Done),
            Err(error) if is_overtaken(&error) => Ok(Put::Overtaken),
            Err(error) => Err(format!(
                "it is not known whether the bus has taken {subject}: {error}; is this sidecar let write there?"
            )),
        }
    }
}

fn is_overtaken(error: &PublishError) -> bool {
    // Servers have two codes for it (10071 and 10164), of which this client has a kind for the first.
    error.kind() == PublishErrorKind::WrongLastSequence
        || error.to_string().contains("wrong last sequence")
}

fn config(subjects: &Subjects) -> stream::Config {
    stream::Config {
        name: subjects.config_stream(),
        description: Some("What is published to a fleet of Tradewind".to_owned()),
        max_messages_per_subject: 1,
        ..link::republished(subjects.all_config(), subjects.all_configured())
    }
}

/// Whether a stream that somebody else made can be used.
fn is_fit(info: &stream::Info, subjects: &Subjects) -> Result<(), String> {
    let config = &info.config;
    let name = &config.name;
    if config.subjects != [subjects.all_config()] {
        return Err(format!(
            "the stream {name} takes {:?}, must take {} alone",
            config.subjects,
            subjects.all_config()
        ));
    }
    let forgets = config.max_messages > 0
        || config.max_bytes > 0
        || !config.max_age.is_zero()
        || config.max_messages_per_subject != 1
        || config.retention != RetentionPolicy::Limits;
    if forgets {
        return Err(format!(
            "the stream {name} must keep one message of each subject, with no other limit of messages, bytes or age"
        ));
    }
    let republish = config.republish.as_ref();
    let fits =
        republish.is_some_and(|it| it.destination == subjects.all_configured() && !it.headers_only);
    if !fits {
        return Err(format!(
            "the stream {name} does not republish to {}",
            subjects.all_configured()
        ));
    }
    Ok(())
}
