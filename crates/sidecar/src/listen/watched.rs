//! Driving a hyper connection under its warden: orders in, signs of life out.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

use super::counters::{self, GateCounters};
use super::warden::{ConnectionState, Order, Phase};

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// In good order: the peer closed, or both sides finished after GOAWAY.
    Left,
    /// By a fault of the protocol, the keepalive or the socket.
    Broken,
    /// By order.
    Cut,
}

impl Ended {
    /// Counts an end that deserves it.
    pub(crate) fn count(self, counters: &GateCounters, phase: &watch::Receiver<Phase>) {
        match self {
            Self::Broken => counters::count(&counters.broken),
            Self::Cut if *phase.borrow() == Phase::Cutting => counters::count(&counters.cut),
            // A cut at another time is a stall, or made room for another: counted there.
            Self::Left | Self::Cut => {}
        }
    }
}

/// Polls a connection to its end, and carries the warden's orders out; `leave` is the connection's own
/// graceful shutdown, `after_poll` is called each time it has been polled.
pub(crate) async fn drive<C, E>(
    connection: C,
    leave: fn(Pin<&mut C>),
    control: &ConnectionState,
    mut after_poll: impl FnMut(),
) -> Ended
where
    C: Future<Output = Result<(), E>>,
{
    let mut connection = pin!(connection);
    let mut leaving = false;
    std::future::poll_fn(|cx| {
        match control.order(cx) {
            Order::Cut => return Poll::Ready(Ended::Cut),
            Order::Leave if !leaving => {
                leaving = true;
                leave(connection.as_mut());
            }
            Order::Leave | Order::Serve => {}
        }
        let polled = connection.as_mut().poll(cx);
        after_poll();
        let result = ready!(polled);
        Poll::Ready(if result.is_ok() {
            Ended::Left
        } else {
            Ended::Broken
        })
    })
    .await
}

/// A stream that tells the connection's control when it takes no more bytes.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    stream: T,
    control: Arc<ConnectionState>,
}

impl<T> Watched<T> {
    pub(crate) fn new(stream: T, control: &Arc<ConnectionState>) -> Self {
        Self {
            stream,
            control: Arc::clone(control),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.control.note_write(taken.is_pending());
        taken
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let taken = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.control.note_write(taken.is_pending());
        taken
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
