//! Everybody who takes part: nodes in this process; Envoy, Tradewind and the stub in their own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use tradewind::engine::topology;
use tradewind_demo::nodes::{NodeOptions, NodePlan, Nodes};

use crate::config::{self, Asked, CONTENDERS, Contender, Places};
use crate::http::Connection;
use tradewind::sidecar::clock::timer_now;

/// All of them; they end with this.
pub(crate) struct Parties {
    pub(crate) places: Places,
    pub(crate) envoy: Process,
    pub(crate) sidecar: Process,
    pub(crate) stub: Process,
    _nodes: Nodes,
    _files: TempDir,
}

/// A process that ends with its owner.
pub(crate) struct Process(Child);

impl Process {
    fn start(mut command: Command, address: SocketAddr) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = Self(child.spawn().unwrap());
        let began = timer_now();
        while TcpStream::connect(address).is_err() {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "nobody listens at {address}: {command:?}"
            );
            thread::sleep(Duration::from_millis(10));
        }
        process
    }

    /// Processor time of all its threads so far, in ns.
    pub(crate) fn cpu_ns(&self) -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
        let times = tasks.filter_map(|task| {
            // A thread may have ended since it was listed.
            let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        times.sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts a program on one core where there are two.
fn on_core(core: usize, program: &Path) -> Command {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    if cores < 2 {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.arg("-c").arg(core.to_string()).arg(program);
    command
}

fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

fn envoy_program(root: &Path) -> Option<PathBuf> {
    let prepared = Command::new(root.join("tests/proxies/prepare"))
        .arg("envoy")
        .output()
        .unwrap();
    if !prepared.status.success() {
        let said = String::from_utf8_lossy(&prepared.stderr);
        println!("skipped: {}", said.lines().last().unwrap_or_default());
        return None;
    }
    Some(PathBuf::from(
        String::from_utf8(prepared.stdout).unwrap().trim(),
    ))
}

impl Parties {
    /// Starts all; `None` where Envoy cannot be had.
    pub(crate) fn start() -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let program = envoy_program(root)?;
        let files = tempfile::tempdir().unwrap();
        let example =
            |name: &str| std::fs::read_to_string(root.join("examples/fleet").join(name)).unwrap();
        let mut fleet = example("topology.yaml");
        let named = topology::compile("topology.yaml", &fleet).topology.unwrap();
        let named = NodePlan::of_topology(&named).unwrap();
        let plans: Vec<NodePlan> = named
            .iter()
            .map(|plan| NodePlan::on_any_port(&plan.id, &plan.site))
            .collect();
        let options = NodeOptions {
            miss: Duration::ZERO,
            ..NodeOptions::default()
        };
        let nodes = Nodes::start(&plans, options).unwrap();
        let mut addresses = Vec::new();
        for plan in &named {
            let address = nodes.address(&plan.id).unwrap();
            // In quotes, so that a port that was put in is never taken for one to replace.
            fleet = fleet.replace(&format!("\"{}\"", plan.address), &format!("'{address}'"));
            addresses.push(address);
        }
        let config = files.path().join("envoy.yaml");
        std::fs::write(files.path().join("policy.yaml"), example("policy.yaml")).unwrap();
        std::fs::write(files.path().join("topology.yaml"), fleet).unwrap();
        let places = Places {
            listeners: CONTENDERS.iter().map(|_| free_port()).collect(),
            nodes: addresses,
            stub: free_port(),
            sidecar: free_port(),
        };
        std::fs::write(&config, config::envoy(&places)).unwrap();

        let sidecar = sidecar(&places, files.path());
        let stub = stub(&places);
        let mut envoy = on_core(0, &program);
        envoy.arg("-c").arg(&config);
        envoy.args(["--disable-hot-restart", "--concurrency", "1", "-l", "off"]);
        // Where cargo puts libraries that a bench stands on: beside this program.
        let own = std::env::current_exe().unwrap();
        envoy.env("ENVOY_DYNAMIC_MODULES_SEARCH_PATH", own.parent().unwrap());
        let envoy = Process::start(envoy, places.listeners[0]);
        Some(Self {
            places,
            envoy,
            sidecar,
            stub,
            _nodes: nodes,
            _files: files,
        })
    }
}

impl Parties {
    /// Waits until the module has its copy: until then Envoy takes the nodes in turn.
    pub(crate) fn until_the_module_decides(&self) {
        let is_module = |one: &Contender| one.asked == Asked::Module;
        let at = CONTENDERS.iter().position(is_module).unwrap();
        let mut connection = Connection::tcp(self.places.listeners[at]).unwrap();
        let began = timer_now();
        loop {
            let mut nodes: Vec<String> = (0..self.places.nodes.len())
                .map(|_| {
                    let headers = [
                        ("Host", "www.example.com"),
                        ("X-Forwarded-For", "192.0.2.1"),
                    ];
                    let answer = connection.get("/object/0", &headers).unwrap();
                    answer.header("x-node").unwrap().to_owned()
                })
                .collect();
            nodes.dedup();
            if nodes.len() == 1 {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{nodes:?}");
        }
    }
}

/// Tradewind with one worker, on the files of a folder.
fn sidecar(places: &Places, files: &Path) -> Process {
    let mut command = on_core(1, Path::new(env!("CARGO_BIN_EXE_tradewind")));
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command.arg("serve").args(["--workers", "1"]);
    for door in ["debug", "admin", "http"] {
        command.arg(format!("--{door}=127.0.0.1:0"));
    }
    command.arg(format!("--listen={}", places.sidecar));
    command.arg("--policy").arg(files.join("policy.yaml"));
    command.arg("--topology").arg(files.join("topology.yaml"));
    command.arg("--state-dir").arg(files.join("state"));
    Process::start(command, places.sidecar)
}

/// This program again, as the server that does not think.
fn stub(places: &Places) -> Process {
    let list: Vec<String> = places
        .nodes
        .iter()
        .take(3)
        .map(ToString::to_string)
        .collect();
    let mut command = on_core(1, &std::env::current_exe().unwrap());
    command.arg(format!("--stub={}/{}", places.stub, list.join(",")));
    Process::start(command, places.stub)
}
