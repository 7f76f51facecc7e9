//! Each transition by itself.

use std::sync::Arc;

use super::inputs::{P, T, apply, no_geo, pair, steward, texts, update, wanted};
use super::sequences::in_force;
use crate::document::Code;
use crate::lifecycle::notice::{GivenFate, Notice, SourceNotice};
use crate::lifecycle::{
    Applied, ApplyError, Document, DocumentState, Effects, Entries, Event, Fate, Geo, Keep, Reply,
    StateChange, StateChanged, StateError, Steward, Target, Unusable, Update, Wanted,
};
use crate::model::{AdminState, Digest};
use crate::snapshot::GeoState;

/// A steward that serves these.
pub(super) fn serving(policy: P, topology: T) -> Steward {
    let mut steward = steward(None, Entries::new());
    let effects = steward.step(1_000, Event::Read(wanted(policy, topology)));
    assert!(effects.publish.is_some());
    steward
}

/// What is said of the sources: what became of the policy and of the topology, where there is news.
pub(super) fn fates(effects: &Effects) -> Vec<(&'static str, Fate)> {
    let of_source = |notice: &Notice| match notice {
        Notice::Source(SourceNotice { which, outcome, .. }) => Some((which.name(), outcome.fate)),
        _ => None,
    };
    effects.say.iter().filter_map(of_source).collect()
}

/// A revision's number and texts.
type Numbered = (u64, (P, T));

/// Those that are to be kept.
pub(super) fn kept(effects: &Effects) -> Vec<Numbered> {
    let revision = |keep: &Keep| match keep {
        Keep::Revision(it) => Some((it.number, pair(&it.texts))),
        Keep::States(_) | Keep::Rollout(_) => None,
    };
    effects.keep.iter().filter_map(revision).collect()
}

/// The fates of both, where both are news.
fn both(policy: Fate, topology: Fate) -> Vec<(&'static str, Fate)> {
    vec![("policy", policy), ("topology", topology)]
}

fn applied(effects: Effects) -> Result<Applied, ApplyError> {
    match effects.reply {
        Some(Reply::Topology(answer)) => answer,
        other => panic!("no answer: {other:?}"),
    }
}

fn changed(effects: &Effects) -> Result<StateChanged, StateError> {
    match &effects.reply {
        Some(Reply::State(answer)) => answer.clone(),
        other => panic!("no answer: {other:?}"),
    }
}

fn change(target: Target, state: AdminState, lasts_ms: Option<u64>) -> Event {
    Event::SetState(StateChange {
        target,
        state,
        lasts_ms,
        who: "ada".to_owned(),
        why: "tests".to_owned(),
    })
}

fn node(id: &str) -> Target {
    Target::Node(id.into())
}

#[test]
fn good_sources_take_effect_and_are_kept() {
    let mut steward = steward(None, Entries::new());
    let effects = steward.step(1_000, Event::Read(wanted(P::One, T::Usual)));
    assert_eq!(kept(&effects), [(1, (P::One, T::Usual))]);
    let publish = effects.publish.as_ref().unwrap();
    assert_eq!(
        (pair(&publish.edition.texts()), publish.revision),
        ((P::One, T::Usual), 1)
    );
    assert_eq!(fates(&effects), both(Fate::Applied, Fate::Applied));
    let status = &steward.status().policy;
    assert_eq!(
        (status.source.as_str(), status.serving_since_unix_ms),
        ("policy.yaml", 1_000)
    );
    assert_eq!(status.state, DocumentState::Serving);
}

#[test]
fn nothing_comes_of_the_same_sources_once_more() {
    let mut steward = serving(P::One, T::Usual);
    let effects = steward.step(2_000, Event::Read(wanted(P::One, T::Usual)));
    assert!(effects.is_nothing());
}

#[test]
fn a_start_with_a_bad_policy_leaves_the_topology_blameless() {
    let mut steward = steward(None, Entries::new());
    let effects = steward.step(1_000, Event::Read(wanted(P::Bad, T::Usual)));
    assert!(effects.publish.is_none() && effects.keep.is_empty());
    assert_eq!(fates(&effects), both(Fate::Missing, Fate::Waiting));
    let status = steward.status();
    assert!(!status.policy.faults.is_empty() && status.policy.degraded.is_some());
    assert_eq!(status.topology.state, DocumentState::Waiting);
    assert!(status.topology.faults.is_empty() && status.topology.degraded.is_none());
    let effects = steward.step(2_000, Event::Read(wanted(P::One, T::Usual)));
    assert_eq!(fates(&effects), both(Fate::Applied, Fate::Applied));
}

