//! F4: no more than half of the voices never open a node, a half-open one follows its members' majority, and every hearing
//! ends.

use super::{accusation, evidence, judge, operation, praise};
use crate::fleet::MemberId;
use crate::fleet::accusers::Accusers;
use crate::fleet::evidence::{Evidence, NodeEvidence};
use crate::fleet::hearing::{
    Count, DISMISSED_MS, HEARING_MS, Hearing, KNOWN_MS, QUORUM, Users, Verdict, Voice,
};
use crate::fleet::judge::Judge;
use crate::hash::NodeSeed;
use crate::policy::Operation;
use crate::signal::Admission;
use crate::time::Moment;

const NODE: u64 = 42;

#[test]
fn of_every_count_up_to_eight_voices_only_more_than_half_opens_and_all_end() {
    let mut counts = 0;
    for known in 0..=8 {
        for (recent, heard) in
            (0..=known).flat_map(|recent| (0..=recent).map(move |it| (recent, it)))
        {
            for against in 0..=heard {
                let count = Count {
                    heard,
                    against,
                    known,
                    recent,
                };
                let [goes_on, over] = [false, true].map(|is_over| count.verdict(is_over));
                for verdict in [goes_on, over] {
                    let opens = verdict == Some(Verdict::Open);
                    assert!(!opens || 2 * against > heard, "{count:?}");
                }
                assert!(over.is_some(), "{count:?} ends");
                // What is decided early is decided as at the end, whatever those say who are silent and used it of late.
                let silent = recent - heard;
                for more in 0..=silent {
                    let all = Count {
                        heard: recent,
                        against: against + more,
                        ..count
                    };
                    let early = goes_on.is_none_or(|early| Some(early) == all.verdict(true));
                    assert!(early, "{count:?} {more}");
                }
                counts += 1;
            }
        }
    }
    assert_eq!(counts, 495);
}

/// What a member does within a hearing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Nothing,
    Fails,
    Answers,
}

/// Every way in which up to six members use a node of which one accuses it: by the members' own rows.
#[test]
fn every_small_jury_decides_by_the_outcomes_since_the_streak_began() {
    for members in 1..=6_u32 {
        for told in 0..3_u32.pow(members - 1) {
            let says = |member: u32| match told / 3_u32.pow(member - 1) % 3 {
                0 => Says::Nothing,
                1 => Says::Fails,
                _ => Says::Answers,
            };
            let mut users = Users::default();
            let hear = |users: &mut Users, at, member: u32, row: &NodeEvidence| {
                let member = u64::from(member);
                users.hear(Moment(at), (MemberId(member), member), row)
            };
            // All used it before, when it was well.
            for member in 0..members {
                hear(&mut users, 5_000, member, &praise(NODE));
            }
            let from = hear(&mut users, 10_000, 0, &accusation(NODE)).expect("it is heard");
            assert_eq!(from, Moment(9_800));
            let hearing = Hearing::begin(Moment(10_000), MemberId(0), from);
            let (mut fail, mut heard) = (1, 1);
            for member in 1..members {
                let row = match says(member) {
                    Says::Nothing => continue,
                    Says::Fails => NodeEvidence {
                        accuses: false,
                        ..accusation(NODE)
                    },
                    Says::Answers => praise(NODE),
                };
                hear(&mut users, 10_100, member, &row);
                heard += 1;
                fail += usize::from(says(member) == Says::Fails);
            }
            let mut end = Moment(10_000 + HEARING_MS);
            let all = usize::try_from(members).expect("few");
            let opens_at_once = 2 * fail > all;
            if heard < all.min(QUORUM) && !opens_at_once {
                let early = hearing.verdict(end, &mut users);
                assert_eq!(
                    early, None,
                    "{members} members, {told}: others are waited for"
                );
                end = Moment(10_000 + KNOWN_MS);
            }
            let verdict = hearing.verdict(end, &mut users);
            let expected = if 2 * fail > heard {
                Verdict::Open
            } else {
                Verdict::Dismissed
            };
            assert_eq!(verdict, Some(expected), "{members} members, {told}");
            let again = hear(&mut users, end.0, 0, &accusation(NODE));
            assert_eq!(again.is_some(), expected == Verdict::Open);
            let later = end.0 + DISMISSED_MS;
            assert!(hear(&mut users, later, 0, &accusation(NODE)).is_some());
        }
    }
}

