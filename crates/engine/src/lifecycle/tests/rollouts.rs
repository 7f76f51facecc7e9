//! Candidates beside the policy in force: every short history of orders, guards, other policies, fleets and crashes.

use std::sync::Arc;

use super::inputs::{P, T, apply, no_geo, policy_update, wanted};
use crate::control::cohorts::{Decided, Fared};
use crate::edition::Names;
use crate::explorer::{Step, World, explore};
use crate::lifecycle::notice::{Notice, RolloutFate};
use crate::lifecycle::{
    ApplyError, Effects, Entries, Event, Keep, Origin, PolicyUpdate, Reply, Revision, Rolling,
    RolloutAnswer, RolloutError, RolloutOrder, RolloutRecord, RolloutRequest, Start, Steward,
    Wanted,
};
use crate::rollout::{Order, Phase, Seen, Stage};
use crate::snapshot::{BUCKETS, Cohort};

const HOLD_MS: u64 = 60_000;

/// More than any history lasts: each event is a minute after the one before.
const DEPTH: usize = 14;

/// The shares of the two stages.
const SHARES: [u16; 2] = [100, 5_000];

fn request(policy: P) -> RolloutRequest {
    let stages = SHARES.map(|buckets| Stage {
        buckets,
        hold_ms: HOLD_MS,
    });
    RolloutRequest {
        document: policy.text(),
        unusable: None,
        if_revision: None,
        cohort: None,
        stages: stages.into(),
        is_shadow: false,
        jitter: 0.0,
        who: "ada".to_owned(),
        why: "tests".to_owned(),
    }
}

fn start(policy: P) -> Event {
    Event::StartRollout(Box::new(request(policy)))
}

fn order(order: Order) -> Event {
    Event::OrderRollout(RolloutOrder {
        order,
        who: "ada".to_owned(),
        why: "tests".to_owned(),
    })
}

/// How requests fared, where so many of a thousand of the candidate's failed.
fn fared(samples: u64, failed: u64) -> Event {
    let side = |failed| Fared {
        decided: Decided {
            all: samples,
            ..Decided::default()
        },
        answered: samples - failed,
        failed,
        timed: samples,
        p50_ms: Some(5.0),
        p99_ms: Some(20.0),
        ..Fared::default()
    };
    // For each of the three usual guards.
    Event::Seen(Seen {
        fared: vec![[side(0), side(failed)]; 3],
        broken: None,
    })
}

/// What an earlier run left on disk.
#[derive(Debug, Clone, Default)]
struct Disk {
    revisions: Vec<Revision>,
    rollout: Option<Arc<RolloutRecord>>,
}

fn started(disk: &Disk, policy: P, topology: T, now: u64) -> (Steward, Effects) {
    let mut steward = Steward::new(Start {
        names: Names::new("policy.yaml", "topology.yaml"),
        kept: disk.revisions.clone(),
        last_number: 0,
        rollout: disk.rollout.as_deref().cloned(),
        states: Entries::new(),
        geo: no_geo(),
        knows_its_place: true,
    });
    let effects = steward.step(now, Event::Read(wanted(policy, topology)));
    (steward, effects)
}

fn running() -> Steward {
    started(&Disk::default(), P::One, T::Usual, 0).0
}

/// Which policy is in force, and the share of the candidate.
fn shown(steward: &Steward) -> (P, Option<u16>) {
    let current = steward.current().unwrap();
    let share = steward.rollout().map(Rolling::buckets);
    (P::of(current.policy_text()), share)
}

fn answer(effects: &Effects) -> Result<RolloutAnswer, RolloutError> {
    match &effects.reply {
        Some(Reply::Rollout(answer)) => answer.clone(),
        other => panic!("no answer: {other:?}"),
    }
}

fn fates(effects: &Effects) -> Vec<RolloutFate> {
    let fate = |notice: &Notice| match notice {
        Notice::Rollout(it) => Some(it.fate),
        _ => None,
    };
    effects.say.iter().filter_map(fate).collect()
}

