//! A tiny HTTP/1.1 client: one connection, one request at a time, all that comes back.
//!
//! It sends bytes as they are given, so that a test can say things that a good client would not.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// In the order they came, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The value of a header that comes once, or `None`.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert_eq!(found.next(), None, "{name} comes twice");
        value
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body, which must be JSON and say so.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(
            self.header("content-type"),
            Some("application/json"),
            "{self:?}"
        );
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// The head of a request, and its body where there is one.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        head.push_str("Host: test.localhost\r\n");
    }
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    if method == "POST" || !body.is_empty() {
        write!(head, "Content-Length: {}\r\n", body.len()).unwrap();
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A connection that is kept.
pub(crate) struct Connection(BufReader<Box<dyn Stream>>);

impl Connection {
    pub(crate) fn tcp(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(Box::new(stream))))
    }

    pub(crate) fn unix(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(Box::new(stream))))
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// Reads an answer to a request whose answers have bodies.
    pub(crate) fn reply(&mut self) -> io::Result<Reply> {
        self.reply_to("GET")
    }

    fn reply_to(&mut self, method: &str) -> io::Result<Reply> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| bad(&line))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad(&line))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut reply = Reply {
            status,
            headers,
            body: Vec::new(),
        };
        if method != "HEAD" && status != 204 && status != 304 {
            reply.body = self.body(&reply)?;
        }
        Ok(reply)
    }

    fn body(&mut self, reply: &Reply) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if reply.header("transfer-encoding").is_some() {
            loop {
                let line = self.line()?;
                let length = u64::from_str_radix(&line, 16).map_err(|_| bad(&line))?;
                self.0.by_ref().take(length).read_to_end(&mut body)?;
                self.line()?;
                if length == 0 {
                    return Ok(body);
                }
            }
        }
        let length = reply
            .header("content-length")
            .and_then(|length| length.parse().ok());
        self.0
            .by_ref()
            .take(length.unwrap_or(u64::MAX))
            .read_to_end(&mut body)?;
        Ok(body)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(Error::new(
                ErrorKind::UnexpectedEof,
                "the connection was closed",
            ));
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// Sends a request and reads its answer.
    pub(crate) fn ask(
        &mut self,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Reply> {
        self.send(&request(method, path, headers, body))?;
        self.reply_to(method)
    }

    /// Asks for a page.
    pub(crate) fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> io::Result<Reply> {
        self.ask(("GET", path), headers, b"")
    }
}

fn bad(line: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("not HTTP: {line:?}"))
}