/// Evidence of `member` that accuses so many nodes, and is served by others.
fn told(member: u64, sequence: u64, accused: u64, served: u64) -> Evidence {
    let rows = (1..=accused).map(accusation);
    let rows = rows.chain((1_001..=1_000 + served).map(praise));
    evidence(member, sequence, rows.collect())
}

/// A chair that hears so many honest members of a hundred nodes each, and one more who says this.
fn beside(honest: u64, told: &Evidence) -> Accusers {
    let mut accusers = Accusers::new(Moment(0));
    for member in 0..honest {
        accusers.hear(Moment(0), &self::told(100 + member, 1, 0, 100));
    }
    accusers.hear(Moment(0), told);
    accusers.tick(Moment(1_000));
    accusers
}

/// Liars that accused everything were the most who vote at one node in eight of ten thousand.
#[test]
fn who_finds_nearly_everything_failing_has_no_voice() {
    let is_silent = |accused, served| {
        let mut accusers = beside(9, &told(1, 1, accused, served));
        let is_silent = !accusers.has_voice(MemberId(1));
        assert_eq!(accusers.silenced(), is_silent.then_some(MemberId(1)));
        assert_eq!(accusers.silenced(), None, "once");
        is_silent
    };
    assert!(is_silent(512, 0));
    assert!(is_silent(40, 5));
    assert!(!is_silent(40, 40), "half serves it");
    assert!(!is_silent(12, 0), "it is few nodes");
    // Where most find that, it is so.
    let mut accusers = beside(1, &told(1, 1, 512, 0));
    accusers.hear(Moment(1_000), &told(2, 1, 512, 0));
    accusers.tick(Moment(2_000));
    assert!(accusers.has_voice(MemberId(1)) && accusers.silenced().is_none());
}

/// A node that is accused serves nobody, and one that is told of again and again is one.
#[test]
fn who_lies_cannot_make_itself_out_to_be_served() {
    let rows = (1..=400).map(|node| NodeEvidence {
        ok: 1,
        ..accusation(node)
    });
    let accusers = beside(9, &evidence(1, 1, rows.collect()));
    assert!(!accusers.has_voice(MemberId(1)));
    let mut accusers = beside(9, &told(1, 1, 0, 1));
    for part in 0..30 {
        let rows = (0..14).map(|at| accusation(1_000 * (part + 1) + at));
        let rows = rows.chain([praise(2_000_000)]);
        accusers.hear(Moment(1_100), &evidence(1, 2 + part, rows.collect()));
    }
    assert!(!accusers.has_voice(MemberId(1)), "a few nodes at a time");
}

#[test]
fn a_site_that_fails_costs_nobody_a_voice_at_once_who_uses_no_other() {
    let member = MemberId(1);
    let mut accusers = beside(9, &told(1, 1, 0, 40));
    let others = |accusers: &mut Accusers, at| {
        for member in 0..9 {
            accusers.hear(Moment(at), &told(100 + member, at, 0, 100));
        }
        accusers.tick(Moment(at));
    };
    accusers.hear(Moment(2_000), &told(1, 2, 0, 40));
    others(&mut accusers, 2_000);
    // It fails between two messages.
    for at in [2_100, 2_200, 3_000, 4_000, 5_000] {
        accusers.hear(Moment(at), &told(1, at, 40, 0));
        assert!(accusers.has_voice(member), "{at}");
    }
    others(&mut accusers, 5_000);
    accusers.hear(Moment(6_000), &told(1, 6_000, 40, 0));
    assert!(!accusers.has_voice(member), "for seconds nothing served it");
    accusers.hear(Moment(9_000), &told(1, 9_000, 0, 40));
    others(&mut accusers, 10_000);
    assert!(accusers.has_voice(member), "it has found its way");
}

