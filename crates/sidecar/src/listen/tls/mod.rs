//! TLS at a door: the certificate that it shows, whom it takes client certificates from, and the names in them.
//!
//! A client certificate is taken where one is shown and never demanded in the handshake: what a caller may do is a matter of
//! roles, and a probe or a caller with a token has none to show. One that is shown and not trusted ends the handshake.
//!
//! Files are read anew when they change. What cannot be used (cut short, expired, a key of another certificate) is refused, and
//! what was in force before stays. New connections get what is in force, so that a turn loses no handshake; those of clients whose
//! certificates count no more by it are ended.

mod clients;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

pub(crate) use self::clients::Shown;
use self::clients::{names_in, validity_s, verifier};
use crate::clock::{self, rfc3339};

/// Time for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(3);

/// Largest file of certificates or keys, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What a TLS record begins with that begins a handshake (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

/// What the peers of a door agree on inside TLS (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/2.
    Http2,
    /// HTTP/1.1.
    Http1,
}

impl Speaks {
    const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http2 => b"h2",
            Self::Http1 => b"http/1.1",
        }
    }
}

/// The files of a door's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFiles {
    /// The certificate that is shown, its issuers behind it (PEM).
    pub certificate: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
    /// Whose certificates of clients are believed (PEM); `None` where no client's is looked at.
    pub clients: Option<PathBuf>,
}

impl KeyFiles {
    /// Every file.
    pub fn all(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.certificate, &self.key]
            .into_iter()
            .chain(&self.clients)
    }
}

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{}: {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// A certificate in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// SHA-256 of all files.
    digest: [u8; 32],
    /// When the certificate ends, in seconds since 1970.
    pub not_after_unix_s: u64,
    /// The names that it is for.
    pub names: Vec<String>,
}

/// What a look at the files came to.
#[derive(Debug)]
pub enum Look {
    /// Nothing has changed.
    Same,
    /// Others are in force.
    Changed(Arc<InForce>),
    /// They cannot be used, those before stay in force.
    Refused(KeyError),
}

/// Reads a file of so many bytes at most; what stands in its place must not hold up who reads.
pub type Reader = fn(&Path, u64) -> io::Result<String>;

/// Keys in force, for all doors that have them.
#[derive(Debug)]
pub struct Keys {
    files: KeyFiles,
    read: Reader,
    now: ArcSwap<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    shown: Arc<InForce>,
    http2: Arc<ServerConfig>,
    http1: Arc<ServerConfig>,
    /// Looks at certificates of clients.
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl Keys {
    /// Reads the files for the first time.
    pub fn load(files: KeyFiles, read: Reader, unix_s: u64) -> Result<Arc<Self>, KeyError> {
        let texts = Texts::read(&files, read)?;
        let loaded = texts.load(&files, unix_s)?;
        Ok(Arc::new(Self {
            files,
            read,
            now: ArcSwap::from_pointee(loaded),
        }))
    }

    /// What is in force.
    pub fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.now.load().shown)
    }

    /// Looks at the files again. To be called by one thread.
    pub fn look(&self, unix_s: u64) -> Look {
        let texts = match Texts::read(&self.files, self.read) {
            Ok(texts) => texts,
            Err(error) => return Look::Refused(error),
        };
        if texts.digest() == self.now.load().shown.digest {
            return Look::Same;
        }
        match texts.load(&self.files, unix_s) {
            Ok(loaded) => {
                let shown = Arc::clone(&loaded.shown);
                self.now.store(Arc::new(loaded));
                Look::Changed(shown)
            }
            Err(error) => Look::Refused(error),
        }
    }

    /// Whether a client that has shown this would be let in with it at this time.
    fn takes(&self, shown: &Shown, unix_s: u64) -> bool {
        let now = self.now.load();
        let Some((clients, (own, issuers))) = now.clients.as_ref().zip(shown.chain.split_first())
        else {
            return false;
        };
        let time = UnixTime::since_unix_epoch(Duration::from_secs(unix_s));
        clients.verify_client_cert(own, issuers, time).is_ok()
    }

    fn config(&self, speaks: Speaks) -> Arc<ServerConfig> {
        let now = self.now.load();
        Arc::clone(match speaks {
            Speaks::Http2 => &now.http2,
            Speaks::Http1 => &now.http1,
        })
    }
}

/// What the files hold.
struct Texts {
    certificate: String,
    key: String,
    clients: Option<String>,
}

