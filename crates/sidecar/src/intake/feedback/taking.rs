//! What becomes of a message: its items within their bound and their reporter's quota are read and handed over, the others
//! are refused and counted.

use std::slice;
use std::sync::Arc;

use tonic::{Request, Response, Status, Streaming};

use super::call::Call;
use super::{MAX_HISTOGRAMS, MAX_OUTCOMES};
use crate::clock;
use crate::identity::Peer;
use crate::intake::handover::{Dispatched, Handover, Report, Reported};
use crate::intake::recent::RecentDecisions;
use crate::intake::reporters::{Grant, Reporters};
use crate::intake::tally::{ReportCounters, ReportKind};
use crate::state::{NO_POLICY, Published, State};
use crate::wire::decided;
use crate::wire::proto::{
    LoadReport, Outcome, ReportHistogramsRequest, ReportRequest, ReportResponse,
};
use crate::wire::received::Received;
use crate::wire::report::{Context, Fault, RefusedReason, reporter_name};
use tradewind_engine::model::NodeIndex;
use tradewind_engine::signal::observation::{Reporter, Standing};

/// How many outcomes a histogram counts as towards its reporter's quota: it takes some hundred times the work.
const HISTOGRAM_COST: u64 = 100;

/// What is told on one worker, and where it goes.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) state: Arc<State>,
    pub(super) reporters: Arc<Reporters>,
    pub(super) handover: Arc<Handover>,
    pub(super) counters: Arc<ReportCounters>,
    pub(super) recent: Arc<RecentDecisions>,
    pub(super) instance: u16,
}

/// Why nothing is taken: no policy is in force yet.
#[derive(Debug)]
pub(super) struct NoPolicy;

impl From<NoPolicy> for Status {
    fn from(_: NoPolicy) -> Self {
        Self::failed_precondition(NO_POLICY)
    }
}

/// Who may tell something by some way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// Whoever reaches the door.
    Anybody,
    /// A proxy, of what it sends.
    Proxy,
}

/// What the number of an item is, given its position.
pub(super) type NumberOf<M> = fn(usize, &M) -> usize;

/// Items of one kind in one message.
pub(super) struct Batch<'a, M> {
    pub(super) kind: ReportKind,
    pub(super) reporter: &'a str,
    pub(super) items: &'a [M],
    /// How many more were given, which nobody has read.
    pub(super) beyond: usize,
    /// How many are taken at most.
    pub(super) bound: usize,
    /// What each costs of its reporter's quota.
    pub(super) cost: u64,
    /// Who may tell this way.
    pub(super) by: By,
    /// What an item is called, and its number by its position.
    pub(super) place: (&'static str, NumberOf<M>),
}

/// What items are read by.
pub(super) struct Told<'a> {
    /// The fleet that they are about.
    published: &'a Published,
    context: Context<'a>,
}

impl Shared {
    /// Takes a batch of outcomes, beyond which so many more were given.
    pub(super) fn take_outcomes(
        &self,
        call: &mut Call,
        batch: &ReportRequest,
        beyond: usize,
    ) -> Result<(), NoPolicy> {
        let batch = Batch {
            kind: ReportKind::Outcome,
            reporter: &batch.reporter,
            items: &batch.outcomes,
            beyond,
            bound: MAX_OUTCOMES,
            cost: 1,
            by: By::Anybody,
            place: ("item", |at, _item| at),
        };
        self.take(call, &batch, |of, told| self.read_outcome(of, told))
    }

    /// Reads an outcome and counts it, and tells of it to whoever looks at its decision.
    pub(super) fn read_outcome(&self, of: &Told<'_>, told: &Outcome) -> Result<Report, Fault> {
        let outcome = of.context.outcome(told)?;
        self.counters.count_outcome(outcome.result);
        let fleet = of.published.revision;
        let decided = decided::dispatch(told, &outcome, (&of.published.snapshot, fleet));
        if let Some((dispatch, affinity)) = decided {
            self.handover.dispatched(Dispatched {
                fleet,
                dispatch,
                affinity,
            });
        }
        self.recent.tell(of.published, (&outcome, told));
        Ok(Report::Outcome(outcome))
    }

    /// Takes a load report.
    pub(super) fn take_load(
        &self,
        call: &mut Call,
        report: &LoadReport,
        by: By,
    ) -> Result<(), NoPolicy> {
        let batch = Batch {
            kind: ReportKind::Load,
            reporter: "",
            items: slice::from_ref(report),
            beyond: 0,
            bound: 1,
            cost: 1,
            by,
            place: ("item", |at, _item| at),
        };
        self.take(call, &batch, |of, report| {
            let (node, report) = of.context.load(report)?;
            Ok(Report::Load(node, report))
        })
    }

    /// Takes histograms, beyond which so many more were given.
    pub(super) fn take_histograms(
        &self,
        call: &mut Call,
        batch: &ReportHistogramsRequest,
        beyond: usize,
    ) -> Result<(), NoPolicy> {
        let batch = Batch {
            kind: ReportKind::Histogram,
            reporter: &batch.reporter,
            items: &batch.histograms,
            beyond,
            bound: MAX_HISTOGRAMS,
            cost: HISTOGRAM_COST,
            by: By::Anybody,
            place: ("item", |at, _item| at),
        };
        self.take(call, &batch, |of, histogram| {
            let (node, times) = of.context.histogram(histogram)?;
            Ok(Report::ServiceTimes(node, times))
        })
    }

