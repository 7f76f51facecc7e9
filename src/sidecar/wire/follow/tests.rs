//! What is told comes back, whatever it is.

use std::sync::Arc;

use super::*;
use crate::engine::geo::Location;
use crate::engine::geo::ranges::{CellIndex, Ranges};
use crate::engine::snapshot::Parts;
use crate::engine::{policy, topology};
use crate::example;
use proptest::collection::vec;
use proptest::prelude::*;

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
    (admission(), any::<u8>(), any::<bool>(), numbers).prop_map(
        |(admission, spill, is_hot, (weight_factor, headroom, in_flight, latency_ms))| {
            NodeSignals {
                admission,
                weight_factor,
                headroom,
                spill,
                is_hot,
                in_flight,
                latency_ms,
            }
        },
    )
}

fn standing() -> impl Strategy<Value = Standing> {
    (0.0..9.0_f32, 0.0..99.0_f32, 0.0..9.0_f32, -50.0..50.0_f32).prop_map(
        |(queue, miss, error, bias)| Standing {
            terms: Terms {
                queue,
                miss,
                error,
                bias,
                ..Terms::default()
            },
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

fn signals() -> impl Strategy<Value = Signals> {
    let measured = vec((0..4_u32, 0..3_u16, 0.0..300.0_f32), 0..12);
    let hot = vec((any::<u64>(), 0..4_u16, 0..3_u16, 1..24_u8), 0..9);
    let readmission = vec((0..5_usize).prop_map(|at| Readmission::ALL[at]), 0..4);
    let sites = vec(any::<u8>(), 0..3);
    let lists = (vec(node(), 0..9), sites, vec(standing(), 0..9), readmission);
    (lists, measured, hot, any::<bool>()).prop_map(
        |((nodes, sites, standing, readmission), mut measured, hot, isolated)| {
            measured.sort_by_key(|(cell, _, _)| *cell);
            let pairs = measured.into_iter().map(|(cell, site, network_ms)| {
                let evidence = Evidence::default();
                let site = SiteIndex(site);
                (
                    cell,
                    Measured {
                        site,
                        network_ms,
                        evidence,
                    },
                )
            });
            let hot = hot.into_iter().map(|(key, set, site, copies)| HotKey {
                key: KeyHash(key),
                set: SetIndex::new(set),
                site: SiteIndex(site),
                share: 0.0,
                copies,
            });
            let site = |spill| SiteSignals {
                spill,
                utilisation: 0.0,
            };
            Signals {
                nodes,
                sites: sites.into_iter().map(site).collect(),
                standing,
                readmission,
                network: NetworkTable::new(pairs),
                hot: HotTable::new(hot.collect()),
                isolated,
                ..Signals::default()
            }
        },
    )
}

fn snapshot(signals: Signals) -> Snapshot {
    let topology = topology::compile("t", example::TOPOLOGY).topology.unwrap();
    let topology = Arc::new(topology);
    let policy = policy::compile("p", example::POLICY, &topology).policy;
    let parts = Parts {
        policy: Arc::new(policy.unwrap()),
        topology,
        geo: Arc::new(Ranges::of_cells(cells())),
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
        prop_assert_eq!(before.isolated, after.isolated);
        let sums = |signals: &Signals| -> Vec<u32> {
            let sums = signals.standing.iter().map(|s| s.terms.standing_ms().to_bits());
            sums.collect()
        };
        prop_assert_eq!(sums(before), sums(after));
        let known = Ranges::of_cells(told.cells.clone());
        for (at, cell) in cells().into_iter().enumerate() {
            let here = known.cell_index(cell).map_or(usize::MAX, CellIndex::index);
            prop_assert_eq!(before.network.of_cell(at), after.network.of_cell(here));
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
            busy_nodes: bytes.clone(),
            in_flight: floats.clone(),
            latency_ms: floats.clone(),
            standing_ms: floats.clone(),
            measured_cells: numbers.clone(),
            measured_sites: numbers,
            measured_ms: floats,
            ..proto::FollowedState::default()
        };
        if let Ok(told) = read_state(&message) {
            prop_assert!(told.signals.nodes.iter().all(|node| node.weight_factor >= 0.0));
        }
    }
}
