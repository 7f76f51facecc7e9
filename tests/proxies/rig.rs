//! Everything around a proxy: nine cache nodes, and a sidecar that can be killed, frozen and started again.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tonic::transport::Endpoint;
use tradewind::engine::topology;
use tradewind::sidecar::wire::proto::decision_service_client::DecisionServiceClient;
use tradewind::sidecar::wire::proto::{Client, DecideRequest, DecideResponse};
use tradewind_demo::nodes::{Behaviour, NodeOptions, NodePlan, Nodes};

use crate::http::{Connection, Reply};
use crate::places::{Places, example};
use crate::process::{PATIENCE, Process};
use crate::stopped::until_stopped;

/// The ports that examples name for the sidecar's doors.
const GRPC: u16 = 7070;
const DEBUG: u16 = 7071;
const ADMIN: u16 = 7072;
const HTTP: u16 = 7073;

/// What a test wants otherwise than the examples have it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    /// Texts to replace in the policy; each must be there.
    pub(crate) policy: Vec<(&'static str, &'static str)>,
    /// Texts to replace in the topology; each must be there.
    pub(crate) topology: Vec<(&'static str, &'static str)>,
    /// Nodes that are not ours: ports of the examples, and the ports that stand for them. Ours run all the same, and get
    /// nothing.
    pub(crate) elsewhere: Vec<(u16, u16)>,
    /// How the nodes serve.
    pub(crate) nodes: NodeOptions,
    /// More arguments for the sidecar.
    pub(crate) args: Vec<String>,
}

impl Setup {
    /// Nodes that answer at once.
    pub(crate) fn quick() -> Self {
        Self {
            nodes: NodeOptions {
                miss: Duration::ZERO,
                ..NodeOptions::default()
            },
            ..Self::default()
        }
    }
}

/// Replaces texts in a file; each must be there.
#[track_caller]
pub(crate) fn edit(path: &Path, edits: &[(&str, &str)]) {
    let mut text = std::fs::read_to_string(path).unwrap();
    for (from, to) in edits {
        assert!(text.contains(from), "{} has no `{from}`", path.display());
        text = text.replace(from, to);
    }
    // As editors do it: whoever watches never sees half of it.
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, path).unwrap();
}

/// Nine nodes and a sidecar, with the files of `examples/fleet`. Everything ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Rig {
    /// Which port stands for which one of the examples; the nodes' and the sidecar's are known already.
    pub(crate) places: Places,
    pub(crate) nodes: Nodes,
    pub(crate) sidecar: Sidecar,
    root: TempDir,
}

impl Rig {
    /// Starts everything, with what a test wants otherwise, and waits until the sidecar is ready.
    pub(crate) fn start_with(setup: Setup) -> Self {
        let root = tempfile::tempdir().unwrap();
        let text = std::fs::read_to_string(example("fleet/topology.yaml")).unwrap();
        let topology = topology::compile("topology.yaml", &text).topology.unwrap();
        let named = NodePlan::of_topology(&topology).unwrap();
        let plans = named
            .iter()
            .map(|plan| NodePlan::on_any_port(&plan.id, &plan.site));
        let nodes = Nodes::start(&plans.collect::<Vec<_>>(), setup.nodes).unwrap();
        let mut places = Places::default();
        for plan in &named {
            places.put(plan.address.port(), nodes.address(&plan.id).unwrap().port());
        }
        for (named, port) in setup.elsewhere {
            places.put(named, port);
        }
        places.copy(&["fleet/policy.yaml", "fleet/topology.yaml"], root.path());
        edit(&root.path().join("policy.yaml"), &setup.policy);
        edit(&root.path().join("topology.yaml"), &setup.topology);
        let sidecar = Sidecar::start(root.path(), &mut places, setup.args);
        Self {
            places,
            nodes,
            sidecar,
            root,
        }
    }

    /// Copies files of an example into a new folder of this rig, every port in its place.
    pub(crate) fn copy(&mut self, names: &[&str], folder: &str) -> PathBuf {
        let folder = self.root.path().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        self.places.copy(names, &folder);
        folder
    }

    /// A file of this rig: the sidecar's own `policy.yaml` and `topology.yaml`, or another below its folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Makes the node at this address behave in some way.
    pub(crate) fn behave(&self, address: &str, behaviour: Behaviour) {
        self.nodes
            .behave(&self.node_at(address), behaviour)
            .unwrap();
    }

    /// The name of the node at this address.
    pub(crate) fn node_at(&self, address: &str) -> String {
        let counts = self.nodes.counts();
        let found = counts
            .iter()
            .find(|node| node.address.to_string() == address);
        found
            .unwrap_or_else(|| panic!("no node at {address}"))
            .id
            .clone()
    }
}

