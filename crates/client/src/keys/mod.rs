//! What is shown to the sidecar's door: a token with each call, and with the feature `tls` a certificate.
//!
//! The files are read again every five seconds, so that tokens that turn and certificates that live for hours need no restart. What
//! cannot be used then is said once, and what was shown before is shown on: a file may be half written.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::Shared;
use super::options::{ConnectError, Options};

#[cfg(feature = "tls")]
mod tls;

/// How often the files are read again.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The way of calls to the sidecar.
pub(super) type Way = InterceptedService<Channel, Bearer>;

/// What is shown now.
#[derive(Debug, Default)]
pub(super) struct Keys {
    token: ArcSwapOption<MetadataValue<Ascii>>,
    #[cfg(feature = "tls")]
    tls: Option<tls::Tls>,
}

impl Keys {
    /// Reads what the options name for the first time.
    pub(super) fn read(options: &Options) -> Result<Arc<Self>, ConnectError> {
        let is_private = options.speaks_tls() || is_on_this_host(&options.sidecar);
        if options.token_file.is_some() && !is_private {
            return Err(ConnectError::OpenToken {
                address: options.sidecar.clone(),
            });
        }
        let token = options.token_file.as_deref().map(read_token).transpose()?;
        Ok(Arc::new(Self {
            token: ArcSwapOption::new(token.map(Arc::new)),
            #[cfg(feature = "tls")]
            tls: options.tls_spoken().map(tls::Tls::read).transpose()?,
        }))
    }

    /// A way of calls that connects when it is first needed.
    pub(super) fn way(self: &Arc<Self>, endpoint: &Endpoint) -> Way {
        #[cfg(feature = "tls")]
        let channel = match &self.tls {
            Some(tls) => endpoint.connect_with_connector_lazy(tls.connector()),
            None => endpoint.connect_lazy(),
        };
        #[cfg(not(feature = "tls"))]
        let channel = endpoint.connect_lazy();
        InterceptedService::new(channel, Bearer(Arc::clone(self)))
    }

    /// Reads all of it again, and keeps what cannot be read as it was.
    fn look(&self, options: &Options) -> Result<(), ConnectError> {
        let token = options.token_file.as_deref().map(read_token).transpose();
        #[cfg(feature = "tls")]
        let tls = self.tls.as_ref().map_or(Ok(()), tls::Tls::look);
        #[cfg(not(feature = "tls"))]
        let tls = Ok(());
        if let Some(token) = token? {
            self.token.store(Some(Arc::new(token)));
        }
        tls
    }
}

/// Looks at the files for as long as the client lives; ends at once where there are none.
pub(super) async fn run(shared: Arc<Shared>) {
    let options = &shared.options;
    if options.token_file.is_none() && !options.speaks_tls() {
        return;
    }
    let mut is_failing = false;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let looking = Arc::clone(&shared);
        let look = move || looking.lines.keys.look(&looking.options);
        match tokio::task::spawn_blocking(look).await {
            Ok(Ok(())) => is_failing = false,
            Ok(Err(error)) => {
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!(%error, "what is shown to the sidecar stays as it was");
                }
            }
            // The runtime ends.
            Err(_) => return,
        }
    }
}

/// Shows the token with each call.
#[derive(Debug, Clone)]
pub(super) struct Bearer(Arc<Keys>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &*self.0.token.load() {
            let token = MetadataValue::clone(token);
            request.metadata_mut().insert("authorization", token);
        }
        Ok(request)
    }
}

/// The host of `HOST:PORT`, without the brackets of an IPv6 address.
fn host_of(address: &str) -> &str {
    let host = address
        .rsplit_once(':')
        .map_or(address, |(host, _port)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Whether nobody else's network lies between.
fn is_on_this_host(address: &str) -> bool {
    let host = host_of(address);
    let is_own = |address: IpAddr| address.is_loopback();
    address.starts_with("unix:") || host == "localhost" || host.parse().is_ok_and(is_own)
}

fn wrong(path: &Path, what: &dyn ToString) -> ConnectError {
    ConnectError::File {
        path: path.to_owned(),
        what: what.to_string(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConnectError> {
    fs::read(path).map_err(|error| wrong(path, &error))
}

fn read_token(path: &Path) -> Result<MetadataValue<Ascii>, ConnectError> {
    let text = String::from_utf8_lossy(&read(path)?).into_owned();
    let token = text.split_whitespace().next();
    let token = token.ok_or_else(|| wrong(path, &"is empty, must hold a token"))?;
    let value = MetadataValue::try_from(format!("Bearer {token}"));
    // What is said of a token must never repeat it.
    let mut value =
        value.map_err(|_error| wrong(path, &"holds no token: it has odd characters"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(sidecar: &str, token: &Path) -> Options {
        Options {
            token_file: Some(token.to_owned()),
            ..Options::at(sidecar)
        }
    }

    #[test]
    fn a_token_never_went_over_a_network_in_the_open() {
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        fs::write(&token, "secret-of-many-letters\n").unwrap();
        for there in ["edge-7:7070", "10.0.0.7:7070", "[2001:db8::1]:7070"] {
            let refused = Keys::read(&options(there, &token)).unwrap_err().to_string();
            assert!(
                refused.contains("without TLS") && refused.contains(there),
                "{refused}"
            );
        }
        for here in ["127.0.0.1:7070", "[::1]:7070", "localhost:7070", "unix:/a"] {
            assert!(Keys::read(&options(here, &token)).is_ok(), "{here}");
        }
    }

    #[test]
    fn a_token_that_turned_into_nothing_is_told_and_the_one_before_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        fs::write(&token, "the-first-of-two\n").unwrap();
        let options = options("127.0.0.1:7070", &token);
        let keys = Keys::read(&options).unwrap();
        let shown = || {
            let request = Bearer(Arc::clone(&keys)).call(Request::new(())).unwrap();
            let value = request.metadata().get("authorization").unwrap().clone();
            value.to_str().unwrap().to_owned()
        };
        fs::write(&token, "").unwrap();
        let error = keys.look(&options).unwrap_err().to_string();
        assert!(
            error.ends_with("token: is empty, must hold a token"),
            "{error}"
        );
        assert_eq!(shown(), "Bearer the-first-of-two");
        fs::write(&token, "the-second-of-two\n").unwrap();
        keys.look(&options).unwrap();
        assert_eq!(shown(), "Bearer the-second-of-two");
    }
}