#[test]
fn a_start_with_a_bad_topology_tells_what_is_wrong_with_the_policy_too() {
    let mut first = steward(None, Entries::new());
    let effects = first.step(1_000, Event::Read(wanted(P::One, T::Bad)));
    assert_eq!(fates(&effects), both(Fate::Waiting, Fate::Missing));
    let mut second = steward(None, Entries::new());
    let effects = second.step(1_000, Event::Read(wanted(P::Bad, T::Bad)));
    assert_eq!(fates(&effects), both(Fate::Missing, Fate::Missing));
    assert!(!second.status().policy.faults.is_empty());
}

#[test]
fn a_start_over_bad_sources_serves_what_was_kept() {
    let kept = texts(P::One, T::Usual);
    let mut steward = steward(Some(kept), Entries::new());
    let effects = steward.step(1_000, Event::Read(wanted(P::Bad, T::Bad)));
    assert_eq!(in_force(&steward), Some((P::One, T::Usual)));
    assert!(effects.keep.is_empty(), "it is kept already");
    assert_eq!(fates(&effects), both(Fate::LastGood, Fate::LastGood));
}

#[test]
fn what_was_kept_by_another_version_and_is_bad_is_as_good_as_none() {
    let mut steward = steward(Some(texts(P::Bad, T::Bad)), Entries::new());
    let effects = steward.step(1_000, Event::Read(wanted(P::Bad, T::Usual)));
    assert!(effects.publish.is_none());
    assert_eq!(fates(&effects), both(Fate::Missing, Fate::Waiting));
    let effects = steward.step(1_000, Event::Read(wanted(P::One, T::Usual)));
    assert!(effects.publish.is_some());
}

#[test]
fn a_bad_policy_leaves_the_last_good_one_in_force_and_its_end_is_told() {
    let mut steward = serving(P::One, T::Usual);
    let effects = steward.step(2_000, Event::Read(wanted(P::Bad, T::Usual)));
    assert!(effects.publish.is_none() && effects.keep.is_empty());
    assert_eq!(fates(&effects), [("policy", Fate::LastGood)]);
    let status = &steward.status().policy;
    assert_eq!(status.state, DocumentState::LastGood);
    assert_eq!(status.degraded.as_ref().unwrap().since_unix_ms, 2_000);
    let effects = steward.step(5_000, Event::Read(wanted(P::One, T::Usual)));
    let [Notice::Source(notice)] = &effects.say[..] else {
        panic!("{:?}", effects.say);
    };
    assert_eq!(notice.outcome.fate, Fate::Unchanged);
    assert_eq!(notice.refused_for_ms, Some(3_000));
    assert!(notice.first_fault.is_some());
    assert!(steward.status().policy.degraded.is_none());
    assert_eq!(steward.revision(), 1);
}

#[test]
fn a_source_that_cannot_be_read_is_a_fault_of_its_document() {
    let mut steward = serving(P::One, T::Usual);
    let gone = Wanted {
        topology: Err(Unusable::unreadable("no such file")),
        ..wanted(P::Two, T::Usual)
    };
    let effects = steward.step(2_000, Event::Read(gone));
    assert_eq!(fates(&effects), both(Fate::Applied, Fate::LastGood));
    assert_eq!(in_force(&steward), Some((P::Two, T::Usual)));
    assert_eq!(
        steward.status().topology.faults,
        [
            "topology.yaml:1:1: error[D012]: the file cannot be read: no such file; check the path and who may read it"
        ]
    );
}

#[test]
fn a_topology_that_breaks_the_policy_in_force_is_refused_for_that() {
    let mut steward = serving(P::One, T::Usual);
    let effects = steward.step(2_000, Event::Read(wanted(P::One, T::Moved)));
    assert_eq!(fates(&effects), [("topology", Fate::LastGood)]);
    assert!(steward.status().topology.faults[0].starts_with("policy.yaml:"));
    assert_eq!(steward.status().policy.state, DocumentState::Serving);
    let effects = steward.step(3_000, Event::Read(wanted(P::Elsewhere, T::Moved)));
    assert_eq!(fates(&effects), both(Fate::Applied, Fate::Applied));
}

