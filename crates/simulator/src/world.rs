//! What goes wrong beyond the nodes: objects that fail or are slow wherever they are asked for, and clients over their
//! limits.

use std::collections::BTreeMap;

use super::random::Random;
use tradewind_engine::geo::Location;
use tradewind_engine::number::from_u64;

/// The origin and the clients, as far as they are not as they should be.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// Objects for which the origin answers this status.
    pub failing: BTreeMap<u64, u16>,
    /// A share of all objects, 0 to 1, for which the origin takes so many microseconds.
    pub slow: Option<(f64, u64)>,
    /// What some clients do beside the usual.
    pub habits: Vec<Habit>,
    /// How long proxies wait for a node, in microseconds, instead of the policy's `attempt_timeout`.
    pub patience_us: Option<u64>,
}

/// A share of the requests from one place are like this.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Habit {
    /// Where they come from: a position among the traffic's clients.
    pub client: usize,
    /// Of the requests from there, 0 to 1.
    pub share: f64,
    /// What they are like.
    pub what: What,
}

/// What a request is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It asks for this key.
    Key(u64),
    /// It asks for a key that nobody asks for again.
    Fresh,
    /// It asks for what others ask for too, and every node says that it is too much.
    Limited,
}

/// How the origin answers for an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Origin {
    /// The status, where it fails.
    pub(super) fails: Option<u16>,
    /// How long it takes, where that is not the usual.
    pub(super) takes_us: Option<u64>,
}

/// Keys from here on are asked for once.
const FRESH: u64 = 1 << 40;

impl World {
    /// What is peculiar about a request from `client`, if anything is.
    pub(super) fn habit(
        &self,
        (client, clients): (Option<Location>, &[Location]),
        random: &mut Random,
    ) -> Option<What> {
        let own = |habit: &&Habit| client.is_some() && clients.get(habit.client).copied() == client;
        let mut left = None;
        for habit in self.habits.iter().filter(own) {
            let drawn = left.get_or_insert_with(|| random.unit());
            *drawn -= habit.share;
            if *drawn < 0.0 {
                return Some(habit.what);
            }
        }
        None
    }

    /// The key that request `number` asks for.
    pub(super) fn key(what: Option<What>, usual: u64, number: u64) -> u64 {
        match what {
            Some(What::Key(key)) => key,
            Some(What::Fresh) => FRESH + number,
            Some(What::Limited) | None => usual,
        }
    }

    /// How the origin answers for a key.
    pub(super) fn origin(&self, key: u64) -> Origin {
        let place = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11;
        let unit = from_u64(place) / 9_007_199_254_740_992.0;
        Origin {
            fails: self.failing.get(&key).copied(),
            takes_us: self
                .slow
                .filter(|(share, _)| unit < *share)
                .map(|(_, us)| us),
        }
    }
}
