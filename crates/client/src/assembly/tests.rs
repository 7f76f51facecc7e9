//! A copy decides as the original, whatever the fleet's behaviour.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use tradewind_engine::evaluate::evaluate;
use tradewind_engine::freshness::floors::NodeFloors;
use tradewind_engine::freshness::lifetime::Pace;
use tradewind_engine::freshness::{Bounds, Ledger};
use tradewind_engine::geo::group::Group;
use tradewind_engine::geo::place::Asn;
use tradewind_engine::hash::KeyHash;
use tradewind_engine::model::{AdminState, NodeIndex, SiteIndex};
use tradewind_engine::score::Terms;
use tradewind_engine::signal::hot::{HotKey, HotTable};
use tradewind_engine::signal::network::{GroupPaths, Measured, NetworkTable};
use tradewind_engine::signal::observation::{
    AttemptResult, CacheResult, DecisionNumber, Dispatch, Named, Outcome, Reporter,
};
use tradewind_engine::signal::trial::{SLICE, Trial, Trials};
use tradewind_engine::signal::{
    Admission, Evidence, NodeSignals, Readmission, Signals, SiteSignals, Standing,
};
use tradewind_engine::snapshot::{GeoState, Parts};
use tradewind_engine::time::Moment;
use tradewind_engine::topology::{States, Topology};
use tradewind_sidecar::example;
use tradewind_sidecar::geoip::{Limits, decode_and_compile};
use tradewind_wire::answer::{self, Envelope};
use tradewind_wire::decided;
use tradewind_wire::follow::state_message;
use tradewind_wire::proto::purge_selector::Of;
use tradewind_wire::purge;
use tradewind_wire::told_place;

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
    let texts = Texts {
        policy: example::POLICY.into(),
        topology: example::TOPOLOGY.into(),
    };
    let edition = Edition::compile(&texts, &Names::new("p", "t"), Known::default()).unwrap();
    let geo = decode_and_compile(example::GEO.to_vec(), &Limits::default());
    let mut parts = Parts {
        topology: Arc::clone(edition.topology()),
        policy: Arc::clone(edition.policy()),
        candidate: None,
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
        let query = buffer.read(request, &mut room, calm.reading());
        let decided = evaluate(&calm, &query.unwrap());
        let plan = Decision::new(&calm, &decided).plan()?;
        Some(HotKey {
            key: decided.key,
            set: calm.table(plan.tiers.first()?.set).number(),
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
        full: random.one_of(&[0, 0, 90, 255]),
        shed: random.one_of(&[0, 0, 100, 300, 600]),
        is_hot: random.below(3) == 0,
        in_flight: f32::from(random.below(50)),
        latency_ms: random.ratio() * 20.0,
    }
}

/// What is known of paths: some of a cell's networks know better, some nothing special.
fn paths(random: &mut Random, parts: &Parts, sites: u16) -> NetworkTable {
    let mut groups = BTreeMap::<Group, GroupPaths>::new();
    for cell in parts.geo.cells().iter().step_by(3) {
        for asn in [0, 64_496, 64_497] {
            let mut paths = GroupPaths::default();
            let site = SiteIndex(random.below(sites));
            let network_ms = random.ratio() * 60.0;
            let list = random.one_of(&[true, false]);
            let list = if list {
                &mut paths.moved
            } else {
                &mut paths.others
            };
            list.push(Measured {
                site,
                network_ms,
                estimate_ms: network_ms,
                evidence: Evidence::default(),
            });
            let asn = Asn::new(asn);
            groups.insert(Group { cell: *cell, asn }, paths);
        }
    }
    NetworkTable::lending(groups)
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
        full: random.one_of(&[0, 0, 90, 255]),
        utilisation: 0.0,
    };
    let standing = |random: &mut Random| Standing {
        terms: Terms {
            queue: random.ratio() * 9.0,
            miss: random.ratio() * 20.0,
            error: random.ratio(),
            bias: -random.ratio(),
            service: random.ratio() * 5.0,
            ..Terms::default()
        },
        held_ms: random.ratio() * 3.0,
        ..Standing::default()
    };
    let classes = parts.policy.routing().classes().len() + 1;
    let network = paths(random, parts, sites);
    let whole_cells: Vec<_> = (parts.geo.cells().iter())
        .map(|cell| {
            Some(Group {
                cell: *cell,
                asn: None,
            })
        })
        .chain([None])
        .collect();
    let trial = |random: &mut Random| Trial {
        site: SiteIndex(random.below(sites)),
        group: random.one_of(&whole_cells),
        gain_ms: random.ratio() * 400.0,
        slice: random.one_of(&[SLICE, SLICE * 16]),
    };
    let trials = Trials::new((0..40).map(|_| trial(random)).collect());
    let sets = parts.policy.routing().node_sets().len();
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
        trials,
        paces: (0..classes)
            .map(|_| Pace::from_byte(u8::try_from(random.below(120)).unwrap()))
            .collect(),
        turn: u32::from(random.below(2)) * 7,
        retries_withheld: random.one_of(&[0, 0, 128]),
        isolated: random.below(4) == 0,
        ..Signals::default()
    }
}