    /// Takes what of a batch is within its bound and its reporter's quota, and can be read.
    pub(super) fn take<M>(
        &self,
        call: &mut Call,
        batch: &Batch<'_, M>,
        read: impl Fn(&Told<'_>, &M) -> Result<Report, Fault>,
    ) -> Result<(), NoPolicy> {
        let published = self.state.published.load();
        let published = published.as_ref().ok_or(NoPolicy)?;
        let name = match reporter_name(batch.reporter) {
            Ok(name) => name,
            Err(fault) => {
                call.is_too_much = true;
                self.refuse(call, batch.kind, (batch.items.len(), &fault), "reporter");
                return Ok(());
            }
        };
        let wanted = batch.items.len().min(batch.bound);
        let who = (&call.caller, name);
        let grant = self.reporters.admit(clock::now(), who, wanted, batch.cost);
        self.refuse_rest(call, batch, (wanted, grant.granted));
        let of = Told {
            published,
            context: Context {
                policy: published.snapshot.policy(),
                addresses: published.nodes.addresses(),
                receipts: (self.instance, self.state.receipts.key()),
                reporter: grant.reporter,
            },
        };
        for (at, item) in batch.items.iter().take(grant.granted).enumerate() {
            match read(&of, item) {
                Ok(report) => {
                    let standing =
                        |node| standing(published, (call.caller.peer, batch.by), grant, node);
                    self.hand_over(published, (grant.reporter, standing), report);
                    call.summary.accept();
                }
                Err(fault) => {
                    let (word, number) = batch.place;
                    let place = format_args!("{word} {}", number(at, item));
                    self.refuse(call, batch.kind, (1, &fault), place);
                }
            }
        }
        Ok(())
    }

    fn hand_over(
        &self,
        published: &Published,
        (reporter, standing): (Reporter, impl Fn(NodeIndex) -> Standing),
        report: Report,
    ) {
        let standing = match &report {
            // It says by its receipt whether it is believed.
            Report::Outcome(_) => Standing::Other,
            Report::Load(node, _) | Report::ServiceTimes(node, _) => standing(*node),
        };
        self.handover.reported(Reported {
            fleet: published.revision,
            from: (reporter, standing),
            report,
        });
    }

    /// Refuses what is beyond the bound (`wanted` are within) and beyond the quota.
    fn refuse_rest<M>(
        &self,
        call: &mut Call,
        batch: &Batch<'_, M>,
        (wanted, granted): (usize, usize),
    ) {
        let given = batch.items.len() + batch.beyond;
        if given > wanted {
            call.is_too_much = true;
            let words = format_args!("{given} given, at most {wanted} are taken");
            let fault = Fault::new(RefusedReason::TooMany, words);
            self.refuse(call, batch.kind, (given - wanted, &fault), "message");
        }
        if wanted > granted {
            call.is_too_much = true;
            let words = format_args!("{granted} of {wanted} are within the reporter's quota");
            let fault = Fault::new(RefusedReason::Quota, words);
            self.refuse(call, batch.kind, (wanted - granted, &fault), "message");
        }
    }

    /// Counts refused items, and tells of them in the answer.
    fn refuse(
        &self,
        call: &mut Call,
        kind: ReportKind,
        (count, fault): (usize, &Fault),
        place: impl std::fmt::Display,
    ) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.counters.count_refused(kind, fault.reason, count);
        match call.message {
            Some(message) => {
                let place = format_args!("message {message}, {place}");
                call.summary.refuse(count, fault, place);
            }
            None => call.summary.refuse(count, fault, place),
        }
    }

    /// Counts an unreadable message.
    fn unreadable(&self, call: &mut Call, kind: ReportKind, words: &str) {
        call.is_too_much = true;
        let fault = Fault::new(RefusedReason::Undecodable, words);
        self.refuse(call, kind, (1, &fault), "message");
    }

    /// Takes one message, the whole of a call.
    pub(super) fn once<M>(
        &self,
        request: Request<Received<M>>,
        kind: ReportKind,
        take: impl Fn(&mut Call, &M, usize) -> Result<(), NoPolicy>,
    ) -> Result<Response<ReportResponse>, Status> {
        let mut call = Call::new(&request);
        let Received { message, beyond } = request.into_inner();
        match message {
            Ok(message) => take(&mut call, &message, beyond)?,
            Err(words) => {
                self.unreadable(&mut call, kind, &words);
                return Err(Status::invalid_argument(words));
            }
        }
        Ok(Response::new(call.summary.into_message()))
    }

    /// Takes messages until the stream ends.
    pub(super) async fn stream<M>(
        &self,
        request: Request<Streaming<Received<M>>>,
        kind: ReportKind,
        take: impl Fn(&mut Call, &M, usize) -> Result<(), NoPolicy>,
    ) -> Result<Response<ReportResponse>, Status> {
        if self.state.published.load().is_none() {
            return Err(NoPolicy.into());
        }
        let mut call = Call::new(&request);
        let mut messages = request.into_inner();
        while let Some(Received { message, beyond }) = messages.message().await? {
            call.message = Some(call.message.map_or(0, |last| last + 1));
            match message {
                Ok(message) => take(&mut call, &message, beyond)?,
                Err(words) => self.unreadable(&mut call, kind, &words),
            }
            call.rest().await;
        }
        Ok(Response::new(call.summary.into_message()))
    }
}

/// How a peer stands to a node of whose load or times it tells.
fn standing(
    published: &Published,
    (peer, by): (Peer, By),
    grant: Grant,
    node: NodeIndex,
) -> Standing {
    let socket = published.snapshot.topology().node(node).address.socket();
    let own = socket.map(|socket| Peer::Ip(socket.ip().to_canonical()));
    if by == By::Anybody && own == Some(peer) {
        Standing::Own
    } else if by == By::Proxy || grant.is_trusted {
        Standing::Proxy
    } else {
        Standing::Other
    }
}
