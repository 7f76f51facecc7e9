//! What a command shows to a sidecar's door, and what it wants to see there: TLS and tokens.

use std::fs;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use http::header::HeaderValue;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// How to be let in at a door that asks who comes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct KeyArgs {
    /// Speak TLS, and believe certificates of these issuers (PEM)
    #[arg(
        long,
        value_name = "FILE",
        env = "TRADEWIND_TLS_CA",
        help_heading = "Being let in"
    )]
    pub tls_ca: Option<PathBuf>,
    /// The name to find in the sidecar's certificate [default: the host of its address]
    #[arg(
        long,
        value_name = "NAME",
        env = "TRADEWIND_TLS_NAME",
        requires = "tls_ca",
        help_heading = "Being let in"
    )]
    pub tls_name: Option<String>,
    /// The certificate to show (PEM)
    #[arg(
        long,
        value_name = "FILE",
        env = "TRADEWIND_TLS_CLIENT_CERT",
        requires_all = ["tls_ca", "tls_client_key"],
        help_heading = "Being let in"
    )]
    pub tls_client_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(
        long,
        value_name = "FILE",
        env = "TRADEWIND_TLS_CLIENT_KEY",
        requires = "tls_client_cert",
        help_heading = "Being let in"
    )]
    pub tls_client_key: Option<PathBuf>,
    /// File with the token to show, as its first word
    #[arg(
        long,
        value_name = "FILE",
        env = "TRADEWIND_TOKEN_FILE",
        help_heading = "Being let in"
    )]
    pub token_file: Option<PathBuf>,
    /// Send the token without TLS too, to other hosts than this one
    #[arg(
        long,
        requires = "token_file",
        env = "TRADEWIND_INSECURE_TOKEN",
        help_heading = "Being let in"
    )]
    pub insecure_token: bool,
}

/// Why a command cannot show what it is to show.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file that cannot be used.
    #[error("{}: {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// TLS, and nobody who is believed.
    #[error(
        "https://{address} is to be spoken to with TLS, and nothing says whose certificates to believe there: give --tls-ca FILE"
    )]
    NoIssuers {
        /// The door.
        address: String,
    },
    /// No TLS, and somebody who is believed.
    #[error(
        "http://{address} is to be spoken to without TLS, and --tls-ca (or TRADEWIND_TLS_CA) is given, which is for TLS: must be https:// or without --tls-ca"
    )]
    Plain {
        /// The door.
        address: String,
    },
    /// A token that everybody on the way could read.
    #[error(
        "the token of --token-file would go to {address} without TLS, where others can read it on the way: give --tls-ca FILE, ask on that host (127.0.0.1, unix:PATH, or through ssh -L), or give --insecure-token"
    )]
    OpenToken {
        /// The door.
        address: String,
    },
}

/// What an address says of how its door is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// `unix:`, where nobody is on the way.
    Unix,
    /// `http://`: without TLS.
    Http,
    /// `https://`: with TLS.
    Https,
    /// Nothing: with TLS where somebody is given who is believed.
    Unsaid,
}

impl Scheme {
    /// The scheme at the beginning of an address, and what is behind it.
    pub(super) fn split(text: &str) -> (Self, &str) {
        let known = [
            ("unix:", Self::Unix),
            ("http://", Self::Http),
            ("https://", Self::Https),
        ];
        let found = known
            .into_iter()
            .find_map(|(begins, scheme)| Some((scheme, text.strip_prefix(begins)?)));
        found.unwrap_or((Self::Unsaid, text))
    }
}

/// Both of it, read.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys {
    pub(super) tls: Option<Tls>,
    /// The value of `authorization`.
    pub(super) authorization: Option<HeaderValue>,
}

impl KeyArgs {
    /// Reads the files, for a door at `HOST:PORT` (a path for [`Scheme::Unix`]) at which `speaks` is spoken.
    pub(super) fn read(
        &self,
        (scheme, address): (Scheme, &str),
        speaks: &[u8],
    ) -> Result<Keys, KeyError> {
        let address = || address.to_owned();
        let issuers = match (scheme, self.tls_ca.as_deref()) {
            // Who comes by a Unix socket is known by the system, and nobody listens on the way.
            (Scheme::Unix, _) => None,
            (Scheme::Https, None) => return Err(KeyError::NoIssuers { address: address() }),
            (Scheme::Http, Some(_)) => return Err(KeyError::Plain { address: address() }),
            (Scheme::Http | Scheme::Https | Scheme::Unsaid, issuers) => issuers,
        };
        let is_private = scheme == Scheme::Unix || issuers.is_some() || is_loopback(&address());
        if self.token_file.is_some() && !is_private && !self.insecure_token {
            return Err(KeyError::OpenToken { address: address() });
        }
        let tls = issuers.map(|path| self.tls(path, speaks));
        let authorization = self.token_file.as_deref().map(read_token);
        Ok(Keys {
            tls: tls.transpose()?,
            authorization: authorization.transpose()?,
        })
    }

    fn tls(&self, issuers: &Path, speaks: &[u8]) -> Result<Tls, KeyError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(issuers)? {
            roots
                .add(certificate)
                .map_err(|error| wrong(issuers, &error))?;
        }
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let mut config = match (&self.tls_client_cert, &self.tls_client_key) {
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate)?;
                let secret = PrivateKeyDer::from_pem_slice(&read(key)?);
                // What is said of a key must never repeat it.
                let secret = secret
                    .map_err(|_error| wrong(key, &"holds no private key that can be read"))?;
                let config = builder.with_client_auth_cert(chain, secret);
                config.map_err(|error| wrong(key, &error))?
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![speaks.to_vec()];
        Ok(Tls {
            config: Arc::new(config),
            name: self.tls_name.clone(),
        })
    }
}

