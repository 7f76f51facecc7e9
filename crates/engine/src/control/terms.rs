//! The terms of sites, and when decisions see them change.
//!
//! Only differences between the sites of a tier choose among them. So what is held still is how far a site is from what is
//! usual in its tier ([`levels`](super::levels)): when all caches warm up together, nothing has changed. What is shown is the
//! best estimate, each term under its own name; what choices add to the sum of them stands beside it.

use std::sync::Arc;

use super::allowance::Allowance;
use super::deadband::Deadband;
use super::event::Event;
use super::on_trial::{Blame, LEAST_MARGIN_MS, Standard, TrialStep};
use super::positions::Mapping;
use super::site::{ClassSeen, Member, SiteSeen, SiteView, TierLevels, entry};
use super::{Control, Next};
use crate::model::{AdminState, NodeIndex, SiteIndex};
use crate::number::from_u64;
use crate::policy::{ClassNumber, Operation};
use crate::score::Terms;
use crate::signal::{Admission, Standing};
use crate::time::Moment;
use crate::topology::Topology;

/// Terms are whole multiples of this many ms: sums and differences of such numbers are exact below 16 s, so that a bill
/// adds up to the last digit, and what is held still does not tremble by rounding.
const GRAIN_MS: f32 = 1.0 / 1_024.0;

/// The level of a tier that choices are made with follows the level that is shown when it is off by this many ms and by
/// this share: it is the same for all sites, and every change of it makes tables anew.
const LEVEL_STEP_MS: f32 = 1.0;
const LEVEL_STEP_RATIO: f32 = 0.05;

/// A site of whose requests this share more fail than is usual is left without asking what may move: going on to fail is
/// no choice, as with a breaker.
const FAILING_RATIO: f32 = 0.05;

/// Evidence that is assumed by no more than this share is solid: it may also say that a site on trial has become better.
const SOLID_SHARE: f32 = 0.25;

/// What is usual in each tier.
#[derive(Debug, Default)]
pub(super) struct Levels {
    tiers: Vec<TierLevels>,
    /// By class, then tier: the sum of the terms of a site of which nothing is known, as choices are made with it; none
    /// before there was one.
    held_ms: Vec<Vec<Option<f32>>>,
}

impl Levels {
    /// Positions and numbers are others now; what is usual in a tier is kept, as long as there are as many.
    fn carry(&mut self, mapping: &Mapping, tiers: usize) {
        if self.tiers.len() != tiers {
            self.tiers = vec![TierLevels::new(); tiers];
            self.held_ms.clear();
        }
        for tier in &mut self.tiers {
            tier.carry(mapping);
        }
        self.held_ms = mapping.by_class(std::mem::take(&mut self.held_ms), |_| Vec::new());
    }

    fn held_ms(&self, class: ClassNumber, tier: usize) -> Option<f32> {
        self.held_ms.get(class.get())?.get(tier).copied().flatten()
    }

    /// Lets the level of a class and tier that choices are made with follow the usual one.
    fn hold(&mut self, class: ClassNumber, tier: usize, usual_ms: f32) {
        let Some(of_class) = entry(&mut self.held_ms, class.get()) else {
            return;
        };
        let Some(held) = entry(of_class, tier) else {
            return;
        };
        let step = LEVEL_STEP_MS.max(usual_ms * LEVEL_STEP_RATIO);
        if held.is_none_or(|held| (usual_ms - held).abs() > step) {
            *held = Some(usual_ms);
        }
    }
}

/// A site for one class: its terms, and those of a site of its tier of which nothing is known.
#[derive(Debug, Clone, Copy)]
struct Bill {
    site: SiteIndex,
    is_out: bool,
    /// Whether it fails so often that it must be left.
    is_failing: bool,
    view: SiteView,
    terms: Terms,
    usual: Terms,
}

impl Bill {
    /// How far the site is from what is usual.
    fn deviation_ms(&self) -> f32 {
        own_ms(&self.terms) - own_ms(&self.usual)
    }

    /// The term that has risen most, and how much of it is assumed.
    fn blame(&self) -> (Blame, f32) {
        let blame = Blame::of(&self.terms, &self.usual);
        let evidence = match blame {
            Blame::Service => self.view.service,
            Blame::Queue => self.view.queue,
            Blame::Miss => self.view.miss,
            Blame::Error => self.view.error,
        };
        (blame, evidence.prior_share)
    }
}

/// What is the site's own: all but the operators' preference.
fn own_ms(terms: &Terms) -> f32 {
    ((terms.service + terms.queue) + terms.miss) + terms.error
}

/// The same in whole grains.
fn in_grains(terms: Terms) -> Terms {
    let round = |ms: f32| libm::roundf(ms / GRAIN_MS) * GRAIN_MS;
    Terms {
        network: terms.network,
        service: round(terms.service),
        queue: round(terms.queue),
        miss: round(terms.miss),
        error: round(terms.error),
        cost: terms.cost,
        bias: round(terms.bias),
    }
}

