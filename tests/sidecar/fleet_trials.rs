//! Three sidecars and their bus under what happens to such: killed, frozen for half a minute, started anew; while a node fails, objects are
//! purged, and everybody asks. `cargo test --test sidecar -- --ignored --nocapture fleet_trials` (docs/testing.md).

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time;
use tonic::transport::{Channel, Endpoint};
use tradewind::sidecar::clock::timer_now;
use tradewind::sidecar::wire::proto::feedback_service_client::FeedbackServiceClient;
use tradewind::sidecar::wire::proto::fleet_service_client::FleetServiceClient;
use tradewind::sidecar::wire::proto::purge_selector::Of;
use tradewind::sidecar::wire::proto::purge_service_client::PurgeServiceClient;
use tradewind::sidecar::wire::proto::{
    AttemptResult, Outcome, PurgeSelector, ReportRequest, RollRequest, SubmitPurgeRequest,
};

use crate::bus::Bus;
use crate::client::{Client, request};
use crate::server::{Files, PATIENCE, Server, Setup};

/// The node that fails.
const FAILING: &str = "fra-1";

/// The members.
const NAMES: [&str; 3] = ["a", "b", "c"];

/// How long something is frozen.
const FROZEN: Duration = Duration::from_secs(30);

/// Answers that did not come in this time were not given.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

struct Member {
    name: &'static str,
    files: Files,
    server: Server,
}

impl Member {
    async fn start(name: &'static str, files: Files, bus: &Bus) -> Self {
        let setup = files.setup();
        Self::of((name, files, setup), bus).await
    }

    async fn of((name, files, setup): (&'static str, Files, Setup), bus: &Bus) -> Self {
        let setup = setup.with("bus", bus.url()).with("member", name);
        let server = setup.start().await;
        Self {
            name,
            files,
            server,
        }
    }
}

/// Where a member is asked, and where it is operated.
type Doors = (String, String);

/// What everybody sees of a run.
#[derive(Default)]
struct Seen {
    /// Where members are reached; they move when they start anew.
    doors: Mutex<BTreeMap<&'static str, Doors>>,
    fails: AtomicBool,
    is_over: AtomicBool,
    asked: AtomicU64,
    unanswered: AtomicU64,
    empty: AtomicU64,
    refused_purges: AtomicU64,
    /// Purges that were answered: of which path, with which version.
    purged: Mutex<BTreeMap<String, u64>>,
    /// Purged there, and not in force in the next answer there.
    stale: AtomicU64,
}

impl Seen {
    fn doors_of(&self, name: &str) -> Doors {
        self.doors.lock().unwrap()[name].clone()
    }

    fn moved(&self, member: &Member) {
        let doors = (
            format!("http://{}", member.server.grpc[0]),
            format!("http://{}", member.server.admin),
        );
        self.doors.lock().unwrap().insert(member.name, doors);
    }

    fn say(&self, what: &str) {
        let [asked, unanswered, refused] = [&self.asked, &self.unanswered, &self.refused_purges]
            .map(|it| it.load(Ordering::Relaxed));
        let purged = self.purged.lock().unwrap().len();
        println!(
            "{what}: {asked} answers, {unanswered} not given, {purged} purges, {refused} refused"
        );
    }

    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }
}

fn lazily(at: &str) -> Channel {
    lazily_within(at, ANSWERS_WITHIN)
}

fn lazily_within(at: &str, time: Duration) -> Channel {
    let endpoint = Endpoint::from_shared(at.to_owned()).unwrap();
    endpoint.timeout(time).connect_lazy()
}

