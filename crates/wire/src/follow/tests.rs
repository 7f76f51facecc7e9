//! What is told comes back, whatever it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use tradewind_engine::balance::overload;
use tradewind_engine::geo::Location;
use tradewind_engine::geo::cell::Cell;
use tradewind_engine::geo::group::Group;
use tradewind_engine::geo::place::Asn;
use tradewind_engine::signal::Evidence;
use tradewind_engine::signal::network::{GroupPaths, Measured, NetworkTable};
use tradewind_engine::signal::trial::{Trial, Trials};
use tradewind_engine::snapshot::Parts;
use tradewind_engine::{policy, topology};

const TOPOLOGY: &str = include_str!("../../../../testdata/example/topology.yaml");
const POLICY: &str = include_str!("../../../../testdata/example/policy.yaml");

fn admission() -> impl Strategy<Value = Admission> {
    prop_oneof![
        Just(Admission::Admitted),
        any::<u16>().prop_map(|slice| Admission::Probing { slice }),
        Just(Admission::Overloaded),
        Just(Admission::Unknown),
        Just(Admission::Unhealthy),
        Just(Admission::BreakerOpen),
    ]
}

fn node() -> impl Strategy<Value = NodeSignals> {
    let numbers = (0.001..=1.0_f32, 0.0..9.0_f32, 0.0..99.0_f32, 0.0..99.0_f32);
    let spills = (any::<u8>(), any::<u8>(), 0..=overload::MAX_LEVEL);
    (admission(), spills, any::<bool>(), numbers).prop_map(
        |(
            admission,
            (spill, full, shed),
            is_hot,
            (weight_factor, headroom, in_flight, latency_ms),
        )| {
            NodeSignals {
                admission,
                weight_factor,
                headroom,
                spill,
                full,
                shed,
                is_hot,
                in_flight,
                latency_ms,
            }
        },
    )
}

fn standing() -> impl Strategy<Value = Standing> {
    let own = (0.0..9.0_f32, 0.0..9.0_f32, 0.0..99.0_f32, 0.0..9.0_f32);
    (own, -50.0..50.0_f32, -9.0..9.0_f32).prop_map(
        |((service, queue, miss, error), bias, held_ms)| Standing {
            terms: Terms {
                service,
                queue,
                miss,
                error,
                bias,
                ..Terms::default()
            },
            held_ms,
            ..Standing::default()
        },
    )
}

fn cells() -> Vec<Cell> {
    let places = [(48.0, 2.0), (-33.0, 151.0), (40.0, -74.0), (1.0, 103.0)];
    let places = places.map(|(lat, lon)| Cell::of(Location::new(lat, lon).unwrap()));
    let mut cells = places.to_vec();
    cells.sort_unstable();
    cells
}

fn trial() -> impl Strategy<Value = Trial> {
    let group = (0..5_usize, any::<u32>()).prop_map(|(cell, asn)| {
        cells().get(cell).map(|cell| Group {
            cell: *cell,
            asn: Asn::new(asn),
        })
    });
    let all = (0..3_u16, group, 0.0..99.0_f32, 1..u16::MAX);
    all.prop_map(|(site, group, gain_ms, slice)| Trial {
        site: SiteIndex(site),
        group,
        gain_ms,
        slice,
    })
}

fn signals() -> impl Strategy<Value = Signals> {
    let measured = vec((0..8_u32, 0..3_u16, 0.0..300.0_f32), 0..16);
    let hot = vec((any::<u64>(), 0..4_u16, 0..3_u16, 1..24_u8), 0..9);
    let readmission = vec((0..5_usize).prop_map(|at| Readmission::ALL[at]), 0..4);
    let sites = vec((any::<u8>(), any::<u8>()), 0..3);
    let lists = (vec(node(), 0..9), sites, vec(standing(), 0..9), readmission);
    let trials = vec(trial(), 0..9);
    (lists, measured, hot, trials, any::<bool>()).prop_map(
        |((nodes, sites, standing, readmission), mut measured, hot, trials, isolated)| {
            measured.sort_by_key(|(cell, site, _)| (*cell, *site));
            measured.dedup_by_key(|(cell, site, _)| (*cell, *site));
            let group = |cell: u32| Group {
                cell: cells()[cell as usize / 2],
                asn: Asn::new(64_496 * (cell % 2)),
            };
            let mut groups: BTreeMap<Group, GroupPaths> = BTreeMap::new();
            for (cell, site, network_ms) in measured {
                let paths = groups.entry(group(cell)).or_default();
                let path = Measured {
                    site: SiteIndex(site),
                    network_ms,
                    estimate_ms: network_ms,
                    evidence: Evidence::default(),
                };
                if network_ms < 100.0 {
                    paths.others.push(path);
                } else {
                    paths.moved.push(path);
                }
            }
            let hot = hot.into_iter().map(|(key, set, site, copies)| HotKey {
                key: KeyHash(key),
                set: SetNumber(set),
                site: SiteIndex(site),
                share: 0.0,
                copies,
            });
            let site = |(spill, full)| SiteSignals {
                spill,
                full,
                utilisation: 0.0,
            };
            Signals {
                nodes,
                sites: sites.into_iter().map(site).collect(),
                standing,
                readmission,
                network: NetworkTable::lending(groups),
                hot: HotTable::new(hot.collect()),
                trials: Trials::new(trials),
                turn: u32::from(isolated),
                retries_withheld: 7 * u8::from(isolated),
                isolated,
                ..Signals::default()
            }
        },
    )
}

