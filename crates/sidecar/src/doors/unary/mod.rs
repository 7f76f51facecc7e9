//! Calls of one question and one answer, without the machinery for streams.
//!
//! tonic serves every kind of call as a stream of messages, which costs a short call more than its decision
//! (docs/benchmarks.md, P1). [`Shortcut`] stands before a generated service and answers by hand what nearly
//! every call of one method is: one plain message that lies there whole. Whatever else comes is handed on with all
//! that was read of it: compressed, too long, split, more than one message, trailers, a peer that has not finished,
//! bytes that are no message. So what is said of a bad call is said by tonic, and only good ones are answered here.

mod answer;
mod replay;

use std::convert::Infallible;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName};
use http::{Request, Response};
use hyper::body::{Body, Frame};
use tonic::Status;
use tonic::codegen::BoxFuture;
use tower::Service;

use super::earned::Earned;
use answer::HEAD_BYTES;
use replay::{Next, Seen};

pub use answer::AnswerBody;
pub use replay::Replay;

/// A method that is answered by hand.
pub trait Method: Send + Sync + 'static {
    /// The path of its calls.
    const PATH: &'static str;

    /// Longest question in bytes, as at the generated service behind.
    const MAX_QUESTION_BYTES: usize;

    /// Longest answer in bytes, as at the generated service behind.
    const MAX_ANSWER_BYTES: usize;

    /// Appends the answer to `out`, or says why there is none. `None` leaves the question, of which nothing may have been
    /// counted then, to the generated service.
    fn answer(
        &self,
        headers: &HeaderMap,
        question: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Result<(), Status>>;
}

/// Answers the plain calls of a method; hands all others on to the generated service behind.
#[derive(Debug)]
pub struct Shortcut<M, S>(Arc<Ways<M, S>>);

/// Both ways to an answer.
#[derive(Debug)]
struct Ways<M, S> {
    by_hand: M,
    behind: S,
}

impl<M, S> Shortcut<M, S> {
    /// `by_hand` before `behind`, which must answer alike.
    pub fn new(by_hand: M, behind: S) -> Self {
        Self(Arc::new(Ways { by_hand, behind }))
    }
}

impl<M, S> Clone for Shortcut<M, S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// The body of a call that is handed on.
pub type Rest<B> = Earned<Replay<B, <B as Body>::Error>>;

/// What stands behind: a generated tonic service.
pub trait Generated<B: Body>:
    Service<
        Request<Rest<B>>,
        Response = Response<tonic::body::Body>,
        Error = Infallible,
        Future = BoxFuture<Response<tonic::body::Body>, Infallible>,
    > + Clone
{
}

impl<S, B: Body> Generated<B> for S where
    S: Service<
            Request<Rest<B>>,
            Response = Response<tonic::body::Body>,
            Error = Infallible,
            Future = BoxFuture<Response<tonic::body::Body>, Infallible>,
        > + Clone
{
}

impl<M, S, B> Service<Request<B>> for Shortcut<M, S>
where
    M: Method,
    S: Generated<B>,
    B: Body<Data = Bytes> + Unpin,
{
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Call<M, S, B>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Call<M, S, B> {
        if request.uri().path() == M::PATH && is_plain(request.headers()) {
            Call(Stage::Asked(Arc::clone(&self.0), request))
        } else {
            Call(Stage::Behind(self.0.pass_on(request, [None, None])))
        }
    }
}

/// Whether messages are sent as they are.
fn is_plain(headers: &HeaderMap) -> bool {
    const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
    headers
        .get(ENCODING)
        .is_none_or(|encoding| encoding == "identity")
}

impl<M, S> Ways<M, S> {
    /// Hands a call on, and before the rest of its body what was seen of it.
    fn pass_on<B: Body>(&self, request: Request<B>, seen: Seen<B::Error>) -> Behind
    where
        M: Method,
        S: Generated<B>,
    {
        let most = M::MAX_QUESTION_BYTES;
        let request = request.map(|rest| Earned::new(Replay::new(seen, rest), most));
        self.behind.clone().call(request)
    }
}

/// An answer that the generated service is making.
type Behind = BoxFuture<Response<tonic::body::Body>, Infallible>;

/// A call in progress.
#[derive(Debug)]
pub struct Call<M, S, B>(Stage<M, S, B>);

