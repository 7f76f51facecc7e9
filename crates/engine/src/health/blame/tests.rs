//! Stories of keys, nodes and who is to blame.

use super::*;

const A: u32 = 0;
const B: u32 = 1;
const C: u32 = 2;

/// A table, and the time and decision of what is told.
#[derive(Default)]
struct Story {
    blame: Blame,
    now: u64,
    decision: u64,
    reporter: u16,
}

impl Story {
    fn case(&self, node: u32, key: u64, cache: CacheResult) -> Case {
        Case {
            now: Moment(self.now),
            node: NodeIndex(node),
            reporter: Reporter(self.reporter),
            decision: DecisionNumber(self.decision),
            asked: Moment(self.now.saturating_sub(1_000)),
            key: KeyHash(key << 32),
            status: 500,
            cache,
            is_slow: false,
        }
    }

    /// A request of its own.
    fn next(&mut self) -> &mut Self {
        self.decision += 1;
        self
    }

    fn fails(&mut self, node: u32, key: u64) -> Blamed {
        let case = self.case(node, key, CacheResult::Unknown);
        self.blame.failed(&case, false)
    }

    fn misses(&mut self, node: u32, key: u64) -> Blamed {
        let case = self.case(node, key, CacheResult::Miss);
        self.blame.failed(&case, false)
    }

    fn is_late(&mut self, node: u32, key: u64) -> Blamed {
        let case = self.case(node, key, CacheResult::Unknown);
        self.blame.failed(&case, true)
    }

    fn serves(&mut self, node: u32, key: u64, cache: CacheResult) -> Option<NodeIndex> {
        let case = self.case(node, key, cache);
        self.blame.answered(&case).map(|(node, _)| node)
    }

    /// Every node answers something else well.
    fn all_are_well(&mut self) {
        for (node, key) in [(A, 1_001), (B, 1_002), (C, 1_003)] {
            self.next().serves(node, key, CacheResult::Hit);
        }
    }

    fn taken_back(&mut self) -> Vec<(u32, u32)> {
        let review = self.blame.review(Moment(self.now));
        let mut taken: Vec<(u32, u32)> = review
            .taken_back
            .iter()
            .map(|taken| (taken.node.0, taken.count))
            .collect();
        taken.sort_unstable();
        taken
    }
}

#[test]
fn a_key_counts_once_in_a_window_where_nobody_knows_better() {
    let mut story = Story::default();
    assert_eq!(story.next().fails(A, 7), Blamed::Node);
    assert_eq!(story.next().fails(A, 7), Blamed::Repeated);
    assert_eq!(story.next().fails(A, 8), Blamed::Node, "another key");
    story.now = WINDOW_MS + 1;
    assert_eq!(story.next().fails(A, 7), Blamed::Node);
}

#[test]
fn what_is_served_elsewhere_is_the_nodes_fault_every_time() {
    let mut story = Story::default();
    for _ in 0..5 {
        assert_eq!(story.next().fails(A, 7), Blamed::Node);
        assert_eq!(story.serves(B, 7, CacheResult::Hit), None);
    }
    // It recovers, fails again, and the next serves the very request: the failure counts late.
    story.next().serves(A, 7, CacheResult::Hit);
    assert_eq!(story.next().fails(A, 7), Blamed::Repeated);
    assert_eq!(story.serves(B, 7, CacheResult::Hit), Some(NodeIndex(A)));
}

#[test]
fn what_a_cache_still_has_is_no_proof_against_a_node_that_must_fetch() {
    let mut story = Story::default();
    assert_eq!(story.next().misses(A, 7), Blamed::Node);
    story.serves(B, 7, CacheResult::Hit);
    assert_eq!(story.next().misses(A, 7), Blamed::Repeated);
    assert_eq!(story.serves(B, 7, CacheResult::Miss), Some(NodeIndex(A)));
    assert_eq!(story.next().misses(A, 7), Blamed::Node);
}

#[test]
fn what_fails_at_two_sound_nodes_is_the_objects_and_what_counted_is_taken_back() {
    let mut story = Story::default();
    assert_eq!(story.next().fails(A, 7), Blamed::Node);
    assert_eq!(story.fails(B, 7), Blamed::Node);
    assert_eq!(story.taken_back(), [], "nobody has answered since");
    story.all_are_well();
    assert_eq!(story.taken_back(), [(A, 1), (B, 1)]);
    for node in [A, B, C] {
        assert_eq!(story.next().fails(node, 7), Blamed::Object);
    }
    assert_eq!((story.taken_back(), story.blame.excused()), (vec![], 3));
}

