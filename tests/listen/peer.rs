//! An HTTP/2 peer made of raw frames, for what a well-behaved client would never send and for cheap load.

#![allow(dead_code, reason = "each binary that includes this uses its own part")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Of SETTINGS and PING.
pub(crate) const ACK: u8 = 1;
/// Of DATA and HEADERS.
pub(crate) const END_STREAM: u8 = 1;
/// Of HEADERS and CONTINUATION.
pub(crate) const END_HEADERS: u8 = 4;

/// A frame as it came.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// A connection that writes and reads frames, and answers nothing by itself.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) socket: TcpStream,
    buffer: Vec<u8>,
    /// Where the unread bytes of `buffer` begin.
    start: usize,
}

impl Peer {
    /// A connected socket that has said nothing.
    pub(crate) fn silent(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        socket
            .set_write_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        Self {
            socket,
            buffer: Vec::new(),
            start: 0,
        }
    }

    /// A connection that has sent the preface and these settings (identifier, value).
    pub(crate) fn greet(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut peer = Self::silent(address);
        let mut hello = PREFACE.to_vec();
        let settings: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| id.to_be_bytes().into_iter().chain(value.to_be_bytes()))
            .collect();
        push_frame(&mut hello, SETTINGS, 0, 0, &settings);
        peer.socket.write_all(&hello).unwrap();
        peer
    }

    pub(crate) fn send(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        push_frame(&mut bytes, kind, flags, stream, payload);
        self.socket.write_all(&bytes)
    }

    /// A whole unary call.
    pub(crate) fn call(&mut self, stream: u32, path: &str, message: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::new();
        push_call(&mut bytes, stream, path, message);
        self.socket.write_all(&bytes)
    }

    /// The next frame; `None` at the end of the stream. A reset counts as the end.
    pub(crate) fn read(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.take_frame() {
                return Ok(Some(frame));
            }
            if self.fill()? == 0 {
                return Ok(None);
            }
        }
    }

    /// Reads until a frame of this kind comes; `None` if the stream ends first.
    pub(crate) fn read_until(&mut self, kind: u8) -> Option<Frame> {
        while let Some(frame) = self.read().unwrap() {
            if frame.kind == kind {
                return Some(frame);
            }
        }
        None
    }

    /// Reads until the server has taken our settings. A connection that is drained before that is closed without a word.
    pub(crate) fn read_until_greeted(&mut self) {
        let mut flags = 0;
        while flags & ACK == 0 {
            flags = self.read_until(SETTINGS).unwrap().flags;
        }
    }

    /// Reads on until the stream ends.
    pub(crate) fn read_to_end(&mut self) {
        while self.read().unwrap().is_some() {}
    }

    /// Reads more bytes, at most 64 KiB; 0 at the end.
    pub(crate) fn fill(&mut self) -> io::Result<usize> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let filled = self.buffer.len();
        self.buffer.resize(filled + 64 * 1_024, 0);
        let got = match self.socket.read(&mut self.buffer[filled..]) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(0),
            got => got,
        };
        self.buffer.truncate(filled + got.as_ref().unwrap_or(&0));
        got
    }

    /// A frame that has been read already.
    pub(crate) fn take_frame(&mut self) -> Option<Frame> {
        let (kind, flags, stream, length) = self.peek()?;
        let from = self.start + 9;
        self.start = from + length;
        Some(Frame {
            kind,
            flags,
            stream,
            payload: self.buffer[from..self.start].to_vec(),
        })
    }

    /// Skips a frame that has been read already: its kind, flags and stream.
    pub(crate) fn skip_frame(&mut self) -> Option<(u8, u8, u32)> {
        let (kind, flags, stream, length) = self.peek()?;
        self.start += 9 + length;
        Some((kind, flags, stream))
    }

    fn peek(&self) -> Option<(u8, u8, u32, usize)> {
        let rest = &self.buffer[self.start..];
        let head = rest.get(..9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        (rest.len() >= 9 + length).then_some((head[3], head[4], stream, length))
    }
}

/// Appends one frame.
pub(crate) fn push_frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    bytes.extend_from_slice(&length[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

/// Appends a whole unary gRPC call.
pub(crate) fn push_call(bytes: &mut Vec<u8>, stream: u32, path: &str, message: &[u8]) {
    push_frame(bytes, HEADERS, END_HEADERS, stream, &head(path, 0));
    let mut data = vec![0];
    data.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    data.extend_from_slice(message);
    push_frame(bytes, DATA, END_STREAM, stream, &data);
}

/// The header block of a gRPC request, in HPACK without its table, plus `padding` bytes of one more header.
pub(crate) fn head(path: &str, padding: usize) -> Vec<u8> {
    // The static table's ":method: POST" and ":scheme: http".
    let mut block = vec![0x83, 0x86];
    block.push(0x04);
    push_text(&mut block, path.as_bytes());
    block.push(0x01);
    push_text(&mut block, b"localhost");
    block.extend_from_slice(&[0x0f, 0x10]);
    push_text(&mut block, b"application/grpc");
    block.push(0x00);
    push_text(&mut block, b"te");
    push_text(&mut block, b"trailers");
    if padding > 0 {
        block.push(0x00);
        push_text(&mut block, b"padding");
        push_text(&mut block, &vec![b'x'; padding]);
    }
    block
}

/// A length of any size with a prefix of seven bits, then the text.
fn push_text(block: &mut Vec<u8>, text: &[u8]) {
    let mut length = text.len();
    if length < 127 {
        block.push(u8::try_from(length).unwrap());
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push(u8::try_from(length % 128).unwrap() | 128);
            length /= 128;
        }
        block.push(u8::try_from(length).unwrap());
    }
    block.extend_from_slice(text);
}
