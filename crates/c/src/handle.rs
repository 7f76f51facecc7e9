//! Decides and tells, in safe words: what the calls from C come to.

use std::borrow::Cow;
use std::ffi::c_int;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::abi::{self, Answer, Node, Text};
use crate::room::Room;
use tradewind_client::copy::LastCopy;
use tradewind_client::hosted::config::{Fields, Wanted, WithoutCopy};
use tradewind_client::hosted::follower::Follower;
use tradewind_client::hosted::refusal::Refusal;
use tradewind_client::hosted::{contain, log};
use tradewind_client::ruling::Ruling;
use tradewind_client::{InvalidRequest, Question};
use tradewind_engine::hash;
use tradewind_engine::request::text_of;
use tradewind_wire::names::UNKNOWN;
use tradewind_wire::question::Asker;
use tradewind_wire::{asker, clock, json as lines, purge};

/// Longest request id that is used, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// How often it is looked whether there is a copy, where somebody waits for one.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What the options are called in what is wrong with them.
const PLACE: &str = "options";

/// The panic hook and the log are set once.
static INSTALL: Once = Once::new();

/// What a proxy holds: a follower of one sidecar, and how requests are to be decided.
#[derive(Debug)]
pub struct Handle {
    wanted: Wanted,
    follower: Arc<Follower>,
    counts: Counts,
    /// Whether it was said that questions cannot be asked as configured.
    has_complained: AtomicBool,
}

#[derive(Debug, Default)]
struct Counts {
    decided: AtomicU64,
    refused: AtomicU64,
    without_copy: AtomicU64,
    freshness_unknown: AtomicU64,
}

/// A request, its bytes borrowed.
#[derive(Debug)]
pub(crate) struct Asked<'q> {
    pub(crate) host: &'q [u8],
    pub(crate) path: &'q [u8],
    pub(crate) method: &'q [u8],
    pub(crate) client: &'q [u8],
    pub(crate) request_id: &'q [u8],
    pub(crate) headers: Vec<Named<'q>>,
    pub(crate) reads: u64,
    pub(crate) tried: Vec<&'q [u8]>,
}

/// A name and a value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'q> {
    pub(crate) name: &'q [u8],
    pub(crate) value: &'q [u8],
}

/// What a call to decide returns.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) verdict: c_int,
    pub(crate) answer: Answer,
}

impl Handle {
    /// One as the options say, or all that is wrong with them.
    pub(crate) fn open(options: &[u8]) -> Result<Self, String> {
        INSTALL.call_once(|| {
            contain::install();
            log::install(say);
        });
        let wanted = read(options)?;
        let follower = Follower::of(wanted.options(), PLACE)?;
        Ok(Self {
            wanted,
            follower,
            counts: Counts::default(),
            has_complained: AtomicBool::new(false),
        })
    }

    /// Whether this process was forked off the one that opened it.
    pub(crate) fn is_forked(&self) -> bool {
        !self.follower.is_of_this_process()
    }

