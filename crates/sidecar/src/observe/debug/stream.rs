//! What changes, as server-sent events: encoded once a second for all who look, whatever their number.
//!
//! A viewer gets a whole of each topic first and then what has changed. One that falls behind gets wholes again, so that a
//! slow reader costs nothing but itself. Nothing is encoded while nobody looks.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc};
use tokio::time::{self, MissedTickBehavior};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::answer::{fault, refuse, tidy};
use super::decisions::Row;
use super::fleet::{self, Column, Fleet};
use super::{Parameters, SharedSources, unknown};
use crate::clock;
use crate::observe::metrics::Sources;
use crate::observe::overview::overview;
use crate::state::Published;

/// Viewers at once; more are turned away, so that health and metrics always find a connection.
const MAX_VIEWERS: usize = 100;

/// Frames that a viewer may be behind before it gets wholes again: ten seconds.
const BEHIND: usize = 64;

/// How often what has changed is encoded.
const EVERY: Duration = Duration::from_secs(1);

/// Decisions in one frame at most: a sample of the sample, for eyes.
const MAX_ROWS: usize = 50;

/// Every how many frames a comment is sent, so that proxies in between keep the connection.
const COMMENT_EVERY: u64 = 5;

/// What can be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Topic {
    Clock,
    Overview,
    State,
    Events,
    Decisions,
}

impl Topic {
    /// Those that can be asked for; the clock comes with all.
    const ASKED: &'static [Self] = &[Self::Overview, Self::State, Self::Events, Self::Decisions];

    const fn name(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Overview => "overview",
            Self::State => "state",
            Self::Events => "events",
            Self::Decisions => "decisions",
        }
    }
}

/// An event, encoded.
#[derive(Debug, Clone)]
struct Frame {
    topic: Topic,
    bytes: Bytes,
}

impl Frame {
    fn new(topic: Topic, id: u64, value: impl Serialize) -> Self {
        let mut value = serde_json::to_value(value).unwrap_or_default();
        tidy(&mut value);
        let name = topic.name();
        Self {
            topic,
            bytes: format!("event: {name}\nid: {id}\ndata: {value}\n\n").into(),
        }
    }
}

/// Where frames come from, and places for those who look.
#[derive(Debug)]
pub struct Streams {
    frames: broadcast::Sender<Frame>,
    places: Arc<Semaphore>,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            frames: broadcast::Sender::new(BEHIND),
            places: Arc::new(Semaphore::new(MAX_VIEWERS)),
        }
    }
}

/// Encodes what has changed, until it is aborted.
pub async fn encode_all(sources: Sources) {
    let mut tick = time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut encoder = Encoder::default();
    loop {
        tick.tick().await;
        if sources.streams.frames.receiver_count() == 0 {
            encoder = Encoder::default();
            continue;
        }
        for frame in encoder.frames(&sources) {
            // Whoever looked may have gone meanwhile.
            drop(sources.streams.frames.send(frame));
        }
    }
}

/// What was sent last.
#[derive(Default)]
struct Encoder {
    overview: Option<Value>,
    columns: Option<Sent>,
    events: Option<u64>,
    decisions: Option<u64>,
}

/// The columns as they were sent last.
struct Sent {
    published: Arc<Published>,
    sites: Vec<Column>,
    nodes: Vec<Column>,
}

impl Encoder {
    fn frames(&mut self, sources: &Sources) -> Vec<Frame> {
        let mut frames = vec![clock_frame(sources)];
        frames.extend(self.overview(sources));
        frames.extend(self.state(sources));
        frames.extend(self.events(sources));
        frames.extend(self.decisions(sources));
        frames
    }

    fn overview(&mut self, sources: &Sources) -> Option<Frame> {
        let now = serde_json::to_value(overview(sources)).ok()?;
        let frame = Frame::new(Topic::Overview, generation(sources), &now);
        let is_new = self.overview.replace(now.clone()).as_ref() != Some(&now);
        is_new.then_some(frame)
    }

