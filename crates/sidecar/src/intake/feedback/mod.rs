//! The feedback and the telemetry service: what is told to the sidecar, on its way to the writer.
//!
//! The query door hands over what it is told in lines ([`Feedback::take_lines`]), so both ways have the same quotas,
//! bounds and counters. One value for each worker, so that it fills only that worker's handover. Nothing told is an error of its call: an item that
//! cannot be believed is counted with its reason and the others are taken. The answer says what became of all.

mod call;
mod taking;

use std::sync::Arc;

use tonic::{Request, Response, Status, Streaming};

use crate::identity::Caller;
use crate::intake::handover::Handover;
use crate::intake::recent::RecentDecisions;
use crate::intake::reporters::Reporters;
use crate::intake::tally::{ReportCounters, ReportKind};
use crate::state::State;
use crate::wire::proto::server::feedback_service_server::FeedbackService;
use crate::wire::proto::server::telemetry_service_server::TelemetryService;
use crate::wire::proto::{
    LoadReport, Outcome, ReportHistogramsRequest, ReportRequest, ReportResponse,
};
use crate::wire::received::Received;
use crate::wire::report::Fault;
use call::Call;
use taking::{Batch, By, Shared};

pub use crate::wire::parts::{MAX_HISTOGRAMS, MAX_OUTCOMES};
pub use call::REST;

/// Largest message, in bytes; larger ones are refused at the length prefix.
pub const MAX_REPORT_BYTES: usize = 256 << 10;

/// Takes reports on one worker.
#[derive(Debug, Clone)]
pub struct Feedback {
    shared: Arc<Shared>,
}

/// A line of text that tells an outcome, or why it cannot be read.
#[derive(Debug)]
pub struct OutcomeLine {
    /// Its number in the text.
    pub number: usize,
    /// What it says.
    pub outcome: Result<Outcome, Fault>,
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
