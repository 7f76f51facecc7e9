//! Sends spans in batches, and says when the collector is gone and when it is back.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{self, Instant};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::{Traced, Traces, span};
use crate::clock;
use crate::settings::otlp::Collector;

/// Spans in one call, as the standard has it (`OTEL_BSP_MAX_EXPORT_BATCH_SIZE`): some 300 kB.
const BATCH: usize = 512;

/// How long spans wait for others; the standard's five seconds are long for who looks for a request of just now.
const DELAY: Duration = Duration::from_secs(1);

/// Time for a collector to take a batch.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long a collector that is gone is left alone at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Time for what waits when the process ends.
const FLUSH: Duration = Duration::from_secs(2);

/// Starts the thread that sends.
pub(super) fn start(
    collector: &Collector,
    instance: &str,
    traces: Arc<Traces>,
    decided: mpsc::Receiver<Box<Traced>>,
    stopped: oneshot::Receiver<()>,
) -> io::Result<JoinHandle<()>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let channel = Endpoint::from(collector.uri.clone());
    let channel = channel.connect_timeout(TIMEOUT).timeout(TIMEOUT);
    let resource = span::resource(&collector.service_name, instance);
    let uri = collector.uri.to_string();
    let named = thread::Builder::new().name("tradewind-spans".to_owned());
    named.spawn(move || {
        runtime.block_on(async {
            let exporter = Exporter {
                // Its connection is made when the first batch is sent, and again whenever it is gone.
                client: TraceServiceClient::new(channel.connect_lazy()),
                collector: uri,
                resource,
                traces,
                decided,
                batch: Vec::with_capacity(BATCH),
            };
            exporter.run(stopped).await;
        });
    })
}

/// What the thread does.
struct Exporter {
    client: TraceServiceClient<Channel>,
    /// Where it is, for the log.
    collector: String,
    resource: Resource,
    traces: Arc<Traces>,
    decided: mpsc::Receiver<Box<Traced>>,
    /// Spans that are to be sent next, and not yet taken.
    batch: Vec<Span>,
}

impl Exporter {
    /// Sends until it is told to stop, then what waits.
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        tokio::select! {
            _ = &mut stopped => {}
            () = self.send_all() => {}
        }
        let is_open = self.traces.is_open.load(Ordering::Relaxed);
        if !is_open || time::timeout(FLUSH, self.flush()).await.is_err() {
            self.lose(self.batch.len() + self.decided.len());
        }
    }

    async fn send_all(&mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            if self.batch.is_empty() {
                self.fill().await;
            }
            if self.batch.is_empty() {
                return;
            }
            if self.send().await {
                pause = FIRST_PAUSE;
            } else {
                time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Waits for a decision, and a while for others.
    async fn fill(&mut self) {
        let mut until: Option<Instant> = None;
        while self.batch.len() < BATCH {
            let next = match until {
                None => self.decided.recv().await,
                Some(until) => time::timeout_at(until, self.decided.recv())
                    .await
                    .unwrap_or(None),
            };
            let Some(traced) = next else { return };
            self.batch.push(span::of(*traced));
            until.get_or_insert_with(|| clock::timer_now() + DELAY);
        }
    }

    /// Sends all that waits, once.
    async fn flush(&mut self) {
        self.decided.close();
        loop {
            while self.batch.len() < BATCH
                && let Ok(traced) = self.decided.try_recv()
            {
                self.batch.push(span::of(*traced));
            }
            if self.batch.is_empty() {
                return;
            }
            if !self.send().await {
                return self.lose(self.batch.len() + self.decided.len());
            }
        }
    }

    /// Sends the batch. Whether it need not be sent again: it was taken, or refused for good.
    async fn send(&mut self) -> bool {
        let request = ExportTraceServiceRequest {
            resource_spans: vec![span::batch(&self.resource, &self.batch)],
        };
        let counters = Arc::clone(&self.traces.counters);
        let all = count(self.batch.len());
        match self.client.export(request).await {
            Ok(answer) => {
                let partial = answer.into_inner().partial_success.unwrap_or_default();
                let refused = u64::try_from(partial.rejected_spans).unwrap_or(0).min(all);
                counters.refused.fetch_add(refused, Ordering::Relaxed);
                counters
                    .exported
                    .fetch_add(all - refused, Ordering::Relaxed);
                if !self.traces.is_open.swap(true, Ordering::Relaxed) {
                    tracing::info!(
                        collector = self.collector,
                        "the collector takes spans again"
                    );
                }
            }
            Err(status) if may_pass(&status) => {
                if self.traces.is_open.swap(false, Ordering::Relaxed) {
                    tracing::warn!(
                        collector = self.collector,
                        error = status.message(),
                        "the collector takes no spans, they are lost until it does"
                    );
                }
                return false;
            }
            Err(status) => {
                // One batch in which something is wrong says nothing of the next.
                counters.refused.fetch_add(all, Ordering::Relaxed);
                tracing::debug!(code = ?status.code(), error = status.message(), "the collector refuses spans");
            }
        }
        self.batch.clear();
        true
    }

    fn lose(&self, spans: usize) {
        let lost = &self.traces.counters.unreachable;
        lost.fetch_add(count(spans), Ordering::Relaxed);
    }
}

fn count(spans: usize) -> u64 {
    u64::try_from(spans).unwrap_or(u64::MAX)
}

/// Whether the same call may go well later. What OTLP lists, and what tonic says of a connection that breaks.
fn may_pass(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unknown
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
    )
}