/// The host of `HOST:PORT`, without the brackets of an IPv6 address.
fn host_of(address: &str) -> &str {
    let host = address
        .rsplit_once(':')
        .map_or(address, |(host, _port)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Whether a door is surely on this host.
fn is_loopback(address: &str) -> bool {
    let host = host_of(address);
    let is_own = |address: IpAddr| address.is_loopback();
    host == "localhost" || host.parse().is_ok_and(is_own)
}

fn wrong(path: &Path, what: &dyn ToString) -> KeyError {
    KeyError::File {
        path: path.to_owned(),
        what: what.to_string(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, KeyError> {
    fs::read(path).map_err(|error| wrong(path, &error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, KeyError> {
    let text = read(path)?;
    let all = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| wrong(path, &error))?;
    if all.is_empty() {
        return Err(wrong(
            path,
            &"holds no certificate, must hold one or more in PEM",
        ));
    }
    Ok(all)
}

fn read_token(path: &Path) -> Result<HeaderValue, KeyError> {
    let text = String::from_utf8_lossy(&read(path)?).into_owned();
    let token = text.split_whitespace().next();
    let token = token.ok_or_else(|| wrong(path, &"is empty, must hold a token"))?;
    let value = HeaderValue::try_from(format!("Bearer {token}"));
    let mut value =
        value.map_err(|_error| wrong(path, &"holds no token: it has odd characters"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// TLS as a command speaks it.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    name: Option<String>,
}

impl Tls {
    /// Connects to `HOST:PORT`.
    pub(super) async fn connect(&self, address: &str) -> io::Result<TlsStream<TcpStream>> {
        let name = self.name.as_deref().unwrap_or(host_of(address)).to_owned();
        let bad = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let name = ServerName::try_from(name).map_err(bad)?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector.connect(name, stream).await
    }
}

/// The same for a channel of gRPC.
impl tower::Service<Uri> for Tls {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let tls = self.clone();
        Box::pin(async move {
            let authority = server
                .authority()
                .map_or("", |authority| authority.as_str());
            tls.connect(authority).await.map(TokioIo::new)
        })
    }
}

/// Shows a token with each call.
#[derive(Debug, Clone, Default)]
pub(super) struct Bearer(pub(super) Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", token.clone());
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: (Scheme, &str) = (Scheme::Unsaid, "127.0.0.1:7072");

    #[test]
    fn a_token_went_over_the_network_for_everybody_to_read() {
        let dir = tempfile::tempdir().unwrap();
        let token = dir.path().join("token");
        fs::write(&token, "secret-of-many-letters\n").unwrap();
        let args = KeyArgs {
            token_file: Some(token),
            ..KeyArgs::default()
        };
        for there in ["edge-7:7072", "10.0.0.7:7072", "[2001:db8::1]:7072"] {
            let refused = args.read((Scheme::Unsaid, there), b"h2").unwrap_err();
            let said = refused.to_string();
            assert!(
                said.contains("without TLS") && said.contains(there),
                "{said}"
            );
            let on_purpose = KeyArgs {
                insecure_token: true,
                ..args.clone()
            };
            assert!(on_purpose.read((Scheme::Http, there), b"h2").is_ok());
        }
        for here in [
            "127.0.0.1:7072",
            "[::1]:7072",
            "localhost:7072",
            "127.3.2.1:1",
        ] {
            assert!(args.read((Scheme::Http, here), b"h2").is_ok(), "{here}");
        }
        assert!(args.read((Scheme::Unix, "/run/a.sock"), b"h2").is_ok());
    }

    #[test]
    fn an_address_says_whether_tls_is_meant() {
        let without = KeyArgs::default();
        let refused = without.read((Scheme::Https, "edge-7:7072"), b"h2");
        let said = refused.unwrap_err().to_string();
        assert!(said.contains("--tls-ca"), "{said}");
        let with = KeyArgs {
            tls_ca: Some("/nowhere/ca.pem".into()),
            ..KeyArgs::default()
        };
        let refused = with.read((Scheme::Http, "edge-7:7072"), b"h2");
        let said = refused.unwrap_err().to_string();
        assert!(said.contains("without TLS"), "{said}");
        // Nothing is read for a socket on this host.
        assert!(with.read((Scheme::Unix, "/run/a.sock"), b"h2").is_ok());
        assert!(with.read((Scheme::Https, "edge-7:7072"), b"h2").is_err());
    }

    #[test]
    fn what_cannot_be_shown_is_told_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty");
        fs::write(&empty, "\n").unwrap();
        let args = KeyArgs {
            token_file: Some(empty.clone()),
            ..KeyArgs::default()
        };
        let error = args.read(HERE, b"h2").unwrap_err().to_string();
        assert!(
            error.ends_with("empty: is empty, must hold a token"),
            "{error}"
        );
        let args = KeyArgs {
            tls_ca: Some(empty),
            ..KeyArgs::default()
        };
        let error = args.read(HERE, b"h2").unwrap_err().to_string();
        assert!(error.contains("holds no certificate"), "{error}");
        let token = dir.path().join("token");
        fs::write(&token, "secret-of-many-letters\n").unwrap();
        let args = KeyArgs {
            token_file: Some(token),
            ..KeyArgs::default()
        };
        let shown = args.read(HERE, b"h2").unwrap().authorization.unwrap();
        assert_eq!(shown, "Bearer secret-of-many-letters");
        assert!(shown.is_sensitive());
    }
}
