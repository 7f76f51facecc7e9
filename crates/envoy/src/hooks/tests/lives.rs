//! Whole lives of requests beside a real sidecar, in this process: what the hooks do with what clients, nodes and Envoy may do, and
//! that they allocate nothing once they have run for a while.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tradewind_sidecar::log_filter::NoSwitch;
use tradewind_sidecar::serve::serve;
use tradewind_sidecar::settings::{Args, Settings};
use tradewind_wire::clock;
use tradewind_wire::names::{DECISION_ID, DESTINATION, VERSION};

use super::*;
use crate::abi::Timing;
use crate::fake::{FakeEntry, FakeStream, allocated, metric};
use tradewind_client::hosted::follower::Follower;

const ANY_PORT: &str = "127.0.0.1:0";

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Requests before and while allocations are counted.
const WARM: usize = 200;
const COUNTED: usize = 2_000;

/// Where it failed to connect, in Envoy's numbering of flags.
const CONNECTION_FAILURE: u64 = 1 << 5;

/// A sidecar of the embedded example; ends when dropped.
struct Sidecar {
    address: String,
    _end: oneshot::Sender<()>,
}

impl Sidecar {
    fn start(state: &Path) -> Self {
        let settings = Settings::new(Args {
            example: true,
            listen: vec![ANY_PORT.to_owned()],
            debug: ANY_PORT.parse().ok(),
            admin: Some(ANY_PORT.to_owned()),
            http: Some(ANY_PORT.to_owned()),
            state_dir: Some(state.to_owned()),
            workers: Some(1),
            ..Args::default()
        });
        let settings = settings.unwrap();
        let (tell, told) = sync_channel(1);
        let (end, ended) = oneshot::channel::<()>();
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let announce = move |running: &tradewind_sidecar::serve::Running| {
                tell.send(running.grpc[0].to_string()).unwrap();
            };
            let shutdown = async move { drop(ended.await) };
            runtime.block_on(serve(settings, Box::new(NoSwitch), announce, shutdown))
        });
        Self {
            address: told.recv_timeout(PATIENCE).unwrap(),
            _end: end,
        }
    }
}

/// A filter and a logger that follow a sidecar, once they decide.
struct Module {
    filter: *const Filter,
    logger: *const Logger,
    follower: Arc<Follower>,
}

impl Module {
    fn follow(sidecar: &Sidecar) -> Self {
        let config = format!(
            "{{\"sidecar\":\"{}\",\"client_header\":\"x-client\"}}",
            sidecar.address
        );
        let made = filter(&config);
        assert!(!made.is_null());
        let (name, config) = (
            Buffer::of(b"attempts"),
            format!("{{\"sidecar\":\"{}\"}}", sidecar.address),
        );
        let config = Buffer::of(config.as_bytes());
        let config =
            envoy_dynamic_module_on_access_logger_config_new(ptr::null_mut(), name, config);
        let logger = envoy_dynamic_module_on_access_logger_new(config, ptr::null_mut());
        envoy_dynamic_module_on_access_logger_config_destroy(config);
        let module = Self {
            filter: made,
            logger,
            follower: Follower::find(&sidecar.address).upgrade().unwrap(),
        };
        let began = clock::now();
        while decided(&module.live(usual())).is_none() {
            assert!(began.elapsed() < PATIENCE, "it does not decide");
            thread::yield_now();
        }
        module
    }

    /// The whole life of a request that nobody ends early.
    fn live(&self, mut stream: FakeStream) -> FakeStream {
        let at = stream.pointer();
        let own = envoy_dynamic_module_on_http_filter_new(self.filter, at);
        let next = envoy_dynamic_module_on_http_filter_request_headers(at, own, false);
        if next == CONTINUE {
            let others = [
                envoy_dynamic_module_on_http_filter_request_body(at, own, false),
                envoy_dynamic_module_on_http_filter_request_body(at, own, true),
                envoy_dynamic_module_on_http_filter_request_trailers(at, own),
                envoy_dynamic_module_on_http_filter_response_headers(at, own, false),
                envoy_dynamic_module_on_http_filter_response_body(at, own, true),
                envoy_dynamic_module_on_http_filter_response_trailers(at, own),
            ];
            assert_eq!(others, [CONTINUE; 6]);
            envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark(
                at, own,
            );
            envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark(
                at, own,
            );
        }
        assert_eq!(next == STOP, stream.answer.is_some());
        envoy_dynamic_module_on_http_filter_stream_complete(at, own);
        envoy_dynamic_module_on_http_filter_destroy(own);
        stream
    }

    fn log(&self, entry: &mut FakeEntry) {
        envoy_dynamic_module_on_access_logger_log(entry.pointer(), self.logger, ATTEMPT_ENDED);
    }

    /// Waits until the sidecar was told of so many, which it took and refused.
    fn until_told(&self, taken: u64, refused: u64) {
        let began = clock::now();
        let told = || {
            let counters = self.follower.client.counters();
            (counters.outcomes_taken, counters.outcomes_refused)
        };
        while told() != (taken, refused) {
            assert!(began.elapsed() < PATIENCE, "{:?}", told());
            thread::yield_now();
        }
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        envoy_dynamic_module_on_access_logger_destroy(self.logger);
        envoy_dynamic_module_on_http_filter_config_destroy(self.filter);
    }
}

fn usual() -> FakeStream {
    FakeStream::with(&[
        (":authority", b"www.example.com"),
        (":path", b"/images/1.jpg?w=1"),
        (":method", b"GET"),
        ("x-client", b"198.18.0.1"),
        ("x-request-id", b"1"),
    ])
}