impl Control {
    /// Takes over the sites and tiers of a fleet.
    pub(super) fn adopt_sites(&mut self, next: Next<'_>) {
        self.members = members_by_site(next.topology);
        self.levels
            .carry(&self.mapping, next.topology.tiers().len());
    }

    /// Makes the terms of all sites. Whether decisions should see others than before.
    pub(super) fn follow_terms(&mut self, now: Moment, next: Next<'_>) -> bool {
        let operation = next.policy.operation();
        let sites = (0_u16..).map(SiteIndex).take(self.sites.len());
        let mut seen: Vec<SiteSeen> = sites
            .clone()
            .map(|site| self.see(now, site, next))
            .collect();
        for (tier, levels) in self.levels.tiers.iter_mut().enumerate() {
            let of_tier = next.topology.sites().iter().zip(&seen);
            let of_tier = of_tier.filter(|(site, _)| site.tier.get() == tier);
            levels.observe(of_tier.map(|(_, seen)| seen), operation);
        }
        for (site, seen) in sites.zip(&mut seen) {
            let standard = self.standard(site, seen, next);
            if self.follow_trial(now, (site, seen), &standard) {
                *seen = self.see(now, site, next);
            }
        }
        let numbers = Arc::clone(self.positions.numbers());
        let classes = numbers.known_classes().count();
        // A number that is free for another class has a row that nobody reads.
        let mut standing = vec![Standing::default(); numbers.classes() * seen.len()];
        let mut rows: Vec<_> = standing.chunks_mut(seen.len().max(1)).collect();
        for class in numbers.known_classes() {
            let bills = self.bills(now, (class, &seen), next);
            self.hold_levels(class, &bills, next);
            self.hold_terms(now, (class, classes), &bills, next);
            let row = rows
                .get_mut(class.get())
                .into_iter()
                .flat_map(|row| row.iter_mut());
            for (place, bill) in row.zip(&bills) {
                *place = self.standing(class, bill, next);
            }
        }
        let known = &self.facts.standing;
        let pairs = known.iter().zip(&standing);
        let changed = known.len() != standing.len()
            || pairs
                .into_iter()
                .any(|(a, b)| a.choice_ms().to_bits() != b.choice_ms().to_bits());
        self.facts_mut().standing = standing;
        changed
    }

    /// What is observed of a site.
    fn see(&self, now: Moment, site: SiteIndex, next: Next<'_>) -> SiteSeen {
        let members = self.members.get(site.get()).into_iter().flatten();
        let members = members.filter_map(|index| {
            let node = next.topology.node(*index);
            let admission = self.signals.node(*index).admission;
            (node.state == AdminState::Ready).then_some(Member {
                notes: self.nodes.get(index.get())?,
                capacity: f64::from(node.capacity),
                is_in: matches!(admission, Admission::Admitted | Admission::Overloaded),
            })
        });
        SiteSeen::of(now, members, next.policy.operation())
    }

