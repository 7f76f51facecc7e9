//! The access logger, for the router's `upstream_log`: tells the sidecar how each attempt went, as Envoy's own log over gRPC
//! would.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::abi::{Entry, Part};
use crate::config;
use tradewind_client::hosted::follower::Follower;
use tradewind_client::{Client, Outcome};
use tradewind_wire::attempt::{self, Flags};
use tradewind_wire::names::{DECISION_ID, DESTINATION};
use tradewind_wire::{cache, grpc_status};

/// A logger of Envoy's configuration.
#[derive(Debug)]
pub(crate) struct LoggerConfig {
    sidecar: String,
}

/// The same on one of Envoy's threads.
#[derive(Debug)]
pub(crate) struct Logger {
    config: Arc<LoggerConfig>,
    /// The follower that the filters of this sidecar hold: without one nothing is decided, and there is nothing to tell.
    follower: Mutex<Weak<Follower>>,
}

impl LoggerConfig {
    /// A logger as configured, or all that is wrong with that.
    pub(crate) fn new(name: &[u8], config: &[u8]) -> Result<Self, String> {
        let sidecar = config::logger(name, config)?;
        Ok(Self { sidecar })
    }
}

impl Logger {
    pub(crate) fn new(config: Arc<LoggerConfig>) -> Self {
        Self {
            config,
            follower: Mutex::default(),
        }
    }

    /// Tells of an attempt.
    pub(crate) fn log(&self, entry: &Entry<'_>) {
        let Some(follower) = self.follower() else {
            return;
        };
        tell(&follower.client, entry);
    }

    fn follower(&self) -> Option<Arc<Follower>> {
        let mut held = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(follower) = held.upgrade() {
            return Some(follower);
        }
        // The first entry, or the filters were made anew.
        *held = Follower::find(&self.config.sidecar);
        held.upgrade()
    }
}

/// Tells what an attempt says about its node; `None` if it says nothing.
fn tell(client: &Client, entry: &Entry<'_>) -> Option<()> {
    let (ip, port) = entry.node()?;
    let address = SocketAddr::new(ip.parse::<IpAddr>().ok()?, u16::try_from(port).ok()?);
    let timing = entry.timing();
    let status = status(entry);
    let flags = Flags(entry.flags()).with_failure(entry.failed_to_connect());
    let result = attempt::result(flags, status, timing.last_received_ns >= 0)?;
    let asked = |name| entry.header(Part::RequestHeaders, name).unwrap_or_default();
    let cache_status = cache::status(|name| entry.header(Part::ResponseHeaders, name));
    let outcome = Outcome {
        // The log of the router, which has an entry for each attempt, does not count them (Envoy 1.40).
        attempt: attempt::place(asked(DESTINATION), address).unwrap_or(0),
        result: result.into(),
        status,
        time_to_first_byte: between(timing.first_sent_ns, timing.first_received_ns),
        total: between(timing.first_sent_ns, timing.last_received_ns),
        bytes: entry.body_bytes(),
        cache_status: cache_status.into(),
        ..Outcome::default()
    };
    let id = asked(DECISION_ID);
    let is_told = client.on_copy(|copy| {
        let node = copy.node_at(address);
        node.map(|node| client.told_of(id, node, outcome.clone()))
    });
    if is_told.flatten().is_none() {
        // Refused and counted as an unknown node, with its address for whoever looks into it.
        client.told_of(id, &address.to_string(), outcome);
    }
    Some(())
}

/// The status of an answer, or the one that its gRPC status stands for; 0 for none.
fn status(entry: &Entry<'_>) -> u32 {
    let code = entry.status();
    if code != 200 {
        return code;
    }
    let trailer = entry.header(Part::ResponseTrailers, grpc_status::NAME);
    let found = trailer.or_else(|| entry.header(Part::ResponseHeaders, grpc_status::NAME));
    grpc_status::of_answer(code, found)
}

/// From one moment to another, both in ns since the same start; `None` if one is not known or they stand the wrong way round.
fn between<T: TryFrom<Duration>>(from_ns: i64, until_ns: i64) -> Option<T> {
    let from = u64::try_from(from_ns).ok()?;
    let between = u64::try_from(until_ns).ok()?.checked_sub(from)?;
    Duration::from_nanos(between).try_into().ok()
}
