//! F5: a bus that is lost changes nothing by itself, and however long it is away, requests are answered.

use std::sync::Arc;

use super::guard::{Process, said};
use crate::control::Next;
use crate::control::facts::Facts;
use crate::decision::Decision;
use crate::evaluate::{Verdict, evaluate};
use crate::fleet::facts::NodeFact;
use crate::fleet::member::{Member, Standing};
use crate::geo::Location;
use crate::model::NodeIndex;
use crate::number::from_u64;
use crate::policy::Affinity;
use crate::publication;
use crate::query::{Client, Query};

use crate::signal::Admission;
use crate::signal::observation::{AttemptResult, CacheResult, DecisionNumber, Outcome, Reporter};
use crate::time::Moment;

const DAY_S: u64 = 24 * 3_600;

/// Each node fails for five minutes an hour, one after the other; the first, which the fleet had left, for the first two hours too.
fn fails(node: usize, second: u64) -> bool {
    let from = 600 + 300 * node as u64;
    (from..from + 300).contains(&(second % 3_600)) || (node == 0 && second < 7_200)
}

/// A sidecar that has lost its bus at the first second.
struct Absent {
    process: Process,
    member: Member,
    acted_on: Option<Facts>,
    decisions: u64,
}

impl Absent {
    fn new() -> Self {
        let process = Process::new();
        let mut member = Member::default();
        let left = NodeFact {
            verdict: Admission::BreakerOpen,
            place: Some(0),
            term: 1,
            ..NodeFact::default()
        };
        let seed = process.topology().node(NodeIndex(0)).seed;
        member.hear(Moment(0), &said(1, vec![(seed, left)]));
        Self {
            process,
            member,
            acted_on: None,
            decisions: 0,
        }
    }

    /// A tick, as the sidecar does it.
    fn tick(&mut self, now: Moment) {
        let Process { control, snapshot } = &mut self.process;
        let is_alone = self.member.standing(now) == Standing::Alone;
        if is_alone && let Some(acted_on) = self.acted_on.take() {
            control.go_on_from(now, &acted_on, Next::after(snapshot));
        }
        let own = control.assess(now, snapshot);
        let acted_on = self.member.acts_on(now, &own, snapshot.topology());
        let signals = control.settle(now, &acted_on, Next::after(snapshot));
        self.acted_on = (!is_alone).then_some(acted_on);
        if let Some(signals) = signals {
            *snapshot = publication::renew(control, now, signals, snapshot);
        }
        control.take_events();
    }

    /// Asks, and tells how each attempt ended, until one succeeds. How many it took; `None` where no node was named.
    fn ask(&mut self, now: Moment, fails: impl Fn(usize) -> bool) -> Option<u8> {
        let Process { control, snapshot } = &mut self.process;
        self.decisions += 1;
        let path = format!("/{}", self.decisions % 509);
        let query = Query {
            host: "www.example.com",
            path: &path,
            client: Client::made_up(Location::new(50.0, 8.1).expect("a place"), self.decisions),
            ..Query::default()
        };
        let evaluation = evaluate(snapshot, &query);
        if evaluation.verdict != Verdict::Route || evaluation.picks.is_empty() {
            return None;
        }
        let number = DecisionNumber(self.decisions);
        let decision = Decision::new(snapshot, &evaluation);
        if let Some(dispatch) = decision.dispatch(number) {
            control.dispatched(&dispatch, Affinity::default());
        }
        let next = Next::after(snapshot);
        for (pick, attempt) in evaluation.picks.iter().zip(1..) {
            let failed = fails(pick.node.get());
            let outcome = Outcome {
                decision: Some(number),
                attempt,
                reporter: Reporter(1),
                node: pick.node,
                result: if failed {
                    AttemptResult::Timeout
                } else {
                    AttemptResult::Ok
                },
                status: if failed { 0 } else { 200 },
                first_byte_us: if failed { 0 } else { 2_000 },
                cache: CacheResult::Hit,
                bytes: 1_000,
                client_round_trip_us: 0,
                key: None,
            };
            control.outcome(now, &outcome, next);
            if !failed {
                return Some(attempt);
            }
        }
        Some(u8::MAX)
    }
}

#[test]
fn a_day_without_the_bus_is_answered_all_the_time() {
    let mut absent = Absent::new();
    let (mut first, mut in_vain) = (0, 0);
    let mut before = None;
    // Second by second at first, then each five.
    let seconds = (1..180).chain((180..=DAY_S).step_by(5));
    for second in seconds {
        let now = Moment(second * 1_000);
        absent.tick(now);
        let signals = Arc::clone(&absent.process.snapshot.parts().signals);
        if (3..=59).contains(&second) {
            // Nothing that the fleet said is doubted for a minute, and nothing else happens.
            let before = before.get_or_insert_with(|| Arc::clone(&signals));
            assert_eq!(before.nodes, signals.nodes, "{second}");
            let left = signals.node(NodeIndex(0));
            assert_ne!(left.admission, Admission::Admitted, "{second}");
        }
        for _ in 0..3 {
            let attempts = absent.ask(now, |node| fails(node, second));
            let attempts = attempts.unwrap_or_else(|| panic!("no node at second {second}"));
            first += u64::from(attempts == 1);
            in_vain += u64::from(attempts == u8::MAX);
        }
    }
    let all = absent.decisions;
    assert!(all > 50_000);
    assert_eq!(in_vain, 0, "another node is well");
    // In half of each hour one node of ten fails. It is asked only each five seconds here, so five failures take a while.
    let ratio = from_u64(first) / from_u64(all);
    println!("{first} of {all} at the first attempt: {ratio:.4}");
    assert!(ratio > 0.95, "{first} of {all}");
}
