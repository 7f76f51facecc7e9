//! The answer to a call: one message and the status, or what the generated service makes of it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::body::{Body, Frame, SizeHint};
use tonic::Status;

/// Bytes that stand before a message: whether it is compressed, and its length.
pub(super) const HEAD_BYTES: usize = 5;

/// A room in memory that most answers fit in, in bytes.
const TYPICAL_BYTES: usize = 512;

/// The body of an answer.
#[derive(Debug)]
pub enum AnswerBody {
    /// Made by hand; each part is sent once.
    ByHand {
        /// With its head.
        message: Option<Bytes>,
        /// The status.
        trailers: Option<HeaderMap>,
    },
    /// Of the generated service.
    Behind(tonic::body::Body),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = match &mut *self {
            Self::ByHand { message, trailers } => {
                let message = message.take().map(Frame::data);
                message.or_else(|| trailers.take().map(Frame::trailers))
            }
            Self::Behind(body) => return Pin::new(body).poll_frame(context),
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::ByHand { message, trailers } => message.is_none() && trailers.is_none(),
            Self::Behind(body) => body.is_end_stream(),
        }
    }

    /// Not known of an answer by hand, or the server would send it as a header, which tonic does not.
    fn size_hint(&self) -> SizeHint {
        match self {
            Self::ByHand { .. } => SizeHint::default(),
            Self::Behind(body) => body.size_hint(),
        }
    }
}

/// What an answer is appended to: its head is filled in later.
pub(super) fn room() -> Vec<u8> {
    let mut room = Vec::with_capacity(TYPICAL_BYTES);
    room.extend_from_slice(&[0; HEAD_BYTES]);
    room
}

/// The answer with this message, which was appended to a [`room`].
pub(super) fn response(mut message: Vec<u8>, max_bytes: usize) -> Response<AnswerBody> {
    let length = message.len().saturating_sub(HEAD_BYTES);
    let head = u32::try_from(length).ok().filter(|_| length <= max_bytes);
    let body = match (head, message.first_chunk_mut::<HEAD_BYTES>()) {
        (Some(length), Some([_, room @ ..])) => {
            *room = length.to_be_bytes();
            AnswerBody::ByHand {
                message: Some(Bytes::from(message)),
                trailers: Some(good()),
            }
        }
        _ => AnswerBody::ByHand {
            message: None,
            trailers: Some(too_long(length, max_bytes)),
        },
    };
    let mut answer = Response::new(body);
    let content = HeaderValue::from_static("application/grpc");
    answer.headers_mut().insert(CONTENT_TYPE, content);
    answer
}

fn good() -> HeaderMap {
    const STATUS: HeaderName = HeaderName::from_static("grpc-status");
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(STATUS, HeaderValue::from_static("0"));
    trailers
}

/// In tonic's words.
#[cold]
fn too_long(length: usize, max_bytes: usize) -> HeaderMap {
    let status = Status::out_of_range(format!(
        "Error, encoded message length too large: found {length} bytes, the limit is: {max_bytes} bytes"
    ));
    let mut trailers = status.into_http::<()>().into_parts().0.headers;
    trailers.remove(CONTENT_TYPE);
    trailers
}
