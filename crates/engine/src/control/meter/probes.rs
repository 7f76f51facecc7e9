//! The requests that the meter asks again and again.

use std::sync::Arc;

use super::{Owner, PROBE_KEYS};
use crate::evaluate::evaluate;
use crate::geo::Location;
use crate::model::ClassIndex;
use crate::policy::{Affinity, Pool, Routing, SetIndex};
use crate::query::{Client, Query};
use crate::snapshot::Snapshot;

/// Most pairs of a pool and a site that clients are placed around.
const MAX_PLACES: usize = 1_024;

/// A request that nobody sends: to a pool, by a client.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Probe {
    pool: Arc<str>,
    client: Client,
}

impl Probe {
    fn pool_in<'p>(&self, routing: &'p Routing) -> Option<&'p Pool> {
        let mut pools = routing.pools().iter();
        pools.find(|pool| *pool.name == *self.pool)
    }

    /// The nodes it is decided among.
    pub(super) fn set_in(&self, routing: &Routing) -> Option<SetIndex> {
        self.pool_in(routing).map(Pool::set)
    }

    /// The content class that its pool's requests are taken for.
    pub(super) fn class_in(&self, routing: &Routing) -> ClassIndex {
        let pool = self.pool_in(routing);
        pool.map_or(ClassIndex(0), |pool| pool.plan.class_index)
    }

    /// Who answers it.
    pub(super) fn owner_in(&self, snapshot: &Snapshot, number: u64) -> Owner {
        let key = key(number);
        let query = Query {
            pool: Some(&self.pool),
            key: Some(&key),
            request_id: &key,
            candidates: Some(1),
            client: self.client,
            ..Query::default()
        };
        let evaluation = evaluate(snapshot, &query);
        // A key whose requests are shed for a while keeps its node.
        let first = evaluation.first_node();
        Owner {
            named: first.map(|node| (node, snapshot.topology().site_of(node))),
            cell: evaluation.located.spot.map(|spot| spot.cell),
        }
    }
}

/// A key that nobody else has, and that therefore is never hot.
fn key(number: u64) -> [u8; 24] {
    let mut key = *b"tradewind/probe/\0\0\0\0\0\0\0\0";
    for (byte, of_number) in key.iter_mut().rev().zip(number.to_be_bytes().iter().rev()) {
        *byte = *of_number;
    }
    key
}

/// The requests that are asked in this world.
pub(super) fn of(snapshot: &Snapshot) -> Vec<Probe> {
    let (routing, topology) = (snapshot.routing(), snapshot.topology());
    let keeps_keys = |pool: &&Pool| pool.tier.affinity != Affinity::None;
    let pools = routing.pools().iter().filter(keeps_keys);
    let pools: Vec<(Arc<str>, SetIndex)> = pools
        .map(|pool| (Arc::from(&*pool.name), pool.set()))
        .collect();
    let places: Vec<(&Arc<str>, Location)> = pools
        .iter()
        .flat_map(|(pool, set)| {
            let sites = routing.node_set(*set).sites().iter();
            sites.map(move |entry| (pool, topology.site(entry.site).location))
        })
        .collect();
    // Of too many places every so many-th, so that no pool is left out for its position.
    let step = places.len().div_ceil(MAX_PLACES).max(1);
    let places: Vec<_> = places.into_iter().step_by(step).collect();
    if places.is_empty() {
        return Vec::new();
    }
    let addresses = snapshot.geo().sample(PROBE_KEYS / 2);
    let mut addresses = addresses.iter().cycle();
    let numbered = (0_u64..).take(PROBE_KEYS).zip(places.iter().cycle());
    numbered
        .enumerate()
        .map(|(at, (number, (pool, location)))| {
            let known = (at % 2 == 1).then(|| addresses.next()).flatten();
            let client = known.map_or_else(
                || Client::made_up(*location, number),
                |ip| Client {
                    ip: Some(*ip),
                    ..Client::default()
                },
            );
            Probe {
                pool: Arc::clone(pool),
                client,
            }
        })
        .collect()
}
