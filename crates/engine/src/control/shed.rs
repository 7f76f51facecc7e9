//! What follows from what nodes shed: load that their answers tell of.
//!
//! Never an error, and never the site's: a node that sheds while its neighbours do not gives keys away to them, and is left
//! when it sheds most of what it is asked.

use super::breakers::settle;
use super::node::NodeNotes;
use super::{Control, Next};
use crate::health::breaker::{Cause, State};
use crate::health::shedding::Share;
use crate::model::{AdminState, NodeIndex};
use crate::time::Moment;

/// A node is left for shedding from this share of keys and of groups of clients on, beyond twice the deviation of so few …
const SHED_MOST: f64 = 0.5;

/// … and gives away keys from this much more than its neighbours on, beyond three times the deviation: what a client over
/// its limit is shed, the neighbours shed too.
const SHED_MORE: f64 = 0.05;

/// A node that sheds nothing is a fellow from so many requests a second on: one in some ten seconds.
const ASKED: f64 = 0.1;

/// What follows from how much a node sheds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shed {
    /// It sheds most of what is asked by whomever, and one of its fellows does not.
    is_most: bool,
    /// What it is asked over what it serves, as far as its neighbours serve more; above 1.
    pub(super) utilisation: Option<f64>,
}

/// Shares of keys shed by the nodes of a site or tier that take traffic.
#[derive(Debug, Clone, Copy)]
struct Fellows {
    count: f64,
    sum: f64,
    /// The least and the second least.
    least: [f64; 2],
}

/// What all of them but one shed.
#[derive(Debug, Clone, Copy)]
struct Others {
    mean: f64,
    least: f64,
}

impl Control {
    /// What follows from how much each node sheds, in their order; of nobody while nobody sheds.
    pub(super) fn sheds(&self, now: Moment, next: Next<'_>) -> Vec<(NodeIndex, Shed)> {
        if !self.nodes.iter().any(|notes| notes.shedding.is_active()) {
            return Vec::new();
        }
        let topology = next.topology;
        let mut sites = vec![Fellows::NONE; topology.sites().len()];
        let mut tiers = vec![Fellows::NONE; topology.tiers().len()];
        let taking = || {
            let nodes = topology.indexed_nodes().zip(&self.nodes);
            nodes.filter(|((_, node), notes)| {
                node.state == AdminState::Ready && notes.breaker.state() == State::Closed
            })
        };
        let share = |notes: &NodeNotes| notes.shedding.share(now);
        for ((_, node), notes) in taking() {
            // Whom nobody asks sheds nothing, and says nothing: a rule may bar it, or its clients may be asleep.
            let Some(of_keys) = share(notes)
                .map(|share| share.of_keys)
                .or_else(|| (notes.rate >= ASKED).then_some(0.0))
            else {
                continue;
            };
            let tier = topology.site(node.site).tier;
            let groups = [sites.get_mut(node.site.get()), tiers.get_mut(tier.get())];
            for fellows in groups.into_iter().flatten() {
                fellows.add(of_keys);
            }
        }
        let least = f64::from(next.policy.operation().breaker.consecutive_failures);
        let sheds = taking().filter_map(|((index, node), notes)| {
            let own = share(notes)?;
            let tier = topology.site(node.site).tier;
            let neighbours = sites.get(node.site.get())?.without(own.of_keys);
            let fellows = match neighbours {
                Some(neighbours) => Some(neighbours),
                None => tiers.get(tier.get())?.without(own.of_keys),
            };
            Some((index, Shed::of(&own, least, (neighbours, fellows))))
        });
        sheds.collect()
    }

    /// Opens the breakers of nodes that shed most of what they are asked while a fellow does not.
    pub(super) fn leave_shedding(&mut self, now: Moment, next: Next<'_>) {
        for (node, shed) in self.sheds(now, next) {
            let salt = self.salt ^ u64::from(node.0) << 32;
            let Some(notes) = self.nodes.get_mut(node.get()).filter(|_| shed.is_most) else {
                continue;
            };
            let step = next.step(salt, notes, now);
            let transition = notes.breaker.trip(now, Cause::Shedding, &step);
            settle(now, notes, (transition, next.policy.operation()));
            notes.left_for_shedding |= transition.is_some();
            self.note(node, transition);
        }
    }
}

impl Fellows {
    const NONE: Self = Self {
        count: 0.0,
        sum: 0.0,
        least: [f64::INFINITY; 2],
    };

    fn add(&mut self, share: f64) {
        self.count += 1.0;
        self.sum += share;
        let [least, second] = self.least;
        self.least = [least.min(share), second.min(share.max(least))];
    }

    /// The mean and the least without one of them, if others are left.
    fn without(&self, own: f64) -> Option<Others> {
        let [least, second] = self.least;
        let others = self.count - 1.0;
        let least = if own > least { least } else { second };
        (others >= 1.0).then(|| Others {
            mean: (self.sum - own) / others,
            least,
        })
    }
}

impl Shed {
    /// `least` different keys must be shed before anything follows. A node is left only while one of its fellows sheds less
    /// than half as much, and gives keys away only to neighbours: each the mean and the least of their shares.
    fn of(
        own: &Share,
        least: f64,
        (neighbours, fellows): (Option<Others>, Option<Others>),
    ) -> Self {
        let deviation = 0.5 / own.seen.max(1.0).sqrt();
        let for_all = own.shed >= least - 0.5 && own.of_groups > SHED_MOST;
        let is_most = for_all
            && own.of_keys - 2.0 * deviation > SHED_MOST
            && fellows.is_some_and(|fellows| fellows.least < own.of_keys / 2.0);
        let more = neighbours.map_or(0.0, |neighbours| own.of_keys - neighbours.mean);
        let spills = for_all && more > SHED_MORE + 3.0 * deviation;
        Self {
            is_most,
            utilisation: spills.then(|| 1.0 / (1.0 - more.min(0.9))),
        }
    }
}
