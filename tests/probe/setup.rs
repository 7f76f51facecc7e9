//! A fleet, its policy and its prober in this process, and what the prober tells.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time;
use tradewind::sidecar::clock::timer_now;
use tradewind::sidecar::probe::{ProbeFailure, Probed, Prober};
use tradewind::sidecar::settings::{Args, Settings};
use tradewind::sidecar::state::State;
use tradewind::sidecar::writer::Writer;

/// How long anything may take that is awaited; generous, because other work may keep the cores busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// A fleet, its policy, and the prober that follows them.
pub(crate) struct Setup {
    files: TempDir,
    state: Arc<State>,
    writer: Writer,
    pub(crate) prober: Prober,
    pub(crate) told: UnboundedReceiver<Probed>,
}

/// The nodes of a topology: id, address, state.
pub(crate) type Nodes<'a> = &'a [(&'a str, String, &'a str)];

pub(crate) fn ready(id: &str, address: SocketAddr) -> (&str, String, &'static str) {
    (id, address.to_string(), "ready")
}

impl Setup {
    /// Starts with this section `probe` and these nodes.
    pub(crate) fn new(probe: &str, nodes: Nodes<'_>) -> Self {
        let files = tempfile::tempdir().unwrap();
        let path = |name: &str| Some(files.path().join(name));
        let settings = Settings::new(Args {
            policy: path("policy.yaml"),
            topology: path("topology.yaml"),
            state_dir: path("state"),
            ..Args::default()
        });
        let state = Arc::<State>::default();
        let (writer, _mailbox) = Writer::new(&settings.unwrap(), Arc::clone(&state));
        let (tell, told) = mpsc::unbounded_channel();
        let prober = Prober::spawn(Arc::clone(&state), move |probed| drop(tell.send(probed)));
        let mut setup = Self {
            files,
            state,
            writer,
            prober: prober.unwrap(),
            told,
        };
        setup.publish("all", probe, nodes);
        setup
    }

    /// Publishes a policy whose only rule has this name, and a topology.
    pub(crate) fn publish(&mut self, rule: &str, probe: &str, nodes: Nodes<'_>) {
        let policy = format!(
            "apiVersion: tradewind/v1
kind: Policy
spec:
  addresses: {{allow: [127.0.0.0/8, localhost]}}
  probe: {{{probe}}}
  pools:
    - {{name: edge, select: {{tier: edge}}}}
  rules:
    - {{name: {rule}, owner: tests, rollback: none, pools: [edge]}}
"
        );
        let mut topology = String::from(
            "apiVersion: tradewind/v1
kind: Topology
spec:
  sites:
    - {id: fra, lat: 50.03, lon: 8.57, country: DE}
  nodes:
",
        );
        for (id, address, state) in nodes {
            writeln!(
                topology,
                "    - {{id: {id}, site: fra, address: \"{address}\", state: {state}}}"
            )
            .unwrap();
        }
        fs::write(self.files.path().join("policy.yaml"), policy).unwrap();
        fs::write(self.files.path().join("topology.yaml"), topology).unwrap();
        self.writer.load();
        let status = self.state.status.load();
        let faults = [&status.policy.faults, &status.topology.faults];
        assert!(faults.iter().all(|faults| faults.is_empty()), "{faults:?}");
    }

    /// The next that is told.
    pub(crate) async fn next(&mut self) -> Probed {
        let told = time::timeout(PATIENCE, self.told.recv()).await;
        told.unwrap().unwrap()
    }

    /// What is told of each node first, until there are so many.
    pub(crate) async fn first_of(&mut self, nodes: usize) -> BTreeMap<String, Probed> {
        let mut first = BTreeMap::new();
        while first.len() < nodes {
            let probed = self.next().await;
            assert_eq!(probed.healthy, probed.detail.is_none(), "{probed:?}");
            first.entry(probed.node.to_string()).or_insert(probed);
        }
        first
    }

    /// Takes what was told already.
    pub(crate) fn drain(&mut self) -> Vec<Probed> {
        std::iter::from_fn(|| self.told.try_recv().ok()).collect()
    }
}

/// Asserts what each node came to: `healthy`, or the failure's name.
pub(crate) fn assert_told(told: &BTreeMap<String, Probed>, expected: &[(&str, &str)]) {
    let seen: Vec<_> = told
        .iter()
        .map(|(id, probed)| {
            let detail = probed.detail.map_or("healthy", ProbeFailure::name);
            (id.as_str(), detail)
        })
        .collect();
    assert_eq!(seen, expected);
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up = timer_now() + PATIENCE;
    while !holds() {
        assert!(timer_now() < give_up, "waited in vain until {what}");
        time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
