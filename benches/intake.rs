//! What it costs a worker to hand something to the writer: nanoseconds a push, alone, while a writer drains every tick,
//! and with two workers on handovers side by side (goal: at most 20 ns, and no more when neighbours are busy).
//!
//! `cargo bench --bench intake` prints a table; with `-- --test` everything runs once, quickly. A figure is the median of
//! rounds of 60,000 pushes, which fit a handover.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    reason = "a benchmark reads the clock, prints a table, and has small numbers"
)]

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tradewind::engine::hash::KeyHash;
use tradewind::engine::model::{LaneIndex, NodeIndex, SiteIndex};
use tradewind::engine::policy::{Affinity, ClassNumber, Priority, SetNumber};
use tradewind::engine::signal::observation::{DecisionNumber, Dispatch, Named};
use tradewind::sidecar::intake::handover::{Dispatched, Handover, Intake};

/// Pushes in a round.
const PUSHES: u64 = 60_000;

fn main() {
    let quick = std::env::args().any(|argument| argument == "--test");
    let rounds = if quick { 2 } else { 300 };
    println!("{:<34}{:>10}", "dispatches", "ns a push");
    row("alone", rounds, |handovers| round(&handovers[0]));
    row("a writer drains every ms", rounds, |handovers| {
        beside(
            || drain(handovers, Duration::from_millis(1)),
            || round(&handovers[0]),
        )
    });
    row(
        "a worker is busy on the next handover",
        rounds,
        |handovers| beside(|| push(&handovers[1], 1_000), || round(&handovers[0])),
    );
    row("both", rounds, |handovers| {
        let neighbours = || {
            push(&handovers[1], 1_000);
            drain(handovers, Duration::ZERO);
        };
        beside(neighbours, || round(&handovers[0]))
    });
}

/// Prints the median of the rounds; handovers are empty and their memory in use before each.
fn row(name: &str, rounds: usize, measure: impl Fn(&[Arc<Handover>]) -> f64) {
    let intake = Intake::new(2);
    for _ in 0..2 {
        push(&intake.handovers()[0], PUSHES);
        drain(intake.handovers(), Duration::ZERO);
    }
    let mut figures: Vec<f64> = (0..rounds)
        .map(|_| {
            let ns = measure(intake.handovers());
            drain(intake.handovers(), Duration::ZERO);
            ns
        })
        .collect();
    figures.sort_by(f64::total_cmp);
    println!("{name:<34}{:>10.1}", figures[figures.len() / 2]);
    let dropped = intake.handovers()[0].dropped().dispatches;
    if dropped > 0 {
        let all = PUSHES * figures.len() as u64;
        println!("    {dropped} of {all} dropped");
    }
}

/// Nanoseconds a push, over a round.
fn round(handover: &Handover) -> f64 {
    let started = Instant::now();
    push(handover, PUSHES);
    started.elapsed().as_nanos() as f64 / PUSHES as f64
}

fn push(handover: &Handover, count: u64) {
    for number in 0..count {
        handover.dispatched(black_box(Dispatched {
            fleet: 1,
            dispatch: Dispatch {
                number: DecisionNumber(number),
                generation: 1,
                lane: LaneIndex::First,
                key: KeyHash(number),
                set: SetNumber(0),
                site: SiteIndex(1),
                node: NodeIndex(2),
                group: None,
                class: ClassNumber(0),
                priority: Priority::Normal,
                hot: false,
                named: Named::new([2, 3, 4].map(NodeIndex)),
                is_reusable: false,
                is_trial: false,
            },
            affinity: Affinity::Key,
        }));
    }
}

/// Empties all handovers once, as the writer does, after a pause.
fn drain(handovers: &[Arc<Handover>], pause: Duration) {
    thread_local! {
        static BUFFER: std::cell::RefCell<VecDeque<Dispatched>> = const { std::cell::RefCell::new(VecDeque::new()) };
    }
    thread::sleep(pause);
    BUFFER.with_borrow_mut(|buffer| {
        for handover in handovers {
            handover.drain_dispatches(buffer);
        }
    });
}

/// Measures while another thread does something again and again.
fn beside(other: impl Fn() + Send + Sync, measure: impl FnOnce() -> f64) -> f64 {
    let (started, done) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                other();
                started.store(true, Ordering::Relaxed);
            }
        });
        while !started.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        let ns = measure();
        done.store(true, Ordering::Relaxed);
        ns
    })
}
