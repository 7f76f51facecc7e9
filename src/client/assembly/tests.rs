//! A copy decides as the original, whatever the fleet's behaviour.

use proptest::prelude::*;

use super::*;
use crate::engine::evaluate::evaluate;
use crate::engine::model::SiteIndex;
use crate::engine::score::Terms;
use crate::engine::signal::hot::{HotKey, HotTable};
use crate::engine::signal::network::{Measured, NetworkTable};
use crate::engine::signal::{Admission, Evidence, NodeSignals, Readmission, SiteSignals, Standing};
use crate::engine::snapshot::GeoState;
use crate::example;
use crate::sidecar::geoip::{Limits, decode_and_compile};
use crate::sidecar::wire::follow::state_message;
use crate::sidecar::wire::told_place;

/// Numbers that look random and are the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u16) -> u16 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u16::try_from((self.0 >> 33) % u64::from(bound)).unwrap()
    }

    fn ratio(&mut self) -> f32 {
        f32::from(1 + self.below(1_000)) / 1_000.0
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.below(u16::try_from(all.len()).unwrap()))]
    }
}

fn request(random: &mut Random) -> proto::DecideRequest {
    let number = random.below(40);
    let (host, path) = random.one_of(&[
        ("www.example.com", "/video/"),
        ("www.example.com", "/api/"),
        ("www.example.com", "/account/"),
        ("www.example.com", "/images/"),
        ("s1.static.example.com", "/"),
        ("other.example.org", "/"),
    ]);
    let network = random.below(105);
    let host_part = random.below(255);
    let ip = match random.below(8) {
        0 => format!("192.0.2.{host_part}"),
        1 => format!("203.0.113.{host_part}"),
        2 => format!("2001:db8:{network:x}::1"),
        _ => format!("198.18.{network}.{host_part}"),
    };
    let location = proto::Location {
        latitude: 40.7,
        longitude: -74.0,
    };
    proto::DecideRequest {
        request_id: random.below(9_999).to_string(),
        host: host.to_owned(),
        path: format!("{path}{number}"),
        client: Some(proto::Client {
            ip,
            location: (random.below(9) == 0).then_some(location),
            ..proto::Client::default()
        }),
        ..proto::DecideRequest::default()
    }
}

/// The example fleet, uneven in every way that decisions look at; the keys of some of these requests are hot.
fn parts(random: &mut Random, requests: &[proto::DecideRequest]) -> Parts {
    let topology = topology::compile("t", example::TOPOLOGY).topology.unwrap();
    let policy = policy::compile("p", example::POLICY, &topology).policy;
    let geo = decode_and_compile(example::GEO.to_vec(), &Limits::default());
    let mut parts = Parts {
        topology: Arc::new(topology),
        policy: Arc::new(policy.unwrap()),
        geo: Arc::new(geo.unwrap().ranges),
        geo_state: GeoState::Good,
        here: None,
        signals: Arc::default(),
    };
    let hot = hot_keys(&parts, requests);
    parts.signals = Arc::new(signals(random, &parts, hot));
    parts.topology = Arc::new(parts.topology.with_states(&states(random, &parts.topology)));
    parts
}

/// The keys of every fifth request.
fn hot_keys(parts: &Parts, requests: &[proto::DecideRequest]) -> HotTable {
    let calm = Snapshot::build(1, parts.clone(), None);
    let keys = requests.iter().step_by(5).filter_map(|request| {
        let (mut room, mut buffer) = (QueryRoom::default(), QueryBuffer::default());
        let query = buffer.read(request, &mut room, calm.policy().reading());
        let decided = evaluate(&calm, &query.unwrap());
        let plan = Decision::new(&calm, &decided).plan()?;
        Some(HotKey {
            key: decided.key,
            set: plan.tiers.first()?.set,
            site: decided.sites.first()?.site,
            share: 0.0,
            copies: 3,
        })
    });
    HotTable::new(keys.collect())
}

fn node(random: &mut Random) -> NodeSignals {
    let admissions = [
        Admission::Admitted,
        Admission::Admitted,
        Admission::Admitted,
        Admission::Probing { slice: 9_000 },
        Admission::Overloaded,
        Admission::Unknown,
        Admission::Unhealthy,
        Admission::BreakerOpen,
    ];
    NodeSignals {
        admission: random.one_of(&admissions),
        weight_factor: random.ratio(),
        headroom: random.ratio(),
        spill: random.one_of(&[0, 0, 60, 200]),
        is_hot: random.below(3) == 0,
        in_flight: f32::from(random.below(50)),
        latency_ms: random.ratio() * 20.0,
    }
}

