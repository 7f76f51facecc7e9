//! A model of the host, which may die between any two effects, and of its disk, which may be full.
//!
//! What is kept is kept whole or not at all, as a rename makes it; `tests/sidecar/crash.rs` shows that by killing the real
//! process.

use std::sync::Arc;

use super::explorer::{Step, World, explore};
use super::inputs::{P, T, fit, pair, steward, wanted};
use super::sequences::{self, Act, check, in_force};
use crate::edition::Texts;
use crate::lifecycle::{Effects, Entries, Event, Keep, Reply, StateChange, Steward, Target};
use crate::model::AdminState;

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
    pair: Option<Texts>,
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

const GIVEN: [Act; 4] = [
    Act::ApplyPolicy(P::Two),
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
        [Option<(P, T)>; 2],
        [Option<bool>; 3],
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
        let kept = host.steward.as_ref().and_then(|it| it.kept.as_ref());
        (
            host.steward.as_ref().map(sequences::key),
            [host.disk.pair.as_ref(), kept].map(|it| it.map(pair)),
            [drained, Some(!host.disk.states.is_empty()), host.promised],
        )
    }
}

impl Host {
    /// The process starts over what is on disk.
    fn start(mut self, policy: P, topology: T) -> Result<Self, String> {
        let mut steward = steward(self.disk.pair.clone(), (*self.disk.states).clone());
        let effects = steward.step(0, Event::Read(wanted(policy, topology)));
        let is = in_force(&steward);
        if fit(policy, topology) && is != Some((policy, topology)) {
            return Err("good sources were not taken at a start".to_owned());
        }
        if self.disk.pair.is_some() && is.is_none_or(|(policy, topology)| !fit(policy, topology)) {
            return Err("the last good one is lost".to_owned());
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
        let faults = [Fault::None, Fault::DiskFull];
        let faults = faults
            .into_iter()
            .chain((0..MOST_EFFECTS).map(Fault::Crash));
        let comes_to = |fault| {
            let effects = judged.as_ref().map_err(Clone::clone)?;
            let host = after.clone().carry_out(effects, fault)?;
            if fault == Fault::None {
                host.is_kept_as_served(what, effects)?;
            }
            Ok(host)
        };
        let steps = faults.map(|fault| Step {
            act: Happening::Event(what, fault),
            next: comes_to(fault),
        });
        steps.collect()
    }

    /// A text that takes effect is kept before it is served, but for policies that are given by a call.
    fn is_kept_as_served(&self, what: What, effects: &Effects) -> Result<(), String> {
        let published = effects.publish.as_ref();
        let served = published.map(|publish| pair(&publish.edition.texts()));
        let kept = self.disk.pair.as_ref().map(pair);
        match what {
            What::Drain(_) | What::Texts(Act::ApplyPolicy(_)) => Ok(()),
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

impl Disk {
    fn keep(&mut self, keep: Keep) -> Result<(), String> {
        match keep {
            Keep::Pair(texts) => {
                let (policy, topology) = pair(&texts);
                if !fit(policy, topology) {
                    return Err("a bad pair is kept".to_owned());
                }
                self.pair = Some(texts);
            }
            Keep::States(entries) => self.states = entries,
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
    let explored = explore(&Crashes, dead, DEPTH);
    println!("{explored:?}");
    // Nothing new comes of longer ones, so this holds of histories of any length.
    assert!(
        explored.longest < DEPTH && explored.states > 1_000,
        "{explored:?}"
    );
}
