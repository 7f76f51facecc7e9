//! Ends streams whose callers may go on no longer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use http::header::{AUTHORIZATION, HeaderValue};
use tokio::sync::oneshot;
use tokio::time;

use super::entrance::Method;
use super::warden::{Companion, ConnectionState, Order};
use crate::identity::lease::Lease;
use crate::identity::{Denied, Pass};

/// Time in which a peer must take the word that its stream is over, or it loses its connection. Until then the service may
/// still hear it.
const PATIENCE: Duration = Duration::from_secs(1);

/// What comes when the caller of a stream loses the role that it needs.
#[derive(Debug)]
pub(super) struct Loss {
    told: oneshot::Receiver<Denied>,
    _watching: Companion,
}

impl Loss {
    /// Watches over a call that has been admitted; `None` where it needs no role.
    pub(super) fn watch<B>(
        pass: &Pass,
        method: Method,
        request: &Request<B>,
        connection: &Arc<ConnectionState>,
    ) -> Option<Self> {
        let role = method.needs?;
        let authorization = request.headers().get(AUTHORIZATION);
        let authorization = authorization.map(HeaderValue::as_bytes);
        let lease = Lease::new(pass.clone(), role, authorization);
        let connection = Arc::clone(connection);
        let (tell, told) = oneshot::channel();
        let watching = Companion::spawn(async move {
            let denied = lease.lost().await;
            if tell.send(denied).is_ok() {
                time::sleep(PATIENCE).await;
                connection.give(Order::Cut);
            }
        });
        Some(Self {
            told,
            _watching: watching,
        })
    }

    /// Why the stream may go on no longer, as soon as it may not.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Denied> {
        match Pin::new(&mut self.told).poll(cx) {
            Poll::Ready(Ok(denied)) => Poll::Ready(denied),
            // Nobody watches any more: the runtime ends.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}
