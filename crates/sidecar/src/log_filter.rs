//! Which lines the log takes: what is configured, and what somebody wants to see for a while.
//!
//! What a filter is made of only the maker of the log knows, the program around this package: it gives a [`Switch`]. The
//! writer keeps the [`LogFilter`]. A change ends by itself, and with the process: a level that nobody takes back fills disks.

use std::fmt;
use std::ops::RangeInclusive;

use serde::Serialize;

use tradewind_engine::time::Moment;

/// Longest filter, in bytes.
pub const MAX_FILTER_BYTES: usize = 512;

/// Shortest and longest time that a change lasts, in ms: a second, and a day.
pub const LASTS_MS: RangeInclusive<u64> = 1_000..=24 * 3_600_000;

/// How long a change lasts of which nobody says so, in ms.
pub const USUALLY_LASTS_MS: u64 = 10 * 60_000;

/// What lets other lines through; of whoever makes the log.
pub trait Switch: Send + Sync {
    /// Whether this is a filter that could be put in force.
    fn check(&self, filter: &str) -> Result<(), SwitchError>;

    /// Puts it in force.
    fn put(&self, filter: &str) -> Result<(), SwitchError>;
}

/// Why a filter is not put in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwitchError {
    /// It is none: what was seen, and what is allowed.
    #[error("{0}")]
    NoFilter(String),
    /// The log is not to be changed from here: why.
    #[error("the log of this process cannot be changed: {0}")]
    Fixed(String),
}

/// The switch of a process whose log is not the sidecar's.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSwitch;

impl Switch for NoSwitch {
    fn check(&self, _filter: &str) -> Result<(), SwitchError> {
        let why = "it was started by a program that keeps the log for itself";
        Err(SwitchError::Fixed(why.to_owned()))
    }

    fn put(&self, filter: &str) -> Result<(), SwitchError> {
        self.check(filter)
    }
}

/// What somebody wants of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// What to put in force; `None` to go back to what is configured.
    pub filter: Option<String>,
    /// For how long, in ms.
    pub lasts_ms: u64,
    /// Who asks.
    pub who: String,
    /// Why.
    pub why: String,
}

/// What time it is, by both clocks: one to wait by, and one to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// By the clock that never jumps.
    pub moment: Moment,
    /// Ms since 1970.
    pub unix_ms: u64,
}

/// The filter in force, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// What is in force.
    pub filter: String,
    /// What the process was started with.
    pub configured: String,
    /// What is laid over that for a while; absent while it is in force itself.
    #[serde(flatten)]
    pub change: Option<Change>,
}

/// Something else than what is configured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Since when it is in force, in ms since 1970.
    pub since_unix_ms: u64,
    /// When it ends by itself.
    pub until_unix_ms: u64,
    /// Who asked for it.
    pub who: String,
    /// Why.
    pub why: String,
}

/// A change that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterSet {
    /// The filter before.
    pub previous: String,
    /// What is in force now.
    pub now: Status,
}

/// A change that ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The filter that was in force.
    pub filter: String,
    /// Since when, until when, by whom and why.
    pub change: Change,
}

/// The filter in force, as the writer keeps it.
pub struct LogFilter {
    switch: Box<dyn Switch>,
    status: Status,
    /// When what is laid over ends.
    until: Moment,
}

impl fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogFilter")
            .field("status", &self.status)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self::new(String::new(), Box::new(NoSwitch))
    }
}

impl LogFilter {
    /// The filter that the process was started with, which is in force.
    pub fn new(configured: String, switch: Box<dyn Switch>) -> Self {
        Self {
            switch,
            status: Status {
                filter: configured.clone(),
                configured,
                change: None,
            },
            until: Moment::default(),
        }
    }

    /// What is in force.
    pub const fn status(&self) -> &Status {
        &self.status
    }

    /// Whether this could be put in force.
    pub fn check(&self, wish: &Wish) -> Result<(), SwitchError> {
        let wanted = wish.filter.as_ref().unwrap_or(&self.status.configured);
        self.switch.check(wanted)
    }

    /// Puts a filter in force for a while, or goes back to what is configured. On an error nothing has changed.
    pub fn set(&mut self, wish: &Wish, now: Now) -> Result<FilterSet, SwitchError> {
        let wanted = wish.filter.as_ref().unwrap_or(&self.status.configured);
        self.switch.check(wanted)?;
        self.switch.put(wanted)?;
        let filter = wanted.clone();
        let previous = std::mem::replace(&mut self.status.filter, filter);
        self.until = now.moment.plus(wish.lasts_ms);
        self.status.change = wish.filter.as_ref().map(|_| Change {
            since_unix_ms: now.unix_ms,
            until_unix_ms: now.unix_ms.saturating_add(wish.lasts_ms),
            who: wish.who.clone(),
            why: wish.why.clone(),
        });
        Ok(FilterSet {
            previous,
            now: self.status.clone(),
        })
    }