/// The list of nodes and the name of a decision.
fn decided(stream: &FakeStream) -> Option<(String, String)> {
    let text = |name| {
        let lines = stream.headers.get(name)?;
        Some(String::from_utf8(lines.first()?.clone()).unwrap())
    };
    Some((text(DESTINATION)?, text(DECISION_ID)?))
}

/// What became of the attempt at the `at`-th node of a list.
fn attempt((list, id): &(String, String), at: usize) -> FakeEntry {
    let node = list.split(',').nth(at).unwrap();
    let (ip, port) = node.rsplit_once(':').unwrap();
    let mut entry = FakeEntry {
        asked: [(DECISION_ID, id), (DESTINATION, list)]
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .into(),
        answered: [("x-cache".to_owned(), "TCP_HIT".to_owned())].into(),
        node: Some((ip.to_owned(), port.parse().unwrap())),
        status: 200,
        ..FakeEntry::default()
    };
    entry.timing.first_sent_ns = 1_000;
    entry.timing.first_received_ns = 900_000;
    entry.timing.last_received_ns = 1_000_000;
    entry
}

#[test]
fn requests_live_and_end_in_every_way() {
    let state = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::start(state.path());
    let module = Module::follow(&sidecar);
    let before = contain::panics();

    // Nobody chooses.
    let mut chosen = usual();
    for name in [DESTINATION, DECISION_ID, VERSION] {
        chosen
            .headers
            .insert(name.to_owned(), vec![b"1".to_vec(), b"2".to_vec()]);
    }
    let seen = module.live(chosen);
    let made = decided(&seen).unwrap();
    assert!(made.0.contains(',') && made.1.len() == 24, "{made:?}");
    assert!(!seen.headers.contains_key(VERSION));

    // A retry: the first node cannot be reached, the second answers.
    let mut failed = attempt(&made, 0);
    (failed.status, failed.flags) = (0, CONNECTION_FAILURE);
    failed.timing = Timing::default();
    module.log(&mut failed);
    module.log(&mut attempt(&made, 1));
    module.until_told(2, 0);
    // A node that nobody knows, and a request that came to none.
    let mut strange = attempt(&made, 0);
    strange.node = Some(("203.0.113.9".to_owned(), 1));
    module.log(&mut strange);
    strange.node = Some(("no address".to_owned(), 1));
    module.log(&mut strange);
    strange.node = Some(("192.0.2.1".to_owned(), 70_000));
    module.log(&mut strange);
    strange.node = None;
    module.log(&mut strange);
    // Entries of other kinds are not of attempts.
    envoy_dynamic_module_on_access_logger_log(attempt(&made, 0).pointer(), module.logger, 1);
    module.until_told(2, 1);

    // A reset: Envoy gives the stream back at once.
    let mut reset = usual();
    let at = reset.pointer();
    let own = envoy_dynamic_module_on_http_filter_new(module.filter, at);
    envoy_dynamic_module_on_http_filter_destroy(own);

    // What is missing, what is no text, what is too long.
    let long = [b"/".as_slice(), &b"a".repeat(70_000)].concat();
    for (name, value, wanted) in [
        (":path", b"/a%00".as_slice(), Some(400)),
        (":path", long.as_slice(), Some(414)),
        (":path", b"/internal/a", None),
        (":authority", b"\xff\xfe", Some(400)),
        (":authority", b"", None),
        (":method", b"\xff", None),
        ("x-client", b"no address", None),
        ("x-client", b"", None),
        ("x-request-id", &b"r".repeat(9_000), None),
    ] {
        let mut odd = usual();
        odd.headers.insert(name.to_owned(), vec![value.to_vec()]);
        let seen = module.live(odd);
        let status = seen.answer.as_ref().map(|(status, _)| *status);
        assert_eq!(status, wanted, "{name}: {:?}", seen.answer);
    }
    for name in [":authority", ":path", ":method", "x-client"] {
        let mut odd = usual();
        odd.headers.remove(name);
        let seen = module.live(odd);
        assert!(decided(&seen).is_some() || seen.answer.is_some(), "{name}");
    }
    let none = module.live(FakeStream::default());
    assert!(
        decided(&none).is_some(),
        "as of CONNECT, which has no path: {none:?}"
    );
    assert_eq!(contain::panics(), before);
    // Once a second a request shows what was counted.
    let began = clock::now();
    while metric("tradewind.decided") == 0 || metric("tradewind.refused") == 0 {
        assert!(began.elapsed() < PATIENCE, "nothing is shown");
        module.live(usual());
    }
}

#[test]
fn hooks_that_have_run_for_a_while_allocate_nothing() {
    let state = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::start(state.path());
    let module = Module::follow(&sidecar);
    let before = allocated();
    drop(std::hint::black_box(Box::new(before)));
    assert_eq!(allocated(), before + 1, "what is counted");
    let mut stream = usual();
    let mut counts = (0, 0);
    for round in 0..WARM + COUNTED {
        let at = stream.pointer();
        let before = allocated();
        let own = envoy_dynamic_module_on_http_filter_new(module.filter, at);
        envoy_dynamic_module_on_http_filter_request_headers(at, own, true);
        envoy_dynamic_module_on_http_filter_stream_complete(at, own);
        envoy_dynamic_module_on_http_filter_destroy(own);
        let asked = allocated() - before;
        let mut entry = attempt(&decided(&stream).unwrap(), 0);
        let before = allocated();
        module.log(&mut entry);
        let told = allocated() - before;
        if round >= WARM {
            counts = (counts.0 + asked, counts.1 + told);
        }
    }
    assert_eq!(
        counts,
        (0, 0),
        "of {COUNTED} requests, and of what was told of them"
    );
}
