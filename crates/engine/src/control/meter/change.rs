//! What changed between two snapshots, and which of it moved a key.

use std::sync::Arc;

use super::probes::Probe;
use super::{Base, MoveCause, Owner};
use crate::control::positions::Mapping;
use crate::model::{AdminState, NodeIndex, SiteIndex};
use crate::policy::{ClassNumber, SetIndex};
use crate::signal::Admission;
use crate::snapshot::Parts;

/// What two snapshots are made of, one after the other.
pub(super) struct Change<'s> {
    pub(super) before: &'s Base,
    pub(super) after: &'s Base,
    pub(super) mapping: &'s Mapping,
}

impl Change<'_> {
    /// Whether nothing changed that any probe depends on.
    pub(super) fn is_none(&self) -> bool {
        let (before, after) = (&self.before.parts.signals, &self.after.parts.signals);
        !self.is_of_world()
            && before.weights_version == after.weights_version
            && before.terms_version == after.terms_version
            && before.ways_version == after.ways_version
            && before.readmission == after.readmission
            && before.isolated == after.isolated
            && spills(&self.before.parts).eq(spills(&self.after.parts))
    }

    /// Whether clients, fleet or policy are others.
    pub(super) fn is_of_world(&self) -> bool {
        let is_compiled_anew = !Arc::ptr_eq(&self.before.parts.policy, &self.after.parts.policy);
        is_compiled_anew || self.is_of_topology() || self.is_of_geo()
    }

    /// Whether its text is another: it is compiled anew for each fleet too.
    fn is_of_policy(&self) -> bool {
        self.before.parts.policy.digest() != self.after.parts.policy.digest()
    }

    fn is_of_topology(&self) -> bool {
        !Arc::ptr_eq(&self.before.parts.topology, &self.after.parts.topology)
    }

    fn is_of_geo(&self) -> bool {
        !Arc::ptr_eq(&self.before.parts.geo, &self.after.parts.geo)
            || self.before.parts.here != self.after.parts.here
    }

    /// What moved a key; `None` when nothing did that it depends on.
    pub(super) fn cause(&self, probe: &Probe, was: &Owner, is: &Owner) -> Option<MoveCause> {
        let old = was.named.map(|(node, _)| Standing::before(self, node));
        let new = is.named.map(|(node, _)| Standing::after(self, node));
        let nodes = [old, new].into_iter().flatten();
        if nodes.clone().any(|node| node.is_topology()) {
            return Some(MoveCause::Topology);
        }
        if nodes.clone().any(|node| node.is_admission()) || self.is_readmission(probe) {
            return Some(MoveCause::Admission);
        }
        let lost = old.is_some_and(|node| node.loses());
        let gained = new.is_some_and(|node| node.gains());
        if lost || gained {
            return Some(MoveCause::Weights);
        }
        if nodes.clone().any(|node| node.is_spill()) {
            return Some(MoveCause::Spill);
        }
        if self.is_of_geo() && was.cell != is.cell {
            return Some(MoveCause::Geo);
        }
        let rescored =
            self.before.parts.policy.routing().score() != self.after.parts.policy.routing().score();
        if rescored && self.is_of_policy() && !self.is_of_topology() {
            return Some(MoveCause::Policy);
        }
        if self.is_admission_beside(probe, was, is) {
            return Some(MoveCause::Admission);
        }
        self.site_cause(probe, was, is).or_else(|| {
            let world = [
                (self.is_of_policy(), MoveCause::Policy),
                (self.is_of_topology(), MoveCause::Topology),
                (self.is_of_geo(), MoveCause::Geo),
            ];
            let changed = world.into_iter().find(|(changed, _)| *changed);
            changed.map(|(_, cause)| cause)
        })
    }

    /// What moved a key from site to site, if its nodes did not.
    fn site_cause(&self, probe: &Probe, was: &Owner, is: &Owner) -> Option<MoveCause> {
        let (_, from) = was.named?;
        let (_, to) = is.named?;
        let now = self.mapping.site(from)?;
        if now == to {
            return None;
        }
        let back = |site: SiteIndex| self.mapping.site_before(site);
        let sites = [Some((from, now)), back(to).map(|before| (before, to))];
        let sites = sites.into_iter().flatten();
        let (before, after) = (&self.before.parts.signals, &self.after.parts.signals);
        let spills = |(was, is)| before.site(was).spill != after.site(is).spill;
        if sites.clone().any(spills) {
            return Some(MoveCause::Spill);
        }
        let class = self.after.class_of(probe);
        let standing =
            |base: &Base, site| standing_ms(&base.parts, (class, site)).map(f32::to_bits);
        let by_terms = |(past, present): (SiteIndex, SiteIndex)| {
            standing(self.before, past) != standing(self.after, present)
        };
        if sites.clone().any(by_terms) {
            return Some(MoveCause::SiteTerms);
        }
        let set = probe.set_in(self.after.parts.policy.routing())?;
        if sites
            .clone()
            .any(|(_, site)| self.distance(set, site) > 0.0)
        {
            return Some(MoveCause::Weights);
        }
        // In an unchanged world, what is left of what sites are compared by is the way there.
        if self.is_of_world() || before.ways_version == after.ways_version {
            return None;
        }
        Some(if before.trials == after.trials {
            MoveCause::Paths
        } else {
            MoveCause::Trials
        })
    }

    /// Whether a node beside one of the two may be named for more or for less: which of several recovering nodes is tried with
    /// a key is for all of them to say.
    fn is_admission_beside(&self, probe: &Probe, was: &Owner, is: &Owner) -> bool {
        let Some(set) = probe.set_in(self.after.parts.policy.routing()) else {
            return false;
        };
        let left = was.named.and_then(|(_, site)| self.mapping.site(site));
        let sites = [left, is.named.map(|(_, site)| site)];
        let members = |site| members_at(&self.after.parts, set, site).iter();
        let mut beside = sites.into_iter().flatten().flat_map(members);
        beside.any(|node| Standing::after(self, *node).is_admission())
    }

    fn is_readmission(&self, probe: &Probe) -> bool {
        let step = |base: &Base| {
            let set = probe.set_in(base.parts.policy.routing())?;
            Some(base.parts.signals.readmission(base.numbered.set(set)))
        };
        // A pool that is gone, or is new, is the policy's doing.
        let steps = step(self.before).zip(step(self.after));
        let (before, after) = (&self.before.parts.signals, &self.after.parts.signals);
        steps.is_some_and(|(was, is)| was != is) || before.isolated != after.isolated
    }

    /// The distance between the shares of a site's nodes before and after: half of the sum of differences.
    pub(super) fn distance(&self, set: SetIndex, site: SiteIndex) -> f64 {
        let members = members_at(&self.after.parts, set, site);
        let weigh = |parts: &Parts, node: NodeIndex| f64::from(weight(parts, node));
        let now: Vec<f64> = members
            .iter()
            .map(|node| weigh(&self.after.parts, *node))
            .collect();
        let past = |node: &NodeIndex| {
            let before = self.mapping.node_before(*node);
            before.map_or(0.0, |node| weigh(&self.before.parts, node))
        };
        let past: Vec<f64> = members.iter().map(past).collect();
        let gone = || {
            let number = self.mapping.set_before(self.after.numbered.set(set))?;
            let set = self.before.numbered.position_of(number)?;
            let site = self.mapping.site_before(site)?;
            let members = members_at(&self.before.parts, set, site).iter();
            let left = members.filter(|node| self.mapping.node(**node).is_none());
            Some(
                left.map(|node| weigh(&self.before.parts, *node))
                    .sum::<f64>(),
            )
        };
        let gone = gone().unwrap_or(0.0);
        let (before, after) = (past.iter().sum::<f64>() + gone, now.iter().sum::<f64>());
        if before <= 0.0 || after <= 0.0 {
            return f64::from(u8::from(before > 0.0 || after > 0.0));
        }
        let pairs = past.iter().zip(&now);
        let differences = pairs.map(|(past, now)| (past / before - now / after).abs());
        f64::midpoint(differences.sum::<f64>(), gone / before)
    }
}

