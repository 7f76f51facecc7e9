//! Decisions that followers made themselves, as the control loop of their sidecar is told of them.
//!
//! A follower calls sets and classes by their positions, the sidecar by numbers of its own; nodes and sites have the same positions
//! in both while the revision is the same.

use super::proto;
use tradewind_engine::geo::cell::Cell;
use tradewind_engine::geo::group::Group;
use tradewind_engine::geo::place::Asn;
use tradewind_engine::hash::KeyHash;
use tradewind_engine::model::{LaneIndex, NodeIndex, SiteIndex};
use tradewind_engine::policy::{Affinity, ClassNumber, Priority};
use tradewind_engine::signal::observation::{Dispatch, Named, Outcome};
use tradewind_engine::snapshot::Snapshot;

const PRIORITIES: [Priority; 3] = [Priority::Low, Priority::Normal, Priority::Critical];
const AFFINITIES: [Affinity; 3] = [Affinity::Key, Affinity::Client, Affinity::None];

/// A decision, made from the copy of this revision, as it is told.
pub fn message(dispatch: &Dispatch, affinity: Affinity, revision: u64) -> proto::DecidedAlone {
    let place = |found: Option<usize>| found.and_then(|at| u32::try_from(at).ok());
    let group = dispatch.group;
    proto::DecidedAlone {
        revision,
        generation: dispatch.generation,
        set: u32::from(dispatch.set.0),
        site: u32::from(dispatch.site.0),
        node: dispatch.node.0,
        class: u32::from(dispatch.class.0),
        cell: group.map(|group| group.cell.id()),
        asn: group.and_then(|group| group.asn).map_or(0, Asn::get),
        priority: place(PRIORITIES.iter().position(|one| *one == dispatch.priority)).unwrap_or(1),
        affinity: place(AFFINITIES.iter().position(|one| *one == affinity)).unwrap_or(0),
        hot: dispatch.hot,
        trial: dispatch.is_trial,
        reusable: dispatch.is_reusable,
    }
}

/// What the control loop of a sidecar with this snapshot is told by an outcome of such a decision; `None` for other decisions, for further
/// attempts, and where positions mean nothing here.
pub fn dispatch(
    message: &proto::Outcome,
    outcome: &Outcome,
    (snapshot, revision): (&Snapshot, u64),
) -> Option<(Dispatch, Affinity)> {
    let number = outcome.decision.filter(|number| number.is_of_copy())?;
    let told = message.decided.as_ref()?;
    if told.revision != revision || outcome.attempt > 1 {
        return None;
    }
    let lane = snapshot.lane(LaneIndex::First);
    let (sets, classes) = (lane.numbered().sets(), lane.numbered().classes());
    let at = |position: u32| usize::try_from(position).ok();
    let topology = snapshot.topology();
    let (node, site) = (
        NodeIndex(told.node),
        SiteIndex(u16::try_from(told.site).ok()?),
    );
    topology.nodes().get(node.get())?;
    topology.sites().get(site.get())?;
    let group = told.cell.and_then(Cell::from_id).map(|cell| Group {
        cell,
        asn: Asn::new(told.asn),
    });
    let dispatch = Dispatch {
        number,
        generation: told.generation,
        lane: LaneIndex::First,
        key: outcome.key.unwrap_or(KeyHash(0)),
        set: *sets.get(at(told.set)?)?,
        site,
        node,
        group,
        class: classes
            .get(at(told.class)?)
            .copied()
            .unwrap_or(ClassNumber::NONE),
        priority: *PRIORITIES.get(at(told.priority)?)?,
        hot: told.hot,
        // Which others were named is learned as they are told of.
        named: Named::new([node]),
        is_reusable: told.reusable,
        is_trial: told.trial,
    };
    Some((dispatch, *AFFINITIES.get(at(told.affinity)?)?))
}
