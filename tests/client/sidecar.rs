//! A sidecar process that can be killed, frozen and started again on the same ports.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::sleep;
use tradewind::client::Client;
use tradewind::client::options::Options;
use tradewind::example;

use crate::ports::free_port;
use crate::stopped::until_stopped;
use tradewind::sidecar::clock::timer_now;

/// How long anything may take that is awaited; generous, because other work may keep the cores busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An address for a door.
pub(crate) fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

/// The example policy, every estimate and weight of which holds still when nothing is told.
pub(crate) fn policy() -> String {
    example::POLICY.replace("spec:\n", "spec:\n  slow_start_window: 0ms\n")
}

/// A running sidecar with the embedded fleet and geo file; killed when dropped.
#[derive(Debug)]
pub(crate) struct Sidecar {
    child: Child,
    files: TempDir,
    pub(crate) grpc: SocketAddr,
    pub(crate) admin: SocketAddr,
    debug: SocketAddr,
    http: SocketAddr,
}

impl Sidecar {
    /// Starts one and waits until it is ready.
    pub(crate) async fn start() -> Self {
        Self::start_with(&policy()).await
    }

    /// The same with no key carried by several nodes, however often it is asked for.
    pub(crate) async fn start_without_hot_keys() -> Self {
        let policy = ["edge", "regional"].iter().fold(policy(), |policy, tier| {
            let select = format!("      select: {{ tier: {tier} }}\n");
            policy.replace(
                &select,
                &format!("{select}      spread: {{ max_copies: 1 }}\n"),
            )
        });
        Self::start_with(&policy).await
    }

    pub(crate) async fn start_with(policy: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        fs::write(files.path().join("policy.yaml"), policy).unwrap();
        fs::write(files.path().join("topology.yaml"), example::TOPOLOGY).unwrap();
        fs::write(files.path().join("geo.mmdb"), example::GEO).unwrap();
        let [grpc, admin, debug, http] = [(); 4].map(|()| free_address());
        let child = spawn(&files, [grpc, admin, debug, http]);
        let sidecar = Self {
            child,
            files,
            grpc,
            admin,
            debug,
            http,
        };
        sidecar.until_ready().await;
        sidecar
    }

    /// Starts it again on the same ports, after [`Sidecar::kill`].
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.files, [self.grpc, self.admin, self.debug, self.http]);
        self.until_ready().await;
    }

    async fn until_ready(&self) {
        until("it is ready", async || {
            self.page("/readyz").starts_with("HTTP/1.1 200")
        })
        .await;
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Sends a signal: STOP, CONT and so on.
    pub(crate) fn signal(&self, name: &str) {
        // The shell's own `kill`, because not every system has it as a program.
        let sent = Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", name])
            .arg(self.child.id().to_string())
            .status();
        assert!(sent.unwrap().success(), "SIG{name} was not sent");
    }

    /// Stops it in the middle of what it does.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
        until_stopped(self.child.id());
    }

    /// One of its files, or a place for another beside them.
    pub(crate) fn file(&self, name: &str) -> std::path::PathBuf {
        self.files.path().join(name)
    }

    /// The policy it was started with.
    pub(crate) fn policy(&self) -> String {
        fs::read_to_string(self.files.path().join("policy.yaml")).unwrap()
    }

    /// Puts another text in the place of a file.
    pub(crate) fn replace(&self, name: &str, text: &str) {
        let aside = self.files.path().join("aside");
        fs::write(&aside, text).unwrap();
        fs::rename(aside, self.files.path().join(name)).unwrap();
    }

    /// A page of the debug door, with its head; empty while nobody answers.
    fn page(&self, path: &str) -> String {
        ask(self.debug, path, &[]).unwrap_or_default()
    }

    /// The body of a page of the debug door; empty while nobody answers.
    pub(crate) fn body(&self, path: &str) -> String {
        let page = self.page(path);
        let body = page.split_once("\r\n\r\n");
        body.map_or_else(String::new, |(_, body)| body.to_owned())
    }

    /// Where the debug door is.
    pub(crate) fn debug(&self) -> SocketAddr {
        self.debug
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the HTTP door answers, with its head.
    pub(crate) fn route(&self, headers: &[(&str, &str)]) -> String {
        ask(self.http, "/v1/route", headers).unwrap()
    }

    /// The value of a metric's sample, which is given as it is written; 0 while it is absent.
    pub(crate) fn metric(&self, sample: &str) -> u64 {
        let page = self.page("/metrics");
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }

    /// Its other way in: a socket in the file system.
    pub(crate) fn socket(&self) -> String {
        format!("unix:{}", self.files.path().join("grpc.sock").display())
    }

    /// A client of it, with a deadline that only a sidecar that is away misses.
    pub(crate) fn client(&self) -> Client {
        self.client_with(|_| ())
    }

    pub(crate) fn client_with(&self, change: impl FnOnce(&mut Options)) -> Client {
        let mut options = Options::at(self.grpc.to_string());
        options.deadline = Duration::from_secs(5);
        change(&mut options);
        Client::connect(options).unwrap()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let log = fs::read_to_string(self.files.path().join("log"));
            println!("{}", log.unwrap_or_default());
        }
    }
}

/// Asks one of the doors for a page, over a connection of its own.
fn ask(door: SocketAddr, path: &str, headers: &[(&str, &str)]) -> std::io::Result<String> {
    let mut door = TcpStream::connect(door)?;
    door.set_read_timeout(Some(PATIENCE))?;
    let lines = headers.iter();
    let headers = lines.fold(String::new(), |head, (name, value)| {
        head + name + ": " + value + "\r\n"
    });
    let head =
        format!("GET {path} HTTP/1.1\r\nhost: sidecar\r\nconnection: close\r\n{headers}\r\n");
    door.write_all(head.as_bytes())?;
    let mut page = String::new();
    door.read_to_string(&mut page)?;
    Ok(page)
}

fn spawn(files: &TempDir, [grpc, admin, debug, http]: [SocketAddr; 4]) -> Child {
    let path = |name: &str| files.path().join(name);
    let log = File::options().create(true).append(true).open(path("log"));
    let log = log.unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tradewind"));
    // Settings come from the environment too: a test has only those it gives.
    command.env_clear().args(["serve", "--workers", "2"]);
    for (door, address) in [
        ("--listen", grpc),
        ("--admin", admin),
        ("--debug", debug),
        ("--http", http),
    ] {
        command.arg(door).arg(address.to_string());
    }
    let mut socket = std::ffi::OsString::from("unix:");
    socket.push(path("grpc.sock"));
    command.arg("--listen").arg(socket);
    for (name, file) in [
        ("--policy", "policy.yaml"),
        ("--topology", "topology.yaml"),
        ("--geo", "geo.mmdb"),
        ("--state-dir", "state"),
    ] {
        command.arg(name).arg(path(file));
    }
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let give_up = timer_now() + PATIENCE;
    while !holds().await {
        assert!(timer_now() < give_up, "waited in vain until {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
