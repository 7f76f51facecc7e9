//! Since when nothing is sent to a site, while requests come at all: whoever is left says nothing by itself.

use std::collections::BTreeMap;

use super::FleetView;
use tradewind_engine::time::Moment;
use tradewind_engine::topology::Topology;

/// Requests a second from which a site is asked. Rates fade over seconds and never end.
const ASKED_FROM: f64 = 0.02;

/// Requests a second of all sites from which silence says something of one.
const TELLING_FROM: f64 = 1.0;

/// When sites were asked last, by id.
#[derive(Debug, Default)]
pub struct Unasked {
    last: BTreeMap<Box<str>, Moment>,
    /// When so little came last that no site could be missed.
    quiet: Moment,
}

impl Unasked {
    /// Notes who is asked now, and tells of those who are not. One that never was asked is not missed.
    pub fn note(&mut self, now: Moment, view: &mut FleetView, topology: &Topology) {
        let all: f64 = view.sites.iter().map(|site| site.requests_per_second).sum();
        if all < TELLING_FROM {
            self.quiet = now;
        }
        self.last.retain(|id, _| topology.find_site(id).is_some());
        for (site, known) in topology.sites().iter().zip(&mut view.sites) {
            if known.requests_per_second >= ASKED_FROM {
                self.last.insert(site.id.clone(), now);
            } else if let Some(last) = self.last.get(&site.id) {
                let since = self.quiet.max(*last);
                known.unasked_ms = (now > since).then(|| now.since(since));
            }
        }
    }
}
