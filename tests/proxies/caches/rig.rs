//! Everything of `examples/caches`: an origin, a parent, caches at the edge, a sidecar and Envoy.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use super::origin::Origin;
use super::programs::{Cache, RECLAIM};
use crate::envoy::{ADMIN, LISTENER, PATIENT, envoy};
use crate::http::{Connection, Reply};
use crate::places::{Places, example};
use crate::process::Process;
use crate::rig::{Sidecar, edit, is_open};
use crate::tools::Tool;

/// Where the example has its origin.
pub(super) const ORIGIN: u16 = 9_301;

/// All of it; everything ends when this is dropped.
pub(crate) struct Rig {
    _envoy: Process,
    envoy: SocketAddr,
    pub(crate) sidecar: Sidecar,
    /// Those that could be had.
    pub(crate) edges: Vec<Cache>,
    _processes: Vec<Process>,
    pub(crate) origin: Origin,
    places: Places,
    _root: TempDir,
}

impl Rig {
    /// Starts everything with these caches at the edge, less those that cannot be had; `None` where Envoy or the parent
    /// cannot.
    #[track_caller]
    pub(crate) fn start(test: &str, edges: &[Cache]) -> Option<Self> {
        let program = Tool::Envoy.path(test)?;
        let parent = Cache::Regional.tool().path(test)?;
        let edges = edges.iter().filter_map(|edge| {
            let test = format!("{test}, {}", edge.name());
            Some((*edge, edge.tool().path(&test)?))
        });
        let edges: Vec<_> = edges.collect();
        let root = tempfile::tempdir().unwrap();
        // Programs that are started by root do their work as somebody else.
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let origin = Origin::start();
        let mut places = Places::default();
        places.put(ORIGIN, origin.door().port());
        copy(&example("caches"), root.path(), &mut places);

        let start = |cache: Cache, program: &Path, places: &mut Places| {
            let command = cache.command(program, root.path(), |named| places.address(named).port());
            let log = root.path().join(format!("{}.log", cache.name()));
            let mut process = Process::start(command, log);
            if cache == Cache::Squid {
                // It takes some seconds, and has shared memory.
                process = process.that_ends_slowly();
            }
            (process, places.address(cache.port()))
        };
        let until_open = |(mut process, address): (Process, SocketAddr)| {
            process.until("it listens", || is_open(address));
            process
        };
        // The parent first: a child that does not find it takes it for dead.
        let parent = until_open(start(Cache::Regional, &parent, &mut places));
        let children: Vec<_> = edges
            .iter()
            .map(|(edge, program)| start(*edge, program, &mut places))
            .collect();
        let sidecar = Sidecar::start(root.path(), &mut places, Vec::new());
        let mut processes: Vec<Process> = children.into_iter().map(until_open).collect();
        processes.push(parent);

        let config = root.path().join("envoy.yaml");
        edit(&config, &[PATIENT]);
        let mut process = Process::start(envoy(&program, &config), root.path().join("envoy.log"));
        let [address, admin] = [LISTENER, ADMIN].map(|port| places.address(port));
        process.until("Envoy listens", || is_open(address) && is_open(admin));
        Some(Self {
            _envoy: process,
            envoy: address,
            sidecar,
            edges: edges.into_iter().map(|(edge, _program)| edge).collect(),
            _processes: processes,
            origin,
            places,
            _root: root,
        })
    }

    /// A connection to Envoy.
    pub(crate) fn connect(&self) -> Connection {
        Connection::tcp(self.envoy).unwrap()
    }

    /// The address that stands for one that the example names.
    pub(crate) fn address(&self, named: u16) -> SocketAddr {
        // It has been given out when the files were copied.
        self.places.clone().address(named)
    }
}

/// Copies the example with all its folders, every port in its place.
pub(super) fn copy(from: &Path, to: &Path, places: &mut Places) {
    let caches = Cache::EDGES.map(Cache::port);
    let others = [Cache::Regional.port(), ORIGIN, LISTENER, ADMIN, 7_070];
    let ports = [&caches[..], &RECLAIM, &others].concat();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&path, &target, places);
        } else {
            let text = fs::read_to_string(&path).unwrap();
            fs::write(target, places.rewrite_numbers(&text, &ports)).unwrap();
        }
    }
}

/// What came back for an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) revision: u64,
    /// Whether the cache at the edge had it and asked nobody.
    pub(crate) is_hit: bool,
}

/// Asks for an object of a host, with more headers of the client's own.
pub(crate) fn get(
    connection: &mut Connection,
    (host, path): (&str, &str),
    more: &[(&str, &str)],
) -> Got {
    let headers = [&[("Host", host)], more].concat();
    let reply = connection.get(path, &headers).unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    let said = reply.text();
    let revision = said
        .strip_prefix(path)
        .and_then(|it| it.trim().parse().ok());
    Got {
        revision: revision.unwrap_or_else(|| panic!("{path}: {reply:?}")),
        is_hit: is_hit(&reply),
    }
}

/// By the last word that caches say of it: parents say theirs before.
fn is_hit(reply: &Reply) -> bool {
    let said = reply.headers.iter().rfind(|(name, _)| name == "x-cache");
    let word = said.map(|(_, value)| value.to_ascii_lowercase());
    word.is_some_and(|word| {
        ["hit from ", "hit-fresh"]
            .iter()
            .any(|hit| word.starts_with(hit))
            || word == "hit"
    })
}
