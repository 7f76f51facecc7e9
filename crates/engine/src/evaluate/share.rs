//! Which sites for a client who may be anywhere in a wide region, or anywhere at all.
//!
//! The best site for "somewhere in the United States" is the one in the middle, for each of these clients, so all of them
//! would go there; yet nothing is known that speaks for it. So sites whose scores differ by less than the place is known
//! to share such clients, each in proportion to its weight (capacity times condition), and of a client nobody knows
//! anything about every site with a node to name gets its share.
//!
//! Who goes where is a race of the sites, as it is one of the nodes within a site, and what is hashed is the client's
//! network (/24 or /48), not the object: a client keeps its site, neighbours share one, and each site serves such clients
//! from the copies that it holds for its own. Hashing the object would spare these copies and send the whole country to
//! one site for whatever is popular. Only where the caller does not say who asks is the object all there is to hash.
//!
//! Of clients of whom the country is known and nothing else, the sites of that country come first: distance never speaks
//! for one abroad, only load, errors, price or operators do.
//!
//! All of it is a pass over the sites of the set and a second one to choose, some 10 ns a site: a row of the nearest
//! sites, as for points, would not hold all that share.

use arrayvec::ArrayVec;

use super::scorer::{MAX_SCORED_SITES, ScoredSite, Scorer, Way};
use crate::geo::place::Country;
use crate::hash::KeyHash;

/// How a client is shared out among sites.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shared {
    /// What is hashed: its network, else the object.
    pub by: KeyHash,
    /// Among which sites.
    pub among: Sharing,
}

/// Among which sites a client is shared out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sharing {
    /// Sites that score no more than this, in ms; infinite where nothing is known of the client's place.
    pub limit_ms: f32,
    /// Sites of this country only, if any.
    pub country: Option<Country>,
}

impl Sharing {
    /// Whether a site with this score, in this country, gets a share.
    pub fn includes(&self, total_ms: f32, country: Option<Country>) -> bool {
        total_ms <= self.limit_ms && (self.country.is_none() || self.country == country)
    }
}

/// The best of some sites so far.
#[derive(Clone, Copy)]
struct Best {
    total_ms: f32,
    network_ms: f32,
}

impl Best {
    fn of(best: Option<Self>, total_ms: f32, network_ms: f32) -> Self {
        let other = Self {
            total_ms,
            network_ms,
        };
        best.filter(|best| best.total_ms <= total_ms)
            .unwrap_or(other)
    }
}

impl Scorer<'_> {
    /// Among which sites the client is shared out.
    pub(super) fn sharing(&self) -> Sharing {
        let Way::Disc(radius) = self.way else {
            return Sharing {
                limit_ms: f32::INFINITY,
                country: None,
            };
        };
        let place = &self.located.place;
        let own_country = place.country.filter(|_| place.is_country_only);
        let (mut home, mut abroad) = (None, None);
        for (site, network_ms, country) in self.all_sites() {
            let is_home = own_country.is_some() && country == own_country;
            let best = if is_home { &mut home } else { &mut abroad };
            *best = Some(Best::of(*best, site.total_ms, network_ms));
        }
        let tolerance_ms = self.model.tolerance_ms(radius);
        let within = |best: Best, country| Sharing {
            limit_ms: best.total_ms + tolerance_ms,
            country,
        };
        match (home, abroad) {
            (Some(home), Some(abroad)) => {
                let detour_ms = (home.network_ms - abroad.network_ms).max(0.0);
                if home.total_ms - detour_ms <= abroad.total_ms + tolerance_ms {
                    within(home, own_country)
                } else {
                    within(abroad, None)
                }
            }
            (Some(home), None) => within(home, own_country),
            (None, Some(abroad)) => within(abroad, None),
            (None, None) => Sharing {
                limit_ms: f32::INFINITY,
                country: None,
            },
        }
    }

    /// Whether a site gets a share of clients like this one.
    pub(super) fn shares(&self, sharing: Sharing, site: ScoredSite) -> bool {
        let row = self.table.sites().get(usize::from(site.position));
        sharing.includes(site.total_ms, row.and_then(|row| row.country))
    }

    /// The `count` wanted sites for a client that is shared out: those that share it by their race, then the others by
    /// score.
    pub(super) fn best_shared(
        &self,
        shared: Shared,
        count: usize,
        is_wanted: impl Fn(ScoredSite) -> bool,
    ) -> ArrayVec<ScoredSite, MAX_SCORED_SITES> {
        let mut sharers = Ordered::default();
        let mut others = Ordered::default();
        for (site, _, country) in self.all_sites().filter(|(site, ..)| is_wanted(*site)) {
            if shared.among.includes(site.total_ms, country) {
                sharers.insert(self.roster.site_race(site.position, shared.by), site);
            } else {
                others.insert(site.total_ms, site);
            }
        }
        let all = sharers.0.into_iter().chain(others.0);
        all.map(|(_, site)| site).take(count).collect()
    }

    /// Every site that has a node to name, with its network term and its country.
    fn all_sites(&self) -> impl Iterator<Item = (ScoredSite, f32, Option<Country>)> + '_ {
        let rows = (0_u16..).zip(self.table.sites());
        rows.filter_map(|(position, row)| {
            let (site, network_ms) = self.score(position)?;
            Some((site, network_ms, row.country))
        })
    }
}

/// The few sites with the smallest numbers, ascending; ties go to the lower position.
#[derive(Default)]
struct Ordered(ArrayVec<(f32, ScoredSite), MAX_SCORED_SITES>);

impl Ordered {
    fn insert(&mut self, order: f32, site: ScoredSite) {
        // Sites come by position, so an equal one goes behind.
        let at = self.0.partition_point(|(other, _)| *other <= order);
        if at == self.0.capacity() {
            return;
        }
        if self.0.is_full() {
            self.0.pop();
        }
        self.0.insert(at, (order, site));
    }
}
