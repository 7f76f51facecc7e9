//! What the log's thread does: makes lines of decisions, and keeps them in their file.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prost::Message;

use super::Logged;
use super::file::{self, LogFile};
use super::lanes::{Ground, Lanes};
use super::least::{self, Least};
use super::patch;
use super::record::{self, Asked, Begin, Decided, FORMAT, Lost, Record, State, Text, VERSION};
use crate::clock;
use crate::state::DecisionLogCounters;
use crate::wire::answer::{self, Envelope};
use crate::wire::{base64, follow, mask};
use tradewind_engine::decision::Decision;
use tradewind_engine::freshness::Fresh;
use tradewind_engine::snapshot::Snapshot;

/// How long nothing is tried after the disk has failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps decisions.
#[derive(Debug)]
pub(super) struct Keeper {
    path: PathBuf,
    max_bytes: u64,
    counters: Arc<DecisionLogCounters>,
    open: Option<Open>,
    /// After a failure, when to try again.
    not_before: Option<std::time::Instant>,
    /// Counts states of this process.
    states: u64,
    lanes: Lanes,
    told_queue_full: u64,
    told_write_failed: u64,
}

/// The file, and what it has so far.
#[derive(Debug)]
struct Open {
    file: LogFile,
    texts: BTreeSet<String>,
    /// The last state that the file has of each lane.
    states: [Option<Told>; 2],
}

/// The last state of a lane that the file has.
#[derive(Debug)]
struct Told {
    number: u64,
    /// Its revision and generation.
    which: (u64, u64),
    bytes: Vec<u8>,
}

impl Keeper {
    pub(super) fn new(
        (path, max_bytes): (PathBuf, u64),
        counters: Arc<DecisionLogCounters>,
    ) -> Self {
        Self {
            path,
            max_bytes,
            counters,
            open: None,
            not_before: None,
            states: 0,
            lanes: Lanes::default(),
            told_queue_full: 0,
            told_write_failed: 0,
        }
    }

