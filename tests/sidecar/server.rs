//! The process under test, and the files it reads.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time;

use crate::fleet::{self, Fleet};
use tradewind::sidecar::clock::timer_now;

/// How long anything may take that is awaited; generous, because other work may keep the cores busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// How the binary is started: the one place that knows its command line.
fn command(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tradewind"));
    command.arg("serve").args(args);
    // Settings come from the environment too: a test has only those it gives.
    command.env_clear();
    command
}

/// A directory with a policy and a topology in `config/`, and room for the rest.
#[derive(Debug)]
pub(crate) struct Files {
    root: TempDir,
}

impl Files {
    /// The usual fleet and a policy whose only rule is called `all`.
    pub(crate) fn new() -> Self {
        let files = Self::empty();
        files.write("policy.yaml", fleet::policy("all"));
        files.write("topology.yaml", Fleet::usual().text());
        files
    }

    /// No files yet.
    pub(crate) fn empty() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("config")).unwrap();
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.root.path().join("config")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.config().join(name)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    /// Writes in place.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// Writes aside and renames, as editors and careful tools do.
    pub(crate) fn replace(&self, name: &str, content: impl AsRef<[u8]>) {
        let aside = self.path(&format!(".{name}.new"));
        fs::write(&aside, content).unwrap();
        fs::rename(aside, self.path(name)).unwrap();
    }

    /// A server of these files.
    pub(crate) fn setup(&self) -> Setup {
        Setup::example()
            .with("policy", self.path("policy.yaml"))
            .with("topology", self.path("topology.yaml"))
            .with("state-dir", self.state())
    }
}

/// The options of a process to start.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    options: Vec<(String, OsString)>,
    variables: Vec<(String, OsString)>,
}

impl Setup {
    /// The embedded example, on ports the system chooses. It polls so rarely that a change is seen only by its watch.
    pub(crate) fn example() -> Self {
        Self {
            options: Vec::new(),
            variables: Vec::new(),
        }
        .with("listen", "127.0.0.1:0")
        .with("debug", "127.0.0.1:0")
        .with("admin", "127.0.0.1:0")
        .with("http", "127.0.0.1:0")
        .with("workers", "2")
        .with("poll", "1h")
        .with("drain-deadline", "2s")
    }

    /// Sets an option, in place of an earlier value.
    pub(crate) fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.options.retain(|(known, _)| known != name);
        self.also(name, value)
    }

    /// Gives an option once more.
    pub(crate) fn also(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.options.push((name.to_owned(), value.into()));
        self
    }

    /// Sets a variable of its environment, which has no others.
    pub(crate) fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Sets an option that has no value.
    pub(crate) fn flag(self, name: &str) -> Self {
        self.with(name, "")
    }

    /// Starts and waits until it is ready.
    pub(crate) async fn start(self) -> Server {
        let server = self.start_unready().await;
        server
            .until("it is ready", || server.get("/readyz").status == 200)
            .await;
        server
    }

    /// Starts and waits until it is ready, which may take this long.
    pub(crate) async fn start_within(self, patience: Duration) -> Server {
        let server = self.start_patiently(patience).await;
        server
            .until("it is ready", || server.get("/readyz").status == 200)
            .await;
        server
    }

    /// Starts and waits until it is alive.
    pub(crate) async fn start_unready(self) -> Server {
        self.start_patiently(PATIENCE).await
    }

    /// Starts and waits until it is alive; it says where it serves within this time.
    async fn start_patiently(self, patience: Duration) -> Server {
        let tcp = |door: &str| {
            let options = self.options.iter().filter(|(name, _)| name == door);
            let tcp = options.filter(|(_, at)| !at.to_string_lossy().starts_with("unix:"));
            tcp.count()
        };
        let has_http = tcp("http") > 0;
        // The debug and the admin door beside them.
        let expected = tcp("listen") + usize::from(has_http) + 2;
        let Spawned {
            child,
            log,
            addresses,
            readers,
        } = self.spawn();
        let mut server = Server {
            child,
            readers,
            grpc: Vec::new(),
            debug: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
            http: None,
            log,
        };
        let mut told = Vec::new();
        while told.len() < expected {
            match addresses.recv_timeout(patience) {
                Ok(address) => told.push(address),
                Err(error) => panic!("no addresses, only {told:?}: {error}\n{}", server.log()),
            }
        }
        // The admin door comes last, the debug door before it, and before that the query door.
        server.admin = told.pop().unwrap();
        server.debug = told.pop().unwrap();
        server.http = if has_http { told.pop() } else { None };
        server.grpc = told;
        server
            .until("it is alive", || {
                let page = server.get("/livez");
                page.status == 200 || page.body.starts_with("this door speaks TLS")
            })
            .await;
        server
    }

    /// Starts a process that must refuse to serve: how it ended and what it said.
    pub(crate) fn refused(self) -> (ExitStatus, String) {
        let Spawned {
            mut child,
            log,
            addresses,
            readers: _,
        } = self.spawn();
        let give_up = timer_now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                // Both streams are read to their ends when the last sender is gone.
                while addresses.recv_timeout(PATIENCE).is_ok() {}
                let said = log.lock().unwrap().clone();
                return (status, said);
            }
            if timer_now() > give_up {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("it serves:\n{}", log.lock().unwrap());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn spawn(&self) -> Spawned {
        let mut args = Vec::new();
        for (name, value) in &self.options {
            args.push(OsString::from(format!("--{name}")));
            if !value.is_empty() {
                args.push(value.clone());
            }
        }
        if !self
            .options
            .iter()
            .any(|(name, _)| name == "policy" || name == "config")
        {
            args.push(OsString::from("--example"));
        }
        let variables = self.variables.iter().map(|(name, value)| (name, value));
        let mut child = command(args)
            .envs(variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (tell, addresses) = mpsc::channel();
        let readers = vec![
            keep_lines(child.stdout.take().unwrap(), &log, tell.clone(), true),
            keep_lines(child.stderr.take().unwrap(), &log, tell, false),
        ];
        Spawned {
            child,
            log,
            addresses,
            readers,
        }
    }
}

/// A process that was started and may not answer yet.
struct Spawned {
    child: Child,
    /// What it says.
    log: Arc<Mutex<String>>,
    /// The addresses it says it serves at.
    addresses: Receiver<SocketAddr>,
    /// They end when it has, and all it said was kept.
    readers: Vec<JoinHandle<()>>,
}

/// Keeps a stream's lines, and tells of the addresses in them if these are what is looked for.
fn keep_lines(
    stream: impl Read + Send + 'static,
    log: &Arc<Mutex<String>>,
    tell: Sender<SocketAddr>,
    has_addresses: bool,
) -> JoinHandle<()> {
    let log = Arc::clone(log);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let words = line.split(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
            let addresses = words.filter_map(|word| word.parse::<SocketAddr>().ok());
            // The console is at the debug door, whose own line comes behind it.
            let has_own = has_addresses && !line.starts_with("  console");
            for address in addresses.filter(|_| has_own) {
                // Whoever listened may have what it wants.
                let _gone: Result<(), _> = tell.send(address);
            }
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    })
}

