//! Server-sent events, as far as the debug door sends them.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::door::{Door, Page};
use super::fault::DoorError;

/// How long nothing may come: the door says what time it is each second.
const SILENCE: Duration = Duration::from_secs(6);

/// Longest event that is taken, in bytes.
const MAX_EVENT_BYTES: usize = 64 << 20;

/// Something that is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// What it is about.
    pub(super) name: String,
    /// JSON.
    pub(super) data: String,
}

/// Events as they come.
#[derive(Debug)]
pub(super) struct Stream {
    body: Incoming,
    buffer: Buffer,
}

impl Stream {
    /// Begins to read a page of events.
    pub(super) async fn open((door, page): (&Door, &Page)) -> Result<Self, DoorError> {
        Ok(Self {
            body: door.begin(page).await?,
            buffer: Buffer::default(),
        })
    }

    /// The next event; an error at the end, since there is always another one to come.
    pub(super) async fn next(&mut self, (door, page): (&Door, &Page)) -> Result<Event, DoorError> {
        loop {
            if let Some(event) = self.buffer.take() {
                return Ok(event);
            }
            if self.buffer.bytes.len() > MAX_EVENT_BYTES {
                return Err(door.broke(page, "an event is too long"));
            }
            let frame = tokio::time::timeout(SILENCE, self.body.frame()).await;
            let frame = frame.map_err(|_| door.silent(page, SILENCE))?;
            let frame = frame.ok_or_else(|| door.broke(page, "the sidecar ended it"))?;
            let frame = frame.map_err(|source| door.broke(page, source))?;
            if let Some(bytes) = frame.data_ref() {
                self.buffer.bytes.extend_from_slice(bytes);
            }
        }
    }
}

/// Bytes that are not an event yet.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// How many of them were looked at.
    looked_at: usize,
}

impl Buffer {
    /// Takes the first event out, if there is a whole one.
    fn take(&mut self) -> Option<Event> {
        loop {
            let rest = self.bytes.get(self.looked_at..).unwrap_or_default();
            let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n") else {
                // The first half of an end may be there already.
                self.looked_at = self.bytes.len().saturating_sub(1);
                return None;
            };
            let after = self.looked_at + end + 2;
            let block: Vec<u8> = self.bytes.drain(..after).collect();
            self.looked_at = 0;
            // A comment, or how soon to try again, is no event.
            if let Some(event) = event(&String::from_utf8_lossy(&block)) {
                return Some(event);
            }
        }
    }
}

fn event(block: &str) -> Option<Event> {
    let (mut name, mut data) = (None, Vec::new());
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = Some(value.to_owned()),
            "data" => data.push(value),
            _ => {}
        }
    }
    let data = data.join("\n");
    let name = name.filter(|_| !data.is_empty())?;
    Some(Event { name, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_whole_however_they_are_cut() {
        let text = b"retry: 1000\n\nevent: clock\nid: 7\ndata: {\"a\":1}\n\n: still here\n\nevent: state\ndata: {}\n\n";
        for size in 1..=text.len() {
            let (mut buffer, mut events) = (Buffer::default(), Vec::new());
            for part in text.chunks(size) {
                buffer.bytes.extend_from_slice(part);
                events.extend(std::iter::from_fn(|| buffer.take()));
            }
            let told: Vec<(&str, &str)> = events
                .iter()
                .map(|event| (event.name.as_str(), event.data.as_str()))
                .collect();
            assert_eq!(told, [("clock", "{\"a\":1}"), ("state", "{}")], "{size}");
            assert!(buffer.bytes.is_empty());
        }
    }
}