#[expect(
    clippy::large_enum_variant,
    reason = "nearly every call is only asked, and would pay for a box"
)]
enum Stage<M, S, B> {
    /// Nothing was read of it yet.
    Asked(Arc<Ways<M, S>>, Request<B>),
    Behind(Behind),
    /// It was answered, or is being handed on.
    Left,
}

impl<M, S, B> fmt::Debug for Stage<M, S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked(..) => "Asked",
            Self::Behind(_) => "Behind",
            Self::Left => "Left",
        })
    }
}

impl<M, S, B> Future for Call<M, S, B>
where
    M: Method,
    S: Generated<B>,
    B: Body<Data = Bytes> + Unpin,
{
    type Output = Result<Response<AnswerBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let stage = &mut self.0;
        if let Stage::Asked(ways, request) = stage {
            let seen = match ready!(read(request.body_mut(), M::MAX_QUESTION_BYTES, context)) {
                Read::Whole(frame) => match by_hand(&ways.by_hand, request.headers(), &frame) {
                    Some(answer) => return Poll::Ready(Ok(answer)),
                    None => [Some(Ok(Frame::data(frame))), None],
                },
                Read::Else(seen) => seen,
            };
            if let Stage::Asked(ways, request) = mem::replace(stage, Stage::Left) {
                *stage = Stage::Behind(ways.pass_on(request, seen));
            }
        }
        let Stage::Behind(behind) = stage else {
            return Poll::Pending;
        };
        let answer = ready!(behind.as_mut().poll(context));
        Poll::Ready(answer.map(|answer| answer.map(AnswerBody::Behind)))
    }
}

/// What stands at the beginning of a body.
enum Read<B: Body> {
    /// One plain message in its frame, and nothing else.
    Whole(Bytes),
    /// Something else.
    Else(Seen<B::Error>),
}

/// Waits for the first bytes of a body, but for nothing behind them: a peer is told of a bad message before it is done.
fn read<B>(body: &mut B, max_bytes: usize, context: &mut Context<'_>) -> Poll<Read<B>>
where
    B: Body<Data = Bytes> + Unpin,
{
    let first = match ready!(next(body, context)) {
        Some(Ok(frame)) => frame,
        other => return Poll::Ready(Read::Else([other, None])),
    };
    let first = match first.into_data() {
        Ok(data) => data,
        Err(trailers) => return Poll::Ready(Read::Else([Some(Ok(trailers)), None])),
    };
    if !is_one_message(&first, max_bytes) {
        return Poll::Ready(Read::Else([Some(Ok(Frame::data(first))), None]));
    }
    Poll::Ready(match next(body, context) {
        Poll::Ready(None) => Read::Whole(first),
        Poll::Ready(second) => Read::Else([Some(Ok(Frame::data(first))), second]),
        Poll::Pending => Read::Else([Some(Ok(Frame::data(first))), None]),
    })
}

/// The next frame that says something: clients often end a body with an empty one.
fn next<B>(body: &mut B, context: &mut Context<'_>) -> Poll<Next<B::Error>>
where
    B: Body<Data = Bytes> + Unpin,
{
    loop {
        if body.is_end_stream() {
            return Poll::Ready(None);
        }
        match ready!(Pin::new(&mut *body).poll_frame(context)) {
            Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty) => {}
            frame => return Poll::Ready(frame),
        }
    }
}

/// Whether these bytes are one message that is not compressed, with its head.
fn is_one_message(bytes: &[u8], max_bytes: usize) -> bool {
    let Some(([0, length @ ..], message)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return false;
    };
    let length = u32::from_be_bytes(*length);
    usize::try_from(length) == Ok(message.len()) && message.len() <= max_bytes
}

/// `frame` is a whole message with its head.
fn by_hand<M: Method>(
    method: &M,
    headers: &HeaderMap,
    frame: &[u8],
) -> Option<Response<AnswerBody>> {
    let question = frame.get(HEAD_BYTES..)?;
    let mut message = answer::room();
    Some(match method.answer(headers, question, &mut message)? {
        Ok(()) => answer::response(message, M::MAX_ANSWER_BYTES),
        Err(status) => status
            .into_http::<tonic::body::Body>()
            .map(AnswerBody::Behind),
    })
}