    /// Waits until there is a copy, but not for longer than this; whether there is one.
    pub(crate) fn wait(&self, most: Duration) -> bool {
        let began = clock::now();
        loop {
            if self.follower.client.on_copy(|_| ()).is_some() {
                return true;
            }
            if began.elapsed() >= most {
                return false;
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Decides a request; the texts of the answer come to lie in `room`.
    pub(crate) fn decide(&self, asked: &Asked<'_>, room: &mut Room<'_>) -> Decided {
        let ask = |copy: LastCopy<'_>| self.ask(&copy, asked, room);
        let client = &self.follower.client;
        let decided = if contain::stands_aside() {
            None
        } else {
            // A panic in here is as if there were no copy.
            contain::contained(|| client.on_copy(ask)).flatten()
        };
        let decided = match decided {
            Some(Ok(decided)) => {
                self.count(&decided);
                decided
            }
            Some(Err(invalid)) => {
                if let Some(status) = invalid.client_status() {
                    bump(&self.counts.refused);
                    refused(Refusal::unreadable(status), room)
                } else {
                    // Not as without a copy: rules would be passed by.
                    self.complain(&invalid);
                    Decided {
                        verdict: abi::MISUSED,
                        answer: Answer::NONE,
                    }
                }
            }
            None => self.without_copy(room),
        };
        if room.is_too_small() {
            return Decided {
                verdict: abi::TOO_SMALL,
                answer: Answer::NONE,
            };
        }
        decided
    }

    fn ask(
        &self,
        copy: &LastCopy<'_>,
        asked: &Asked<'_>,
        room: &mut Room<'_>,
    ) -> Result<Decided, InvalidRequest> {
        let names = &copy.reading().header_names;
        let reads = reads(names);
        if reads != asked.reads && reads != 0 {
            return Ok(Decided {
                verdict: abi::AGAIN,
                answer: Answer {
                    reads,
                    revision: copy.revision(),
                    asks: listed(names, room),
                    ..Answer::NONE
                },
            });
        }
        let (host, path, method) = (
            text_of(asked.host),
            text_of(asked.path),
            text_of(asked.method),
        );
        let (id, given) = (text_of(asked.request_id), text_of(asked.client));
        let ip = asker::address_in(&given);
        let shown: Vec<(&str, Cow<'_, str>)> = names
            .iter()
            .flat_map(|name| {
                let lines = asked.headers.iter();
                let lines = lines.filter(|line| line.name.eq_ignore_ascii_case(name.as_bytes()));
                lines.map(|line| (&**name, text_of(line.value)))
            })
            .collect();
        let tried: Vec<Cow<'_, str>> = asked.tried.iter().map(|id| text_of(id)).collect();
        let question = Question {
            request_id: if id.len() > MAX_REQUEST_ID_BYTES {
                ""
            } else {
                &id
            },
            pool: &self.wanted.pool,
            child_node: &self.wanted.child,
            candidates: self.wanted.candidates,
            host: &host,
            path: &path,
            method: &method,
            headers: shown
                .iter()
                .map(|(name, value)| (*name, &**value))
                .collect(),
            client: Some(Asker {
                ip: &ip,
                ..Asker::default()
            }),
            tried_nodes: tried.iter().map(|id| &**id).collect(),
            ..Question::default()
        };
        copy.decide(&question, |ruling| {
            let mut decided = match Refusal::of(ruling) {
                Some(refusal) => refused(refusal, room),
                None => routed(ruling, asked, room),
            };
            decided.answer.reads = reads;
            decided.answer.revision = copy.revision();
            decided.answer.decision = room.put(&[ruling.decision_id]);
            decided
        })
    }

    fn without_copy(&self, room: &mut Room<'_>) -> Decided {
        bump(&self.counts.without_copy);
        match self.wanted.without_copy {
            WithoutCopy::Refuse => refused(Refusal::NO_COPY, room),
            WithoutCopy::Balance => {
                room.clear();
                Decided {
                    verdict: abi::BALANCE,
                    answer: Answer {
                        freshness: room.put(&[UNKNOWN]),
                        ..Answer::NONE
                    },
                }
            }
        }
    }

    fn count(&self, decided: &Decided) {
        match decided.verdict {
            abi::ROUTE => bump(&self.counts.decided),
            abi::REFUSE => bump(&self.counts.refused),
            // It is decided when it is asked again.
            _ => return,
        }
        if decided.verdict == abi::ROUTE && decided.answer.freshness.len > 0 {
            bump(&self.counts.freshness_unknown);
        }
    }

    #[cold]
    fn complain(&self, invalid: &InvalidRequest) {
        if !self.has_complained.swap(true, Ordering::Relaxed) {
            tracing::warn!(%invalid, "a request cannot be asked about as it is");
        }
    }

    /// Tells how the attempts of a request went; how many were taken, or all that is wrong.
    pub(crate) fn told(&self, fields: &[Named<'_>]) -> Result<usize, String> {
        let texts = fields.iter();
        let texts: Vec<_> = texts
            .map(|field| (text_of(field.name), text_of(field.value)))
            .collect();
        let fields = texts.iter().map(|(name, value)| (&**name, &**value));
        let outcomes = lines::outcomes_of(fields).map_err(|fault| fault.to_string())?;
        let count = outcomes.len();
        for outcome in outcomes {
            self.follower.client.told(outcome);
        }
        Ok(count)
    }

    /// How it stands, as JSON.
    pub(crate) fn standing(&self) -> String {
        let client = &self.follower.client;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let seconds = |age: Option<Duration>| age.map(|age| age.as_secs());
        let copy = client.on_copy(|copy| (copy.revision(), copy.candidate_buckets()));
        let (revision, candidate) = copy.unwrap_or_default();
        let counters = client.counters();
        let standing = json!({
            "abi": abi::ABI,
            "version": env!("CARGO_PKG_VERSION"),
            "sidecar": self.wanted.sidecar,
            "decided": count(&self.counts.decided),
            "refused": count(&self.counts.refused),
            "without_copy": count(&self.counts.without_copy),
            "freshness_unknown": count(&self.counts.freshness_unknown),
            "revision": revision,
            "copy_age_seconds": seconds(client.heard_ago()),
            "purges_age_seconds": seconds(client.purges_heard_ago()),
            "purged_entries": client.purged_entries(),
            "candidate_buckets_left_out": candidate,
            "outcomes_taken": counters.outcomes_taken,
            "outcomes_refused": counters.outcomes_refused,
            "outcomes_lost": counters.outcomes_lost,
            "outcomes_dropped": counters.outcomes_dropped,
            "panics": contain::panics(),
        });
        standing.to_string()
    }
}

/// Reads options, or says all that is wrong with them.
pub(crate) fn read(options: &[u8]) -> Result<Wanted, String> {
    let mut fields = Fields::of(PLACE, options);
    let wanted = Wanted::take(&mut fields);
    fields.end().map(|()| wanted)
}

fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Lines go where the proxy's own go that it does not send elsewhere: nginx has its error log there.
fn say(_level: tracing::Level, line: &str) {
    // Who closed it does not want to read.
    drop(io::stderr().write_all(format!("{line}\n").as_bytes()));
}

/// Which headers these are, as a number; 0 for none.
fn reads(names: &[Box<str>]) -> u64 {
    if names.is_empty() {
        return 0;
    }
    let all = names
        .iter()
        .fold(hash::key(&[]), |all, name| all.then(name.as_bytes()));
    all.0 | 1
}

fn listed(names: &[Box<str>], room: &mut Room<'_>) -> Text {
    room.written(|room| {
        for (at, name) in names.iter().enumerate() {
            room.put(&[if at > 0 { "," } else { "" }, name]);
        }
    })
}

fn refused(refusal: Refusal, room: &mut Room<'_>) -> Decided {
    room.clear();
    Decided {
        verdict: abi::REFUSE,
        answer: Answer {
            status: refusal.status.into(),
            reason: room.put(&[refusal.reason]),
            retry_after_s: refusal.retry_after_s.unwrap_or(0).into(),
            ..Answer::NONE
        },
    }
}

fn routed(ruling: &Ruling<'_>, asked: &Asked<'_>, room: &mut Room<'_>) -> Decided {
    let decision = &ruling.decision;
    let mut answer = Answer::NONE;
    let topology = decision.snapshot().topology();
    let picks = &decision.evaluation().picks;
    for (place, pick) in answer.nodes.iter_mut().zip(picks) {
        *place = Node {
            address: room.put(&[ruling.address(pick.node)]),
            id: room.put(&[&topology.node(pick.node).id]),
        };
        answer.nodes_len += 1;
    }
    let most = decision.max_attempts().map(u32::from);
    let nodes = u32::try_from(answer.nodes_len).unwrap_or(0);
    answer.attempts = most.map_or(nodes, |most| most.min(nodes));
    let plan = decision.plan().filter(|plan| plan.sets_attempt_timeout);
    answer.attempt_timeout_ms = plan.map_or(0, |plan| plan.attempt_timeout_ms);
    answer.target = target(ruling, asked, room);
    put_freshness(ruling, &mut answer, room);
    Decided {
        verdict: abi::ROUTE,
        answer,
    }
}

/// The target in normal form, where that is not how it was written.
fn target(ruling: &Ruling<'_>, asked: &Asked<'_>, room: &mut Room<'_>) -> Text {
    let (path, query) = (ruling.path, ruling.query_string);
    let parts: &[&str] = match (path, query) {
        ("", _) => return Text::NONE,
        (path, "") => &[path],
        (path, query) => &[path, "?", query],
    };
    let mut left = asked.path;
    let is_as_written = parts
        .iter()
        .all(|part| match left.strip_prefix(part.as_bytes()) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        });
    if is_as_written && left.is_empty() {
        Text::NONE
    } else {
        room.put(parts)
    }
}

fn put_freshness(ruling: &Ruling<'_>, answer: &mut Answer, room: &mut Room<'_>) {
    let fresh = ruling.fresh;
    if fresh.version > 0 {
        answer.version = room.written(|room| purge::put_version(room, fresh.version));
    }
    if fresh.not_older_than_s > 0 {
        let age_s = purge::age_s(fresh.not_older_than_s, clock::unix_ms());
        answer.max_age = number(age_s, room);
    }
    if let Some(ms) = ruling.decision.cache_ttl_ms() {
        answer.cache_ttl = number((ms / 1_000).into(), room);
    }
    if !ruling.is_freshness_known {
        answer.freshness = room.put(&[UNKNOWN]);
    }
}

fn number(number: u64, room: &mut Room<'_>) -> Text {
    room.written(|room| {
        // Into the room nothing fails: what does not fit it remembers.
        let written = write!(room, "{number}");
        debug_assert!(written.is_ok(), "the room takes all");
    })
}
