//! Guards over a simulated fleet: what a bad policy does is seen and taken back, and too little says nothing.
//!
//! The policy in force sends everybody to the even nodes, the candidate to the odd ones, which are as good or worse.

use tradewind_engine::lifecycle::notice::RolloutFate;
use tradewind_engine::model::NodeIndex;
use tradewind_engine::rollout::{Phase, Verdict};
use tradewind_simulator::governed::{GUARDS_MS, Governed};
use tradewind_simulator::node::{Fault, NodeModel};
use tradewind_simulator::traffic::{Traffic, Zipf};

use super::{governed, policy, spread, start};
use crate::fleet::{Fleet, seconds};

/// When the rollout begins, in seconds.
const START: u64 = 20;

/// How far back the guards look, in seconds.
const WINDOW: u64 = 60;

/// How long each of the two stages lasts, in seconds.
const HOLD: u64 = 70;

/// Two stages, and the guards that are looked at here.
fn rollout((min_samples, points): (u32, f64), rest: &str) -> String {
    format!(
        "{{stages: [{{percent: 10, hold: {HOLD}s}}, {{percent: 50, hold: {HOLD}s}}], guards: [\
         {{metric: p99_ms, worse_by: 25, min_samples: {min_samples}, window: {WINDOW}s}}, \
         {{metric: error_percent, worse_by: {points}, min_samples: {min_samples}, window: {WINDOW}s}}]{rest}}}"
    )
}

/// What is tried.
#[derive(Debug, Clone, Copy)]
struct Trial {
    /// What is wrong with the even nodes, and with the odd ones.
    faults: [Fault; 2],
    /// How long a fetch takes, in microseconds.
    fetch_us: f64,
    /// Requests a second.
    rate: f64,
    /// Fewest samples that say anything.
    min_samples: u32,
    /// How many points more errors there may be.
    points: f64,
    seed: u64,
}

impl Default for Trial {
    fn default() -> Self {
        Self {
            faults: [Fault::None; 2],
            fetch_us: 40_000.0,
            rate: 700.0,
            min_samples: 2_000,
            points: 0.5,
            seed: 51,
        }
    }
}

impl Trial {
    /// A fleet that has just begun to roll the candidate out.
    fn start(self, rest: &str) -> Governed {
        let fleet = Fleet {
            nodes_per_site: 4,
            ..Fleet::default()
        };
        let node = NodeModel {
            fetch_us: self.fetch_us,
            ..NodeModel::default()
        };
        let traffic = Traffic {
            rate: self.rate,
            keys: Zipf::new(20_000, 0.8),
            clients: fleet.clients(),
            flash_share: 0.0,
        };
        let rollout = rollout((self.min_samples, self.points), rest);
        let [in_force, candidate] =
            ["even", "odd"].map(|pool| policy(&rollout, &format!("pools: [{pool}]")));
        let mut governed = governed(&fleet, &in_force, (node, traffic, self.seed));
        for at in 0..12_u32 {
            let fault = self.faults[usize::from(is_odd(at))];
            governed.simulation.set_fault(NodeIndex(at), fault);
        }
        governed.run_until(seconds(START));
        governed.simulation.take_report();
        start(&mut governed, &candidate, None);
        governed
    }

    /// How long the candidate was tried until it was taken back, in ms, and why; `None` if it was not while the guards could
    /// see it and two ticks more.
    fn until_taken_back(self) -> Option<(u64, String)> {
        let mut governed = self.start("");
        governed.run_until(seconds(START + WINDOW).plus(2 * GUARDS_MS));
        let (at, last) = governed.told.last()?;
        let is_back = last.fate == RolloutFate::RolledBack && governed.told.len() == 2;
        assert_ne!(governed.simulation.snapshot().has_candidate(), is_back);
        is_back.then(|| (at.0 - seconds(START).0, last.why.clone()))
    }

    /// What became of a candidate that may go all the way.
    fn fates(self) -> Vec<RolloutFate> {
        let mut governed = self.start("");
        governed.run_until(seconds(START + 2 * HOLD + 2));
        governed.told.iter().map(|(_, it)| it.fate).collect()
    }

    /// A candidate that slows answers by 30 %. Times are counted in steps, so where they fall matters: trials of
    /// successive numbers go through an octave.
    fn slow(seed: u64, place: i32) -> Self {
        Self {
            faults: [Fault::None, Fault::Slow(1.3)],
            fetch_us: 40_000.0 * (f64::from(place * 5 % 16) / 16.0).exp2(),
            seed,
            ..Self::default()
        }
    }

    /// One that fails where another answers: one request of a hundred more.
    fn erring(seed: u64) -> Self {
        Self {
            faults: [Fault::Erring(0.005), Fault::Erring(0.015)],
            seed,
            ..Self::default()
        }
    }

    /// One that is as good as the policy in force, which is not without errors.
    fn harmless(seed: u64) -> Self {
        Self {
            faults: [Fault::Erring(0.005); 2],
            seed,
            ..Self::default()
        }
    }
}