fn states(random: &mut Random, topology: &Topology) -> States {
    let all = [
        AdminState::Ready,
        AdminState::Drain,
        AdminState::Maintenance,
    ];
    let some = topology.nodes().iter().step_by(7);
    some.map(|node| (node.id.clone(), random.one_of(&all)))
        .collect()
}

/// What was purged: what the sidecar decides by, and what it tells of it.
struct Purged {
    theirs: Ledger,
    own: Purges,
    floors: NodeFloors,
    last: u64,
}

impl Purged {
    fn new() -> Self {
        Self {
            theirs: Ledger::new(Bounds::default()),
            own: Purges::new(Bounds::default().entries, clock::now()),
            floors: NodeFloors::default(),
            last: 0,
        }
    }

    /// Purges some more; and some nodes have done some of that.
    fn purge(&mut self, random: &mut Random, topology: &Topology) {
        let mut told = proto::FollowedPurges {
            is_all: true,
            is_anew: self.last == 0,
            ..proto::FollowedPurges::default()
        };
        for _ in 0..20 {
            self.last += 1 + u64::from(random.below(5));
            let (url, prefix) = random.one_of(&[
                (
                    "https://www.example.com/video/",
                    "https://www.example.com/video",
                ),
                (
                    "https://www.example.com/images/",
                    "https://www.example.com/images/1",
                ),
                (
                    "https://s1.static.example.com/",
                    "https://www.example.com/api/7",
                ),
            ]);
            let of = match random.below(6) {
                0 => Of::Prefix(prefix.to_owned()),
                1 => Of::Host("other.example.org".to_owned()),
                _ => Of::Url(format!("{url}{}", random.below(40))),
            };
            let selector = proto::PurgeSelector {
                of: Some(of),
                exact_query: false,
            };
            let is_soft = random.below(4) == 0;
            let purged = proto::Purged {
                sequence: self.last,
                selectors: vec![selector],
                not_older_than_unix_ms: u64::from(is_soft) * 1_000_000 * self.last,
                ..proto::Purged::default()
            };
            self.theirs.apply(Moment(0), 0, &purge::purge(&purged));
            told.purges.push(proto::FollowedPurge {
                purged: Some(purged),
                age_ms: 0,
            });
        }
        let nodes = topology.nodes().iter().step_by(3);
        let floors = nodes.map(|node| {
            let floor = u64::from(random.below(u16::try_from(self.last).unwrap() + 1));
            (Box::from(&*node.id), floor)
        });
        self.floors = NodeFloors::new(floors);
        let mut message = proto::FollowedFloors::default();
        for (node, floor) in self.floors.iter() {
            message.nodes.push(node.to_owned());
            message.sequences.push(floor);
        }
        (told.head, told.floors) = (self.last, Some(message));
        self.own.take(&told, clock::now());
    }

    /// What the sidecar decides, and what may be served.
    fn decide(&self, original: &Snapshot, query: &Query<'_>) -> (Evaluation, Fresh) {
        let evaluation = evaluate(original, query);
        let versions = self.theirs.versions();
        let fresh = Decision::new(original, &evaluation).fresh(versions, query);
        let topology = original.topology();
        let is_behind = |node| (self.floors).is_behind(&topology.node(node).id, fresh.version);
        let located = locate::locate(original, query);
        let evaluation = evaluation.past(original, query, located, is_behind).0;
        let is_served = evaluation.verdict == Verdict::Route;
        (evaluation, if is_served { fresh } else { Fresh::default() })
    }
}

/// A decision made from a copy.
const NUMBER: DecisionNumber = DecisionNumber(DecisionNumber::COPY | 7);

