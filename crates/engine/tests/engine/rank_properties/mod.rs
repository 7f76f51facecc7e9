//! What weighted rendezvous promises, and that every kernel gives the order of a plain oracle bit for bit.

#![expect(
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic, and its counts are small"
)]

use proptest::prelude::*;
use tradewind_engine::hash::{self, KeyHash, NodeSeed};
use tradewind_engine::rank::{self, Columns, Kernel, Segment, Top};

mod oracle;
mod published;

/// The sizes where a kernel could break: empty, around a block, around the 64 lanes run at once, and large.
const SIZES: [usize; 16] = [
    0, 1, 2, 3, 8, 15, 16, 17, 31, 48, 63, 64, 65, 200, 1_000, 10_000,
];

fn key(number: u64) -> KeyHash {
    hash::key(&[b"cdn.example.com", &number.to_le_bytes()])
}

fn seed(number: usize) -> NodeSeed {
    NodeSeed::of_id(&format!("node-{number:05}"))
}

/// Nodes with the weights of a mixed fleet.
fn fleet(size: usize) -> Vec<(NodeSeed, f32)> {
    let weights = [1.0, 2.5, 0.125, 4.0, 0.7, 1.0, 3.0];
    (0..size)
        .map(seed)
        .zip(weights.into_iter().cycle())
        .collect()
}

fn entries(top: &Top) -> Vec<(u32, u32)> {
    top.iter()
        .map(|entry| (entry.race.to_bits(), entry.position))
        .collect()
}

fn positions(nodes: &[(NodeSeed, f32)], key: KeyHash, k: usize) -> Vec<usize> {
    let (columns, segment) = Columns::of_nodes(nodes.iter().copied());
    let mut top = Top::new(k);
    rank::rank(&columns, segment, key, &mut top);
    top.iter().map(|entry| entry.position as usize).collect()
}

fn owner(nodes: &[(NodeSeed, f32)], key: KeyHash) -> NodeSeed {
    nodes[positions(nodes, key, 1)[0]].0
}

#[test]
fn every_kernel_gives_the_order_of_the_oracle_bit_for_bit() {
    for size in SIZES {
        let nodes = fleet(size);
        let (columns, segment) = Columns::of_nodes(nodes.iter().copied());
        for number in 0..if size > 500 { 12 } else { 60 } {
            let key = key(number);
            let expected = oracle::order(key, &nodes);
            for k in [1, 2, 3, 4, 5, 8, 9, 16, 32] {
                for kernel in Kernel::all() {
                    let mut top = Top::new(k);
                    rank::rank_with(kernel, &columns, segment, key, &mut top);
                    assert_eq!(
                        entries(&top),
                        expected[..k.min(size)],
                        "{size} nodes, k {k}, {} kernel",
                        kernel.name()
                    );
                }
            }
            for &(race, position) in expected.iter().take(100) {
                assert_eq!(rank::race_of(&columns, position, key).to_bits(), race);
            }
        }
    }
}

#[test]
fn the_oracle_agrees_on_the_exponential_at_random_draws() {
    // One node of weight 1: its race is the exponential.
    for number in 0..20_000 {
        let (node, key) = (seed(number), key(number as u64));
        let (columns, _) = Columns::of_nodes([(node, 1.0)]);
        let race = oracle::exponential(oracle::draw(key, node));
        assert_eq!(rank::race_of(&columns, 0, key).to_bits(), race.to_bits());
    }
}

#[test]
fn several_segments_race_like_one() {
    let nodes = fleet(300);
    // Sites of uneven size, among them an empty one and one of a full block.
    let sizes = [16, 0, 5, 64, 1, 150, 64];
    let mut columns = Columns::default();
    let mut segments: Vec<(Segment, usize)> = Vec::new();
    let mut first = 0;
    for size in sizes {
        segments.push((
            columns.push_segment(nodes[first..first + size].iter().copied()),
            first,
        ));
        first += size;
    }
    assert_eq!((first, columns.len()), (300, 300));
    let node_at = |position: u32| {
        let (segment, first) = segments
            .iter()
            .find(|(segment, _)| segment.positions().contains(&position))
            .unwrap();
        first + (position - segment.start()) as usize
    };
    for number in 0..200 {
        let key = key(number);
        for kernel in Kernel::all() {
            for k in [1, 3, 9, 32] {
                let mut forward = Top::new(k);
                let mut backward = Top::new(k);
                for (segment, _) in &segments {
                    rank::rank_with(kernel, &columns, *segment, key, &mut forward);
                }
                for (segment, _) in segments.iter().rev() {
                    rank::rank_with(kernel, &columns, *segment, key, &mut backward);
                }
                assert_eq!(entries(&forward), entries(&backward));
                let order: Vec<(u32, usize)> = forward
                    .iter()
                    .map(|entry| (entry.race.to_bits(), node_at(entry.position)))
                    .collect();
                let expected: Vec<(u32, usize)> = oracle::order(key, &nodes)
                    .into_iter()
                    .take(k)
                    .map(|(race, position)| (race, position as usize))
                    .collect();
                assert_eq!(order, expected);
            }
        }
    }
}

