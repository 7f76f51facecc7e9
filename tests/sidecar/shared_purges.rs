//! Purges in a fleet: sidecars and a real server of NATS that is killed, loses what it had, and comes back.
//!
//! `cargo test --release --test sidecar -- --ignored --nocapture shared_purges` measures how soon a purge is in force.

use std::ffi::OsString;
use std::time::Duration;

use tokio::time;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tradewind::sidecar::clock::timer_now;
use tradewind::sidecar::wire::proto::purge_selector::Of;
use tradewind::sidecar::wire::proto::purge_service_client::PurgeServiceClient;
use tradewind::sidecar::wire::proto::{
    PurgeSelector, SubmitPurgeRequest, SubmitPurgeResponse, WatchPurgesRequest,
};
use tradewind::sidecar::wire::purge::duration;

use crate::bus::Bus;
use crate::client::{Client, request};
use crate::server::{Files, PATIENCE, Server, Setup};

/// A sidecar of a fleet, who asks it, and who purges there.
pub(crate) struct Member {
    name: &'static str,
    files: Files,
    pub(crate) server: Server,
    client: Client,
    admin: PurgeServiceClient<Channel>,
}

pub(crate) fn purge(path: &str) -> SubmitPurgeRequest {
    SubmitPurgeRequest {
        selectors: vec![PurgeSelector {
            of: Some(Of::Url(format!("https://video.example.com{path}"))),
            exact_query: false,
        }],
        ..SubmitPurgeRequest::default()
    }
}

impl Member {
    async fn start(name: &'static str, bus: &Bus) -> Self {
        Self::of(name, Files::new(), &bus.url()).await
    }

    async fn of(name: &'static str, files: Files, bus: &str) -> Self {
        let setup = files.setup().with("bus", bus).with("member", name);
        Self::begin(name, files, setup).await
    }

    /// Starts one that is set up for a bus, and waits until it is there.
    pub(crate) async fn begin(name: &'static str, files: Files, setup: Setup) -> Self {
        let server = setup.with("fleet", OsString::from("tests")).start().await;
        server.until_said("the bus of the fleet is reached").await;
        Self {
            client: server.client().await,
            admin: connect(&server).await,
            name,
            files,
            server,
        }
    }

    /// Ends at once and begins again.
    async fn restart(self, bus: &Bus) -> Self {
        self.server.kill();
        Self::of(self.name, self.files, &bus.url()).await
    }

    pub(crate) async fn try_purge(
        &mut self,
        asked: SubmitPurgeRequest,
    ) -> Result<SubmitPurgeResponse, Status> {
        self.admin
            .submit(asked)
            .await
            .map(tonic::Response::into_inner)
    }

