//! TLS to the sidecar's door: whose certificates are believed there, and which one is shown.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::Uri;

use super::{host_of, read, wrong};
use crate::options::{ConnectError, TlsFiles};

/// What is in force, and where it is read from.
#[derive(Debug)]
pub(super) struct Tls {
    files: TlsFiles,
    now: Arc<ArcSwap<ClientConfig>>,
}

impl Tls {
    pub(super) fn read(files: &TlsFiles) -> Result<Self, ConnectError> {
        let now = Arc::new(ArcSwap::from_pointee(config(files)?));
        let files = files.clone();
        Ok(Self { files, now })
    }

    /// Reads the files again; connections that open from now on are by them.
    pub(super) fn look(&self) -> Result<(), ConnectError> {
        self.now.store(Arc::new(config(&self.files)?));
        Ok(())
    }

    pub(super) fn connector(&self) -> Connector {
        Connector {
            now: Arc::clone(&self.now),
            name: self.files.name.clone(),
        }
    }
}

fn config(files: &TlsFiles) -> Result<ClientConfig, ConnectError> {
    let issuers = &files.issuers;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(issuers)? {
        roots
            .add(certificate)
            .map_err(|error| wrong(issuers, &error))?;
    }
    // By name: whatever else the proxy is built with, there is no default to agree on.
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(issuers, &error))?
        .with_root_certificates(roots);
    let mut config = match &files.own {
        Some(own) => {
            let chain = certificates(&own.certificate)?;
            let secret = PrivateKeyDer::from_pem_slice(&read(&own.key)?);
            // What is said of a key must never repeat it.
            let secret = secret
                .map_err(|_error| wrong(&own.key, &"holds no private key that can be read"))?;
            let config = builder.with_client_auth_cert(chain, secret);
            config.map_err(|error| wrong(&own.key, &error))?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
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

/// Connects with what is in force then.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    now: Arc<ArcSwap<ClientConfig>>,
    name: Option<String>,
}

impl Connector {
    async fn connect(self, address: String) -> io::Result<TlsStream<TcpStream>> {
        let name = self.name.unwrap_or_else(|| host_of(&address).to_owned());
        let bad = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let name = ServerName::try_from(name).map_err(bad)?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(self.now.load_full());
        connector.connect(name, stream).await
    }
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, sidecar: Uri) -> Self::Future {
        let address = sidecar
            .authority()
            .map_or_else(String::new, ToString::to_string);
        let connecting = self.clone().connect(address);
        Box::pin(async move { connecting.await.map(TokioIo::new) })
    }
}