#[test]
fn a_topology_that_no_policy_fits_is_refused_with_its_reason() {
    let mut steward = serving(P::One, T::Usual);
    let effects = steward.step(2_000, Event::Read(wanted(P::Bad, T::Moved)));
    assert_eq!(fates(&effects), both(Fate::LastGood, Fate::LastGood));
    let status = steward.status();
    assert!(status.topology.faults[0].starts_with("last good policy:"));
    assert_eq!(in_force(&steward), Some((P::One, T::Usual)));
}

#[test]
fn a_source_that_shrinks_the_fleet_is_held_until_it_is_confirmed() {
    let mut steward = serving(P::One, T::Usual);
    let effects = steward.step(2_000, Event::Read(wanted(P::Two, T::Shrunk)));
    assert_eq!(fates(&effects), both(Fate::Applied, Fate::Held));
    assert_eq!(in_force(&steward), Some((P::Two, T::Usual)));
    let held = steward.held().unwrap();
    assert_eq!(
        (held.source.as_str(), held.since_unix_ms),
        ("topology.yaml", 2_000)
    );
    assert!(steward.status().topology.held.is_some());
    let confirmed = Update {
        document: Document::Held(held.digest.to_string()),
        confirm_removal: true,
        ..update(T::Shrunk)
    };
    let effects = steward.step(3_000, Event::ApplyTopology(confirmed.clone()));
    assert_eq!(kept(&effects).pop(), Some((3, (P::Two, T::Shrunk))));
    assert_eq!(applied(effects).unwrap().revision, 3);
    assert_eq!(steward.status().topology.state, DocumentState::Serving);
    let effects = steward.step(4_000, Event::ApplyTopology(confirmed));
    assert_eq!(applied(effects), Err(ApplyError::NothingHeld));
}

#[test]
fn a_held_source_that_changes_its_mind_is_forgotten() {
    let mut steward = serving(P::One, T::Usual);
    assert!(
        !steward
            .step(2_000, Event::Read(wanted(P::One, T::Shrunk)))
            .is_nothing()
    );
    let effects = steward.step(3_000, Event::Read(wanted(P::One, T::Usual)));
    assert_eq!(fates(&effects), [("topology", Fate::Unchanged)]);
    assert!(steward.held().is_none() && steward.status().topology.held.is_none());
}

#[test]
fn a_topology_given_by_call_takes_effect_and_stays_until_its_source_changes() {
    let mut steward = serving(P::One, T::Usual);
    let effects = steward.step(2_000, Event::ApplyTopology(update(T::Larger)));
    let [Notice::Given(notice)] = &effects.say[..] else {
        panic!("{:?}", effects.say);
    };
    assert_eq!(notice.fate, GivenFate::Applied { revision: 2 });
    let answer = applied(effects).unwrap();
    assert_eq!(answer.in_force, answer.given);
    // The policy changes: what was given stays.
    let effects = steward.step(3_000, Event::Read(wanted(P::Two, T::Usual)));
    assert_eq!(fates(&effects), [("policy", Fate::Applied)]);
    assert_eq!(in_force(&steward), Some((P::Two, T::Larger)));
    // Its source changes.
    let changed = Wanted {
        topology: Ok(format!("{}\n", T::Usual.text()).into()),
        ..wanted(P::Two, T::Usual)
    };
    assert!(steward.step(4_000, Event::Read(changed)).publish.is_some());
    assert_eq!(steward.current().unwrap().topology().nodes().len(), 4);
}

#[test]
fn a_topology_given_by_call_that_is_in_force_changes_nothing() {
    let mut steward = serving(P::One, T::Usual);
    let effects = steward.step(2_000, Event::ApplyTopology(update(T::Usual)));
    assert!(effects.publish.is_none() && effects.say.is_empty());
    assert_eq!(applied(effects).unwrap().revision, 1);
}

#[test]
fn a_bad_topology_given_by_call_is_refused_to_whoever_gave_it() {
    let mut steward = serving(P::One, T::Usual);
    for bad in [T::Bad, T::Moved] {
        let effects = steward.step(2_000, Event::ApplyTopology(update(bad)));
        assert!(effects.publish.is_none() && effects.keep.is_empty());
        assert!(
            matches!(&effects.say[..], [Notice::Given(it)] if matches!(it.fate, GivenFate::Refused { .. }))
        );
        assert!(applied(effects).unwrap().faults.has_errors());
    }
    assert_eq!(steward.status().topology.state, DocumentState::Serving);
}

