//! The promise that an object has one home: equal key and client group, equal first node.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::FixedState;

use crate::engine::evaluate::Evaluation;
use crate::engine::geo::distance::UnitVector;
use crate::engine::geo::place::{Asn, Country};
use crate::engine::hash::{self, KeyHash};
use crate::engine::query::network_of;
use crate::engine::snapshot::Snapshot;
use crate::sidecar::wire::proto;

/// Most pairs of key and group that are followed; later ones are counted and left out. About 32 MB.
const MAX_FOLLOWED: usize = 1 << 20;

/// What a report looks at beside the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    /// Names the key and the client's group.
    pub(super) unit: KeyHash,
    /// Where the client is, when something says so.
    pub(super) client: Option<UnitVector>,
}

/// First nodes by key and group.
#[derive(Debug, Default)]
pub(super) struct Stability {
    first_nodes: HashMap<KeyHash, KeyHash, FixedState>,
    /// Answers compared with an earlier one.
    pub(super) compared: u64,
    /// Answers that named another node than the first for the same key and group.
    pub(super) violations: u64,
    /// Answers whose key and group came after the bound.
    pub(super) not_followed: u64,
}

/// The facts by this world: the key by the rule's recipe, the group by the geo tables.
pub(super) fn facts(
    snapshot: &Snapshot,
    evaluation: &Evaluation,
    request: &proto::DecideRequest,
) -> Facts {
    let located = &evaluation.located;
    let country = located.place.country.map(Country::letters);
    let asn = located.place.asn.map(Asn::get);
    // The size moves a request only when the cost term has a weight.
    let costs = snapshot.routing().score().cost_ms(1.0, 1.0) > 0.0;
    let size = if costs { request.size_hint_bytes } else { 0 };
    // Clients of one cell are one group; those whose place is vague are shared out by network.
    let group = match (located.place.is_vague(), &located.spot) {
        (false, Some(spot)) => spot.cell.id().to_le_bytes().to_vec(),
        _ => network_bytes(request),
    };
    let unit = hash::key(&[
        &evaluation.key.0.to_le_bytes(),
        &group,
        &country.unwrap_or_default(),
        &asn.unwrap_or_default().to_le_bytes(),
        &size.to_le_bytes(),
    ]);
    Facts {
        unit,
        client: (located.spot.filter(|_| !located.place.source.is_guess())).map(|spot| spot.point),
    }
}

/// The network of the client as text; empty where the request does not say who asks.
fn network_bytes(request: &proto::DecideRequest) -> Vec<u8> {
    let client = request.client.as_ref().map(|client| client.ip.parse());
    let network = client.and_then(Result::ok).map(network_of);
    network.map_or_else(Vec::new, |network: IpAddr| network.to_string().into_bytes())
}

/// The facts without a world: what was asked for, and by whom. Finer than key and group, so it finds less.
pub(super) fn facts_of_request(request: &proto::DecideRequest) -> Facts {
    let client = request.client.as_ref();
    let unit = hash::key(&[
        request.method.as_bytes(),
        request.host.as_bytes(),
        request.path.as_bytes(),
        request.query.as_bytes(),
        client.map_or("", |client| &client.ip).as_bytes(),
        &request.size_hint_bytes.to_le_bytes(),
    ]);
    Facts { unit, client: None }
}

impl Stability {
    /// Compares an answer with the first for the same key and group. Answers that are to bypass caches are free to go
    /// anywhere.
    pub(super) fn check(&mut self, unit: KeyHash, answer: &proto::DecideResponse) {
        let Some(first) = answer.candidates.first() else {
            return;
        };
        if answer.cache_hint != "store" {
            return;
        }
        // Another rule may use other pools for the same object.
        let unit = unit.then(answer.rule.as_bytes());
        let node = hash::key(&[first.node.as_bytes()]);
        match self.first_nodes.get(&unit) {
            Some(known) => {
                self.compared += 1;
                self.violations += u64::from(*known != node);
            }
            None if self.first_nodes.len() < MAX_FOLLOWED => {
                self.first_nodes.insert(unit, node);
            }
            None => self.not_followed += 1,
        }
    }

    /// Pairs of key and group that are followed.
    pub(super) fn followed(&self) -> usize {
        self.first_nodes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(node: &str, rule: &str, cache_hint: &str) -> proto::DecideResponse {
        proto::DecideResponse {
            rule: rule.into(),
            cache_hint: cache_hint.into(),
            candidates: vec![proto::Candidate {
                node: node.into(),
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    #[test]
    fn another_home_is_a_violation_unless_nothing_is_kept_there() {
        let unit = hash::key(&[b"object"]);
        let mut stability = Stability::default();
        stability.check(unit, &answer("a", "r", "store"));
        stability.check(unit, &answer("a", "r", "store"));
        stability.check(unit, &answer("b", "other rule", "store"));
        stability.check(unit, &answer("b", "r", "bypass"));
        stability.check(unit, &proto::DecideResponse::default());
        assert_eq!((stability.compared, stability.violations), (1, 0));
        stability.check(unit, &answer("b", "r", "store"));
        assert_eq!((stability.compared, stability.violations), (2, 1));
        assert_eq!(stability.followed(), 2);
    }
}
