//! Whether this sidecar knows of all purges: not while its bus is not heard, for others may purge meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{self, MissedTickBehavior};

use super::{Fleet, Standing};
use crate::freshness::Freshness;
use tradewind_engine::time::Moment;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);

/// For so long after the bus was lost what is known is taken for all there is, in ms: a connection that is made anew takes less, and
/// caches that are told that freshness is unknown may go past what they have.
const LOST_MS: u64 = 2_000;

/// The same of a bus that says nothing, in ms. The log is looked at each five seconds, and may take as long to answer.
const SILENT_MS: u64 = 10_000;

/// When the bus was lost, and what was made of it.
#[derive(Debug, Default)]
struct Known {
    lost: Option<Moment>,
}

impl Known {
    /// Whether all purges are known, where the log was `heard` as a whole at that time.
    fn look(&mut self, now: Moment, is_up: bool, heard: Option<Moment>) -> bool {
        self.lost = if is_up { None } else { self.lost.or(Some(now)) };
        let is_late = |since: Moment, most| now.since(since) > most;
        let is_lost = self.lost.is_some_and(|lost| is_late(lost, LOST_MS));
        !is_lost && heard.is_some_and(|heard| !is_late(heard, SILENT_MS))
    }
}

/// Says for ever whether all purges are known.
pub(super) async fn watch(fleet: Arc<Fleet>, freshness: Arc<Freshness>) {
    let mut look = time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = Known::default();
    loop {
        look.tick().await;
        let is_up = fleet.standing().0 == Standing::Up;
        let is_known = known.look(fleet.now(), is_up, fleet.last_heard_all());
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

    #[test]
    fn what_is_known_is_all_until_the_bus_is_lost_or_silent_for_too_long() {
        let mut known = Known::default();
        let mut look =
            |now, is_up, heard: Option<u64>| known.look(Moment(now), is_up, heard.map(Moment));
        assert!(!look(0, false, None), "it never was heard");
        assert!(!look(1_000, true, None), "it is behind");
        assert!(look(2_000, true, Some(1_900)));
        assert!(look(11_900, true, Some(1_900)));
        assert!(!look(11_901, true, Some(1_900)), "it says nothing");
        assert!(look(12_000, true, Some(12_000)));
        // A connection that is made anew is no news.
        assert!(look(13_000, false, Some(12_000)));
        assert!(look(15_000, false, Some(12_000)));
        assert!(!look(15_001, false, Some(12_000)));
        assert!(look(16_000, true, Some(16_000)));
        assert!(look(17_000, false, Some(16_000)), "counted anew");
    }
}
