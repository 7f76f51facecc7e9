//! Where a key is at home, and why another node was named first.

use super::{Context, Elimination, SiteLine};
use crate::evaluate::Reason;
use crate::model::NodeIndex;
use crate::score::Terms;
use crate::signal::Admission;

/// The node that an undisturbed fleet would name first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Home {
    /// The node.
    pub node: NodeIndex,
    /// Why another one was named first; `None` when it was not.
    pub away: Option<Away>,
    /// The term that speaks most against its site, where what was measured does.
    pub shift: Option<TermShift>,
}

/// Why a key is not at home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Away {
    /// The node could not be named.
    Out(Elimination),
    /// It could, and the decision fell otherwise.
    Otherwise(Reason),
}

/// How much a term was found to be against what is assumed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TermShift {
    /// The name of the term.
    pub term: &'static str,
    /// What it costs the home's site more than the site that was chosen, beyond what is assumed of both, in ms.
    pub ms: f32,
}

impl Away {
    /// The word used in output: of [`Elimination`] or of [`Reason`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Out(elimination) => elimination.name(),
            Self::Otherwise(reason) => reason.name(),
        }
    }
}

impl Context<'_> {
    /// The key's home, and why it is not there; `sites` are those of the explanation, none left out.
    pub(super) fn home(&self, sites: &[SiteLine]) -> Option<Home> {
        let node = self.evaluation.home?;
        let first = self.evaluation.picks.first().map(|pick| pick.node);
        let away = (first != Some(node)).then(|| self.away(node));
        let is_steered = matches!(away, Some(Away::Otherwise(Reason::Steered | Reason::Trial)));
        Some(Home {
            node,
            away,
            shift: is_steered.then(|| self.shift(node, sites)).flatten(),
        })
    }

    fn away(&self, node: NodeIndex) -> Away {
        if !self.may_be_used(node) {
            return Away::Out(Elimination::ExcludedByCaller);
        }
        if self.behind.contains(&node) {
            return Away::Out(Elimination::PurgeBehind);
        }
        match self.snapshot.signals().node(node).admission {
            Admission::Admitted => Away::Otherwise(self.evaluation.reason),
            other => Away::Out(Elimination::by_verdict(other)),
        }
    }

    /// What was found of the home's site against the chosen one: the term that makes the most of the difference.
    fn shift(&self, home: NodeIndex, sites: &[SiteLine]) -> Option<TermShift> {
        let topology = self.snapshot.topology();
        let line_of = |node| {
            let site = topology.site_of(node);
            sites.iter().find(|line| line.site == site)
        };
        let home = line_of(home)?;
        let chosen = line_of(self.evaluation.picks.first()?.node)?;
        let named = |line: &SiteLine| {
            let assumed = self.assumed(line).named();
            let known = line.terms.named();
            known
                .into_iter()
                .zip(assumed)
                .map(|((term, known), (_, assumed))| (term, known - assumed))
        };
        let shifts = named(home).zip(named(chosen));
        let shifts = shifts.map(|((term, of_home), (_, of_chosen))| TermShift {
            term,
            ms: of_home - of_chosen,
        });
        shifts
            .filter(|shift| shift.ms > 0.0)
            .max_by(|a, b| a.ms.total_cmp(&b.ms))
    }

    /// The terms of a site as they are assumed before anything is observed.
    fn assumed(&self, line: &SiteLine) -> Terms {
        let model = self.lane.routing().score();
        Terms {
            network: self.geographic_ms(line.site) * model.network_weight,
            cost: line.terms.cost,
            ..model.standing_terms(line.site, &model.prior())
        }
    }
}
