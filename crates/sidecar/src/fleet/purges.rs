//! The log of purges that a fleet shares: a stream of NATS. What is appended is republished by the server to all who
//! listen, which costs it a third less than a consumer for each; what somebody missed of that is asked for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::push::{Ordered, OrderedConfig};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{self, LastRawMessageErrorKind, RetentionPolicy, Stream};
use async_nats::{Client, Message, Subscriber};
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{self, MissedTickBehavior, timeout};
use tokio_stream::StreamExt as _;
use xxhash_rust::xxh3::xxh3_64;

use super::link::ANSWERS_WITHIN;
use super::subjects::Subjects;
use super::{Fleet, link};
use crate::clock;
use crate::freshness::Freshness;
use crate::freshness::shared::News;
use tradewind_engine::fleet::purges::{Found, Place};

/// How long the log keeps purges where this sidecar makes it: longer than caches have anything by the default of policies.
const KEPT_FOR: Duration = Duration::from_hours(15 * 24);

/// How often it is looked whether purges were missed, or lost by the bus.
const LOOK: Duration = Duration::from_secs(5);

/// The header by which the server says where what it republishes is.
const SEQUENCE: &str = "Nats-Sequence";

/// The log, open for those who hear it.
pub(super) struct PurgeLog {
    fleet: Arc<Fleet>,
    freshness: Arc<Freshness>,
    client: Client,
    stream: Stream,
    /// Which log it is.
    id: u64,
    /// The next place to hear of.
    next: u64,
    /// What comes now.
    news: Subscriber,
    /// What was missed, up to a place.
    missed: Option<(Ordered, u64)>,
    /// A hash of what was heard last.
    mark: u64,
}

/// The log, open for those who append to it.
#[derive(Clone)]
pub(super) struct Appender {
    fleet: Arc<Fleet>,
    freshness: Arc<Freshness>,
    context: Context,
    stream: Stream,
    subject: String,
}

impl PurgeLog {
    /// Opens the log, makes it where there is none, and settles with the keeper where to begin.
    pub(super) async fn open(
        client: &Client,
        fleet: &Arc<Fleet>,
        freshness: &Arc<Freshness>,
    ) -> Result<(Self, Appender), String> {
        let subjects = Subjects::of(&fleet.membership.fleet);
        let context = link::jetstream(client);
        let stream = link::stream(&context, &fleet.membership, config(&subjects)).await?;
        is_fit(stream.cached_info(), &subjects)?;
        // Listened to before it is looked at: what comes in between is heard twice, and not missed.
        let news = client.subscribe(subjects.purged()).await;
        let news =
            news.map_err(|error| format!("{} cannot be listened to: {error}", subjects.purged()))?;
        let mut log = Self {
            fleet: Arc::clone(fleet),
            freshness: Arc::clone(freshness),
            client: client.clone(),
            stream: stream.clone(),
            id: 0,
            next: 1,
            news,
            missed: None,
            mark: 0,
        };
        log.begin().await?;
        let appender = Appender {
            fleet: Arc::clone(fleet),
            freshness: Arc::clone(freshness),
            context,
            stream,
            subject: subjects.purge(),
        };
        Ok((log, appender))
    }