/// A running process, killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    readers: Vec<JoinHandle<()>>,
    pub(crate) grpc: Vec<SocketAddr>,
    pub(crate) debug: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// `None` when it is at a Unix socket.
    pub(crate) http: Option<SocketAddr>,
    log: Arc<Mutex<String>>,
}

impl Server {
    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Sends a signal: TERM, HUP and so on.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        // The shell's own `kill`, because not every system has it as a program.
        let sent = Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", name])
            .arg(self.child.id().to_string())
            .status();
        assert!(sent.unwrap().success(), "SIG{name} was not sent");
    }

    /// Most memory it had and memory it has, in kB, where the system counts that.
    pub(crate) fn memory_kb(&self) -> Option<(u64, u64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix(" kB")?.parse().ok()
        };
        number("VmHWM:").zip(number("VmRSS:"))
    }

    /// Processor time of its first thread, and of all its threads, in ticks of the system.
    pub(crate) fn ticks(&self) -> (u64, u64) {
        let id = self.child.id();
        let ticks = |path: String| -> u64 {
            let stat = fs::read_to_string(path).unwrap();
            // Behind the name, which may have blanks: user time is the 12th word, system time the one after it.
            let words = stat.rsplit_once(") ").unwrap().1.split(' ').skip(11);
            words.take(2).map(|word| word.parse::<u64>().unwrap()).sum()
        };
        let first = ticks(format!("/proc/{id}/task/{id}/stat"));
        (first, ticks(format!("/proc/{id}/stat")))
    }

    /// How many times it has read from a file or socket, where the system counts that.
    pub(crate) fn reads(&self) -> Option<u64> {
        let counts = fs::read_to_string(format!("/proc/{}/io", self.child.id())).ok()?;
        let line = counts
            .lines()
            .find_map(|line| line.strip_prefix("syscr: "))?;
        line.parse().ok()
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end, and until all it said is in its log.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let give_up = timer_now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                for reader in self.readers.drain(..) {
                    reader.join().unwrap();
                }
                return status;
            }
            assert!(timer_now() < give_up, "it does not end:\n{}", self.log());
            time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until a condition holds.
    pub(crate) async fn until(&self, what: &str, holds: impl FnMut() -> bool) {
        self.until_within(PATIENCE, what, holds).await;
    }

    /// The same of what may take this long.
    pub(crate) async fn until_within(
        &self,
        patience: Duration,
        what: &str,
        mut holds: impl FnMut() -> bool,
    ) {
        let give_up = timer_now() + patience;
        while !holds() {
            assert!(
                timer_now() < give_up,
                "waited in vain until {what}:\n{}",
                self.log()
            );
            time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until it has said something: its words come by a pipe, a moment after what they are about.
    pub(crate) async fn until_said(&self, words: &str) {
        let what = format!("it says `{words}`");
        self.until(&what, || self.log().contains(words)).await;
    }

    /// The revision in force, by `/readyz`.
    pub(crate) fn revision(&self) -> u64 {
        self.get("/readyz").json()["revision"].as_u64().unwrap()
    }

    /// Waits until this revision is in force; a later one is a failure.
    pub(crate) async fn until_revision(&self, revision: u64) {
        let what = format!("revision {revision} is in force");
        self.until(&what, || {
            let now = self.revision();
            assert!(now <= revision, "revision {now} after {revision}");
            now == revision
        })
        .await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}
