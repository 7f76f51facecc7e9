//! All sequences of up to eight events over good, bad, held and late texts.

use super::inputs::{
    P, POLICIES, T, TOPOLOGIES, apply, fit, pair, policy_update, rollback, steward, update, wanted,
};
use crate::explorer::{Step, World, explore};
use crate::lifecycle::{
    Document, DocumentState, Effects, Entries, Event, PolicyUpdate, Reply, Steward, Update,
};

/// The longest sequence.
const DEPTH: usize = 8;

/// The process never dies here, and nothing fails; see [`crashes`](super::crashes) for that.
struct Calm;

/// Something that may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// The sources are read, and say this; not necessarily what they say in the meantime.
    Read(P, T),
    /// A topology is given by a call, by somebody who thinks that another one is in force, or does not care.
    Apply(T, Option<T>),
    /// The same, confirmed.
    Confirm(T),
    /// The topology that is held is confirmed by its digest.
    ConfirmHeld(T),
    /// A policy is given by a call.
    ApplyPolicy(P),
    /// The same, by somebody who has not seen the last revision.
    ApplyStale(P),
    /// The policy before the one in force is asked for.
    Rollback,
}

impl Act {
    /// As an event.
    pub(super) fn event(self) -> Event {
        match self {
            Self::Read(policy, topology) => Event::Read(wanted(policy, topology)),
            Self::Apply(topology, expected) => Event::ApplyTopology(Update {
                if_digest: expected.map_or_else(String::new, T::digest),
                ..update(topology)
            }),
            Self::Confirm(topology) => Event::ApplyTopology(Update {
                confirm_removal: true,
                ..update(topology)
            }),
            Self::ConfirmHeld(topology) => Event::ApplyTopology(Update {
                document: Document::Held(topology.digest()),
                confirm_removal: true,
                ..update(topology)
            }),
            Self::ApplyPolicy(policy) => apply(policy),
            Self::ApplyStale(policy) => Event::ApplyPolicy(PolicyUpdate {
                // No sequence is that long.
                if_revision: Some(u64::MAX),
                ..policy_update(policy)
            }),
            Self::Rollback => rollback(None),
        }
    }
}

/// Everything that may happen, at any time.
pub(super) fn all_acts() -> Vec<Act> {
    let mut acts = Vec::new();
    for policy in POLICIES {
        acts.extend(TOPOLOGIES.map(|topology| Act::Read(policy, topology)));
    }
    acts.extend(POLICIES.map(Act::ApplyPolicy));
    acts.extend([Act::ApplyStale(P::Two), Act::Rollback]);
    acts.extend(TOPOLOGIES.map(|topology| Act::Apply(topology, None)));
    acts.push(Act::Apply(T::Larger, Some(T::Usual)));
    acts.extend([T::Shrunk, T::Moved].map(Act::Confirm));
    acts.push(Act::ConfirmHeld(T::Shrunk));
    acts
}

/// What tells stewards apart: the names of texts, and whose they are.
pub(super) type Key = (
    Option<(P, T)>,
    Option<(P, T)>,
    (bool, bool),
    Option<(T, bool)>,
    // What going back goes back to.
    Option<P>,
);

pub(super) fn key(steward: &Steward) -> Key {
    let tried = steward.tried.as_ref().map(|tried| {
        let (policy, topology) = (tried.policy.as_ref(), tried.topology.as_ref());
        (P::of(policy.unwrap()), T::of(topology.unwrap()))
    });
    let held = steward.held.as_ref();
    (
        in_force(steward),
        tried,
        (
            steward.over.policy.is_some(),
            steward.over.topology.is_some(),
        ),
        held.map(|held| (T::of(&held.text), held.source == "apply")),
        earlier(steward),
    )
}

pub(super) fn in_force(steward: &Steward) -> Option<(P, T)> {
    steward.current().map(|current| pair(&current.texts()))
}

/// The policy that going back goes back to.
fn earlier(steward: &Steward) -> Option<P> {
    let earlier = steward.revisions().before_this_policy();
    earlier.map(|it| P::of(&it.texts.policy))
}

impl World for Calm {
    type State = Steward;
    type Act = Act;
    type Key = Key;

    fn next(&self, before: &Steward) -> Vec<Step<Self>> {
        let next = |act: Act| {
            let mut after = before.clone();
            let effects = after.step(0, act.event());
            check(before, act, &after, &effects)?;
            for keep in effects.keep {
                let effects = after.step(0, Event::Kept(keep));
                debug_assert!(effects.is_nothing());
            }
            Ok(after)
        };
        let steps = all_acts().into_iter().map(|act| Step {
            act,
            next: next(act),
        });
        steps.collect()
    }

    fn key(&self, state: &Steward) -> Key {
        key(state)
    }
}

