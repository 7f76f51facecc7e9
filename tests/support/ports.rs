//! Ports for programs that have to be told where to listen.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below those that systems give to connections, which would be taken before a proxy has started; and who asks such a port
/// whether anybody listens may be answered by itself.
const PORTS: Range<u16> = 20_000..32_000;

/// A port of 127.0.0.1 that nobody uses, and that this function gave to nobody else in this process.
pub(crate) fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Another process begins elsewhere.
    let first = std::process::id().wrapping_mul(101);
    let count = u32::from(PORTS.end - PORTS.start);
    for _ in PORTS {
        let at = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % count;
        let port = PORTS.start + u16::try_from(at).unwrap();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("every port of {PORTS:?} is taken");
}