/// A sidecar process on ports that stay the same when it is started again.
#[derive(Debug)]
pub(crate) struct Sidecar {
    process: Process,
    folder: PathBuf,
    args: Vec<String>,
    pub(crate) grpc: SocketAddr,
    pub(crate) debug: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Sidecar {
    /// Starts one on `policy.yaml` and `topology.yaml` of a folder, and waits until it is ready.
    pub(crate) fn start(folder: &Path, places: &mut Places, args: Vec<String>) -> Self {
        let [grpc, debug, admin, http] =
            [GRPC, DEBUG, ADMIN, HTTP].map(|port| places.address(port));
        let process = serve(folder, [grpc, debug, admin, http], &args);
        let mut sidecar = Self {
            process,
            folder: folder.to_owned(),
            args,
            grpc,
            debug,
            admin,
            http,
        };
        sidecar.until_ready();
        sidecar
    }

    fn until_ready(&mut self) {
        let debug = self.debug;
        self.process.until("the sidecar is ready", || {
            let answer = Connection::tcp(debug).and_then(|mut page| page.get("/readyz", &[]));
            answer.is_ok_and(|reply| reply.status == 200)
        });
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Stops it in the middle of what it does (SIGSTOP): its ports still accept, nothing answers.
    pub(crate) fn freeze(&self) {
        assert!(self.process.signal("STOP"));
        until_stopped(self.process.id());
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        assert!(self.process.signal("CONT"));
    }

    /// Starts it again on the same ports, after [`Sidecar::kill`].
    pub(crate) fn restart(&mut self) {
        self.process.kill();
        self.start_again();
    }

    /// Ends it as an operator would (SIGTERM), waits until it has, and starts it again on the same ports.
    pub(crate) fn roll(&mut self) {
        assert!(self.process.signal("TERM"));
        let status = self.process.until_it_ends();
        assert!(status.success(), "{status}");
        self.start_again();
    }

    /// Has it read its files again (SIGHUP).
    pub(crate) fn reload(&self) {
        assert!(self.process.signal("HUP"));
    }

    fn start_again(&mut self) {
        let doors = [self.grpc, self.debug, self.admin, self.http];
        self.process = serve(&self.folder, doors, &self.args);
        self.until_ready();
    }

    /// `tradewind purge` with these arguments, as one types it; it has returned.
    pub(crate) fn purge(&self, args: &[&str]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tradewind"));
        command.env_clear().arg("purge").args(args);
        let server = self.admin.to_string();
        let ran = command.args(["--server", &server]).output().unwrap();
        let said = [ran.stdout, ran.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(ran.status.success(), "{args:?}: {said}");
    }

    /// Waits until something holds of it.
    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&Pages) -> bool) {
        let pages = Pages(self.debug);
        self.process.until(what, || holds(&pages));
    }

    /// A connection to the query door.
    pub(crate) fn query(&self) -> Connection {
        Connection::tcp(self.http).unwrap()
    }

    /// The value of a metric's sample, which is given as it is written; 0 while it is absent.
    pub(crate) fn metric(&self, sample: &str) -> f64 {
        Pages(self.debug).metric(sample)
    }

    /// A page of the debug door.
    pub(crate) fn page(&self, path: &str) -> Reply {
        Pages(self.debug).page(path)
    }
}

/// A sidecar's debug door.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pages(SocketAddr);

impl Pages {
    /// A page.
    pub(crate) fn page(self, path: &str) -> Reply {
        Connection::tcp(self.0).unwrap().get(path, &[]).unwrap()
    }

    /// The value of a metric's sample, which is given as it is written; 0 while it is absent.
    pub(crate) fn metric(self, sample: &str) -> f64 {
        let page = self.page("/metrics").text();
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }
}

/// A file that is named from outside in place of the one that was built for the tests: what figures are taken of is what is released.
pub(crate) fn given(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os(name)?;
    Some(std::fs::canonicalize(path).unwrap())
}

fn serve(folder: &Path, [grpc, debug, admin, http]: [SocketAddr; 4], args: &[String]) -> Process {
    let built = || PathBuf::from(env!("CARGO_BIN_EXE_tradewind"));
    let mut command = Command::new(given("TRADEWIND").unwrap_or_else(built));
    // Settings come from the environment too: a test has only those it gives.
    command.env_clear().arg("serve");
    for (name, door) in [
        ("listen", grpc),
        ("debug", debug),
        ("admin", admin),
        ("http", http),
    ] {
        command.arg(format!("--{name}")).arg(door.to_string());
    }
    for name in ["policy", "topology"] {
        command
            .arg(format!("--{name}"))
            .arg(folder.join(format!("{name}.yaml")));
    }
    command
        .arg("--state-dir")
        .arg(folder.join("state"))
        .args(["--workers", "2"])
        .args(args);
    Process::start(command, folder.join("sidecar.log"))
}

/// Asks a sidecar over gRPC.
#[derive(Debug)]
pub(crate) struct Asker {
    runtime: Runtime,
    client: DecisionServiceClient<tonic::transport::Channel>,
}

impl Asker {
    pub(crate) fn of(sidecar: &Sidecar) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let endpoint = Endpoint::from_shared(format!("http://{}", sidecar.grpc)).unwrap();
        // Whoever does not answer fails the test instead of holding it up for ever.
        let endpoint = endpoint.connect_timeout(PATIENCE).timeout(PATIENCE);
        let channel = runtime.block_on(endpoint.connect()).unwrap();
        let client = DecisionServiceClient::new(channel);
        Self { runtime, client }
    }

    /// The decision for a client that asks for an object of a host.
    pub(crate) fn decide(&mut self, (host, path): (&str, &str), client: &str) -> DecideResponse {
        let request = DecideRequest {
            host: host.to_owned(),
            path: path.to_owned(),
            client: Some(Client {
                ip: client.to_owned(),
                ..Client::default()
            }),
            ..DecideRequest::default()
        };
        let decided = self.runtime.block_on(self.client.decide(request));
        decided.unwrap().into_inner()
    }
}

/// The addresses that a decision names, in order.
pub(crate) fn addresses(decision: &DecideResponse) -> Vec<String> {
    let candidates = decision.candidates.iter();
    candidates
        .map(|candidate| candidate.address.clone())
        .collect()
}

/// Whether somebody listens there.
pub(crate) fn is_open(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}