    /// Hears purges, until that cannot go on; why.
    pub(super) async fn follow(mut self) -> String {
        let mut look = time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let done = if self.missed.is_some() {
                self.hear_missed().await
            } else {
                tokio::select! {
                    message = self.news.next() => self.hear(message).await,
                    _ = look.tick() => self.look().await,
                }
            };
            if let Err(why) = done {
                return why;
            }
        }
    }

    /// Settles with the keeper where to begin.
    async fn begin(&mut self) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        self.freshness.hear(News::Reached(reply)).await;
        let place = answer.await.map_err(|_| "the keeper of purges has ended")?;
        let info = info(&self.stream).await?;
        let log = made_at(&info);
        let state = &info.state;
        let is_there =
            place.log == log && (state.first_sequence..=state.last_sequence).contains(&place.at);
        let there = if is_there && place.at > 0 {
            mark_at(&self.stream, place.at).await?
        } else {
            None
        };
        let found = Found {
            log,
            first: state.first_sequence.max(1),
            last: state.last_sequence,
            there,
        };
        let first_unix_ms = state.first_timestamp.unix_timestamp_nanos() / 1_000_000;
        let first_unix_ms = u64::try_from(first_unix_ms)
            .ok()
            .filter(|_| state.messages > 0);
        let first_age_ms = first_unix_ms.map(|it| clock::unix_ms().saturating_sub(it));
        let (reply, answer) = oneshot::channel();
        let news = News::Found {
            found,
            first_age_ms,
            reply,
        };
        self.freshness.hear(news).await;
        let begin = answer.await.map_err(|_| "the keeper of purges has ended")?;
        (self.id, self.next) = (log, begin.from);
        self.ask_for(found.last).await
    }

    /// Asks for what was missed, up to a place.
    async fn ask_for(&mut self, last: u64) -> Result<(), String> {
        if last < self.next {
            self.missed = None;
            return Ok(());
        }
        self.fleet.counters.replays.fetch_add(1, Ordering::Relaxed);
        let config = OrderedConfig {
            deliver_subject: self.client.new_inbox(),
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

    /// Hears the next of what was missed.
    async fn hear_missed(&mut self) -> Result<(), String> {
        self.freshness.has_room().await;
        let Some((messages, last)) = &mut self.missed else {
            return Ok(());
        };
        let last = *last;
        let message = timeout(ANSWERS_WITHIN, messages.next()).await;
        let message = message.map_err(|_| "purges that were missed do not come")?;
        let message = message.ok_or("purges that were missed come no more")?;
        let message =
            message.map_err(|error| format!("purges that were missed do not come: {error}"))?;
        let info = message.info().map_err(|error| error.to_string())?;
        let (at, is_last) = (info.stream_sequence, info.pending == 0);
        let unix_ms = u64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        let age_ms = clock::unix_ms().saturating_sub(unix_ms);
        self.heard(at, message.message.payload, age_ms);
        if self.next > last || is_last {
            self.missed = None;
            self.fleet.heard_all(self.next - 1);
        }
        Ok(())
    }

    /// Looks whether anything was missed, or lost by the bus.
    async fn look(&mut self) -> Result<(), String> {
        let info = info(&self.stream).await?;
        let lost = "the bus lost its log of purges, or the end of it";
        if made_at(&info) != self.id || info.state.last_sequence + 1 < self.next {
            return Err(lost.to_owned());
        }
        let before = self.next - 1;
        if self.mark > 0
            && before >= info.state.first_sequence
            && mark_at(&self.stream, before).await? != Some(self.mark)
        {
            return Err(lost.to_owned());
        }
        self.ask_for(info.state.last_sequence).await?;
        if self.missed.is_none() {
            self.fleet.heard_all(self.next - 1);
        }
        Ok(())
    }

    /// Hears what comes now.
    async fn hear(&mut self, message: Option<Message>) -> Result<(), String> {
        let message = message.ok_or("nothing more is heard")?;
        let Some(at) = sequence_of(&message) else {
            tracing::debug!(subject = %message.subject, "what is said on the bus as purged does not come from the log, and is not heard");
            return Ok(());
        };
        if at > self.next {
            // It is asked for with those before it.
            return self.look().await;
        }
        self.freshness.has_room().await;
        self.heard(at, message.payload, 0);
        self.fleet.heard_all(self.next - 1);
        Ok(())
    }

    fn heard(&mut self, at: u64, purge: Bytes, age_ms: u64) {
        if at < self.next {
            return;
        }
        self.next = at.saturating_add(1);
        self.mark = xxh3_64(&purge);
        self.fleet.counters.heard.fetch_add(1, Ordering::Relaxed);
        let place = Place { log: self.id, at };
        self.freshness.put(News::Heard {
            place,
            purge,
            age_ms,
        });
    }
}

impl Appender {
    /// Appends purges, all directly behind a place; the keeper is told what became of them.
    pub(super) fn begin(&self, batch: u64, behind: u64, purges: Vec<Bytes>) {
        let appender = self.clone();
        tokio::spawn(async move {
            let news = appender.append(batch, behind, purges).await;
            appender.freshness.put(news);
        });
    }

    async fn append(&self, batch: u64, behind: u64, purges: Vec<Bytes>) -> News {
        let counters = &self.fleet.counters;
        let count = purges.len();
        let mut acks = Vec::with_capacity(count);
        let mut before: Option<String> = None;
        let mut is_refused = false;
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
                    is_refused = acks.is_empty();
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
                    is_refused = !matches!(error.kind(), WrongLastMessageId | WrongLastSequence);
                    if is_refused {
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
                batch,
                stored,
                last: behind + stored as u64,
                is_refused: false,
            };
        }
        if !is_refused {
            let overtaken = (count - stored) as u64;
            counters.overtaken.fetch_add(overtaken, Ordering::Relaxed);
        }
        let info = self.stream.get_info().await;
        let last = info.map_or(0, |info| info.state.last_sequence);
        News::Appended {
            batch,
            stored,
            last,
            is_refused,
        }
    }
}

/// What the stream is like now.
async fn info(stream: &Stream) -> Result<stream::Info, String> {
    let info = stream.get_info().await;
    info.map_err(|error| format!("the stream of purges does not answer: {error}"))
}

/// The hash of what is at a place; `None` of nothing.
async fn mark_at(stream: &Stream, at: u64) -> Result<Option<u64>, String> {
    match stream.get_raw_message(at).await {
        Ok(message) => Ok(Some(xxh3_64(&message.payload))),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(format!(
            "the stream of purges does not say what it has: {error}"
        )),
    }
}

fn config(subjects: &Subjects) -> stream::Config {
    stream::Config {
        name: subjects.purge_stream(),
        description: Some("Purges of a fleet of Tradewind, in their order".to_owned()),
        max_age: KEPT_FOR,
        ..link::republished(subjects.purge(), subjects.purged())
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
    if info.config.max_messages > 0
        || info.config.max_bytes > 0
        || info.config.retention != RetentionPolicy::Limits
    {
        return Err(format!(
            "the stream {name} forgets purges otherwise than by age: it must have no limit of messages or bytes, and `limits` as retention"
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