#[test]
fn a_candidate_goes_through_its_stages_and_comes_into_force() {
    let mut steward = running();
    let effects = steward.step(0, start(P::Two));
    assert_eq!(answer(&effects).unwrap().faults.counts().0, 0);
    let tried = effects.publish.unwrap().candidate.unwrap();
    assert_eq!(
        (tried.split.buckets, tried.split.cohort),
        (100, Cohort::Key)
    );
    assert_eq!(shown(&steward), (P::One, Some(100)));
    let effects = steward.step(HOLD_MS, fared(1_000, 0));
    assert_eq!(fates(&effects), [RolloutFate::Changed]);
    assert_eq!(shown(&steward), (P::One, Some(5_000)));
    let effects = steward.step(2 * HOLD_MS, fared(1_000, 0));
    assert_eq!(fates(&effects), [RolloutFate::Completed]);
    let publish = effects.publish.unwrap();
    assert!(publish.candidate.is_none() && publish.revision == 2);
    assert_eq!(shown(&steward), (P::Two, None));
    let newest = steward.revisions().newest().unwrap();
    assert_eq!(
        (newest.origin, newest.who.as_str()),
        (Origin::Rollout, "ada")
    );
    let keeps = [&effects.keep[0], effects.keep.last().unwrap()];
    assert!(matches!(
        keeps,
        [Keep::Revision(_), Keep::Revision(_) | Keep::Rollout(None)]
    ));
}

#[test]
fn a_guard_that_fails_takes_it_back_with_its_reason() {
    let mut steward = running();
    let _started = steward.step(0, start(P::Two));
    let effects = steward.step(5_000, fared(1_000, 12));
    assert_eq!(fates(&effects), [RolloutFate::RolledBack]);
    assert!(effects.publish.unwrap().candidate.is_none());
    let Notice::Rollout(notice) = &effects.say[0] else {
        panic!("{:?}", effects.say);
    };
    assert!(
        notice.why.starts_with("error_percent is 1.20 %"),
        "{notice:?}"
    );
    assert_eq!(
        steward.last_rollout().unwrap().fate,
        RolloutFate::RolledBack
    );
    assert_eq!((shown(&steward), steward.revision()), ((P::One, None), 1));
    assert!(steward.rollout_windows_ms(9_000).is_empty());
}

#[test]
fn what_cannot_be_tried_is_said() {
    let mut steward = running();
    let refused = answer(&steward.step(0, start(P::Bad))).unwrap();
    assert!(refused.faults.has_errors());
    let same = answer(&steward.step(0, start(P::One)));
    assert!(
        matches!(same, Err(RolloutError::NothingToTry(_))),
        "{same:?}"
    );
    let none = answer(&steward.step(0, order(Order::Pause)));
    assert_eq!(none, Err(RolloutError::None));
    let stale = RolloutRequest {
        if_revision: Some(9),
        ..request(P::Two)
    };
    let stale = answer(&steward.step(0, Event::StartRollout(Box::new(stale))));
    assert!(matches!(stale, Err(RolloutError::Apply(_))), "{stale:?}");
    let _started = steward.step(0, start(P::Two));
    let second = answer(&steward.step(0, start(P::Two)));
    assert!(
        matches!(second, Err(RolloutError::UnderWay(_))),
        "{second:?}"
    );
}

#[test]
fn a_shadow_decides_nothing_and_stays_until_it_is_taken_away() {
    let mut steward = running();
    let shadow = RolloutRequest {
        is_shadow: true,
        ..request(P::Two)
    };
    let effects = steward.step(0, Event::StartRollout(Box::new(shadow)));
    assert_eq!(effects.publish.unwrap().candidate.unwrap().split.buckets, 0);
    let later = steward.step(90 * HOLD_MS, fared(1_000, 500));
    assert!(later.publish.is_none() && later.say.is_empty());
    let promote = answer(&steward.step(0, order(Order::Promote)));
    assert_eq!(promote, Err(RolloutError::Shadow));
    let gone = steward.step(0, order(Order::Abort));
    assert_eq!(fates(&gone), [RolloutFate::Aborted]);
}