    fn state(&mut self, sources: &Sources) -> Option<Frame> {
        let published = sources.state.published.load_full()?;
        let view = sources.state.view.load();
        let fleet = Fleet::of(&sources.state, &published, &view);
        let sent = Sent {
            published: Arc::clone(&published),
            sites: fleet::site_columns(&fleet),
            nodes: fleet::node_columns(&fleet),
        };
        let before = self.columns.replace(sent);
        let now = self.columns.as_ref()?;
        let same_fleet = |before: &Sent| {
            let topology = |of: &Published| Arc::clone(&of.snapshot.parts().topology);
            let (before, now) = (topology(&before.published), topology(&published));
            before.digest() == now.digest()
        };
        let id = published.snapshot.generation();
        let Some(before) = before.filter(same_fleet) else {
            return Some(Frame::new(Topic::State, id, fleet::columns(&fleet)));
        };
        let sites = changed(&before.sites, &now.sites);
        let nodes = changed(&before.nodes, &now.nodes);
        let message = json!({
            "now_unix_ms": fleet.now_unix_ms, "generation": id, "revision": published.revision, "whole": false,
            "sites": sites, "nodes": nodes,
        });
        Some(Frame::new(Topic::State, id, message))
    }

    fn events(&mut self, sources: &Sources) -> Option<Frame> {
        let journal = &sources.state.journal;
        let newest = journal.counted();
        let before = self.events.replace(newest)?;
        let events = journal.since(before);
        self.events = events.last().map(|it| it.number).or(self.events);
        let frame = || Frame::new(Topic::Events, newest, json!({ "events": events }));
        (!events.is_empty()).then(frame)
    }

    fn decisions(&mut self, sources: &Sources) -> Option<Frame> {
        let recent = sources.recent.recent(MAX_ROWS);
        let newest = recent.first().map_or(0, |kept| kept.number);
        let before = self.decisions.replace(newest)?;
        let rows = recent.iter().filter(|kept| kept.number > before);
        let rows: Vec<Row<'_>> = rows.map(|kept| Row::of(kept)).collect();
        let frame = || Frame::new(Topic::Decisions, newest, json!({ "decisions": rows }));
        (!rows.is_empty()).then(frame)
    }
}

/// Which rows are otherwise than before, and what they are now.
fn changed(before: &[Column], now: &[Column]) -> Value {
    let rows = now.first().map_or(0, |(_, values)| values.len());
    let is_other = |row: &usize| {
        let columns = before.iter().zip(now);
        columns
            .into_iter()
            .any(|((_, before), (_, now))| before.get(*row) != now.get(*row))
    };
    let rows: Vec<usize> = (0..rows).filter(is_other).collect();
    let mut columns: Vec<Column> = now
        .iter()
        .map(|(name, values)| {
            let values = rows.iter().filter_map(|row| values.get(*row).cloned());
            (*name, values.collect())
        })
        .collect();
    columns.push(("i", rows.into_iter().map(|row| json!(row)).collect()));
    fleet::object(columns)
}

fn generation(sources: &Sources) -> u64 {
    let published = sources.state.published.load();
    published.as_ref().map_or(0, |it| it.snapshot.generation())
}

fn clock_frame(sources: &Sources) -> Frame {
    let now = clock::unix_ms();
    let message = json!({ "now_unix_ms": now, "started_unix_ms": sources.process.started_unix_ms });
    Frame::new(Topic::Clock, now, message)
}

