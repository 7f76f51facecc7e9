//! The 24 bytes every HTTP/2 client sends first, and a stream that gives them back.
//!
//! They are read before any HTTP/2 state is made: a peer that says nothing costs a task and 24 bytes,
//! and is closed at a deadline of ours. HTTP/2's own keepalive starts only afterwards. The doors that speak HTTP/1.1 look
//! for them too, so that an HTTP/2 client can be told that it is at the wrong door.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What an HTTP/2 client must send first (RFC 9113, section 3.4).
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream whose first bytes have been read, to know what is spoken, and are still owed to the next reader.
#[derive(Debug)]
pub(crate) struct Opened<T> {
    stream: T,
    seen: [u8; PREFACE.len()],
    /// What of `seen` has not been given back yet.
    owed: Range<usize>,
    speaks_http2: bool,
}

impl<T: AsyncRead + Unpin> Opened<T> {
    /// Reads until it is clear whether the peer speaks HTTP/2; an error if the stream ends before.
    pub(crate) async fn read(mut stream: T) -> io::Result<Self> {
        let mut seen = [0; PREFACE.len()];
        let mut length = 0;
        loop {
            let rest = seen.get_mut(length..).unwrap_or_default();
            let more = stream.read(rest).await?;
            if more == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            length += more;
            let so_far = seen.get(..length).unwrap_or_default();
            let speaks_http2 = PREFACE.starts_with(so_far);
            if length == PREFACE.len() || !speaks_http2 {
                return Ok(Self {
                    stream,
                    seen,
                    owed: 0..length,
                    speaks_http2,
                });
            }
        }
    }

    /// Whether the peer began as HTTP/2 begins.
    pub(crate) fn speaks_http2(&self) -> bool {
        self.speaks_http2
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Opened<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.owed.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let end = self.owed.end.min(self.owed.start + buf.remaining());
        buf.put_slice(self.seen.get(self.owed.start..end).unwrap_or_default());
        self.owed.start = end;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Opened<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn the_preface_is_given_back_in_any_pieces() {
        let (mut peer, ours) = tokio::io::duplex(64);
        peer.write_all(PREFACE).await.unwrap();
        peer.write_all(b"next").await.unwrap();
        drop(peer);
        let mut stream = Opened::read(ours).await.unwrap();
        assert!(stream.speaks_http2());
        let mut first = [0; 5];
        stream.read_exact(&mut first).await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        let all = [&first[..], &rest[..]].concat();
        assert_eq!(all, [&PREFACE[..], b"next"].concat());
    }

    #[tokio::test]
    async fn other_protocols_are_told_at_their_first_byte_that_differs() {
        for said in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"POST",
            b"\x16\x03\x01",
            b"PRI * HTTP/1",
        ] {
            let (mut peer, ours) = tokio::io::duplex(64);
            peer.write_all(said).await.unwrap();
            let mut stream = Opened::read(ours).await.unwrap();
            assert!(!stream.speaks_http2());
            drop(peer);
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, said);
        }
    }

    #[tokio::test]
    async fn early_ends_are_errors() {
        for said in [&PREFACE[..23], b""] {
            let (mut peer, ours) = tokio::io::duplex(64);
            peer.write_all(said).await.unwrap();
            drop(peer);
            assert!(Opened::read(ours).await.is_err());
        }
    }
}
