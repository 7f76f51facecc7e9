//! The race of two tiers: an edge that is purged before its parent fetches the parent's old copy, and keeps it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tonic::transport::Channel;
use tradewind::sidecar::clock;
use tradewind::sidecar::wire::proto::purge_selector::Of;
use tradewind::sidecar::wire::proto::purge_service_client::PurgeServiceClient;
use tradewind::sidecar::wire::proto::{PurgeSelector, SubmitPurgeRequest};

use super::programs::{Cache, RECLAIM};
use super::rig::{Rig, get};
use crate::envoy::LISTENER;
use crate::http::Connection;
use crate::tools::note;

/// How caches come to know that an object has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By PURGE, to the edge and then to its parent, with nobody asking the sidecar: as without Tradewind.
    ActiveOnly,
    /// By its version; PURGE in the same order besides, for space.
    Versions,
}

/// Frees an object at a Varnish: the one without a version, which is the only one there is without Tradewind.
fn reclaim(address: SocketAddr, host: &str, path: &str) {
    let mut connection = Connection::tcp(address).unwrap();
    let freed = connection.ask(("PURGE", path), &[("Host", host)], b"");
    assert_eq!(freed.unwrap().status, 200);
}

#[test]
fn an_edge_that_is_purged_before_its_parent_is_stale_without_versions_and_new_with_them() {
    let test =
        "an_edge_that_is_purged_before_its_parent_is_stale_without_versions_and_new_with_them";
    let Some(rig) = Rig::start(test, &[Cache::Varnish]) else {
        return;
    };
    let host = Cache::Varnish.host();
    let [edge, parent] = RECLAIM.map(|port| rig.address(port));
    let path = "/race/one";
    // Straight to the edge, where no version is said.
    let mut straight = Connection::tcp(rig.address(Cache::Varnish.port())).unwrap();
    let mut ask = || get(&mut straight, (&host, path), &[]);
    assert_eq!(ask().revision, 0);
    rig.origin.change(path);
    reclaim(edge, &host, path);
    assert_eq!(ask().revision, 0, "the parent's old copy");
    reclaim(parent, &host, path);
    // Both have been purged, and will be asked for an hour.
    for _ in 0..3 {
        let got = ask();
        assert!(got.is_hit && got.revision == 0, "{got:?}");
    }
    // By its version the same object is new at once.
    rig.sidecar.purge(&[&format!("https://{host}{path}")]);
    assert_eq!(get(&mut rig.connect(), (&host, path), &[]).revision, 1);

    let raced = Race::of(&rig, Way::Versions).run(Until::Purges(300));
    note(&format!("{test}: {raced}"));
    assert_eq!(raced.stale, 0, "{raced}");
}

/// When a race is over.
#[derive(Debug, Clone, Copy)]
enum Until {
    Purges(u64),
    Requests(u64),
}

/// What a race came to.
#[derive(Debug)]
struct Outcome {
    purges: u64,
    requests: u64,
    /// Answers older than what had been purged when the request was sent.
    stale: u64,
    took: Duration,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            purges,
            requests,
            stale,
            took,
        } = self;
        let took = took.as_secs_f64();
        write!(
            f,
            "{requests} requests, {purges} purges, {stale} stale, {took:.1} s"
        )
    }
}

const OBJECTS: usize = 64;

/// Readers, of which each has a connection and asks without a pause.
const READERS: usize = 8;

/// After how many requests it is said how far a race has come.
const STRETCH: u64 = 50_000;

/// Objects of the edge's Varnish, readers who ask for them, and one who changes and purges them.
struct Race<'a> {
    rig: &'a Rig,
    way: Way,
    host: String,
    objects: Vec<Raced>,
    requests: AtomicU64,
    stale: AtomicU64,
    is_over: AtomicBool,
}

struct Raced {
    path: String,
    /// The revision that is in force: no request that is sent later may get less.
    in_force: AtomicU64,
}

