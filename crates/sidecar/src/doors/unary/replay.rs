//! A body of which the beginning was read already.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};

/// What a body has next; `None` at its end.
pub(super) type Next<E> = Option<Result<Frame<Bytes>, E>>;

/// What was read of a body, in order.
pub(super) type Seen<E> = [Next<E>; 2];

/// Gives once more what was read of a body, and then its rest.
#[derive(Debug)]
pub struct Replay<B, E> {
    seen: Seen<E>,
    rest: B,
}

impl<B, E> Replay<B, E> {
    pub(super) fn new(seen: Seen<E>, rest: B) -> Self {
        Self { seen, rest }
    }
}

impl<B, E> Body for Replay<B, E>
where
    B: Body<Data = Bytes, Error = E> + Unpin,
    E: Unpin,
{
    type Data = Bytes;
    type Error = E;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        match self.seen.iter_mut().find_map(Option::take) {
            Some(frame) => Poll::Ready(Some(frame)),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.seen.iter().all(Option::is_none) && self.rest.is_end_stream()
    }
}
