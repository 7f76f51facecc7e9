//! The log of purges that a fleet shares: a stream of JetStream. What is appended is republished by the server to all who
//! listen, which costs it a third less than a consumer for each; what somebody missed of that is asked for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::push::{Ordered, OrderedConfig};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{self, DiscardPolicy, Republish, StorageType, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, Message, Subscriber};
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use xxhash_rust::xxh3::xxh3_64;

use super::Fleet;
use super::link::ANSWERS_WITHIN;
use super::subjects::Subjects;
use crate::freshness::Freshness;
use crate::freshness::shared::News;
use tradewind_engine::fleet::purges::{Found, Place};

/// How long the log keeps purges where this sidecar makes it: longer than caches have anything by the default of policies.
const KEPT_FOR: Duration = Duration::from_hours(15 * 24);

/// The header by which the server says where what it republishes is.
const SEQUENCE: &str = "Nats-Sequence";

/// The log, open.
pub(super) struct PurgeLog {
    fleet: Arc<Fleet>,
    freshness: Arc<Freshness>,
    context: Context,
    stream: Stream,
    subject: String,
    /// Which log it is.
    id: u64,
    /// The next place to hear of.
    next: u64,
    /// What comes now.
    news: Subscriber,
    /// What was missed, up to a place.
    missed: Option<(Ordered, u64)>,
    /// Whether there may be more than was heard of.
    pub(super) is_to_be_looked_at: bool,
}

impl PurgeLog {
    /// Opens the log, makes it where there is none, and settles with the keeper where to begin.
    pub(super) async fn open(
        client: &Client,
        fleet: &Arc<Fleet>,
        freshness: &Arc<Freshness>,
    ) -> Result<Self, String> {
        let subjects = Subjects::of(&fleet.membership.fleet);
        let context = jetstream::new(client.clone());
        let config = config(&subjects);
        let opened = context.get_or_create_stream(config).await;
        let stream = opened.map_err(|error| {
            format!(
                "the stream {} cannot be had: {error}",
                subjects.purge_stream()
            )
        })?;
        is_fit(stream.cached_info(), &subjects)?;
        // Listened to before it is looked at: what comes in between is heard twice, and not missed.
        let news = client.subscribe(subjects.purged()).await;
        let news =
            news.map_err(|error| format!("{} cannot be listened to: {error}", subjects.purged()))?;
        let mut log = Self {
            fleet: Arc::clone(fleet),
            freshness: Arc::clone(freshness),
            context,
            stream,
            subject: subjects.purge(),
            id: 0,
            next: 1,
            news,
            missed: None,
            is_to_be_looked_at: false,
        };
        log.begin().await?;
        Ok(log)
    }

    /// Settles with the keeper where to begin.
    async fn begin(&mut self) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        self.freshness.hear(News::Reached(reply)).await;
        let (place, _mark) = answer.await.map_err(|_| "the keeper of purges has ended")?;
        let info = self.info().await?;
        let log = made_at(&info);
        let state = &info.state;
        let is_there =
            place.log == log && (state.first_sequence..=state.last_sequence).contains(&place.at);
        let there = if is_there && place.at > 0 {
            let message = self.stream.get_raw_message(place.at).await;
            message.ok().map(|message| xxh3_64(&message.payload))
        } else {
            None
        };
        let found = Found {
            log,
            first: state.first_sequence.max(1),
            last: state.last_sequence,
            there,
        };
        let keeps_ms = u64::try_from(info.config.max_age.as_millis())
            .ok()
            .filter(|ms| *ms > 0);
        let (reply, answer) = oneshot::channel();
        self.freshness
            .hear(News::Found {
                found,
                keeps_ms,
                reply,
            })
            .await;
        let begin = answer.await.map_err(|_| "the keeper of purges has ended")?;
        (self.id, self.next) = (log, begin.from);
        self.ask_for(found.last).await
    }

    async fn info(&self) -> Result<stream::Info, String> {
        let info = self.stream.get_info().await;
        info.map_err(|error| format!("the stream of purges does not answer: {error}"))
    }

    /// Asks for what was missed, up to a place.
    async fn ask_for(&mut self, last: u64) -> Result<(), String> {
        if last < self.next {
            self.missed = None;
            return Ok(());
        }
        self.fleet.counters.replays.fetch_add(1, Ordering::Relaxed);
        let config = OrderedConfig {
            deliver_subject: self.context.client().new_inbox(),
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: self.next,
            },
            ..OrderedConfig::default()
        };
        let consumer = self.stream.create_consumer(config).await;
        let consumer = consumer
            .map_err(|error| format!("purges that were missed cannot be asked for: {error}"))?;
        let messages = consumer.messages().await;
        let messages =
            messages.map_err(|error| format!("purges that were missed do not come: {error}"))?;
        self.missed = Some((messages, last));
        Ok(())
    }

    /// Hears the next purge, or looks what there is. May be given up at any time, and loses nothing then.
    pub(super) async fn next(&mut self) -> Result<(), String> {
        self.freshness.has_room().await;
        if let Some((messages, last)) = &mut self.missed {
            let last = *last;
            let message = timeout(ANSWERS_WITHIN, messages.next()).await;
            let message = message.map_err(|_| "purges that were missed do not come")?;
            let message = message.ok_or("purges that were missed come no more")?;
            let message =
                message.map_err(|error| format!("purges that were missed do not come: {error}"))?;
            let at = message
                .info()
                .map_err(|error| error.to_string())?
                .stream_sequence;
            self.heard(at, message.message.payload);
            if self.next > last {
                self.missed = None;
            }
            return Ok(());
        }
        if self.is_to_be_looked_at {
            let info = self.info().await?;
            self.is_to_be_looked_at = false;
            if made_at(&info) != self.id || info.state.last_sequence + 1 < self.next {
                return Err("the bus lost its log of purges, or the end of it".to_owned());
            }
            return self.ask_for(info.state.last_sequence).await;
        }
        let message = self.news.next().await.ok_or("nothing more is heard")?;
        let Some(at) = sequence_of(&message) else {
            tracing::warn!(subject = %message.subject, "what is said on the bus as purged does not come from the log, and is not heard");
            return Ok(());
        };
        if at > self.next {
            // It is asked for with those before it: giving up while that is done loses none.
            self.is_to_be_looked_at = true;
            return Ok(());
        }
        self.heard(at, message.payload);
        Ok(())
    }

    fn heard(&mut self, at: u64, purge: Bytes) {
        if at < self.next {
            return;
        }
        self.next = at + 1;
        self.fleet.counters.heard.fetch_add(1, Ordering::Relaxed);
        let place = Place { log: self.id, at };
        self.freshness.put(News::Heard { place, purge });
    }

    /// Appends purges, all directly behind a place; the keeper is told what became of them.
    pub(super) fn append(&self, behind: u64, purges: Vec<Bytes>) {
        let appending = Appending {
            context: self.context.clone(),
            stream: self.stream.clone(),
            subject: self.subject.clone(),
            fleet: Arc::clone(&self.fleet),
        };
        let freshness = Arc::clone(&self.freshness);
        tokio::spawn(async move {
            let news = appending.append(behind, purges).await;
            freshness.put(news);
        });
    }
}

