//! A request message is refused with a reason, or decided; the fast encoding of the answer equals the plain one.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use prost::Message;
use tradewind::engine::decision::Decision;
use tradewind::engine::evaluate::evaluate;
use tradewind::engine::explanation::Explanation;
use tradewind::engine::freshness::Fresh;
use tradewind::engine::snapshot::{GeoState, Parts, Snapshot};
use tradewind::engine::{policy, topology};
use tradewind::example;
use tradewind::sidecar::geoip;
use tradewind::sidecar::wire::answer::{Answer, EncodedNodes, Envelope, message};
use tradewind::sidecar::wire::{HomeTimes, QueryBuffer, QueryRoom, explanation, proto};

static WORLD: LazyLock<(Snapshot, EncodedNodes)> = LazyLock::new(|| {
    let topology = topology::compile("topology", example::TOPOLOGY).topology.expect("the example is good");
    let policy = policy::compile("policy", example::POLICY, &topology).policy.expect("the example is good");
    let geo = geoip::decode_and_compile(example::GEO.to_vec(), &geoip::Limits::default()).expect("the example is good");
    let nodes = EncodedNodes::new(&topology);
    let parts = Parts {
        topology: Arc::new(topology),
        policy: Arc::new(policy),
        candidate: None,
        geo: Arc::new(geo.ranges),
        geo_state: GeoState::Good,
        here: None,
        signals: Arc::default(),
    };
    (Snapshot::build(1, parts, None), nodes)
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(request) = proto::DecideRequest::decode(bytes) else { return };
    let (snapshot, nodes) = &*WORLD;
    let (mut room, mut buffer) = (QueryRoom::default(), QueryBuffer::default());
    let query = match buffer.read(&request, &mut room, snapshot.reading()) {
        Ok(query) => query,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let evaluation = evaluate(snapshot, &query);
    let decision = Decision::new(snapshot, &evaluation);
    let envelope = Envelope {
        request_id: &request.request_id,
        decision_id: "0123456789abcdef01234567",
        revision: 1,
        policy_digest: "0123456789abcdef",
        freshness_floor: request.object_version_floor,
        fresh: Fresh::default(),
        known_place: request.want_place.then_some(evaluation.located.place),
    };
    let fast = Answer::single(&decision, &envelope, nodes);
    assert_eq!(fast.as_bytes(), message(&decision, &envelope).encode_to_vec());
    let why = Explanation::new(snapshot, &query, &evaluation);
    assert!(!explanation(&decision, &why, HomeTimes::default()).summary.is_empty());
});
