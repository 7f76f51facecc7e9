//! The least of a request that leads to the same answer: what may be kept of it.
//!
//! What decides cannot be told from the outside, so it is tried: less and less of the request is decided again, and the first
//! that gets the very same answer is kept. Of the client that is its network, and where the geo files have it; where its whole
//! address decided (pools that keep a client on its node, requests without an id for hot keys), another address that happens
//! to get the same answer. So the log says no more of an address than its network, or else what the answer itself says.
//! Where none is found nothing is kept of the request: what is in the log names nobody.

use std::net::{IpAddr, Ipv6Addr};

use crate::wire::answer::{self, Envelope};
use crate::wire::{QueryBuffer, QueryRoom, mask, proto};
use tradewind_engine::decision::Decision;
use tradewind_engine::evaluate::{Evaluation, evaluate_at};
use tradewind_engine::freshness::Fresh;
use tradewind_engine::geo::cell::Cell;
use tradewind_engine::geo::place::Place;
use tradewind_engine::hash;
use tradewind_engine::locate::{locate_at, locate_told};
use tradewind_engine::query::Query;
use tradewind_engine::snapshot::Snapshot;

/// Addresses tried in place of one that decided: a millisecond or two of them.
const STAND_INS: u64 = 1_024;

/// What is known of a client whose address is not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Known {
    /// What the geo files say of it; what callers and the policy say counts beside that.
    Told(Option<Place>),
    /// Where it is, whoever says so.
    Located(Place),
}

/// How much of a client is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Its network.
    Network,
    /// Nothing: another address that gets the same answer stands in its place.
    StandIn,
}

impl Left {
    /// The word for it in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::StandIn => "stand_in",
        }
    }
}

/// The least of a request.
#[derive(Debug, Clone)]
pub struct Least {
    /// What is left of it.
    pub request: proto::DecideRequest,
    /// What is known of its client.
    pub known: Known,
    /// How much of the client is left.
    pub left: Left,
}

/// Decides a request of a client of whom this is known.
pub fn evaluate_known(snapshot: &Snapshot, query: &Query<'_>, known: &Known) -> Evaluation {
    let located = match known {
        Known::Told(place) => locate_told(snapshot, query, *place),
        Known::Located(place) => locate_at(snapshot, *place),
    };
    evaluate_at(snapshot, query, located)
}

/// The least that gets the answer of `evaluation`; `None` where nothing less than the client's address does.
pub(super) fn least(
    request: &proto::DecideRequest,
    evaluation: &Evaluation,
    snapshot: &Snapshot,
) -> Option<Least> {
    let wanted = Wanted {
        evaluation,
        answer: answer_of(snapshot, evaluation),
        snapshot,
    };
    let ip = request.client.as_ref().map(|client| &client.ip);
    let ip = ip.and_then(|ip| ip.parse::<IpAddr>().ok());
    let class = ip.and_then(|ip| snapshot.geo().lookup(ip));
    let told = Known::Told(class.map(|class| snapshot.geo().place(class)));
    let content = contents(request, snapshot);
    let request = content
        .into_iter()
        .find(|request| wanted.is_got(request, &told, Same::KeyToo))?;
    let masked = with_masked_client(request.clone(), evaluation.located.place.cell());
    if wanted.is_got(&masked, &told, Same::KeyToo) {
        return Some(Least {
            request: masked,
            known: told,
            left: Left::Network,
        });
    }
    let known = Known::Located(evaluation.located.place);
    let stand_in = (0..STAND_INS).map(|number| with_address(masked.clone(), stand_in(number)));
    let mut got = stand_in.filter(|request| wanted.is_got(request, &known, Same::Answer));
    Some(Least {
        request: got.next()?,
        known,
        left: Left::StandIn,
    })
}

/// A request with less and less left out: without query, key and what headers say; with the query; with all of it that the
/// policy looks at.
fn contents(request: &proto::DecideRequest, snapshot: &Snapshot) -> [proto::DecideRequest; 3] {
    let mut bare = request.clone();
    mask(&mut bare);
    bare.client.clone_from(&request.client);
    bare.want_place = false;
    let with_query = proto::DecideRequest {
        path: request.path.clone(),
        query: request.query.clone(),
        ..bare.clone()
    };
    let reading = snapshot.routing().reading();
    let mut all = request.clone();
    all.want_place = false;
    all.headers.retain(|header| reading.looks_at(&header.name));
    [bare, with_query, all]
}

/// The same request with no more of the client than its network, and the middle of its cell.
fn with_masked_client(
    mut request: proto::DecideRequest,
    cell: Option<Cell>,
) -> proto::DecideRequest {
    let mut masked = proto::DecideRequest {
        client: request.client.take(),
        ..proto::DecideRequest::default()
    };
    mask(&mut masked);
    if let Some(place) = masked.client.as_mut().and_then(|it| it.location.as_mut())
        && let Some(center) = cell.map(Cell::center)
    {
        (place.latitude, place.longitude) = (center.latitude(), center.longitude());
    }
    request.client = masked.client;
    request
}

fn with_address(mut request: proto::DecideRequest, address: IpAddr) -> proto::DecideRequest {
    let client = request.client.get_or_insert_default();
    client.ip = address.to_string();
    request
}

/// An address of those that no network uses (RFC 4193), the same for the same number.
fn stand_in(number: u64) -> IpAddr {
    let low = hash::key(&[&number.to_le_bytes()]).0;
    let high = low.rotate_left(29) >> 8 | 0xfd << 56;
    Ipv6Addr::from(u128::from(high) << 64 | u128::from(low)).into()
}

/// What must be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Same {
    /// What the caller gets.
    Answer,
    /// And the key that nodes were ranked by.
    KeyToo,
}

struct Wanted<'a> {
    evaluation: &'a Evaluation,
    answer: proto::DecideResponse,
    snapshot: &'a Snapshot,
}

impl Wanted<'_> {
    fn is_got(&self, request: &proto::DecideRequest, known: &Known, same: Same) -> bool {
        let (mut room, mut buffer) = (QueryRoom::default(), QueryBuffer::default());
        let reading = self.snapshot.routing().reading();
        let Ok(query) = buffer.read(request, &mut room, reading) else {
            return false;
        };
        let evaluation = evaluate_known(self.snapshot, &query, known);
        (same == Same::Answer || evaluation.key == self.evaluation.key)
            && evaluation.matched == self.evaluation.matched
            && answer_of(self.snapshot, &evaluation) == self.answer
    }
}

/// An answer without what its request gives by itself.
fn answer_of(snapshot: &Snapshot, evaluation: &Evaluation) -> proto::DecideResponse {
    let envelope = Envelope {
        request_id: "",
        decision_id: "",
        revision: 0,
        policy_digest: "",
        freshness_floor: 0,
        fresh: Fresh::default(),
        is_freshness_known: true,
        known_place: None,
    };
    answer::message(&Decision::new(snapshot, evaluation), &envelope)
}
