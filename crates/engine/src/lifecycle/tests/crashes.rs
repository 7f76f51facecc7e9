//! A model of the host, which may die between any two effects, and of its disk, which may be full.
//!
//! What is kept is kept whole or not at all, as a rename makes it; `tests/sidecar/crash.rs` shows that by killing the real
//! process.

use std::sync::Arc;

use super::inputs::{P, T, fit, pair, steward_over, wanted};
use super::sequences::{self, Act, check, in_force};
use crate::explorer::{Step, World, explore_on_all_cores};
use crate::lifecycle::{
    Effects, Entries, Event, Keep, Reply, Revision, StateChange, Steward, Target,
};
use crate::model::{AdminState, Digest};

/// The longest history.
const DEPTH: usize = 30;

/// A process with its disk.
#[derive(Debug, Clone)]
struct Host {
    /// `None` while it is dead.
    steward: Option<Steward>,
    disk: Disk,
    /// Whether a node is drained, as far as somebody was told so.
    promised: Option<bool>,
}

#[derive(Debug, Clone, Default)]
struct Disk {
    revisions: Vec<Arc<Revision>>,
    states: Arc<Entries>,
}

/// Something that may happen to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Happening {
    /// It starts, and its sources say this.
    Start(P, T),
    /// An event, and what comes between it and its last effect.
    Event(What, Fault),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Texts(Act),
    /// A node is drained, or no longer.
    Drain(bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Nothing can be kept.
    DiskFull,
    /// It dies when it has carried out so many effects.
    Crash(usize),
}

/// More than any event has.
const MOST_EFFECTS: usize = 3;

const SOURCES: [(P, T); 8] = [
    (P::One, T::Usual),
    (P::Two, T::Usual),
    (P::One, T::Larger),
    (P::One, T::Shrunk),
    (P::Elsewhere, T::Moved),
    (P::Bad, T::Usual),
    (P::One, T::Bad),
    (P::Bad, T::Bad),
];

const GIVEN: [Act; 5] = [
    Act::ApplyPolicy(P::Two),
    Act::Rollback,
    Act::Apply(T::Larger, Some(T::Usual)),
    Act::Apply(T::Shrunk, None),
    Act::ConfirmHeld(T::Shrunk),
];

struct Crashes;

impl World for Crashes {
    type State = Host;
    type Act = Happening;
    type Key = (
        Option<sequences::Key>,
        (Option<(P, T)>, [bool; 2]),
        (bool, [Option<bool>; 3]),
    );

    fn next(&self, host: &Host) -> Vec<Step<Self>> {
        if host.steward.is_none() {
            let starts = SOURCES.map(|(policy, topology)| Step {
                act: Happening::Start(policy, topology),
                next: host.clone().start(policy, topology),
            });
            return starts.into_iter().collect();
        }
        let reads = SOURCES.map(|(policy, topology)| Act::Read(policy, topology));
        let texts = reads.into_iter().chain(GIVEN).map(What::Texts);
        let events = texts.chain([true, false].map(What::Drain));
        events.flat_map(|what| host.event(what)).collect()
    }

    fn key(&self, host: &Host) -> Self::Key {
        let drained = host.steward.as_ref().map(|it| !it.states_set().is_empty());
        let newest = host.disk.newest();
        let over = newest.map(|it| it.over).unwrap_or_default();
        let steward = host.steward.as_ref();
        let has_unkept = steward.is_some_and(|it| it.revisions.unkept().next().is_some());
        (
            steward.map(sequences::key),
            (
                newest.map(|it| pair(&it.texts)),
                [over.policy.is_some(), over.topology.is_some()],
            ),
            (
                has_unkept,
                [drained, Some(!host.disk.states.is_empty()), host.promised],
            ),
        )
    }
}

impl Host {
    /// The process starts over what is on disk.
    fn start(mut self, policy: P, topology: T) -> Result<Self, String> {
        let kept = self.disk.revisions.iter().map(|it| (**it).clone());
        let mut steward = steward_over(kept.collect(), (*self.disk.states).clone());
        let effects = steward.step(0, Event::Read(wanted(policy, topology)));
        let is = in_force(&steward);
        let (policy, topology) = self.disk.unless_given(policy, topology);
        if fit(policy, topology) && is != Some((policy, topology)) {
            return Err("good sources were not taken at a start".to_owned());
        }
        let newest = self.disk.newest().map_or(0, |it| it.number);
        if newest > 0 && is.is_none_or(|(policy, topology)| !fit(policy, topology)) {
            return Err("the last good one is lost".to_owned());
        }
        if is.is_some() && steward.revision() < newest {
            return Err("an older revision took the place of a newer one".to_owned());
        }
        let drained = !steward.states_set().is_empty();
        if self.promised.is_some_and(|promised| promised != drained) {
            return Err("a drain that was promised is lost, or one that ended is back".to_owned());
        }
        self.steward = Some(steward);
        self.carry_out(&effects, Fault::None)
    }

    /// Something happens to the running process; what comes of it, by what befalls the process meanwhile.
    fn event(&self, what: What) -> Vec<Step<Crashes>> {
        let mut after = self.clone();
        let Some(steward) = after.steward.as_mut() else {
            return Vec::new();
        };
        let judged = match what {
            What::Texts(act) => {
                let before = steward.clone();
                let effects = steward.step(0, act.event());
                check(&before, act, steward, &effects).map(|()| effects)
            }
            What::Drain(drained) => {
                // From here on until the answer it may be either.
                after.promised = None;
                Ok(steward.step(0, Event::SetState(drain(drained))))
            }
        };
        let faults = judged
            .as_ref()
            .map_or_else(|_| vec![Fault::None], faults_of);
        let comes_to = |fault| {
            let effects = judged.as_ref().map_err(Clone::clone)?;
            let host = after.clone().carry_out(effects, fault)?;
            if fault == Fault::None {
                host.is_kept_as_served(what, effects)?;
            }
            Ok(host)
        };
        let steps = faults.into_iter().map(|fault| Step {
            act: Happening::Event(what, fault),
            next: comes_to(fault),
        });
        steps.collect()
    }

