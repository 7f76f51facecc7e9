//! What is known, carried over to the next edition of fleet and policy.

use super::Next;
use super::deadband::Deadband;
use super::facts::{Facts, NodeFacts};
use super::node::NodeNotes;
use super::positions::Mapping;
use super::site::SiteNotes;
use crate::model::SiteIndex;
use crate::number::narrow;
use crate::score::Terms;
use crate::signal::agreed::{AgreedCounts, AgreedTimes};
use crate::signal::{NodeSignals, Signals, Standing};
use crate::time::Moment;

/// Carries over what is noted of nodes and sites. Nodes that join begin with little weight from `joins_at` on, if that is
/// given.
pub(super) fn notes(
    (nodes, sites): (&mut Vec<NodeNotes>, &mut Vec<SiteNotes>),
    mapping: &Mapping,
    joins_at: Option<Moment>,
) {
    *nodes = mapping.by_node(std::mem::take(nodes), |_| NodeNotes::joined(joins_at));
    *sites = mapping.by_site(std::mem::take(sites), |_| SiteNotes::default());
    for node in nodes {
        node.hits = mapping.by_class(std::mem::take(&mut node.hits), |_| AgreedCounts::default());
    }
    for site in sites {
        site.hits = mapping.by_class(std::mem::take(&mut site.hits), |_| AgreedCounts::default());
        site.fetch = mapping.by_class(std::mem::take(&mut site.fetch), |_| AgreedTimes::default());
        site.taken = mapping.by_class(std::mem::take(&mut site.taken), |_| Terms::default());
        site.bands = mapping.by_class(std::mem::take(&mut site.bands), |_| Deadband::default());
    }
}

/// Carries over what decisions see, and what that was made of. What is new stands at its prior.
pub(super) fn seen(
    (signals, facts): (&mut Signals, &mut Facts),
    mapping: &Mapping,
    (nodes, now, next): (&[NodeNotes], Moment, Next<'_>),
) {
    let slow_start_ms = next.policy.operation().slow_start_ms;
    signals.nodes = mapping.by_node(std::mem::take(&mut signals.nodes), |at| NodeSignals {
        weight_factor: nodes
            .get(at)
            .map_or(1.0, |notes| narrow(notes.ramp(now, slow_start_ms))),
        ..NodeSignals::default()
    });
    facts.nodes = mapping.by_node(std::mem::take(&mut facts.nodes), |_| NodeFacts::default());
    signals.readmission = mapping.by_set(std::mem::take(&mut signals.readmission));
    signals.hot = signals
        .hot
        .renamed(|(set, site)| mapping.set(set).zip(mapping.site(site)));
    if !facts.standing.is_empty() {
        let model = next.routing().score();
        let prior = |site| Standing {
            terms: model.standing_terms(SiteIndex(site), &model.prior()),
            ..Standing::default()
        };
        let kept = std::mem::take(&mut facts.standing);
        facts.standing = mapping.by_class_and_site(kept, |_, site| {
            prior(u16::try_from(site).unwrap_or(u16::MAX))
        });
    }
}
