//! The groups of one cell: each by itself, with what the others know as its prior.

use std::collections::BTreeMap;

use super::estimate::{
    Belief, OFFSET_DEVIATION_MS, Path, Special, Together, USUAL_MS, offset, path_variance,
};
use super::{Estimate, GroupNotes, Pair};
use crate::geo::group::Group;
use crate::model::SiteIndex;
use crate::number::{narrow, to_u64};
use crate::signal::Evidence;
use crate::signal::centre::Known;
use crate::time::Moment;

/// How far last miles differ, as a variance.
const SPREAD: f64 = OFFSET_DEVIATION_MS * OFFSET_DEVIATION_MS;

/// A pair, looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) pair: Pair,
    pub(super) geographic_ms: f32,
    /// What was measured from this very group.
    pub(super) known: Option<Known>,
    special: Special,
}

impl Row {
    pub(super) fn new(pair: Pair, geographic_ms: f32, known: Option<Known>) -> Self {
        Self {
            pair,
            geographic_ms,
            known,
            special: Special::assumed(
                Belief {
                    ms: 0.0,
                    variance: path_variance(f64::from(geographic_ms)),
                },
                1.0,
            ),
        }
    }

    /// By how much the path takes longer than the geographic estimate, last mile included.
    fn excess(&self) -> Option<Belief> {
        let known = self.known?;
        Some(Belief {
            ms: known.ms - f64::from(self.geographic_ms),
            variance: known.variance,
        })
    }

    /// What the path takes without the last mile.
    pub(super) fn estimate(&self, now: Moment) -> Estimate {
        let age_ms = self.known.map_or(0, |known| now.since(known.last));
        let count = self.known.map_or(0.0, |known| known.count.ceil());
        let evidence = Evidence {
            samples: u32::try_from(to_u64(count)).unwrap_or(u32::MAX),
            age_ms: u32::try_from(age_ms).unwrap_or(u32::MAX),
            prior_share: narrow(self.special.prior_share),
        };
        let path_ms = |belief: Belief| {
            let ms = f64::from(self.geographic_ms) + belief.ms;
            (narrow(ms.max(0.0)), narrow(belief.variance))
        };
        Estimate {
            path: path_ms(self.special.belief),
            plain: path_ms(self.special.plain),
            evidence,
        }
    }
}

/// Settles what is special about each path of a cell. `before` are the notes of a second ago, and what all of them say of
/// last miles; new ones go to `groups`.
pub(super) fn settle(
    rows: &mut [Row],
    (before, everywhere): (&BTreeMap<Group, GroupNotes>, Together),
    groups: &mut BTreeMap<Group, GroupNotes>,
) {
    let (offsets, usual) = offsets_around(rows, before, everywhere);
    let mut paths: BTreeMap<SiteIndex, Together> = BTreeMap::new();
    for row in rows.iter() {
        if let Some((belief, variance)) = without_offset(row, before, usual) {
            paths.entry(row.pair.1).or_default().add(belief, variance);
        }
    }
    for of_group in rows.chunk_by_mut(|a, b| a.pair.0 == b.pair.0) {
        let Some(group) = of_group.first().map(|row| row.pair.0) else {
            continue;
        };
        let prior_of = |row: &Row| {
            let variance = path_variance(f64::from(row.geographic_ms));
            let unknown = Belief { ms: 0.0, variance };
            let mut others = paths.get(&row.pair.1).copied().unwrap_or_default();
            if let Some((belief, variance)) = without_offset(row, before, usual) {
                others.remove(belief, variance);
            }
            let lent = others.with(unknown);
            // What others say is likely for this network too, and it may be all wrong.
            let prior = Belief {
                ms: lent.ms,
                variance: variance + lent.ms * lent.ms,
            };
            (prior, lent.variance / variance)
        };
        let priors: Vec<(Belief, f64)> = of_group.iter().map(prior_of).collect();
        let known = before.get(&group);
        let mut others = offsets;
        if let Some(own) = known.and_then(|known| known.offset.sure()) {
            others.remove(own, 0.0);
        }
        let around_ms = others.with(usual).ms;
        let measured = of_group
            .iter()
            .zip(&priors)
            .filter_map(|(row, (prior, _))| Some(Path::new(row.excess()?, *prior)));
        let mut measured: Vec<Path> = measured.collect();
        let offset = offset(around_ms, &mut measured);
        let (mut count, mut paths) = (0.0, measured.iter());
        for (row, (prior, assumed)) in of_group.iter_mut().zip(priors) {
            let path = row.known.and_then(|_| paths.next());
            row.special = path.map_or_else(
                || Special::assumed(prior, assumed),
                |path| Special::of(path, offset.belief),
            );
            count += row.known.map_or(0.0, |known| known.count);
        }
        let trial = known.and_then(|known| known.trial);
        groups.insert(
            group,
            GroupNotes {
                offset,
                count,
                trial,
            },
        );
    }
}

/// What the groups of a cell said a second ago of what every site pays; and what those of all other cells did.
fn offsets_around(
    rows: &[Row],
    before: &BTreeMap<Group, GroupNotes>,
    everywhere: Together,
) -> (Together, Belief) {
    let (mut here, mut elsewhere) = (Together::default(), everywhere);
    for of_group in rows.chunk_by(|a, b| a.pair.0 == b.pair.0) {
        let group = of_group.first().and_then(|row| before.get(&row.pair.0));
        if let Some(sure) = group.and_then(|notes| notes.offset.sure()) {
            here.add(sure, 0.0);
        }
        if let Some(own) = group.and_then(|notes| notes.offset.own) {
            elsewhere.remove(own, SPREAD);
        }
    }
    let usual = elsewhere.with(Belief {
        ms: USUAL_MS,
        variance: SPREAD,
    });
    let usual = Belief {
        variance: SPREAD,
        ..usual
    };
    (here, usual)
}

/// What a row says of its path for other networks, and by how much that may differ for them.
fn without_offset(
    row: &Row,
    before: &BTreeMap<Group, GroupNotes>,
    usual: Belief,
) -> Option<(Belief, f64)> {
    let excess = row.excess()?;
    let known = before.get(&row.pair.0);
    let offset = known.map_or(usual, |known| known.offset.belief);
    let belief = Belief {
        ms: excess.ms - offset.ms,
        variance: excess.variance + offset.variance,
    };
    Some((belief, path_variance(f64::from(row.geographic_ms))))
}

/// What all groups say of what every site pays.
pub(super) fn everywhere<'g>(groups: impl Iterator<Item = &'g GroupNotes>) -> Together {
    let mut together = Together::default();
    for own in groups.filter_map(|group| group.offset.own) {
        together.add(own, SPREAD);
    }
    together
}
