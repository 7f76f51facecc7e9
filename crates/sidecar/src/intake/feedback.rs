//! The feedback and the telemetry service: what is told to the sidecar, on its way to the writer.
//!
//! The query door hands over what it is told in lines ([`Feedback::take_lines`]), so both ways have the same quotas,
//! bounds and counters. One value for each worker, so that it fills only that worker's handover. Nothing told is an error of its call: an item that
//! cannot be believed is counted with its reason and the others are taken. The answer says what became of all.

use std::slice;
use std::sync::Arc;
use std::time::Duration;

use tokio::time;
use tonic::{Request, Response, Status, Streaming};

use crate::clock;
use crate::identity::{Caller, Peer};
use crate::intake::handover::{Dispatched, Handover, Report, Reported};
use crate::intake::recent::RecentDecisions;
use crate::intake::reporters::{Grant, Reporters};
use crate::intake::tally::{ReportCounters, ReportKind};
use crate::state::{NO_POLICY, Published, State};
use crate::wire::decided;
use crate::wire::proto::server::feedback_service_server::FeedbackService;
use crate::wire::proto::server::telemetry_service_server::TelemetryService;
use crate::wire::proto::{
    LoadReport, Outcome, ReportHistogramsRequest, ReportRequest, ReportResponse,
};
use crate::wire::received::Received;
use crate::wire::report::{Context, Fault, RefusedReason, Summary, reporter_name};
use tradewind_engine::model::NodeIndex;
use tradewind_engine::signal::observation::{Reporter, Standing};

pub use crate::wire::parts::{MAX_HISTOGRAMS, MAX_OUTCOMES};

/// Largest message, in bytes; larger ones are refused at the length prefix.
pub const MAX_REPORT_BYTES: usize = 256 << 10;

/// How long nothing more is read of a stream that has told more than its reporter's quota, or what cannot be read. So the flow
/// control of the connection makes the sender wait, and what it sends beyond costs it and not the worker: full messages of
/// [`MAX_OUTCOMES`] come at about the rate of the quota then.
pub const REST: Duration = Duration::from_millis(20);

/// How many outcomes a histogram counts as towards its reporter's quota: it takes some hundred times the work.
const HISTOGRAM_COST: u64 = 100;

/// Takes reports on one worker.
#[derive(Debug, Clone)]
pub struct Feedback {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Arc<State>,
    reporters: Arc<Reporters>,
    handover: Arc<Handover>,
    counters: Arc<ReportCounters>,
    recent: Arc<RecentDecisions>,
    instance: u16,
}

/// Why nothing is taken: no policy is in force yet.
#[derive(Debug)]
struct NoPolicy;

impl From<NoPolicy> for Status {
    fn from(_: NoPolicy) -> Self {
        Self::failed_precondition(NO_POLICY)
    }
}

/// A line of text that tells an outcome, or why it cannot be read.
#[derive(Debug)]
pub struct OutcomeLine {
    /// Its number in the text.
    pub number: usize,
    /// What it says.
    pub outcome: Result<Outcome, Fault>,
}

/// One call: who tells, and what became of it so far.
#[derive(Debug)]
struct Call {
    caller: Caller,
    /// The message of a stream that is being read.
    message: Option<u64>,
    /// Whether it has told too much, since that was last asked.
    is_too_much: bool,
    summary: Summary,
}

/// Who may tell something by some way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// Whoever reaches the door.
    Anybody,
    /// A proxy, of what it sends.
    Proxy,
}

/// What the number of an item is, given its position.
type NumberOf<M> = fn(usize, &M) -> usize;

/// Items of one kind in one message.
struct Batch<'a, M> {
    kind: ReportKind,
    reporter: &'a str,
    items: &'a [M],
    /// How many more were given, which nobody has read.
    beyond: usize,
    /// How many are taken at most.
    bound: usize,
    /// What each costs of its reporter's quota.
    cost: u64,
    /// Who may tell this way.
    by: By,
    /// What an item is called, and its number by its position.
    place: (&'static str, NumberOf<M>),
}

/// What items are read by.
struct Told<'a> {
    /// The fleet that they are about.
    published: &'a Published,
    context: Context<'a>,
}

