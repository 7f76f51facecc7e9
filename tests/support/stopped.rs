//! Processes in the middle of what they do.

use std::thread;
use std::time::Duration;

/// Waits until every thread of a process that was sent SIGSTOP has stopped: the signal takes a moment to reach them all,
/// and until then they answer.
pub(crate) fn until_stopped(process: u32) {
    // The state is the first word behind the name, which stands in brackets and may hold anything.
    let is_stopped = |stat: &str| {
        let behind = stat.rsplit_once(')').map(|(_, behind)| behind);
        behind.is_some_and(|behind| behind.trim_start().starts_with('T'))
    };
    for _ in 0..1_000 {
        let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
        let mut stats =
            threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("stat")));
        if stats.all(|stat| is_stopped(&stat.unwrap())) {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("process {process} does not stop");
}
