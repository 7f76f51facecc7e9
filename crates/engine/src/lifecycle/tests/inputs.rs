//! Small documents of every kind that matters to the steward, and which of them fit each other.

use std::sync::Arc;

use crate::edition::{Names, Texts};
use crate::geo::ranges::Ranges;
use crate::lifecycle::{
    Document, Entries, Event, Geo, Origin, Over, PolicyDocument, PolicyUpdate, Revision, Start,
    Steward, Update, Wanted,
};
use crate::model::Digest;
use crate::snapshot::GeoState;

/// A policy's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum P {
    /// Names site `b`.
    One,
    /// Names site `b` too.
    Two,
    /// Names site `c`.
    Elsewhere,
    /// Is good with nothing.
    Bad,
}

/// A topology's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::lifecycle) enum T {
    /// Sites `a` and `b`, two nodes each.
    Usual,
    /// One node more.
    Larger,
    /// Half of the nodes: it waits to be confirmed where the usual one is in force.
    Shrunk,
    /// The same nodes, site `b` is called `c`.
    Moved,
    /// Is good with nothing.
    Bad,
}

pub(super) const POLICIES: [P; 4] = [P::One, P::Two, P::Elsewhere, P::Bad];
pub(super) const TOPOLOGIES: [T; 5] = [T::Usual, T::Larger, T::Shrunk, T::Moved, T::Bad];

/// Whether there is an edition of the two: the oracle, written without the compiler.
pub(super) fn fit(policy: P, topology: T) -> bool {
    match topology {
        T::Usual | T::Larger | T::Shrunk => matches!(policy, P::One | P::Two),
        T::Moved => policy == P::Elsewhere,
        T::Bad => false,
    }
}

/// Of how many nodes a topology tells.
fn nodes(topology: T) -> &'static [(&'static str, &'static str)] {
    match topology {
        T::Usual => &[("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b")],
        T::Larger => &[
            ("a1", "a"),
            ("a2", "a"),
            ("b1", "b"),
            ("b2", "b"),
            ("b3", "b"),
        ],
        T::Shrunk => &[("a1", "a"), ("b1", "b")],
        T::Moved => &[("a1", "a"), ("a2", "a"), ("b1", "c"), ("b2", "c")],
        T::Bad => &[],
    }
}

impl P {
    pub(super) fn text(self) -> Arc<str> {
        let (rule, site) = match self {
            Self::One => ("one", "b"),
            Self::Two => ("two", "b"),
            Self::Elsewhere => ("elsewhere", "c"),
            Self::Bad => return "rules: [".into(),
        };
        let text = format!(
            "apiVersion: tradewind/v1\nkind: Policy\nspec:\n  pools: [{{name: all, select: {{sites: [{site}]}}}}]\n  \
             rules: [{{name: {rule}, owner: tests, rollback: none, pools: [all]}}]\n"
        );
        text.into()
    }

    /// Which one a text is, by what it alone has.
    pub(super) fn of(text: &str) -> Self {
        let has = |mark| text.contains(mark);
        match () {
            () if has("name: one,") => Self::One,
            () if has("name: two,") => Self::Two,
            () if has("name: elsewhere,") => Self::Elsewhere,
            () => Self::Bad,
        }
    }
}

impl T {
    pub(in crate::lifecycle) fn text(self) -> Arc<str> {
        if self == Self::Bad {
            return "nodes: none".into();
        }
        let second = if self == Self::Moved { "c" } else { "b" };
        let rows = nodes(self).iter().map(|(id, site)| {
            format!("    - {{id: {id}, site: {site}, address: \"{id}.example.net:80\"}}\n")
        });
        let text = format!(
            "apiVersion: tradewind/v1\nkind: Topology\nspec:\n  sites: [{{id: a, lat: 1, lon: 1}}, {{id: {second}, \
             lat: 2, lon: 2}}]\n  nodes:\n{}",
            rows.collect::<String>()
        );
        text.into()
    }

    /// Which one a text is, by what it alone has.
    pub(super) fn of(text: &str) -> Self {
        let has = |mark| text.contains(mark);
        match () {
            () if has("nodes: none") => Self::Bad,
            () if has("id: c,") => Self::Moved,
            () if has("id: b3,") => Self::Larger,
            () if has("id: b2,") => Self::Usual,
            () => Self::Shrunk,
        }
    }

    pub(super) fn digest(self) -> String {
        Digest::of(self.text().as_bytes()).to_string()
    }
}

/// Which pair texts are.
pub(super) fn pair(texts: &Texts) -> (P, T) {
    (P::of(&texts.policy), T::of(&texts.topology))
}

pub(super) fn texts(policy: P, topology: T) -> Texts {
    Texts {
        policy: policy.text(),
        topology: topology.text(),
    }
}

/// Sources that say this.
pub(super) fn wanted(policy: P, topology: T) -> Wanted {
    Wanted {
        policy: Ok(policy.text()),
        topology: Ok(topology.text()),
    }
}

/// This topology, given by a call.
pub(super) fn update(topology: T) -> Update {
    Update {
        document: Document::Text(topology.text().to_string()),
        if_digest: String::new(),
        confirm_removal: false,
        who: "ada".to_owned(),
        why: "tests".to_owned(),
    }
}

/// This policy, given by a call.
pub(super) fn policy_update(policy: P) -> PolicyUpdate {
    PolicyUpdate {
        document: PolicyDocument::Text(policy.text()),
        if_revision: None,
        may_end_rollout: true,
        who: "ada".to_owned(),
        why: "tests".to_owned(),
    }
}

/// The same, as what happens.
pub(super) fn apply(policy: P) -> Event {
    Event::ApplyPolicy(policy_update(policy))
}

/// The policy of an earlier revision, asked for by a call; `None`: of the newest with another one.
pub(super) fn rollback(to: Option<u64>) -> Event {
    Event::ApplyPolicy(PolicyUpdate {
        document: PolicyDocument::Earlier(to),
        ..policy_update(P::One)
    })
}

/// These texts, as the first revision.
pub(super) fn first(texts: Texts) -> Revision {
    Revision {
        number: 1,
        parent: None,
        texts,
        origin: Origin::Sources,
        who: String::new(),
        why: String::new(),
        at_unix_ms: 0,
        over: Over::default(),
    }
}

/// A steward that starts over the texts that an earlier run kept.
pub(super) fn steward(kept: Option<Texts>, states: Entries) -> Steward {
    steward_over(kept.map(first).into_iter().collect(), states)
}

/// A steward that starts over the revisions that an earlier run kept.
pub(super) fn steward_over(kept: Vec<Revision>, states: Entries) -> Steward {
    Steward::new(Start {
        names: Names::new("policy.yaml", "topology.yaml"),
        kept,
        last_number: 0,
        rollout: None,
        states,
        geo: no_geo(),
        knows_its_place: true,
    })
}

pub(super) fn no_geo() -> Geo {
    Geo {
        ranges: Arc::new(Ranges::default()),
        state: GeoState::NotConfigured,
    }
}

#[test]
fn texts_are_told_apart() {
    for policy in POLICIES {
        assert_eq!(P::of(&policy.text()), policy);
    }
    for topology in TOPOLOGIES {
        assert_eq!(T::of(&topology.text()), topology);
    }
}
