//! Which node goes before the key's order, and why: most often none.
//!
//! Four cases, each decided by hashes and the snapshot alone, so that every sidecar and every replay agree:
//!
//! - a node that is recovering gets a fixed slice of its own keys;
//! - a pool without affinity takes the one with less to do of the first two (power of two choices with the hot-cold rule
//!   of Prequal, Wydrowski et al. 2024);
//! - a hot key is carried by several nodes, each in proportion to its headroom;
//! - a node with too much load gives a slice of its keys to the next in their order.

use super::order::{Lead, Order};
use super::scorer::{ScoredSite, Scorer};
use super::{Reason, Request, Stage};
use crate::balance::spill;
use crate::hash::{KeyHash, NodeSeed};
use crate::model::NodeIndex;
use crate::policy::{Affinity, Priority};
use crate::rank::{self, Segment, Top};
use crate::signal::hot::MAX_COPIES;
use crate::signal::{Admission, Signals};
use crate::snapshot::{RankTable, Roster};

/// Of what an open breaker holds back, the share that is used again when too little else is well: a quarter.
const READMITTED_SLICE: u16 = 16_384;

/// How many nodes of the order a lead may be chosen among; 1 when the order stands.
#[inline]
pub(super) fn width(
    request: &Request<'_, '_>,
    stage: &Stage<'_>,
    (key, best): (KeyHash, Option<&ScoredSite>),
) -> usize {
    match (stage.plan_tier.affinity, best) {
        (Affinity::None, _) => 2,
        (_, Some(best)) => {
            let hot = &request.snapshot.signals().hot;
            let copies = hot.copies(key, stage.table.number(), best.site);
            usize::from(copies.unwrap_or(1).min(MAX_COPIES))
        }
        (_, None) => 1,
    }
}

/// The node to put before an order of at least `width` nodes.
#[inline]
pub(super) fn lead(
    request: &Request<'_, '_>,
    stage: &Stage<'_>,
    (key, width): (KeyHash, usize),
    order: &Order<'_>,
) -> Lead {
    let signals = request.snapshot.signals();
    if stage.plan_tier.affinity == Affinity::None {
        return less_loaded(signals, order);
    }
    if width > 1 {
        return hot_copy(request, (key, width), order);
    }
    let Some(owner) = order.ranked().next() else {
        return Lead::OWNER;
    };
    let spill = signals.node(owner).spill;
    // Critical requests keep their node: what it has too much of others give way.
    if spill > 0 && request.plan.priority != Priority::Critical {
        let seed = |node| request.snapshot.topology().node(node).seed;
        let is_given = slice_of(key, seed(owner)) >> 8 < u16::from(spill);
        let has_room = |next: &NodeIndex| {
            // Which half of the slice: what the next would give away itself is told by the upper one.
            let [low, _] = slice_of(key, seed(*next)).to_le_bytes();
            spill::is_taken(signals.node(*next).full, low)
        };
        let next = order.ranked().nth(1);
        if let Some(next) = next.filter(has_room).filter(|_| is_given) {
            return Lead::new(next, Reason::Spilled);
        }
    }
    Lead::OWNER
}

/// Of the first two the one with less to do: when both have many requests in flight the one with fewer, else the one
/// that has not, else the faster.
fn less_loaded(signals: &Signals, order: &Order<'_>) -> Lead {
    let mut first_two = order.ranked();
    let (Some(first), Some(second)) = (first_two.next(), first_two.next()) else {
        return Lead::OWNER;
    };
    let (a, b) = (signals.node(first), signals.node(second));
    let second_is_better = match (a.is_hot, b.is_hot) {
        (true, true) => b.in_flight < a.in_flight,
        (true, false) => true,
        (false, true) => false,
        (false, false) => b.latency_ms < a.latency_ms,
    };
    if second_is_better {
        Lead::new(second, Reason::LessLoaded)
    } else {
        Lead::OWNER
    }
}

/// One of the copies of a hot key, in proportion to headroom, by a hash of the request.
#[inline(never)]
fn hot_copy(request: &Request<'_, '_>, (key, width): (KeyHash, usize), order: &Order<'_>) -> Lead {
    let signals = request.snapshot.signals();
    let headroom = |node: NodeIndex| signals.node(node).headroom;
    let copies = || order.ranked().take(width);
    let all: f32 = copies().map(headroom).sum();
    let Some(owner) = copies().next() else {
        return Lead::OWNER;
    };
    let mut left = unit(request.keys.of_request(&request.located).0 ^ key.0.rotate_left(32)) * all;
    for node in copies() {
        left -= headroom(node);
        if left < 0.0 {
            let reason = Reason::HotCopy;
            return if node == owner {
                Lead { node: None, reason }
            } else {
                Lead::new(node, reason)
            };
        }
    }
    Lead::OWNER
}

