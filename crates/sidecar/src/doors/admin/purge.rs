//! The purge service: what callers want, read with every fault at once, on its way to the keeper of purges.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Response, Status};

use super::messages::Faults;
use super::purge_messages::{bad_namespace, in_fleet, status, took, wish};
use super::{AdminDesk, Events, invalid};
use crate::audit::Purged;
use crate::freshness::telling::{Hearer, tell_after};
use crate::freshness::{PurgeError, Submitted, Wish};
use crate::identity::Caller;
use crate::intake::recent::{Kept, RecentDecisions};
use crate::state::{Published, State};
use crate::wire::proto;
use crate::wire::proto::server::purge_service_server::PurgeService;
use crate::wire::purge;
use crate::wire::question::Question;
use crate::wire::{QueryBuffer, QueryRoom};
use crate::writer::Mailbox;
use tradewind_engine::decision::Decision;
use tradewind_engine::evaluate::evaluate;
use tradewind_engine::freshness::selector::Selector;
use tradewind_engine::hash::KeyHash;
use tradewind_engine::model::printable;
use tradewind_engine::number::from_u64;
use tradewind_engine::request::path::PathForm;

/// Most texts of what a purge covers that an answer has.
const MAX_COVERS: usize = 16;

/// Recent decisions that are looked at to see what a purge covers, and fewer of which say too little to hold one back.
const LOOKED_AT: usize = 2_000;
const FEW: usize = 50;

#[tonic::async_trait]
impl PurgeService for AdminDesk {
    async fn submit(
        &self,
        request: Request<proto::SubmitPurgeRequest>,
    ) -> Result<Response<proto::SubmitPurgeResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let request = request.into_inner();
        let (is_confirmed, is_dry) = (request.confirm, request.dry_run);
        let published = self.state.published.load_full();
        let form = published
            .as_ref()
            .map_or_else(PathForm::default, |it| it.snapshot.reading().paths);
        let mut wish = wish(request, form).map_err(invalid)?;
        wish.who = caller.signature(&wish.who);
        let covered = published
            .as_ref()
            .and_then(|it| covered(it, &self.recent, &wish));
        if let (Some(covered), Some(published)) = (covered, &published) {
            let most = published.snapshot.policy().operation().purge_guard_ratio;
            if covered.is_known_well
                && covered.wide_ratio > most
                && !is_confirmed
                && !is_dry
                && wish.over_ms == 0
            {
                return Err(held(covered.wide_ratio, most));
            }
        }
        let covers = wish
            .selectors
            .iter()
            .take(MAX_COVERS)
            .map(ToString::to_string);
        let mut answer = proto::SubmitPurgeResponse {
            covers_ratio: covered.map(|it| it.ratio),
            covers: covers.collect(),
            ..proto::SubmitPurgeResponse::default()
        };
        if !is_dry {
            // Whoever hangs up before it is answered has purged all the same, and that is recorded.
            let purging = tokio::spawn(submitted(
                Arc::clone(&self.state),
                self.mailbox.clone(),
                wish,
            ));
            let submitted = purging.await.unwrap_or(Err(PurgeError::Ended));
            let submitted = submitted.map_err(|error| refused(&error))?;
            answer.sequence = submitted.sequence;
            answer.kept = submitted.is_kept;
            answer.repeated = submitted.is_repeated;
            answer.widened = submitted.widened;
            answer.in_force_after = Some(took(submitted.in_force_after));
        }
        Ok(Response::new(answer))
    }

    type WatchStream = Events<proto::Purged>;

    async fn watch(
        &self,
        request: Request<proto::WatchPurgesRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        let faults: Faults = request
            .namespaces
            .iter()
            .filter_map(|it| bad_namespace(it))
            .collect();
        if !faults.is_empty() {
            return Err(invalid(faults));
        }
        let freshness = &self.state.freshness;
        let head = *freshness.heads().borrow();
        let after = match request.from_sequence {
            0 => head,
            from => from - 1,
        };
        let oldest = freshness.records(|it| it.oldest);
        if after < head && after + 1 < oldest && request.from_sequence > 1 {
            let words = format!(
                "from_sequence is {}, and the log begins at {oldest}",
                request.from_sequence
            );
            return Err(Status::out_of_range(words));
        }
        let (tell, events) = self.watch_place()?;
        let watcher = Watcher {
            namespaces: request.namespaces,
            tell,
        };
        tokio::spawn(tell_of_purges(Arc::clone(&self.state), after, watcher));
        Ok(Response::new(events))
    }

    async fn ack(
        &self,
        request: Request<proto::AckPurgesRequest>,
    ) -> Result<Response<proto::AckPurgesResponse>, Status> {
        let proto::AckPurgesRequest { node, sequence } = request.into_inner();
        let published = self.state.published.load_full();
        let is_known = published.is_some_and(|it| it.snapshot.routing().find_node(&node).is_some());
        if !is_known {
            let shown = printable(&node, 80);
            return Err(Status::not_found(format!(
                "the fleet has no node `{shown}`"
            )));
        }
        let head = *self.state.freshness.heads().borrow();
        if sequence > head {
            let words = format!("sequence is {sequence}, and the last purge is {head}");
            return Err(Status::invalid_argument(words));
        }
        let acknowledged = self.state.freshness.acknowledge(&node, sequence);
        let head = acknowledged.map_err(|error| Status::resource_exhausted(error.to_string()))?;
        Ok(Response::new(proto::AckPurgesResponse { head }))
    }

    async fn status(
        &self,
        request: Request<proto::PurgeStatusRequest>,
    ) -> Result<Response<proto::PurgeStatus>, Status> {
        let sequence = request.into_inner().sequence;
        let mut status = status(&self.state.freshness, sequence);
        if let Some(fleet) = self.state.members.get() {
            let freshness = &self.state.freshness;
            // Versions are each sidecar's own where it purged alone; places are the same for all.
            let asked =
                freshness.records(|records| records.find(sequence).map(|it| it.purged.place));
            let last = freshness.counters().place.load(Ordering::Relaxed);
            let place = if sequence > 0 {
                asked.unwrap_or(0)
            } else {
                last
            };
            if place > 0 {
                let roll = fleet.roll().await.unwrap_or_default();
                in_fleet(&mut status, place, &roll);
            }
        }
        Ok(Response::new(status))
    }
}

