//! Purges of an earlier run, and those that are to be purged again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::wishes::{readable, wish_of};
use super::{Keeper, MAX_REPEATS};
use crate::clock;
use crate::freshness::Wish;
use crate::freshness::log::{self, PurgeLog};
use crate::freshness::records::{Record, Records, age_ms};
use crate::wire::proto::Purged;
use crate::wire::purge::{duration_ms, version_text};

/// How late a purge that was to be purged again may come after a restart.
const LATE_MS: u64 = 600_000;

impl Keeper {
    /// Takes in the purges of an earlier run. Where they can be read and not added to, they are in force all the same.
    pub(super) fn resume(&mut self, dir: &Path) {
        let path = log::path_in(dir);
        let freshness = Arc::clone(&self.freshness);
        let mut records = freshness.records_mut();
        let mut count = 0;
        // What is not held in memory is there.
        records.log = Some(path.clone());
        match PurgeLog::open(dir, |purged| {
            count += 1;
            self.take_back(purged, &mut records);
        }) {
            Ok((log, found)) => {
                if found.cut_bytes > 0 {
                    tracing::error!(path = %path.display(), bytes = found.cut_bytes, "the log of purges is spoilt or was cut; what follows the last good purge is lost, and if that is more than the last one, what it covered may be served again");
                }
                records.oldest = log.first();
                self.log = Some(log);
            }
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "the log of purges cannot be added to: purges are in force until this process ends");
                records.log = None;
                let is_there = path.exists();
                let read = log::read(&path, |purged| self.take_back(purged, &mut records));
                if let Err(error) = read
                    && is_there
                {
                    tracing::error!(path = %path.display(), %error, "purges of an earlier run cannot be read: what they covered may be served again");
                }
            }
        }
        drop(records);
        if !self.ledger.is_empty() || self.ledger.paced() > 0 {
            self.publish();
            tracing::info!(
                purges = count,
                entries = self.ledger.len(),
                "purges of an earlier run are in force"
            );
        }
        self.show();
    }

    /// Takes in a purge of an earlier run.
    fn take_back(&mut self, purged: Purged, records: &mut Records) {
        let age_ms = age_ms(&purged, self.began.1);
        if purged.everything {
            self.ledger.raise_floor(purged.sequence);
            self.last = self.last.max(purged.sequence);
            return;
        }
        let purge = readable(&purged);
        self.ledger.apply(self.now(), age_ms, &purge);
        self.fleet.resume(&purged, self.last);
        self.last = self.last.max(purged.sequence);
        self.remember_repeat(&purged, age_ms);
        let record = Record {
            purged,
            in_force_after: None,
        };
        records.add(record, true);
    }

    pub(super) fn remember_repeat(&mut self, purged: &Purged, age_ms: u64) {
        let Some(after_ms) = purged.repeat_after.as_ref().map(duration_ms) else {
            return;
        };
        let wish = Wish {
            // In a fleet all do it, and all but the first find that it is done.
            id: format!("repeat of {}", version_text(purged.sequence)),
            ..wish_of(purged)
        };
        // What was due while nobody ran is purged once more than it need be, at worst.
        let left_ms = after_ms.saturating_sub(age_ms);
        if age_ms < after_ms + LATE_MS && self.repeats.len() < MAX_REPEATS {
            let due =
                clock::now() + Duration::from_millis(left_ms) + self.fleet.turn(purged.sequence);
            self.repeats.push((due, wish));
        }
    }
}