#[test]
fn a_segment_of_another_table_is_harmless() {
    let (_, large) = Columns::of_nodes(fleet(500));
    let (small, _) = Columns::of_nodes(fleet(5));
    let mut top = Top::new(3);
    rank::rank(&small, large, key(1), &mut top);
    assert!(top.is_empty());
    assert!(rank::race_of(&small, 4_000_000_000, key(1)).is_infinite());
}

#[test]
fn ties_go_to_the_lower_position() {
    // The same seed many times over: every race is equal.
    for size in [3, 16, 40, 64, 65, 500] {
        let nodes: Vec<_> = (0..size).map(|_| (seed(1), 1.0)).collect();
        for kernel in Kernel::all() {
            let (columns, segment) = Columns::of_nodes(nodes.iter().copied());
            let mut top = Top::new(3);
            rank::rank_with(kernel, &columns, segment, key(5), &mut top);
            let positions: Vec<u32> = top.iter().map(|entry| entry.position).collect();
            assert_eq!(positions, [0, 1, 2], "{size} nodes, {}", kernel.name());
        }
    }
}

#[test]
fn the_worst_draw_does_not_become_padding_or_nan() {
    // A node whose seed equals the key draws 0, the least race there is; padding has the seed 0.
    for key in [KeyHash(0), KeyHash(u64::MAX), key(3)] {
        for kernel in Kernel::all() {
            let mut nodes = fleet(100);
            nodes[77] = (NodeSeed(key.0), 1.0);
            let (columns, segment) = Columns::of_nodes(nodes.iter().copied());
            let mut top = Top::new(3);
            rank::rank_with(kernel, &columns, segment, key, &mut top);
            assert_eq!(entries(&top), oracle::order(key, &nodes)[..3]);
            assert_eq!(top.first().unwrap().position, 77);
        }
    }
}

#[test]
fn new_weights_give_the_table_they_would_have_built() {
    let before = fleet(1_000);
    let after: Vec<(NodeSeed, f32)> = before
        .iter()
        .zip(0..)
        .map(|(&(seed, _), number)| (seed, 0.5 + (number % 13) as f32))
        .collect();
    let weights: Vec<f32> = after.iter().map(|&(_, weight)| weight).collect();
    let (mut at_once, segment) = Columns::of_nodes(before);
    let mut one_by_one = at_once.clone();
    at_once.set_weights(segment, &weights);
    for (position, weight) in (0..).zip(weights) {
        one_by_one.set_weight(position, weight);
    }
    // Padding must stay padding.
    one_by_one.set_weight(1_000, 1e9);
    one_by_one.set_weight(50_000, 1e9);
    at_once.set_weights(segment, &[0.5; 1]);
    for number in 0..50 {
        let expected = &oracle::order(key(number), &after)[..3];
        for columns in [&at_once, &one_by_one] {
            let mut top = Top::new(3);
            rank::rank(columns, segment, key(number), &mut top);
            assert_eq!(entries(&top), expected);
        }
    }
}

/// Standard deviations by which `count` of `total` differs from the expected fraction.
fn deviations(count: usize, total: usize, fraction: f64) -> f64 {
    let expected = total as f64 * fraction;
    (count as f64 - expected) / (expected * (1.0 - fraction)).sqrt()
}

