//! The tick: what was told is taken in, the control loop acts, and what it says is published, as by the sidecar's writer.

use std::cmp::Reverse;

use super::request::Pending;
use super::rivals::Chooser;
use super::{LOAD_REPORT_MS, Simulation, TICK_MS};
use tradewind_engine::control::Next;
use tradewind_engine::model::NodeIndex;
use tradewind_engine::number::{from_u64, narrow};
use tradewind_engine::publication;
use tradewind_engine::signal::observation::{
    DecisionNumber, LoadReport, Outcome, Reporter, Standing,
};

impl Simulation {
    /// What the sidecar's writer does: takes in what was told, lets the control loop act, publishes.
    pub(super) fn tick(&mut self) {
        let now = self.now();
        self.next_tick = self.next_tick.plus(TICK_MS);
        self.deliver();
        if now >= self.next_load_report {
            self.next_load_report = now.plus(LOAD_REPORT_MS);
            self.report_load();
        }
        let told = self.told(self.now_us);
        self.control.decided(told, self.lanes.take());
        let signals = self.control.tick(told, &self.snapshot);
        if self.setup.chooser != Chooser::Tradewind {
            self.report.tick_window();
            return;
        }
        if let Some(signals) = signals {
            let next = publication::renew(&mut self.control, now, signals, &self.snapshot);
            self.publish(next);
        }
        self.report.events(&self.control.take_events());
        self.report.ticked(&self.snapshot);
    }

    fn deliver(&mut self) {
        if self.tellers.withheld.is_none() {
            for pending in std::mem::take(&mut self.withheld) {
                self.tell(pending, self.now_us);
            }
        }
        while let Some(Reverse(pending)) = self.outcomes.peek().copied() {
            if pending.at_us > self.now_us {
                return;
            }
            self.outcomes.pop();
            if self.is_deaf {
                continue;
            }
            if self.tellers.withheld == Some(self.tellers.of(pending.number)) {
                self.withheld.push(pending);
            } else {
                self.tell(pending, pending.at_us);
            }
        }
    }

    fn tell(&mut self, pending: Pending, at_us: u64) {
        let took = u32::try_from(pending.served.took_us).unwrap_or(u32::MAX);
        let first_byte = if pending.served.status == 0 { 0 } else { took };
        let outcome = self.tellers.tell(Outcome {
            decision: Some(DecisionNumber(pending.number)),
            attempt: pending.attempt + 1,
            reporter: self.tellers.of(pending.number),
            node: pending.node,
            result: pending.served.result,
            status: pending.served.status,
            first_byte_us: first_byte,
            cache: pending.served.cache,
            bytes: 10_000,
            client_round_trip_us: pending.round_trip_us,
            key: None,
        });
        let (at, next) = (self.told(at_us), Next::after(&self.snapshot));
        self.control.outcome(at, &outcome, next);
    }

    fn report_load(&mut self) {
        let now = self.told(self.now_us);
        let passed_us = from_u64(LOAD_REPORT_MS) * 1_000.0;
        let operation = self.setup.policy.operation();
        let histogram = self.tellers.histogram();
        for (node, at) in self.nodes.iter_mut().zip(0_u32..) {
            let utilisation = narrow(node.utilisation(passed_us, &mut self.random));
            if self.is_deaf {
                continue;
            }
            let node = NodeIndex(at);
            if let Some(loads) = self.tellers.loads(utilisation) {
                for (reporter, report) in loads {
                    let word = ((reporter, Standing::Proxy), report);
                    self.control.load(now, node, word, operation);
                }
            } else {
                let report = LoadReport {
                    utilisation: Some(utilisation),
                    ..LoadReport::default()
                };
                let word = ((Reporter(u16::MAX - 1), Standing::Own), report);
                self.control.load(now, node, word, operation);
            }
            if let Some((liar, times)) = &histogram {
                let word = ((*liar, Standing::Proxy), times);
                self.control.service_times(now, node, word);
            }
        }
    }
}
