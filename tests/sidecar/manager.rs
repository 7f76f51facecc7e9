//! The service manager: told when the sidecar serves, reads its files again, ends, and that it is alive.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::time;

use crate::fleet;
use crate::server::{Files, PATIENCE, Setup};

/// Listens as systemd does.
struct Manager {
    folder: TempDir,
    socket: UnixDatagram,
    /// What came and was not asked for yet.
    heard: RefCell<Vec<String>>,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        Self {
            folder,
            socket,
            heard: RefCell::default(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("notify")
    }

    /// The next of what came that has a line which begins so.
    async fn hears(&self, start: &str) -> String {
        let is_it = |text: &String| text.lines().any(|line| line.starts_with(start));
        let mut room = [0; 4096];
        let heard = time::timeout(PATIENCE, async {
            loop {
                let known = self.heard.borrow().iter().position(is_it);
                if let Some(at) = known {
                    return self.heard.borrow_mut().remove(at);
                }
                let length = self.socket.recv(&mut room).await.unwrap();
                let text = String::from_utf8(room[..length].to_vec()).unwrap();
                self.heard.borrow_mut().push(text);
            }
        });
        heard.await.unwrap_or_else(|_| panic!("no {start}"))
    }
}

/// The clock that both go by, in microseconds.
fn monotonic_us() -> u64 {
    let up = fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = up.split(' ').next().unwrap().parse().unwrap();
    Duration::from_secs_f64(seconds)
        .as_micros()
        .try_into()
        .unwrap()
}

#[tokio::test]
async fn the_service_manager_is_told_from_the_start_to_the_end() {
    let (files, manager) = (Files::new(), Manager::new());
    let setup = files.setup().variable("NOTIFY_SOCKET", manager.path());
    let mut server = setup.variable("WATCHDOG_USEC", "600000").start().await;
    let status = manager.hears("STATUS=").await;
    assert!(status.contains("STATUS=Serving. "), "{status}");
    manager.hears("READY=1").await;
    for _ in 0..3 {
        manager.hears("WATCHDOG=1").await;
    }

    // Reloaded is when the files are in force, not when somebody was asked to look at them.
    let before = monotonic_us();
    let revision = server.revision();
    files.replace("policy.yaml", fleet::policy("another"));
    server.signal("HUP");
    let reloading = manager.hears("RELOADING=1").await;
    let at = reloading
        .lines()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    let at: u64 = at.unwrap().parse().unwrap();
    // Uptime has two digits.
    assert!(at + 20_000 >= before, "{at} and {before}");
    manager.hears("READY=1").await;
    assert_eq!(server.revision(), revision + 1);

    // A refused file does not keep it from being reloaded: the last good one serves on.
    files.replace("policy.yaml", "kind: Nonsense");
    server.signal("HUP");
    manager.hears("RELOADING=1").await;
    manager.hears("READY=1").await;

    server.signal("TERM");
    manager.hears("STOPPING=1").await;
    assert_eq!(server.ended().await.code(), Some(0));
}

/// A start that waited for a policy would be ended by the manager, and begun again for ever.
#[tokio::test]
async fn without_a_policy_the_manager_is_told_that_it_is_up_and_refuses() {
    let (files, manager) = (Files::empty(), Manager::new());
    let setup = files.setup().variable("NOTIFY_SOCKET", manager.path());
    let _server = setup.start_unready().await;
    let status = manager.hears("STATUS=").await;
    assert!(status.contains("Nothing is in force"), "{status}");
    manager.hears("READY=1").await;
}

#[tokio::test]
async fn without_a_manager_or_with_one_that_is_gone_it_serves_all_the_same() {
    let alone = Setup::example().start().await;
    assert!(!alone.log().contains("service manager"), "{}", alone.log());
    let gone = Manager::new().path();
    let server = Setup::example()
        .variable("NOTIFY_SOCKET", gone)
        .start()
        .await;
    server.until_said("the service manager was not told").await;
    server.signal("HUP");
    server.until_said("told to look at the files again").await;
    assert_eq!(server.get("/livez").status, 200);
}
