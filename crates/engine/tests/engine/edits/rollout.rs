//! A candidate is rolled out under load: no step of it forgets anything, whether it comes into force or is taken back.

use std::sync::Arc;

use tradewind_engine::control::cohorts::Fared;
use tradewind_engine::edition::Names;
use tradewind_engine::geo::ranges::Ranges;
use tradewind_engine::lifecycle::{
    Entries, Event, Geo, RolloutOrder, RolloutRequest, Start, Steward, Wanted,
};
use tradewind_engine::rollout::{Order, Seen, Stage};
use tradewind_engine::snapshot::{BUCKETS, Candidate, GeoState, LaneIndex};

use super::scene::{
    Edit, Loop, RULES, believed_in_flight, fleet_text, known, policy_text, troubled,
};

/// What follows one another, in buckets.
const STAGES: [u16; 4] = [100, 2_500, 5_000, BUCKETS];

/// What decides of a candidate, and the control loop that lives with it.
struct Rollout {
    steward: Steward,
    state: Loop,
}

impl Rollout {
    /// A fleet with its troubles, and a candidate at its first stage.
    fn start(edit: Edit) -> Self {
        let steward = Steward::new(Start {
            names: Names::new("policy", "topology"),
            kept: Vec::new(),
            last_number: 0,
            rollout: None,
            states: Entries::new(),
            geo: Geo {
                ranges: Arc::new(Ranges::default()),
                state: GeoState::NotConfigured,
            },
            knows_its_place: true,
        });
        let state = troubled();
        let mut rollout = Self { steward, state };
        rollout.step(Event::Read(Wanted {
            policy: Ok(policy_text(Edit::None).into()),
            topology: Ok(fleet_text().into()),
        }));
        let with_share = |buckets| Stage {
            buckets,
            hold_ms: 0,
        };
        rollout.step(Event::StartRollout(Box::new(RolloutRequest {
            document: policy_text(edit).into(),
            unusable: None,
            if_revision: None,
            cohort: None,
            stages: STAGES.map(with_share).into(),
            is_shadow: false,
            jitter: 0.0,
            who: "ada".to_owned(),
            why: "tests".to_owned(),
        })));
        rollout
    }

    /// Something happens that changes what is served, and nothing that is known.
    fn step(&mut self, event: Event) {
        let before = known(&self.state);
        let has_troubles = |rule| !before[rule].hot_keys.is_empty() && !before[rule].out.is_empty();
        assert!(["html", "api"].into_iter().all(has_troubles), "{before:?}");
        self.serve(event);
        assert_eq!(known(&self.state), before);
    }

    fn serve(&mut self, event: Event) {
        let effects = self.steward.step(self.state.now.0, event);
        let publish = effects.publish.unwrap();
        let candidate = publish.candidate.map(|it| Candidate {
            routing: Arc::clone(it.policy.routing()),
            split: it.split,
        });
        let policy = Arc::clone(publish.edition.policy());
        self.state.edit(policy, candidate);
    }

    /// How many buckets the candidate decides; `None` where there is none.
    fn buckets(&self) -> Option<u16> {
        let candidate = self.state.snapshot.parts().candidate.as_ref();
        candidate.map(|it| it.split.buckets)
    }

    /// Goes through all stages, with load at each.
    fn go_through_stages(&mut self) {
        for buckets in STAGES {
            if buckets != STAGES[0] {
                self.step(order(Order::Promote));
            }
            assert_eq!(self.buckets(), Some(buckets));
            self.state.run(50);
        }
    }

    fn all_in_flight_are_believed(&mut self) {
        let believed = believed_in_flight(&mut self.state);
        assert_eq!(believed.iter().sum::<u64>(), 200, "{believed:?}");
    }
}

fn order(order: Order) -> Event {
    Event::OrderRollout(RolloutOrder {
        order,
        who: "ada".to_owned(),
        why: "tests".to_owned(),
    })
}

/// The guards see that all the candidate decided failed.
fn breach() -> Event {
    let good = Fared {
        answered: 1_000,
        ..Fared::default()
    };
    let bad = Fared {
        failed: 1_000,
        ..Fared::default()
    };
    Event::Seen(Seen {
        fared: vec![[good, bad]],
        broken: None,
    })
}

#[test]
fn no_step_of_a_rollout_forgets_anything() {
    for edit in [Edit::Key, Edit::Bias, Edit::Require] {
        let mut rollout = Rollout::start(edit);
        rollout.go_through_stages();
        rollout.step(order(Order::Reverse(2)));
        assert_eq!(rollout.buckets(), Some(STAGES[1]));
        rollout.state.run(50);
        // A guard that fails takes it back, as an operator does.
        rollout.step(breach());
        assert_eq!(rollout.buckets(), None);
        rollout.all_in_flight_are_believed();
    }
}

#[test]
fn a_candidate_that_comes_into_force_forgets_only_what_nobody_asks_for_any_more() {
    for edit in [Edit::Key, Edit::New, Edit::Require] {
        let mut rollout = Rollout::start(edit);
        rollout.go_through_stages();
        if matches!(edit, Edit::Require) {
            // The rule has another set of nodes now; of the others nothing is forgotten.
            let mut before = known(&rollout.state);
            rollout.serve(order(Order::Promote));
            let mut after = known(&rollout.state);
            let [was, is] = [&mut before, &mut after].map(|it| it.remove(RULES[0]).unwrap());
            assert_ne!(is.number, was.number);
            assert_eq!(is.terms, was.terms);
            assert_eq!(after, before);
        } else {
            rollout.step(order(Order::Promote));
        }
        assert_eq!(rollout.buckets(), None);
        let text = policy_text(edit);
        let own = rollout.state.snapshot.policy().digest();
        assert_eq!(own, tradewind_engine::model::Digest::of(text.as_bytes()));
        rollout.all_in_flight_are_believed();
    }
}

#[test]
fn what_is_learned_while_a_candidate_is_tried_is_kept_by_what_sets_mean() {
    let mut rollout = Rollout::start(Edit::Require);
    rollout.go_through_stages();
    let snapshot = &rollout.state.snapshot;
    let lane = snapshot.lane(LaneIndex::Second);
    let rule = lane
        .routing()
        .rules()
        .iter()
        .find(|it| &*it.name == RULES[0]);
    let number = lane.table(rule.unwrap().plan.tiers[0].set).number();
    let hot = |rollout: &Rollout| {
        let keys = rollout.state.snapshot.signals().hot.keys().iter();
        let of_set = keys.filter(|key| key.set == number);
        of_set.map(|key| (key.key, key.copies)).collect::<Vec<_>>()
    };
    let learned = hot(&rollout);
    assert!(!learned.is_empty());
    rollout.serve(order(Order::Promote));
    assert_eq!(hot(&rollout), learned);
    assert_eq!(known(&rollout.state)[RULES[0]].number, Some(number));
}
