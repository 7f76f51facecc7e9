//! A fleet that does as a steward says: what a sidecar's writer is to them, without files.

use tradewind_engine::lifecycle::notice::{Notice, RolloutNotice};
use tradewind_engine::lifecycle::{Event, Publish, Steward};
use tradewind_engine::rollout::Seen;
use tradewind_engine::time::Moment;

use super::Simulation;

/// How often the guards of a rollout are asked, in ms; as often as a sidecar does.
pub const GUARDS_MS: u64 = 500;

/// A steward, and the fleet.
#[derive(Debug)]
pub struct Governed {
    /// What decides which edition is in force.
    pub steward: Steward,
    /// What does as it says.
    pub simulation: Simulation,
    /// What became of rollouts, and when.
    pub told: Vec<(Moment, RolloutNotice)>,
    next_guards: Moment,
}

impl Governed {
    /// Nothing was said yet.
    pub fn new(steward: Steward, simulation: Simulation) -> Self {
        Self {
            next_guards: simulation.now().plus(GUARDS_MS),
            steward,
            simulation,
            told: Vec::new(),
        }
    }

    /// Something happens; what is served from then on, if that is something else.
    pub fn step(&mut self, event: Event) -> Option<Publish> {
        let now = self.simulation.now();
        let effects = self.steward.step(now.0, event);
        for notice in effects.say {
            if let Notice::Rollout(notice) = notice {
                self.told.push((now, notice));
            }
        }
        if let Some(publish) = &effects.publish {
            self.simulation.serve(publish);
        }
        effects.publish
    }

    /// Lets time pass to `until`; the guards are asked meanwhile.
    pub fn run_until(&mut self, until: Moment) {
        while self.next_guards <= until {
            self.simulation.run_until(self.next_guards);
            self.next_guards = self.next_guards.plus(GUARDS_MS);
            self.ask_guards();
        }
        self.simulation.run_until(until);
    }

    fn ask_guards(&mut self) {
        if self.steward.rollout().is_none_or(|it| it.is_shadow) {
            return;
        }
        let now = self.simulation.now();
        let windows = self.steward.rollout_windows_ms(now.0).into_iter();
        let fared = windows.map(|window_ms| {
            let fared = self.simulation.control().fared(now, window_ms);
            fared.unwrap_or_default()
        });
        let fared = fared.collect();
        self.step(Event::Seen(Seen {
            fared,
            broken: None,
        }));
    }
}
