//! What is wrong with a request, and whose fault it is.

use std::fmt;

use http::StatusCode;

/// What is wrong with a request; every fault, each naming its field.
#[derive(Debug, Clone, PartialEq, Eq, Default, thiserror::Error)]
pub struct WireError {
    faults: Vec<Fault>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    blame: Blame,
    words: String,
}

/// Whose fault it is that a request cannot be read.
///
/// What a client did wrong is answered to the client, so that nobody gets past a rule by sending what cannot be read. What
/// whoever asks did wrong is an error of the call, and a proxy does then what it was told to do without us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// The client: 400.
    Client,
    /// The client, whose path or query is too long: 414.
    TargetTooLong,
    /// The client, whose headers are too large: 431.
    HeadersTooLarge,
    /// Whoever asks.
    Caller,
}

impl Blame {
    fn status(self) -> Option<StatusCode> {
        match self {
            Self::Client => Some(StatusCode::BAD_REQUEST),
            Self::TargetTooLong => Some(StatusCode::URI_TOO_LONG),
            Self::HeadersTooLarge => Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            Self::Caller => None,
        }
    }
}

impl WireError {
    /// These faults of whoever asks.
    pub(super) fn of_caller(faults: Vec<String>) -> Self {
        let faults = faults.into_iter().map(|words| Fault {
            blame: Blame::Caller,
            words,
        });
        Self {
            faults: faults.collect(),
        }
    }

    /// These, and then those.
    pub(super) fn and(mut self, more: Self) -> Self {
        self.faults.extend(more.faults);
        self
    }

    /// The status to answer the client with, if it is a fault of the client that the request cannot be read: of its first.
    pub fn client_status(&self) -> Option<StatusCode> {
        self.faults.iter().find_map(|fault| fault.blame.status())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    pub(super) fn add(&mut self, blame: Blame, field: &str, message: impl fmt::Display) {
        self.faults.push(Fault {
            blame,
            words: format!("{field}: {message}"),
        });
    }

    #[inline]
    pub(super) fn at_most(&mut self, blame: Blame, field: &str, length: usize, limit: usize) {
        if length > limit {
            self.add_too_long(blame, field, length, limit);
        }
    }

    #[cold]
    fn add_too_long(&mut self, blame: Blame, field: &str, length: usize, limit: usize) {
        let message = format_args!("has {length} bytes, at most {limit} are allowed");
        self.add(blame, field, message);
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.faults.iter().map(|fault| &*fault.words).collect();
        f.write_str(&words.join("; "))
    }
}