    /// What takes effect is kept before it is served.
    fn is_kept_as_served(&self, what: What, effects: &Effects) -> Result<(), String> {
        let published = effects.publish.as_ref();
        let served = published.map(|publish| pair(&publish.edition.texts()));
        let kept = self.disk.newest().map(|it| pair(&it.texts));
        match what {
            What::Drain(_) => Ok(()),
            What::Texts(_) if served.is_none() || served == kept => Ok(()),
            What::Texts(_) => Err("what is served is not what is kept".to_owned()),
        }
    }

    /// Does what a steward says, as the writer does, as far as it gets.
    fn carry_out(mut self, effects: &Effects, fault: Fault) -> Result<Self, String> {
        let Effects {
            keep,
            publish,
            say: _,
            reply,
        } = effects;
        let mut left = match fault {
            Fault::Crash(effects) => effects,
            Fault::None | Fault::DiskFull => usize::MAX,
        };
        let mut is_left = || {
            let is_left = left > 0;
            left = left.saturating_sub(1);
            is_left
        };
        for keep in keep {
            if is_left() && fault != Fault::DiskFull {
                self.disk.keep(keep.clone())?;
                let steward = self.steward.as_mut();
                let effects = steward.map(|steward| steward.step(0, Event::Kept(keep.clone())));
                debug_assert!(effects.is_none_or(|effects| effects.is_nothing()));
            }
        }
        if let Some(publish) = publish
            && is_left()
        {
            let (policy, topology) = pair(&publish.edition.texts());
            if !fit(policy, topology) {
                return Err("a bad edition is served".to_owned());
            }
        }
        if let Some(Reply::State(Ok(changed))) = reply
            && is_left()
        {
            // With a full disk the answer says that it is not kept.
            let drained = changed.effective == AdminState::Drain;
            self.promised = (fault != Fault::DiskFull).then_some(drained);
        }
        if matches!(fault, Fault::Crash(_)) {
            self.steward = None;
        }
        Ok(self)
    }
}

/// All that makes a difference while these are carried out: a disk that nothing is put on may be full, and beyond the last effect
/// it is all the same when it dies.
fn faults_of(effects: &Effects) -> Vec<Fault> {
    let is_told = matches!(effects.reply, Some(Reply::State(Ok(_))));
    let is_on_disk = is_told || !effects.keep.is_empty();
    let carried_out =
        effects.keep.len() + usize::from(effects.publish.is_some()) + usize::from(is_told);
    let crashes = (0..MOST_EFFECTS.min(carried_out + 1)).map(Fault::Crash);
    let full = is_on_disk.then_some(Fault::DiskFull);
    [Fault::None]
        .into_iter()
        .chain(full)
        .chain(crashes)
        .collect()
}

impl Disk {
    /// The last that was kept.
    fn newest(&self) -> Option<&Arc<Revision>> {
        self.revisions.last()
    }

    /// What is to be served where the sources say this: what was given holds while its source is what it was.
    fn unless_given(&self, policy: P, topology: T) -> (P, T) {
        let Some(newest) = self.newest() else {
            return (policy, topology);
        };
        let (given, over) = (pair(&newest.texts), newest.over);
        let is = |over: Option<Digest>, text: Arc<str>| over == Some(Digest::of(text.as_bytes()));
        let of_policy = is(over.policy, policy.text());
        let of_topology = is(over.topology, topology.text());
        (
            if of_policy { given.0 } else { policy },
            if of_topology { given.1 } else { topology },
        )
    }

    /// A revision is there once and for all, but for what its texts stand over.
    fn put(&mut self, revision: Arc<Revision>) -> Result<(), String> {
        let known = self
            .revisions
            .iter_mut()
            .find(|it| it.number == revision.number);
        match known {
            Some(known) if known.texts != revision.texts => {
                return Err("a revision is overwritten".to_owned());
            }
            Some(known) => *known = revision,
            None => self.revisions.push(revision),
        }
        Ok(())
    }

    fn keep(&mut self, keep: Keep) -> Result<(), String> {
        match keep {
            Keep::Revision(revision) => {
                let (policy, topology) = pair(&revision.texts);
                if !fit(policy, topology) {
                    return Err("a bad pair is kept".to_owned());
                }
                self.put(revision)?;
            }
            Keep::States(entries) => self.states = entries,
            Keep::Rollout(record) => return Err(format!("nobody asked for {record:?}")),
        }
        Ok(())
    }
}

fn drain(drained: bool) -> StateChange {
    StateChange {
        target: Target::Node("a1".into()),
        state: if drained {
            AdminState::Drain
        } else {
            AdminState::Ready
        },
        lasts_ms: None,
        who: "ada".to_owned(),
        why: "tests".to_owned(),
    }
}

#[test]
fn whatever_the_host_dies_of_it_serves_a_good_edition_again() {
    let dead = Host {
        steward: None,
        disk: Disk::default(),
        promised: Some(false),
    };
    let explored = explore_on_all_cores(&Crashes, dead, DEPTH);
    println!("{explored:?}");
    // Nothing new comes of longer ones, so this holds of histories of any length.
    assert!(
        explored.longest < DEPTH && explored.states > 1_000,
        "{explored:?}"
    );
}
