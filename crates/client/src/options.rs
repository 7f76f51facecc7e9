//! What a client can be told.

use std::path::PathBuf;
use std::time::Duration;

use tonic::transport::Endpoint;

/// How a client asks, and how much it keeps. All bounds are of one client, whatever number of clones it has.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the sidecar serves gRPC: `HOST:PORT`, or `unix:PATH` for a socket in the file system.
    pub sidecar: String,
    /// The file with the token to show with each call, as its first word; read again every five seconds, so replace it by rename.
    /// Only to a sidecar on this host, or with TLS: else whoever is on the way could read it. Default: none.
    pub token_file: Option<PathBuf>,
    /// How TLS is spoken to the sidecar; `None` for not at all, which is the default. Never over a Unix socket.
    #[cfg(feature = "tls")]
    pub tls: Option<TlsFiles>,
    /// Who tells of outcomes, of several proxies behind one peer that the sidecar's operator trusts (`trusted_reporters`).
    /// Up to 64 bytes; may be empty.
    pub reporter: String,
    /// How long to wait for an answer before deciding without the sidecar, 1 ms to 10 s; other values are taken to the
    /// nearer end. Default: 50 ms.
    pub deadline: Duration,
    /// After so many failures in a row the sidecar is not asked any more until a trial in the background succeeds. At
    /// least 1. Default: 3.
    pub failures: u32,
    /// Most answers kept for reuse; 0 for none. Only what the policy gives a ttl is kept. Default: 8192.
    pub cached_answers: usize,
    /// Most networks of clients (IPv4 /24, IPv6 /48) whose places are remembered; at least 1. Default: 65,536, which
    /// takes 10 MB.
    pub known_networks: usize,
    /// How it is learned where clients are. Default: [`Places::Asked`].
    pub places: Places,
    /// The folder in which the last good copy of what the sidecar decides from is kept, for a process that starts while no
    /// sidecar is there; `None` for nowhere, which is the default. It has to be there, and who may write it decides where requests
    /// go. One process writes it at a time.
    pub last_good: Option<PathBuf>,
    /// Most entries of what was purged, which take 100 bytes each when there are so many; more become fewer and wider ones, so that more is
    /// taken for purged than was. Default: 1,048,576, as many as the sidecar has.
    pub purged_entries: usize,
    /// Most outcomes that wait to be sent; further ones are dropped and counted. At least 1. Default: 8192.
    pub outcomes: usize,
}

/// How a client learns where its own clients are. It has no geo files, so the sidecar has to be asked about each network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Places {
    /// By the answers to what is asked anyway.
    #[default]
    Asked,
    /// By questions of its own, a hundred a second at most: for who decides alone as a rule. The first requests of a network are
    /// decided as of one that nobody can place. A network is asked about again after an hour.
    InBackground,
}

/// Whom to believe to be the sidecar, and what to show it; read again every five seconds, for connections that open then.
#[cfg(feature = "tls")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Whose certificates of sidecars are believed (PEM).
    pub issuers: PathBuf,
    /// The name to find in the sidecar's certificate; `None` for the host of its address.
    pub name: Option<String>,
    /// What is shown to be somebody there; `None` for nothing, as who shows a token.
    pub own: Option<OwnFiles>,
}

/// A certificate of one's own.
#[cfg(feature = "tls")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFiles {
    /// The certificate, its issuers behind it (PEM).
    pub certificate: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sidecar: "127.0.0.1:7070".to_owned(),
            token_file: None,
            #[cfg(feature = "tls")]
            tls: None,
            reporter: String::new(),
            deadline: Duration::from_millis(50),
            failures: 3,
            cached_answers: 8_192,
            known_networks: 65_536,
            places: Places::Asked,
            last_good: None,
            purged_entries: 1 << 20,
            outcomes: 8_192,
        }
    }
}

impl Options {
    /// The defaults, for the sidecar at `HOST:PORT` or `unix:PATH`.
    pub fn at(sidecar: impl Into<String>) -> Self {
        Self {
            sidecar: sidecar.into(),
            ..Self::default()
        }
    }
}

impl Options {
    /// How many decisions made here are kept for what is told of them: those of a few seconds where it makes all of them.
    pub(super) fn kept_decisions(&self) -> usize {
        match self.places {
            Places::Asked => 4_096,
            Places::InBackground => 65_536,
        }
    }

    /// Whether the address of the sidecar is one.
    pub fn has_address(&self) -> bool {
        self.endpoint().is_ok()
    }

    /// How TLS is spoken, where it is.
    #[cfg(feature = "tls")]
    pub(super) fn tls_spoken(&self) -> Option<&TlsFiles> {
        let is_socket = self.sidecar.starts_with("unix:");
        self.tls.as_ref().filter(|_| !is_socket)
    }

    #[cfg(feature = "tls")]
    pub(super) fn speaks_tls(&self) -> bool {
        self.tls_spoken().is_some()
    }

    #[cfg(not(feature = "tls"))]
    #[expect(
        clippy::unused_self,
        reason = "with the feature it is asked of the options"
    )]
    pub(super) fn speaks_tls(&self) -> bool {
        false
    }

    /// Where to connect to.
    pub(super) fn endpoint(&self) -> Result<Endpoint, ConnectError> {
        let address = &self.sidecar;
        let bad = || ConnectError::BadAddress {
            address: address.clone(),
        };
        let target = if let Some(path) = address.strip_prefix("unix:") {
            if path.is_empty() {
                return Err(bad());
            }
            address.clone()
        } else {
            let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
            if host.is_empty() || port.parse::<u16>().is_err() || address.contains('/') {
                return Err(bad());
            }
            format!("http://{address}")
        };
        Endpoint::from_shared(target).map_err(|_| bad())
    }
}

/// Why a client cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The sidecar's address is not one.
    #[error("the sidecar's address is `{address}`, must be HOST:PORT or unix:PATH")]
    BadAddress {
        /// As given.
        address: String,
    },
    /// A file of what is to be shown cannot be used.
    #[error("{}: {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A token that everybody on the way could read.
    #[error(
        "the token would go to {address} without TLS, where others can read it on the way: must be a sidecar on this host (127.0.0.1, unix:PATH), or one that TLS is spoken to"
    )]
    OpenToken {
        /// The sidecar's.
        address: String,
    },
    /// There is no Tokio runtime to live on.
    #[error("there is no Tokio runtime here to run the client's tasks on")]
    NoRuntime,
}
