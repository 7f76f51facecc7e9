//! The best sites of a tier for a request, and how many of them share its key.

use arrayvec::ArrayVec;

use super::scorer::{MAX_SCORED_SITES, ScoredSite, Scorer};
use super::share::Shared;
use super::{Request, parent};
use crate::balance::spill;
use crate::hash;
use crate::policy::Priority;

/// How many of the sites, best first, share the key.
pub(super) fn scope_of(request: &Request<'_, '_>, sites: &[ScoredSite]) -> usize {
    let Some(best) = sites.first() else {
        return 0;
    };
    let best_ms = best.total_ms;
    let spread_ms = request.plan.spread_ms;
    match (request.client, &request.located.spot) {
        (None, _) => {
            let near = |site: &&ScoredSite| site.total_ms <= best_ms + spread_ms;
            sites.iter().take_while(near).count()
        }
        // Its race, not its score, puts the first of sites that share a client before the others: these are near it where
        // they score about the same.
        (Some(_), Some(_)) if spread_ms > 0.0 => {
            let near = |site: &&ScoredSite| (site.total_ms - best_ms).abs() <= spread_ms;
            sites.iter().take_while(near).count()
        }
        _ => 1,
    }
}

/// The best sites of the chosen tier.
pub(super) struct Reach {
    /// Best first; but one that gives the client away stands behind those that it is given to.
    pub(super) sites: ArrayVec<ScoredSite, MAX_SCORED_SITES>,
    /// How many of them, from the first on, share the key.
    pub(super) scope: usize,
    /// Whether the best site gives the client away.
    pub(super) site_spilled: bool,
}

impl Reach {
    /// `shared` is how the client is shared out among sites, if it is.
    pub(super) fn new(
        request: &Request<'_, '_>,
        scorer: &Scorer<'_>,
        shared: Option<&Shared>,
    ) -> Self {
        if let Some(child) = request.child {
            let (sites, scope) = parent::sites(request, child, scorer);
            return Self {
                sites,
                scope,
                site_spilled: false,
            };
        }
        let mut count = if request.plan.spread_ms > 0.0 {
            MAX_SCORED_SITES
        } else {
            1 + request.wanted.div_ceil(2) + request.tried.len()
        };
        loop {
            let reach = Self::of(request, scorer.best_among(shared, count));
            let sharing = reach.scope + usize::from(reach.site_spilled);
            if count >= MAX_SCORED_SITES || sharing < count {
                return reach;
            }
            // Many sites alike. Which of them share a key must not depend on how long a list is asked for.
            count = MAX_SCORED_SITES;
        }
    }

    fn of(request: &Request<'_, '_>, mut sites: ArrayVec<ScoredSite, MAX_SCORED_SITES>) -> Self {
        // Critical requests keep their site too.
        let may_spill = request.plan.priority != Priority::Critical;
        let site_spilled = may_spill && is_given_away(request, &sites);
        let usable = sites.get(usize::from(site_spilled)..).unwrap_or_default();
        let scope = scope_of(request, usable);
        if site_spilled && let Some(better) = sites.get_mut(..=scope) {
            // The site that gives the client away is not of the scope; it is the first to stand in.
            better.rotate_left(1);
        }
        Self {
            sites,
            scope,
            site_spilled,
        }
    }

    /// The sites that share the key, and the others.
    pub(super) fn split(&self) -> (&[ScoredSite], &[ScoredSite]) {
        self.sites.split_at(self.scope)
    }
}

/// Whether the client's group is of the share that the best site gives to the next, for it has too much load.
fn is_given_away(request: &Request<'_, '_>, sites: &[ScoredSite]) -> bool {
    let signals = request.snapshot.signals();
    let cell = (request.located.spot).map_or([0; 4], |spot| spot.cell.id().to_le_bytes());
    let slice = |id: &[u8]| match request.client {
        // Clients of a vague place have no cell in common that says anything of them: a group is a network.
        Some(client) => client.then(id),
        None => hash::key(&[&cell, id]),
    };
    let spills = |site: &ScoredSite| {
        let spill = signals.site(site.site).spill;
        let id = || request.snapshot.topology().site(site.site).id.as_bytes();
        spill > 0 && slice(id()).0 & 0xff < u64::from(spill)
    };
    let [best, next, ..] = sites else {
        return false;
    };
    spills(best) && !spills(next) && {
        let id = request.snapshot.topology().site(next.site).id.as_bytes();
        // What the next would give away itself is told by the lowest byte.
        let [_, second, ..] = slice(id).0.to_le_bytes();
        spill::is_taken(signals.site(next.site).full, second)
    }
}