fn snapshot(signals: Signals) -> Snapshot {
    let topology = topology::compile("t", TOPOLOGY).topology.unwrap();
    let topology = Arc::new(topology);
    let policy = policy::compile("p", POLICY, &topology).policy;
    let parts = Parts {
        policy: Arc::new(policy.unwrap()),
        candidate: None,
        topology,
        geo: Arc::default(),
        geo_state: GeoState::Degraded,
        here: Location::new(50.1, 8.7),
        signals: Arc::new(signals),
    };
    Snapshot::build(7, parts, None)
}

proptest! {
    #[test]
    fn all_that_decisions_read_comes_back(signals in signals()) {
        let snapshot = snapshot(signals);
        let message = state_message(&snapshot, 3);
        let told = read_state(&message).unwrap();
        let (before, after) = (snapshot.signals(), &told.signals);
        prop_assert_eq!((told.revision, told.generation), (3, 7));
        prop_assert_eq!(told.geo_state, GeoState::Degraded);
        prop_assert_eq!(told.here, Location::new(50.1, 8.7));
        prop_assert_eq!(&before.nodes, &after.nodes);
        prop_assert_eq!(&before.sites, &after.sites);
        prop_assert_eq!(&before.readmission, &after.readmission);
        prop_assert_eq!(before.hot.keys(), after.hot.keys());
        prop_assert_eq!(&before.trials, &after.trials);
        prop_assert_eq!(before.isolated, after.isolated);
        let sums = |signals: &Signals| -> Vec<[u32; 2]> {
            let sums = signals.standing.iter().map(|s| [s.choice_ms(), s.held_ms]);
            sums.map(|ms| ms.map(f32::to_bits)).collect()
        };
        prop_assert_eq!(sums(before), sums(after));
        for cell in cells() {
            for asn in [0, 64_496, 64_497] {
                let group = Some(Group { cell, asn: Asn::new(asn) });
                prop_assert_eq!(before.network.of_group(group), after.network.of_group(group));
            }
        }
        let states = snapshot.topology().nodes().iter().map(|node| node.state);
        prop_assert_eq!(told.node_states, states.collect::<Vec<_>>());
    }

    #[test]
    fn whatever_is_told_is_read_or_refused(
        bytes in vec(any::<u8>(), 0..9), numbers in vec(any::<u32>(), 0..9),
        floats in vec(any::<f32>(), 0..9),
    ) {
        let message = proto::FollowedState {
            geo_state: "good".into(),
            node_states: bytes.clone(),
            admissions: bytes.clone(),
            probed_slices: numbers.clone(),
            weight_factors: floats.clone(),
            headrooms: floats.clone(),
            node_spills: bytes.clone(),
            node_sheds: numbers.clone(),
            busy_nodes: bytes.clone(),
            in_flight: floats.clone(),
            latency_ms: floats.clone(),
            standing_ms: floats.clone(),
            groups: vec![proto::FollowedGroup {
                cell: numbers.first().copied().unwrap_or(5),
                asn: 7,
                sites: numbers,
                path_ms: floats,
            }],
            ..proto::FollowedState::default()
        };
        if let Ok(told) = read_state(&message) {
            prop_assert!(told.signals.nodes.iter().all(|node| node.weight_factor >= 0.0));
        }
    }
}