#[test]
fn who_goes_on_accusing_has_its_voice_back_only_when_it_stops() {
    let mut accusers = Accusers::new(Moment(0));
    let liar = MemberId(1);
    for node in 1..=3 {
        accusers.voted(liar, NodeSeed(node), Voice::Against, Verdict::Dismissed);
    }
    for second in 1..=600 {
        accusers.hear(Moment(second * 1_000), &told(1, second, 10, 100));
        accusers.tick(Moment(second * 1_000));
        assert!(!accusers.has_voice(liar), "{second}");
    }
    accusers.tick(Moment(660_000));
    assert!(accusers.has_voice(liar));
}

/// A sidecar that could not reach one node of a hundred was outvoted over it three times, and had no voice on any other.
#[test]
fn one_broken_way_costs_no_voice() {
    let mut accusers = Accusers::new(Moment(0));
    for _ in 0..20 {
        accusers.voted(
            MemberId(1),
            NodeSeed(NODE),
            Voice::Against,
            Verdict::Dismissed,
        );
    }
    assert!(accusers.has_voice(MemberId(1)));
}

#[test]
fn who_speaks_against_well_nodes_again_and_again_has_no_voice_for_a_while() {
    let mut accusers = Accusers::new(Moment(0));
    let [liar, honest] = [MemberId(1), MemberId(2)];
    for at in 1..=3 {
        assert!(accusers.has_voice(liar), "{at}");
        let mut voted = |member, voice, verdict| {
            accusers.voted(member, NodeSeed(at), voice, verdict);
        };
        voted(liar, Voice::Against, Verdict::Dismissed);
        voted(honest, Voice::For, Verdict::Dismissed);
        // A node that fails for a few: whoever sees that and sees others well keeps its voice.
        voted(honest, Voice::Against, Verdict::Dismissed);
        voted(honest, Voice::Against, Verdict::Open);
    }
    assert!(!accusers.has_voice(liar));
    assert!(accusers.has_voice(honest));
    accusers.tick(Moment(59_999));
    assert!(!accusers.has_voice(liar));
    accusers.tick(Moment(60_000));
    assert!(accusers.has_voice(liar), "what it voted has faded");
}

/// A chair, its time, and three members whose messages it hears.
struct Scene {
    judge: Judge,
    operation: Operation,
    now: Moment,
    sequence: u64,
}

impl Scene {
    fn new() -> Self {
        let operation = operation();
        Self {
            judge: judge(&operation),
            operation,
            now: Moment(0),
            sequence: 0,
        }
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            self.now = self.now.plus(100);
            self.judge.tick(self.now, &self.operation);
        }
    }

    fn tell(&mut self, member: u64, row: NodeEvidence) {
        self.sequence += 1;
        let told = evidence(member, self.sequence, vec![row]);
        let heard = self.judge.hear(self.now, &told, &self.operation);
        heard.expect("it is heard");
    }

    fn fact(&self) -> crate::fleet::facts::NodeFact {
        self.judge.facts().node(NodeSeed(NODE))
    }
}

