//! A gRPC body that is handed on as messages earn it, so that memory is taken for what came and not for what was promised.
//!
//! tonic makes room for a whole message as soon as it has read the message's head, and a head is five bytes: a peer that
//! promised 1 MiB on each of a thousand streams and sent six bytes on each once made the process 1.5 GB. Here the beginning
//! of a message is kept back until a sixteenth of it is there. So a message costs at most sixteen times what was sent of it,
//! well below the hundred times from which on Envoy's threat model counts an input as an attack.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::Request;
use hyper::body::{Body, Frame, SizeHint};

/// How much more than came of a message may be promised before the message is handed on.
const CREDIT: usize = 16;

/// Bytes of a message's head: whether it is compressed, and its length (gRPC over HTTP/2, "Length-Prefixed-Message").
const HEAD_BYTES: usize = 5;

/// A body whose messages are kept back until enough of them is there.
#[derive(Debug)]
pub struct Earned<B> {
    body: B,
    /// Messages that promise more go through at once: they are refused for it.
    most_bytes: usize,
    at: At,
    /// The beginning of a message that has not earned its room.
    kept: BytesMut,
    /// What is to be handed on before anything else is read.
    due: VecDeque<Frame<Bytes>>,
    is_over: bool,
}

/// A call whose body is handed on as it earns it, for a service that takes messages of `most_bytes`.
pub fn earning<B>(request: Request<B>, most_bytes: usize) -> Request<Earned<B>> {
    request.map(|body| Earned::new(body, most_bytes))
}

/// Where in the stream of messages the last byte stands that was read.
#[derive(Debug, Clone, Copy)]
enum At {
    /// In a head, of which so much was seen.
    Head([u8; HEAD_BYTES], usize),
    /// In a message.
    Message {
        /// Bytes still to come.
        left: usize,
        /// Bytes still to come before it is handed on.
        unearned: usize,
    },
}

const FRESH: At = At::Head([0; HEAD_BYTES], 0);

impl<B> Earned<B> {
    /// The same body, for a service that takes messages of `most_bytes`.
    pub fn new(body: B, most_bytes: usize) -> Self {
        Self {
            body,
            most_bytes,
            at: FRESH,
            kept: BytesMut::new(),
            due: VecDeque::new(),
            is_over: false,
        }
    }

    /// Follows the messages through these bytes. Gives where the last of them begins that is not to be handed on yet: 0 if it
    /// began before.
    fn follow(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut begun = 0;
        let mut rest = bytes;
        while !rest.is_empty() {
            match &mut self.at {
                At::Head(seen, count) => {
                    if *count == 0 {
                        begun = bytes.len() - rest.len();
                    }
                    let wanted = (HEAD_BYTES - *count).min(rest.len());
                    let (now, later) = rest.split_at(wanted);
                    for (slot, byte) in seen.iter_mut().skip(*count).zip(now) {
                        *slot = *byte;
                    }
                    *count += wanted;
                    rest = later;
                    if *count == HEAD_BYTES {
                        let [_, length @ ..] = *seen;
                        self.at = self.message(length);
                    }
                }
                At::Message { left, unearned } => {
                    let come = (*left).min(rest.len());
                    *left -= come;
                    *unearned = unearned.saturating_sub(come);
                    rest = rest.get(come..).unwrap_or_default();
                    if *left == 0 {
                        self.at = FRESH;
                    }
                }
            }
        }
        matches!(self.at, At::Message { unearned, .. } if unearned > 0).then_some(begun)
    }

    fn message(&self, length: [u8; 4]) -> At {
        let left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if left == 0 {
            return FRESH;
        }
        let unearned = if left > self.most_bytes {
            0
        } else {
            left / CREDIT
        };
        At::Message { left, unearned }
    }

    /// Takes in what came; what can be handed on of it, and of what was kept, is due afterwards.
    fn take(&mut self, mut bytes: Bytes) {
        match self.follow(&bytes) {
            Some(begun) if !self.kept.is_empty() && begun == 0 => {
                self.kept.extend_from_slice(&bytes);
            }
            Some(begun) => {
                let unearned = bytes.split_off(begun);
                self.hand_on(bytes);
                self.kept.extend_from_slice(&unearned);
            }
            None => self.hand_on(bytes),
        }
    }