struct Appending {
    context: Context,
    stream: Stream,
    subject: String,
    fleet: Arc<Fleet>,
}

impl Appending {
    async fn append(&self, behind: u64, purges: Vec<Bytes>) -> News {
        let counters = &self.fleet.counters;
        let count = purges.len();
        let mut acks = Vec::with_capacity(count);
        let mut before: Option<String> = None;
        for (at, payload) in (behind..).zip(purges) {
            let id = format!("{:016x}", xxh3_64(&payload));
            let mut message = PublishMessage::build()
                .payload(payload)
                .message_id(&id)
                .expected_last_sequence(at);
            // Where somebody else's is at the place of the one before, this one's number is not above it.
            if let Some(before) = before.replace(id) {
                message = message.expected_last_message_id(before);
            }
            match self
                .context
                .send_publish(self.subject.clone(), message)
                .await
            {
                Ok(ack) => acks.push(ack),
                Err(error) => {
                    tracing::warn!(%error, "a purge cannot be appended");
                    break;
                }
            }
        }
        let mut stored = 0;
        for ack in acks {
            match ack.await {
                Ok(_) => stored += 1,
                Err(error) => {
                    use PublishErrorKind::{WrongLastMessageId, WrongLastSequence};
                    if !matches!(error.kind(), WrongLastMessageId | WrongLastSequence) {
                        tracing::warn!(%error, "a purge was not appended");
                    }
                    break;
                }
            }
        }
        counters
            .appended
            .fetch_add(stored as u64, Ordering::Relaxed);
        if stored == count {
            return News::Appended {
                stored,
                last: behind + stored as u64,
            };
        }
        counters
            .overtaken
            .fetch_add((count - stored) as u64, Ordering::Relaxed);
        let info = self.stream.get_info().await;
        let last = info.map_or(0, |info| info.state.last_sequence);
        News::Appended { stored, last }
    }
}

fn config(subjects: &Subjects) -> stream::Config {
    stream::Config {
        name: subjects.purge_stream(),
        description: Some("Purges of a fleet of Tradewind, in their order".to_owned()),
        subjects: vec![subjects.purge()],
        storage: StorageType::File,
        max_age: KEPT_FOR,
        discard: DiscardPolicy::Old,
        num_replicas: 1,
        republish: Some(Republish {
            source: subjects.purge(),
            destination: subjects.purged(),
            headers_only: false,
        }),
        ..stream::Config::default()
    }
}

/// Whether a stream that somebody else made can be used.
fn is_fit(info: &stream::Info, subjects: &Subjects) -> Result<(), String> {
    let name = &info.config.name;
    if info.config.subjects != [subjects.purge()] {
        return Err(format!(
            "the stream {name} takes {:?}, must take {} alone",
            info.config.subjects,
            subjects.purge()
        ));
    }
    let republish = info.config.republish.as_ref();
    let fits = republish.is_some_and(|it| it.destination == subjects.purged() && !it.headers_only);
    if !fits {
        return Err(format!(
            "the stream {name} does not republish to {}",
            subjects.purged()
        ));
    }
    Ok(())
}

/// Where a message is that the server republished; `None` of one that somebody else sent.
pub(super) fn sequence_of(message: &Message) -> Option<u64> {
    let at = message.headers.as_ref()?.get(SEQUENCE)?;
    at.as_str().parse().ok()
}

/// When a stream was made, in ns of Unix time, by which it is told from one that was lost.
pub(super) fn made_at(info: &stream::Info) -> u64 {
    u64::try_from(info.created.unix_timestamp_nanos())
        .unwrap_or(1)
        .max(1)
}
