//! How far is too far: the bound on the detour, for stand-ins and for the first choice.
//!
//! The bound counts from the best site that can be named, and while near sites are out, from what the best of those would
//! cost. Without the second, a client whose nearest sites are all out would be sent to the other side of the earth with
//! a well node of a later tier next door. So a tier whose best site is beyond the bound gives way to a later one with a
//! site within it; where there is none, a far site is better than none.

use super::scorer::Scorer;
use super::stage::Step;
use super::{Request, Rung, Stage};
use crate::snapshot::RosterKind;

/// What the bound says of a tier.
pub(super) enum Bound<'s> {
    /// It is used, as far as sites cost no more than this, in ms.
    At(f32),
    /// All of it is beyond; this one is not.
    Nearer(Stage<'s>),
}

/// The bound for a tier whose best site costs the client `best_ms`.
#[inline]
pub(super) fn bound<'s>(request: &Request<'s, '_>, stage: &Stage<'s>, best_ms: f32) -> Bound<'s> {
    let Some(detour_ms) = request.plan.max_detour_ms else {
        return Bound::At(f32::INFINITY);
    };
    let is_usual = stage.tier == request.begin && !stage.roster.has_silent_site();
    if is_usual || stage.rung > Rung::NextTier {
        return Bound::At(best_ms + detour_ms);
    }
    with_sites_out(request, stage, (best_ms, detour_ms))
}

/// The same where sites of the first tier have no node to name. A later tier is never the origin: that is the last resort.
#[cold]
#[inline(never)]
fn with_sites_out<'s>(
    request: &Request<'s, '_>,
    stage: &Stage<'s>,
    (best_ms, detour_ms): (f32, f32),
) -> Bound<'s> {
    let max_ms = undisturbed_ms(request).min(best_ms) + detour_ms;
    if best_ms <= max_ms {
        return Bound::At(max_ms);
    }
    let is_nearer = |step: &Step<'_>| {
        let is_open = !step.is_origin && step.table.is_sufficient();
        let best = || Scorer::new(request, step.table, step.table.ready()).best(1);
        is_open && best().first().is_some_and(|site| site.total_ms <= max_ms)
    };
    let mut later = Step::of(request.lane, request.plan, stage.tier + 1);
    match later.find(is_nearer) {
        Some(step) => Bound::Nearer(step.stage(RosterKind::Ready, Rung::NextTier)),
        None => Bound::At(best_ms + detour_ms),
    }
}

/// What the best site of the first tier would cost the client, were those back that have no node to name: these at what is
/// assumed of them, for what is known of them is how they failed.
fn undisturbed_ms(request: &Request<'_, '_>) -> f32 {
    let Some(tier) = request.plan.tiers.get(request.begin) else {
        return f32::INFINITY;
    };
    let table = request.lane.table(tier.set);
    let known = Scorer::new(request, table, table.ready());
    let assumed = Scorer {
        standing: table.assumed(),
        ..Scorer::new(request, table, table.undisturbed())
    };
    let positions = (0_u16..).take(table.sites().len());
    positions
        .filter_map(|at| known.score(at).or_else(|| assumed.score(at)))
        .map(|(site, _)| site.total_ms)
        .fold(f32::INFINITY, f32::min)
}
