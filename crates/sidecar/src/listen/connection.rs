//! One HTTP/2 connection on its worker, from the preface to its end.

use std::sync::Arc;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time;

use super::counters;
use super::executor::{Batch, WorkerExecutor};
use super::guard::{CallTerms, Guard};
use super::limits::Limits;
use super::porter::{Arrival, Host};
use super::preface::Opened;
use super::service::WorkerService;
use super::stranger::{self, Signpost};
use super::warden::{self, Phase, Terms};
use super::watched::{self, Watched};

/// Speaks HTTP/2 on a worker.
#[derive(Clone, Debug)]
pub(crate) struct Http2Host<S> {
    /// What it serves.
    pub(crate) service: S,
    /// The door's limits.
    pub(crate) limits: Limits,
    /// What calls have in common.
    pub(crate) calls: Arc<CallTerms>,
    /// What other protocols are told.
    pub(crate) signpost: Signpost,
}

impl<S: WorkerService> Host for Http2Host<S> {
    async fn serve<T>(self, stream: T, arrival: Arrival)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        serve(stream, self, arrival).await;
    }
}

/// Serves one connection until its peer, its age, a fault or the gate ends it.
async fn serve<T, S>(stream: T, host: Http2Host<S>, mut arrival: Arrival)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: WorkerService,
{
    let Http2Host {
        service,
        limits,
        calls,
        signpost,
    } = host;
    let counters = Arc::clone(&calls.counters);
    let opening = async {
        let opened = time::timeout(limits.preface_deadline, Opened::read(stream)).await;
        let opened = opened.ok().and_then(Result::ok);
        if opened.as_ref().is_some_and(Opened::speaks_http2) {
            return opened;
        }
        // Counted before it is answered: whoever has read the answer finds it in the metrics.
        counters::count(&counters.refused_preface);
        if let Some(stream) = opened {
            stranger::answer_http1(stream, &signpost).await;
        }
        None
    };
    let stream = tokio::select! {
        opened = opening => match opened {
            Some(stream) => stream,
            None => return,
        },
        // Who has not said a word when the drain begins has nothing in flight.
        _ = arrival.phase.wait_for(|phase| *phase >= Phase::Draining) => return,
        () = arrival.state.told_to_go() => return,
    };
    let control = arrival.state;
    let watch = Terms {
        max_age: limits.age_of(arrival.serial),
        send_deadline: limits.send_deadline,
    };
    let _warden = warden::spawn(&control, watch, arrival.phase.clone(), &counters);
    let watched = Watched::new(stream, &control);
    let guard = Guard::new(service, calls, Arc::clone(&control), arrival.pass);
    let mut batch = Batch::new();
    let builder = builder(batch.executor(), &limits);
    let connection = builder.serve_connection(TokioIo::new(watched), guard);
    watched::drive(
        connection,
        http2::Connection::graceful_shutdown,
        &control,
        || batch.run(),
    )
    .await
    .count(&counters, &arrival.phase);
}

/// Every knob is set: one left out would be unlimited or another version's default.
fn builder(executor: WorkerExecutor, limits: &Limits) -> http2::Builder<WorkerExecutor> {
    let mut builder = http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .adaptive_window(false)
        // gRPC has no use for the Date header.
        .auto_date_header(false)
        .max_concurrent_streams(limits.max_concurrent_streams)
        .max_local_error_reset_streams(limits.max_local_error_reset_streams)
        .max_pending_accept_reset_streams(limits.max_pending_accept_reset_streams)
        .initial_stream_window_size(limits.stream_window_bytes)
        .initial_connection_window_size(limits.connection_window_bytes)
        .max_frame_size(limits.max_frame_bytes)
        .max_header_list_size(limits.max_header_list_bytes)
        .max_send_buf_size(limits.max_send_buffer_bytes)
        .keep_alive_interval(limits.keep_alive_interval)
        .keep_alive_timeout(limits.keep_alive_timeout);
    builder
}