/// What the audit log is to have of a purge: of single objects nothing, those are in the log of purges.
fn recorded(wish: &Wish) -> Option<Purged> {
    let wide = wish.selectors.iter().filter(|it| !is_object(it));
    let covers: Vec<String> = wide.map(ToString::to_string).take(MAX_COVERS).collect();
    let of_namespace = match wish.namespace.as_str() {
        "" => String::new(),
        name => format!(" of {name}"),
    };
    (!covers.is_empty()).then(|| Purged {
        version: String::new(),
        covers: format!("{}{of_namespace}", covers.join(", ")),
        who: wish.who.clone(),
        why: wish.why.clone(),
    })
}

fn is_object(selector: &Selector) -> bool {
    matches!(selector, Selector::Path { .. } | Selector::Query { .. })
}

/// What a purge covers of the recent decisions.
#[derive(Debug, Clone, Copy)]
struct Covered {
    /// The share of them, 0 to 1.
    ratio: f64,
    /// The share that what is wider than one object covers. One object is one answer of its origin for each node, however often
    /// it is asked for.
    wide_ratio: f64,
    /// Whether there were enough to go by.
    is_known_well: bool,
}

fn covered(published: &Published, recent: &RecentDecisions, wish: &Wish) -> Option<Covered> {
    let kept = recent.recent(LOOKED_AT);
    let hashes = |is_wide: bool| -> Vec<KeyHash> {
        let selectors = wish.selectors.iter().filter(|it| is_object(it) != is_wide);
        let mut hashes: Vec<KeyHash> = selectors.map(|it| it.hash(&wish.namespace)).collect();
        hashes.sort_unstable();
        hashes
    };
    let (wide, narrow) = (hashes(true), hashes(false));
    let (mut of, mut by_wide, mut by_any) = (0_u64, 0_u64, 0_u64);
    for kept in &kept {
        let Some(covering) = covering(published, kept) else {
            continue;
        };
        of += 1;
        let has = |hashes: &[KeyHash]| covering.iter().any(|it| hashes.binary_search(it).is_ok());
        by_wide += u64::from(has(&wide));
        by_any += u64::from(has(&wide) || has(&narrow));
    }
    let ratio = |part: u64| from_u64(part) / from_u64(of);
    (of > 0).then(|| Covered {
        ratio: ratio(by_any),
        wide_ratio: ratio(by_wide),
        is_known_well: of >= FEW as u64,
    })
}