/// The recovering node that would own the key were it well, if the key is of the slice it is tried with.
///
/// Looked for at the sites of the scope, and at better sites none of whose nodes may be named: else nobody would notice
/// that they are back.
#[inline(never)]
pub(super) fn probe(
    request: &Request<'_, '_>,
    stage: &Stage<'_>,
    key: KeyHash,
    (scorer, scope): (&Scorer<'_>, &[ScoredSite]),
    order: &Order<'_>,
) -> Option<(Lead, ScoredSite)> {
    let best_ms = scope.first().map_or(f32::INFINITY, |site| site.total_ms);
    let positions = (0_u16..).take(stage.table.sites().len());
    let found = positions.filter_map(|position| {
        let segment = stage.roster.probing(position)?;
        let known = scope.iter().find(|site| site.position == position).copied();
        let silent = || {
            let (site, _) = scorer.score_any(position)?;
            let is_silent = stage.roster.segment(position).is_none();
            Some(site).filter(|site| is_silent && site.total_ms < best_ms)
        };
        let first = first_of(request, stage.roster, key, segment)?;
        match known {
            Some(site) => Some((first, site)).filter(|_| order.is_beaten_by(first)),
            None => Some((first, silent()?)),
        }
    });
    let id = |node| &request.snapshot.topology().node(node).id;
    found
        .filter(|((node, _), _)| is_tried(request, *node, key))
        .min_by(|((a, ran_a), x), ((b, ran_b), y)| {
            let by_site = x.total_ms.total_cmp(&y.total_ms);
            let by_race = by_site.then(ran_a.total_cmp(ran_b));
            by_race.then_with(|| id(*a).cmp(id(*b)))
        })
        .map(|((node, _), site)| (Lead::new(node, Reason::Probe), site))
}

/// The same in a tier that too little is left of: the recovering node at the best site of it that has one.
#[inline(never)]
pub(super) fn probe_tier(
    request: &Request<'_, '_>,
    (table, scorer): (&RankTable, &Scorer<'_>),
    key: KeyHash,
) -> Option<(NodeIndex, ScoredSite)> {
    let roster = table.ready();
    let positions = (0_u16..).take(table.sites().len());
    let (segment, site) = positions
        .filter_map(|position| Some((roster.probing(position)?, scorer.score_any(position)?.0)))
        .min_by(|(_, a), (_, b)| {
            a.total_ms
                .total_cmp(&b.total_ms)
                .then(a.position.cmp(&b.position))
        })?;
    let (node, _) = first_of(request, roster, key, segment)?;
    is_tried(request, node, key).then_some((node, site))
}

/// Whether a key is of the slice that a recovering node is tried with.
fn is_tried(request: &Request<'_, '_>, node: NodeIndex, key: KeyHash) -> bool {
    let admitted = match request.snapshot.signals().node(node).admission {
        Admission::Probing { slice } => slice,
        _ => READMITTED_SLICE,
    };
    slice_of(key, request.snapshot.topology().node(node).seed) < admitted
}

/// The first of a segment for a key that was not tried, and its race.
fn first_of(
    request: &Request<'_, '_>,
    roster: &Roster,
    key: KeyHash,
    segment: Segment,
) -> Option<(NodeIndex, f32)> {
    let mut top = Top::new(1 + request.tried.len());
    rank::rank(roster.columns(), segment, key, &mut top);
    let mut nodes = top
        .iter()
        .filter_map(|entry| Some((roster.node_at(entry.position)?, entry.race)));
    nodes.find(|(node, _)| !request.tried.contains(node))
}

/// Where a key stands among the keys of a node, uniform over 0..65,536: the same in every sidecar, and unrelated to the
/// race.
#[expect(clippy::cast_possible_truncation, reason = "sixteen bits are wanted")]
fn slice_of(key: KeyHash, seed: NodeSeed) -> u16 {
    key.then(&seed.0.to_le_bytes()).0 as u16
}

/// A hash as a number in 0..1.
#[expect(clippy::cast_precision_loss, reason = "24 bits are exact in a single")]
fn unit(hash: u64) -> f32 {
    let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as f32 / 16_777_216.0
}
