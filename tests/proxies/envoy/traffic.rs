//! Requests through Envoy, and what became of each.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use flate2::read::GzDecoder;
use tradewind::sidecar::clock;
use tradewind_demo::nodes::Behaviour;

use super::Envoy;
use crate::http::{Connection, Reply};
use crate::visits::{HOST, client};

/// A request to make.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) client: String,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) visit: Visit,
    pub(crate) status: u16,
    /// The address of the node that answered; empty if none did.
    pub(crate) node: String,
    /// The nodes that Envoy was told to use; empty if it was told of none.
    pub(crate) listed: Vec<String>,
    pub(crate) attempts: usize,
    pub(crate) took: Duration,
}

/// A file of the shared data; `None`, after one line that says so, where there is none.
pub(crate) fn shared(test: &str, name: &str) -> Option<PathBuf> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data")).join(name);
    if path.exists() {
        return Some(path);
    }
    crate::tools::note(&format!(
        "skipped: {test} because ../shared/data is not here"
    ));
    None
}

/// The 10,000 requests of the real access log.
pub(crate) fn access_log(test: &str) -> Option<Vec<Visit>> {
    let file = std::fs::File::open(shared(test, "traces/apache_logs.gz")?).unwrap();
    let mut log = Vec::new();
    GzDecoder::new(file).read_to_end(&mut log).unwrap();
    let log = String::from_utf8_lossy(&log);
    let visits = log.lines().map(|line| {
        let mut words = line.split('"').nth(1).unwrap().split(' ');
        Visit {
            method: words.next().unwrap().to_owned(),
            target: words.next().unwrap().to_owned(),
            client: line.split(' ').next().unwrap().to_owned(),
        }
    });
    let visits: Vec<Visit> = visits.collect();
    assert_eq!(visits.len(), 10_000);
    Some(visits)
}

/// Requests from clients of three cities for a few hundred objects, when the real ones do not matter.
pub(crate) fn made_up(count: usize) -> Vec<Visit> {
    let visits = (0..count).map(|number| Visit {
        method: "GET".to_owned(),
        target: format!("/object/{}", number * 7 % 400),
        client: client(number),
    });
    visits.collect()
}

/// Makes one request.
pub(crate) fn visit(envoy: &Envoy, connection: &mut Connection, visit: &Visit) -> Seen {
    let began = clock::now();
    let reply = ask(connection, visit).unwrap_or_else(|error| panic!("{visit:?}: {error}"));
    let took = began.elapsed();
    let text = |name| {
        reply
            .header(name)
            .filter(|value| *value != "-")
            .unwrap_or_default()
    };
    let node = text("x-node");
    let address = envoy.rig.nodes.address(node);
    let listed = text("x-listed").split(',').filter(|one| !one.is_empty());
    Seen {
        visit: visit.clone(),
        status: reply.status,
        node: address
            .map(|address| address.to_string())
            .unwrap_or_default(),
        listed: listed.map(str::to_owned).collect(),
        attempts: text("x-attempts").parse().unwrap_or(0),
        took,
    }
}

fn ask(connection: &mut Connection, visit: &Visit) -> std::io::Result<Reply> {
    let headers = [("Host", HOST), ("X-Forwarded-For", &*visit.client)];
    connection.ask((&visit.method, &visit.target), &headers, b"")
}

/// Makes all these requests over `connections` connections at once; in no certain order.
pub(crate) fn all(envoy: &Envoy, visits: &[Visit], connections: usize) -> Vec<Seen> {
    let next = AtomicU64::new(0);
    let one = || {
        let mut connection = envoy.connect();
        let mut seen = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(wanted) = visits.get(usize::try_from(at).unwrap()) else {
                return seen;
            };
            seen.push(visit(envoy, &mut connection, wanted));
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..connections).map(|_| scope.spawn(one)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    })
}

/// Asks for one object again and again while the nodes of its list fail one by one: each time the next must answer, after as
/// many attempts as nodes fail. Gives the list; in the end all of it fails.
pub(crate) fn walk_the_list(envoy: &Envoy, wanted: &Visit, behaviour: Behaviour) -> Vec<String> {
    let mut proxy = envoy.connect();
    let order = visit(envoy, &mut proxy, wanted).listed;
    assert_eq!(order.len(), 3);
    for (failing, address) in order.iter().enumerate() {
        let seen = visit(envoy, &mut proxy, wanted);
        assert_eq!(
            (&seen.node, seen.attempts),
            (address, failing + 1),
            "{seen:?}"
        );
        envoy.rig.behave(address, behaviour);
    }
    order
}

/// What became of requests that went on while something else happened.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    /// Those that got no answer, or one of 500 and above.
    pub(crate) lost: u64,
    /// Those that were answered by the first node of a list.
    pub(crate) routed: u64,
}

/// How often a connection asks while something else happens: more would be the machine's measure, and take it from what happens.
const EACH: Duration = Duration::from_millis(4);

/// Asks over `connections` connections at a steady pace for as long as `meanwhile` takes.
pub(crate) fn under_load<T>(
    address: SocketAddr,
    connections: usize,
    meanwhile: impl FnOnce() -> T,
) -> (Load, T) {
    /// Ends the load also when `meanwhile` fails: its threads would go on for ever.
    struct Done<'d>(&'d AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let done = AtomicBool::new(false);
    let one = |number: usize| {
        let visits = made_up(4_000);
        let mut connection = Connection::tcp(address).unwrap();
        let mut load = Load::default();
        let mut due = clock::now();
        for wanted in visits.iter().cycle().skip(number * 1_000) {
            thread::sleep(due.saturating_duration_since(clock::now()));
            if done.load(Ordering::Relaxed) {
                break;
            }
            // Who was kept waiting does not make up for it: that would be a burst.
            due = clock::now() + EACH;
            load.requests += 1;
            if let Ok(reply) = ask(&mut connection, wanted) {
                let listed = reply.header("x-listed");
                load.lost += u64::from(reply.status >= 500);
                load.routed += u64::from(listed.is_some_and(|list| list.len() > 1));
                if reply.header("connection") == Some("close") {
                    // As it was told to, because who answered is being replaced.
                    connection = Connection::tcp(address).unwrap();
                }
            } else {
                load.lost += 1;
                connection = Connection::tcp(address).unwrap();
            }
        }
        load
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|number| scope.spawn(move || one(number)))
            .collect();
        let ends = Done(&done);
        let result = meanwhile();
        drop(ends);
        let mut sum = Load::default();
        for thread in threads {
            let load = thread.join().unwrap();
            sum.requests += load.requests;
            sum.lost += load.lost;
            sum.routed += load.routed;
        }
        (sum, result)
    })
}