/// What covers the object of a recent decision.
fn covering(published: &Published, kept: &Kept) -> Option<Vec<KeyHash>> {
    let (mut room, mut buffer) = (QueryRoom::default(), QueryBuffer::default());
    let question = Question::of(&kept.request);
    let reading = published.snapshot.reading();
    let query = buffer.read_question(&question, &mut room, reading).ok()?;
    let evaluation = evaluate(&published.snapshot, &query);
    Some(Decision::new(&published.snapshot, &evaluation).covering(&query))
}

fn held(ratio: f64, most: f64) -> Status {
    let (percent, most) = (ratio * 100.0, most * 100.0);
    Status::failed_precondition(format!(
        "it covers {percent:.0} % of the recent decisions, more than the {most:.0} % that the policy lets pass \
         (`spec.freshness.guard_percent`): confirm it (`--confirm`), or let it come into force slice by slice (`--over 10m`)"
    ))
}

fn refused(error: &PurgeError) -> Status {
    let words = error.to_string();
    match error {
        PurgeError::OverQuota { retry_ms, .. } => {
            let mut status = Status::resource_exhausted(words);
            let value = MetadataValue::from(*retry_ms);
            status.metadata_mut().insert("retry-after-ms", value);
            status
        }
        PurgeError::Busy | PurgeError::Repeating | PurgeError::Pacing { .. } => {
            Status::resource_exhausted(words)
        }
        PurgeError::OtherPurge { .. } => Status::failed_precondition(words),
        PurgeError::TooLarge { .. } => Status::invalid_argument(words),
        PurgeError::Apart | PurgeError::Ended => Status::new(Code::Unavailable, words),
    }
}

/// Purges, and has that recorded.
async fn submitted(
    state: Arc<State>,
    mailbox: Mailbox,
    wish: Wish,
) -> Result<Submitted, PurgeError> {
    let recorded = recorded(&wish);
    let submitted = state.freshness.submit(wish).await?;
    if let Some(mut recorded) = recorded.filter(|_| !submitted.is_repeated) {
        recorded.version = purge::version_text(submitted.sequence);
        mailbox.purged(recorded);
    }
    Ok(submitted)
}

/// Who watches purges of some namespaces, or of all.
struct Watcher {
    namespaces: Vec<String>,
    tell: mpsc::Sender<proto::Purged>,
}

impl Hearer for Watcher {
    async fn hear(&mut self, purged: &proto::Purged) -> bool {
        let is_wanted = self.namespaces.is_empty() || self.namespaces.contains(&purged.namespace);
        !is_wanted || self.tell.send(purged.clone()).await.is_ok()
    }
}

/// Tells of purges in their order until the watcher goes or shutdown begins.
async fn tell_of_purges(state: Arc<State>, mut after: u64, mut watcher: Watcher) {
    let freshness = Arc::clone(&state.freshness);
    let mut heads = freshness.heads();
    let mut draining = state.sources.subscribe();
    // The state must not be kept alive by those who wait for it.
    drop(state);
    loop {
        heads.borrow_and_update();
        if !tell_after(&freshness, &mut after, &mut watcher).await {
            return;
        }
        tokio::select! {
            news = heads.changed() => if news.is_err() { return },
            news = draining.changed() => if news.is_err() || draining.borrow_and_update().draining { return },
            () = watcher.tell.closed() => return,
        }
    }
}
