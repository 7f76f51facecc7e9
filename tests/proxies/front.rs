//! A proxy in front of a rig.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::http::{Connection, Reply};
use crate::places::Places;
use crate::process::Process;
use crate::rig::{Rig, Setup, given, is_open};
use crate::tools::Tool;
use crate::visits::get;

/// Where examples send logs to.
pub(crate) const LOG: u16 = 7074;

/// How a proxy is started on its example.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) tool: Tool,
    /// Its files below `examples/`.
    pub(crate) files: &'static [&'static str],
    /// Where the example has it listen.
    pub(crate) port: u16,
    /// Its program on the files in a folder.
    pub(crate) command: fn(program: &Path, folder: &Path) -> Command,
}

/// A running one, and everything around it.
pub(crate) struct Front {
    pub(crate) rig: Rig,
    /// Whoever tells the sidecar what the proxy logs.
    teller: Option<Process>,
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Front {
    /// Starts everything; `None` where the program cannot be had.
    #[track_caller]
    pub(crate) fn start(kind: &Kind, test: &str) -> Option<Self> {
        Self::start_with(kind, test, Setup::default(), |_places, _folder| {})
    }

    /// The same, with what a test wants otherwise; `change` may edit the proxy's files in their folder.
    #[track_caller]
    pub(crate) fn start_with(
        kind: &Kind,
        test: &str,
        setup: Setup,
        change: impl FnOnce(&mut Places, &Path),
    ) -> Option<Self> {
        let program = kind.tool.path(test)?;
        let mut rig = Rig::start_with(setup);
        let folder = rig.copy(kind.files, "proxy");
        change(&mut rig.places, &folder);
        let command = (kind.command)(&program, &folder);
        let mut process = Process::start(command, folder.join("proxy.log"));
        let address = rig.places.address(kind.port);
        process.until("the proxy listens", || is_open(address));
        Some(Self {
            rig,
            teller: None,
            process,
            address,
        })
    }

    /// Who works for a request beside the nodes: the proxy, the sidecar, and whoever tells.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let tells = self.teller.iter().map(Process::id);
        [self.process.id(), self.rig.sidecar.id()]
            .into_iter()
            .chain(tells)
            .collect()
    }

    /// Has the sidecar told what the proxy logs, which by itself nobody reads.
    pub(crate) fn tell(&mut self) {
        let source = format!("syslog:{}", self.rig.places.address(LOG));
        let built = || PathBuf::from(env!("CARGO_BIN_EXE_tradewind"));
        let mut command = Command::new(given("TRADEWIND").unwrap_or_else(built));
        command.env_clear().args(["tell", &source, "--server"]);
        command.arg(self.rig.sidecar.grpc.to_string());
        let log = self.rig.file("tell.log");
        let mut teller = Process::start(command, log.clone());
        teller.until("it reads the log", || {
            std::fs::read_to_string(&log).is_ok_and(|said| said.starts_with("tells "))
        });
        self.teller = Some(teller);
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::tcp(self.address).unwrap()
    }

    /// One request for an object by a client, on a connection of its own.
    pub(crate) fn get(&self, path: &str, client: &str) -> Reply {
        get(&mut self.connect(), path, client)
    }
}
