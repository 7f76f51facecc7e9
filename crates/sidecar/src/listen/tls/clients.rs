//! Certificates of clients: who is believed, whom a certificate is of, and for how long.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::time::Time;

use super::certificates;
use crate::identity::caller::MAX_NAME_BYTES;

/// What an id of SPIFFE begins with.
const SPIFFE: &str = "spiffe://";

/// Most names taken of one certificate.
const MAX_NAMES: usize = 16;

/// Who looks at certificates of clients, for those whose issuers stand in a text (PEM).
pub(super) fn verifier(text: &str) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(text)? {
        let added = roots.add(certificate);
        added.map_err(|error| {
            format!("holds a certificate that nobody can be verified by: {error}")
        })?;
    }
    if roots.is_empty() {
        return Err("holds no certificate, must hold one or more in PEM".to_owned());
    }
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots));
    let verifier = verifier.allow_unauthenticated().build();
    let issued = verifier.map_err(|error| error.to_string())?;
    Ok(Arc::new(OneIdentity { issued }))
}

/// Refuses certificates of several identities: who is it then that calls?
///
/// SPIFFE has exactly one URI in a certificate, and has those refused that have more (X.509-SVID, section 2 and 5.2).
#[derive(Debug)]
struct OneIdentity {
    /// Whether it is of an issuer who is believed, and counts yet.
    issued: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for OneIdentity {
    fn offer_client_auth(&self) -> bool {
        self.issued.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.issued.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.issued.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.issued.verify_client_cert(own, issuers, now)?;
        let read = Certificate::from_der(own);
        let read =
            read.map_err(|_error| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let uris = alternatives(&read)
            .into_iter()
            .filter_map(|name| match name {
                GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
                _ => None,
            });
        let uris: Vec<String> = uris.collect();
        if uris.len() > 1 && uris.iter().any(|uri| uri.starts_with(SPIFFE)) {
            tracing::warn!(
                ?uris,
                "a client's certificate is of several identities, and is refused"
            );
            let refused = CertificateError::ApplicationVerificationFailure;
            return Err(Error::InvalidCertificate(refused));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.issued
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.issued
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.issued.supported_verify_schemes()
    }
}

/// The names in a certificate besides its subject.
fn alternatives(certificate: &Certificate) -> Vec<GeneralName> {
    let found = certificate
        .tbs_certificate()
        .get_extension::<SubjectAltName>();
    let all = found.ok().flatten().map(|(_is_critical, names)| names.0);
    all.unwrap_or_default()
}

/// When a certificate begins and when it ends, in seconds since 1970.
pub(super) fn validity_s(certificate: &Certificate) -> (u64, u64) {
    let validity = certificate.tbs_certificate().validity();
    let seconds = |time: Time| time.to_unix_duration().as_secs();
    (seconds(validity.not_before), seconds(validity.not_after))
}

/// The names of a certificate, `spiffe://…` first, then `dns:…`.
pub(super) fn names_in(certificate: &Certificate) -> impl Iterator<Item = Box<str>> {
    let all = alternatives(certificate);
    let ids = all.iter().filter_map(|name| match name {
        GeneralName::UniformResourceIdentifier(uri) if uri.as_str().starts_with(SPIFFE) => {
            Some(uri.as_str().into())
        }
        _ => None,
    });
    let hosts = all.iter().filter_map(|name| match name {
        GeneralName::DnsName(host) => {
            Some(format!("dns:{}", host.as_str().to_ascii_lowercase()).into())
        }
        _ => None,
    });
    let mut names: Vec<Box<str>> = ids.chain(hosts).collect();
    names.retain(|name| name.len() <= MAX_NAME_BYTES);
    names.truncate(MAX_NAMES);
    names.into_iter()
}

/// The certificate that a client has shown.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Its own first, issuers behind it.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// The names that are proven by it.
    names: Vec<Box<str>>,
    /// When the first of the chain ends, in seconds since 1970.
    pub(super) ends_unix_s: u64,
}

impl Shown {
    /// What was shown in a handshake that has succeeded, if anything was.
    pub(super) fn of(stream: &TlsStream<TcpStream>) -> Option<Self> {
        let (_socket, session) = stream.get_ref();
        let chain = session.peer_certificates()?.to_vec();
        let read = chain.iter().map(|each| Certificate::from_der(each).ok());
        let read: Vec<Certificate> = read.collect::<Option<_>>()?;
        let ends = read.iter().map(|each| validity_s(each).1);
        Some(Self {
            names: names_in(read.first()?).collect(),
            ends_unix_s: ends.min()?,
            chain,
        })
    }

    /// The names that are proven by it.
    pub(crate) fn names(&self) -> impl Iterator<Item = Box<str>> {
        self.names.iter().cloned()
    }
}
