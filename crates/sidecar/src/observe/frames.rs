//! Events on their way to those who look: encoded once, and shared by all of them.

use std::sync::Arc;

use axum::body::Bytes;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

/// Viewers at once; more are turned away, so that health and metrics always find a connection.
pub const MAX_VIEWERS: usize = 100;

/// Frames that a viewer may be behind before it gets wholes again: ten seconds.
const BEHIND: usize = 64;

/// What can be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// What time it is, each second.
    Clock,
    /// The four answers and what needs a look.
    Overview,
    /// Nodes and sites in columns.
    State,
    /// What happened.
    Events,
    /// Short rows of sampled decisions.
    Decisions,
}

impl Topic {
    /// Those that can be asked for; the clock comes with all.
    pub const ASKED: &'static [Self] =
        &[Self::Overview, Self::State, Self::Events, Self::Decisions];

    /// Its name in URLs and events.
    pub const fn name(self) -> &'static str {
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
pub struct Frame {
    /// Of what.
    pub topic: Topic,
    /// As it is sent.
    pub bytes: Bytes,
}

impl Frame {
    /// An event with this number.
    pub fn new(topic: Topic, id: u64, value: &Value) -> Self {
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

impl Streams {
    /// Whether anybody looks.
    pub fn is_watched(&self) -> bool {
        self.frames.receiver_count() > 0
    }

    /// Sends a frame to all who look; they may have gone meanwhile.
    pub fn send(&self, frame: Frame) {
        drop(self.frames.send(frame));
    }

    /// The frames from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Frame> {
        self.frames.subscribe()
    }

    /// A place for one who looks, if there is any.
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }
}
