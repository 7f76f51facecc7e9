//! Tells one node of some purges, one after the other.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::request;
use crate::probe::connect::{Connector, Fault};
use crate::wire::proto::Purged;
use crate::wire::purge as messages;
use tradewind_engine::policy::Reclaim;
use tradewind_engine::topology::Address;

/// For one selector: looking up the name, connecting and the answer.
const WITHIN: Duration = Duration::from_secs(2);

/// Most bytes of an answer that are read, and of its head.
const MAX_BODY_BYTES: usize = 64 * 1024;
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// A node that is told.
pub(super) struct Node {
    pub(super) address: Address,
    pub(super) how: Arc<Reclaim>,
    pub(super) connector: Arc<Connector>,
}

/// A connection that can be used again.
struct Line {
    sender: SendRequest<Empty<Bytes>>,
    driver: AbortHandle,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Node {
    /// Tells it of purges in their order, and says of each when it has done it. The first that it does not do is the last; then
    /// why.
    pub(super) async fn tell(
        &self,
        purges: Vec<Purged>,
        done: &mpsc::Sender<u64>,
    ) -> Result<(), Box<str>> {
        let mut line = None;
        for purged in &purges {
            let purge = messages::purge(purged);
            if request::is_told(&purge, &self.how) {
                for selector in &purge.selectors {
                    let about = (&*self.how, &self.address);
                    let Some(request) = request::request(selector, &purge, about) else {
                        continue;
                    };
                    let asked = tokio::time::timeout(WITHIN, self.ask(&mut line, &request));
                    let status = asked.await.unwrap_or_else(|_| Err("timed out".into()))?;
                    // What it has not is dropped.
                    if !status.is_success() && status != StatusCode::NOT_FOUND {
                        return Err(format!("answered {}", status.as_u16()).into());
                    }
                }
            }
            if done.send(purged.sequence).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Asks once, over a connection that is there or a new one.
    async fn ask(
        &self,
        line: &mut Option<Line>,
        request: &Request<Empty<Bytes>>,
    ) -> Result<StatusCode, Box<str>> {
        if let Some(mut known) = line.take()
            && let Ok(status) = known.ask(request).await
        {
            // What was closed while nobody used it is opened anew: to drop something twice does no harm.
            *line = Some(known).filter(|it| !it.sender.is_closed());
            return Ok(status);
        }
        let port = self.how.port.unwrap_or_else(|| self.address.port());
        let connected = self.connector.connect_at(&self.address, port).await;
        let stream = connected.map_err(|fault| -> Box<str> {
            match fault {
                Fault::Node(failure) => failure.name().into(),
                Fault::Ours(error) => error.to_string().into(),
            }
        })?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_HEAD_BYTES);
        let shaken = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(not_understood)?;
        let driver = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        let mut opened = Line { sender, driver };
        let status = opened.ask(request).await.map_err(not_understood)?;
        *line = Some(opened).filter(|it| !it.sender.is_closed());
        Ok(status)
    }
}

impl Line {
    async fn ask(&mut self, request: &Request<Empty<Bytes>>) -> Result<StatusCode, hyper::Error> {
        self.sender.ready().await?;
        let answer = self.sender.send_request(request.clone()).await?;
        let status = answer.status();
        // Read to its end, so that the connection is free again; one that is too long ends with it.
        if Limited::new(answer.into_body(), MAX_BODY_BYTES)
            .collect()
            .await
            .is_err()
        {
            self.driver.abort();
        }
        Ok(status)
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "takes what `map_err` hands on"
)]
fn not_understood(error: hyper::Error) -> Box<str> {
    tracing::debug!(%error, "an answer to a purge was not understood");
    "not understood".into()
}
