//! What the service manager (systemd) is told, in the words of `sd_notify(3)`, where it asks for that by `NOTIFY_SOCKET`.
//!
//! | when | what |
//! |---|---|
//! | every door answers | `READY=1`, be there a policy or not: a start that waits for one would be ended and begun again |
//! | SIGHUP, until the files were looked at | `RELOADING=1` with the time of it, then `READY=1` |
//! | something else is to be said | `STATUS=` the first line of `tradewind status` |
//! | both the writer and this runtime go on | `WATCHDOG=1`, three times within the time that the manager allows |
//! | the end begins | `STOPPING=1` |

use std::env;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{self, MissedTickBehavior};

use crate::observe::metrics::Sources;
use crate::observe::overview;

/// How often what is said is looked at, at least.
const LOOK: Duration = Duration::from_secs(5);

/// How long the manager may take nothing before something is not told, in attempts and the pause between them.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// Whoever started this process and wants to know how it is; nobody, where nobody asked.
#[derive(Debug, Default)]
pub(super) struct Manager {
    listens: Option<(UnixDatagram, SocketAddr)>,
    /// Without a sign of life for so long it starts us anew.
    patience: Option<Duration>,
}

impl Manager {
    /// As the process was told by its environment.
    pub(super) fn of_environment() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        Self::at(&name, sd_notify::watchdog_enabled()).unwrap_or_else(|error| {
            tracing::warn!(socket = %name.display(), %error, "the service manager cannot be told anything");
            Self::default()
        })
    }

    /// Listening at a path, or at an abstract name that begins with `@`.
    fn at(name: &OsStr, patience: Option<Duration>) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        // `sd_notify::notify` waits for as long as the manager takes nothing, and everything here would wait with it.
        socket.set_nonblocking(true)?;
        let listens = Some((socket, address));
        Ok(Self { listens, patience })
    }

    /// Serving has begun, or the files have been looked at.
    pub(super) async fn ready(&self) {
        self.tell(&[NotifyState::Ready]).await;
    }

    /// The files are about to be looked at, because somebody asked for it.
    pub(super) async fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]).await,
            Err(error) => tracing::warn!(%error, "the service manager is not told of a reload"),
        }
    }

    /// The end has begun.
    pub(super) async fn stopping(&self) {
        self.tell(&[NotifyState::Stopping]).await;
    }

    /// Says how things are whenever that is something else, and that they go on, for ever.
    pub(super) async fn keep_told(self: Arc<Self>, sources: Sources) {
        if self.listens.is_none() {
            return;
        }
        let mut look = time::interval(
            self.patience
                .map(|most| LOOK.min(most / 3))
                .filter(|often| !often.is_zero())
                .unwrap_or(LOOK),
        );
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = Told::default();
        loop {
            look.tick().await;
            let turns = sources.state.turns.load(Ordering::Relaxed);
            let line = overview::first_line(&sources);
            self.tell(&told.news(turns, &line)).await;
        }
    }

    /// Sends it in one datagram. What the manager does not take within a second is logged and lost.
    async fn tell(&self, news: &[NotifyState<'_>]) {
        let Some((socket, address)) = &self.listens else {
            return;
        };
        if news.is_empty() {
            return;
        }
        let lines: Vec<String> = news.iter().map(ToString::to_string).collect();
        let text = lines.join("\n");
        for _ in 0..ATTEMPTS {
            match socket.send_to_addr(text.as_bytes(), address) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => time::sleep(PAUSE).await,
                Err(error) => {
                    tracing::warn!(%error, text, "the service manager was not told");
                    return;
                }
                Ok(_) => return,
            }
        }
        tracing::warn!(text, "the service manager takes nothing");
    }
}

/// What the manager was told last.
#[derive(Debug, Default)]
struct Told {
    /// Turns of the writer by then.
    turns: u64,
    line: String,
}

impl Told {
    /// What is to be said now.
    fn news<'l>(&mut self, turns: u64, line: &'l str) -> Vec<NotifyState<'l>> {
        let mut news = Vec::new();
        // The writer turns ten times a second. While it hangs nothing changes any more, however well calls are answered. A
        // manager that keeps no watch passes this over.
        if turns != self.turns {
            self.turns = turns;
            news.push(NotifyState::Watchdog);
        }
        if line != self.line {
            line.clone_into(&mut self.line);
            news.push(NotifyState::Status(line));
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(at: &UnixDatagram) -> String {
        let mut room = [0; 4096];
        let length = at.recv(&mut room).unwrap();
        String::from_utf8(room[..length].to_vec()).unwrap()
    }

    #[tokio::test]
    async fn words_are_those_of_the_manager_at_a_path_and_at_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let abstract_name = format!("tradewind-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        for (listener, name) in [
            (UnixDatagram::bind(&path).unwrap(), path.into_os_string()),
            (
                UnixDatagram::bind_addr(&address).unwrap(),
                format!("@{abstract_name}").into(),
            ),
        ] {
            let manager = Manager::at(&name, None).unwrap();
            manager.ready().await;
            assert_eq!(heard(&listener), "READY=1");
            manager.reloading().await;
            let said = heard(&listener);
            let time = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            assert!(time.parse::<u64>().unwrap() > 0, "{said}");
            manager.stopping().await;
            assert_eq!(heard(&listener), "STOPPING=1");
        }
    }

    #[test]
    fn a_writer_that_hangs_gives_no_sign_of_life() {
        let mut told = Told::default();
        let mut said = |turns, line| {
            let news = told.news(turns, line);
            news.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(said(3, "Serving."), ["WATCHDOG=1", "STATUS=Serving."]);
        assert_eq!(said(13, "Serving."), ["WATCHDOG=1"]);
        for _ in 0..9 {
            assert_eq!(said(13, "Serving."), [""; 0]);
        }
        assert_eq!(said(13, "Refusing."), ["STATUS=Refusing."]);
        assert_eq!(said(14, "Refusing."), ["WATCHDOG=1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_manager_that_takes_nothing_or_is_gone_holds_nothing_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        let manager = Manager::at(path.as_os_str(), None).unwrap();
        // Far more than wait in a socket that nobody reads.
        for _ in 0..600 {
            manager.ready().await;
        }
        drop(listener);
        manager.ready().await;
        Manager::default().ready().await;
    }
}
