//! One question to one node, from the policy's section to the answer.

use std::time::Duration;

use http::uri::PathAndQuery;

use super::connect::{Connector, Fault};
use super::{ProbeFailure, grpc, http as http1};
use tradewind_engine::policy::document::{ProbeDocument, ProbeKind};
use tradewind_engine::topology::Address;

/// What the policy orders: how nodes are asked, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    how: How,
    /// Between two questions to one node, on average; 1 s to 5 min.
    pub(super) interval: Duration,
    /// For a whole probe, looking up the name and connecting included; 10 ms to 1 min.
    timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum How {
    /// By GET of this path.
    Http(PathAndQuery),
    /// By connecting.
    Tcp,
    /// By the health service, for the service of this name.
    Grpc(String),
}

impl Order {
    /// What a policy orders; `None` when nobody is to be asked.
    pub(super) fn of(document: &ProbeDocument) -> Option<Self> {
        let how = match document.kind {
            ProbeKind::None => return None,
            ProbeKind::Tcp => How::Tcp,
            // A service's name has no slash in front; the default path stands for the whole server.
            ProbeKind::Grpc if document.path == "/" => How::Grpc(String::new()),
            ProbeKind::Grpc => How::Grpc(document.path.clone()),
            ProbeKind::Http => How::Http(target(&document.path)?),
        };
        Some(Self {
            how,
            interval: Duration::from_millis(document.interval.as_ms()),
            timeout: Duration::from_millis(document.timeout.as_ms()),
        })
    }

    /// Asks a node, within the timeout in all.
    pub(super) async fn ask(&self, connector: &Connector, address: &Address) -> Result<(), Fault> {
        let asked = tokio::time::timeout(self.timeout, self.ask_unbounded(connector, address));
        asked
            .await
            .unwrap_or(Err(Fault::Node(ProbeFailure::Timeout)))
    }

    async fn ask_unbounded(&self, connector: &Connector, address: &Address) -> Result<(), Fault> {
        let stream = connector.connect(address).await?;
        match &self.how {
            How::Tcp => {}
            How::Http(path) => http1::ask(stream, address, path).await?,
            How::Grpc(service) => grpc::ask(stream, address, service).await?,
        }
        Ok(())
    }
}

/// A path as HTTP sends it, or a word in the log. A few visible characters, such as `<` and `#`, pass the policy's check
/// and are no part of a path; another path than the one written must not be asked for.
fn target(path: &str) -> Option<PathAndQuery> {
    let sent = PathAndQuery::try_from(path).ok();
    let sent = sent.filter(|sent| sent.as_str() == path);
    if sent.is_none() {
        tracing::error!(path, "nodes are not probed: not a path of HTTP");
    }
    sent
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(kind: ProbeKind, path: &str) -> Option<How> {
        let document = ProbeDocument {
            kind,
            path: path.to_owned(),
            ..ProbeDocument::default()
        };
        Order::of(&document).map(|order| order.how)
    }

    #[test]
    fn a_path_means_what_its_kind_makes_of_it() {
        assert_eq!(order(ProbeKind::None, "/"), None);
        assert_eq!(order(ProbeKind::Tcp, "/"), Some(How::Tcp));
        let http = PathAndQuery::from_static("/healthz?deep=1");
        assert_eq!(
            order(ProbeKind::Http, "/healthz?deep=1"),
            Some(How::Http(http))
        );
        assert_eq!(order(ProbeKind::Grpc, "/"), Some(How::Grpc(String::new())));
        assert_eq!(
            order(ProbeKind::Grpc, "cache.v1.Cache"),
            Some(How::Grpc("cache.v1.Cache".to_owned()))
        );
    }

    #[test]
    fn a_path_that_cannot_be_sent_asks_nobody() {
        for path in ["/<id>", "/a#b"] {
            assert_eq!(order(ProbeKind::Http, path), None, "{path}");
        }
    }

    #[test]
    fn thresholds_do_not_change_an_order() {
        let document = ProbeDocument {
            kind: ProbeKind::Tcp,
            ..ProbeDocument::default()
        };
        let other = ProbeDocument {
            unhealthy_threshold: 9,
            ..document.clone()
        };
        assert_eq!(Order::of(&document), Order::of(&other));
    }
}
