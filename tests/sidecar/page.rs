//! Pages of the debug door, asked for in plain HTTP/1.1.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::openmetrics;
use crate::server::Server;

/// An answer of the debug door.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Page {
    /// The body, which must be JSON and say so.
    pub(crate) fn json(&self) -> Value {
        assert!(
            self.head.contains("content-type: application/json"),
            "{self:?}"
        );
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// Asks for one page on a connection of its own. Status 0: the door did not answer.
pub(crate) fn get(address: SocketAddr, path: &str) -> Page {
    let mut whole = String::new();
    if let Ok(mut socket) = TcpStream::connect(address) {
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let asked = socket.write_all(request.as_bytes());
        drop(asked.and_then(|()| socket.read_to_string(&mut whole)));
    }
    let (head, body) = whole.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Page {
        status: status.unwrap_or(0),
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

impl Server {
    pub(crate) fn get(&self, path: &str) -> Page {
        get(self.debug, path)
    }

    /// The value of a metric's sample, which is given as it is written; 0 while it is absent.
    pub(crate) fn metric(&self, sample: &str) -> f64 {
        let page = self.get("/metrics");
        let samples = openmetrics::read(&page.body).unwrap();
        samples.get(sample).copied().unwrap_or(0.0)
    }

    /// What a metric counts, as a whole number.
    pub(crate) fn count(&self, sample: &str) -> i64 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "counts of a test are small"
        )]
        let count = self.metric(sample).round() as i64;
        count
    }
}