impl<'a> Race<'a> {
    fn of(rig: &'a Rig, way: Way) -> Self {
        let objects = (0..OBJECTS).map(|number| Raced {
            path: format!("/race/{way:?}/{number}"),
            in_force: AtomicU64::new(0),
        });
        Self {
            rig,
            way,
            host: Cache::Varnish.host(),
            objects: objects.collect(),
            requests: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    /// Until it is over.
    fn run(self, until: Until) -> Outcome {
        let began = clock::now();
        let mut count = 0;
        thread::scope(|scope| {
            for reader in 0..READERS {
                let race = &self;
                scope.spawn(move || race.read(reader));
            }
            let _over = Over(&self.is_over);
            let mut door = Door::of(self.rig);
            let [edge, parent] = RECLAIM.map(|port| self.rig.address(port));
            for object in self.objects.iter().cycle() {
                self.purge(&mut door, object, [edge, parent]);
                count += 1;
                let requests = self.requests.load(Ordering::Relaxed);
                let is_done = match until {
                    Until::Purges(wanted) => count >= wanted,
                    Until::Requests(wanted) => requests >= wanted,
                };
                if is_done {
                    break;
                }
                // Readers fill the caches again before the next.
                thread::sleep(Duration::from_millis(2));
            }
        });
        Outcome {
            purges: count,
            requests: self.requests.into_inner(),
            stale: self.stale.into_inner(),
            took: began.elapsed(),
        }
    }

    /// Asks for one object after the other, and counts what is older than it may be.
    fn read(&self, reader: usize) {
        let front = match self.way {
            Way::ActiveOnly => self.rig.address(Cache::Varnish.port()),
            Way::Versions => self.rig.address(LISTENER),
        };
        let mut connection = Connection::tcp(front).unwrap();
        for object in self.objects.iter().cycle().skip(reader * 7) {
            if self.is_over.load(Ordering::Relaxed) {
                break;
            }
            let least = object.in_force.load(Ordering::SeqCst);
            let got = get(&mut connection, (&self.host, &object.path), &[]);
            if got.revision < least {
                self.stale.fetch_add(1, Ordering::Relaxed);
            }
            let count = 1 + self.requests.fetch_add(1, Ordering::Relaxed);
            if count.is_multiple_of(STRETCH) {
                let stale = self.stale.load(Ordering::Relaxed);
                note(&format!("{:?}: {count} requests, {stale} stale", self.way));
            }
        }
    }

    /// Changes an object, and has it purged.
    fn purge(&self, door: &mut Door, object: &Raced, caches: [SocketAddr; 2]) {
        let revision = self.rig.origin.change(&object.path);
        if self.way == Way::Versions {
            door.purge(&format!("https://{}{}", self.host, object.path));
            object.in_force.store(revision, Ordering::SeqCst);
        }
        for cache in caches {
            reclaim(cache, &self.host, &object.path);
        }
        object.in_force.store(revision, Ordering::SeqCst);
    }
}

/// Ends the readers when it is dropped, be it because a purge failed.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Purges over one connection, more often than a command can be started.
struct Door {
    runtime: tokio::runtime::Runtime,
    client: PurgeServiceClient<Channel>,
}

impl Door {
    fn of(rig: &Rig) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let endpoint = Channel::from_shared(format!("http://{}", rig.sidecar.admin)).unwrap();
        let channel = runtime.block_on(endpoint.connect()).unwrap();
        let client = PurgeServiceClient::new(channel);
        Self { runtime, client }
    }

    /// Purges an object; it is in force.
    fn purge(&mut self, url: &str) {
        let request = SubmitPurgeRequest {
            selectors: vec![PurgeSelector {
                of: Some(Of::Url(url.to_owned())),
                exact_query: false,
            }],
            ..SubmitPurgeRequest::default()
        };
        self.runtime.block_on(self.client.submit(request)).unwrap();
    }
}

#[test]
#[ignore = "takes minutes; docs/benchmarks.md, Freshness"]
fn a_million_requests_race_purges_through_two_tiers() {
    let test = "a_million_requests_race_purges_through_two_tiers";
    let Some(rig) = Rig::start(test, &[Cache::Varnish]) else {
        return;
    };
    for (way, requests) in [(Way::ActiveOnly, 20_000), (Way::Versions, 1_000_000)] {
        let raced = Race::of(&rig, way).run(Until::Requests(requests));
        note(&format!("{way:?}: {raced}"));
        assert_eq!(way == Way::Versions, raced.stale == 0, "{way:?}: {raced}");
    }
}
