//! What a sidecar costs that is away for a while: how soon each proxy asks it again, and how many requests wait for one that
//! hangs.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tradewind::sidecar::clock;

use crate::envoy::Envoy;
use crate::front::{Front, Kind};
use crate::http::Connection;
use crate::process::Process;
use crate::rig::{Asker, Rig, Setup};
use crate::tools::note;
use crate::visits::{HOST, client, get};
use crate::{haproxy, nginx};

/// Requests under way at once.
const AT_ONCE: usize = 16;

/// How long the sidecar is away.
const AWAY: Duration = Duration::from_secs(3);

/// How soon it must be used again, and what the test's own requests and a busy machine may add.
const BACK_WITHIN: Duration = Duration::from_millis(1_000 + 500);

/// A running proxy of any kind.
struct Stand<'s> {
    name: &'static str,
    rig: &'s mut Rig,
    process: &'s mut Process,
    address: SocketAddr,
    /// How long a request waits for a sidecar that hangs.
    patience: Duration,
    /// How many of them try a hung sidecar again each second.
    tries_a_second: usize,
    /// How often each of those on their way waits before it is left alone.
    rounds: usize,
    /// Where Envoy's own pages are: it counts those that waited.
    admin: Option<SocketAddr>,
}

/// What came of requests.
#[derive(Debug, Default, Clone, Copy)]
struct Load {
    requests: usize,
    /// Those that took as long as is waited for the sidecar.
    waited: usize,
    failed: usize,
}

/// Keeps connections busy for as long as `meanwhile` takes.
fn under_load(address: SocketAddr, patience: Duration, meanwhile: impl FnOnce()) -> Load {
    /// Ends the load also when `meanwhile` fails: its threads would go on for ever.
    struct Done<'d>(&'d AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let done = AtomicBool::new(false);
    let one = |first: usize| {
        let mut connection = Connection::tcp(address).unwrap();
        let mut load = Load::default();
        for number in first.. {
            if done.load(Ordering::Relaxed) {
                break;
            }
            let began = clock::now();
            let path = format!("/object/{}", number % 50);
            let answer = get(&mut connection, &path, &client(number));
            load.requests += 1;
            load.waited += usize::from(began.elapsed() >= patience);
            load.failed += usize::from(answer.status != 200);
            // A thousand a second in all: not the proxy is tested here.
            thread::sleep(Duration::from_millis(15));
        }
        load
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE)
            .map(|at| scope.spawn(move || one(at * 7)))
            .collect();
        let ends = Done(&done);
        meanwhile();
        drop(ends);
        let loads = threads.into_iter().map(|thread| thread.join().unwrap());
        loads.fold(Load::default(), |sum, load| Load {
            requests: sum.requests + load.requests,
            waited: sum.waited + load.waited,
            failed: sum.failed + load.failed,
        })
    })
}

impl Stand<'_> {
    /// Twelve objects, and the nodes that the sidecar names for them.
    fn named(&self) -> Vec<(String, String, String)> {
        let mut grpc = Asker::of(&self.rig.sidecar);
        let visits = (0..12).map(|number| (format!("/object/{number}"), client(number)));
        let named = visits.map(|(path, client)| {
            let mut decision = grpc.decide((HOST, &path), &client);
            (path, client, decision.candidates.remove(0).node)
        });
        named.collect()
    }

    /// How long until everything goes where the sidecar says.
    fn until_it_is_followed(&mut self, named: &[(String, String, String)]) -> Duration {
        let began = clock::now();
        let address = self.address;
        self.process.until("the proxy follows the sidecar", || {
            let mut proxy = Connection::tcp(address).unwrap();
            named.iter().all(|(path, client, node)| {
                get(&mut proxy, path, client).header("x-node") == Some(node)
            })
        });
        began.elapsed()
    }

    /// How many requests have waited in vain so far, by Envoy's own count; 0 of others.
    fn timeouts(&self) -> usize {
        let Some(admin) = self.admin else { return 0 };
        let path = "/stats?filter=cluster.tradewind.upstream_rq_timeout|ext_proc.message_timeouts";
        let page = Connection::tcp(admin).unwrap().get(path, &[]).unwrap();
        let counts = page.text();
        let counts = counts.lines().map(|line| line.rsplit(' ').next().unwrap());
        counts.map(|count| count.parse::<usize>().unwrap()).sum()
    }

    fn goes_and_comes_back(mut self) {
        let named = self.named();
        self.until_it_is_followed(&named);
        let (address, patience) = (self.address, self.patience);
        self.rig.sidecar.kill();
        let gone = under_load(address, patience, || thread::sleep(AWAY));
        self.rig.sidecar.restart();
        let back = self.until_it_is_followed(&named);
        self.rig.sidecar.freeze();
        let before = self.timeouts();
        let mut frozen = under_load(address, patience, || thread::sleep(AWAY));
        if self.admin.is_some() {
            // By the clock, what a busy machine makes slow counts too.
            frozen.waited = self.timeouts() - before;
        }
        self.rig.sidecar.thaw();
        let thawed = self.until_it_is_followed(&named);
        let name = self.name;
        note(&format!(
            "{name}: used again {back:.2?} after a restart and {thawed:.2?} after it hung; {} of {} requests waited {patience:?} for a hung sidecar, {AT_ONCE} at once",
            frozen.waited, frozen.requests
        ));
        assert_eq!((gone.failed, frozen.failed), (0, 0));
        assert!(
            back < BACK_WITHIN && thawed < BACK_WITHIN,
            "{back:?} {thawed:?}"
        );
        // What was on its way once, what is tried again, and what was slow for its own reasons.
        let seconds = usize::try_from(AWAY.as_secs()).unwrap();
        let most = AT_ONCE * self.rounds + self.tries_a_second * (seconds + 1) + gone.waited + 4;
        assert!(
            frozen.waited <= most,
            "{frozen:?}, at most {most}; {gone:?}"
        );
    }
}

fn of_front(kind: &Kind, name: &'static str, tries_a_second: usize) {
    let Some(mut front) = Front::start_with(kind, name, Setup::quick(), |_places, _folder| {})
    else {
        return;
    };
    let stand = Stand {
        name,
        rig: &mut front.rig,
        process: &mut front.process,
        address: front.address,
        patience: Duration::from_millis(90),
        tries_a_second,
        rounds: 1,
        admin: None,
    };
    stand.goes_and_comes_back();
}

#[test]
fn nginx_asks_a_sidecar_that_is_back() {
    of_front(&nginx::KIND, "nginx_asks_a_sidecar_that_is_back", 1);
}

#[test]
fn haproxy_asks_a_sidecar_that_is_back() {
    of_front(&haproxy::KIND, "haproxy_asks_a_sidecar_that_is_back", 0);
}

#[test]
fn envoy_asks_a_sidecar_that_is_back() {
    let name = "envoy_asks_a_sidecar_that_is_back";
    // By ext_proc a hung sidecar is left when it fails its check, in a fifth of a second: four times 50 ms for each on its way.
    for (config, rounds) in [("envoy.yaml", 1), ("ext_proc.yaml", 5)] {
        let Some(mut envoy) = Envoy::start_with(name, config, &[], Setup::quick()) else {
            return;
        };
        let stand = Stand {
            name: config,
            rig: &mut envoy.rig,
            process: &mut envoy.process,
            address: envoy.address,
            patience: Duration::from_millis(45),
            tries_a_second: 0,
            rounds,
            admin: Some(envoy.admin),
        };
        stand.goes_and_comes_back();
    }
}
