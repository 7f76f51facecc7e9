//! Where the first node is looked for, by the ladder of degradation.

use super::Rung;
use crate::policy::{PanicMode, Plan, PlanTier};
use crate::signal::Readmission;
use crate::snapshot::{Lane, RankTable, Roster, RosterKind};

/// What an answer tells of its stage: which nodes were looked among, and why among those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Staged {
    /// Position of the tier in the plan. The first node is of it, unless all of its nodes were tried.
    pub tier: u8,
    /// Which of the tier's nodes could be named.
    pub roster: RosterKind,
    /// How far down the ladder that is. The answer may come from further down: when the caller can use none of these.
    pub rung: Rung,
}

impl Staged {
    /// No tier has a node left: told of the first one, which requests would go to.
    pub(super) const NOWHERE: Self = Self {
        tier: 0,
        roster: RosterKind::Ready,
        rung: Rung::Refuse,
    };
}

/// Where the first node is looked for.
#[derive(Clone, Copy)]
pub(super) struct Stage<'s> {
    /// Position of the tier in the plan.
    pub(super) tier: usize,
    pub(super) plan_tier: PlanTier,
    pub(super) table: &'s RankTable,
    pub(super) roster: &'s Roster,
    kind: RosterKind,
    pub(super) rung: Rung,
}

impl Stage<'_> {
    /// What an answer tells of it.
    pub(super) fn told(&self) -> Staged {
        Staged {
            // A rule names eight pools at most.
            tier: u8::try_from(self.tier).unwrap_or(u8::MAX),
            roster: self.kind,
            rung: self.rung,
        }
    }
}

/// A tier of a plan that could become the stage.
#[derive(Clone, Copy)]
pub(super) struct Step<'s> {
    pub(super) tier: usize,
    pub(super) plan_tier: PlanTier,
    pub(super) table: &'s RankTable,
    /// Whether behind it there is nothing.
    pub(super) is_origin: bool,
}

impl<'s> Step<'s> {
    /// The tiers of a plan from position `begin` on.
    pub(super) fn of(lane: &'s Lane, plan: &Plan, begin: usize) -> impl Iterator<Item = Self> {
        let tiers = plan.tiers.iter().copied().enumerate().skip(begin);
        tiers.map(|(tier, plan_tier)| Self {
            tier,
            plan_tier,
            table: lane.table(plan_tier.set),
            is_origin: lane.routing().node_set(plan_tier.set).is_origin(),
        })
    }

    /// The stage that looks for nodes here.
    pub(super) fn stage(self, kind: RosterKind, rung: Rung) -> Stage<'s> {
        let Self {
            tier,
            plan_tier,
            table,
            ..
        } = self;
        Stage {
            tier,
            plan_tier,
            table,
            roster: table.roster(kind),
            kind,
            rung,
        }
    }
}

/// The first tier to look for nodes in, by the ladder of degradation: tiers before the origin of which enough is well,
/// then every node of such a tier that is not in maintenance, then the origin.
pub(super) fn choose<'s>(lane: &'s Lane, plan: &Plan, begin: usize) -> Option<Stage<'s>> {
    let steps = || Step::of(lane, plan, begin);
    // A plan that begins at the origin is not degraded by using it.
    let comes_before_origin = |step: &Step<'_>| step.tier == begin || !step.is_origin;
    let sufficient = |step: &Step<'_>| comes_before_origin(step) && step.table.is_sufficient();
    if let Some(step) = steps().find(sufficient) {
        let is_first = step.tier == begin;
        return Some(step.stage(RosterKind::Ready, rung_of(step.table, is_first)));
    }
    let mode = lane.routing().panic_mode();
    let has_anyone =
        |step: &Step<'_>| comes_before_origin(step) && !step.table.everyone().is_empty();
    if mode == PanicMode::AllReady
        && let Some(step) = steps().find(has_anyone)
    {
        return Some(step.stage(RosterKind::Everyone, Rung::Panic));
    }
    if mode == PanicMode::Refuse {
        return None;
    }
    let kinds = [RosterKind::Ready, RosterKind::Everyone];
    steps().filter(|step| step.is_origin).find_map(|step| {
        let mut kinds = kinds.into_iter();
        let kind = kinds.find(|kind| !step.table.roster(*kind).is_empty())?;
        Some(step.stage(kind, Rung::Origin))
    })
}

/// How far down the ladder a tier is of which enough is well.
fn rung_of(table: &RankTable, is_first: bool) -> Rung {
    match table.readmission() {
        _ if !is_first => Rung::NextTier,
        Readmission::None | Readmission::Insufficient => Rung::Normal,
        Readmission::Unknown => Rung::Unknown,
        Readmission::Overloaded => Rung::Overloaded,
        Readmission::HalfOpen => Rung::HalfOpen,
    }
}