#[test]
fn a_topology_given_by_call_that_shrinks_the_fleet_is_held_or_confirmed_at_once() {
    let mut steward = serving(P::One, T::Usual);
    let effects = steward.step(2_000, Event::ApplyTopology(update(T::Shrunk)));
    let answer = applied(effects).unwrap();
    assert_eq!(
        answer.held.as_deref(),
        Some("takes away 50 % of the fleet's weight, at most 25 % are taken unconfirmed")
    );
    assert_eq!(steward.held().unwrap().source, "apply");
    // A source that changes nothing of the topology leaves it waiting.
    assert!(
        steward
            .step(3_000, Event::Read(wanted(P::Two, T::Usual)))
            .publish
            .is_some()
    );
    assert!(steward.held().is_some());
    let confirmed = Update {
        confirm_removal: true,
        ..update(T::Shrunk)
    };
    let effects = steward.step(4_000, Event::ApplyTopology(confirmed));
    assert!(applied(effects).unwrap().held.is_none());
    assert_eq!(in_force(&steward), Some((P::Two, T::Shrunk)));
    assert!(steward.held().is_none());
}

#[test]
fn a_plan_made_for_another_topology_is_too_late() {
    let mut steward = serving(P::One, T::Usual);
    let planned = Update {
        if_digest: T::Usual.digest().to_uppercase(),
        ..update(T::Shrunk)
    };
    assert!(
        steward
            .step(2_000, Event::ApplyTopology(update(T::Larger)))
            .publish
            .is_some()
    );
    let effects = steward.step(3_000, Event::ApplyTopology(planned));
    let in_force = Digest::of(T::Larger.text().as_bytes());
    assert_eq!(applied(effects), Err(ApplyError::OtherDigest { in_force }));
    let vague = Update {
        if_digest: T::Larger.digest().chars().take(15).collect(),
        ..update(T::Usual)
    };
    let effects = steward.step(3_000, Event::ApplyTopology(vague));
    assert!(applied(effects).is_err(), "too few digits to be sure");
}

#[test]
fn before_anything_is_in_force_calls_are_told_so() {
    let mut steward = steward(None, Entries::new());
    let effects = steward.step(0, Event::ApplyTopology(update(T::Usual)));
    assert_eq!(applied(effects), Err(ApplyError::NothingInForce));
    let effects = steward.step(0, apply(P::One));
    let unused = Some(Reply::Policy(Err(ApplyError::NothingInForce)));
    assert_eq!(effects.reply, unused);
    let effects = steward.step(0, change(node("a1"), AdminState::Drain, None));
    assert_eq!(changed(&effects), Err(StateError::NothingInForce));
}

#[test]
fn a_state_is_laid_over_the_fleet_and_kept_and_taken_away() {
    let mut steward = serving(P::One, T::Usual);
    let effects = steward.step(2_000, change(node("a1"), AdminState::Drain, None));
    let came_to = StateChanged {
        previous: AdminState::Ready,
        effective: AdminState::Drain,
        nodes_changed: 1,
    };
    assert_eq!(changed(&effects), Ok(came_to));
    assert!(matches!(&effects.keep[..], [Keep::States(entries)] if entries.len() == 1));
    let publish = effects.publish.unwrap();
    assert_eq!(publish.topology.nodes()[0].state, AdminState::Drain);
    assert_eq!(
        publish.edition.topology().nodes()[0].state,
        AdminState::Ready
    );
    assert_eq!(publish.revision, 1, "no text took effect");
    // A stricter state of the whole site holds for all of its nodes.
    let site = Target::Site("a".into());
    let effects = steward.step(3_000, change(site.clone(), AdminState::Maintenance, None));
    assert_eq!(changed(&effects).unwrap().nodes_changed, 2);
    let effects = steward.step(4_000, change(node("a1"), AdminState::Ready, None));
    let came_to = changed(&effects).unwrap();
    assert_eq!(
        (came_to.effective, came_to.nodes_changed),
        (AdminState::Maintenance, 0)
    );
    assert!(
        effects.publish.is_none(),
        "for decisions nothing has changed"
    );
    let effects = steward.step(5_000, change(site, AdminState::Ready, None));
    let publish = effects.publish.unwrap();
    assert!(Arc::ptr_eq(&publish.topology, publish.edition.topology()));
}

