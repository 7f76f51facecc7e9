//! Every bound of the accept gate, with its unit, default and reason.
//!
//! Two profiles: [`Limits::network`] for a port that strangers can reach, [`Limits::trusted`] for a
//! sidecar's own proxy on the same host. Both set each HTTP/2 knob, because an unset knob in the stock
//! server means *unlimited*. The letters F.. are rows of the fault catalogue in `docs/hardening.md`.
//!
//! The limits on message sizes are not here: they belong to the generated service
//! (`max_decoding_message_size`: 16 KiB query, 256 KiB batch; `max_encoding_message_size`: 64 KiB).

use std::fs;
use std::time::Duration;

/// Bounds of one connection and of one call, for every connection of one door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams a peer may have open at once; 1..=2^31-1, 128 network, 1,024 trusted. Without it one
    /// connection that opens 100,000 body-less streams takes 875 MB (F34).
    pub max_concurrent_streams: u32,
    /// Calls that a connection may have in flight whatever others do; 16. What is beyond is of what all share
    /// ([`GateLimits::max_in_flight`]). A proxy that asks from each of its workers has one or two at a time, so it is
    /// answered while somebody else holds every shared place (80 connections that held 128 streams each once kept
    /// everybody out).
    pub own_calls: u32,
    /// Streams we reset because of the peer's own errors before the connection gets GOAWAY, over its
    /// life; 1,024 network, 8,192 trusted. Stops `MadeYouReset`, CVE-2025-8671 (F30). Refused streams count
    /// too, so it must exceed the bursts an honest client can make.
    pub max_local_error_reset_streams: usize,
    /// Streams the peer has reset that we have not yet looked at before GOAWAY; 200 network, 2,000
    /// trusted. Low stops rapid reset, CVE-2023-44487 (F29); at least twice the calls in flight, or a
    /// pause of this process makes honest cancellations look like an attack (F04).
    pub max_pending_accept_reset_streams: usize,
    /// Bytes a peer may send on one stream before we read them; 64 KiB. Holds one large batch in pieces.
    pub stream_window_bytes: u32,
    /// Bytes a peer may send on all streams together before we read them; 256 KiB network, 640 KiB trusted. The bound on
    /// unread request bytes per connection (F35). Half of it is also what is below us allows for frames that are small and
    /// unread, 256 bytes each: it must do for one on each stream, or a pause of this process ends the connection of
    /// whoever asks much (F04).
    pub connection_window_bytes: u32,
    /// Largest frame we accept; 16,384 bytes, the smallest value the protocol allows.
    pub max_frame_bytes: u32,
    /// Largest header list of one request, uncompressed; 8 KiB. Above it 431, far above it GOAWAY (F33).
    pub max_header_list_bytes: u32,
    /// Bytes queued for one stream before we stop asking its answer for more; 64 KiB (F38).
    pub max_send_buffer_bytes: usize,
    /// How long a connection may be silent before we send a PING; 10 s. Finds half-open peers (F27).
    pub keep_alive_interval: Duration,
    /// How long we wait for the answer to that PING before we close; 5 s.
    pub keep_alive_timeout: Duration,
    /// Time for the 24 bytes of the HTTP/2 client preface to arrive; 1 s. The protocol's own keepalive
    /// starts only afterwards, so without this a peer that says nothing stays for ever (F26).
    pub preface_deadline: Duration,
    /// Age at which a connection is asked to leave (GOAWAY, calls in flight finish); 5 min. Lets load
    /// spread again after a restart. There is no grace after which calls are cut.
    pub max_age: Duration,
    /// Spread of that age in percent either side; 0..=100, 10. Each connection gets its own, so
    /// connections opened together do not leave together.
    pub max_age_jitter_percent: u32,
    /// Time for a unary call to read its request and give its answer's head; 500 ms network, 200 ms
    /// trusted. A shorter `grpc-timeout` of the client wins. Afterwards `DEADLINE_EXCEEDED`.
    pub request_deadline: Duration,
    /// Time in which at least one waiting answer must make progress into the peer's window; 5 s. The
    /// request deadline does not cover sending, so this closes peers that ask and do not read (F38);
    /// a stalled connection is closed between one and two of these periods. One of whose answers waits for
    /// between three and four of them is closed too, whatever else it takes.
    pub send_deadline: Duration,
}

