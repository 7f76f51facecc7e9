//! Whether this sidecar knows of all purges: not while its bus is not heard, for others may purge meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{self, MissedTickBehavior};

use super::Fleet;
use crate::freshness::Freshness;
use tradewind_engine::time::Moment;

/// How often it is looked, and sooner when something is heard that was missed.
const LOOK: Duration = Duration::from_secs(1);

/// For so long after the bus was lost what is known is taken for all there is, in ms: a connection that is made anew takes less, and
/// caches that are told that freshness is unknown may go past what they have.
const LOST_MS: u64 = 2_000;

/// The same of a bus that says nothing, in ms. The log is looked at each five seconds, and may take as long to answer.
const SILENT_MS: u64 = 10_000;

/// What is seen of the log at one time.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// When no purge of it was missing last; `None` where the bus is away, and where some are since it was reached.
    heard: Option<Moment>,
    /// The last place that was heard of then.
    head: u64,
    /// The place up to which all is in force.
    in_force: u64,
}

/// What was made of it.
#[derive(Debug, Default)]
struct Known {
    is_so: bool,
    /// Since when nothing is heard.
    lost: Option<Moment>,
    /// Where the head was at the last look: up to there all must be in force by now.
    head: u64,
}

impl Known {
    fn look(&mut self, now: Moment, seen: Seen) -> bool {
        let is_behind = seen.in_force < self.head;
        self.head = seen.head;
        self.is_so = if let Some(heard) = seen.heard {
            self.lost = None;
            now.since(heard) <= SILENT_MS && !is_behind
        } else {
            let lost = *self.lost.get_or_insert(now);
            self.is_so && now.since(lost) <= LOST_MS
        };
        self.is_so
    }
}

/// Says that nothing is known once nobody watches any more, however that came about.
struct Unwatched(Arc<Freshness>);

impl Drop for Unwatched {
    fn drop(&mut self) {
        self.0.show_known(false);
    }
}

/// Says for ever whether all purges are known.
pub(super) async fn watch(fleet: Arc<Fleet>, freshness: Arc<Freshness>) {
    let _unwatched = Unwatched(Arc::clone(&freshness));
    let mut look = time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = Known::default();
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = fleet.is_heard.notified(), if !freshness.is_known() => {}
        }
        let (heard, last) = fleet.last_heard_all();
        let seen = Seen {
            heard,
            head: last,
            in_force: freshness.place(),
        };
        let is_known = known.look(fleet.now(), seen);
        if is_known != freshness.is_known() {
            let fleet = &fleet.membership.fleet;
            if is_known {
                tracing::info!(fleet, "all purges of the fleet are known here");
            } else {
                tracing::warn!(
                    fleet,
                    "others may purge what is not heard here: caches are told that freshness is unknown"
                );
            }
            freshness.show_known(is_known);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(heard: Option<u64>) -> Seen {
        Seen {
            heard: heard.map(Moment),
            head: 7,
            in_force: 7,
        }
    }

    #[test]
    fn what_is_known_is_all_until_the_bus_is_lost_or_silent_for_too_long() {
        let mut known = Known::default();
        let mut look = |now, heard| known.look(Moment(now), seen(heard));
        assert!(!look(0, None), "it never was heard");
        assert!(!look(1_000, None), "it is behind");
        assert!(look(2_000, Some(1_900)));
        assert!(look(11_900, Some(1_900)));
        assert!(!look(11_901, Some(1_900)), "it says nothing");
        assert!(look(12_000, Some(12_000)));
        // A connection that is made anew is no news, if what was missed is soon heard.
        assert!(look(13_000, None));
        assert!(look(14_000, None));
        assert!(look(14_500, Some(14_400)));
        assert!(look(15_000, None));
        assert!(look(17_000, None));
        assert!(!look(17_001, None), "it is behind for too long");
        assert!(!look(17_002, None));
        assert!(!look(17_100, None), "it was heard before, not since");
        assert!(look(17_200, Some(17_150)));
    }

    #[test]
    fn what_is_heard_must_come_into_force() {
        let mut known = Known::default();
        let mut look = |now, head, in_force| {
            let seen = Seen {
                head,
                in_force,
                ..seen(Some(now))
            };
            known.look(Moment(now), seen)
        };
        assert!(look(1_000, 5, 5));
        assert!(look(2_000, 9, 6), "what has just been heard is under way");
        assert!(!look(3_000, 9, 8), "a second later it is not");
        assert!(look(4_000, 9, 9));
    }
}
