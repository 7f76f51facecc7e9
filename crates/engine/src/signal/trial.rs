//! Sites that are tried with a slice of keys: what is known of them speaks against them, but may be wrong or past.
//!
//! Who is left gets no requests, and without requests nobody sees that it is well again, or was never bad. So a site that
//! would win if the uncertain part of its score were as good as it may be is given a few keys. Which sites those are is
//! for the control loop to say; which keys, for [`evaluate`](crate::evaluate).

use crate::geo::group::Group;
use crate::model::SiteIndex;

/// Most trials at a time: one for each of a few thousand groups of clients, in 64 KiB.
pub const MAX_TRIALS: usize = 4_096;

/// Of the keys so many 65,536ths are used for trials, 1 %: unless that brings too few answers to conclude anything.
pub const SLICE: u16 = 655;

/// A site that is tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trial {
    /// The site.
    pub site: SiteIndex,
    /// For which clients; `None` for all.
    pub group: Option<Group>,
    /// How much less the site may cost than its score says, in ms, weights included: at its optimistic bound it costs its
    /// score less this.
    pub gain_ms: f32,
    /// With how many 65,536ths of the keys: a wider slice has all keys of a narrower one.
    pub slice: u16,
}

/// The sites that are tried: first those for all clients, then by group; each sorted by site.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trials {
    all: Vec<Trial>,
    widest: u16,
}

impl Trials {
    /// A table of trials, at most [`MAX_TRIALS`] of them; of two for the same clients and site the larger gain counts.
    pub fn new(mut trials: Vec<Trial>) -> Self {
        trials.sort_by(|a, b| {
            let by_clients = a.group.cmp(&b.group).then(a.site.cmp(&b.site));
            by_clients.then(b.gain_ms.total_cmp(&a.gain_ms))
        });
        trials.dedup_by_key(|trial| (trial.group, trial.site));
        trials.truncate(MAX_TRIALS);
        let slices = trials.iter().map(|trial| trial.slice);
        Self {
            widest: slices.max().unwrap_or(0),
            all: trials,
        }
    }

    /// Whether nothing is tried.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The widest slice of them; 0 while nothing is tried.
    pub fn widest(&self) -> u16 {
        self.widest
    }

    /// All of them, in order.
    pub fn all(&self) -> &[Trial] {
        &self.all
    }

    /// Those for all clients, then those for a group and for the whole of its cell.
    pub fn of(&self, group: Option<Group>) -> impl Iterator<Item = &Trial> {
        let whole = group.map(Group::whole_cell);
        let own = group.filter(|group| Some(*group) != whole);
        let for_all = self.of_exactly(None);
        let named = [whole, own].into_iter().flatten();
        for_all
            .iter()
            .chain(named.flat_map(|group| self.of_exactly(Some(group))))
    }

    fn of_exactly(&self, group: Option<Group>) -> &[Trial] {
        let from = self.all.partition_point(|trial| trial.group < group);
        let behind = self.all.get(from..).unwrap_or_default();
        let count = behind.partition_point(|trial| trial.group == group);
        behind.get(..count).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::cell::Cell;
    use crate::geo::place::Asn;

    #[test]
    fn a_group_finds_its_own_its_cells_and_everybodys() {
        let cell = |id| Cell::from_id(id).unwrap();
        let group = |id, asn| {
            Some(Group {
                cell: cell(id),
                asn: Asn::new(asn),
            })
        };
        let trial = |site, group, gain_ms| Trial {
            site: SiteIndex(site),
            group,
            gain_ms,
            slice: SLICE * (site + 1),
        };
        let trials = Trials::new(vec![
            trial(4, group(5, 64_500), 1.0),
            trial(3, group(5, 0), 1.0),
            trial(2, group(4, 64_500), 1.0),
            trial(1, None, 1.0),
            trial(1, None, 5.0),
        ]);
        let found = |of| -> Vec<u16> { trials.of(of).map(|trial| trial.site.0).collect() };
        assert_eq!(found(None), [1]);
        assert_eq!(found(group(5, 64_500)), [1, 3, 4]);
        assert_eq!(found(group(5, 64_501)), [1, 3]);
        assert_eq!(found(group(5, 0)), [1, 3]);
        assert_eq!(found(group(3, 64_500)), [1]);
        assert_eq!(trials.all().first().map(|trial| trial.gain_ms), Some(5.0));
        assert_eq!(trials.widest(), SLICE * 5);
        assert_eq!(Trials::default().widest(), 0);
    }
}