#[test]
fn a_state_of_what_the_fleet_does_not_have_is_refused_but_can_be_taken_away() {
    let mut steward = serving(P::One, T::Larger);
    let effects = steward.step(2_000, change(node("b3"), AdminState::Drain, None));
    assert!(changed(&effects).is_ok());
    // The node goes, its state stays, and holds when it is back.
    assert!(
        steward
            .step(3_000, Event::Read(wanted(P::One, T::Usual)))
            .publish
            .is_some()
    );
    assert_eq!(steward.states_set().len(), 1);
    let effects = steward.step(4_000, change(node("b4"), AdminState::Drain, None));
    assert_eq!(changed(&effects), Err(StateError::Unknown(node("b4"))));
    assert!(effects.keep.is_empty() && effects.say.is_empty());
    let effects = steward.step(5_000, change(node("b3"), AdminState::Ready, None));
    assert!(changed(&effects).is_ok() && steward.states_set().is_empty());
    let effects = steward.step(6_000, change(node("b3"), AdminState::Ready, None));
    assert_eq!(changed(&effects), Err(StateError::Unknown(node("b3"))));
}

#[test]
fn a_state_ends_by_itself() {
    let mut steward = serving(P::One, T::Usual);
    let effects = steward.step(2_000, change(node("a1"), AdminState::Drain, Some(500)));
    assert!(changed(&effects).is_ok());
    assert!(steward.step(2_499, Event::Tick).is_nothing());
    let effects = steward.step(2_600, Event::Tick);
    assert!(matches!(&effects.keep[..], [Keep::States(entries)] if entries.is_empty()));
    assert!(matches!(
        &effects.say[..],
        [Notice::StateEnded { lasted_ms: 600, .. }]
    ));
    assert_eq!(
        effects.publish.unwrap().topology.nodes()[0].state,
        AdminState::Ready
    );
    assert!(steward.step(2_700, Event::Tick).is_nothing());
}

#[test]
fn states_that_were_kept_hold_from_the_first_publication_on() {
    let mut first = serving(P::One, T::Usual);
    let effects = first.step(2_000, change(node("a1"), AdminState::Drain, None));
    assert!(changed(&effects).is_ok());
    let kept = (**first.states_set()).clone();
    let mut second = steward(None, kept);
    let effects = second.step(3_000, Event::Read(wanted(P::One, T::Usual)));
    let publish = effects.publish.unwrap();
    assert_eq!(publish.topology.nodes()[0].state, AdminState::Drain);
}

#[test]
fn other_geo_tables_are_published_with_what_is_in_force() {
    let good = Geo {
        state: GeoState::Good,
        ..no_geo()
    };
    let mut early = steward(None, Entries::new());
    assert!(early.step(0, Event::Geo(good.clone())).is_nothing());
    let effects = early.step(0, Event::Read(wanted(P::One, T::Usual)));
    assert_eq!(effects.publish.unwrap().geo.state, GeoState::Good);
    let mut late = serving(P::One, T::Usual);
    let publish = late.step(0, Event::Geo(good)).publish.unwrap();
    assert_eq!((publish.geo.state, publish.revision), (GeoState::Good, 1));
}

#[test]
fn a_policy_needs_no_place_for_strangers_where_the_process_knows_its_own() {
    let warned = |knows_its_place| {
        let mut steward = Steward {
            knows_its_place,
            ..steward(None, Entries::new())
        };
        let effects = steward.step(0, Event::Read(wanted(P::One, T::Usual)));
        assert!(effects.publish.is_some());
        let warnings = &steward.status().policy.warnings;
        warnings.iter().any(|line| line.contains(Code::P024.name()))
    };
    assert!(warned(false) && !warned(true));
}

#[test]
fn a_rule_past_its_day_is_warned_of_on_that_day() {
    let text = P::One
        .text()
        .replace("rollback: none", "rollback: none, expires: 1970-01-02");
    let said = |now_unix_ms| {
        let mut steward = steward(None, Entries::new());
        let late = Wanted {
            policy: Ok(text.as_str().into()),
            ..wanted(P::One, T::Usual)
        };
        assert!(
            steward
                .step(now_unix_ms, Event::Read(late))
                .publish
                .is_some()
        );
        steward.status().policy.warnings.join("\n")
    };
    let day_ms = 86_400_000;
    assert!(!said(2 * day_ms - 1).contains("C001"));
    assert!(said(2 * day_ms).contains("the rule `one` expired on 1970-01-02"));
}
