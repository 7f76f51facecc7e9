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
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc};
use tokio::time::{self, MissedTickBehavior};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::answer::{fault, refuse, tidied};
use super::decisions::Row;
use super::fleet::{self, Column};
use super::{Parameters, SharedSources, unknown};
use crate::clock;
use crate::observe::fleet::Fleet;
use crate::observe::frames::{Frame, MAX_VIEWERS, Topic};
use crate::observe::metrics::Sources;
use crate::observe::overview::overview;
use crate::state::Published;

/// How often what has changed is encoded.
const EVERY: Duration = Duration::from_secs(1);

/// Decisions in one frame at most: a sample of the sample, for eyes.
const MAX_ROWS: usize = 50;

/// Every how many frames a comment is sent, so that proxies in between keep the connection.
const COMMENT_EVERY: u64 = 5;

/// Encodes what has changed, until it is aborted.
pub async fn encode_all(sources: Sources) {
    let mut tick = time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut encoder = Encoder::default();
    loop {
        tick.tick().await;
        if !sources.streams.is_watched() {
            encoder = Encoder::unwatched(&sources);
            continue;
        }
        for frame in encoder.frames(&sources) {
            sources.streams.send(frame);
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
    /// What has come while nobody looks need not be sent; whoever looks next gets what comes from here on, beside a whole.
    fn unwatched(sources: &Sources) -> Self {
        Self {
            events: Some(sources.state.journal.counted()),
            decisions: Some(newest(sources)),
            ..Self::default()
        }
    }

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
        let sent = frame(Topic::Overview, generation(sources), &now);
        let is_new = self.overview.replace(now.clone()).as_ref() != Some(&now);
        is_new.then_some(sent)
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
            return Some(frame(Topic::State, id, fleet::columns(&fleet)));
        };
        let sites = changed(&before.sites, &now.sites);
        let nodes = changed(&before.nodes, &now.nodes);
        let message = json!({
            "now_unix_ms": fleet.now_unix_ms, "generation": id, "revision": published.revision, "whole": false,
            "sites": sites, "nodes": nodes,
        });
        Some(frame(Topic::State, id, message))
    }

    fn events(&mut self, sources: &Sources) -> Option<Frame> {
        let journal = &sources.state.journal;
        let newest = journal.counted();
        let before = self.events.replace(newest)?;
        let events = journal.since(before);
        self.events = events.last().map(|it| it.number).or(self.events);
        let sent = || frame(Topic::Events, newest, json!({ "events": events }));
        (!events.is_empty()).then(sent)
    }

    fn decisions(&mut self, sources: &Sources) -> Option<Frame> {
        let recent = sources.recent.recent(MAX_ROWS);
        let newest = recent.first().map_or(0, |kept| kept.number);
        let before = self.decisions.replace(newest)?;
        let rows = recent.iter().filter(|kept| kept.number > before);
        let rows: Vec<Row<'_>> = rows.map(|kept| Row::of(kept)).collect();
        let sent = || frame(Topic::Decisions, newest, json!({ "decisions": rows }));
        (!rows.is_empty()).then(sent)
    }
}

/// The number of the newest decision that is kept; 0 for none.
fn newest(sources: &Sources) -> u64 {
    let recent = sources.recent.recent(1);
    recent.first().map_or(0, |kept| kept.number)
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

/// An event of what `value` serializes to.
fn frame(topic: Topic, id: u64, value: impl Serialize) -> Frame {
    Frame::new(topic, id, &tidied(value))
}

fn generation(sources: &Sources) -> u64 {
    let published = sources.state.published.load();
    published.as_ref().map_or(0, |it| it.snapshot.generation())
}

fn clock_frame(sources: &Sources) -> Frame {
    let now = clock::unix_ms();
    let message = json!({ "now_unix_ms": now, "started_unix_ms": sources.process.started_unix_ms });
    frame(Topic::Clock, now, message)
}

/// A whole of each topic.
fn wholes(sources: &Sources, topics: &[Topic]) -> Vec<Frame> {
    let mut frames = vec![clock_frame(sources)];
    for topic in topics {
        frames.extend(match topic {
            Topic::Overview => Some(frame(*topic, generation(sources), overview(sources))),
            Topic::State => sources.state.published.load_full().map(|published| {
                let view = sources.state.view.load();
                let fleet = Fleet::of(&sources.state, &published, &view);
                frame(
                    *topic,
                    published.snapshot.generation(),
                    fleet::columns(&fleet),
                )
            }),
            Topic::Events => {
                let events = sources.state.journal.since(0);
                let newest = sources.state.journal.counted();
                Some(frame(*topic, newest, json!({ "events": events })))
            }
            Topic::Decisions => {
                let recent = sources.recent.recent(MAX_ROWS);
                let rows: Vec<Row<'_>> = recent.iter().map(|kept| Row::of(kept)).collect();
                let newest = recent.first().map_or(0, |kept| kept.number);
                Some(frame(*topic, newest, json!({ "decisions": rows })))
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
    let Some(place) = sources.streams.place() else {
        let many = format!("{MAX_VIEWERS} are looking already");
        return fault(StatusCode::SERVICE_UNAVAILABLE, &[&many]);
    };
    // Before the wholes are made: what changes in between comes twice rather than never.
    let frames = sources.streams.subscribe();
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