#[test]
fn another_policy_ends_it_and_another_fleet_does_not() {
    let mut steward = running();
    let _started = steward.step(0, start(P::Two));
    let grown = steward.step(1, Event::Read(wanted(P::One, T::Larger)));
    let candidate = grown.publish.unwrap().candidate.unwrap();
    assert_eq!(candidate.split.buckets, 100);
    let nodes = steward
        .rollout()
        .unwrap()
        .candidate
        .topology()
        .nodes()
        .len();
    assert_eq!(nodes, 5, "it is compiled for the fleet in force");
    // In other words it is the same policy, and the rollout stands on that.
    let commented = Wanted {
        policy: Ok(format!("# why not\n{}", P::One.text()).into()),
        ..wanted(P::One, T::Larger)
    };
    let commented = steward.step(2, Event::Read(commented));
    assert_eq!(fates(&commented), []);
    assert!(commented.publish.unwrap().candidate.is_some());
    let mut other = steward.clone();
    let given = other.step(3, apply(P::Two));
    assert_eq!(fates(&given), [RolloutFate::Completed], "by another way");
    assert!(given.publish.unwrap().candidate.is_none());
    let ended = steward.step(3, Event::Read(wanted(P::Elsewhere, T::Moved)));
    assert_eq!(fates(&ended), [RolloutFate::Ended]);
    // Who did not mean to end one is told.
    let mut running = running();
    let _started = running.step(0, start(P::Two));
    let careless = PolicyUpdate {
        may_end_rollout: false,
        ..policy_update(P::Two)
    };
    let told = running.step(1, Event::ApplyPolicy(careless));
    let candidate = running.rollout().unwrap().digest().short();
    let error = ApplyError::RolloutUnderWay { candidate };
    assert_eq!(told.reply, Some(Reply::Policy(Err(error))));
}

/// A process with its disk, and what was promised.
#[derive(Debug, Clone)]
struct Host {
    /// `None` while it is dead.
    steward: Option<Steward>,
    disk: Disk,
    now: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Start,
    Order(Order),
    /// Guards see enough and all is well, or too little, or failures.
    Well,
    Little,
    Failing,
    /// Another policy or fleet.
    Apply(P),
    Read(P, T),
    /// A new process over the disk.
    Restart(P, T),
}

const ACTS: [Act; 15] = [
    Act::Start,
    Act::Order(Order::Pause),
    Act::Order(Order::Resume),
    Act::Order(Order::Promote),
    Act::Order(Order::Reverse(1)),
    Act::Order(Order::Abort),
    Act::Well,
    Act::Little,
    Act::Failing,
    Act::Apply(P::Two),
    Act::Apply(P::One),
    Act::Read(P::One, T::Larger),
    Act::Read(P::Bad, T::Usual),
    Act::Restart(P::One, T::Usual),
    Act::Restart(P::Bad, T::Bad),
];

/// How many of the effects of an act are carried out before the process dies, if it does.
const DEATHS: [Option<usize>; 4] = [None, Some(0), Some(1), Some(2)];

struct Rollouts;

impl World for Rollouts {
    type State = Host;
    type Act = (Act, Option<usize>);
    type Key = (
        Option<(P, T, Option<(u16, bool, u64)>)>,
        Option<(P, T)>,
        Option<(usize, bool, u64)>,
    );

    fn next(&self, host: &Host) -> Vec<Step<Self>> {
        let is_dead = host.steward.is_none();
        let acts = ACTS.into_iter();
        let acts = acts.filter(|act| matches!(act, Act::Restart(..)) == is_dead);
        let all = acts.flat_map(|act| DEATHS.map(|death| (act, death)));
        let steps = all.map(|(act, death)| Step {
            act: (act, death),
            next: host.clone().happens(act, death),
        });
        steps.collect()
    }

    fn key(&self, host: &Host) -> Self::Key {
        // Times count from now: a history is not another one for having begun later.
        let age = |since: u64| ((host.now - since) / HOLD_MS).min(3);
        let of = |revision: &Revision| super::inputs::pair(&revision.texts);
        let steward = host.steward.as_ref().map(|steward| {
            let (policy, topology) = of(steward.revisions().newest().unwrap());
            let rollout = steward.rollout().map(|it| {
                let is_paused = *it.progress.phase() != Phase::Running;
                (
                    it.buckets(),
                    is_paused,
                    age(it.progress.stage_since_unix_ms()),
                )
            });
            (policy, topology, rollout)
        });
        let record = host.disk.rollout.as_ref().map(|it| {
            let is_paused = it.phase != Phase::Running;
            (it.stage, is_paused, age(it.stage_since_unix_ms))
        });
        (steward, host.disk.revisions.last().map(of), record)
    }
}

