//! Sites that are not best but may be: a slice of keys goes there first, so that somebody finds out.
//!
//! The control loop says which sites are worth it ([`Trials`](crate::signal::trial::Trials)); here it is decided
//! for which requests. One hash of the key alone decides for all trials, so that all of them together take no more than
//! the widest slice, however many there are, and the same keys in every sidecar. The usual list follows behind.

use super::order::Order;
use super::scorer::ScoredSite;
use super::widen::Source;
use super::{Pick, Request, Role, Rung, Stage, lead};
use crate::hash::KeyHash;
use crate::policy::Affinity;

/// What is hashed behind a key to tell whether it is of the slice: unrelated to the race, and to the slices that nodes
/// are tried with.
const SLICE_NAME: &[u8] = b"trial";

/// The node to ask before all others because its site is tried with the key, if one is.
///
/// `inside` are the sites that share the key, best first.
#[cold]
#[inline(never)]
pub(super) fn first(
    request: &Request<'_, '_>,
    (stage, source): (&Stage<'_>, &Source<'_>),
    inside: &[ScoredSite],
) -> Option<Pick> {
    let signals = request.snapshot.signals();
    // What is tried again after a failure, or while verdicts are not believed, is no place for experiments.
    let is_usual = stage.rung == Rung::Normal && !signals.isolated && request.tried.is_empty();
    let place = place(source.key);
    let is_of_slice = place < signals.trials.widest();
    if !is_usual || !is_of_slice || is_hot(request, stage, source.key, inside) {
        return None;
    }
    let best = inside.first()?;
    let detour_ms = request.plan.max_detour_ms.unwrap_or(f32::INFINITY);
    let farthest_ms = source.scorer.way_ms(best.position)? + detour_ms;
    let rows = stage.table.sites();
    let tried = signals.trials.of(request.located.group());
    let tried = tried.filter(|trial| place < trial.slice);
    let candidates = tried.filter_map(|trial| {
        let at = rows
            .binary_search_by_key(&trial.site, |row| row.site)
            .ok()?;
        let position = u16::try_from(at).ok()?;
        let (site, _) = source.scorer.score(position)?;
        let hoped_ms = site.total_ms - trial.gain_ms;
        let is_used = inside.iter().any(|used| used.position == position);
        let is_near = source.scorer.way_ms(position)? <= farthest_ms;
        (!is_used && is_near && hoped_ms < best.total_ms).then_some((hoped_ms, site))
    });
    let (_, site) = candidates.min_by(|(a, x), (b, y)| {
        let by_hope = a.total_cmp(b);
        by_hope.then(x.position.cmp(&y.position))
    })?;
    let mut top = request.room_for(1);
    let segment = stage.roster.segment(site.position);
    let order = Order::new(
        request,
        stage.roster,
        segment.into_iter(),
        source.key,
        &mut top,
    );
    let node = order.ranked().next()?;
    Some(Pick {
        node,
        expected_ms: request.expected_ms(site.total_ms),
        role: Role::Trial,
    })
}

/// Where a key stands among all, uniform over 0..65,536.
fn place(key: KeyHash) -> u16 {
    let [low, high, ..] = key.then(SLICE_NAME).0.to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// Whether several nodes carry the key: a slice of keys must be a slice of requests.
fn is_hot(
    request: &Request<'_, '_>,
    stage: &Stage<'_>,
    key: KeyHash,
    inside: &[ScoredSite],
) -> bool {
    stage.plan_tier.affinity != Affinity::None
        && lead::width(request, stage, (key, inside.first())) > 1
}