/// What must hold of every step.
pub(super) fn check(
    before: &Steward,
    act: Act,
    after: &Steward,
    effects: &Effects,
) -> Result<(), String> {
    let (was, is) = (in_force(before), in_force(after));
    claim(
        is.is_none_or(|(policy, topology)| fit(policy, topology)),
        "what is in force does not fit",
    )?;
    claim(was.is_none() || is.is_some(), "the last good one is lost")?;
    let risen = after.revision() - before.revision();
    claim(
        risen == u64::from(was != is),
        "not a revision for each change",
    )?;
    let published = effects.publish.as_ref();
    claim(
        published.is_some() == (was != is),
        "what changed is not published, or what did not is",
    )?;
    claim(
        published.is_none_or(|it| Some(pair(&it.edition.texts())) == is),
        "what is published is not in force",
    )?;
    claim(
        published.is_none_or(|it| it.revision == after.revision()),
        "it is published as another revision",
    )?;
    let shrinks = |(_, from), (_, to)| from != T::Shrunk && to == T::Shrunk;
    let is_confirmed = matches!(act, Act::Confirm(_) | Act::ConfirmHeld(_));
    let shrunk = was.zip(is).is_some_and(|(was, is)| shrinks(was, is));
    claim(!shrunk || is_confirmed, "it shrank unconfirmed")?;
    match act {
        Act::Read(policy, topology) => {
            check_read(before, after, policy, topology).and_then(|()| check_status(after))
        }
        Act::Apply(_, Some(expected)) => claim(
            was == is || was.is_some_and(|(_, topology)| topology == expected),
            "an old plan took effect",
        ),
        Act::Apply(topology, None) | Act::Confirm(topology) | Act::ConfirmHeld(topology) => claim(
            was == is || is.is_some_and(|it| it.1 == topology && Some(it.0) == was.map(|it| it.0)),
            "a call changed something else",
        ),
        Act::ApplyPolicy(policy) => claim(
            is_answered_good(effects) == (is.map(|it| it.0) == Some(policy)),
            "the answer is not what happened",
        ),
        Act::ApplyStale(_) => claim(was == is, "an old plan took effect"),
        Act::Rollback => {
            let fits = was.zip(earlier(before)).filter(|(was, to)| fit(*to, was.1));
            let expected = fits.map(|(was, to)| (to, was.1));
            claim(is == expected.or(was), "it went back to something else")
        }
    }
}

fn is_answered_good(effects: &Effects) -> bool {
    matches!(&effects.reply, Some(Reply::Policy(Ok(applied))) if !applied.faults.has_errors())
}

/// What the sources say takes effect where it can, and undoes nothing else.
fn check_read(before: &Steward, after: &Steward, policy: P, topology: T) -> Result<(), String> {
    let (was, is) = (in_force(before), in_force(after));
    let (said, tried) = (wanted(policy, topology), before.tried.as_ref());
    let new_policy = tried.is_none_or(|tried| tried.policy != said.policy);
    let new_topology = tried.is_none_or(|tried| tried.topology != said.topology);
    claim(
        was == is || new_policy || new_topology,
        "texts that were read late, or once more, undid something",
    )?;
    let must_wait = was.is_some_and(|was| was.1 != T::Shrunk) && topology == T::Shrunk;
    let must_be_taken = new_policy && new_topology && !must_wait && fit(policy, topology);
    claim(
        !must_be_taken || is == Some((policy, topology)),
        "a good pair was not taken",
    )?;
    claim(
        new_policy || before.over.policy.is_none() || was.map(|it| it.0) == is.map(|it| it.0),
        "a policy given by call was undone",
    )?;
    claim(
        new_topology || before.over.topology.is_none() || was.map(|it| it.1) == is.map(|it| it.1),
        "a topology given by call was undone",
    )
}

fn claim(holds: bool, otherwise: &str) -> Result<(), String> {
    holds.then_some(()).ok_or_else(|| otherwise.to_owned())
}

/// The status says why whatever is not served is not.
fn check_status(steward: &Steward) -> Result<(), String> {
    let status = steward.status();
    let is_served = steward.current().is_some();
    for it in [&status.policy, &status.topology] {
        let is_good = it.faults.is_empty();
        let holds = match it.state {
            DocumentState::Serving => is_served && is_good && it.degraded.is_none(),
            DocumentState::LastGood => {
                is_served && (!is_good || it.held.is_some()) && it.degraded.is_some()
            }
            DocumentState::Missing => !is_served && !is_good && it.degraded.is_some(),
            DocumentState::Waiting => !is_served && is_good && it.degraded.is_none(),
        };
        if !holds {
            return Err(format!("the status does not tell what happened: {it:#?}"));
        }
    }
    let is_shown = status.topology.held.is_some() == steward.held().is_some();
    is_shown
        .then_some(())
        .ok_or("what is held is not shown".to_owned())
}

#[test]
fn no_sequence_of_texts_serves_a_bad_one_or_loses_the_last_good_one() {
    let explored = explore(&Calm, steward(None, Entries::new()), DEPTH);
    println!("{explored:?}");
    // Nothing new comes of longer ones, so this holds of sequences of any length.
    assert!(
        explored.longest < DEPTH && explored.states > 500,
        "{explored:?}"
    );
}