#[test]
fn a_node_that_fails_for_all_is_left_at_once_and_comes_back_by_majority() {
    let mut scene = Scene::new();
    for member in 1..=3 {
        scene.tell(member, praise(NODE));
    }
    scene.pass(2_000);
    scene.tell(1, accusation(NODE));
    scene.pass(100);
    assert_eq!(scene.fact().verdict, Admission::Admitted, "one of three");
    scene.tell(2, accusation(NODE));
    scene.pass(100);
    assert_eq!(scene.fact().verdict, Admission::BreakerOpen, "two of three");
    scene.pass(15_000);
    let Admission::Probing { slice } = scene.fact().verdict else {
        panic!("{:?}", scene.fact())
    };
    assert!(slice > 0);
    let term = scene.fact().term;
    let of_term = |row: NodeEvidence, term| NodeEvidence {
        term,
        accuses: false,
        ..row
    };
    // What is of a term before says nothing.
    scene.tell(2, of_term(praise(NODE), term - 1));
    scene.pass(100);
    assert!(matches!(scene.fact().verdict, Admission::Probing { .. }));
    // One of three proxies that lost its way kept a node out for all three.
    scene.tell(1, of_term(accusation(NODE), term));
    scene.pass(100);
    assert!(matches!(scene.fact().verdict, Admission::Probing { .. }));
    scene.tell(2, of_term(praise(NODE), term));
    scene.tell(3, of_term(praise(NODE), term));
    scene.pass(100);
    assert_eq!(scene.fact().verdict, Admission::Admitted);
    assert_eq!(scene.fact().ramp, 1, "with an eighth of its weight");
}

/// A chair that had just begun knew nobody but the liar who spoke first.
#[test]
fn who_speaks_first_to_a_new_chair_does_not_decide_alone() {
    let mut scene = Scene::new();
    scene.tell(9, accusation(NODE));
    scene.pass(1_900);
    assert_eq!(
        scene.fact().verdict,
        Admission::Admitted,
        "others may speak"
    );
    for member in 1..=3 {
        scene.tell(member, praise(NODE));
    }
    scene.pass(20_000);
    assert_eq!(scene.judge.counts().opened, 0);
}

#[test]
fn a_lone_liar_opens_nothing_however_often_it_accuses() {
    let mut scene = Scene::new();
    for _ in 0..600 {
        for member in 1..=3 {
            scene.tell(member, praise(NODE));
        }
        scene.tell(9, accusation(NODE));
        scene.pass(1_000);
        assert_eq!(scene.fact().verdict, Admission::Admitted);
    }
    let counts = scene.judge.counts();
    assert_eq!(counts.opened, 0);
    // Of one node it is heard again each ten seconds: its own way there may be broken.
    assert!((40..=60).contains(&counts.dismissed), "{counts:?}");
}

/// A tenth of a fleet that accuses every node it knows had all hearings to itself.
#[test]
fn whose_accusations_are_dismissed_leaves_room_for_others() {
    let mut scene = Scene::new();
    let nodes = 1..=400_u64;
    let mut begun = Vec::new();
    for _ in 0..5 {
        for member in [1, 2, 9] {
            scene.sequence += 1;
            // It is served by a third, so that it has not lost its way.
            let is_accused = |node: &u64| member == 9 && !node.is_multiple_of(3);
            let row = |node| {
                if is_accused(&node) {
                    accusation(node)
                } else {
                    praise(node)
                }
            };
            let told = evidence(member, scene.sequence, nodes.clone().map(row).collect());
            let heard = scene.judge.hear(scene.now, &told, &scene.operation);
            heard.expect("it is heard");
        }
        let before = scene.judge.counts().dismissed;
        scene.pass(1_500);
        begun.push(scene.judge.counts().dismissed - before);
    }
    assert_eq!(
        begun,
        [0, 64, 0, 0, 0],
        "two seconds are listened to first, then it has no voice"
    );
    assert_eq!(scene.judge.counts().opened, 0);
}

#[test]
fn a_node_of_which_most_members_lose_a_third_is_left_though_nobody_accuses_it() {
    let mut scene = Scene::new();
    let lossy = |member: u64| NodeEvidence {
        sent: 30,
        ok: if member == 3 { 30 } else { 20 },
        failed: if member == 3 { 0 } else { 10 },
        ok_age_ms: Some(10),
        ..NodeEvidence::new(NodeSeed(NODE))
    };
    for member in 1..=3 {
        scene.tell(member, lossy(member));
    }
    scene.pass(3_000);
    assert_eq!(scene.fact().verdict, Admission::BreakerOpen);
}