impl Feedback {
    /// The services of the worker whose handover and counters these are. What is told of `recent` decisions is kept with
    /// them. `instance` stands in the upper 16 bits of the ids of this process's decisions.
    pub fn new(
        state: Arc<State>,
        reporters: Arc<Reporters>,
        (handover, counters): (Arc<Handover>, Arc<ReportCounters>),
        recent: Arc<RecentDecisions>,
        instance: u16,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                state,
                reporters,
                handover,
                counters,
                recent,
                instance,
            }),
        }
    }

    /// Whoever calls with `request`, as somebody who tells.
    pub fn telling<M>(&self, request: &Request<M>) -> Telling {
        Telling {
            feedback: self.clone(),
            call: Call::new(request),
        }
    }

    /// Takes outcomes told by `caller` as lines of text, beyond which so many more were given; `None` before the first good
    /// policy.
    pub fn take_lines(
        &self,
        caller: Caller,
        reporter: &str,
        (lines, beyond): (&[OutcomeLine], usize),
    ) -> Option<ReportResponse> {
        let mut call = Call::of(caller);
        let batch = Batch {
            kind: ReportKind::Outcome,
            reporter,
            items: lines,
            beyond,
            bound: MAX_OUTCOMES,
            cost: 1,
            by: By::Anybody,
            place: ("line", |_at, line| line.number),
        };
        let taken = self.shared.take(&mut call, &batch, |of, line| {
            let told = line.outcome.as_ref().map_err(Clone::clone)?;
            self.shared.read_outcome(of, told)
        });
        taken.ok().map(|()| call.summary.into_message())
    }
}

/// Somebody who tells through a door of another protocol, piece by piece. What is refused is counted like any other.
#[derive(Debug)]
pub struct Telling {
    feedback: Feedback,
    call: Call,
}

impl Telling {
    /// Takes outcomes; none before the first good policy.
    pub fn outcomes(&mut self, batch: &ReportRequest) {
        let shared = &self.feedback.shared;
        drop(shared.take_outcomes(&mut self.call, batch, 0));
    }

    /// Waits where more was told than its quota: to be called before more is read.
    pub async fn rest(&mut self) {
        self.call.rest().await;
    }

    /// Takes what a proxy counts of a node that it sends to; nothing before the first good policy.
    pub fn load_by_proxy(&mut self, report: &LoadReport) {
        let shared = &self.feedback.shared;
        drop(shared.take_load(&mut self.call, report, By::Proxy));
    }
}

impl Shared {
    /// Takes a batch of outcomes, beyond which so many more were given.
    fn take_outcomes(
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
    fn read_outcome(&self, of: &Told<'_>, told: &Outcome) -> Result<Report, Fault> {
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
    fn take_load(&self, call: &mut Call, report: &LoadReport, by: By) -> Result<(), NoPolicy> {
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
    fn take_histograms(
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
    fn take<M>(
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
    fn once<M>(
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
    async fn stream<M>(
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

impl Call {
    fn new<M>(request: &Request<M>) -> Self {
        // The gate tells of everybody; without a gate there is no address.
        Self::of(Caller::of(request.extensions()))
    }

    fn of(caller: Caller) -> Self {
        Self {
            caller,
            message: None,
            is_too_much: false,
            summary: Summary::default(),
        }
    }

    /// Waits where it has told too much, before more is read of its stream.
    async fn rest(&mut self) {
        if std::mem::take(&mut self.is_too_much) {
            time::sleep(REST).await;
        }
    }
}

#[tonic::async_trait]
impl FeedbackService for Feedback {
    async fn report(
        &self,
        request: Request<Streaming<Received<ReportRequest>>>,
    ) -> Result<Response<ReportResponse>, Status> {
        let shared = &*self.shared;
        let take = |call: &mut Call, batch: &ReportRequest, beyond| {
            shared.take_outcomes(call, batch, beyond)
        };
        shared.stream(request, ReportKind::Outcome, take).await
    }

    async fn report_unary(
        &self,
        request: Request<Received<ReportRequest>>,
    ) -> Result<Response<ReportResponse>, Status> {
        let shared = &*self.shared;
        shared.once(request, ReportKind::Outcome, |call, batch, beyond| {
            shared.take_outcomes(call, batch, beyond)
        })
    }
}

#[tonic::async_trait]
impl TelemetryService for Feedback {
    async fn report_load(
        &self,
        request: Request<Streaming<Received<LoadReport>>>,
    ) -> Result<Response<ReportResponse>, Status> {
        let shared = &*self.shared;
        let take = |call: &mut Call, report: &LoadReport, _beyond| {
            shared.take_load(call, report, By::Anybody)
        };
        shared.stream(request, ReportKind::Load, take).await
    }

    async fn report_histograms(
        &self,
        request: Request<Received<ReportHistogramsRequest>>,
    ) -> Result<Response<ReportResponse>, Status> {
        let shared = &*self.shared;
        shared.once(request, ReportKind::Histogram, |call, batch, beyond| {
            shared.take_histograms(call, batch, beyond)
        })
    }
}
