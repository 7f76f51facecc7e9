//! Ways between clients and sites: what they truly take, what is told of them, and how often the best is used.
//!
//! A round trip is what the distance says, plus the detour of that way if it has one, plus the last mile of the client's
//! network, plus noise. The decisions of a run are compared with the truth, which no engine sees.

use std::collections::BTreeMap;

use super::Simulation;
use super::random::Random;
use tradewind_engine::evaluate::{Evaluation, Reason};
use tradewind_engine::geo::cell::Cell;
use tradewind_engine::geo::distance::{UnitVector, chord_squared};
use tradewind_engine::geo::group::Group;
use tradewind_engine::geo::place::Asn;
use tradewind_engine::hash;
use tradewind_engine::model::SiteIndex;
use tradewind_engine::number::{from_u64, to_u64};
use tradewind_engine::snapshot::Snapshot;

/// The first operator's number: of those kept for documentation (RFC 5398).
const FIRST_ASN: u32 = 64_496;

/// A way is worse by more than the margin if it takes so much longer than the best: in ms, and as a share of the best.
const MARGIN: (f64, f64) = (10.0, 0.15);

/// How clients are connected, and what is told of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct PathModel {
    /// Operators in each cell, all alike; 0 for clients of whose network nothing is known.
    pub operators: u32,
    /// Last miles are between 0 and this, in ms: half of it by cell, half by operator in the cell.
    pub last_mile_ms: f64,
    /// Of what is told a factor, lognormal with this sigma.
    pub noise: f64,
    /// And queues on the way, lognormal with this median in ms and the sigma 1.
    pub jitter_ms: f64,
    /// The share of answers whose round trip is told, 0 to 1.
    pub told: f64,
}

/// A world of ways; see the module.
#[derive(Debug, Clone, Default)]
pub struct Paths {
    model: PathModel,
    /// What ways take beyond what their distance says, in ms.
    detours: BTreeMap<(Cell, SiteIndex), f64>,
    /// What each site truly takes, by cell and site; made when asked for.
    truths: BTreeMap<Cell, Vec<f64>>,
    sites_in_use: BTreeMap<Group, SiteIndex>,
    tally: Tally,
}

/// How decisions compare with the truth.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Requests decided.
    pub requests: u64,
    /// Of them to the site that is truly best.
    pub best: u64,
    /// To a site that is worse by more than the margin.
    pub worse: u64,
    /// To a site on trial.
    pub tried: u64,
    /// What requests took beyond the best, together, in ms.
    pub lost_ms: f64,
    /// How often each group of clients went to another site; trials are no such change.
    pub switches: BTreeMap<Group, u32>,
}

impl Tally {
    /// Share of requests at the site that is truly best.
    pub fn best_share(&self) -> f64 {
        from_u64(self.best) / from_u64(self.requests.max(1))
    }

    /// Share of requests at a site that is worse by more than the margin.
    pub fn worse_share(&self) -> f64 {
        from_u64(self.worse) / from_u64(self.requests.max(1))
    }

    /// What a request took beyond the best, in ms.
    pub fn mean_lost_ms(&self) -> f64 {
        self.lost_ms / from_u64(self.requests.max(1))
    }
}

impl Simulation {
    /// What each site truly takes from a cell, in ms and without the last mile; nothing in a world without ways.
    pub fn truths(&mut self, cell: Cell) -> Vec<f64> {
        let paths = self.paths.as_mut();
        paths.map_or_else(Vec::new, |paths| {
            paths.truths(&self.snapshot, cell).to_vec()
        })
    }
}

impl Paths {
    /// A world without detours.
    pub fn new(model: PathModel) -> Self {
        Self {
            model,
            ..Self::default()
        }
    }

    /// What the way from a cell to a site takes beyond what its distance says, from here on, in ms.
    pub fn set_detour(&mut self, cell: Cell, site: SiteIndex, ms: f64) {
        self.detours.insert((cell, site), ms);
        self.truths.remove(&cell);
    }

    /// What was counted since the last call.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// What each site truly takes from a cell, in ms and without the last mile.
    fn truths(&mut self, snapshot: &Snapshot, cell: Cell) -> &[f64] {
        let detours = &self.detours;
        self.truths.entry(cell).or_insert_with(|| {
            let from = UnitVector::new(cell.center());
            let sites = snapshot.topology().sites().iter();
            let model = snapshot.routing().score();
            let truth = |(site, at): (&tradewind_engine::topology::Site, SiteIndex)| {
                let geographic = f64::from(model.geographic_ms(chord_squared(from, site.point)));
                let detour = detours.get(&(cell, at)).copied().unwrap_or(0.0);
                (geographic + detour).max(0.5)
            };
            sites.zip((0_u16..).map(SiteIndex)).map(truth).collect()
        })
    }

    /// The operator of the next client.
    pub(super) fn draw_operator(&self, random: &mut Random) -> Option<Asn> {
        if self.model.operators == 0 {
            return None;
        }
        let number = to_u64(random.unit() * f64::from(self.model.operators));
        Asn::new(FIRST_ASN + u32::try_from(number).unwrap_or(0))
    }

    /// The last mile of a group's clients, in ms.
    fn last_mile(&self, cell: Cell, operator: Option<Asn>) -> f64 {
        let part = |parts: &[&[u8]]| from_u64(hash::key(parts).0 >> 11) / 9_007_199_254_740_992.0;
        let cell = cell.id().to_le_bytes();
        let operator = operator.map_or(0, Asn::get).to_le_bytes();
        self.model.last_mile_ms / 2.0 * (part(&[&cell]) + part(&[&cell, &operator]))
    }

    /// What is told of the round trip of a group's client, in microseconds; 0 for nothing.
    pub(super) fn tell(
        &mut self,
        snapshot: &Snapshot,
        (group, site): (Option<Group>, SiteIndex),
        random: &mut Random,
    ) -> u32 {
        let Some(group) = group.filter(|_| random.unit() < self.model.told) else {
            return 0;
        };
        let truths = self.truths(snapshot, group.cell);
        let path = truths.get(site.get()).copied().unwrap_or(0.0);
        let usual = path + self.last_mile(group.cell, group.asn);
        let ms = usual * random.lognormal(self.model.noise)
            + self.model.jitter_ms * random.lognormal(1.0);
        u32::try_from(to_u64(ms * 1_000.0)).unwrap_or(u32::MAX)
    }

    /// Compares a decision with the truth.
    pub(super) fn decided(&mut self, snapshot: &Snapshot, evaluation: &Evaluation) {
        let (Some(group), Some(first)) = (evaluation.located.group(), evaluation.picks.first())
        else {
            return;
        };
        let site = snapshot.topology().site_of(first.node);
        let truths = self.truths(snapshot, group.cell);
        let own = truths.get(site.get()).copied().unwrap_or(0.0);
        let best = truths.iter().copied().fold(f64::INFINITY, f64::min);
        let lost = own - best;
        let is_trial = evaluation.reason == Reason::Trial;
        self.tally.requests += 1;
        self.tally.best += u64::from(lost <= 0.0);
        self.tally.worse += u64::from(lost > MARGIN.0.max(MARGIN.1 * best));
        self.tally.tried += u64::from(is_trial);
        self.tally.lost_ms += lost;
        if !is_trial {
            let before = self.sites_in_use.insert(group, site);
            if before.is_some_and(|before| before != site) {
                *self.tally.switches.entry(group).or_default() += 1;
            }
        }
    }
}
