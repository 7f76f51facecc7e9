//! Pages are made on a thread of their own: what the door's worker does is come to connections, and say whether the process
//! lives and is ready. So no page, however dear, keeps a probe waiting that may have the process started anew.

use std::convert::Infallible;
use std::future::Future;
use std::panic;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tower::util::Oneshot;
use tower::{Service, ServiceExt};

/// What is answered where it is asked.
const AT_ONCE: [&str; 2] = ["/livez", "/readyz"];

/// Pages, and where they are made.
#[derive(Debug, Clone)]
pub struct Aside {
    pages: Router,
    runtime: Handle,
}

impl Aside {
    /// These pages, made on that runtime.
    pub fn new(pages: Router, runtime: Handle) -> Self {
        Self { pages, runtime }
    }
}

impl Service<Request<Body>> for Aside {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Making;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Making {
        let is_at_once = AT_ONCE.contains(&request.uri().path());
        let making = self.pages.clone().oneshot(request);
        if is_at_once {
            Making::Here(Box::pin(making))
        } else {
            Making::Aside(self.runtime.spawn(making))
        }
    }
}

type Here = Pin<Box<Oneshot<Router, Request<Body>>>>;

/// A page that is being made. Nobody waits for it any more when it is dropped.
#[derive(Debug)]
pub enum Making {
    /// On this thread.
    Here(Here),
    /// On the other one.
    Aside(JoinHandle<Result<Response<Body>, Infallible>>),
}

impl Future for Making {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let task = match &mut *self {
            Self::Here(making) => return making.as_mut().poll(context),
            Self::Aside(task) => task,
        };
        match ready!(Pin::new(task).poll(context)) {
            Ok(answer) => Poll::Ready(answer),
            // The door counts it, and answers.
            Err(error) if error.is_panic() => panic::resume_unwind(error.into_panic()),
            // The process ends.
            Err(_) => Poll::Pending,
        }
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if let Self::Aside(task) = self {
            task.abort();
        }
    }
}
