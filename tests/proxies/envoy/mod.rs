//! A stock Envoy with the configurations of `examples/envoy`.

pub(crate) mod caches;
mod calls;
mod endpoints;
mod failures;
mod fresh;
mod lasting;
mod log;
pub(crate) mod module;
mod order;
mod outages;
mod processor;
mod rollout;
mod short_lists;
mod stories;
mod strangers;
pub(crate) mod traffic;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::http::Connection;
use crate::places::example;
use crate::process::Process;
use crate::rig::{Rig, Setup, edit, is_open};
use crate::tools::Tool;

/// Where the examples' Envoy listens, and where its own admin pages are.
pub(crate) const LISTENER: u16 = 10_000;
pub(crate) const ADMIN: u16 = 9_901;

/// Has Envoy tell the client which nodes it was told to use, in order, and how many it tried.
const TELL_THE_LIST: (&str, &str) = (
    "              domains: [\"*\"]\n",
    "              domains: [\"*\"]
              response_headers_to_add:
              - header: { key: x-listed, value: \"%REQ(x-gateway-destination-endpoint)%\" }
              - header: { key: x-attempts, value: \"%UPSTREAM_REQUEST_ATTEMPT_COUNT%\" }\n",
);

/// Has Envoy wait for the sidecar longer than is good, where cores are shared with other tests and it is not about that.
pub(crate) const PATIENT: (&str, &str) = (
    "timeout: 0.05s\n                initial_metadata",
    "timeout: 2s\n                initial_metadata",
);

/// Keeps the sidecar from learning how attempts went: it takes no log of this name.
const TELL_NOTHING: (&str, &str) = ("log_name: attempts", "log_name: unheard");

/// Envoy in front of a rig.
pub(crate) struct Envoy {
    pub(crate) rig: Rig,
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// Envoy's program on a configuration. It is a child that must not outlive the thread that starts it: it would end.
pub(crate) fn envoy(program: &Path, config: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("--disable-hot-restart");
    with_arguments(&mut command, config);
    command
}

/// What every Envoy of ours is started with.
fn with_arguments(command: &mut Command, config: &Path) {
    command.arg("-c").arg(config);
    command.env("ENVOY_DYNAMIC_MODULES_SEARCH_PATH", module::folder());
    // Several at once on one machine, as tests are; one worker, so that its connections are few and known.
    command.args(["--concurrency", "1", "-l", "warning"]);
}

impl Envoy {
    /// Starts everything with the configuration of the example; `None` where Envoy cannot be had.
    #[track_caller]
    fn start(test: &str) -> Option<Self> {
        Self::start_with(test, "envoy.yaml", &[], Setup::default())
    }

    /// The same, with another configuration and what the test wants otherwise.
    #[track_caller]
    pub(crate) fn start_with(
        test: &str,
        config: &str,
        edits: &[(&str, &str)],
        setup: Setup,
    ) -> Option<Self> {
        let program = Tool::Envoy.path(test)?;
        let mut rig = Rig::start_with(setup);
        let folder = rig.copy(&[&format!("envoy/{config}")], "envoy");
        let config = folder.join(config);
        edit(&config, edits);
        Some(Self::start_before(&program, rig, &config))
    }

    /// Starts the program on a configuration in a rig, and waits until it listens.
    pub(crate) fn start_before(program: &Path, mut rig: Rig, config: &Path) -> Self {
        let [address, admin] = [LISTENER, ADMIN].map(|port| rig.places.address(port));
        let log = config.with_file_name("envoy.log");
        let mut process = Process::start(envoy(program, config), log);
        process.until("Envoy listens", || is_open(address) && is_open(admin));
        Self {
            rig,
            process,
            address,
            admin,
        }
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::tcp(self.address).unwrap()
    }

    /// A counter or gauge of Envoy's own; 0 while it is absent.
    fn stat(&self, name: &str) -> u64 {
        stat(self.admin, name)
    }
}

/// A counter or gauge of the Envoy whose own pages are there; 0 while it is absent.
fn stat(admin: SocketAddr, name: &str) -> u64 {
    let path = format!("/stats?filter={name}$");
    let page = Connection::tcp(admin).unwrap().get(&path, &[]).unwrap();
    let page = page.text();
    let value = page.lines().find_map(|line| {
        let (known, value) = line.split_once(": ")?;
        let is_it = known == name || known.strip_suffix(name)?.ends_with('.');
        is_it.then_some(value)
    });
    value.map_or(0, |value| value.parse().unwrap())
}

#[test]
fn envoy_takes_every_configuration() {
    let Some(program) = Tool::Envoy.path("envoy_takes_every_configuration") else {
        return;
    };
    let folders = ["envoy", "envoy-module"].into_iter();
    let configs = folders.flat_map(|folder| std::fs::read_dir(example(folder)).unwrap());
    let configs = configs.map(|entry| entry.unwrap().path());
    let mut tried = 0;
    for config in configs.filter(|path| path.extension().is_some_and(|end| end == "yaml")) {
        let ran = envoy(&program, &config)
            .args(["--mode", "validate"])
            .output();
        let ran = ran.unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        // A warning is a fault too: of a field that will go, or of one that is not what it seems.
        assert!(
            ran.status.success() && !said.contains("[warning]"),
            "{}: {said}",
            config.display()
        );
        tried += 1;
    }
    assert_eq!(tried, 4);
}
