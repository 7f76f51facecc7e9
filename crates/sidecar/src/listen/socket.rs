//! Listening sockets: TCP, and Unix sockets that never steal or delete another server's file.

use std::fmt;
use std::fs::{self, File, Metadata, Permissions, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio::time;

use super::ListenError;
use crate::identity::Peer;

/// Mode of a Unix socket: its owner and group may connect, nobody else.
pub const UNIX_MODE: u32 = 0o660;

/// Connections the kernel keeps for us until we accept them: a whole gate full, for when a fleet comes back at
/// once. A peer that finds the queue full tries again a second later.
const BACKLOG: u32 = 2_048;

/// How long a listener that may be there is given to take a trial connection.
const TRIAL: Duration = Duration::from_millis(500);
/// Tries at the directory's lock, and the pause between them: one second in all.
const LOCK_TRIES: u32 = 40;
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A TCP address; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// The path of a Unix socket, at most about 100 bytes. Its directory must exist.
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A bound socket. Dropping it closes it and removes the file of a Unix socket, if that is still ours.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    endpoint: Endpoint,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        _file: SocketFile,
    },
}

impl Listener {
    /// Binds the endpoint on the current runtime.
    pub async fn bind(endpoint: &Endpoint) -> Result<Self, ListenError> {
        match endpoint {
            Endpoint::Tcp(address) => {
                let fail = |source| ListenError::Tcp {
                    address: *address,
                    source,
                };
                let listener = bind_tcp(*address).map_err(fail)?;
                let endpoint = Endpoint::Tcp(listener.local_addr().map_err(fail)?);
                Ok(Self {
                    socket: Socket::Tcp(listener),
                    endpoint,
                })
            }
            Endpoint::Unix(path) => {
                let (listener, file) = bind_unix(path).await?;
                Ok(Self {
                    socket: Socket::Unix {
                        listener,
                        _file: file,
                    },
                    endpoint: endpoint.clone(),
                })
            }
        }
    }

    /// Where it listens, with the port the system chose.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The next connection, or why there is none. Safe to cancel.
    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        match &self.socket {
            Socket::Tcp(listener) => listener
                .accept()
                .await
                .map(|(stream, _peer)| Accepted::Tcp(stream)),
            Socket::Unix { listener, .. } => listener
                .accept()
                .await
                .map(|(stream, _peer)| Accepted::Unix(stream)),
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // A restart need not wait for the old connections to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A connection on the runtime that accepted it.
#[derive(Debug)]
pub(crate) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Accepted {
    /// Who is at the other end; `None` when it is gone already.
    pub(crate) fn peer(&self) -> Option<Peer> {
        match self {
            Self::Tcp(stream) => {
                let address = stream.peer_addr().ok()?;
                Some(Peer::Ip(address.ip().to_canonical()))
            }
            Self::Unix(stream) => {
                let user = stream.peer_cred().ok();
                Some(Peer::Unix(user.map(|user| user.uid())))
            }
        }
    }
}

/// The file of a bound Unix socket.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and inode: another server's socket at our path has others.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours =
            fs::symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the unix socket");
        }
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Binds under a neighbouring name, sets the mode and only then moves the socket to `path`, so that nobody
/// can connect before the mode is right. The directory is locked meanwhile: of two servers that start at
/// once, the second sees the first one's socket alive.
async fn bind_unix(path: &Path) -> Result<(UnixListener, SocketFile), ListenError> {
    let fail = |source| ListenError::Unix {
        path: path.to_owned(),
        source,
    };
    let _lock = lock_directory(path).await?;
    clear(path).await?;
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
        _gone => {}
    }
    let listener = UnixListener::bind(&fresh).map_err(fail)?;
    let moved = fs::set_permissions(&fresh, Permissions::from_mode(UNIX_MODE))
        .and_then(|()| fs::symlink_metadata(&fresh))
        .and_then(|metadata| fs::rename(&fresh, path).map(|()| identity(&metadata)));
    match moved {
        Ok(identity) => Ok((
            listener,
            SocketFile {
                path: path.to_owned(),
                identity,
            },
        )),
        Err(error) => {
            // The error that matters is the first one.
            let _removed: io::Result<()> = fs::remove_file(&fresh);
            Err(fail(error))
        }
    }
}

/// Makes sure that what is at `path`, if anything, is a socket that nobody listens on.
async fn clear(path: &Path) -> Result<(), ListenError> {
    let fail = |source| ListenError::Unix {
        path: path.to_owned(),
        source,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fail(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ListenError::NotASocket {
                path: path.to_owned(),
            });
        }
        Ok(_socket) => {}
    }
    match time::timeout(TRIAL, UnixStream::connect(path)).await {
        // Only a refusal says that nobody listens; the rename to come replaces the file.
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "replacing a unix socket that nobody listens on");
            Ok(())
        }
        // Another server has just removed it.
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A full queue of connections is a sign of life.
        Ok(Err(error)) if error.kind() != io::ErrorKind::WouldBlock => Err(fail(error)),
        _alive => Err(ListenError::InUse {
            path: path.to_owned(),
        }),
    }
}

/// An exclusive lock on the socket's directory, given back when the file is dropped.
async fn lock_directory(path: &Path) -> Result<File, ListenError> {
    let fail = |source| ListenError::Unix {
        path: path.to_owned(),
        source,
    };
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = File::open(parent.unwrap_or(Path::new("."))).map_err(fail)?;
    for _try in 0..LOCK_TRIES {
        match directory.try_lock() {
            Ok(()) => return Ok(directory),
            Err(TryLockError::WouldBlock) => time::sleep(LOCK_PAUSE).await,
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
    }
    let waited_ms = u64::try_from((LOCK_PAUSE * LOCK_TRIES).as_millis()).unwrap_or(u64::MAX);
    Err(ListenError::DirectoryLocked {
        path: path.to_owned(),
        waited_ms,
    })
}
