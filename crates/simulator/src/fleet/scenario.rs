//! What happens to a fleet.

use tradewind_engine::time::Moment;

use super::hub::Faults;
use super::land::Scale;

/// What happens, and when.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// How large the fleet is.
    pub scale: Scale,
    /// How long it goes, in seconds.
    pub seconds: u64,
    /// What random numbers begin with.
    pub seed: u64,
    /// How the bus is.
    pub faults: Faults,
    /// So much of all nodes is slow from then on, 0 to 1.
    pub slow_share: f64,
    /// When that begins.
    pub slow_from_ms: u64,
    /// How often a node fails, in ms; 0 is never.
    pub fails_every_ms: u64,
    /// For how long, in ms.
    pub fails_for_ms: u64,
    /// When all nodes of the first site fail.
    pub site_fails_at_ms: Option<u64>,
    /// Sidecars that say that nodes fail, 0 to 1.
    pub liars: f64,
    /// Of how many of the nodes that they use they say it, 0 to 1.
    pub lies: f64,
    /// Who is cut off from the bus.
    pub cut: Option<Cut>,
    /// When the chair dies.
    pub chair_dies_at_ms: Option<u64>,
}

/// Sidecars that are cut off from the bus.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// Which share of all, 0 to 1.
    pub share: f64,
    /// From when.
    pub from_ms: u64,
    /// To when.
    pub to_ms: u64,
    /// Whether what they tell meanwhile comes all together at the end.
    pub keeps: bool,
}

impl Scenario {
    /// So many seconds in which every tenth a node fails for half a minute, and a twentieth of all is slow.
    pub fn usual(scale: Scale, seconds: u64, seed: u64) -> Self {
        Self {
            scale,
            seconds,
            seed,
            faults: Faults::USUAL,
            slow_share: 0.05,
            slow_from_ms: 20_000,
            fails_every_ms: 10_000,
            fails_for_ms: 30_000,
            site_fails_at_ms: None,
            liars: 0.0,
            lies: 1.0,
            cut: None,
            chair_dies_at_ms: None,
        }
    }

    /// Whether a node fails now. Before the first does, everybody has used all that it uses; after the last there is time to
    /// see who leaves it.
    pub(super) fn is_time_to_fail(&self, now: Moment) -> bool {
        let is_within = now.0 >= 10_000 && now.0 + 10_000 <= self.seconds * 1_000;
        is_within && self.fails_every_ms > 0 && now.0.is_multiple_of(self.fails_every_ms)
    }
}
