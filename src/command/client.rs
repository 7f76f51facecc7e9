//! The way to a running sidecar.

use std::fmt;
use std::future::Future;
use std::str::FromStr;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tonic::Status;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use super::keys::{Bearer, KeyArgs, KeyError, Scheme, Tls};
use crate::sidecar::wire::proto::decision_service_client::DecisionServiceClient;

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for one answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a sidecar listens: `HOST:PORT`, with `http://` or `https://` before it or not, or `unix:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    text: String,
    scheme: Scheme,
    /// What the channel is made with. TLS is the connector's business.
    uri: String,
}

/// Why a sidecar cannot be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Not an address.
    #[error("`{value}` is not a server, must be HOST:PORT, https://HOST:PORT or unix:PATH")]
    Address {
        /// What was given.
        value: String,
    },
    /// What is to be shown to it cannot be read.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// No machinery to ask with.
    #[error("no network in this process")]
    Runtime(#[source] std::io::Error),
    /// Nobody answers there.
    #[error("no connection to {server}")]
    Connect {
        /// Where.
        server: Server,
        /// Why.
        source: tonic::transport::Error,
    },
    /// It answered with an error.
    #[error("{server} does not decide this request: {}, {}", code_name(status), status.message())]
    Call {
        /// Who.
        server: Server,
        /// What it said.
        status: Box<Status>,
    },
    /// It refused what an operator asked for.
    #[error("{server} refuses: {}, {}", code_name(status), status.message())]
    Refused {
        /// Who.
        server: Server,
        /// What it said.
        status: Box<Status>,
    },
    /// It could not do what an operator asked for.
    #[error("{server} cannot do this: {}, {}", code_name(status), status.message())]
    Failed {
        /// Who.
        server: Server,
        /// What it said.
        status: Box<Status>,
    },
    /// It answered with something else.
    #[error("{server} left out the {part} of its answer")]
    Incomplete {
        /// Who.
        server: Server,
        /// What is missing.
        part: &'static str,
    },
    /// A call was given up.
    #[error("a call to {server} ended without an answer")]
    Lost {
        /// Who.
        server: Server,
        /// Why.
        source: tokio::task::JoinError,
    },
}

impl ServerError {
    /// What the sidecar said, if it said anything.
    pub(super) fn status(&self) -> Option<&Status> {
        match self {
            Self::Call { status, .. }
            | Self::Refused { status, .. }
            | Self::Failed { status, .. } => Some(status),
            _ => None,
        }
    }
}

/// The way of calls to a sidecar.
pub(super) type Way = InterceptedService<Channel, Bearer>;

/// A connection, with the machinery that drives it.
#[derive(Debug)]
pub(super) struct Connection {
    runtime: Runtime,
    pub(super) way: Way,
    pub(super) client: DecisionServiceClient<Way>,
    pub(super) server: Server,
}

impl FromStr for Server {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        let bad = || ServerError::Address {
            value: text.chars().take(80).collect(),
        };
        let (scheme, rest) = Scheme::split(text);
        let uri = if scheme == Scheme::Unix {
            if matches!(rest, "" | "//") {
                return Err(bad());
            }
            text.to_owned()
        } else {
            let (host, port) = rest.rsplit_once(':').ok_or_else(bad)?;
            let port_is_good = port.parse::<u16>().is_ok_and(|port| port > 0);
            if host.is_empty() || host.contains('/') || !port_is_good {
                return Err(bad());
            }
            format!("http://{rest}")
        };
        // Whatever is left to be wrong with it is found here, not when it is used.
        Endpoint::from_shared(uri.clone()).map_err(|_| bad())?;
        let text = text.to_owned();
        Ok(Self { text, scheme, uri })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Connection {
    /// Connects.
    pub(super) fn open(server: &Server, keys: &KeyArgs) -> Result<Self, ServerError> {
        Self::new(server, keys, |runtime, endpoint, tls| {
            runtime.block_on(async {
                match tls {
                    Some(tls) => endpoint.connect_with_connector(tls).await,
                    None => endpoint.connect().await,
                }
            })
        })
    }

    /// Connects when it is first used, and again when that is lost.
    pub(super) fn later(server: &Server, keys: &KeyArgs) -> Result<Self, ServerError> {
        Self::new(server, keys, |runtime, endpoint, tls| {
            let _within = runtime.enter();
            Ok(match tls {
                Some(tls) => endpoint.connect_with_connector_lazy(tls),
                None => endpoint.connect_lazy(),
            })
        })
    }

    fn new(
        server: &Server,
        keys: &KeyArgs,
        connect: impl FnOnce(
            &Runtime,
            &Endpoint,
            Option<Tls>,
        ) -> Result<Channel, tonic::transport::Error>,
    ) -> Result<Self, ServerError> {
        let (_, address) = Scheme::split(&server.text);
        let keys = keys.read((server.scheme, address), b"h2")?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ServerError::Runtime)?;
        let failed = |source| ServerError::Connect {
            server: server.clone(),
            source,
        };
        let endpoint = Endpoint::from_shared(server.uri.clone()).map_err(failed)?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .tcp_nodelay(true);
        let channel = connect(&runtime, &endpoint, keys.tls).map_err(failed)?;
        let token = keys.authorization.as_ref().map(|value| {
            let token = MetadataValue::<Ascii>::try_from(value.as_bytes());
            token.map_err(|_| ServerError::Address {
                value: "a token".to_owned(),
            })
        });
        let way = InterceptedService::new(channel, Bearer(token.transpose()?));
        Ok(Self {
            runtime,
            client: DecisionServiceClient::new(way.clone()),
            way,
            server: server.clone(),
        })
    }

    /// Waits for `future`, and drives whatever else is under way meanwhile.
    pub(super) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Starts `future`; it gets on while [`Self::wait`] waits.
    pub(super) fn start<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime.spawn(future)
    }

    /// An error status of this server.
    pub(super) fn refused(&self, status: Status) -> ServerError {
        ServerError::Call {
            server: self.server.clone(),
            status: Box::new(status),
        }
    }
}

/// The status by its name in the gRPC specification, as operators look it up.
fn code_name(status: &Status) -> String {
    let mut name = String::new();
    for (index, letter) in format!("{:?}", status.code()).char_indices() {
        if letter.is_ascii_uppercase() && index > 0 {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_addresses_or_sockets() {
        for good in [
            "127.0.0.1:7070",
            "[::1]:7070",
            "edge.example.net:7070",
            "http://127.0.0.1:7070",
            "https://edge.example.net:7070",
            "unix:/run/tradewind.sock",
        ] {
            assert_eq!(good.parse::<Server>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "7070",
            "127.0.0.1",
            "127.0.0.1:0",
            "127.0.0.1:70700",
            "https://a/b:1",
            "unix:",
            "a b:1",
        ] {
            assert!(bad.parse::<Server>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn statuses_have_the_specification_names() {
        assert_eq!(code_name(&Status::invalid_argument("")), "INVALID_ARGUMENT");
        assert_eq!(code_name(&Status::unavailable("")), "UNAVAILABLE");
    }
}