/// What a node was worth before and after; `None` where it was not, or is not.
#[derive(Clone, Copy)]
struct Standing {
    before: Option<Worth>,
    after: Option<Worth>,
}

#[derive(Clone, Copy)]
struct Worth {
    state: AdminState,
    capacity: u16,
    admission: Admission,
    factor: f32,
    spill: u8,
}

impl Worth {
    fn of(parts: &Parts, node: NodeIndex) -> Self {
        let (known, signals) = (parts.topology.node(node), parts.signals.node(node));
        Self {
            state: known.state,
            capacity: known.capacity,
            admission: signals.admission,
            factor: signals.weight_factor,
            spill: signals.spill,
        }
    }
}

impl Standing {
    fn before(change: &Change<'_>, node: NodeIndex) -> Self {
        let after = change.mapping.node(node);
        Self {
            before: Some(Worth::of(&change.before.parts, node)),
            after: after.map(|node| Worth::of(&change.after.parts, node)),
        }
    }

    fn after(change: &Change<'_>, node: NodeIndex) -> Self {
        let before = change.mapping.node_before(node);
        Self {
            before: before.map(|node| Worth::of(&change.before.parts, node)),
            after: Some(Worth::of(&change.after.parts, node)),
        }
    }

    fn differs<T: PartialEq>(&self, of: impl Fn(&Worth) -> T) -> bool {
        let of = |worth: &Option<Worth>| worth.as_ref().map(&of);
        of(&self.before) != of(&self.after)
    }

