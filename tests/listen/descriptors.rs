//! Running out of file descriptors, in a process of its own.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crate::peer::{self, Peer};
use crate::server::{Client, Setup};

/// The server of the next test, in a process of its own: it obeys the lines of its standard input.
#[test]
#[ignore = "runs as the child of f24_running_out_of_descriptors_costs_no_cpu_and_heals"]
fn child_that_runs_out_of_descriptors() {
    let server = Setup::default().start();
    println!("address {}", server.address());
    // Open before all are taken: one set free for a moment is the listener's before it is ours.
    let stat = fs::File::open("/proc/self/stat").unwrap();
    let mut hoard = Vec::new();
    for line in std::io::stdin().lines() {
        match line.unwrap().as_str() {
            "exhaust" => {
                while let Ok(file) = fs::File::open("/dev/null") {
                    hoard.push(file);
                }
                println!("exhausted {}", hoard.len());
            }
            "measure" => println!("ticks {}", cpu_ticks(&stat)),
            "free" => {
                hoard.clear();
                println!(
                    "errors {}",
                    server.counters.accept_errors.load(Ordering::Relaxed)
                );
            }
            _end => return,
        }
    }
}

/// Processor time of this process in hundredths of a second.
fn cpu_ticks(stat: &fs::File) -> u64 {
    let mut bytes = [0; 1_024];
    let length = stat.read_at(&mut bytes, 0).unwrap();
    let stat = str::from_utf8(&bytes[..length]).unwrap();
    // The fields after the name, which is in brackets and may hold anything.
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11..13]
        .iter()
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum()
}

#[test]
fn f24_running_out_of_descriptors_costs_no_cpu_and_heals() {
    let script = "ulimit -n 64; exec \"$0\" --ignored --exact --nocapture descriptors::child_that_runs_out_of_descriptors";
    let mut child = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut orders = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut answer = |order: &str, word: &str| -> String {
        if !order.is_empty() {
            writeln!(orders, "{order}").unwrap();
        }
        lines
            .by_ref()
            .map(Result::unwrap)
            .find_map(|line| {
                line.split_once(word)
                    .map(|(_, value)| value.trim().to_owned())
            })
            .unwrap()
    };
    let address: SocketAddr = answer("", "address ").parse().unwrap();
    let early = Client::connect(address);
    early.assert_served();
    assert!(answer("exhaust", "exhausted ").parse::<u32>().unwrap() > 20);

    let mut waiting: Vec<_> = (0..20).map(|_| Peer::greet(address, &[])).collect();
    let before: u64 = answer("measure", "ticks ").parse().unwrap();
    thread::sleep(Duration::from_secs(1));
    early.assert_served();
    let after: u64 = answer("measure", "ticks ").parse().unwrap();
    assert!(after - before <= 10, "{} % of a core", after - before);

    // About one error in 50 ms: the loop neither span nor stopped.
    let errors: u64 = answer("free", "errors ").parse().unwrap();
    assert!((5..60).contains(&errors), "{errors} errors");
    for peer in &mut waiting {
        assert!(
            peer.read_until(peer::SETTINGS).is_some(),
            "served after all"
        );
    }
    Client::connect(address).assert_served();
    writeln!(orders, "end").unwrap();
    assert!(child.wait().unwrap().success());
}
