//! What a decision adds to a request through a real Envoy: beside the same Envoy without one, and beside servers that
//! answer without thinking.
//!
//! `cargo bench --bench envoy` prints two tables, for one connection and for sixteen; `-- --test` runs everything once,
//! quickly. One Envoy with one worker has a listener for each contender; they are loaded in turn, round by round, so that
//! what else the machine does meets all alike. Envoy has a core of its own where there are two (`taskset`); nodes, client
//! and the servers asked share the other. Processor time is that of Envoy and of the server asked, by `schedstat`.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a bench may fail loudly; it reads the clock and prints a table of small numbers"
)]

#[path = "envoy/config.rs"]
mod config;
#[path = "../tests/support/http.rs"]
#[expect(dead_code, reason = "tests use the rest of it")]
mod http;
#[path = "envoy/load.rs"]
mod load;
#[path = "envoy/parties.rs"]
mod parties;
#[path = "envoy/stub.rs"]
mod stub;

use std::time::Duration;

use config::{Asked, CONTENDERS, Contender};
use load::Round;
use parties::Parties;

/// How much to run.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    length: Duration,
}

fn main() {
    let told = |argument: String| argument.strip_prefix("--stub=").map(str::to_owned);
    if let Some(stub) = std::env::args().find_map(told) {
        return stub::serve(&stub);
    }
    let quick = std::env::args().any(|argument| argument == "--test");
    let effort = if quick {
        Effort {
            rounds: 1,
            length: Duration::from_millis(50),
        }
    } else {
        Effort {
            // Short and many, so that what else the machine does meets neighbours alike.
            rounds: 100,
            length: Duration::from_millis(100),
        }
    };
    let Some(parties) = Parties::start() else {
        return;
    };
    parties.until_the_module_decides();
    for connections in [1, 16] {
        let seen = in_turns(&parties, connections, effort);
        report(connections, &seen);
    }
}

/// Loads each contender in turn, round by round.
fn in_turns(parties: &Parties, connections: usize, effort: Effort) -> Vec<Vec<Round>> {
    let mut seen = vec![Vec::new(); CONTENDERS.len()];
    for round in 0..=effort.rounds {
        for (contender, seen) in CONTENDERS.iter().zip(&mut seen) {
            let one = load::run(parties, contender, connections, effort.length);
            // The first round only warms up: connections, caches, the nodes' objects.
            if round > 0 {
                seen.push(one);
            }
        }
    }
    seen
}

/// Median, tenth and ninetieth percentile.
fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    [5, 1, 9].map(|tenths| values[(values.len() - 1) * tenths / 10])
}

/// A line for each contender; for those that ask, what they add to the Envoy that does not, and how that compares with
/// the server that does nothing.
fn report(connections: usize, seen: &[Vec<Round>]) {
    println!(
        "\n{connections} connections, medians of {} rounds (p10..p90)",
        seen[0].len()
    );
    println!(
        "{:34} {:>9} {:>9} {:>22} {:>22} {:>9}",
        "", "p50 us", "CPU us", "added p50, of nothing's", "added CPU, of nothing's", "req/s"
    );
    for (contender, rounds) in CONTENDERS.iter().zip(seen) {
        let of = |value: fn(&Round) -> f64| spread(rounds.iter().map(value))[0];
        let added = |value: fn(&Round) -> f64, base: Asked| {
            let nothing = &seen[position(base)];
            let plain = &seen[position(Asked::Nobody)];
            let pairs = rounds.iter().zip(nothing).zip(plain);
            let [mid, low, high] = spread(pairs.map(|((own, nothing), plain)| {
                (value(own) - value(plain)) / (value(nothing) - value(plain))
            }));
            format!("{mid:.2}x ({low:.2}..{high:.2})")
        };
        let columns = if contender.asked == Asked::Nobody {
            [String::new(), String::new()]
        } else {
            [
                added(|round| round.p50_us, Asked::AuthzNothing),
                added(|round| round.cpu_us, Asked::AuthzNothing),
            ]
        };
        println!(
            "{:34} {:9.0} {:9.1} {:>22} {:>22} {:9.0}",
            contender.name,
            of(|round| round.p50_us),
            of(|round| round.cpu_us),
            columns[0],
            columns[1],
            of(|round| round.requests_per_s),
        );
    }
    println!("CPU of the server asked alone, us a request:");
    for (contender, rounds) in CONTENDERS.iter().zip(seen) {
        if contender.asked != Asked::Nobody {
            let [mid, low, high] = spread(rounds.iter().map(|round| round.server_cpu_us));
            println!("  {:32} {mid:6.1} ({low:.1}..{high:.1})", contender.name);
        }
    }
}

fn position(asked: Asked) -> usize {
    let found = CONTENDERS
        .iter()
        .position(|one: &Contender| one.asked == asked);
    found.unwrap()
}
