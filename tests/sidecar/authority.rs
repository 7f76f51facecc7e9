//! An authority for tests: certificates made on the spot, and peers that show them.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Who certifies others.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub(crate) pem: String,
}

/// A certificate and its key, both PEM.
#[derive(Debug, Clone)]
pub(crate) struct Certified {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Certified {
    /// Puts both in place, each at once.
    pub(crate) fn write(&self, directory: &Path, name: &str) {
        for (kind, text) in [("pem", &self.certificate), ("key", &self.key)] {
            let aside = directory.join(format!(".{name}.{kind}"));
            fs::write(&aside, text).unwrap();
            fs::rename(aside, directory.join(format!("{name}.{kind}"))).unwrap();
        }
    }
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// A certificate for a name: `spiffe://…`, or that of a host. It ends on the first day of a year.
    pub(crate) fn certify(&self, name: &str, ends: i32) -> Certified {
        self.certify_all(&[name], |params| {
            params.not_after = date_time_ymd(ends, 1, 1);
        })
    }

    /// A certificate that ends at this time.
    pub(crate) fn certify_until(&self, name: &str, unix_s: u64) -> Certified {
        let ends = date_time_ymd(1970, 1, 1) + Duration::from_secs(unix_s);
        self.certify_all(&[name], |params| params.not_after = ends)
    }

    /// A certificate of several names.
    pub(crate) fn certify_as(&self, names: &[&str]) -> Certified {
        self.certify_all(names, |params| {
            params.not_after = date_time_ymd(2_099, 1, 1);
        })
    }

    fn certify_all(&self, names: &[&str], end: impl FnOnce(&mut CertificateParams)) -> Certified {
        let mut params = CertificateParams::default();
        let san = |name: &str| {
            if name.starts_with("spiffe://") {
                SanType::URI(name.try_into().unwrap())
            } else if let Ok(address) = name.parse() {
                SanType::IpAddress(address)
            } else {
                SanType::DnsName(name.try_into().unwrap())
            }
        };
        params.subject_alt_names = names.iter().map(|name| san(name)).collect();
        params.not_before = date_time_ymd(2020, 1, 1);
        end(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Certified {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A peer that believes this authority, and shows a certificate of its own.
    pub(crate) fn peer(&self, shows: Option<&Certified>, speaks: &[u8]) -> Peer {
        let mut roots = RootCertStore::empty();
        let own = CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap();
        roots.add(own).unwrap();
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let mut config = match shows {
            None => builder.with_no_client_auth(),
            Some(Certified { certificate, key }) => {
                let chain = CertificateDer::pem_slice_iter(certificate.as_bytes());
                let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![speaks.to_vec()];
        Peer(TlsConnector::from(Arc::new(config)))
    }
}

/// Somebody who speaks TLS.
#[derive(Clone)]
pub(crate) struct Peer(TlsConnector);

impl Peer {
    /// Connects to a door that shows a certificate for `localhost`.
    pub(crate) async fn connect(&self, at: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(at).await?;
        let name = ServerName::try_from("localhost").unwrap();
        self.0.connect(name, stream).await
    }
}
