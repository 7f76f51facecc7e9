//! What is learned of ways, kept, lent and forgotten.

use std::fmt::Write as _;
use std::sync::Arc;

use super::*;
use crate::geo::Location;
use crate::geo::place::Asn;
use crate::policy::{self, Policy};
use crate::signal::trial::Trials;
use crate::topology;

/// Sites in a row to the east of the clients, each some 100 km from the next: 1.6 ms.
const SITES: [(&str, f64); 5] = [
    ("a", 8.5),
    ("b", 9.9),
    ("c", 11.3),
    ("d", 12.7),
    ("e", 14.1),
];

/// Milliseconds in microseconds.
fn narrow_us(ms: f32) -> u32 {
    u32::try_from(to_u64(f64::from(ms) * 1_000.0)).expect("a short time")
}

/// Notes on ways, driven by hand.
struct Bed {
    notes: NetworkNotes,
    topology: Arc<Topology>,
    policy: Arc<Policy>,
    now: Moment,
}

impl Bed {
    fn new() -> Self {
        Self::of(&SITES)
    }

    fn of(sites: &[(&str, f64)]) -> Self {
        let (topology, policy) = fleet(sites, "");
        Self {
            notes: NetworkNotes::default(),
            topology,
            policy,
            now: Moment(1_000),
        }
    }

    fn world(&self) -> World<'_> {
        let count = self.topology.sites().len();
        World {
            topology: &self.topology,
            model: self.policy.routing().score(),
            operation: self.policy.operation(),
            standing_ms: vec![0.0; count],
            is_open: vec![true; count],
            detour_ms: f32::INFINITY,
        }
    }

    fn site(&self, id: &str) -> SiteIndex {
        let at = self
            .topology
            .sites()
            .iter()
            .position(|site| &*site.id == id);
        SiteIndex(u16::try_from(at.expect("a site")).unwrap())
    }

    fn geographic_ms(&self, group: Group, site: &str) -> f32 {
        self.world().geographic_ms(group.cell, self.site(site))
    }

    /// One round trip a second for so many seconds, with so much beyond what the distance says.
    fn tell(&mut self, (group, site): (Group, &str), seconds: u64, beyond_ms: f32) {
        for _ in 0..seconds {
            self.say((group, site), 0, beyond_ms);
            self.pass(1);
        }
    }

    fn say(&mut self, (group, site): (Group, &str), reporter: u16, beyond_ms: f32) {
        let ms = self.geographic_ms(group, site) + beyond_ms;
        let pair = (group, self.site(site));
        let told = (Reporter(reporter), narrow_us(ms));
        self.notes.record(self.now, pair, told);
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now.plus(1_000);
            let mut notes = std::mem::take(&mut self.notes);
            notes.observe(self.now, &self.world());
            self.notes = notes;
        }
    }

    /// Lets time pass with a look each half minute, for hours are long.
    fn sleep(&mut self, seconds: u64) {
        for _ in 0..seconds / 30 {
            // One of the seconds in which the cell is looked at for trials.
            let second = self.now.0 / 1_000 + 29;
            let whose = u64::from(group(ALL).cell.id()) % 5;
            self.now = Moment((second - second % 5 + whose + 4) * 1_000);
            self.pass(1);
        }
    }

    /// What decisions take a path to cost beyond what its distance says.
    fn special_ms(&self, group: Group, site: &str) -> f32 {
        let table = self.notes.table();
        let rows = table.of_group(Some(group));
        let found = rows.iter().find(|row| row.site == self.site(site));
        found.map_or(0.0, |row| row.network_ms - self.geographic_ms(group, site))
    }

    fn tried(&self, group: Group) -> Option<SiteIndex> {
        let trials = Trials::new(self.notes.trials().collect());
        let own = trials.all().iter().find(|trial| trial.group == Some(group));
        own.map(|trial| trial.site)
    }
}