/// Chi-squared per degree of freedom of the owners' shares, at `per_node` keys for each node.
fn chi2_per_df(nodes: &[(NodeSeed, f32)], per_node: usize, k: usize) -> f64 {
    let (columns, segment) = Columns::of_nodes(nodes.iter().copied());
    let keys = per_node * nodes.len();
    let mut counts = vec![0_usize; nodes.len()];
    for number in 0..keys {
        let mut top = Top::new(k);
        rank::rank(&columns, segment, key(number as u64), &mut top);
        counts[top.iter().last().unwrap().position as usize] += 1;
    }
    let sum: f64 = nodes.iter().map(|&(_, weight)| f64::from(weight)).sum();
    let chi2: f64 = counts
        .iter()
        .zip(nodes)
        .map(|(&count, &(_, weight))| {
            let expected = keys as f64 * f64::from(weight) / sum;
            (count as f64 - expected).powi(2) / expected
        })
        .sum();
    chi2 / (nodes.len() - 1) as f64
}

#[test]
fn shares_match_weights_within_sampling_error() {
    for size in [16, 64, 256] {
        for weighted in [false, true] {
            let nodes: Vec<_> = (0..size)
                .map(|n| (seed(n), if weighted { 1.0 + (n % 4) as f32 } else { 1.0 }))
                .collect();
            let ratio = chi2_per_df(&nodes, 2_000, 1);
            let spread = (2.0 / (size - 1) as f64).sqrt();
            assert!((ratio - 1.0).abs() < 4.0 * spread, "{size} nodes: {ratio}");
        }
    }
    // The second choice of equal nodes is uniform as well.
    let nodes: Vec<_> = (0..64).map(|n| (seed(n), 1.0)).collect();
    let ratio = chi2_per_df(&nodes, 2_000, 2);
    assert!((ratio - 1.0).abs() < 0.72, "second choice: {ratio}");
}

/// The table in `docs/hashing.md`: `cargo test --release --test engine -- --ignored --nocapture shares`.
#[test]
#[ignore = "takes a minute in release mode; run by hand when the hash changes"]
fn measured_shares() {
    for size in [16, 64, 256, 1_000] {
        for (name, weight) in [("equal", 1), ("1..4", 4)] {
            let nodes: Vec<_> = (0..size)
                .map(|n| (seed(n), 1.0 + (n % weight) as f32))
                .collect();
            let ratio = chi2_per_df(&nodes, 8_000, 1);
            println!("{size} nodes, {name}: chi2/df {ratio:.3}");
            assert!((0.7..1.4).contains(&ratio) || size < 64);
        }
    }
}

#[test]
fn draws_of_two_nodes_are_independent() {
    const BINS: usize = 32;
    const KEYS: usize = 400_000;
    // Any two seeds, and seeds that share a half, which happens to one pair in two billion. (Seeds that differ in a
    // single bit would show a dependence; one pair in 3e17 does.)
    let pairs = [
        (seed(1).0, seed(2).0),
        (seed(3).0, seed(4).0),
        (0x1234_5678_9abc_def0, 0x1234_5678_6543_210f),
        (0x1234_5678_9abc_def0, 0x1234_5678_2b7e_1516),
        (0x1234_5678_9abc_def0, 0xfedc_ba98_9abc_def0),
        (0x1234_5678_9abc_def0, 0x2b7e_1516_9abc_def0),
        (0, u64::MAX),
    ];
    for (one, other) in pairs {
        // Zoomed in on small draws as well, which are the ones that win.
        for shift in [0, 4] {
            let mut counts = vec![0_usize; BINS * BINS];
            let mut met = 0;
            for number in 0..KEYS << (shift / 2) {
                let key = key(number as u64);
                let draw = |seed| (oracle::draw(key, NodeSeed(seed)) << (1 + shift)) as usize >> 27;
                if shift == 0 || oracle::draw(key, NodeSeed(one)) >> 27 == 0 {
                    counts[draw(one) * BINS + draw(other)] += 1;
                    met += 1;
                }
            }
            let expected = f64::from(met) / (BINS * BINS) as f64;
            let chi2: f64 = counts
                .iter()
                .map(|&count| (count as f64 - expected).powi(2) / expected)
                .sum();
            let df = (BINS * BINS - 1) as f64;
            let z = (chi2 - df) / (2.0 * df).sqrt();
            assert!(z.abs() < 4.5, "{one:x} and {other:x}, shift {shift}: z {z}");
        }
    }
}