    /// What a trial of a site is judged by.
    fn standard<'p>(&self, site: SiteIndex, seen: &SiteSeen, next: Next<'p>) -> Standard<'p> {
        let (model, operation) = (next.routing().score(), next.policy.operation());
        let usual = self.usual(site, next.topology).map_or_else(
            || model.prior(),
            |levels| levels.prior(ClassNumber(0), model),
        );
        let usual_ms = own_ms(&model.standing_terms(site, &usual));
        Standard {
            usual,
            model,
            margin_ms: margin_ms(operation, usual_ms).max(LEAST_MARGIN_MS),
            waits: seen.waits(),
        }
    }

    fn usual(&self, site: SiteIndex, topology: &Topology) -> Option<&TierLevels> {
        self.levels.tiers.get(topology.site(site).tier.get())
    }

    /// The terms of every site for a class.
    fn bills(
        &mut self,
        now: Moment,
        (class, seen): (ClassNumber, &[SiteSeen]),
        next: Next<'_>,
    ) -> Vec<Bill> {
        let (model, operation) = (next.routing().score(), next.policy.operation());
        let of_class = |notes| ClassSeen::of(now, notes, class);
        let by_class: Vec<ClassSeen> = self.sites.iter().map(of_class).collect();
        for (tier, levels) in self.levels.tiers.iter_mut().enumerate() {
            let of_tier = next.topology.sites().iter().zip(&by_class);
            let of_tier = of_tier.filter(|(site, _)| site.tier.get() == tier);
            levels.observe_class(class, of_tier.map(|(_, seen)| seen), operation);
        }
        let sites = (0_u16..).map(SiteIndex).zip(seen).zip(&by_class);
        let bill = |((site, seen), by_class): ((SiteIndex, &SiteSeen), &ClassSeen)| {
            let levels = self.usual(site, next.topology)?;
            let usual = levels.prior(class, model);
            let view = SiteView::new((seen, by_class), &usual, operation);
            Some(Bill {
                site,
                is_out: seen.is_out,
                is_failing: view.estimates.error_ratio - usual.error_ratio >= FAILING_RATIO,
                view,
                terms: in_grains(model.standing_terms(site, &view.estimates)),
                usual: in_grains(model.standing_terms(site, &usual)),
            })
        };
        sites.filter_map(bill).collect()
    }

    /// Lets the levels that choices are made with follow.
    fn hold_levels(&mut self, class: ClassNumber, bills: &[Bill], next: Next<'_>) {
        for bill in bills {
            let tier = next.topology.site(bill.site).tier.get();
            self.levels.hold(class, tier, own_ms(&bill.usual));
        }
    }

    /// Lets decisions see how far sites are from what is usual, where it is time.
    fn hold_terms(
        &mut self,
        now: Moment,
        (class, classes): (ClassNumber, usize),
        bills: &[Bill],
        next: Next<'_>,
    ) {
        let all: f64 = self.sites.iter().map(|site| site.rate).sum();
        for bill in bills {
            let Some(held) = self.due(now, class, bill, next.policy.operation()) else {
                continue;
            };
            let rises = bill.deviation_ms() > held;
            if rises && !self.fits_elsewhere(now, bill.site, next) {
                continue;
            }
            let rate = self
                .sites
                .get(bill.site.get())
                .map_or(0.0, |site| site.rate);
            let share = if all > 0.0 { rate / all } else { 0.0 };
            let ratio = next.policy.operation().moved_ratio_per_minute;
            let allowance = self.allowance.get_or_insert(Allowance::new(now, ratio));
            let must_leave = bill.is_failing && rises;
            if must_leave || allowance.pay(now, share / from_u64(classes as u64), ratio) {
                self.follow_bill(now, (class, bill), share, next.policy.operation());
            }
        }
    }

    /// How far from what is usual decisions see a site, if it is time that they see something else.
    fn due(
        &mut self,
        now: Moment,
        class: ClassNumber,
        bill: &Bill,
        operation: &Operation,
    ) -> Option<f32> {
        let deviation = bill.deviation_ms();
        let notes = self.sites.get_mut(bill.site.get())?;
        if notes.bands.len() <= class.get() {
            notes.bands.resize(class.get() + 1, Deadband::default());
        }
        let band = notes.bands.get_mut(class.get())?;
        let Some(held) = band.published().filter(|_| !bill.is_out) else {
            // At first, and while no node may be named: nothing holds a site back whose nodes return.
            band.set(deviation);
            notes.take(class, bill.terms);
            return None;
        };
        if self.admission.is_isolated() {
            // What fails now may be this sidecar's own fault.
            return None;
        }
        let is_solid = bill.blame().1 <= SOLID_SHARE;
        if notes.on_trial.is_some() && deviation < held && !is_solid {
            band.set(held);
            return None;
        }
        let margin = margin_ms(operation, own_ms(&bill.usual) + held.max(deviation));
        let due = band.observe(now, deviation, (margin, operation.switch_dwell_ms));
        if due.is_none() && notes.on_trial.is_none() {
            band.relax(deviation, margin, bill.view.prior_share());
        }
        due.map(|_| held)
    }

    /// Lets decisions see a site as it is, which had so much of all keys.
    fn follow_bill(
        &mut self,
        now: Moment,
        (class, bill): (ClassNumber, &Bill),
        share: f64,
        operation: &Operation,
    ) {
        let Some(notes) = self.sites.get_mut(bill.site.get()) else {
            return;
        };
        let deviation = bill.deviation_ms();
        if let Some(band) = notes.bands.get_mut(class.get()) {
            band.set(deviation);
        }
        let from = notes.take(class, bill.terms);
        self.events.push(Event::SiteTerms {
            site: bill.site,
            class,
            from,
            to: bill.terms,
        });
        let least = operation.switch_ms.max(LEAST_MARGIN_MS);
        if deviation >= least {
            self.begin_trial(now, bill.site, (bill.blame().0, share));
        } else if notes
            .bands
            .iter()
            .all(|band| band.published() < Some(least))
        {
            self.end_trial(bill.site, TrialStep::Passed);
        }
    }

    /// What decisions and explanations see of a site.
    fn standing(&self, class: ClassNumber, bill: &Bill, next: Next<'_>) -> Standing {
        let tier = next.topology.site(bill.site).tier.get();
        let level = self.levels.held_ms(class, tier);
        let band = self
            .sites
            .get(bill.site.get())
            .and_then(|notes| notes.bands.get(class.get()));
        let held = band.and_then(Deadband::published).zip(level);
        let SiteView {
            service,
            queue,
            miss,
            error,
            ..
        } = bill.view;
        Standing {
            terms: bill.terms,
            held_ms: held.map_or(0.0, |(band, level)| level + band - own_ms(&bill.terms)),
            service,
            queue,
            miss,
            error,
        }
    }
}

/// How much a site must differ whose terms add up to `score_ms`.
fn margin_ms(operation: &Operation, score_ms: f32) -> f32 {
    operation.switch_ms.max(operation.switch_ratio * score_ms)
}

/// The nodes of each site.
fn members_by_site(topology: &Topology) -> Vec<Vec<NodeIndex>> {
    let mut members = vec![Vec::new(); topology.sites().len()];
    for (index, node) in topology.indexed_nodes() {
        if let Some(site) = members.get_mut(node.site.get()) {
            site.push(index);
        }
    }
    members
}