impl Limits {
    /// For a port reachable over a network: small windows of trust, short deadlines.
    pub const fn network() -> Self {
        Self {
            max_concurrent_streams: 128,
            own_calls: 16,
            max_local_error_reset_streams: 1_024,
            max_pending_accept_reset_streams: 200,
            stream_window_bytes: 64 * 1_024,
            connection_window_bytes: 256 * 1_024,
            max_frame_bytes: 16 * 1_024,
            max_header_list_bytes: 8 * 1_024,
            max_send_buffer_bytes: 64 * 1_024,
            keep_alive_interval: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(5),
            preface_deadline: Duration::from_secs(1),
            max_age: Duration::from_mins(5),
            max_age_jitter_percent: 10,
            request_deadline: Duration::from_millis(500),
            send_deadline: Duration::from_secs(5),
        }
    }

    /// For the proxy beside us: more streams on its few connections, more room for cancelled calls.
    pub const fn trusted() -> Self {
        Self {
            max_concurrent_streams: 1_024,
            max_local_error_reset_streams: 8_192,
            max_pending_accept_reset_streams: 2_000,
            connection_window_bytes: 640 * 1_024,
            request_deadline: Duration::from_millis(200),
            ..Self::network()
        }
    }

    /// Upper bound on the bytes of requests and answers one connection can hold, for answers of at most
    /// `answer_bytes`; bytes.
    ///
    /// Unread request data is bounded by the connection window. Every open stream may hold its header
    /// list, and one whole answer if the peer opens no window for it: hyper takes a body's next chunk
    /// only when the one before has gone out. HTTP/2 state of about 40 KB per connection comes
    /// on top, idle or not, most of it h2's buffers; up to 6 KB before the preface.
    pub const fn bytes_per_connection(&self, answer_bytes: u64) -> u64 {
        let per_stream = self.max_header_list_bytes as u64 + answer_bytes;
        self.connection_window_bytes as u64 + self.max_concurrent_streams as u64 * per_stream
    }

    /// When the connection with this serial number is asked to leave, counted from its start.
    pub(crate) fn age_of(&self, serial: u64) -> Duration {
        let spread = self.max_age / 100 * self.max_age_jitter_percent.min(100);
        // 0..=65535 of the mixed bits over twice the spread: even enough, and free of floats.
        let share = u32::try_from(mix(serial) >> 48).unwrap_or(0);
        self.max_age
            .saturating_sub(spread)
            .saturating_add((spread / 65_535).saturating_mul(share * 2))
    }
}

/// Bounds of the gate as a whole, over all doors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateLimits {
    /// Open connections over all doors; 2,000. For more, idle ones go; while none is idle they are closed as soon as they are
    /// accepted (F25).
    pub max_connections: usize,
    /// Calls in flight over all workers beyond those that each connection has to itself ([`Limits::own_calls`]), from the
    /// request's head until the answer has been sent; 4,096. More are answered `RESOURCE_EXHAUSTED`. Each worker gets an
    /// equal part, so that no counter is shared between cores. With what
    /// connections have to themselves it bounds what peers can make us keep that open streams and say nothing (6 to 10 KB
    /// each), or ask and do not read (one answer each, F38): 36,096 calls at 2,000 connections.
    pub max_in_flight: usize,
    /// Pause after an accept error such as "too many open files"; 50 ms (F24).
    pub accept_backoff: Duration,
    /// Time for calls in flight to finish at shutdown, after which connections are cut; 5 s (F02).
    pub drain_deadline: Duration,
    /// File descriptors kept for files and other sockets: connections are capped at the process's limit
    /// less this; 64, at most a quarter of the limit.
    pub descriptor_reserve: usize,
}

impl Default for GateLimits {
    fn default() -> Self {
        Self {
            max_connections: 2_000,
            max_in_flight: 4_096,
            accept_backoff: Duration::from_millis(50),
            drain_deadline: Duration::from_secs(5),
            descriptor_reserve: 64,
        }
    }
}

impl GateLimits {
    /// The same limits with connections capped to what `descriptors` open files allow, at least 1.
    #[must_use]
    pub fn fitted_to(mut self, descriptors: usize) -> Self {
        let reserve = self.descriptor_reserve.min(descriptors / 4);
        self.max_connections = self.max_connections.min(descriptors - reserve).max(1);
        self
    }
}

