//! Runs commands in this process, and a sidecar for them to ask.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use clap::Parser;
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tradewind::command::{self, Cli, Command, Context, Exit, log_filter};
use tradewind::sidecar::log_filter::{Switch, SwitchError};
use tradewind::sidecar::settings::{Args, Settings};
use tradewind::sidecar::{clock, serve};

/// What a command did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) exit: Exit,
    pub(crate) out: String,
    pub(crate) error: String,
    /// What it said beside its output.
    pub(crate) notes: String,
}

/// Whether something comes to hold within ten seconds, looked at forty times a second.
pub(crate) fn soon(mut holds: impl FnMut() -> bool) -> bool {
    (0..400).any(|_| {
        holds() || {
            std::thread::sleep(std::time::Duration::from_millis(25));
            false
        }
    })
}

/// Runs `tradewind` with these arguments on 2026-01-01, without colour.
pub(crate) fn tradewind(args: &[&str]) -> Ran {
    tradewind_in(args, false)
}

/// The same, with colour or without.
pub(crate) fn tradewind_in(args: &[&str], colour: bool) -> Ran {
    let context = Context {
        today: "2026-01-01".parse().unwrap(),
        now: clock::now,
        colour,
        progress: false,
        size: || None,
    };
    let cli = match Cli::try_parse_from(["tradewind"].iter().chain(args)) {
        Ok(cli) => cli,
        Err(error) => {
            return Ran {
                exit: Exit::Usage,
                out: String::new(),
                error: error.to_string(),
                notes: String::new(),
            };
        }
    };
    let Command::Tool(tool) = cli.command else {
        panic!("`serve` does not end by itself");
    };
    let mut out = Vec::new();
    let mut notes = Vec::new();
    let ran = command::run(&tool, &context, &mut out, &mut notes);
    let (exit, error) = match ran {
        Ok(exit) => (exit, String::new()),
        Err(error) => (error.exit(), error.render(colour)),
    };
    let [out, notes] = [out, notes].map(|text| String::from_utf8(text).unwrap());
    Ran {
        exit,
        out,
        error,
        notes,
    }
}

/// A good run's JSON.
pub(crate) fn json(args: &[&str]) -> serde_json::Value {
    let ran = tradewind(args);
    assert_eq!(ran.error, "", "{args:?}");
    serde_json::from_str(&ran.out).expect("the output is JSON")
}

/// A directory for files, gone at the end of the test.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Writes a file and gives back its path.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }
}

/// A path in `testdata/example`.
pub(crate) fn example(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("testdata/example").join(name);
    path.to_str().unwrap().to_owned()
}

/// A file of the shared data, when it is there; says so when it is not.
pub(crate) fn shared(test: &str, name: &str) -> Option<String> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data")).join(name);
    if path.exists() {
        return path.to_str().map(str::to_owned);
    }
    note(&format!("skipped: {test}: ../shared/data is not here"));
    None
}

/// Says something to whoever runs the tests.
#[expect(clippy::print_stdout, reason = "this is what cargo test shows")]
pub(crate) fn note(text: &str) {
    println!("{text}");
}

/// Takes filters as the program does and puts them nowhere: this process has one log for all its tests.
struct Reading;

impl Switch for Reading {
    fn check(&self, filter: &str) -> Result<(), SwitchError> {
        log_filter::read_to_put(filter).map(drop)
    }

    fn put(&self, filter: &str) -> Result<(), SwitchError> {
        self.check(filter)
    }
}

/// A sidecar with the embedded example (or what `args` say), until the end of the test.
pub(crate) struct Sidecar {
    pub(crate) server: String,
    /// Where its admin door is.
    pub(crate) admin: String,
    /// Where its debug door is.
    pub(crate) debug: String,
    /// Where it answers plain HTTP.
    pub(crate) http: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sidecar {
    pub(crate) fn start(args: Args) -> Self {
        let listen = if args.listen.is_empty() {
            vec!["127.0.0.1:0".to_owned()]
        } else {
            args.listen
        };
        let args = Args {
            listen,
            debug: args.debug.or_else(|| Some("127.0.0.1:0".parse().unwrap())),
            admin: Some("127.0.0.1:0".to_owned()),
            http: Some("127.0.0.1:0".to_owned()),
            workers: Some(1),
            ..args
        };
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let settings = Settings::new(args).unwrap();
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let announce = |running: &serve::Running| {
                let doors = [
                    &running.grpc[0],
                    &running.admin,
                    &running.debug,
                    &running.http,
                ];
                tell.send(doors.map(ToString::to_string)).unwrap();
            };
            let shutdown = async move { drop(stopped.await) };
            let log = Box::new(Reading);
            runtime
                .block_on(serve::serve(settings, log, announce, shutdown))
                .unwrap();
        });
        let [server, admin, debug, http] = told.recv().unwrap();
        Self {
            server,
            admin,
            debug,
            http,
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // Nobody to tell means that it has ended already; why, its thread says.
        let told = self.stop.take().is_some_and(|stop| stop.send(()).is_ok());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(
            std::thread::panicking() || (told && matches!(ended, Some(Ok(())))),
            "the sidecar ended before it was told to"
        );
    }
}
