//! Everything around a proxy: nine cache nodes, and a sidecar that can be killed, frozen and started again.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tonic::transport::Endpoint;
use tradewind::demo::nodes::{Behaviour, NodeOptions, NodePlan, Nodes};
use tradewind::engine::topology;
use tradewind::sidecar::wire::proto::decision_service_client::DecisionServiceClient;
use tradewind::sidecar::wire::proto::{Client, DecideRequest, DecideResponse};

use crate::http::{Connection, Reply};
use crate::places::{Places, example};
use crate::process::Process;

/// The ports that examples name for the sidecar's doors.
const GRPC: u16 = 7070;
const DEBUG: u16 = 7071;
const ADMIN: u16 = 7072;
const HTTP: u16 = 7073;

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
    /// Starts everything and waits until the sidecar is ready.
    pub(crate) fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        let text = std::fs::read_to_string(example("fleet/topology.yaml")).unwrap();
        let topology = topology::compile("topology.yaml", &text).topology.unwrap();
        let named = NodePlan::of_topology(&topology).unwrap();
        let plans = named
            .iter()
            .map(|plan| NodePlan::on_any_port(&plan.id, &plan.site));
        let nodes = Nodes::start(&plans.collect::<Vec<_>>(), NodeOptions::default()).unwrap();
        let mut places = Places::default();
        for plan in &named {
            places.put(plan.address.port(), nodes.address(&plan.id).unwrap().port());
        }
        places.copy(&["fleet/policy.yaml", "fleet/topology.yaml"], root.path());
        let sidecar = Sidecar::start(root.path(), &mut places);
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
    pub(crate) grpc: SocketAddr,
    pub(crate) debug: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Sidecar {
    /// Starts one on `policy.yaml` and `topology.yaml` of a folder, and waits until it is ready.
    pub(crate) fn start(folder: &Path, places: &mut Places) -> Self {
        let [grpc, debug, admin, http] =
            [GRPC, DEBUG, ADMIN, HTTP].map(|port| places.address(port));
        let process = serve(folder, [grpc, debug, admin, http]);
        let mut sidecar = Self {
            process,
            folder: folder.to_owned(),
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

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Stops it in the middle of what it does (SIGSTOP): its ports still accept, nothing answers.
    pub(crate) fn freeze(&self) {
        self.process.signal("STOP");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.process.signal("CONT");
    }

    /// Starts it again on the same ports, after [`Sidecar::kill`].
    pub(crate) fn restart(&mut self) {
        self.process.kill();
        let doors = [self.grpc, self.debug, self.admin, self.http];
        self.process = serve(&self.folder, doors);
        self.until_ready();
    }

    /// A connection to the query door.
    pub(crate) fn query(&self) -> Connection {
        Connection::tcp(self.http).unwrap()
    }

    /// A page of the debug door.
    pub(crate) fn page(&self, path: &str) -> Reply {
        Connection::tcp(self.debug).unwrap().get(path, &[]).unwrap()
    }

    /// The value of a metric's sample, which is given as it is written; 0 while it is absent.
    pub(crate) fn metric(&self, sample: &str) -> f64 {
        let page = self.page("/metrics").text();
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }
}

fn serve(folder: &Path, [grpc, debug, admin, http]: [SocketAddr; 4]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tradewind"));
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
        .args(["--workers", "2"]);
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