/// The limits of gates of one process, with connections capped so that all of them together fit into `descriptors` open
/// files; each gives up the same part.
#[must_use]
pub fn fit_together<const N: usize>(gates: [GateLimits; N], descriptors: usize) -> [GateLimits; N] {
    let wanted: usize = gates.iter().map(|gate| gate.max_connections).sum();
    gates.map(|gate| {
        let fitted = GateLimits {
            max_connections: wanted,
            ..gate
        };
        let all = fitted.fitted_to(descriptors).max_connections;
        let part = gate.max_connections * all / wanted.max(1);
        GateLimits {
            max_connections: part.clamp(1, gate.max_connections.max(1)),
            ..gate
        }
    })
}

/// The number of files this process may have open, or `None` where the system does not tell.
pub fn descriptor_limit() -> Option<usize> {
    parse_descriptor_limit(&fs::read_to_string("/proc/self/limits").ok()?)
}

fn parse_descriptor_limit(limits: &str) -> Option<usize> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    // "unlimited" does not parse and means just that.
    line.split_whitespace().next()?.parse().ok()
}

/// `SplitMix64`'s finaliser: neighbouring serial numbers give unrelated bits.
const fn mix(serial: u64) -> u64 {
    let mut bits = serial.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_stay_within_the_jitter_and_fill_it() {
        let limits = Limits::network();
        let ages: Vec<u64> = (0..2_000)
            .map(|serial| limits.age_of(serial).as_secs())
            .collect();
        assert!(ages.iter().all(|age| (270..=330).contains(age)));
        for tenth in 0..6 {
            let from = 270 + tenth * 10;
            let here = ages
                .iter()
                .filter(|age| (from..from + 10).contains(*age))
                .count();
            assert!((230..450).contains(&here), "{here} of 2,000 in {from}..");
        }
    }

    #[test]
    fn a_small_frame_on_each_stream_may_be_unread() {
        for limits in [Limits::network(), Limits::trusted()] {
            let allowed = limits.connection_window_bytes / 2;
            assert!(limits.max_concurrent_streams * 256 < allowed, "{limits:?}");
        }
    }

    #[test]
    fn age_of_extreme_settings_neither_overflows_nor_vanishes() {
        let eternal = Limits {
            max_age: Duration::MAX,
            max_age_jitter_percent: 400,
            ..Limits::network()
        };
        assert!(eternal.age_of(7) <= Duration::MAX);
        let exact = Limits {
            max_age_jitter_percent: 0,
            ..Limits::network()
        };
        assert_eq!(exact.age_of(7), Duration::from_mins(5));
    }

    #[test]
    fn descriptor_limit_is_the_soft_one() {
        let text = "Limit  Soft Limit  Hard Limit  Units\nMax open files            64         4096      files\n";
        assert_eq!(parse_descriptor_limit(text), Some(64));
        let text = "Max open files            unlimited         unlimited      files\n";
        assert_eq!(parse_descriptor_limit(text), None);
        assert_eq!(parse_descriptor_limit(""), None);
    }

    #[test]
    fn connections_leave_room_for_files() {
        let cap = |descriptors| GateLimits::default().fitted_to(descriptors).max_connections;
        assert_eq!(cap(100_000), 2_000);
        assert_eq!(cap(1_024), 960);
        assert_eq!(cap(64), 48);
        assert_eq!(cap(0), 1);
    }

    #[test]
    fn gates_share_the_files_there_are() {
        let gate = |max_connections| GateLimits {
            max_connections,
            ..GateLimits::default()
        };
        let caps = |descriptors| {
            let fitted = fit_together([gate(2_000), gate(1_024)], descriptors);
            fitted.map(|gate| gate.max_connections)
        };
        assert_eq!(caps(100_000), [2_000, 1_024]);
        assert_eq!(caps(1_024), [634, 325]);
        assert_eq!(caps(0), [1, 1]);
    }

    #[test]
    fn a_connection_of_small_answers_is_bounded_at_about_one_and_a_half_megabytes() {
        assert_eq!(Limits::network().bytes_per_connection(2_048), 1_572_864);
    }
}