    /// Begins the file, so that whoever looks for it finds it, and one that cannot be written is told at once.
    pub(super) fn begin(&mut self) {
        match Open::begin(&self.path).and_then(|mut open| open.file.flush().map(|()| open)) {
            Ok(open) => self.open = Some(open),
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &io::Error) {
        tracing::error!(file = %self.path.display(), %error, "the decision log cannot be written");
        self.open = None;
        self.not_before = Some(clock::now() + PAUSE);
    }

    /// Keeps a decision. `is_last` says that no other waits: then everything goes to the file.
    pub(super) fn keep(&mut self, logged: &Logged, is_last: bool) {
        let is_pausing = self.not_before.is_some_and(|then| clock::now() < then);
        let kept = if is_pausing {
            Err(io::Error::other("the disk failed a moment ago"))
        } else {
            self.try_keep(logged, is_last)
        };
        match kept {
            Ok(()) => {
                self.not_before = None;
                self.counters.written.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                self.counters.write_failed.fetch_add(1, Ordering::Relaxed);
                if !is_pausing {
                    self.failed(&error);
                }
            }
        }
    }

    /// Hands on what waits; the last thing that is done.
    pub(super) fn close(&mut self) {
        if let Some(open) = &mut self.open
            && let Err(error) = open.file.flush()
        {
            tracing::error!(file = %self.path.display(), %error, "the decision log cannot be written");
        }
    }

    fn try_keep(&mut self, logged: &Logged, is_last: bool) -> io::Result<()> {
        let is_full = |open: &Open| open.file.bytes() >= self.max_bytes;
        if self.open.as_ref().is_some_and(is_full) {
            self.close();
            self.open = None;
            file::put_aside(&self.path)?;
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open::begin(&self.path)?,
        };
        self.tell_lost(&mut open)?;
        let ground = self.lanes.ground(logged);
        let state = open.describe(&ground, &mut self.states)?;
        let decided = self.decided(logged, &ground.snapshot, state);
        open.add(&Record::Decision(Box::new(decided)))?;
        if is_last {
            open.file.flush()?;
        }
        self.open = Some(open);
        Ok(())
    }

    /// Tells of decisions that would stand here.
    fn tell_lost(&mut self, open: &mut Open) -> io::Result<()> {
        let counters = &self.counters;
        let causes = [
            (
                "queue_full",
                &counters.queue_full,
                &mut self.told_queue_full,
            ),
            (
                "write_failed",
                &counters.write_failed,
                &mut self.told_write_failed,
            ),
        ];
        for (because, counter, told) in causes {
            let now = counter.load(Ordering::Relaxed);
            if now > *told {
                let because = because.to_owned();
                let count = now - *told;
                open.add(&Record::Lost(Lost { count, because }))?;
                *told = now;
            }
        }
        Ok(())
    }

    fn decided(&self, logged: &Logged, snapshot: &Snapshot, state: u64) -> Decided {
        let Logged {
            decision_id,
            request,
            evaluation,
            published,
        } = logged;
        let least = least::least(request, evaluation, snapshot);
        if least.is_none() {
            self.counters.hidden.fetch_add(1, Ordering::Relaxed);
        }
        let envelope = Envelope {
            request_id: &request.request_id,
            decision_id,
            revision: published.revision,
            policy_digest: published.digest_of(evaluation.lane),
            freshness_floor: request.object_version_floor,
            // Which version was told is no matter of routing, and no replay could tell it again.
            fresh: Fresh::default(),
            is_freshness_known: true,
            known_place: None,
        };
        let answer = answer::message(&Decision::new(snapshot, evaluation), &envelope);
        let mut shown = request.clone();
        mask(&mut shown);
        let nodes = answer.candidates.iter().map(|it| it.node.clone());
        Decided {
            id: decision_id.clone(),
            unix_ms: clock::unix_ms(),
            state,
            rule: answer.rule.clone(),
            host: shown.host,
            path: shown.path,
            verdict: evaluation.verdict.name().to_owned(),
            reason: answer.reason.clone(),
            purity: answer.purity.clone(),
            nodes: nodes.collect(),
            asked: least.as_ref().map(|least: &Least| Asked::of(least)),
            answer: record::encoded(&answer),
        }
    }
}

impl Open {
    fn begin(path: &std::path::Path) -> io::Result<Self> {
        let mut open = Self {
            file: LogFile::open(path)?,
            texts: BTreeSet::new(),
            states: [None, None],
        };
        open.add(&Record::Begin(Begin {
            format: FORMAT.to_owned(),
            version: VERSION,
            unix_ms: clock::unix_ms(),
        }))?;
        Ok(open)
    }

    fn add(&mut self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.file.add(&line)
    }

    /// Makes sure that the file has what decisions on this ground are made from; answers the number of the state. `states`
    /// counts.
    fn describe(&mut self, ground: &Ground, states: &mut u64) -> io::Result<u64> {
        let which = (ground.revision, ground.snapshot.generation());
        let lane = usize::from(ground.lane);
        let told = self.states.get(lane).and_then(Option::as_ref);
        if let Some(told) = told.filter(|told| told.which == which) {
            return Ok(told.number);
        }
        let message = follow::state_message(&ground.snapshot, ground.revision);
        for (kind, digest, text) in [
            ("policy", &message.policy_digest, &ground.texts.policy),
            ("topology", &message.topology_digest, &ground.texts.topology),
        ] {
            if self.texts.insert(digest.clone()) {
                self.add(&Record::Text(Text {
                    kind: kind.to_owned(),
                    digest: digest.clone(),
                    document: text.to_string(),
                }))?;
            }
        }
        let bytes = message.encode_to_vec();
        *states += 1;
        let before = self.states.get(lane).and_then(Option::as_ref);
        let base = before.map(|before| before.number);
        let patch = before.and_then(|before| patch::between(&before.bytes, &bytes));
        let state = match patch {
            Some(patch) => State {
                number: *states,
                lane: ground.lane,
                base,
                full: None,
                patch: (patch.into_iter())
                    .map(|(from, bytes)| (from, base64::encode(bytes)))
                    .collect(),
            },
            None => State {
                number: *states,
                lane: ground.lane,
                base: None,
                full: Some(base64::encode(&bytes)),
                patch: Vec::new(),
            },
        };
        self.add(&Record::State(state))?;
        if let Some(told) = self.states.get_mut(lane) {
            *told = Some(Told {
                number: *states,
                which,
                bytes,
            });
        }
        Ok(*states)
    }
}
