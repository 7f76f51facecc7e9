//! The demo's fleet: its two documents, and the directory in which a sidecar reads them.

use std::fs::DirBuilder;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::nodes::{NodePlan, Nodes};
use super::ways::Ways;
use tradewind_engine::topology;

/// The demo's topology; each node stands on a line of its own.
pub const TOPOLOGY: &str = include_str!("../../../testdata/demo/topology.yaml");

/// The demo's policy.
pub const POLICY: &str = include_str!("../../../testdata/demo/policy.yaml");

/// What comes before a node's name in the topology, and before its address.
const ID: &str = "- { id: ";
const ADDRESS: &str = "address: \"";

/// The nodes that the topology names, each on any free port of 127.0.0.1.
pub fn plans() -> Vec<NodePlan> {
    let nodes = TOPOLOGY.lines().filter(|line| line.contains(ADDRESS));
    nodes
        .filter_map(|line| {
            let site = between(line, "site: ", ",")?;
            Some(NodePlan::on_any_port(between(line, ID, ",")?, site))
        })
        .collect()
}

/// How far the demo's clients are from its sites.
pub(super) fn ways() -> Ways {
    let compiled = topology::compile("topology.yaml", TOPOLOGY);
    let ways = compiled.topology.as_ref().map(Ways::to_sites_of);
    ways.unwrap_or_default()
}

/// The topology with the addresses that `nodes` listen on.
pub fn topology_of(nodes: &Nodes) -> String {
    let mut text = String::with_capacity(TOPOLOGY.len() + 64);
    for line in TOPOLOGY.lines() {
        let id = between(line, ID, ",").unwrap_or_default();
        match (nodes.address(id), between(line, ADDRESS, "\"")) {
            (Some(real), Some(nominal)) => text.push_str(&replaced(line, nominal, real)),
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

fn replaced(line: &str, nominal: &str, real: SocketAddr) -> String {
    line.replace(&format!("\"{nominal}\""), &format!("\"{real}\""))
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    text.split_once(before)?
        .1
        .split_once(after)
        .map(|(found, _)| found)
}

/// A directory for one run, only for us to read; it is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
}

impl Files {
    /// Writes both documents. `number` tells runs of one process apart.
    pub(super) fn write(topology: &str, number: u64) -> io::Result<Self> {
        let name = format!("tradewind-demo-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        // It must not be there yet: somebody else could have put it there.
        DirBuilder::new().mode(0o700).create(&directory)?;
        let files = Self { directory };
        std::fs::write(files.topology(), topology)?;
        std::fs::write(files.policy(), POLICY)?;
        Ok(files)
    }

    pub(super) fn topology(&self) -> PathBuf {
        self.directory.join("topology.yaml")
    }

    pub(super) fn policy(&self) -> PathBuf {
        self.directory.join("policy.yaml")
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // What cannot be removed stays for the system to clear away.
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::NodeOptions;
    use tradewind_engine::edition::{Edition, Known, Names, Texts};

    #[test]
    fn the_documents_are_good_and_take_the_real_addresses() {
        let plans = plans();
        assert_eq!(plans.len(), 9);
        let nodes = Nodes::start(&plans, NodeOptions::default()).unwrap();
        let texts = Texts {
            policy: POLICY.into(),
            topology: topology_of(&nodes).into(),
        };
        let names = Names::new("policy.yaml", "topology.yaml");
        let edition = Edition::compile(&texts, &names, Known::default()).unwrap();
        let warnings = [
            edition.ground().warnings().to_lines(),
            edition
                .policy_warnings("2026-11-27".parse().unwrap())
                .to_lines(),
        ];
        assert_eq!(warnings.concat(), Vec::<String>::new());
        let filled = NodePlan::of_topology(edition.topology()).unwrap();
        assert_eq!(filled.len(), 9);
        for plan in filled {
            assert_eq!(nodes.address(&plan.id), Some(plan.address));
        }
    }

    #[test]
    fn files_go_with_their_owner() {
        let files = Files::write("a", 77).unwrap();
        let path = files.topology();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a");
        assert!(Files::write("a", 77).is_err(), "it must not be there yet");
        drop(files);
        assert!(!path.exists());
    }
}
