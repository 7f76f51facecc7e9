//! The log as operators want it for a while: changed, told of in the log itself and in the audit log, and taken back.

use super::Writer;
use crate::clock;
use crate::log_filter::{FilterSet, LogFilter, Now, SwitchError, Wish};

impl Writer {
    /// Lets operators change the log that `log` is of.
    pub fn keep_log_filter(&mut self, log: LogFilter) {
        self.log_filter = log;
        self.show_log_filter();
    }

    /// Writes other lines to the log for a while, or those that are configured.
    pub(super) fn set_log_filter(&mut self, wish: &Wish) -> Result<FilterSet, SwitchError> {
        self.log_filter.check(wish)?;
        let now = Now {
            moment: self.pulse.now(),
            unix_ms: clock::unix_ms(),
        };
        let set = around(|| say(wish), || self.log_filter.set(wish, now))?;
        self.show_log_filter();
        self.audit.log_filter_set(wish, &set);
        Ok(set)
    }

    /// Goes back to what is configured if its time has come.
    pub(super) fn end_log_filter_if_over(&mut self) {
        let now = self.pulse.now();
        if !self.log_filter.is_over(now) {
            return;
        }
        let ended = around(
            || tracing::info!("the log is as configured again, since the change had its time"),
            || self.log_filter.end_if_over(now),
        );
        self.show_log_filter();
        if let Some(ended) = ended {
            let now = &self.log_filter.status().filter;
            self.audit.log_filter_ended(&ended, now);
        }
    }

    fn show_log_filter(&self) {
        let status = self.log_filter.status().clone();
        self.state.log_filter.store(status.into());
    }
}

fn say(wish: &Wish) {
    let Wish {
        filter,
        lasts_ms,
        who,
        why,
    } = wish;
    if let Some(filter) = filter {
        tracing::info!(filter, lasts_ms, who, why, "the log is changed for a while");
    } else {
        tracing::info!(who, why, "the log is as configured again");
    }
}

/// Says what is done before it or after it: the filter that comes may let less through than the one that goes.
fn around<T>(say: impl Fn(), change: impl FnOnce() -> T) -> T {
    let is_heard = tracing::enabled!(tracing::Level::INFO);
    if is_heard {
        say();
    }
    let changed = change();
    if !is_heard {
        say();
    }
    changed
}
