//! Where a debug door is, and why it cannot be read: what happened, where, and what to do next.

use std::error::Error;
use std::fmt;
use std::io;
use std::str::FromStr;

use http::StatusCode;
use serde::Deserialize;

use super::clean::plain;
use crate::command::keys::{KeyError, Scheme};
use crate::engine::model::printable;
use crate::sidecar::observe::version;

/// Longest text shown of an answer that is an error, in characters.
const MAX_WORDS: usize = 600;

/// Where a debug door is: `HOST:PORT`, with `http://` or `https://` before it or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    scheme: Scheme,
    address: String,
}

impl Address {
    /// As a socket and a `Host` take it.
    pub(super) fn as_str(&self) -> &str {
        &self.address
    }

    /// What it says of TLS.
    pub(super) fn scheme(&self) -> Scheme {
        self.scheme
    }
}

impl FromStr for Address {
    type Err = DoorError;

    fn from_str(text: &str) -> Result<Self, DoorError> {
        // There is no debug door at a Unix socket; what begins so is no address below.
        let (scheme, bare) = Scheme::split(text);
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        let authority = bare.parse::<http::uri::Authority>().ok();
        let is_good = |authority: &http::uri::Authority| {
            let has_port = authority.port_u16().is_some_and(|port| port > 0);
            has_port && !authority.host().is_empty() && !authority.as_str().contains('@')
        };
        let authority = authority.filter(is_good);
        let authority = authority.filter(|_| scheme != Scheme::Unix);
        let address = authority.map(|authority| Self {
            scheme,
            address: authority.to_string(),
        });
        address.ok_or_else(|| DoorError::Address {
            value: printable(text, 80),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

/// Why a debug door cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DoorError {
    /// Not an address.
    #[error("`{value}` is not a debug door, must be HOST:PORT or http://HOST:PORT")]
    Address {
        /// What was given.
        value: String,
    },
    /// What is to be shown to it cannot be read.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// No machinery to ask with.
    #[error("no network in this process")]
    Runtime(#[source] io::Error),
    /// Nobody answers there.
    #[error(
        "nobody answers at {door}; start the sidecar, or say by --debug where its debug door is"
    )]
    Connect {
        /// Where.
        door: Address,
        /// Why.
        source: io::Error,
    },
    /// No answer in time.
    #[error("{door} said nothing for {seconds} s, asked for {page}")]
    Silent {
        /// Where.
        door: Address,
        /// What was asked for.
        page: String,
        /// How long.
        seconds: u64,
    },
    /// The connection ended before the answer did.
    #[error("the connection to {door} ended while {page} was read")]
    Broke {
        /// Where.
        door: Address,
        /// What was asked for.
        page: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// It answered with an error.
    #[error("{door} {} {page}: {words}", refusal(*status))]
    Refused {
        /// Where.
        door: Address,
        /// What was asked for.
        page: String,
        /// The status.
        status: StatusCode,
        /// What it said.
        words: String,
    },
    /// It answered with something else.
    #[error(
        "{door} answers {page}, but not as {theirs} is understood here; ask with the `tradewind` of its version, this is {}",
        version::VERSION
    )]
    Shape {
        /// Where.
        door: Address,
        /// What was asked for.
        page: String,
        /// What answers there.
        theirs: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl DoorError {
    /// True where asking again may help: it is gone for the moment.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Silent { .. } | Self::Broke { .. } => true,
            Self::Refused { status, .. } => *status == StatusCode::SERVICE_UNAVAILABLE,
            Self::Address { .. } | Self::Keys(_) | Self::Runtime(_) | Self::Shape { .. } => false,
        }
    }

    /// True where nothing is in force yet.
    pub(super) fn is_not_ready(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::SERVICE_UNAVAILABLE)
    }
}

/// What a status says of a page, as a verb.
fn refusal(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "has no page",
        StatusCode::SERVICE_UNAVAILABLE => "has no answer yet to",
        _ => "does not answer",
    }
}

/// What an answer that is an error says: its `error`, or its first line where it is plain text.
pub(super) fn words_of(status: StatusCode, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Fault {
        error: String,
    }
    if let Ok(fault) = serde_json::from_slice::<Fault>(body) {
        return plain(&fault.error, MAX_WORDS);
    }
    let text = String::from_utf8_lossy(body);
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() || line.starts_with('<') {
        return format!(
            "status {}, which no sidecar says so; is it another program?",
            status.as_u16()
        );
    }
    plain(line, MAX_WORDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_are_addresses_with_or_without_their_scheme() {
        for (text, door) in [
            ("127.0.0.1:7071", "127.0.0.1:7071"),
            ("http://[::1]:7071/", "[::1]:7071"),
            ("http://localhost:80", "localhost:80"),
            ("https://edge-7:7071/", "edge-7:7071"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), door);
        }
        for text in [
            "",
            "7071",
            "localhost",
            "a:0",
            "ftp://a:1",
            "u@a:1",
            "unix:/x",
            "http://a:1/x",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_error_is_told_in_its_own_words_or_as_no_sidecars() {
        let of = |body: &str| words_of(StatusCode::BAD_GATEWAY, body.as_bytes());
        assert_eq!(
            of(r#"{"error":"no policy\u001b is in force"}"#),
            "no policy\u{fffd} is in force"
        );
        assert_eq!(
            of("this door speaks gRPC\nand more"),
            "this door speaks gRPC"
        );
        assert!(of("<html>").contains("another program"));
    }
}