fn signals(random: &mut Random, parts: &Parts, hot: HotTable) -> Signals {
    let nodes = parts
        .topology
        .nodes()
        .iter()
        .map(|_| node(random))
        .collect();
    let sites = u16::try_from(parts.topology.sites().len()).unwrap();
    let site = |random: &mut Random| SiteSignals {
        spill: random.one_of(&[0, 0, 0, 120]),
        utilisation: 0.0,
    };
    let standing = |random: &mut Random| Standing {
        terms: Terms {
            queue: random.ratio() * 9.0,
            miss: random.ratio() * 20.0,
            error: random.ratio(),
            bias: -random.ratio(),
            ..Terms::default()
        },
        ..Standing::default()
    };
    let classes = parts.policy.classes().len() + 1;
    let cells = u32::try_from(parts.geo.cells().len()).unwrap();
    let measured = (0..cells).step_by(3).map(|cell| {
        let measured = Measured {
            site: SiteIndex(random.below(sites)),
            network_ms: random.ratio() * 60.0,
            evidence: Evidence::default(),
        };
        (cell, measured)
    });
    let network = NetworkTable::new(measured.collect::<Vec<_>>());
    let sets = parts.policy.node_sets().len();
    Signals {
        nodes,
        sites: (0..sites).map(|_| site(random)).collect(),
        standing: (0..usize::from(sites) * classes)
            .map(|_| standing(random))
            .collect(),
        readmission: (0..sets)
            .map(|_| random.one_of(&Readmission::ALL))
            .collect(),
        network,
        hot,
        isolated: random.below(4) == 0,
        ..Signals::default()
    }
}

fn states(random: &mut Random, topology: &Topology) -> BTreeMap<Box<str>, AdminState> {
    let all = [
        AdminState::Ready,
        AdminState::Drain,
        AdminState::Maintenance,
    ];
    let some = topology.nodes().iter().step_by(7);
    some.map(|node| (node.id.clone(), random.one_of(&all)))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_copy_decides_as_the_original(seed: u64) {
        let mut random = Random(seed);
        let requests: Vec<_> = (0..120).map(|_| request(&mut random)).collect();
        let mut assembly = Assembly::default();
        // Two in a row: what the second takes over from the first must not show.
        for generation in 1..=2 {
            let original = Snapshot::build(generation, parts(&mut random, &requests), None);
            let texts = if generation == 1 {
                NewTexts {
                    policy: Some(example::POLICY.to_owned()),
                    topology: Some(example::TOPOLOGY.to_owned()),
                }
            } else {
                NewTexts::default()
            };
            let copy = assembly.next(texts, &state_message(&original, 5)).unwrap();
            for request in &requests {
                let (mut room, mut buffer) = (QueryRoom::default(), QueryBuffer::default());
                let reading = original.policy().reading();
                let query = buffer.read(request, &mut room, reading).unwrap();
                let class = query.client.ip.and_then(|ip| original.geo().lookup(ip));
                let place = class.map(|class| original.geo().place(class));
                let evaluation = evaluate(&original, &query);
                let envelope = Envelope {
                    request_id: &request.request_id,
                    decision_id: "",
                    revision: 5,
                    policy_digest: &original.policy().digest().short(),
                    freshness_floor: 0,
                    known_place: place,
                };
                let mut wanted = answer::message(&Decision::new(&original, &evaluation), &envelope);
                let told = wanted.place.take();
                let told = told.as_ref().map(told_place);
                prop_assert_eq!(copy.decide(request, told).unwrap(), wanted);
            }
        }
    }
}

#[test]
fn what_is_not_meant_for_each_other_is_refused() {
    let mut random = Random(1);
    let original = Snapshot::build(1, parts(&mut random, &[]), None);
    let state = state_message(&original, 1);
    let mut assembly = Assembly::default();
    let texts = |policy: &str, topology: &str| NewTexts {
        policy: Some(policy.to_owned()),
        topology: Some(topology.to_owned()),
    };
    let refused = assembly.next(NewTexts::default(), &state).unwrap_err();
    assert!(matches!(refused, CopyFault::OtherText("topology")));
    let other = format!("{}\n# other", example::POLICY);
    let refused = assembly.next(texts(&other, example::TOPOLOGY), &state);
    assert!(matches!(refused, Err(CopyFault::OtherText("policy"))));
    let refused = assembly.next(texts("{", example::TOPOLOGY), &state);
    assert!(matches!(refused, Err(CopyFault::Unusable("policy", _))));
    assert_eq!(assembly.holds(), proto::FollowRequest::default());
    assembly
        .next(texts(example::POLICY, example::TOPOLOGY), &state)
        .unwrap();
    assert_eq!(assembly.holds().policy_digest, state.policy_digest);
}