impl Host {
    fn happens(mut self, act: Act, death: Option<usize>) -> Result<Self, String> {
        self.now += HOLD_MS;
        let event = match act {
            Act::Start => start(P::Two),
            Act::Order(it) => order(it),
            Act::Well => fared(1_000, 0),
            Act::Little => fared(10, 0),
            Act::Failing => fared(1_000, 100),
            Act::Apply(policy) => apply(policy),
            Act::Read(policy, topology) => Event::Read(wanted(policy, topology)),
            Act::Restart(policy, topology) => {
                let (steward, effects) = started(&self.disk, policy, topology, self.now);
                self.check_restart(&steward)?;
                self.steward = Some(steward);
                return self.carry_out(&effects, death);
            }
        };
        let steward = self.steward.as_mut().ok_or("it is dead")?;
        let before = steward.clone();
        let effects = steward.step(self.now, event);
        check(&before, act, steward)?;
        self.carry_out(&effects, death)
    }

    /// A restart never tries a candidate on more than was kept.
    fn check_restart(&self, steward: &Steward) -> Result<(), String> {
        let Some(rolling) = steward.rollout() else {
            return Ok(());
        };
        let kept = self.disk.rollout.as_ref();
        let kept = kept.ok_or("a rollout came out of nothing")?;
        claim(rolling.progress.stage() == kept.stage, "it left its stage")?;
        claim(
            *rolling.progress.phase() == kept.phase,
            "it forgot that it was paused",
        )
    }

    fn carry_out(mut self, effects: &Effects, death: Option<usize>) -> Result<Self, String> {
        let mut left = death.unwrap_or(usize::MAX);
        for keep in &effects.keep {
            if left == 0 {
                break;
            }
            left -= 1;
            match keep {
                Keep::Revision(revision) => {
                    self.disk
                        .revisions
                        .retain(|it| it.number != revision.number);
                    self.disk.revisions.push((**revision).clone());
                }
                Keep::Rollout(record) => self.disk.rollout.clone_from(record),
                Keep::States(_) => {}
            }
            if let Some(steward) = &mut self.steward {
                let more = steward.step(self.now, Event::Kept(keep.clone()));
                claim(more.is_nothing(), "what is kept needs nothing more")?;
            }
        }
        if left > 0
            && let Some(publish) = &effects.publish
        {
            self.check_published(publish.candidate.as_ref().map(|it| it.split.buckets))?;
        }
        if death.is_some() {
            self.steward = None;
        }
        Ok(self)
    }

    /// What is tried is on disk: whatever happens now, no restart tries more.
    fn check_published(&self, buckets: Option<u16>) -> Result<(), String> {
        let Some(buckets) = buckets else {
            return Ok(());
        };
        let record = self
            .disk
            .rollout
            .as_ref()
            .ok_or("it is tried and not kept")?;
        let stage = record.stages[record.stage].buckets;
        claim(buckets <= stage, "it decides more than its stage")
    }
}

/// What must hold of every step.
fn check(before: &Steward, act: Act, after: &Steward) -> Result<(), String> {
    let (was, is) = (shown(before), shown(after));
    let share = |shown: (P, Option<u16>)| shown.1.unwrap_or(0);
    claim(
        share(is) <= SHARES[1] && share(is) < BUCKETS,
        "more than any stage",
    )?;
    claim(
        share(is) <= share(was)
            || matches!(act, Act::Start | Act::Well | Act::Order(Order::Promote)),
        "it went up without a good reason",
    )?;
    match act {
        Act::Failing => claim(is.1.is_none() && is.0 == was.0, "a breach changed nothing"),
        Act::Order(Order::Abort) => claim(is == (was.0, None), "it was not taken back"),
        Act::Little => claim(is == was, "too little was taken for something"),
        Act::Apply(policy) => claim(
            is.0 == policy && (is.1.is_none() || was.0 == policy),
            "it goes on beside another policy",
        ),
        _ => {
            let came = is.0 != was.0 && was.1.is_some();
            let may = matches!(act, Act::Well | Act::Order(Order::Promote) | Act::Read(..));
            claim(!came || may, "it came into force without having passed")
        }
    }
}

fn claim(holds: bool, otherwise: &str) -> Result<(), String> {
    holds.then_some(()).ok_or_else(|| otherwise.to_owned())
}

#[test]
fn no_history_of_a_rollout_tries_more_than_its_stage_or_loses_the_policy_before() {
    let mut host = Host {
        steward: None,
        disk: Disk::default(),
        now: 0,
    };
    let (steward, effects) = started(&host.disk, P::One, T::Usual, 0);
    host.steward = Some(steward);
    let host = host.carry_out(&effects, None).unwrap();
    let explored = explore(&Rollouts, host, DEPTH);
    println!("{explored:?}");
    assert!(
        explored.longest < DEPTH && explored.states > 60,
        "{explored:?}"
    );
}