    fn is_topology(&self) -> bool {
        self.differs(|worth| (worth.state, worth.capacity))
    }

    fn is_admission(&self) -> bool {
        self.differs(|worth| worth.admission)
    }

    fn is_spill(&self) -> bool {
        self.differs(|worth| worth.spill)
    }

    fn loses(&self) -> bool {
        let pair = self.before.zip(self.after);
        pair.is_some_and(|(before, after)| after.factor < before.factor)
    }

    fn gains(&self) -> bool {
        let pair = self.before.zip(self.after);
        pair.is_some_and(|(before, after)| after.factor > before.factor)
    }
}

/// What a node weighs in a race; 0 for one that is not in it.
fn weight(parts: &Parts, node: NodeIndex) -> f32 {
    let worth = Worth::of(parts, node);
    let races = worth.state == AdminState::Ready && worth.admission == Admission::Admitted;
    if races {
        f32::from(worth.capacity) * worth.factor
    } else {
        0.0
    }
}

/// What a site is chosen by besides the way there; `None` while nothing is known of it.
fn standing_ms(parts: &Parts, (class, site): (ClassNumber, SiteIndex)) -> Option<f32> {
    let count = parts.topology.sites().len();
    let known = parts.signals.standing(class, site, count)?;
    Some(known.choice_ms())
}

fn spills(parts: &Parts) -> impl Iterator<Item = u8> + '_ {
    let signals = &parts.signals;
    let nodes = signals.nodes.iter().map(|node| node.spill);
    nodes.chain(signals.sites.iter().map(|site| site.spill))
}

fn members_at(parts: &Parts, set: SetIndex, site: SiteIndex) -> &[NodeIndex] {
    let set = parts.policy.routing().node_set(set);
    let at = set.sites().binary_search_by_key(&site, |entry| entry.site);
    let entry = at.ok().and_then(|at| set.sites().get(at));
    entry.map_or(&[], |entry| set.members_of(entry))
}