fn fleet(sites: &[(&str, f64)], score: &str) -> (Arc<Topology>, Arc<Policy>) {
    let mut text = String::from("apiVersion: tradewind/v1\nkind: Topology\nspec:\n  sites:\n");
    let mut nodes = String::from("  nodes:\n");
    for (at, (id, lon)) in sites.iter().enumerate() {
        writeln!(text, "  - {{id: {id}, lat: 50.0, lon: {lon}}}").expect("written");
        let node = format_args!("id: {id}-1, site: {id}, address: \"192.0.2.{at}:80\"");
        writeln!(nodes, "  - {{{node}}}").expect("written");
    }
    let topology = topology::compile("topology", &(text + &nodes))
        .topology
        .expect("a fleet");
    let rules = format!(
        "apiVersion: tradewind/v1\nkind: Policy\nspec:\n  score: {{{score}}}\n  pools: [{{name: edge, select: {{tier: \
         edge}}}}]\n  rules: [{{name: all, owner: test, rollback: none, pools: [edge]}}]\n"
    );
    let policy = policy::compile("policy", &rules, &topology)
        .policy
        .expect("a policy");
    (Arc::new(topology), Arc::new(policy))
}

fn group(asn: u32) -> Group {
    Group {
        cell: Cell::of(Location::new(50.0, 8.6).expect("a place")),
        asn: Asn::new(asn),
    }
}

const ALL: u32 = 0;

#[test]
fn a_last_mile_moves_nobody_and_is_told() {
    let mut bed = Bed::new();
    let ours = group(ALL);
    bed.tell((ours, "a"), 300, 60.0);
    let table = bed.notes.table();
    assert_eq!(table.of_group(Some(ours)), []);
    let mile = table.last_mile(ours).expect("measured");
    assert!(
        (mile.ms - 60.0).abs() < 2.0 && (200..=208).contains(&mile.samples),
        "{mile:?}"
    );
}

#[test]
fn a_detour_is_learned_within_a_minute_and_kept_for_hours() {
    let mut bed = Bed::new();
    let ours = group(ALL);
    // The nearest site is 120 ms late, the next is not.
    bed.tell((ours, "a"), 45, 125.0);
    assert!(
        bed.special_ms(ours, "a") > 5.0,
        "{}",
        bed.special_ms(ours, "a")
    );
    bed.tell((ours, "b"), 60, 5.0);
    let learned = bed.special_ms(ours, "a") - bed.special_ms(ours, "b");
    assert!((learned - 120.0).abs() < 8.0, "{learned}");
    // Nobody goes there for hours: it stays left, but has a second chance every half hour.
    let mut chances = 0;
    for _ in 0..24 {
        bed.tell((ours, "b"), 30, 5.0);
        bed.sleep(270);
        assert!(bed.special_ms(ours, "a") > 5.0);
        chances += u32::from(bed.tried(ours) == Some(bed.site("a")));
    }
    assert!((3..=6).contains(&chances), "{chances} in two hours");
    // In the end it is tried outside of these too, for it may be well again, before anybody goes back.
    let mut in_a_row = 0;
    for step in 0.. {
        bed.tell((ours, "b"), 30, 5.0);
        bed.sleep(270);
        let is_tried = bed.tried(ours) == Some(bed.site("a"));
        in_a_row = if is_tried { in_a_row + 1 } else { 0 };
        if in_a_row == 2 {
            println!("doubted after {step} times five minutes");
            break;
        }
        assert!(bed.special_ms(ours, "a") > 5.0, "left no more after {step}");
        assert!(step < 200, "never doubted");
    }
    // A comment in a file does not end the trial.
    let (topology, policy) = (Arc::clone(&bed.topology), Arc::clone(&bed.policy));
    let next = Next {
        topology: &topology,
        policy: &policy,
        candidate: None,
        generation: 2,
    };
    bed.notes.adopt(next, Some);
    assert_eq!(bed.tried(ours), Some(bed.site("a")));
    // It is well again, as the trial finds out.
    for _ in 0..40 {
        bed.say((ours, "a"), 0, 5.0);
        bed.tell((ours, "b"), 5, 5.0);
    }
    assert!(
        bed.special_ms(ours, "a").abs() < 5.0,
        "{}",
        bed.special_ms(ours, "a")
    );
}