#[test]
fn the_moved_fraction_is_the_least_possible() {
    const KEYS: usize = 40_000;
    let nodes = fleet(50);
    let sum: f64 = nodes.iter().map(|&(_, weight)| f64::from(weight)).sum();
    let moved = |after: &[(NodeSeed, f32)]| {
        (0..KEYS as u64)
            .filter(|&number| owner(&nodes, key(number)) != owner(after, key(number)))
            .count()
    };
    // Removing a node moves its share and no more.
    let mut without = nodes.clone();
    let (_, weight) = without.remove(8);
    let share = f64::from(weight) / sum;
    assert!(deviations(moved(&without), KEYS, share).abs() < 4.0);
    // Doubling a weight moves what the node gains and no more.
    let mut doubled = nodes.clone();
    let weight = f64::from(doubled[8].1);
    doubled[8].1 *= 2.0;
    let gained = 2.0 * weight / (sum + weight) - weight / sum;
    assert!(deviations(moved(&doubled), KEYS, gained).abs() < 4.0);
}

/// Any pool of 2 to 80 nodes, with weights from a thousandth to a thousand.
fn pool() -> impl Strategy<Value = Vec<(NodeSeed, f32)>> {
    prop::collection::vec((any::<u64>().prop_map(NodeSeed), 0.001_f32..1_000.0), 2..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_pool_is_ranked_as_by_the_oracle(
        nodes in prop::collection::vec((any::<u64>().prop_map(NodeSeed), 1e-6_f32..1e6), 0..300),
        key in any::<u64>().prop_map(KeyHash),
        k in 1_usize..=32,
    ) {
        let expected = oracle::order(key, &nodes);
        let (columns, segment) = Columns::of_nodes(nodes.iter().copied());
        for kernel in Kernel::all() {
            let mut top = Top::new(k);
            rank::rank_with(kernel, &columns, segment, key, &mut top);
            prop_assert_eq!(&entries(&top)[..], &expected[..k.min(nodes.len())]);
        }
    }

    #[test]
    fn the_order_does_not_depend_on_the_order_of_input(
        nodes in pool(), number in any::<u64>(), turn in 0_usize..80,
    ) {
        let mut turned = nodes.clone();
        turned.rotate_left(turn % nodes.len());
        let seeds = |nodes: &[(NodeSeed, f32)]| -> Vec<NodeSeed> {
            positions(nodes, key(number), 8).into_iter().map(|position| nodes[position].0).collect()
        };
        prop_assert_eq!(seeds(&nodes), seeds(&turned));
    }

    #[test]
    fn removing_a_node_moves_its_keys_only_and_to_their_second_choice(
        nodes in pool(), number in any::<u64>(), index in any::<prop::sample::Index>(),
    ) {
        let removed = index.index(nodes.len());
        let order = positions(&nodes, key(number), 2);
        let mut left = nodes.clone();
        left.remove(removed);
        let expected = order.iter().find(|&&position| position != removed).unwrap();
        prop_assert_eq!(owner(&left, key(number)), nodes[*expected].0);
    }

    #[test]
    fn raising_a_weight_moves_keys_to_that_node_only(
        nodes in pool(), number in any::<u64>(), index in any::<prop::sample::Index>(), factor in 1.0_f32..10.0,
    ) {
        let raised = index.index(nodes.len());
        let before = owner(&nodes, key(number));
        let mut after = nodes.clone();
        after[raised].1 *= factor;
        let now = owner(&after, key(number));
        prop_assert!(now == before || now == nodes[raised].0);
    }

    #[test]
    fn scaling_all_weights_by_a_power_of_two_moves_nothing(
        nodes in pool(), number in any::<u64>(), exponent in -20_i32..20,
    ) {
        let factor = 2.0_f32.powi(exponent);
        let scaled: Vec<_> = nodes.iter().map(|&(seed, weight)| (seed, weight * factor)).collect();
        prop_assert_eq!(positions(&nodes, key(number), 8), positions(&scaled, key(number), 8));
    }
}

#[test]
fn scaling_all_weights_by_any_factor_moves_next_to_nothing() {
    // Roundings can exchange two nodes whose races differ by less than 4 * 2^-24: about one key in a million.
    let nodes = fleet(64);
    let scaled: Vec<_> = nodes
        .iter()
        .map(|&(seed, weight)| (seed, weight * 1.7))
        .collect();
    let moved = (0..100_000)
        .filter(|&number| owner(&nodes, key(number)) != owner(&scaled, key(number)))
        .count();
    assert!(moved <= 2, "{moved} of 100,000 keys moved");
}
