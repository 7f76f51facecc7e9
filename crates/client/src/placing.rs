//! Asks where networks of clients are that nobody asked about yet, beside the requests that need it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use tokio::sync::Notify;

use super::Shared;
use super::counters::bump;
use super::lines::Reply;
use tradewind_wire::{clock, proto, told_place};

/// Most networks that wait to be asked about; further ones are for later.
const MAX_WAITING: usize = 256;

/// From one question to the next: a hundred a second.
const NEXT_AFTER: Duration = Duration::from_millis(10);

/// From a question without an answer to the next.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// How long an answer may take: nobody waits for it.
const DEADLINE: Duration = Duration::from_secs(1);

/// Clients whose networks are to be asked about.
#[derive(Debug)]
pub(super) struct Wanted {
    waiting: ArrayQueue<IpAddr>,
    /// Told of each: they are few.
    some: Notify,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            waiting: ArrayQueue::new(MAX_WAITING),
            some: Notify::new(),
        }
    }
}

impl Wanted {
    /// Whether the network of this client will be asked about.
    pub(super) fn put(&self, client: IpAddr) -> bool {
        let will = self.waiting.push(client).is_ok();
        if will {
            self.some.notify_one();
        }
        will
    }
}

/// Asks for as long as the client lives.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        let Some(client) = shared.wanted.waiting.pop() else {
            shared.wanted.some.notified().await;
            continue;
        };
        let wait = if ask(&shared, client).await {
            NEXT_AFTER
        } else {
            AFTER_FAILURE
        };
        tokio::time::sleep(wait).await;
    }
}

/// Asks where one client is; whether that was answered.
async fn ask(shared: &Shared, client: IpAddr) -> bool {
    let question = proto::DecideRequest {
        path: "/".to_owned(),
        client: Some(proto::Client {
            ip: client.to_string(),
            ..proto::Client::default()
        }),
        want_place: true,
        // It is nobody's request: nothing counts it.
        dry_run: true,
        ..proto::DecideRequest::default()
    };
    bump(&shared.counts.places_asked, 1);
    match shared.lines.ask(question, DEADLINE).await {
        Ok(Reply::Answered(response)) => {
            let place = response.place.as_ref().map(told_place);
            shared.places.learn(client, place, clock::now());
            true
        }
        Ok(Reply::Refused(_) | Reply::Failed) | Err(_) => false,
    }
}