    /// Whether what is laid over has lasted as long as it should.
    pub fn is_over(&self, now: Moment) -> bool {
        self.status.change.is_some() && now >= self.until
    }

    /// Goes back to what is configured if its time has come, and says what ended. A switch that fails then has lost its
    /// log, so there is nothing to try again.
    pub fn end_if_over(&mut self, now: Moment) -> Option<Ended> {
        if !self.is_over(now) {
            return None;
        }
        let change = self.status.change.take()?;
        let configured = self.status.configured.clone();
        drop(self.switch.put(&configured));
        let filter = std::mem::replace(&mut self.status.filter, configured);
        Some(Ended { filter, change })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Takes every filter but `bad`, and remembers what was put in force.
    #[derive(Debug, Clone, Default)]
    struct Remembering(Arc<Mutex<Vec<String>>>);

    impl Remembering {
        fn put_so_far(&self) -> Vec<String> {
            self.0.lock().unwrap().clone()
        }
    }

    impl Switch for Remembering {
        fn check(&self, filter: &str) -> Result<(), SwitchError> {
            if filter == "bad" {
                return Err(SwitchError::NoFilter("`bad` is none".to_owned()));
            }
            Ok(())
        }

        fn put(&self, filter: &str) -> Result<(), SwitchError> {
            self.0.lock().unwrap().push(filter.to_owned());
            Ok(())
        }
    }

    /// That many ms after the start.
    fn at(ms: u64) -> Now {
        Now {
            moment: Moment(ms),
            unix_ms: 1_000_000 + ms,
        }
    }

    fn wish(filter: &str, lasts_ms: u64) -> Wish {
        Wish {
            filter: Some(filter.to_owned()),
            lasts_ms,
            who: "ada".to_owned(),
            why: "a look".to_owned(),
        }
    }

    fn of_info() -> (LogFilter, Remembering) {
        let switch = Remembering::default();
        let log = LogFilter::new("info".to_owned(), Box::new(switch.clone()));
        (log, switch)
    }

    #[test]
    fn a_change_ends_by_itself_after_its_time_and_not_before() {
        let (mut log, switch) = of_info();
        assert_eq!(log.end_if_over(Moment(u64::MAX)), None, "nothing to end");
        let set = log.set(&wish("debug", 60_000), at(500)).unwrap();
        assert_eq!(set.previous, "info");
        let change = set.now.change.unwrap();
        assert_eq!(
            (change.since_unix_ms, change.until_unix_ms),
            (1_000_500, 1_060_500)
        );
        assert_eq!(log.end_if_over(Moment(60_499)), None);
        assert_eq!(log.status().filter, "debug");
        let ended = log.end_if_over(Moment(60_500)).unwrap();
        assert_eq!((&*ended.filter, &*ended.change.who), ("debug", "ada"));
        assert_eq!(log.status().filter, "info");
        assert_eq!(log.status().change, None);
        assert_eq!(log.end_if_over(Moment(70_000)), None, "it ends once");
        assert_eq!(switch.put_so_far(), ["debug", "info"]);
    }

    #[test]
    fn the_later_change_counts_with_its_own_time() {
        let (mut log, switch) = of_info();
        log.set(&wish("debug", 10_000), at(0)).unwrap();
        let set = log.set(&wish("trace", 60_000), at(9_000)).unwrap();
        assert_eq!(set.previous, "debug");
        assert_eq!(log.end_if_over(Moment(20_000)), None);
        assert!(log.end_if_over(Moment(69_000)).is_some());
        assert_eq!(switch.put_so_far(), ["debug", "trace", "info"]);
    }

    #[test]
    fn it_goes_back_when_told_to() {
        let (mut log, switch) = of_info();
        log.set(&wish("debug", 10_000), at(0)).unwrap();
        let set = log.set(&Wish::default(), at(1_000)).unwrap();
        assert_eq!((&*set.previous, &*set.now.filter), ("debug", "info"));
        assert_eq!(set.now.change, None);
        assert_eq!(log.end_if_over(Moment(10_000)), None);
        assert_eq!(switch.put_so_far(), ["debug", "info"]);
    }

    #[test]
    fn what_is_no_filter_changes_nothing() {
        let (mut log, switch) = of_info();
        log.set(&wish("debug", 10_000), at(0)).unwrap();
        let before = log.status().clone();
        let refused = log.set(&wish("bad", 10_000), at(5_000));
        assert_eq!(
            refused,
            Err(SwitchError::NoFilter("`bad` is none".to_owned()))
        );
        assert_eq!(log.status(), &before);
        assert!(log.end_if_over(Moment(10_000)).is_some());
        assert_eq!(switch.put_so_far(), ["debug", "info"]);
    }

    #[test]
    fn a_log_of_others_stays_as_it_is() {
        let mut log = LogFilter::default();
        let refused = log.set(&wish("debug", 10_000), at(0)).unwrap_err();
        assert!(matches!(refused, SwitchError::Fixed(_)), "{refused}");
        assert_eq!(log.status(), &Status::default());
    }
}
