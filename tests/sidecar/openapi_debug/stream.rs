//! The stream of what changes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tradewind::sidecar::clock::timer_now;

use super::actions::act_of;
use super::book::Book;
use super::get;
use crate::http::{Connection, Reply};
use crate::server::{Files, PATIENCE, Server};

/// One who looks.
struct Viewer {
    from: BufReader<TcpStream>,
    head: Vec<String>,
    /// What has come of events that are not whole yet.
    text: String,
}

/// An event of the stream.
#[derive(Debug)]
struct Event {
    name: String,
    id: u64,
    data: Value,
}

impl Viewer {
    fn open(server: &Server, topics: &str) -> Self {
        let mut to = TcpStream::connect(server.debug).unwrap();
        to.set_read_timeout(Some(PATIENCE)).unwrap();
        let asked = format!("GET /debug/stream{topics} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        to.write_all(asked.as_bytes()).unwrap();
        let mut from = BufReader::new(to);
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            from.read_line(&mut line).unwrap();
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_owned());
        }
        assert!(head[0].contains(" 200 "), "{head:?}");
        Self {
            from,
            head,
            text: String::new(),
        }
    }

    /// The answer as it began, without what comes.
    fn reply(&self) -> Reply {
        let headers = self.head[1..].iter();
        let headers = headers.map(|line| line.split_once(": ").unwrap());
        Reply {
            status: 200,
            headers: headers
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect(),
            body: Vec::new(),
        }
    }

    /// The next lines up to an empty one.
    fn block(&mut self) -> String {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return block;
            }
            let mut line = String::new();
            self.from.read_line(&mut line).unwrap();
            let length = usize::from_str_radix(line.trim(), 16).unwrap();
            let mut chunk = vec![0; length + 2];
            self.from.read_exact(&mut chunk).unwrap();
            chunk.truncate(length);
            self.text += &String::from_utf8(chunk).unwrap();
        }
    }

    /// The next event; comments are none.
    fn next(&mut self) -> Event {
        loop {
            let block = self.block();
            if block.starts_with(':') {
                continue;
            }
            let field = |name: &str| {
                let mut lines = block.lines();
                let found = lines.find_map(|line| line.strip_prefix(name));
                found
                    .unwrap_or_else(|| panic!("no {name} in {block}"))
                    .to_owned()
            };
            return Event {
                name: field("event: "),
                id: field("id: ").parse().unwrap(),
                data: serde_json::from_str(&field("data: ")).unwrap(),
            };
        }
    }
}

/// That an event is of those that the document has.
#[track_caller]
fn take(book: &mut Book, event: &Event) {
    let stream = book.document.operation(("GET", "/debug/stream"));
    let content = &stream["responses"]["200"]["content"]["text/event-stream"];
    let mut schema = &content["x-events"][&event.name];
    if event.name == "state" {
        let is_whole = event.data["whole"] == true;
        schema = &schema["oneOf"][usize::from(!is_whole)];
    }
    let schema = schema.clone();
    book.take_value(&schema, &event.data, &event.name);
}

const ALL: &str = "?topics=overview,state,events,decisions";

/// The wholes that come first, and what comes next of each.
pub(super) fn take_first(book: &mut Book, server: &Server) {
    let mut viewer = Viewer::open(server, ALL);
    assert_eq!(viewer.block(), "retry: 1000");
    let mut left = vec![
        "changes",
        "clock",
        "overview",
        "state",
        "events",
        "decisions",
    ];
    while !left.is_empty() {
        let event = viewer.next();
        take(book, &event);
        let is_change = event.name == "state" && event.data["whole"] == false;
        let name = if is_change { "changes" } else { &event.name };
        left.retain(|known| *known != name);
    }
}

