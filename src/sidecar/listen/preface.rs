//! The 24 bytes every HTTP/2 client sends first, and a stream that gives them back.
//!
//! They are read before any HTTP/2 state is made: a peer that says nothing costs a task and 24 bytes,
//! and is closed at a deadline of ours. HTTP/2's own keepalive starts only afterwards.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What an HTTP/2 client must send first (RFC 9113, section 3.4).
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream whose preface has been read and is still owed to the next reader.
#[derive(Debug)]
pub(crate) struct Prefaced<T> {
    stream: T,
    /// What of [`PREFACE`] has not been given back yet.
    owed: &'static [u8],
}

impl<T: AsyncRead + Unpin> Prefaced<T> {
    /// Reads the preface; an error if the stream ends early or says something else.
    pub(crate) async fn read(mut stream: T) -> io::Result<Self> {
        let mut seen = [0; PREFACE.len()];
        stream.read_exact(&mut seen).await?;
        if seen != *PREFACE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the peer does not speak HTTP/2",
            ));
        }
        Ok(Self {
            stream,
            owed: PREFACE,
        })
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Prefaced<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.owed.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let (now, later) = self.owed.split_at(self.owed.len().min(buf.remaining()));
        buf.put_slice(now);
        self.owed = later;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Prefaced<T> {
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
        let mut stream = Prefaced::read(ours).await.unwrap();
        let mut first = [0; 5];
        stream.read_exact(&mut first).await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        let all = [&first[..], &rest[..]].concat();
        assert_eq!(all, [&PREFACE[..], b"next"].concat());
    }

    #[tokio::test]
    async fn other_protocols_and_early_ends_are_errors() {
        for said in [
            &b"GET / HTTP/1.1\r\nHost: node\r\n\r\n"[..],
            &PREFACE[..23],
            b"",
        ] {
            let (mut peer, ours) = tokio::io::duplex(64);
            peer.write_all(said).await.unwrap();
            drop(peer);
            assert!(Prefaced::read(ours).await.is_err());
        }
    }
}
