//! Where lines come from: a file that grows, datagrams, standard input. Each is read by a thread of its own, which waits
//! while nobody takes its lines; what the system cannot keep meanwhile is lost (datagrams) or read later (files).

use std::fmt;
use std::io::{self, BufRead};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::{self, Receiver, Sender};

use super::lines::{Line, Lines, MAX_LINE_BYTES};
use super::tail::Tail;

/// Lines that wait at most.
const MAX_WAITING: usize = 4_096;

/// How often a file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Largest datagram.
const MAX_DATAGRAM_BYTES: usize = 64 << 10;

/// Where lines come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file that is followed.
    File(PathBuf),
    /// Datagrams to this address, a line each, as syslog sends them.
    Syslog(SocketAddr),
    /// Standard input.
    Stdin,
}

/// Not a source, or one that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Not an address to take datagrams at.
    #[error("`syslog:{value}` is no source, must be syslog:ADDR:PORT with an IP address")]
    Address {
        /// What was given.
        value: String,
    },
    /// Nothing.
    #[error("an empty name is no source, must be FILE, syslog:ADDR:PORT or -")]
    Empty,
    /// The address cannot be taken, or the thread not be started.
    #[error("{source_name} cannot be read")]
    Open {
        /// Which.
        source_name: String,
        /// Why.
        source: io::Error,
    },
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        match (text, text.strip_prefix("syslog:")) {
            ("", _) => Err(SourceError::Empty),
            ("-", _) => Ok(Self::Stdin),
            (_, Some(address)) => {
                let read = address.parse().ok();
                let read = read.filter(|address: &SocketAddr| address.port() > 0);
                read.map(Self::Syslog).ok_or_else(|| SourceError::Address {
                    value: address.chars().take(80).collect(),
                })
            }
            (path, None) => Ok(Self::File(path.into())),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "`{}`", path.display()),
            Self::Syslog(address) => write!(f, "syslog:{address}"),
            Self::Stdin => f.write_str("standard input"),
        }
    }
}

impl Source {
    /// Begins to read. `from_start` is about what a file holds already.
    pub(super) fn open(&self, from_start: bool) -> Result<Receiver<Line>, SourceError> {
        let failed = |source| SourceError::Open {
            source_name: self.to_string(),
            source,
        };
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let read: Box<dyn FnOnce() + Send> = match self {
            Self::Stdin => Box::new(move || read_all(&mut io::stdin().lock(), &sender)),
            Self::Syslog(address) => {
                let socket = UdpSocket::bind(address).map_err(failed)?;
                Box::new(move || take_datagrams(&socket, &sender))
            }
            Self::File(path) => {
                let mut tail = Tail::new(path, from_start).map_err(failed)?;
                Box::new(move || {
                    while tail.look(&mut |line| sender.blocking_send(line).is_ok()) {
                        thread::sleep(LOOK_EVERY);
                    }
                })
            }
        };
        let started = thread::Builder::new().name("source".to_owned()).spawn(read);
        started.map_err(failed)?;
        Ok(receiver)
    }
}

/// Reads to the end.
fn read_all(input: &mut impl BufRead, sender: &Sender<Line>) {
    let mut lines = Lines::default();
    loop {
        let length = match input.fill_buf() {
            Ok([]) | Err(_) => break,
            Ok(bytes) => {
                if !lines.add(bytes, &mut |line| sender.blocking_send(line).is_ok()) {
                    return;
                }
                bytes.len()
            }
        };
        input.consume(length);
    }
    // The last line may have no end.
    lines.add(b"\n", &mut |line| sender.blocking_send(line).is_ok());
}

/// Takes datagrams for as long as somebody takes the lines.
fn take_datagrams(socket: &UdpSocket, sender: &Sender<Line>) {
    let mut room = vec![0; MAX_DATAGRAM_BYTES];
    loop {
        // An error is about an earlier datagram, or nothing that waiting would not end.
        let Ok(length) = socket.recv(&mut room) else {
            thread::sleep(LOOK_EVERY);
            continue;
        };
        let datagram = room.get(..length).unwrap_or_default().trim_ascii();
        let line = if datagram.len() > MAX_LINE_BYTES {
            Line::TooLong
        } else {
            Line::Whole(datagram.to_vec())
        };
        if sender.blocking_send(line).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_files_datagrams_or_standard_input() {
        let of = |text: &str| text.parse::<Source>().unwrap();
        assert_eq!(of("-"), Source::Stdin);
        assert_eq!(of("/var/log/x"), Source::File("/var/log/x".into()));
        let address = "127.0.0.1:7074".parse().unwrap();
        assert_eq!(of("syslog:127.0.0.1:7074"), Source::Syslog(address));
        for text in ["-", "syslog:[::1]:7074"] {
            assert!(!of(text).to_string().is_empty());
        }
        for text in ["", "syslog:", "syslog:localhost", "syslog:127.0.0.1:0"] {
            text.parse::<Source>().unwrap_err();
        }
    }

    #[test]
    fn standard_input_needs_no_line_end_at_its_end() {
        let (sender, mut receiver) = mpsc::channel(8);
        read_all(&mut io::Cursor::new("one\ntwo"), &sender);
        drop(sender);
        let mut read = Vec::new();
        while let Some(line) = receiver.blocking_recv() {
            read.push(line);
        }
        let wanted = ["one", "two"].map(|line| Line::Whole(line.into()));
        assert_eq!(read, wanted);
    }
}
