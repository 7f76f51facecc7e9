//! Says now and then who decides, for people who watch the example.

use std::time::Duration;

use tradewind_client::Client;

/// Prints a line a second while requests come, and whenever the sidecar goes or comes back.
pub(crate) async fn run(client: Client) {
    let mut before = (client.counters(), client.is_asking());
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        let now = (client.counters(), client.is_asking());
        let (seen, _) = before;
        let (counters, is_asking) = now;
        if counters.asked != seen.asked || before.1 != is_asking {
            println!(
                "decided by the sidecar {}, reused {}, here {}, by nobody {}; {} timeouts; the sidecar {}",
                counters.answered - seen.answered,
                counters.cached - seen.cached,
                counters.local - seen.local,
                counters.nothing - seen.nothing,
                counters.timeouts - seen.timeouts,
                if is_asking { "is asked" } else { "is away" },
            );
        }
        before = now;
    }
}