    fn hand_on(&mut self, bytes: Bytes) {
        for bytes in [std::mem::take(&mut self.kept).freeze(), bytes] {
            if !bytes.is_empty() {
                self.due.push_back(Frame::data(bytes));
            }
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Earned<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        loop {
            if let Some(frame) = self.due.pop_front() {
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.is_over {
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.take(bytes),
                    Err(trailers) => {
                        self.hand_on(Bytes::new());
                        self.due.push_back(trailers);
                    }
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    // A message that was cut short is for the service to refuse.
                    self.hand_on(Bytes::new());
                    self.is_over = true;
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.due.is_empty() && self.kept.is_empty() && (self.is_over || self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::task::Waker;

    use super::*;

    /// A body in these pieces, which pauses before each.
    struct Pieces {
        pieces: VecDeque<Bytes>,
        is_pausing: bool,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.is_pausing = !self.is_pausing;
            if self.is_pausing {
                return Poll::Pending;
            }
            Poll::Ready(self.pieces.pop_front().map(|piece| Ok(Frame::data(piece))))
        }
    }

    fn message(length: u32, came: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(length.to_be_bytes());
        bytes.extend((0..came).map(|n| u8::try_from(n % 251).unwrap()));
        bytes
    }

    /// How many bytes have been handed on after each piece, and all of them.
    fn handed_on(pieces: &[&[u8]], most_bytes: usize) -> (Vec<usize>, Vec<u8>) {
        let pieces = pieces.iter().map(|piece| Bytes::copy_from_slice(piece));
        let mut body = Earned::new(
            Pieces {
                pieces: pieces.collect(),
                is_pausing: false,
            },
            most_bytes,
        );
        let mut context = Context::from_waker(Waker::noop());
        let (mut after, mut all) = (Vec::new(), Vec::new());
        loop {
            match Pin::new(&mut body).poll_frame(&mut context) {
                Poll::Pending => after.push(all.len()),
                Poll::Ready(Some(frame)) => all.extend(frame.unwrap().into_data().unwrap()),
                Poll::Ready(None) => break,
            }
        }
        assert!(body.is_end_stream());
        after.remove(0);
        (after, all)
    }

    #[test]
    fn a_promise_is_kept_back_until_a_sixteenth_of_it_is_there() {
        let whole = message(16_000, 16_000);
        let (after, all) = handed_on(
            &[
                &whole[..6],
                &whole[6..1_004],
                &whole[1_004..1_005],
                &whole[1_005..],
            ],
            1 << 20,
        );
        assert_eq!(after, [0, 0, 1_005, 16_005]);
        assert_eq!(all, whole);
    }

    #[test]
    fn what_is_whole_goes_on_before_a_promise() {
        let mut pieces = message(10, 10);
        pieces.extend(message(1 << 20, 1));
        let (after, all) = handed_on(&[&pieces, b"x"], 1 << 20);
        // At the end the rest goes on as well: it is for the service to refuse.
        assert_eq!(after, [15, 15]);
        assert_eq!(all.len(), 15 + 6 + 1);
    }

    #[test]
    fn what_is_too_long_is_refused_at_its_head() {
        let (after, _) = handed_on(&[&message(1_025, 0)], 1_024);
        assert_eq!(after, [5]);
        let (after, _) = handed_on(&[&message(1_024, 0)], 1_024);
        assert_eq!(after, [0]);
    }

    #[test]
    fn however_it_is_cut_the_bytes_are_the_same() {
        let lengths = [0, 1, 5, 40, 300, 5_000, 0, 17];
        let whole: Vec<u8> = lengths
            .iter()
            .flat_map(|n| message(*n, *n as usize))
            .collect();
        for size in 1..400 {
            let pieces: Vec<&[u8]> = whole.chunks(size).collect();
            let (after, all) = handed_on(&pieces, 1 << 20);
            assert_eq!(all, whole, "in pieces of {size}");
            let mut came = 0;
            for (piece, handed) in pieces.iter().zip(after) {
                came += piece.len();
                // Nothing is kept back but a sixteenth of the longest message and its head.
                assert!(
                    handed <= came && came - handed <= 5_000 / CREDIT + HEAD_BYTES,
                    "{size}"
                );
            }
        }
    }
}
