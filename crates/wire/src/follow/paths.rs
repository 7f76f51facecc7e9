//! What is known of the ways from groups of clients to sites, on the wire.

use super::{StateFault, amount, fault, proto, same_length, site_index};
use tradewind_engine::geo::cell::Cell;
use tradewind_engine::geo::group::Group;
use tradewind_engine::geo::place::Asn;
use tradewind_engine::signal::Evidence;
use tradewind_engine::signal::network::{GroupPaths, MAX_MOVED, MAX_PAIRS, Measured, NetworkTable};
use tradewind_engine::signal::trial::{MAX_TRIALS, SLICE, Trial, Trials};

/// The groups that need a word of their own: those with special paths, and those of which the cell's paths do not hold.
pub(super) fn network_message(network: &NetworkTable) -> Vec<proto::FollowedGroup> {
    let is_special = |group: Group| !network.of_group(Some(group)).is_empty();
    let told = network
        .groups()
        .filter(|group| is_special(*group) || is_special(group.whole_cell()));
    let message = |group: Group| {
        let paths = network.of_group(Some(group));
        proto::FollowedGroup {
            cell: group.cell.id(),
            asn: group.asn.map_or(0, Asn::get),
            sites: paths.iter().map(|path| u32::from(path.site.0)).collect(),
            path_ms: paths.iter().map(|path| path.network_ms).collect(),
        }
    };
    told.map(message).collect()
}

/// Reads them.
pub(super) fn network(message: &proto::FollowedState) -> Result<NetworkTable, StateFault> {
    let count = message.groups.len();
    same_length("groups", count, count.min(MAX_PAIRS))?;
    let paths = message.groups.iter().map(|group| group.sites.len()).sum();
    same_length("sites", paths, paths.min(MAX_MOVED))?;
    let read = |told: &proto::FollowedGroup| {
        same_length("path_ms", told.path_ms.len(), told.sites.len())?;
        let pairs = told.sites.iter().zip(&told.path_ms);
        let path = |(site, ms): (&u32, &f32)| {
            let network_ms = amount("path_ms", *ms)?;
            Ok(Measured {
                site: site_index("sites", *site)?,
                network_ms,
                estimate_ms: network_ms,
                evidence: Evidence::default(),
            })
        };
        let moved: Result<Vec<Measured>, StateFault> = pairs.map(path).collect();
        let mut moved = moved?;
        moved.sort_by_key(|path| path.site);
        let paths = GroupPaths {
            moved,
            ..GroupPaths::default()
        };
        Ok((group("groups", told.cell, told.asn)?, paths))
    };
    let groups: Result<Vec<_>, StateFault> = message.groups.iter().map(read).collect();
    Ok(NetworkTable::new(groups?))
}

/// The sites that are tried.
pub(super) fn trials_message(trials: &Trials) -> Vec<proto::FollowedTrial> {
    let message = |trial: &Trial| proto::FollowedTrial {
        site: u32::from(trial.site.0),
        cell: trial.group.map(|group| group.cell.id()),
        asn: trial.group.and_then(|group| group.asn).map_or(0, Asn::get),
        gain_ms: trial.gain_ms,
        slice: u32::from(trial.slice),
    };
    trials.all().iter().map(message).collect()
}

/// Reads them.
pub(super) fn trials(message: &proto::FollowedState) -> Result<Trials, StateFault> {
    let count = message.trials.len();
    same_length("trials", count, count.min(MAX_TRIALS))?;
    let read = |trial: &proto::FollowedTrial| {
        Ok(Trial {
            site: site_index("trials", trial.site)?,
            group: (trial.cell)
                .map(|cell| group("trials", cell, trial.asn))
                .transpose()?,
            gain_ms: amount("trials", trial.gain_ms)?,
            slice: slice(trial.slice)?,
        })
    };
    let trials: Result<Vec<Trial>, StateFault> = message.trials.iter().map(read).collect();
    Ok(Trials::new(trials?))
}

/// How many keys; a sidecar that does not say so tries with the usual slice.
fn slice(told: u32) -> Result<u16, StateFault> {
    let slice = match told {
        0 => Some(SLICE),
        _ => u16::try_from(told).ok(),
    };
    slice.ok_or_else(|| fault("trials", format!("holds a slice of {told}, of 65536")))
}

fn group(field: &'static str, cell: u32, asn: u32) -> Result<Group, StateFault> {
    let known = Cell::from_id(cell);
    let cell =
        known.ok_or_else(|| fault(field, format!("holds {cell}, which the grid has not")))?;
    Ok(Group {
        cell,
        asn: Asn::new(asn),
    })
}
