//! The audit log: who changed what is served, why, and what it did.
//!
//! It is a file of JSON lines in the state directory that is only ever added to. Each entry holds the hash of the one before
//! it and its own, so that an entry that somebody changed, dropped, moved or put in twice is found ([`verify`]): the manner of
//! hash chains since Haber and Stornetta (1991). Nothing here is signed: whoever can write the files can make a whole new
//! chain. Against that help copies of the hashes elsewhere; each is in the process's log too.
//!
//! [`entry`], [`notices`] and [`verify`] are pure. [`journal`] writes, [`files`] knows where files are.

pub mod entry;
pub mod files;
pub mod journal;
pub mod notices;
pub mod verify;

use std::path::PathBuf;
use std::sync::Arc;

use crate::audit::entry::{Kind, Record};
use crate::audit::journal::Journal;
use crate::audit::notices::{Asked, InForce};
use crate::clock;
use crate::log_filter::{Ended, FilterSet, Wish};
use crate::state::{AuditCounters, GeoStatus};
use tradewind_engine::control::meter::Disruption;
use tradewind_engine::edition::{Edition, Which};
use tradewind_engine::lifecycle::notice::Notice;
use tradewind_engine::lifecycle::{Event, Reply};

/// The audit log as the writer keeps it: everything it does about it is a call of this.
#[derive(Debug)]
pub struct Audit {
    /// `None` where there is no state directory: then nothing is recorded.
    journal: Option<Journal>,
    in_force: InForce,
}

/// A policy that the gates of the one in force kept from coming into force: nothing that the steward hears of.
#[derive(Debug, Clone, Default)]
pub struct Stopped {
    /// The digest of its text.
    pub given: String,
    /// The gates.
    pub gates: Vec<String>,
    /// Who wanted it.
    pub who: String,
    /// Why.
    pub why: String,
}

/// A purge of more than single objects, which the log of purges has.
#[derive(Debug, Clone, Default)]
pub struct Purged {
    /// Its version, as answers have it.
    pub version: String,
    /// What it covers.
    pub covers: String,
    /// Who wanted it.
    pub who: String,
    /// Why.
    pub why: String,
}

/// A text that was published to a whole fleet, or was to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// Which text.
    pub which: Which,
    /// The edition that it is part of, or why it is part of none.
    pub edition: Result<u64, String>,
    /// How long all may take to have it, in ms; `None` where nobody said.
    pub within_ms: Option<u64>,
    /// Who wanted it.
    pub who: String,
    /// Why.
    pub why: String,
}

impl Audit {
    /// The log in the state directory, if there is one; begins with an entry that this process starts.
    pub fn open(state_dir: Option<PathBuf>, counters: &Arc<AuditCounters>) -> Self {
        let journal = state_dir.map(|dir| Journal::open(dir, Arc::clone(counters)));
        let mut audit = Self {
            journal,
            in_force: InForce::default(),
        };
        audit.record(notices::start());
        audit
    }

    /// Records something. What is known of it beyond the steward's words is added by [`Record::did`].
    pub fn record(&mut self, record: Record) {
        if let Some(journal) = &mut self.journal {
            journal.record(clock::unix_ms(), record);
        }
    }

    /// What the steward is about to be asked, as far as its answer does not repeat it.
    pub fn asked(&self, event: &Event) -> Asked {
        self.journal
            .as_ref()
            .map_or_else(Asked::default, |_| Asked::of(event))
    }

    /// Records what came of a step: what the steward said, what it answered, what is in force now, and how
    /// many keys that moved, if it is known that any did.
    pub fn step(
        &mut self,
        asked: &Asked,
        (notices, reply): (&[Notice], Option<&Reply>),
        (current, moved): (Option<&Edition>, Option<Disruption>),
    ) {
        if self.journal.is_none() {
            return;
        }
        let before = self.in_force.renew(current);
        for record in notices::records(asked, (notices, reply), (&before, &self.in_force)) {
            self.record(match &moved {
                Some(moved) => notices::moving(record, moved),
                None => record,
            });
        }
    }

    /// Records that what an earlier run kept in a file cannot be used, and why.
    pub fn lost(&mut self, file: &str, why: &str) {
        self.record(notices::lost(file, why));
    }

    /// Records a policy that gates kept from coming into force.
    pub fn stopped(&mut self, stopped: &Stopped) {
        self.record(notices::stopped(stopped));
    }

    /// Records other geo tables, or that files are refused.
    pub fn geo(&mut self, is_applied: bool, status: &GeoStatus) {
        self.record(notices::geo(is_applied, status));
    }

    /// Records other keys of TLS or tokens, or that their files are refused.
    pub fn credentials(&mut self, source: &str, fault: Option<&str>) {
        self.record(notices::credentials(source, fault));
    }

    /// Records that somebody had a node's breaker reset, if it was.
    pub fn breaker_reset(&mut self, (node, who): (&str, &str), is_reset: bool) {
        if is_reset {
            let record = Record::new(Kind::BreakerReset, "reset").by(who, "");
            self.record(record.what("node", node));
        }
    }

    /// Records a purge of more than single objects.
    pub fn purged(&mut self, purged: &Purged) {
        let record = Record::new(Kind::Purge, "purged").by(&purged.who, &purged.why);
        let record = record.what("version", purged.version.as_str());
        self.record(record.what("covers", purged.covers.as_str()));
    }

    /// Records that a text was published to a fleet, or could not be.
    pub fn announced(&mut self, announced: &Announced) {
        let kind = match announced.which {
            Which::Policy => Kind::Policy,
            Which::Topology => Kind::Topology,
        };
        let by = |event| Record::new(kind, event).by(&announced.who, &announced.why);
        let mut record = match &announced.edition {
            Ok(edition) => by("published").what("edition", *edition),
            Err(why) => by("not_published").what("reason", why.as_str()),
        };
        if let Some(within_ms) = announced.within_ms {
            record = record.what("within_ms", within_ms);
        }
        self.record(record);
    }

    /// Records that other lines are written to the log, or those that are configured again.
    pub fn log_filter_set(&mut self, wish: &Wish, set: &FilterSet) {
        self.record(notices::log_filter_set(wish, set));
    }

    /// Records that the log goes back by itself to the lines that are configured.
    pub fn log_filter_ended(&mut self, ended: &Ended, now: &str) {
        self.record(notices::log_filter_ended(ended, now));
    }

    /// Records that this process ends as it should.
    pub fn stop(&mut self) {
        self.record(notices::stop());
    }
}