/// What the control loop beside the original hears of a decision, by an outcome of it.
fn as_told(made: Option<(KeyHash, proto::DecidedAlone)>, original: &Snapshot) -> Option<Dispatch> {
    let (key, decided) = made?;
    let message = proto::Outcome {
        decided: Some(decided),
        ..proto::Outcome::default()
    };
    let outcome = Outcome {
        decision: Some(NUMBER),
        attempt: 1,
        reporter: Reporter(0),
        node: NodeIndex(0),
        result: AttemptResult::Ok,
        status: 200,
        first_byte_us: 0,
        cache: CacheResult::Unknown,
        bytes: 0,
        client_round_trip_us: 0,
        key: Some(key),
    };
    let further = Outcome {
        attempt: 2,
        ..outcome
    };
    for (outcome, revision) in [(&outcome, 6), (&further, 5)] {
        assert!(decided::dispatch(&message, outcome, (original, revision)).is_none());
    }
    let told = decided::dispatch(&message, &outcome, (original, 5));
    told.map(|(dispatch, _)| dispatch)
}

/// Which other nodes were named is not told.
fn as_named_first(dispatch: Dispatch) -> Dispatch {
    Dispatch {
        named: Named::new([dispatch.node]),
        ..dispatch
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_copy_decides_as_the_original(seed: u64) {
        let mut random = Random(seed);
        let requests: Vec<_> = (0..120).map(|_| request(&mut random)).collect();
        let mut assembly = Assembly::default();
        let (mut purged, limiter) = (Purged::new(), OnceLock::new());
        let mut versioned = 0;
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
            purged.purge(&mut random, original.topology());
            let beside = Beside {
                decision_id: "",
                purges: &purged.own,
                limiter: &limiter,
            };
            for request in &requests {
                let (mut room, mut buffer) = (QueryRoom::default(), QueryBuffer::default());
                let reading = original.reading();
                let query = buffer.read(request, &mut room, reading).unwrap();
                let class = query.client.ip.and_then(|ip| original.geo().lookup(ip));
                let place = class.map(|class| original.geo().place(class));
                let (evaluation, fresh) = purged.decide(&original, &query);
                versioned += usize::from(fresh.version > 0);
                let envelope = Envelope {
                    request_id: &request.request_id,
                    decision_id: "",
                    revision: 5,
                    policy_digest: &original.policy().digest().short(),
                    freshness_floor: 0,
                    fresh,
                    is_freshness_known: true,
                    known_place: place,
                };
                let mut wanted = answer::message(&Decision::new(&original, &evaluation), &envelope);
                let told = wanted.place.take();
                let told = told.as_ref().map(told_place);
                let own = copy.decide(
                    &Question::of(request),
                    (|_| told, &beside),
                    |ruling| {
                        let fresh = ruling.fresh;
                        answer::message(&ruling.decision, &Envelope { known_place: None, fresh, ..envelope })
                    },
                );
                prop_assert_eq!(own.unwrap(), wanted);
                let theirs = Decision::new(&original, &evaluation).dispatch(NUMBER);
                let made = copy.decide(&Question::of(request), (|_| told, &beside), |ruling| {
                    let tier = ruling.decision.tier();
                    let dispatch = ruling.decision.dispatch(NUMBER);
                    dispatch.zip(tier).map(|(dispatch, tier)| {
                        (dispatch.key, decided::message(&dispatch, tier.affinity, 5))
                    })
                });
                prop_assert_eq!(as_told(made.unwrap(), &original), theirs.map(as_named_first));
            }
        }
        prop_assert!(versioned > 20, "{versioned} of 240 were purged");
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
    assert!(matches!(refused, CopyFault::OtherText(Which::Topology)));
    let other = format!("{}\n# other", example::POLICY);
    let refused = assembly.next(texts(&other, example::TOPOLOGY), &state);
    assert!(matches!(refused, Err(CopyFault::OtherText(Which::Policy))));
    let refused = assembly.next(texts("{", example::TOPOLOGY), &state);
    assert!(matches!(
        refused,
        Err(CopyFault::Unusable(Which::Policy, _))
    ));
    assert_eq!(assembly.holds(), proto::FollowRequest::default());
    assembly
        .next(texts(example::POLICY, example::TOPOLOGY), &state)
        .unwrap();
    assert_eq!(assembly.holds().policy_digest, state.policy_digest);
}

#[test]
fn a_policy_with_expressions_that_this_build_cannot_read_is_told_apart() {
    use tradewind_engine::document::{Also, Diagnostic, Diagnostics};
    let refused = |code| {
        let mut findings = Diagnostics::default();
        findings.push(Diagnostic {
            code,
            file: "policy".into(),
            path: String::new(),
            line: 1,
            column: 1,
            excerpt: String::new(),
            marked: 0..0,
            message: String::new(),
            help: String::new(),
            also: Also::default(),
        });
        CopyFault::from(Refused {
            which: Which::Policy,
            findings,
        })
    };
    assert!(matches!(refused(Code::P045), CopyFault::Expressions));
    assert!(matches!(refused(Code::P035), CopyFault::Unusable(..)));
}