/// A whole of each topic.
fn wholes(sources: &Sources, topics: &[Topic]) -> Vec<Frame> {
    let mut frames = vec![clock_frame(sources)];
    for topic in topics {
        frames.extend(match topic {
            Topic::Overview => Some(Frame::new(*topic, generation(sources), overview(sources))),
            Topic::State => sources.state.published.load_full().map(|published| {
                let view = sources.state.view.load();
                let fleet = Fleet::of(&sources.state, &published, &view);
                Frame::new(
                    *topic,
                    published.snapshot.generation(),
                    fleet::columns(&fleet),
                )
            }),
            Topic::Events => {
                let events = sources.state.journal.since(0);
                let newest = sources.state.journal.counted();
                Some(Frame::new(*topic, newest, json!({ "events": events })))
            }
            Topic::Decisions => {
                let recent = sources.recent.recent(MAX_ROWS);
                let rows: Vec<Row<'_>> = recent.iter().map(|kept| Row::of(kept)).collect();
                let newest = rows.len() as u64;
                Some(Frame::new(*topic, newest, json!({ "decisions": rows })))
            }
            Topic::Clock => None,
        });
    }
    frames
}

/// Lets somebody look.
pub(super) async fn stream(sources: SharedSources, parameters: Parameters) -> Response {
    let (sources, parameters) = (sources.0, parameters.0);
    let mut faults = unknown(&parameters, &["topics"]);
    let asked = parameters.get("topics").map_or("overview", String::as_str);
    let mut topics = Vec::new();
    for name in asked.split(',').filter(|name| !name.is_empty()) {
        match Topic::ASKED.iter().find(|topic| topic.name() == name) {
            Some(topic) if !topics.contains(topic) => topics.push(*topic),
            Some(_) => {}
            None => {
                let known: Vec<&str> = Topic::ASKED.iter().map(|topic| topic.name()).collect();
                let name = tradewind_engine::model::printable(name, 32);
                faults.push(format!(
                    "topics: `{name}` is none, allowed: {}",
                    known.join(", ")
                ));
            }
        }
    }
    if !faults.is_empty() {
        return refuse(&faults);
    }
    let Ok(place) = Arc::clone(&sources.streams.places).try_acquire_owned() else {
        let many = format!("{MAX_VIEWERS} are looking already");
        return fault(StatusCode::SERVICE_UNAVAILABLE, &[&many]);
    };
    // Before the wholes are made: what changes in between comes twice rather than never.
    let frames = sources.streams.frames.subscribe();
    let (tell, chunks) = mpsc::channel(4);
    tokio::spawn(show(Arc::clone(&sources), (topics, frames), (tell, place)));
    let chunks = ReceiverStream::new(chunks).map(Ok::<Bytes, Infallible>);
    let mut response = Body::from_stream(chunks).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Shows one viewer what changes, until it goes or shutdown begins.
async fn show(
    sources: Arc<Sources>,
    (topics, mut frames): (Vec<Topic>, broadcast::Receiver<Frame>),
    (tell, _place): (mpsc::Sender<Bytes>, OwnedSemaphorePermit),
) {
    if tell
        .send(Bytes::from_static(b"retry: 1000\n\n"))
        .await
        .is_err()
    {
        return;
    }
    for frame in wholes(&sources, &topics) {
        if tell.send(frame.bytes).await.is_err() {
            return;
        }
    }
    let mut seconds = 0_u64;
    loop {
        let next = tokio::select! {
            next = frames.recv() => next,
            () = tell.closed() => return,
        };
        let sent = match next {
            Ok(frame) if frame.topic == Topic::Clock => {
                seconds += 1;
                if sources.state.status.load().draining {
                    return;
                }
                if seconds.is_multiple_of(COMMENT_EVERY) {
                    drop(tell.send(Bytes::from_static(b": still here\n\n")).await);
                }
                tell.send(frame.bytes).await
            }
            Ok(frame) if topics.contains(&frame.topic) => tell.send(frame.bytes).await,
            Ok(_other) => Ok(()),
            Err(RecvError::Closed) => return,
            Err(RecvError::Lagged(_)) => {
                let mut sent = Ok(());
                for frame in wholes(&sources, &topics) {
                    sent = tell.send(frame.bytes).await;
                }
                sent
            }
        };
        if sent.is_err() {
            return;
        }
    }
}
