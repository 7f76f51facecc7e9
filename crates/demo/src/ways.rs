//! How long a packet takes between the demo's clients and sites and back: what a proxy at a site would measure of its
//! clients' connections, and tells.
//!
//! Everything runs on one machine, so these are made up: light in glass as far as it is, and a last mile (cable, mobile)
//! that is the same to every site.

use std::collections::BTreeMap;
use std::time::Duration;

use super::audience::{Ask, TOWNS};
use tradewind_engine::geo::Location;
use tradewind_engine::geo::distance::{UnitVector, chord_squared, distance_km};
use tradewind_engine::topology::Topology;

/// What every way takes, however short, and what each kilometre adds: what is assumed where nothing is measured.
const SHORTEST_MS: f32 = 5.0;
const MS_PER_KM: f32 = 0.016;

/// Round trips without a last mile.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Ways {
    /// In ms, by town (a position in [`TOWNS`]) for each site.
    sites: BTreeMap<String, [f32; TOWNS.len()]>,
}

impl Ways {
    /// From every town to every site of a topology.
    pub(super) fn to_sites_of(topology: &Topology) -> Self {
        let sites = topology.sites().iter().map(|site| {
            let there = UnitVector::from(site.location);
            let ms = TOWNS.map(|town| {
                let here = Location::new(town.latitude, town.longitude).map(UnitVector::from);
                let km = here.map_or(0.0, |here| distance_km(chord_squared(here, there)));
                SHORTEST_MS + MS_PER_KM * km
            });
            (site.id.to_string(), ms)
        });
        Self {
            sites: sites.collect(),
        }
    }

    /// The round trip between whoever asks and a site.
    pub(super) fn round_trip(&self, ask: &Ask, site: &str) -> Option<Duration> {
        let ms = self.sites.get(site)?.get(ask.town)?;
        Some(Duration::from_secs_f32((ms + ask.last_mile_ms()) / 1_000.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audience::Audience;
    use crate::fleet;
    use tradewind_engine::topology;

    #[test]
    fn the_last_mile_is_the_same_to_every_site() {
        let compiled = topology::compile("topology.yaml", fleet::TOPOLOGY);
        let ways = Ways::to_sites_of(&compiled.topology.unwrap());
        let ms = |ask: &Ask, site| ways.round_trip(ask, site).unwrap().as_secs_f32() * 1_000.0;
        for ask in Audience::new(7, 100, 0.9).take(300) {
            let own = ["FRA", "MAD", "WAW"][ask.town];
            let last_mile = ms(&ask, own) - SHORTEST_MS;
            assert!((0.0..81.0).contains(&last_mile), "{ask:?}: {last_mile}");
            for site in ["FRA", "MAD", "WAW"] {
                assert!(
                    site == own || ms(&ask, site) > ms(&ask, own) + 10.0,
                    "{ask:?}"
                );
            }
        }
        assert_eq!(
            ways.round_trip(&Audience::new(7, 1, 0.0).next().unwrap(), "X"),
            None
        );
    }
}