/// What is told of a candidate that passes both stages.
const PASSES: [RolloutFate; 3] = [
    RolloutFate::Started,
    RolloutFate::Changed,
    RolloutFate::Completed,
];

/// The fleet counts its nodes from one.
fn is_odd(node: u32) -> bool {
    node.is_multiple_of(2)
}

#[test]
fn a_policy_that_slows_answers_by_30_percent_is_taken_back_at_the_first_stage() {
    for (seed, place) in (51..53).zip(0..) {
        let (ms, why) = Trial::slow(seed, place)
            .until_taken_back()
            .expect("it is taken back");
        println!("seed {seed}: taken back after {ms} ms: {why}");
        assert!(why.starts_with("p99_ms is "), "{why}");
    }
}

#[test]
fn a_policy_that_raises_errors_by_a_point_is_taken_back_at_the_first_stage() {
    for seed in 61..63 {
        let (ms, why) = Trial::erring(seed)
            .until_taken_back()
            .expect("it is taken back");
        println!("seed {seed}: taken back after {ms} ms: {why}");
        assert!(why.starts_with("error_percent is "), "{why}");
    }
}

#[test]
fn a_policy_that_is_as_good_comes_into_force() {
    let seed = 71;
    let fates = Trial::harmless(seed).fates();
    println!("seed {seed}: {fates:?}");
    assert_eq!(fates, PASSES);
}

#[test]
fn too_little_traffic_is_inconclusive_and_no_pass() {
    // Bad or not: two requests a second at a tenth are twelve a minute.
    for (seed, fault) in [
        (81, Fault::None),
        (82, Fault::Slow(1.3)),
        (83, Fault::Erring(0.015)),
    ] {
        let trial = Trial {
            faults: [Fault::None, fault],
            rate: 2.0,
            seed,
            ..Trial::default()
        };
        let mut governed = trial.start(", max_hold: 5m");
        for second in 1..=369 {
            governed.run_until(seconds(START + second));
            let progress = &governed.steward.rollout().expect("it is tried").progress;
            assert_eq!((progress.stage(), progress.phase()), (0, &Phase::Running));
            let verdicts = progress.judgements().iter().map(|it| it.verdict);
            assert!(verdicts.into_iter().all(|it| it == Verdict::Inconclusive));
        }
        governed.run_until(seconds(START + 370));
        let progress = &governed.steward.rollout().expect("it is tried").progress;
        assert_eq!(progress.stage(), 0);
        let Phase::Paused { why } = progress.phase() else {
            panic!("{:?}", progress.phase());
        };
        println!("seed {seed}: pauses: {why}");
        assert!(why.starts_with("too little was seen to judge: "), "{why}");

        let mut governed = trial.start(", max_hold: 5m, when_inconclusive: roll_back");
        governed.run_until(seconds(START + 370));
        let (_, last) = governed.told.last().expect("it began");
        assert_eq!(
            (last.fate, governed.told.len()),
            (RolloutFate::RolledBack, 2)
        );
    }
}

/// The table in docs/benchmarks.md.
#[test]
#[ignore = "takes minutes"]
fn table_of_guards() {
    const SEEDS: std::ops::Range<u64> = 100..120;
    println!(
        "| candidate | fewest samples | errors may be more by | taken back | after s |\n|---|---|---|---|---|"
    );
    let guarded = |(min_samples, points), trial| Trial {
        min_samples,
        points,
        ..trial
    };
    let tell = |what, bounds: (u32, f64), trials: Vec<Trial>| {
        let back = trials.iter().filter_map(|trial| trial.until_taken_back());
        let back: Vec<f64> = back.map(|(ms, _)| ms as f64 / 1_000.0).collect();
        let (min_samples, points) = bounds;
        let (count, of_all) = (back.len(), trials.len());
        let (median, least, most) = spread(back);
        println!(
            "| {what} | {min_samples} | {points} | {count} of {of_all} | {median} ({least}..{most}) |"
        );
    };
    for bounds in [(200, 0.5), (2_000, 0.5)] {
        let slow = SEEDS
            .zip(0..)
            .map(|(seed, place)| guarded(bounds, Trial::slow(seed, place)));
        tell("p99 30 % longer", bounds, slow.collect());
        let erring = SEEDS.map(|seed| guarded(bounds, Trial::erring(seed)));
        tell("errors 1 point more", bounds, erring.collect());
    }
    for bounds in [(200, 0.5), (200, 1.0), (2_000, 0.5)] {
        let trials = SEEDS.map(|seed| guarded(bounds, Trial::harmless(seed)));
        let back = trials.filter(|trial| trial.fates() != PASSES).count();
        let (min_samples, points) = bounds;
        println!(
            "| as good | {min_samples} | {points} | {back} of {} | |",
            SEEDS.count()
        );
    }
}
