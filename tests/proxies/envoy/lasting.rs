//! The engine inside an Envoy that goes on for long: listeners made anew, Envoys that take over from each other, a sidecar that hangs.
//! No request is lost that Envoy alone would not have lost.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tradewind::sidecar::clock;

use super::module::{configured, is_as_the_sidecar_says, start, until_it_decides};
use super::traffic;
use super::{ADMIN, Envoy, LISTENER, TELL_THE_LIST, stat, with_arguments};
use crate::http2::Http2;
use crate::process::Process;
use crate::rig::{Asker, Rig, Setup, addresses, is_open};
use crate::tools::{Tool, note};
use crate::visits::{HOST, client, get};

#[test]
fn an_envoy_that_decides_is_asked_over_http2() {
    let test = "an_envoy_that_decides_is_asked_over_http2";
    let Some(envoy) = start(test, &[], Setup::default()) else {
        return;
    };
    let mut grpc = Asker::of(&envoy.rig.sidecar);
    let mut proxy = Http2::tcp(envoy.address);
    for number in 0..100 {
        let (path, asker) = (format!("/object/{number}"), client(number));
        let headers = [
            ("x-forwarded-for", &*asker),
            ("x-gateway-destination-endpoint", "127.0.0.1:1"),
        ];
        let body = vec![b'a'; number * 1_000];
        let answer = proxy.ask(("GET", HOST, &path), &headers, &body).unwrap();
        let wanted = addresses(&grpc.decide((HOST, &path), &asker)).join(",");
        let seen = (answer.status, answer.header("x-listed"));
        assert_eq!(seen, (200, Some(&*wanted)), "{path}");
    }
    let refused = proxy.ask(("GET", HOST, "/internal/a"), &[], b"").unwrap();
    assert_eq!(refused.status, 403);
    assert_eq!(refused.header("x-route-reason"), Some("refused_by_rule"));
}

/// Parts the example's configuration: Envoy watches the file of its listener. Gives the text of that.
fn with_watched_listener(config: &Path) -> String {
    let text = std::fs::read_to_string(config).unwrap();
    let (head, rest) = text.split_once("  listeners:\n  - name: edge\n").unwrap();
    let (listener, clusters) = rest.split_once("  clusters:\n").unwrap();
    let file = config.with_file_name("listener.yaml");
    let dynamic = format!(
        "dynamic_resources:\n  lds_config:\n    path_config_source: {{ path: {} }}\n",
        file.display()
    );
    let own = format!("{dynamic}{head}  clusters:\n{clusters}");
    std::fs::write(config, own).unwrap();
    // One level less deep.
    let listener = listener
        .lines()
        .map(|line| line.strip_prefix("  ").unwrap_or(line));
    let listener: Vec<&str> = listener.collect();
    let text = format!(
        "resources:\n- \"@type\": type.googleapis.com/envoy.config.listener.v3.Listener\n  name: edge\n{}\n",
        listener.join("\n")
    );
    std::fs::write(file, &text).unwrap();
    text
}

/// Listeners made anew so many times under load, each with a filter of its own: what became of the requests.
fn made_anew(test: &str, times: u64) {
    let Some(program) = Tool::Envoy.path(test) else {
        return;
    };
    let mut rig = Rig::start_with(Setup::quick());
    let config = configured(&mut rig, &[TELL_THE_LIST]);
    let listener = with_watched_listener(&config);
    let file = config.with_file_name("listener.yaml");
    let [address, admin] = [LISTENER, ADMIN].map(|port| rig.places.address(port));
    let mut command = Command::new(program);
    // Connections are told at once to end with their next answer, and have two seconds for that.
    command.args(["--disable-hot-restart", "--drain-time-s", "2"]);
    command.args(["--drain-strategy", "immediate"]);
    with_arguments(&mut command, &config);
    let mut process = Process::start(command, config.with_file_name("envoy.log"));
    process.until("Envoy listens", || is_open(address) && is_open(admin));
    let mut envoy = Envoy {
        rig,
        process,
        address,
        admin,
    };
    until_it_decides(&mut envoy);
    let (load, ()) = traffic::under_load(address, 4, || {
        for round in 1..=times {
            let edited =
                listener.replace("stat_prefix: edge", &format!("stat_prefix: edge{round}"));
            let beside = file.with_extension("new");
            std::fs::write(&beside, edited).unwrap();
            std::fs::rename(beside, &file).unwrap();
            let served = format!("http.edge{round}.downstream_rq_total");
            envoy
                .process
                .until("the new listener serves", || stat(admin, &served) >= 20);
        }
    });
    note(&format!("envoy: {times} listeners made anew: {load:?}"));
    assert_eq!((load.lost, load.routed), (0, load.requests), "{load:?}");
    assert_eq!(envoy.stat("tradewind.panics"), 0);
    let followers = envoy.rig.sidecar.metric("tradewind_followers");
    assert!((0.5..1.5).contains(&followers), "{followers} followers");
    is_as_the_sidecar_says(&envoy, &traffic::made_up(30));
}