#[tokio::test]
async fn a_whole_of_each_topic_comes_first_and_then_what_changes_at_once() {
    let mut book = Book::open();
    let files = Files::new();
    let server = files.setup().start().await;
    let mut viewer = Viewer::open(&server, ALL);
    book.take(("GET", "/debug/stream"), &viewer.reply());
    assert_eq!(viewer.block(), "retry: 1000");
    let first: Vec<Event> = (0..5).map(|_| viewer.next()).collect();
    let names: Vec<&str> = first.iter().map(|event| &*event.name).collect();
    assert_eq!(names, ["clock", "overview", "state", "events", "decisions"]);
    for event in &first {
        take(&mut book, event);
    }
    let whole = &first[2].data;
    assert_eq!(whole["whole"], true);
    let ids = whole["nodes"]["id"].as_array().unwrap();
    let row = ids.iter().position(|id| id == "fra-1").unwrap();
    // At once, while what this viewer is sent later is not begun yet; and again, when it is.
    let mut last = first[3].id;
    for (action, mark) in [("drain", "drained"), ("undrain", "well")] {
        let body = json!({ "node": "fra-1", "reason": action });
        let began = timer_now();
        let done = act_of(&mut book, &server, (action, "1"), &body);
        assert_eq!(done.status, 200, "{done:?}");
        let (mut is_row, mut is_event) = (false, false);
        while !(is_row && is_event) {
            let event = viewer.next();
            take(&mut book, &event);
            if event.name == "state" {
                let nodes = &event.data["nodes"];
                let is_whole = event.data["whole"] == true;
                assert!(!is_whole || action == "drain", "nothing but states changed");
                let rows = nodes["i"].as_array();
                let at = rows.map_or(Some(row), |rows| rows.iter().position(|it| *it == row));
                is_row |= at.is_some_and(|at| nodes["mark"][at] == mark);
            }
            if event.name == "events" {
                assert!(event.id >= last, "{event:?}");
                last = event.id;
                let mut all = event.data["events"].as_array().unwrap().iter();
                is_event |= all.any(|it| {
                    it["kind"] == "override" && it["node"] == "fra-1" && it["why"] == action
                });
            }
            let took = began.elapsed();
            assert!(
                took < Duration::from_secs(3),
                "{action}: {is_row} {is_event} {event:?}"
            );
        }
    }
}

#[tokio::test]
async fn only_what_is_asked_for_comes_and_only_to_a_hundred() {
    let mut book = Book::open();
    let files = Files::new();
    let server = files.setup().start().await;
    for (topics, own) in [("", "overview"), ("?topics=events", "events")] {
        let mut viewer = Viewer::open(&server, topics);
        assert_eq!(viewer.block(), "retry: 1000");
        let mut clocks = 0;
        while clocks < 3 {
            let event = viewer.next();
            take(&mut book, &event);
            clocks += usize::from(event.name == "clock");
            assert!(["clock", own].contains(&&*event.name), "{event:?}");
        }
    }
    let reply = get(&server, "/debug/stream?topics=overview,weather");
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("`weather` is none"), "{reply:?}");
    book.take(("GET", "/debug/stream"), &reply);
    let is_free = || Connection::tcp(server.debug).is_ok();
    server.until("there are connections", is_free).await;
    let mut viewers = Vec::new();
    for _ in 0..100 {
        // Those before may not be gone yet.
        server
            .until("there is a place", || has_place(&server, &mut viewers))
            .await;
    }
    let reply = get(&server, "/debug/stream");
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(
        reply.text().contains("100 are looking already"),
        "{reply:?}"
    );
    book.take(("GET", "/debug/stream"), &reply);
    drop(viewers);
    server
        .until("the places are free again", || {
            has_place(&server, &mut Vec::new())
        })
        .await;
}

/// Whether one more may look, who is kept then.
fn has_place(server: &Server, viewers: &mut Vec<TcpStream>) -> bool {
    let mut to = TcpStream::connect(server.debug).unwrap();
    to.set_read_timeout(Some(PATIENCE)).unwrap();
    to.write_all(b"GET /debug/stream HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    let mut status = [0; 12];
    to.read_exact(&mut status).unwrap();
    let is_ok = status.ends_with(b"200");
    if is_ok {
        viewers.push(to);
    }
    is_ok
}
