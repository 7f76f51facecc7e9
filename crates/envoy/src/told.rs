//! What Envoy is told of a decision, in a room that is used again for each request: nothing is allocated once it has its size.

use std::cell::Cell;
use std::fmt::Write as _;

use tradewind_client::hosted::refusal::Refusal;
use tradewind_client::ruling::Ruling;
use tradewind_wire::{clock, purge};

thread_local! {
    static ROOM: Cell<Told> = const { Cell::new(Told::new()) };
}

/// What is told of one decision.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The addresses of its nodes, best first, with commas between them.
    pub(crate) nodes: String,
    pub(crate) decision_id: String,
    /// How long to wait for each, in ms, where the rule says so.
    pub(crate) attempt_timeout_ms: Number,
    /// How often may be tried again, where that is not as often as there are nodes.
    pub(crate) retries: Number,
    /// The version of the object, for the keys of caches; empty for none.
    pub(crate) version: String,
    /// What caches stored longer ago than this, in seconds, is to be revalidated.
    pub(crate) max_age_s: Number,
    /// How long caches may keep the object, in seconds.
    pub(crate) cache_ttl_s: Number,
    /// Whether these are as the sidecar would say.
    pub(crate) is_freshness_known: bool,
    /// Set for one that names no node.
    pub(crate) refusal: Option<Refusal>,
}

/// A number as text; empty for none.
#[derive(Debug, Default)]
pub(crate) struct Number(String);

impl Number {
    fn set(&mut self, number: Option<u32>) {
        self.0.clear();
        if let Some(number) = number
            && write!(self.0, "{number}").is_err()
        {
            // Into a string nothing fails.
            self.0.clear();
        }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(&self.0)
    }
}

impl Told {
    const fn new() -> Self {
        const NONE: Number = Number(String::new());
        Self {
            nodes: String::new(),
            decision_id: String::new(),
            attempt_timeout_ms: NONE,
            retries: NONE,
            version: String::new(),
            max_age_s: NONE,
            cache_ttl_s: NONE,
            is_freshness_known: false,
            refusal: None,
        }
    }

    /// Takes this thread's room; it is another's while it is away.
    pub(crate) fn taken() -> Self {
        ROOM.take()
    }

    /// Gives it back, with what it has grown to.
    pub(crate) fn give_back(self) {
        ROOM.set(self);
    }

    /// Takes what a ruling comes to.
    pub(crate) fn put(&mut self, ruling: &Ruling<'_>) {
        let decision = &ruling.decision;
        let evaluation = decision.evaluation();
        self.refusal = Refusal::of(ruling);
        self.nodes.clear();
        for pick in &evaluation.picks {
            if !self.nodes.is_empty() {
                self.nodes.push(',');
            }
            self.nodes.push_str(ruling.address(pick.node));
        }
        self.decision_id.clear();
        self.decision_id.push_str(ruling.decision_id);
        let plan = decision.plan().filter(|plan| plan.sets_attempt_timeout);
        let timeout = plan.map(|plan| plan.attempt_timeout_ms);
        self.attempt_timeout_ms.set(timeout);
        let attempts = decision.max_attempts();
        let retries = attempts.map(|attempts| u32::from(attempts.saturating_sub(1)));
        self.retries.set(retries);
        self.put_freshness(ruling);
    }

    fn put_freshness(&mut self, ruling: &Ruling<'_>) {
        let fresh = ruling.fresh;
        self.version.clear();
        if fresh.version > 0 {
            purge::put_version(&mut self.version, fresh.version);
        }
        let max_age_s = (fresh.not_older_than_s > 0).then(|| {
            let age_s = purge::age_s(fresh.not_older_than_s, clock::unix_ms());
            u32::try_from(age_s).unwrap_or(u32::MAX)
        });
        self.max_age_s.set(max_age_s);
        self.cache_ttl_s
            .set(ruling.decision.cache_ttl_ms().map(|ms| ms / 1_000));
        self.is_freshness_known = ruling.is_freshness_known;
    }
}