#[test]
fn a_change_of_the_files_keeps_what_was_learned() {
    let mut bed = Bed::new();
    let ours = group(ALL);
    bed.tell((ours, "a"), 60, 125.0);
    bed.tell((ours, "b"), 60, 5.0);
    let before = bed.special_ms(ours, "a");
    assert!(before > 100.0);
    // A site is new, one is gone, and kilometres cost more: `a` has another number.
    let (topology, policy) = fleet(
        &[("0", 7.0), ("a", 8.5), ("c", 11.3)],
        "network: {ms_per_km: 0.02}",
    );
    let old = Arc::clone(&bed.topology);
    let renumbered = |site: SiteIndex| {
        let id = &old.sites().get(site.get())?.id;
        let at = topology.sites().iter().position(|site| site.id == *id)?;
        u16::try_from(at).ok().map(SiteIndex)
    };
    let next = Next {
        topology: &topology,
        policy: &policy,
        candidate: None,
        generation: 2,
    };
    bed.notes.adopt(next, renumbered);
    (bed.topology, bed.policy) = (Arc::clone(&topology), Arc::clone(&policy));
    assert_eq!(bed.site("a"), SiteIndex(1));
    assert!((bed.special_ms(ours, "a") - before).abs() < 0.1);
    bed.pass(60);
    assert!(
        bed.special_ms(ours, "a") > 60.0,
        "{}",
        bed.special_ms(ours, "a")
    );
    assert_eq!(bed.notes.len(), 1);
}

#[test]
fn a_network_believes_its_neighbours_in_part_until_it_knows_better() {
    let mut bed = Bed::new();
    let (first, second, other) = (group(64_496), group(64_497), group(64_500));
    for _ in 0..90 {
        bed.say((first, "a"), 0, 140.0);
        bed.say((first, "b"), 0, 20.0);
        bed.pass(1);
    }
    assert!(
        (bed.special_ms(first, "a") - 120.0).abs() < 10.0,
        "{}",
        bed.special_ms(first, "a")
    );
    // Nobody has heard of this network: it takes what is known of the cell.
    assert!(
        (20.0..90.0).contains(&bed.special_ms(other, "a")),
        "{}",
        bed.special_ms(other, "a")
    );
    // This one is connected well, and finds out.
    bed.tell((second, "b"), 10, 40.0);
    for _ in 0..60 {
        bed.say((second, "a"), 0, 40.0);
        bed.tell((second, "b"), 1, 40.0);
    }
    assert!(
        bed.special_ms(second, "a").abs() < 5.0,
        "{}",
        bed.special_ms(second, "a")
    );
    assert!((bed.special_ms(first, "a") - 120.0).abs() < 10.0);
}

#[test]
fn one_reporter_of_three_moves_no_path() {
    let mut bed = Bed::new();
    let ours = group(ALL);
    for _ in 0..120 {
        for (reporter, late_ms) in [(1, 10.0), (2, 12.0), (3, 400.0), (3, 400.0), (3, 400.0)] {
            bed.say((ours, "a"), reporter, late_ms);
            bed.say(
                (ours, "b"),
                reporter,
                if reporter == 3 { 0.0 } else { 11.0 },
            );
        }
        bed.pass(1);
    }
    assert!(bed.special_ms(ours, "a").abs() < f32::EPSILON);
    assert!(bed.special_ms(ours, "b").abs() < f32::EPSILON);
}

#[test]
fn a_site_that_may_be_much_better_is_tried_until_it_is_known() {
    // From afar distances say little: the next is 25 ms further.
    let mut bed = Bed::of(&[("x", 40.0), ("y", 56.0)]);
    let ours = group(ALL);
    bed.tell((ours, "x"), 60, 20.0);
    assert_eq!(bed.tried(ours), Some(bed.site("y")));
    // It is as its distance says.
    for _ in 0..40 {
        bed.say((ours, "y"), 0, 20.0);
        bed.tell((ours, "x"), 5, 20.0);
    }
    assert_eq!(bed.tried(ours), None);
    assert!(bed.special_ms(ours, "y").abs() < f32::EPSILON);
}

#[test]
fn the_least_recently_used_pair_goes_first() {
    let mut notes = NetworkNotes::default();
    let cell = |at: u32| {
        let row = 60 + at / 300;
        Cell::from_id((row << 16) | (at % 300)).expect("a cell")
    };
    let pair = |at: u32| {
        let group = Group {
            cell: cell(at),
            asn: None,
        };
        (group, SiteIndex(0))
    };
    let told = (Reporter(0), 1_000);
    let count = u32::try_from(MAX_PAIRS).unwrap();
    for at in 0..count {
        notes.record(Moment(u64::from(at) * 2_000), pair(at), told);
    }
    let late = Moment(u64::from(count) * 2_000);
    notes.record(late, pair(0), told);
    notes.record(late, pair(count), told);
    assert_eq!((notes.len(), notes.evicted()), (MAX_PAIRS, 1));
    assert!(notes.pairs.contains_key(&pair(0)));
    assert!(!notes.pairs.contains_key(&pair(1)));
}
