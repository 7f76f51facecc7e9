//! What decisions will see of nodes and sites.

use super::admission::Fleet;
use super::loads::utilisation_of;
use super::node::NodeNotes;
use super::{Control, Next};
use crate::health::breaker::State;
use crate::model::{NodeIndex, SiteIndex};
use crate::number::{from_u64, narrow};
use crate::policy::{Affinity, NodeSet, Numbered, SetNumber};
use crate::signal::{Admission, NodeSignals, Readmission, SiteSignals};
use crate::time::Moment;

/// A node has more requests in flight than most from this multiple of the mean on.
const HOT_IN_FLIGHT: f64 = 1.25;

impl Control {
    /// What decisions will see of every node.
    pub(super) fn node_signals(&mut self, now: Moment, next: Next<'_>) -> Vec<NodeSignals> {
        let operation = next.policy.operation();
        let admissions = self.admissions(now, next);
        let mut pools = next.routing().pools().iter();
        let has_unbound_pools = pools.any(|pool| pool.tier.affinity == Affinity::None);
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
                    full: notes.full,
                    shed: notes.overload.level(),
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
            let sets = sets_of(&self.numbered, next);
            let fleet = Fleet {
                topology: next.topology,
                policy: next.policy,
                sets: &sets,
            };
            self.admission
                .admissions(now, &self.nodes, fleet, &mut self.events)
        })
    }

    pub(super) fn site_signals(&self, now: Moment, next: Next<'_>) -> Vec<SiteSignals> {
        let sites = self.sites.iter().zip(0_u16..);
        sites
            .map(|(site, at)| SiteSignals {
                spill: site.spill,
                full: site.full,
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

/// The sets of all lanes, each once.
fn sets_of<'a>(numbered: &[Numbered], next: Next<'a>) -> Vec<(SetNumber, &'a NodeSet)> {
    let lanes = numbered.iter().zip(next.routings());
    let sets = lanes.flat_map(|(numbered, routing)| {
        let numbers = numbered.sets().iter().copied();
        numbers.zip(routing.node_sets())
    });
    let mut sets: Vec<_> = sets.collect();
    sets.sort_by_key(|(number, _)| *number);
    sets.dedup_by_key(|(number, _)| *number);
    sets
}
