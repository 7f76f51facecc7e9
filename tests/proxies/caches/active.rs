//! Caches whose keys have no version: they are told to drop what was purged, the parent first.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use tradewind::sidecar::clock;

use super::origin::Origin;
use super::programs::{Cache, RECLAIM};
use super::rig::{Got, ORIGIN, copy, get};
use crate::http::Connection;
use crate::places::{Places, example};
use crate::process::{PATIENCE, Process};
use crate::rig::{Sidecar, edit, is_open};
use crate::stopped::until_stopped;

/// A parent, two edges and a sidecar, without anybody in front of them.
struct Rig {
    sidecar: Sidecar,
    parent: Process,
    edges: Vec<Cache>,
    _processes: Vec<Process>,
    origin: Origin,
    places: Places,
    _root: TempDir,
}

impl Rig {
    /// `None` where no parent or no edge can be had.
    fn start(test: &str) -> Option<Self> {
        let parent = Cache::Regional.tool().path(test)?;
        let edges = [Cache::Varnish, Cache::TrafficServer].into_iter();
        let edges = edges.filter_map(|edge| Some((edge, edge.tool().path(test)?)));
        let edges: Vec<_> = edges.collect();
        let root = tempfile::tempdir().unwrap();
        // Programs that are started by root do their work as somebody else.
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let origin = Origin::start();
        let mut places = Places::default();
        places.put(ORIGIN, origin.door().port());
        copy(&example("caches"), root.path(), &mut places);
        let [edge, regional] = RECLAIM.map(|named| places.address(named).port());
        let pools = format!(
            "    - {{ name: regional, select: {{ tier: regional }}, reclaim: {{ method: BAN, wide_method: BAN, port: {regional} }} }}
    - {{ name: varnish, select: {{ tier: edge, labels: {{ varnish: \"yes\" }} }}, reclaim: {{ method: BAN, wide_method: BAN, port: {edge} }} }}
    - {{ name: trafficserver, select: {{ tier: edge, labels: {{ trafficserver: \"yes\" }} }}, reclaim: {{ method: PURGE }} }}"
        );
        let known = "    - { name: regional, select: { tier: regional } }";
        edit(&root.path().join("policy.yaml"), &[(known, &pools)]);
        let allowed = root.path().join("trafficserver/ip_allow.yaml");
        edit(&allowed, &[("[GET, HEAD]", "[GET, HEAD, PURGE]")]);

        let start = |cache: Cache, program: &std::path::Path, places: &mut Places| {
            let command = cache.command(program, root.path(), |named| places.address(named).port());
            let log = root.path().join(format!("{}.log", cache.name()));
            let mut process = Process::start(command, log);
            let address = places.address(cache.port());
            process.until("it listens", || is_open(address));
            process
        };
        // The parent first: a child that does not find it takes it for dead.
        let parent = start(Cache::Regional, &parent, &mut places);
        let processes = edges.iter();
        let processes = processes.map(|(edge, program)| start(*edge, program, &mut places));
        let processes: Vec<Process> = processes.collect();
        let sidecar = Sidecar::start(root.path(), &mut places, Vec::new());
        Some(Self {
            sidecar,
            parent,
            edges: edges.into_iter().map(|(edge, _program)| edge).collect(),
            _processes: processes,
            origin,
            places,
            _root: root,
        })
    }

    /// Asks a cache straight, where no version is said, until it has the object.
    fn until_hit(&self, cache: Cache, path: &str) -> Got {
        let address = self.places.clone().address(cache.port());
        let mut straight = Connection::tcp(address).unwrap();
        let give_up = clock::now() + PATIENCE;
        loop {
            let got = get(&mut straight, (&cache.host(), path), &[]);
            if got.is_hit {
                return got;
            }
            assert!(clock::now() < give_up, "{cache:?} never has {path}");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The process that answers for Varnish: its first is only there to start it anew.
fn worker_of(process: &Process) -> u32 {
    let id = process.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    children.split_whitespace().next().unwrap().parse().unwrap()
}

fn signal(id: u32, name: &str) {
    let mut sent = Command::new("sh");
    let sent = sent.args(["-c", "kill -s \"$0\" \"$1\"", name, &id.to_string()]);
    assert!(sent.status().unwrap().success());
}

#[test]
fn a_child_does_not_drop_anything_before_its_frozen_parent_which_is_named() {
    let test = "a_child_does_not_drop_anything_before_its_frozen_parent_which_is_named";
    let Some(mut rig) = Rig::start(test) else {
        return;
    };
    rig.sidecar.until("its nodes are known", |pages| {
        pages.page("/debug/purges").json()["tiers"][1]["nodes"] == 2
    });
    let worker = worker_of(&rig.parent);
    for cache in rig.edges.clone() {
        let path = format!("/{}/active", cache.name());
        let url = format!("https://{}{path}", cache.host());
        assert_eq!(rig.until_hit(cache, &path).revision, 0);
        let revision = rig.origin.change(&path);

        signal(worker, "STOP");
        until_stopped(worker);
        rig.sidecar.purge(&[&url]);
        rig.sidecar.until("the parent is named", |pages| {
            let page = pages.page("/debug/purges").json();
            let behind = page["behind"].as_array().unwrap();
            let edges = behind.iter().skip(1);
            behind[0]["node"] == "regional-1"
                && behind[0]["failure"] != ""
                && edges.clone().count() == 2
                && edges.clone().all(|it| it["waits_for"] == "regional-1")
        });
        // Its children have not acted: each has what it had.
        assert_eq!(rig.until_hit(cache, &path).revision, 0, "{cache:?}");

        signal(worker, "CONT");
        // The next waits for all before it.
        rig.sidecar.purge(&[&url, "--wait", "reclaimed"]);
        assert_eq!(rig.until_hit(cache, &path).revision, revision, "{cache:?}");
        // And what is wider, by which a path with a query goes too.
        let Cache::Varnish = cache else { continue };
        let query = format!("{path}?w=1");
        assert_eq!(rig.until_hit(cache, &path).revision, revision);
        rig.until_hit(cache, &query);
        let revision = rig.origin.change(&path);
        let prefix = format!("https://{}/{}/", cache.host(), cache.name());
        rig.sidecar
            .purge(&["--prefix", &prefix, "--wait", "reclaimed"]);
        assert_eq!(rig.until_hit(cache, &path).revision, revision, "{cache:?}");
    }
}