/// Asks one member on and on, and tells it what became of it.
async fn ask(seen: Arc<Seen>, name: &'static str) {
    let mut number = 0;
    while seen.goes_on() {
        let channel = lazily(&seen.doors_of(name).0);
        let mut client = Client::of(channel.clone());
        let mut feedback = FeedbackServiceClient::new(channel);
        let mut outcomes = Vec::new();
        for _ in 0..32 {
            number += 1;
            let asked = request(&format!("/k{}", number % 5_000));
            let Ok(answer) = client.try_decide(asked).await else {
                seen.unanswered.fetch_add(1, Ordering::Relaxed);
                break;
            };
            seen.asked.fetch_add(1, Ordering::Relaxed);
            let Some(first) = answer.candidates.first() else {
                seen.empty.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let fails = first.node == FAILING && seen.fails.load(Ordering::Relaxed);
            let (result, status) = if fails {
                (AttemptResult::Error, 503)
            } else {
                (AttemptResult::Ok, 200)
            };
            outcomes.push(Outcome {
                decision_id: answer.decision_id.clone(),
                node: first.node.clone(),
                attempt: 1,
                result: result.into(),
                status,
                ..Outcome::default()
            });
        }
        let batch = ReportRequest {
            outcomes,
            ..ReportRequest::default()
        };
        // Whoever is away is told nothing.
        let _told = feedback.report_unary(batch).await;
        time::sleep(Duration::from_millis(10)).await;
    }
}

/// Purges on and on, at one member after the other.
async fn purge(seen: Arc<Seen>, names: [&'static str; 3]) {
    for number in 0_usize.. {
        if !seen.goes_on() {
            return;
        }
        let (grpc, admin) = seen.doors_of(names[number % 3]);
        let path = format!("/p{number}");
        let asked = SubmitPurgeRequest {
            selectors: vec![PurgeSelector {
                of: Some(Of::Url(format!("https://video.example.com{path}"))),
                exact_query: false,
            }],
            ..SubmitPurgeRequest::default()
        };
        match PurgeServiceClient::new(lazily(&admin)).submit(asked).await {
            Ok(answer) => {
                let version = answer.into_inner().sequence;
                let mut client = Client::of(lazily(&grpc));
                if let Ok(answer) = client.try_decide(request(&path)).await {
                    let is_stale = answer.version < version;
                    seen.stale.fetch_add(u64::from(is_stale), Ordering::Relaxed);
                }
                seen.purged.lock().unwrap().insert(path, version);
            }
            Err(_) => {
                seen.refused_purges.fetch_add(1, Ordering::Relaxed);
            }
        }
        time::sleep(Duration::from_millis(50)).await;
    }
}

async fn chair(seen: &Seen) -> String {
    let (_, admin) = seen.doors_of("a");
    let give_up = timer_now() + PATIENCE;
    loop {
        let mut fleet = FleetServiceClient::new(lazily(&admin));
        if let Ok(roll) = fleet.roll(RollRequest {}).await {
            let chair = roll.into_inner().chair;
            if !chair.is_empty() {
                return chair;
            }
        }
        assert!(timer_now() < give_up, "nobody has the chair");
        time::sleep(Duration::from_millis(100)).await;
    }
}

/// How many of so many keys all three name the same first node for; no answer may be without one.
async fn agreement(seen: &Seen, names: [&'static str; 3], keys: usize) -> f64 {
    let mut same = 0;
    for from in (0..keys).step_by(128) {
        let asked: Vec<_> = (from..keys.min(from + 128))
            .map(|key| request(&format!("/key/{key}")))
            .collect();
        let mut firsts = Vec::new();
        for name in names {
            let channel = lazily_within(&seen.doors_of(name).0, PATIENCE);
            let mut client = Client::of(channel);
            let answers = client.try_batch(asked.clone()).await.unwrap();
            let first = |it: &tradewind::sidecar::wire::proto::DecideResponse| {
                it.candidates[0].node.clone()
            };
            firsts.push(answers.iter().map(first).collect::<Vec<_>>());
        }
        let all = firsts[0].iter().zip(&firsts[1]).zip(&firsts[2]);
        same += all.filter(|((a, b), c)| a == b && b == c).count();
    }
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let share = same as f64 / keys as f64;
    share
}

/// How many purges that were answered are not in force, counted at each member.
async fn lost(seen: &Seen, names: [&'static str; 3]) -> u64 {
    let purged = seen.purged.lock().unwrap().clone();
    let mut lost = 0;
    for name in names {
        let mut client = Client::of(lazily_within(&seen.doors_of(name).0, PATIENCE));
        for (path, version) in &purged {
            let answer = client.decide(request(path)).await;
            lost += u64::from(answer.version < *version);
        }
    }
    lost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "three minutes; its outcome is in docs/testing.md"]
async fn fleet_trials() {
    let Some(mut bus) = Bus::start("fleet_trials") else {
        return;
    };
    let names = NAMES;
    let seen = Arc::new(Seen::default());
    let mut members = BTreeMap::new();
    let mut tasks = Vec::new();
    for name in names {
        let member = Member::start(name, Files::new(), &bus).await;
        seen.moved(&member);
        members.insert(name, member);
        tasks.push(tokio::spawn(ask(Arc::clone(&seen), name)));
    }
    tasks.push(tokio::spawn(purge(Arc::clone(&seen), names)));
    let wait = async |seconds| time::sleep(Duration::from_secs(seconds)).await;
    let say = |what: &str| seen.say(what);

    wait(5).await;
    seen.fails.store(true, Ordering::Relaxed);
    wait(5).await;
    say("a node fails");
    println!("agreement {:.4}", agreement(&seen, names, 20_000).await);

    bus.kill();
    wait(3).await;
    bus.begin();
    wait(3).await;
    say("the bus was killed");

    bus.signal("STOP");
    time::sleep(FROZEN).await;
    bus.signal("CONT");
    wait(5).await;
    say("the bus was frozen");

    let first = chair(&seen).await;
    let killed = members.remove(first.as_str()).unwrap();
    killed.server.kill();
    wait(5).await;
    let again = Member::start(killed.name, killed.files, &bus).await;
    seen.moved(&again);
    members.insert(again.name, again);
    wait(3).await;
    say("who had the chair was killed");

    let first = chair(&seen).await;
    members[first.as_str()].server.signal("STOP");
    time::sleep(FROZEN).await;
    members[first.as_str()].server.signal("CONT");
    wait(5).await;
    say("who had the chair was frozen");

    let first = chair(&seen).await;
    let other = names.into_iter().find(|name| *name != first).unwrap();
    members[other].server.signal("STOP");
    time::sleep(FROZEN).await;
    members[other].server.signal("CONT");
    wait(5).await;
    say("another member was frozen");
    let killed = members.remove(other).unwrap();
    killed.server.kill();
    wait(5).await;
    let again = Member::start(killed.name, killed.files, &bus).await;
    seen.moved(&again);
    members.insert(again.name, again);
    wait(3).await;
    say("it was killed");

    say("in the end");
    end(&seen, tasks).await;
}

/// Nothing that was answered may be lost, and all must be agreed.
async fn end(seen: &Seen, tasks: Vec<JoinHandle<()>>) {
    seen.is_over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    time::sleep(Duration::from_secs(2)).await;
    let lost = lost(seen, NAMES).await;
    let agreed = agreement(seen, NAMES, 100_000).await;
    println!("agreement {agreed:.5}, purges lost {lost}");
    assert_eq!(lost, 0, "an answered purge is in force everywhere");
    assert_eq!(seen.stale.load(Ordering::Relaxed), 0);
    assert_eq!(seen.empty.load(Ordering::Relaxed), 0);
    assert!(agreed >= 0.999, "{agreed}");
}

/// A small file system for what a sidecar keeps.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Over a directory; `None` where this process may not mount one.
    fn over(dir: PathBuf) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(&dir)
            .status();
        mounted.ok()?.success().then_some(Self(dir))
    }

    /// Takes all of its room.
    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
    }

    fn clear(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, for a sidecar may still have a file open there.
        let _status = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Shifts the clock of a process that reads it through this library.
const CLOCK_SHIFTER: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// A clock that can be set wrong.
struct WrongClock(PathBuf);

impl WrongClock {
    fn shift(&self, by: &str) {
        // Read by the library at each look at the clock, so it is replaced as a whole.
        let next = self.0.with_extension("next");
        fs::write(&next, by).unwrap();
        fs::rename(&next, &self.0).unwrap();
    }

    fn of(&self, setup: Setup) -> Setup {
        setup
            .variable("LD_PRELOAD", CLOCK_SHIFTER)
            .variable("FAKETIME_TIMESTAMP_FILE", self.0.as_os_str())
            .variable("FAKETIME_NO_CACHE", "1")
            .variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    }
}

/// The disk of one is full, the clock of another steps by a day, ahead and back, and both start anew meanwhile. Wants `mount` and Debian's
/// `faketime`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "two minutes; its outcome is in docs/testing.md"]
async fn fleet_trials_of_disks_and_clocks() {
    let Some(bus) = Bus::start("fleet_trials_of_disks_and_clocks") else {
        return;
    };
    let seen = Arc::new(Seen::default());
    let [files, of_full, of_wrong] = [Files::new(), Files::new(), Files::new()];
    fs::create_dir_all(of_full.state()).unwrap();
    let Some(disk) = SmallDisk::over(of_full.state()) else {
        println!("skipped: no file system can be mounted here");
        return;
    };
    if !Path::new(CLOCK_SHIFTER).exists() {
        println!("skipped: {CLOCK_SHIFTER} is not there (apt-get install faketime)");
        return;
    }
    let clock = WrongClock(of_wrong.path("clock"));
    clock.shift("+0");
    let setup = files.setup();
    let a = Member::of(("a", files, setup), &bus).await;
    let setup = of_full.setup();
    let mut b = Member::of(("b", of_full, setup), &bus).await;
    let setup = clock.of(of_wrong.setup());
    let mut c = Member::of(("c", of_wrong, setup), &bus).await;
    for member in [&a, &b, &c] {
        seen.moved(member);
    }
    let mut tasks: Vec<JoinHandle<()>> = Vec::new();
    for name in NAMES {
        tasks.push(tokio::spawn(ask(Arc::clone(&seen), name)));
    }
    tasks.push(tokio::spawn(purge(Arc::clone(&seen), NAMES)));
    let wait = async |seconds| time::sleep(Duration::from_secs(seconds)).await;
    let say = |what: &str| seen.say(what);
    wait(5).await;

    disk.fill();
    wait(10).await;
    say("a disk is full");
    b.server.kill();
    let setup = b.files.setup();
    b = Member::of(("b", b.files, setup), &bus).await;
    seen.moved(&b);
    wait(10).await;
    say("its sidecar has started anew");
    disk.clear();
    wait(5).await;
    say("it has room again");

    for (by, what) in [
        ("+1d", "a clock is a day ahead"),
        ("-1d", "it is a day behind"),
    ] {
        clock.shift(by);
        wait(10).await;
        say(what);
        c.server.kill();
        let setup = clock.of(c.files.setup());
        c = Member::of(("c", c.files, setup), &bus).await;
        seen.moved(&c);
        wait(10).await;
        say("its sidecar has started anew");
    }
    clock.shift("+0");
    wait(5).await;
    say("it is right again");
    end(&seen, tasks).await;
    drop((a, b, c));
}
