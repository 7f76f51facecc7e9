//! What a request costs by each way, beside a proxy that asks nobody. Of what is released:
//!
//! ```sh
//! TRADEWIND=target/release/tradewind MODULE=target/module/libtradewind_c.so \\
//!     cargo test --test proxies what_a_decision_costs -- --ignored --nocapture
//! ```

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use tradewind::sidecar::clock;

use super::{children, haproxy, nginx};
use crate::front::{Front, Kind};
use crate::http::Connection;
use crate::rig::{Setup, edit};
use crate::tools::note;
use crate::visits::{client, follows, get};

/// Rounds in which each has its turn, and how long that is: nginx closes a connection after a thousand requests.
const ROUNDS: usize = 60;
const TURN: Duration = Duration::from_millis(100);

/// One way to have a request decided, and what was seen of it.
struct Way {
    name: &'static str,
    front: Front,
    times: Vec<Duration>,
    cpu_ns: u64,
}

impl Way {
    fn new(name: &'static str, kind: &Kind, edits: &[(&str, &str, &str)]) -> Option<Self> {
        let front = Front::start_with(kind, name, Setup::quick(), |_places, folder| {
            for (file, from, to) in edits {
                edit(&folder.join(file), &[(from, to)]);
            }
        })?;
        Some(Self {
            name,
            front,
            times: Vec::new(),
            cpu_ns: 0,
        })
    }

    /// The processor time of all that work for it, until now.
    fn cpu_ns(&self) -> u64 {
        let own = self.front.processes();
        let workers = own.iter().flat_map(|id| children(*id));
        let all = own.iter().map(u32::to_string).chain(workers);
        all.map(|id| threads_ns(&id)).sum()
    }

    fn turn(&mut self, connections: usize) {
        let before = self.cpu_ns();
        let address = self.front.address;
        let times = thread::scope(|scope| {
            let threads: Vec<_> = (0..connections)
                .map(|at| scope.spawn(move || ask_for_a_while(address, at)))
                .collect();
            let times = threads.into_iter().map(|thread| thread.join().unwrap());
            times.collect::<Vec<_>>().concat()
        });
        self.times.extend(times);
        // A worker that ends takes its time with it, and none does here.
        self.cpu_ns += self.cpu_ns() - before;
    }

    /// Median and processor time of a request, in us, and how many there were.
    fn seen(&mut self) -> (f64, f64, usize) {
        self.times.sort_unstable();
        let count = self.times.len();
        let median = self.times[count / 2].as_secs_f64() * 1e6;
        let each = f64::from(u32::try_from(count).unwrap());
        let cpu_us = Duration::from_nanos(self.cpu_ns).as_secs_f64() * 1e6 / each;
        self.times.clear();
        self.cpu_ns = 0;
        (median, cpu_us, count)
    }
}

/// The processor time of a process's threads.
fn threads_ns(id: &str) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).unwrap();
    let times = tasks.filter_map(|task| {
        // A thread may have ended meanwhile.
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    times.sum()
}

fn ask_for_a_while(address: SocketAddr, first: usize) -> Vec<Duration> {
    let mut proxy = Connection::tcp(address).unwrap();
    let (began, mut times) = (clock::now(), Vec::new());
    for number in first * 7.. {
        let asked = clock::now();
        let answer = get(
            &mut proxy,
            &format!("/object/{}", number % 200),
            &client(number),
        );
        assert_eq!(answer.status, 200, "{answer:?}");
        times.push(asked.elapsed());
        if began.elapsed() > TURN {
            break;
        }
    }
    times
}

fn compare(proxy: &str, ways: Option<[Way; 3]>) {
    let Some(mut ways) = ways else { return };
    for way in &mut ways[1..] {
        let address = way.front.address;
        let Front { rig, process, .. } = &mut way.front;
        follows(process, rig, address);
    }
    for connections in [1, 16] {
        for _ in 0..ROUNDS {
            for way in &mut ways {
                way.turn(connections);
            }
        }
        let mut bare = None;
        for way in &mut ways {
            let (median, cpu_us, count) = way.seen();
            let (bare_median, bare_cpu_us) = *bare.get_or_insert((median, cpu_us));
            note(&format!(
                "{proxy}, {connections} at once, {}: p50 {median:.0} us (+{:.1}), CPU {cpu_us:.1} us (+{:.1}), {count} requests",
                way.name,
                median - bare_median,
                cpu_us - bare_cpu_us
            ));
        }
    }
}

#[test]
#[ignore = "figures: docs/c-library.md"]
fn what_a_decision_costs_in_nginx() {
    let conf = "nginx.conf";
    let asking = |mut way: Way| {
        way.front.tell();
        way
    };
    let bare = [
        (
            conf,
            "set $tradewind_upstream tradewind",
            "set $tradewind_upstream anyone",
        ),
        (conf, "access_by_lua_block { tradewind.decide() }", ""),
        (conf, "log_by_lua_block { tradewind.told() }", ""),
    ];
    let ways = Way::new("nobody is asked", &nginx::KIND, &bare)
        .zip(Way::new("the sidecar is asked", &crate::nginx::KIND, &[]).map(asking))
        .zip(Way::new("decided inside", &nginx::KIND, &[]))
        .map(|((bare, asking), inside)| [bare, asking, inside]);
    compare("nginx", ways);
}

#[test]
#[ignore = "figures: docs/c-library.md"]
fn what_a_decision_costs_in_haproxy() {
    let conf = "haproxy.cfg";
    let asking = |mut way: Way| {
        way.front.tell();
        way
    };
    let bare = [
        (conf, "http-request lua.route", ""),
        (conf, "http-response lua.told", ""),
    ];
    let ways = Way::new("nobody is asked", &haproxy::KIND, &bare)
        .zip(Way::new("the sidecar is asked", &crate::haproxy::KIND, &[]).map(asking))
        .zip(Way::new("decided inside", &haproxy::KIND, &[]).map(asking))
        .map(|((bare, asking), inside)| [bare, asking, inside]);
    compare("haproxy", ways);
}