#[test]
fn nodes_that_answer_nothing_any_more_do_not_excuse_each_other() {
    let mut story = Story::default();
    story.all_are_well();
    for key in 1..=20 {
        story.next();
        assert_eq!(story.fails(A, key), Blamed::Node);
        assert_eq!(story.fails(B, key), Blamed::Node);
        assert_eq!(story.fails(C, key), Blamed::Node);
    }
    assert_eq!(story.taken_back(), []);
    // They were given up, and answer again: what failed until then still says nothing about keys.
    for node in [A, B, C] {
        story.blame.broke(NodeIndex(node));
    }
    story.all_are_well();
    assert_eq!(story.taken_back(), []);
}

#[test]
fn what_fails_at_two_broken_nodes_and_is_served_by_the_third_is_theirs() {
    let mut story = Story::default();
    story.all_are_well();
    for key in 21..=40 {
        story.next();
        assert_eq!(story.fails(A, key), Blamed::Node);
        assert_eq!(story.fails(B, key), Blamed::Node);
        story.serves(C, key, CacheResult::Unknown);
    }
    assert_eq!(story.taken_back(), []);
}

#[test]
fn a_request_that_fails_at_two_sound_nodes_is_not_theirs_though_others_are_served() {
    let mut story = Story::default();
    story.next().fails(A, 7);
    story.all_are_well();
    // Others ask for it with better luck …
    story.next().serves(A, 7, CacheResult::Hit);
    // … and a client whose requests fail anywhere goes down its list.
    story.next().fails(A, 7);
    let failed = story.decision;
    story.all_are_well();
    story.decision = failed;
    assert_eq!(story.fails(B, 7), Blamed::Object);
}

#[test]
fn a_slow_object_excuses_whoever_gave_up_on_it() {
    let mut story = Story::default();
    assert_eq!(story.next().is_late(A, 7), Blamed::Node);
    let slow = Case {
        is_slow: true,
        ..story.case(B, 7, CacheResult::Miss)
    };
    assert_eq!(story.blame.answered(&slow), None);
    assert_eq!(story.taken_back(), [(A, 1)]);
    assert_eq!(story.next().is_late(C, 7), Blamed::Object);
    // Until a fetch of it is quick.
    story.next().serves(B, 7, CacheResult::Miss);
    story.now = WINDOW_MS + 1;
    assert_eq!(story.next().is_late(C, 7), Blamed::Node);
}

#[test]
fn failing_objects_are_told_of_and_forgotten() {
    let mut story = Story::default();
    let begun = |story: &mut Story| story.blame.review(Moment(story.now)).begun;
    let ended = |story: &mut Story| story.blame.review(Moment(story.now)).ended.len();
    story.next().fails(A, 7);
    story.fails(B, 7);
    story.all_are_well();
    assert_eq!(begun(&mut story), [], "twice is not enough to tell");
    for _ in 0..3 {
        story.next().fails(A, 7);
    }
    let told = begun(&mut story);
    assert_eq!((told[0].failures, told[0].status), (5, 500));
    assert_eq!(told[0].nodes, [NodeIndex(A), NodeIndex(B)]);
    assert_eq!(told[0].only_by, Some(Reporter(0)), "nobody else says so");
    assert_eq!(story.blame.failing(), told);
    story.reporter = 1;
    story.next().fails(A, 7);
    assert_eq!(story.blame.failing()[0].only_by, None, "two say so");
    story.now = CALM_MS + 1;
    assert_eq!(ended(&mut story), 0, "nobody has been served");
    story.next().serves(A, 7, CacheResult::Miss);
    assert_eq!((ended(&mut story), story.blame.failing().len()), (1, 0));
}

#[test]
fn the_table_and_the_list_are_bounded() {
    let mut story = Story::default();
    for round in 0..6 {
        for key in 0..1_000_u64 {
            let spread = key << 3 | 1 << 20;
            story.next();
            story.now = round * 100;
            story.fails(A, spread);
            story.fails(B, spread);
        }
        story.all_are_well();
        story.blame.review(Moment(story.now));
    }
    assert_eq!(story.blame.failing().len(), MAX_FAILING);
    assert!(story.blame.watched.len() <= MAX_WATCHED);
    assert_eq!(story.blame.suspects.len(), KEPT);
}

/// A proxy's timeout says nothing of the cache: a slow origin opened the breakers of nodes that answered all else.
#[test]
fn who_is_late_while_nobody_fetches_waits_for_the_origin() {
    let mut story = Story {
        now: 10_000,
        ..Story::default()
    };
    story.all_are_well();
    assert_eq!(story.next().is_late(A, 7), Blamed::Object);
    story.next().serves(B, 8, CacheResult::Miss);
    let fetched_elsewhere = story.next().is_late(A, 9);
    assert_eq!(fetched_elsewhere, Blamed::Node);
    story.now += 5_000;
    let answers_nobody = story.next().is_late(C, 10);
    assert_eq!(answers_nobody, Blamed::Node);
}
