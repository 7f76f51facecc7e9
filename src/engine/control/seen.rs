//! What decisions will see of nodes and sites.

use super::loads::utilisation_of;
use super::node::NodeNotes;
use super::{Control, Next};
use crate::engine::health::breaker::State;
use crate::engine::model::{NodeIndex, SiteIndex};
use crate::engine::number::{from_u64, narrow};
use crate::engine::policy::Affinity;
use crate::engine::signal::{Admission, NodeSignals, Readmission, SiteSignals};
use crate::engine::time::Moment;

/// A node has more requests in flight than most from this multiple of the mean on.
const HOT_IN_FLIGHT: f64 = 1.25;

impl Control {
    /// What decisions will see of every node.
    pub(super) fn node_signals(&mut self, now: Moment, next: Next<'_>) -> Vec<NodeSignals> {
        let operation = next.policy.operation();
        let admissions = self.admissions(now, next);
        let pools = next.policy.pools().iter();
        let has_unbound_pools = pools
            .filter_map(|pool| pool.plan.tiers.first())
            .any(|tier| tier.affinity == Affinity::None);
        let in_flight = |notes: &NodeNotes| {
            let reported = notes
                .load
                .filter(|(_, at)| now.since(*at) <= operation.load_max_age_ms);
            let median_s = f64::from(notes.median_ms().unwrap_or(1.0)) / 1_000.0;
            reported
                .and_then(|(report, _)| report.in_flight.map(f64::from))
                .unwrap_or(notes.rate * median_s)
        };
        let mean = if has_unbound_pools {
            self.nodes.iter().map(in_flight).sum::<f64>()
                / from_u64(self.nodes.len() as u64).max(1.0)
        } else {
            0.0
        };
        self.nodes
            .iter()
            .zip(0_u32..)
            .map(|(notes, at)| {
                let index = NodeIndex(at);
                let load = if has_unbound_pools {
                    in_flight(notes)
                } else {
                    0.0
                };
                NodeSignals {
                    admission: admissions
                        .as_ref()
                        .and_then(|all| all.get(index.get()).copied())
                        .unwrap_or_default(),
                    weight_factor: narrow(
                        notes.condition.factor(&operation.weights)
                            * notes.ramp(now, operation.slow_start_ms),
                    ),
                    headroom: narrow(self.ballast.headroom_of(index)),
                    spill: notes.spill,
                    is_hot: has_unbound_pools && load > mean * HOT_IN_FLIGHT,
                    in_flight: narrow(load),
                    latency_ms: if has_unbound_pools {
                        notes.median_ms().unwrap_or(0.0)
                    } else {
                        0.0
                    },
                }
            })
            .collect()
    }

    /// What every node is admitted for; `None` while nothing speaks against any.
    fn admissions(&mut self, now: Moment, next: Next<'_>) -> Option<Vec<Admission>> {
        let any_bad = self.is_unsettled
            || self.admission.is_isolated()
            || self
                .signals
                .nodes
                .iter()
                .any(|node| node.admission != Admission::Admitted)
            || self
                .signals
                .readmission
                .iter()
                .any(|step| *step > Readmission::None)
            || self.nodes.iter().any(|notes| {
                notes.breaker.state() != State::Closed
                    || notes.probe.verdict() == Some(false)
                    || notes.exhausted_since.is_some()
            });
        self.is_unsettled = false;
        any_bad.then(|| {
            let world = (next.topology, next.policy);
            self.admission
                .admissions(now, &self.nodes, world, &mut self.events)
        })
    }

    pub(super) fn site_signals(&self, now: Moment, next: Next<'_>) -> Vec<SiteSignals> {
        let sites = self.sites.iter().zip(0_u16..);
        sites
            .map(|(site, at)| SiteSignals {
                spill: site.spill,
                utilisation: if site.spill > 0 {
                    let mean = utilisation_of(now, &self.nodes, (SiteIndex(at), next));
                    narrow(mean.unwrap_or(0.0))
                } else {
                    0.0
                },
            })
            .collect()
    }
}
