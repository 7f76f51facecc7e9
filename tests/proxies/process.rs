//! A child process that ends with its owner, and what it says.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tradewind::sidecar::clock;

/// How long anything may take that is awaited; generous, because other work may keep the cores busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How long one may take to end when it is asked to.
const GRACE: Duration = Duration::from_millis(500);

/// A running process; killed when dropped, and what it said is shown if the test fails.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    grace: Duration,
}

impl Process {
    /// Starts `command`; what it says goes to the file `log`.
    pub(crate) fn start(mut command: Command, log: PathBuf) -> Self {
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self {
            child,
            log,
            grace: GRACE,
        }
    }

    /// The same, but it is let end by itself, however long that takes: otherwise it would leave something behind.
    pub(crate) fn that_ends_slowly(mut self) -> Self {
        self.grace = PATIENCE;
        self
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends a signal: TERM, STOP, CONT and so on; whether there was anybody to send it to.
    pub(crate) fn signal(&self, name: &str) -> bool {
        // The shell's own `kill`, because not every system has it as a program.
        let sent = Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", name])
            .arg(self.child.id().to_string())
            .stderr(Stdio::null())
            .status();
        sent.unwrap().success()
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Waits until it has ended by itself.
    pub(crate) fn until_it_ends(&mut self) -> ExitStatus {
        let mut ended = None;
        let child = &mut self.child;
        let has_ended = wait(
            || {
                ended = child.try_wait().unwrap();
                ended.is_some()
            },
            || {},
        );
        assert!(has_ended, "it does not end:\n{}", self.log());
        ended.unwrap()
    }

    /// Waits until a condition holds; fails at once if the process ends.
    pub(crate) fn until(&mut self, what: &str, holds: impl FnMut() -> bool) {
        let (log, child) = (&self.log, &mut self.child);
        let said = || fs::read_to_string(log).unwrap_or_default();
        let ended = || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("it ended with {status}:\n{}", said());
            }
        };
        assert!(
            wait(holds, ended),
            "waited in vain until {what}:\n{}",
            said()
        );
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // First by asking: a process that has children, as nginx has, would leave them behind.
        let is_running = |child: &mut Child| matches!(child.try_wait(), Ok(None));
        if is_running(&mut self.child) && self.signal("TERM") {
            let give_up = clock::now() + self.grace;
            while clock::now() < give_up && is_running(&mut self.child) {
                thread::sleep(Duration::from_millis(5));
            }
        }
        self.kill();
        if thread::panicking() {
            eprintln!("{}:\n{}", self.log.display(), self.log());
        }
    }
}

/// Waits until a condition holds; false when that takes too long.
fn wait(mut holds: impl FnMut() -> bool, mut each_time: impl FnMut()) -> bool {
    let give_up: Instant = clock::now() + PATIENCE;
    while !holds() {
        each_time();
        if clock::now() > give_up {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}
