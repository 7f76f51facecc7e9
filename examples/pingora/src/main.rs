//! A Pingora proxy that asks Tradewind which cache node to use, and which next if that one fails.
//!
//! It walks the list of each answer in order, tells how every attempt went, and goes on with the same choices when the
//! sidecar is dead: the client decides from the last copy of what the sidecar decides from.

mod report;
mod visit;

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::prelude::{Opt, Server};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{ProxyHttp, Session};
use tradewind_client::options::Options;
use tradewind_client::{Asker, AttemptResult, Client, Request};

use crate::visit::Visit;

/// Who decided, for people who watch: `sidecar`, `cached`, `local`.
const DECIDED_BY: &str = "x-decided-by";

/// What other proxies choose nodes by. Nodes must not believe it when a client sends it.
const NODE_HEADERS: [&str; 2] = ["x-gateway-destination-endpoint", "x-decision-id"];

/// The proxy.
struct Router {
    client: Client,
}

#[async_trait]
impl ProxyHttp for Router {
    type CTX = Visit;

    fn new_ctx(&self) -> Visit {
        Visit::default()
    }

    /// Decides; what is refused is answered here.
    async fn request_filter(&self, session: &mut Session, visit: &mut Visit) -> Result<bool> {
        let request = question(session);
        let answer = match self.client.decide(&request).await {
            Ok(answer) => answer,
            Err(invalid) => {
                return Error::e_explain(ErrorType::HTTPStatus(400), invalid.to_string());
            }
        };
        if answer.candidates.is_empty() {
            let status = match answer.reason.as_str() {
                "refused_by_rule" => 403,
                "no_rule" | "unknown_pool" => 404,
                "no_room" | "rate_limited" => 429,
                _ => 503,
            };
            session.respond_error(status).await?;
            return Ok(true);
        }
        visit.answer = Some(answer);
        Ok(false)
    }

    /// The next node of the list. Called again after each failure that may be tried elsewhere.
    async fn upstream_peer(
        &self,
        _session: &mut Session,
        visit: &mut Visit,
    ) -> Result<Box<HttpPeer>> {
        let Some(candidate) = visit.next() else {
            return Error::e_explain(ErrorType::HTTPStatus(502), "every node of the list failed");
        };
        let Some(address) = resolve(&candidate.address).await else {
            let unknown = format!("{} has no address", candidate.address);
            return Error::e_explain(ErrorType::HTTPStatus(502), unknown);
        };
        let mut peer = HttpPeer::new(address, false, String::new());
        // A rule may leave it out.
        let patience = Some(candidate.attempt_timeout).filter(|t| !t.is_zero());
        let patience = patience.or(Some(Duration::from_secs(1)));
        peer.options.connection_timeout = patience;
        peer.options.read_timeout = patience;
        peer.options.write_timeout = patience;
        Ok(Box::new(peer))
    }

    /// Nothing was sent yet, so every request may be tried elsewhere.
    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        visit: &mut Visit,
        mut error: Box<Error>,
    ) -> Box<Error> {
        visit.tell(&self.client, result_of(&error), 0);
        error.set_retry(visit.has_next());
        error
    }

    /// The node was reached and failed: tried elsewhere if doing it twice does no harm and its body is still there.
    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        visit: &mut Visit,
        _client_reused: bool,
    ) -> Box<Error> {
        let mut error = error.more_context(format!("node {peer}"));
        let answered = matches!(error.etype(), ErrorType::HTTPStatus(_));
        // A client that went away says nothing of the node.
        let is_nodes_fault = *error.esource() != pingora_core::ErrorSource::Downstream;
        if is_nodes_fault && !answered {
            visit.tell(&self.client, result_of(&error), 0);
        }
        let is_harmless = session.req_header().method.is_idempotent()
            && !session.as_ref().retry_buffer_truncated()
            && session.response_written().is_none();
        error.set_retry(is_nodes_fault && is_harmless && visit.has_next());
        error
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        request: &mut RequestHeader,
        _visit: &mut Visit,
    ) -> Result<()> {
        for name in NODE_HEADERS {
            request.remove_header(name);
        }
        Ok(())
    }

    /// A node that answers that it cannot is passed over while there is another and the request may be sent twice.
    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        visit: &mut Visit,
    ) -> Result<()> {
        let status = response.status.as_u16();
        visit.first_byte();
        let may_repeat = session.req_header().method.is_idempotent()
            && !session.as_ref().retry_buffer_truncated();
        if status >= 500 && may_repeat && visit.has_next() {
            visit.tell(&self.client, AttemptResult::Ok, status);
            return Err(
                Error::explain(ErrorType::HTTPStatus(status), "the node cannot answer").into_up(),
            );
        }
        if let Some(answer) = &visit.answer {
            response.insert_header(DECIDED_BY, format!("{:?}", answer.source).to_lowercase())?;
        }
        Ok(())
    }

    /// The end of the request: the last attempt, if nothing was told of it yet, went well.
    async fn logging(&self, session: &mut Session, error: Option<&Error>, visit: &mut Visit) {
        let status = session.response_written().map(|head| head.status.as_u16());
        if error.is_none()
            && let Some(status) = status
        {
            visit.bytes = session.body_bytes_sent() as u64;
            visit.tell(&self.client, AttemptResult::Ok, status);
        }
    }
}

