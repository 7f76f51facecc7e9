//! A real server of NATS for these tests, started by them.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use tradewind::sidecar::clock::timer_now;

use crate::ports::free_port;
use crate::programs;
use crate::server::PATIENCE;

/// A bus: its files stay when it ends.
#[derive(Debug)]
pub(crate) struct Bus {
    program: PathBuf,
    files: TempDir,
    port: u16,
    /// What its file of settings says, if it has one.
    settings: Option<String>,
    speaks_tls: bool,
    child: Option<Child>,
}

impl Bus {
    /// Starts one; `None` after the line that says why the test called `test` is skipped.
    #[track_caller]
    pub(crate) fn start(test: &str) -> Option<Self> {
        Self::with_settings(test, None)
    }

    /// Starts one of a cluster, which these settings say.
    #[track_caller]
    pub(crate) fn of_cluster(test: &str, settings: String) -> Option<Self> {
        let mut bus = Self::with_settings(test, Some(settings))?;
        bus.speaks_tls = false;
        Some(bus)
    }

    /// Starts one with these settings, which are for a server that speaks TLS.
    #[track_caller]
    pub(crate) fn with_settings(test: &str, settings: Option<String>) -> Option<Self> {
        let program = programs::path("nats", test)?;
        let mut bus = Self {
            program,
            files: tempfile::tempdir().unwrap(),
            port: free_port(),
            speaks_tls: settings.is_some(),
            settings,
            child: None,
        };
        bus.begin();
        Some(bus)
    }

    pub(crate) fn url(&self) -> String {
        if self.speaks_tls {
            format!("tls://localhost:{}", self.port)
        } else {
            format!("nats://127.0.0.1:{}", self.port)
        }
    }

    /// Where it keeps what it has.
    fn store(&self) -> PathBuf {
        self.files.path().join("store")
    }

    /// Starts it where it was.
    pub(crate) fn begin(&mut self) {
        let log = fs::File::create(self.files.path().join("log")).unwrap();
        let file = self.files.path().join("settings");
        let mut command = Command::new(&self.program);
        if let Some(settings) = &self.settings {
            fs::write(&file, settings).unwrap();
            command.arg("-c").arg(file);
        }
        let child = command
            .args([
                "-a",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-js",
                "-sd",
            ])
            .arg(self.store())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let give_up = timer_now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let said = fs::read_to_string(self.files.path().join("log"));
            assert!(timer_now() < give_up, "the bus does not start: {said:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends it a signal, by its name without SIG.
    pub(crate) fn signal(&self, name: &str) {
        let child = self.child.as_ref().unwrap();
        let sent = Command::new("kill")
            .args(["-s", name, &child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// What it keeps, to be put back later.
    pub(crate) fn copy(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_all(&self.store(), &copy.path().join("store"));
        copy
    }

    /// Puts back what it kept at some time; `None` for nothing at all. It must have ended.
    pub(crate) fn put_back(&self, copy: Option<&TempDir>) {
        fs::remove_dir_all(self.store()).unwrap();
        if let Some(copy) = copy {
            copy_all(&copy.path().join("store"), &self.store());
        }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.kill();
    }
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