impl Texts {
    fn read(files: &KeyFiles, read: Reader) -> Result<Self, KeyError> {
        let read = |path: &PathBuf| {
            read(path, MAX_FILE_BYTES).map_err(|source| KeyError::Unreadable {
                path: path.clone(),
                source,
            })
        };
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            clients: files.clients.as_ref().map(read).transpose()?,
        })
    }

    fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for text in [&self.certificate, &self.key]
            .into_iter()
            .chain(&self.clients)
        {
            digest.update(text.len().to_be_bytes());
            digest.update(text);
        }
        digest.finalize().into()
    }

    fn load(&self, files: &KeyFiles, unix_s: u64) -> Result<Loaded, KeyError> {
        let wrong = |path: &Path, what: String| KeyError::Content {
            path: path.to_owned(),
            what,
        };
        let chain = certificates(&self.certificate);
        let chain = chain.map_err(|what| wrong(&files.certificate, what))?;
        let shown = chain.first().map_or_else(
            || Err("holds no certificate, must hold one or more in PEM".to_owned()),
            |first| in_force(first, unix_s, self.digest()),
        );
        let shown = shown.map_err(|what| wrong(&files.certificate, what))?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(|_error| {
            // What is said of a key must never repeat it.
            let what = "holds no private key that can be read, must hold one in PEM (PKCS #8, PKCS #1 or SEC 1)";
            wrong(&files.key, what.to_owned())
        })?;
        let clients = files.clients.as_ref().zip(self.clients.as_ref());
        let clients = clients.map(|(path, text)| verifier(text).map_err(|what| wrong(path, what)));
        let clients = clients.transpose()?;
        let builder = ServerConfig::builder();
        let builder = match &clients {
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
            None => builder.with_no_client_auth(),
        };
        let config = builder.with_single_cert(chain, key);
        let mut config = config.map_err(|error| {
            let of = files.certificate.display();
            wrong(
                &files.key,
                format!("is not the key of {of}, or of a kind that is not taken: {error}"),
            )
        })?;
        // No session is resumed: who shows a certificate shows it anew each time, so that one that has ended counts for nothing.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let speaking = |speaks: Speaks| {
            let mut config = config.clone();
            config.alpn_protocols = vec![speaks.alpn().to_vec()];
            Arc::new(config)
        };
        Ok(Loaded {
            shown: Arc::new(shown),
            http2: speaking(Speaks::Http2),
            http1: speaking(Speaks::Http1),
            clients,
        })
    }
}

fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    read.map_err(|error| format!("is not PEM to its end: {error}"))
}

fn in_force(
    certificate: &CertificateDer<'_>,
    unix_s: u64,
    digest: [u8; 32],
) -> Result<InForce, String> {
    let read = Certificate::from_der(certificate)
        .map_err(|error| format!("is no X.509 certificate: {error}"))?;
    let (from, to) = validity_s(&read);
    if to < unix_s {
        return Err(format!(
            "its certificate ended {}",
            rfc3339(to.saturating_mul(1_000))
        ));
    }
    if from > unix_s {
        return Err(format!(
            "its certificate begins {}",
            rfc3339(from.saturating_mul(1_000))
        ));
    }
    Ok(InForce {
        digest,
        not_after_unix_s: to,
        names: names_in(&read).map(String::from).collect(),
    })
}

/// Longest time for which nobody looks at a certificate: the clock of the wall may be set.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_mins(1);

impl DoorTls {
    /// Completes when a client would not be let in any more with the certificate that it has shown, because it has ended or is
    /// of nobody who is believed now; `turns` tells when keys have changed.
    pub(crate) async fn outlived(&self, shown: &Shown, mut turns: watch::Receiver<()>) {
        loop {
            turns.borrow_and_update();
            let unix_s = clock::unix_ms() / 1_000;
            if !self.keys.takes(shown, unix_s) {
                return;
            }
            // What ends within a second has ended after it.
            let left = Duration::from_secs(shown.ends_unix_s.saturating_sub(unix_s) + 1);
            tokio::select! {
                // An error is the end of whoever tells; the time goes on.
                _ = turns.changed() => {}
                () = time::sleep(left.min(LOOK_AT_LEAST_EVERY)) => {}
            }
        }
    }
}

/// How a connection begins at a door with TLS.
pub(crate) enum Begun {
    /// By a handshake, in which the client may have shown a certificate.
    Shaken(Box<TlsStream<TcpStream>>, Option<Shown>),
    /// By something else: whoever speaks without TLS may be told so.
    Plain(TcpStream),
    /// By nothing: the peer has left.
    Gone,
    /// By nothing that could go on.
    Failed,
}

/// TLS as one door has it.
#[derive(Debug, Clone)]
pub struct DoorTls {
    /// The keys.
    pub keys: Arc<Keys>,
    /// What is agreed on inside.
    pub speaks: Speaks,
}

impl DoorTls {
    /// Shakes hands, within the time for it.
    pub(crate) async fn begin(&self, stream: TcpStream) -> Begun {
        let begun = time::timeout(HANDSHAKE, async {
            let mut first = [0];
            match stream.peek(&mut first).await {
                Ok(1) if first == [HANDSHAKE_RECORD] => {}
                Ok(1) => return Begun::Plain(stream),
                // It has gone without a word, as a probe of a port does.
                _ => return Begun::Gone,
            }
            let acceptor = TlsAcceptor::from(self.keys.config(self.speaks));
            match acceptor.accept(stream).await {
                Ok(stream) => {
                    let shown = Shown::of(&stream);
                    Begun::Shaken(Box::new(stream), shown)
                }
                Err(error) => {
                    tracing::debug!(%error, "a TLS handshake failed");
                    Begun::Failed
                }
            }
        });
        begun.await.unwrap_or(Begun::Failed)
    }
}