/// The request as Tradewind is asked about it.
fn question(session: &Session) -> Request {
    let head = session.req_header();
    let host = head.headers.get(http::header::HOST);
    let host = host.and_then(|host| host.to_str().ok());
    let host = host.or_else(|| head.uri.authority().map(|authority| authority.as_str()));
    Request {
        host: host.unwrap_or_default().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        method: head.method.as_str().to_owned(),
        client: Some(Asker {
            ip: asker(session).map_or_else(String::new, |ip| ip.to_string()),
            ..Asker::default()
        }),
        ..Request::default()
    }
}

/// Who asks. This example believes `X-Forwarded-For`, because all of its clients are on this machine; a proxy that
/// clients reach directly must take the connection's address.
fn asker(session: &Session) -> Option<IpAddr> {
    let forwarded = session.req_header().headers.get("x-forwarded-for");
    let forwarded = forwarded
        .and_then(|list| list.to_str().ok())
        .and_then(|list| list.split(',').next()?.trim().parse().ok());
    let connected = || Some(session.client_addr()?.as_inet()?.ip());
    forwarded.or_else(connected)
}

/// Most nodes are given by number; those given by name are looked up without blocking others.
async fn resolve(address: &str) -> Option<SocketAddr> {
    if let Ok(address) = address.parse() {
        return Some(address);
    }
    tokio::net::lookup_host(address).await.ok()?.next()
}

/// How an attempt that failed went.
fn result_of(error: &Error) -> AttemptResult {
    match error.etype() {
        ErrorType::ConnectTimedout | ErrorType::ReadTimedout | ErrorType::WriteTimedout => {
            AttemptResult::Timeout
        }
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError => {
            AttemptResult::Reset
        }
        _ => AttemptResult::Error,
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [conf, listen, sidecar] = arguments.as_slice() else {
        eprintln!("usage: tradewind-pingora CONF LISTEN SIDECAR");
        return ExitCode::from(2);
    };
    match serve(conf, listen, sidecar) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("tradewind-pingora: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(
    conf: &str,
    listen: &str,
    sidecar: &str,
) -> Result<std::convert::Infallible, Box<dyn std::error::Error>> {
    // Pingora makes runtimes of its own, one for each service. The client's connections live on this one.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .thread_name("tradewind-client")
        .build()?;
    let client = {
        let _inside = runtime.enter();
        let mut options = Options::at(sidecar);
        options.reporter = "pingora".to_owned();
        Client::connect(options)?
    };
    runtime.spawn(report::run(client.clone()));

    let mut server = Server::new(Opt {
        conf: Some(conf.to_owned()),
        ..Opt::default()
    })?;
    server.bootstrap();
    let router = Router { client };
    let mut proxy = pingora_proxy::http_proxy_service(&server.configuration, router);
    proxy.add_tcp(listen);
    server.add_service(proxy);
    server.run_forever()
}