    /// Purges, as soon as the bus takes it.
    pub(crate) async fn purge(&mut self, path: &str) -> u64 {
        let give_up = timer_now() + PATIENCE;
        loop {
            match self.try_purge(purge(path)).await {
                Ok(purged) => return purged.sequence,
                Err(status) => {
                    assert_eq!(status.code(), Code::Unavailable, "{status}");
                    assert!(
                        timer_now() < give_up,
                        "{}: {status}\n{}",
                        self.name,
                        self.server.log()
                    );
                    time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    pub(crate) async fn version(&mut self, path: &str) -> u64 {
        self.client.decide(request(path)).await.version
    }

    /// Waits until a path has this version at least.
    pub(crate) async fn until(&mut self, path: &str, least: u64) -> u64 {
        let give_up = timer_now() + PATIENCE;
        loop {
            let version = self.version(path).await;
            if version >= least {
                return version;
            }
            let name = self.name;
            assert!(
                timer_now() < give_up,
                "{name}: {path} has {version}, not {least}\n{}",
                self.server.log()
            );
            time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn connect(server: &Server) -> PurgeServiceClient<Channel> {
    let at = format!("http://{}", server.admin);
    PurgeServiceClient::connect(at).await.unwrap()
}

/// A purge is in force where it was made when it is answered, and at the others a moment later; whoever purges next, wherever,
/// comes behind it.
#[tokio::test]
async fn a_purge_at_one_sidecar_is_in_force_at_all() {
    let Some(bus) = Bus::start("a_purge_at_one_sidecar_is_in_force_at_all") else {
        return;
    };
    let mut a = Member::start("a", &bus).await;
    let mut b = Member::start("b", &bus).await;
    let mut c = Member::start("c", &bus).await;
    let first = a.purge("/x").await;
    assert_eq!(a.version("/x").await, first);
    assert_eq!(b.until("/x", first).await, first);
    assert_eq!(c.until("/x", first).await, first);
    let second = c.purge("/x").await;
    assert!(second > first, "{second} after {first}");
    assert_eq!(a.until("/x", second).await, second);
    assert_eq!(b.until("/x", second).await, second);

    let named = |id: &str| SubmitPurgeRequest {
        id: id.to_owned(),
        ..purge("/named")
    };
    let one = a.try_purge(named("deploy-7")).await.unwrap();
    b.until("/named", one.sequence).await;
    let other = b.try_purge(named("deploy-7")).await.unwrap();
    assert_eq!(
        (other.sequence, other.repeated),
        (one.sequence, true),
        "an id is one purge wherever it is asked for"
    );
}

/// Whoever asks a sidecar that has just begun, and kept nothing, is answered by all that its fleet had purged.
#[tokio::test]
async fn a_new_member_answers_by_what_was_purged_before_it_came() {
    let Some(bus) = Bus::start("a_new_member_answers_by_what_was_purged_before_it_came") else {
        return;
    };
    let mut a = Member::start("a", &bus).await;
    for number in 0..50 {
        a.purge(&format!("/{number}")).await;
    }
    let last = a.purge("/x").await;
    let mut b = Member::start("b", &bus).await;
    assert_eq!(b.version("/x").await, last);
}

/// All purge at once; all of it comes into force everywhere, in one order.
#[tokio::test]
async fn who_purges_at_once_overtakes_nobody_for_good() {
    let Some(bus) = Bus::start("who_purges_at_once_overtakes_nobody_for_good") else {
        return;
    };
    let mut members = Vec::new();
    for name in ["a", "b", "c"] {
        members.push(Member::start(name, &bus).await);
    }
    let mut tasks = Vec::new();
    for member in &members {
        for number in 0..4 {
            let mut admin = member.admin.clone();
            tasks.push(tokio::spawn(async move {
                for turn in 0..25 {
                    let path = format!("/{number}/{turn}");
                    admin.submit(purge(&path)).await.unwrap();
                }
            }));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    let last = members[0].purge("/end").await;
    let mut orders = Vec::new();
    for member in &mut members {
        member.until("/end", last).await;
        let asked = WatchPurgesRequest {
            from_sequence: 1,
            ..WatchPurgesRequest::default()
        };
        let mut told = member.admin.watch(asked).await.unwrap().into_inner();
        let mut order = Vec::new();
        while order.last().is_none_or(|(sequence, _)| *sequence < last) {
            let purged = told.message().await.unwrap().unwrap();
            order.push((purged.sequence, purged.place));
        }
        assert_eq!(order.len(), 301);
        assert!(
            order.is_sorted_by(|one, next| one < next && one.1 + 1 == next.1),
            "{order:?}"
        );
        orders.push(order);
    }
    assert_eq!(orders[0], orders[1]);
    assert_eq!(orders[0], orders[2]);
}

/// While the bus is away everybody goes on to decide, and nobody is told that something is purged; when it is back, so is
/// everything, and who was down meanwhile hears what it missed.
#[tokio::test]
async fn while_the_bus_is_away_purges_are_refused_and_decisions_go_on() {
    let Some(mut bus) = Bus::start("while_the_bus_is_away_purges_are_refused_and_decisions_go_on")
    else {
        return;
    };
    let mut a = Member::start("a", &bus).await;
    let b = Member::start("b", &bus).await;
    let first = a.purge("/x").await;
    b.server.kill();
    bus.kill();
    a.server.until_said("is not to be used").await;
    let refused = a.try_purge(purge("/x")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(
        refused.message().contains("the bus of the fleet"),
        "{refused}"
    );
    assert_eq!(a.version("/x").await, first);
    bus.begin();
    let second = a.purge("/x").await;
    assert!(second > first);
    let mut b = Member::of("b", b.files, &bus.url()).await;
    assert_eq!(b.until("/x", second).await, second);
}

/// The bus comes back as it was before the last purges, which were answered and are in force; and once more with nothing at all.
/// All that was purged is purged everywhere, at one who comes later too, and no version falls.
/// A sidecar that cannot hear of purges said nothing of that, and caches served what had been purged elsewhere.
#[tokio::test]
async fn who_does_not_hear_the_bus_says_that_freshness_is_unknown() {
    let Some(mut bus) = Bus::start("while the bus is away freshness is unknown") else {
        return;
    };
    let mut a = Member::start("a", &bus).await;
    let is_unknown = |notes: &[String]| notes.iter().any(|note| note == "freshness_unknown");
    let told = async |member: &mut Member, unknown: bool| {
        let give_up = timer_now() + PATIENCE;
        loop {
            let notes = member.client.decide(request("/a")).await.notes;
            if is_unknown(&notes) == unknown {
                break;
            }
            let log = member.server.log();
            assert!(timer_now() < give_up, "{notes:?}, not {unknown}\n{log}");
            time::sleep(Duration::from_millis(20)).await;
        }
        let asked = "/v1/route?host=video.example.com&path=/a";
        let page = crate::page::get(member.server.http.unwrap(), asked);
        let header = page.head.contains("x-tradewind-freshness: unknown");
        assert_eq!(header, unknown, "{}", page.head);
        let metric = "tradewind_fleet_purges_unknown";
        assert_eq!(member.server.count(metric), i64::from(unknown));
    };
    told(&mut a, false).await;
    bus.kill();
    told(&mut a, true).await;
    bus.begin();
    told(&mut a, false).await;
    // Nor does one that begins while the bus is away.
    bus.kill();
    a.server.kill();
    let setup = a.files.setup().with("bus", bus.url()).with("member", "a");
    a.server = setup.with("fleet", OsString::from("tests")).start().await;
    a.client = a.server.client().await;
    told(&mut a, true).await;
    bus.begin();
    told(&mut a, false).await;
}

#[tokio::test]
async fn what_the_bus_lost_is_said_again() {
    let Some(mut bus) = Bus::start("what_the_bus_lost_is_said_again") else {
        return;
    };
    let mut a = Member::start("a", &bus).await;
    let mut b = Member::start("b", &bus).await;
    a.purge("/old").await;
    bus.kill();
    let copy = bus.copy();
    bus.begin();
    let lost = a.purge("/lost").await;
    assert_eq!(b.until("/lost", lost).await, lost);

    bus.kill();
    bus.put_back(Some(&copy));
    bus.begin();
    let again = b.until("/lost", lost + 1).await;
    assert_eq!(
        a.until("/lost", again).await,
        again,
        "it is said once, whoever says it"
    );
    let mut c = Member::start("c", &bus).await;
    assert_eq!(c.until("/lost", again).await, again);
    let next = c.purge("/lost").await;
    assert!(next > again);
    assert_eq!(a.until("/lost", next).await, next);

    bus.kill();
    bus.put_back(None);
    bus.begin();
    let once_more = a.until("/lost", next + 1).await;
    let mut d = Member::start("d", &bus).await;
    d.until("/old", 1).await;
    assert_eq!(d.until("/lost", once_more).await, once_more);
    let b = b.restart(&bus).await;
    let newest = { b }.purge("/lost").await;
    assert!(newest > once_more);
    assert_eq!(d.until("/lost", newest).await, newest);
}

/// A sidecar that purged alone before it joined has larger versions than its fleet knows; what the fleet purges must rise above
/// them all the same.
#[tokio::test]
async fn who_was_alone_before_rises_with_the_fleet() {
    let Some(bus) = Bus::start("who_was_alone_before_rises_with_the_fleet") else {
        return;
    };
    let mut a = Member::start("a", &bus).await;
    let files = Files::new();
    let alone = files.setup().start().await;
    let mut admin = connect(&alone).await;
    let own = admin.submit(purge("/x")).await.unwrap().into_inner();
    alone.kill();
    let mut b = Member::of("b", files, &bus.url()).await;
    assert_eq!(b.version("/x").await, own.sequence);
    let shared = a.purge("/x").await;
    assert!(b.until("/x", own.sequence + 1).await >= shared);
    let paced = SubmitPurgeRequest {
        over: Some(duration(60_000)),
        ..purge("/slow")
    };
    let paced = b.try_purge(paced).await.unwrap();
    assert!(paced.kept && paced.sequence > shared);
}

/// How soon a purge is in force at all three: from the call until each answers with its version.
#[tokio::test]
#[ignore = "a measurement, 20 s"]
async fn shared_purges_are_in_force_within_milliseconds() {
    let Some(bus) = Bus::start("shared_purges_are_in_force_within_milliseconds") else {
        return;
    };
    let mut members = Vec::new();
    for name in ["a", "b", "c"] {
        members.push(Member::start(name, &bus).await);
    }
    let (mut answered, mut everywhere) = (Vec::new(), Vec::new());
    for turn in 0..1_000 {
        let path = format!("/{turn}");
        let began = timer_now();
        let sequence = members[turn % 3].purge(&path).await;
        answered.push(began.elapsed());
        for member in &mut members {
            while member.version(&path).await < sequence {}
        }
        everywhere.push(began.elapsed());
    }
    for (name, mut times) in [
        ("answered", answered),
        ("in force at all three", everywhere),
    ] {
        times.sort_unstable();
        println!(
            "{name}: p50 {:?}, p99 {:?}, max {:?}",
            times[500], times[990], times[999]
        );
    }
}

/// A million objects purged at one of three, single ones at another meanwhile; then one comes that has kept nothing.
#[tokio::test]
#[ignore = "a measurement, a minute"]
async fn shared_purges_of_a_million_urls() {
    const URLS: usize = 1_000_000;
    let Some(bus) = Bus::start("shared_purges_of_a_million_urls") else {
        return;
    };
    let mut a = Member::start("a", &bus).await;
    let mut b = Member::start("b", &bus).await;
    let mut c = Member::start("c", &bus).await;
    let urls: Vec<String> = (0..URLS)
        .map(|at| format!("https://video.example.com/o/{at}\n"))
        .collect();
    a.files.write("urls", urls.concat());
    let began = timer_now();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tradewind"));
    command.arg("purge").arg("--from").arg(a.files.path("urls"));
    command.args(["--why", "tests", "--server", &a.server.admin.to_string()]);
    let mut running = command.spawn().unwrap();
    let mut singles = Vec::new();
    let status = loop {
        if let Some(status) = running.try_wait().unwrap() {
            break status;
        }
        let one = timer_now();
        b.purge(&format!("/single/{}", singles.len())).await;
        singles.push(one.elapsed());
        time::sleep(Duration::from_millis(50)).await;
    };
    assert!(status.success());
    let told = began.elapsed();
    let last = format!("/o/{}", URLS - 1);
    let version = a.version(&last).await;
    for member in [&mut b, &mut c] {
        member.until(&last, version).await;
    }
    let everywhere = began.elapsed();
    singles.sort_unstable();
    println!(
        "{URLS} URLs: told after {told:?}, in force at three after {everywhere:?}; {} single ones meanwhile: p50 {:?}, max {:?}",
        singles.len(),
        singles[singles.len() / 2],
        singles[singles.len() - 1],
    );
    let began = timer_now();
    let mut fresh = Member::start("fresh", &bus).await;
    let opened = began.elapsed();
    fresh.until(&last, version).await;
    println!(
        "one that begins with nothing: its doors are open after {opened:?}, all is in force after {:?}",
        began.elapsed()
    );
}