#[test]
fn listeners_made_anew_under_load_lose_nothing() {
    made_anew("listeners_made_anew_under_load_lose_nothing", 8);
}

#[test]
#[ignore = "half a minute: docs/testing.md"]
fn a_hundred_listeners_made_anew_lose_nothing() {
    made_anew("a_hundred_listeners_made_anew_lose_nothing", 100);
}

/// An Envoy takes over from another, which drains (hot restart), while the sidecar is killed and starts again.
#[test]
#[ignore = "half a minute: docs/testing.md"]
fn an_envoy_takes_over_from_another() {
    let test = "an_envoy_takes_over_from_another";
    let Some(program) = Tool::Envoy.path(test) else {
        return;
    };
    let mut rig = Rig::start_with(Setup::quick());
    let config = configured(&mut rig, &[TELL_THE_LIST]);
    let [address, admin] = [LISTENER, ADMIN].map(|port| rig.places.address(port));
    let base = (address.port() % 30_000).to_string();
    let begin = |epoch: usize| {
        let mut command = Command::new(&program);
        command.args(["--base-id", &base, "--restart-epoch", &epoch.to_string()]);
        command.args(["--drain-time-s", "2", "--parent-shutdown-time-s", "4"]);
        with_arguments(&mut command, &config);
        Process::start(command, config.with_file_name(format!("envoy{epoch}.log")))
    };
    let mut process = begin(0);
    process.until("Envoy listens", || is_open(address) && is_open(admin));
    let mut envoy = Envoy {
        rig,
        process,
        address,
        admin,
    };
    until_it_decides(&mut envoy);
    let (load, ()) = traffic::under_load(address, 4, || {
        for epoch in 1..=3 {
            let mut before = std::mem::replace(&mut envoy.process, begin(epoch));
            if epoch == 2 {
                envoy.rig.sidecar.restart();
            }
            let status = before.until_it_ends();
            assert!(status.success(), "{status}: {}", before.log());
        }
    });
    note(&format!("envoy: three took over: {load:?}"));
    // Before its first copy one balances as Envoy does: those are answered, and not by a list.
    assert_eq!(load.lost, 0, "{load:?}");
    assert!(load.routed * 10 > load.requests * 9, "{load:?}");
    is_as_the_sidecar_says(&envoy, &traffic::made_up(30));
}

/// The sidecar is stopped for ten seconds (SIGSTOP): it takes connections, and says nothing.
#[test]
#[ignore = "a quarter of a minute: docs/testing.md"]
fn a_sidecar_that_hangs_keeps_no_envoy_that_decides_waiting() {
    let test = "a_sidecar_that_hangs_keeps_no_envoy_that_decides_waiting";
    let Some(mut envoy) = start(test, &[], Setup::quick()) else {
        return;
    };
    let (address, admin) = (envoy.address, envoy.admin);
    let (load, ()) = traffic::under_load(address, 4, || {
        envoy.rig.sidecar.freeze();
        let frozen = clock::now();
        envoy.process.until("ten seconds have passed", || {
            frozen.elapsed() >= Duration::from_secs(10)
        });
        assert!(stat(admin, "tradewind.purges_age_seconds") >= 8);
        envoy.rig.sidecar.thaw();
        envoy.process.until("the sidecar is heard", || {
            stat(admin, "tradewind.purges_age_seconds") <= 1
        });
    });
    note(&format!("envoy: beside a sidecar that hangs: {load:?}"));
    assert_eq!((load.lost, load.routed), (0, load.requests), "{load:?}");
    assert!(stat(admin, "tradewind.freshness_unknown") > 0);
    let mut proxy = envoy.connect();
    let answer = get(&mut proxy, "/object/0", &client(0));
    assert_eq!(answer.status, 200);
    is_as_the_sidecar_says(&envoy, &traffic::made_up(30));
}
