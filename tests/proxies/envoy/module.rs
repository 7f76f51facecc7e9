//! The engine inside Envoy: the configuration of `examples/envoy-module`, with the module as cargo built it for the tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use tradewind::sidecar::clock;
use tradewind_demo::nodes::Behaviour;

use super::failures::{impatient, is_left_within_five};
use super::order::real;
use super::strangers::lets_no_client_choose;
use super::traffic::{self, Visit};
use super::{Envoy, TELL_THE_LIST, envoy};
use crate::places::example;
use crate::rig::{Asker, Rig, Setup, addresses, edit};
use crate::tools::{Tool, note};
use crate::visits::{HOST, client, get};

/// Where cargo puts libraries that tests stand on, and so the module: beside this program.
pub(crate) fn folder() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().unwrap().to_owned()
}

/// The example's configuration in a rig, edited.
pub(super) fn configured(rig: &mut Rig, edits: &[(&str, &str)]) -> PathBuf {
    let config = rig
        .copy(&["envoy-module/envoy.yaml"], "envoy")
        .join("envoy.yaml");
    edit(&config, edits);
    config
}

/// Starts everything, and waits until Envoy decides.
#[track_caller]
pub(super) fn start(test: &str, edits: &[(&str, &str)], setup: Setup) -> Option<Envoy> {
    let program = Tool::Envoy.path(test)?;
    Some(start_of(&program, edits, setup))
}

fn start_of(program: &Path, edits: &[(&str, &str)], setup: Setup) -> Envoy {
    let mut rig = Rig::start_with(setup);
    let config = configured(&mut rig, edits);
    edit(&config, &[TELL_THE_LIST]);
    let mut envoy = Envoy::start_before(program, rig, &config);
    until_it_decides(&mut envoy);
    envoy
}

pub(super) fn until_it_decides(envoy: &mut Envoy) {
    let mut proxy = envoy.connect();
    envoy.process.until("Envoy decides", || {
        let reply = get(&mut proxy, "/object/0", &client(0));
        reply.header("x-listed").is_some_and(|listed| listed != "-")
    });
}

/// Compares what Envoy is told with what the sidecar says to anybody else.
pub(super) fn is_as_the_sidecar_says(envoy: &Envoy, visits: &[Visit]) {
    let mut grpc = Asker::of(&envoy.rig.sidecar);
    let mut proxy = envoy.connect();
    for wanted in visits {
        let seen = traffic::visit(envoy, &mut proxy, wanted);
        let decision = grpc.decide((HOST, &wanted.target), &wanted.client);
        assert_eq!(addresses(&decision), seen.listed, "{wanted:?}");
        assert_eq!(Some(&seen.node), seen.listed.first(), "{seen:?}");
    }
}

#[test]
fn envoy_decides_as_the_sidecar_does_and_tells_it_of_every_attempt() {
    let test = "envoy_decides_as_the_sidecar_does_and_tells_it_of_every_attempt";
    let Some(mut envoy) = start(test, &[], Setup::default()) else {
        return;
    };
    is_as_the_sidecar_says(&envoy, &traffic::made_up(300));
    let sample = "tradewind_outcomes_total{result=\"ok\"}";
    let sidecar = &mut envoy.rig.sidecar;
    sidecar.until("every outcome has come", |pages| {
        pages.metric(sample) >= 300.0
    });
    let unknown = "tradewind_reports_refused_total{kind=\"outcome\",reason=\"unknown_node\"}";
    assert!(sidecar.metric(unknown) < 0.5);
    let answered = sidecar.metric("tradewind_decisions_total");
    assert!(answered < 0.5, "{answered} were asked for through Envoy");
    // Once a second a request shows what was counted.
    let (admin, mut proxy) = (envoy.admin, envoy.connect());
    envoy.process.until("Envoy has counted them", || {
        get(&mut proxy, "/object/0", &client(0));
        super::stat(admin, "tradewind.decided") >= 300
    });
    assert!(envoy.stat("tradewind.revision") >= 1);
    assert_eq!(envoy.stat("tradewind.panics"), 0);
    assert_eq!(envoy.stat("tradewind.outcomes_dropped"), 0);
}

#[test]
fn envoy_that_decides_walks_its_list_and_lets_nobody_choose() {
    let test = "envoy_that_decides_walks_its_list_and_lets_nobody_choose";
    // The sidecar does not learn of it, so the failing nodes stay named.
    let edits = [(
        "value: { sidecar: 127.0.0.1:",
        "value: { sidecar: localhost:",
    )];
    let Some(envoy) = start(test, &edits, Setup::default()) else {
        return;
    };
    lets_no_client_choose(&envoy);
    let refused = get(&mut envoy.connect(), "/internal/a", &client(0));
    assert_eq!(
        (refused.status, refused.header("x-route-reason")),
        (403, Some("refused_by_rule"))
    );
    let unreadable = get(&mut envoy.connect(), "/a%00", &client(0));
    assert_eq!(unreadable.status, 400, "{unreadable:?}");
    let visit = &traffic::made_up(1)[0];
    traffic::walk_the_list(&envoy, visit, Behaviour::Refuse);
}

#[test]
fn envoy_that_decides_leaves_a_node_that_fails() {
    let test = "envoy_that_decides_leaves_a_node_that_fails";
    for (behaviour, result) in [
        (Behaviour::Refuse, "error"),
        (Behaviour::Error, "error"),
        (Behaviour::Hang, "timeout"),
    ] {
        let Some(mut envoy) = start(test, &[], impatient()) else {
            return;
        };
        is_left_within_five(&mut envoy, behaviour, result);
    }
}

/// The sidecar was asked for none of these decisions, and its control loop knows of them all the same.
#[test]
fn an_object_that_envoy_decides_often_is_found_hot_and_spread() {
    let test = "an_object_that_envoy_decides_often_is_found_hot_and_spread";
    let setup = Setup {
        policy: vec![("      spread: { max_copies: 1 }\n", "")],
        ..Setup::quick()
    };
    let Some(envoy) = start(test, &[], setup) else {
        return;
    };
    let mut proxy = envoy.connect();
    let Envoy { mut rig, .. } = envoy;
    let began = clock::now();
    let mut nodes = BTreeSet::new();
    rig.sidecar.until("the object is hot", |pages| {
        for number in 0..40 {
            get(&mut proxy, "/hot", &client(0));
            get(&mut proxy, &format!("/object/{number}"), &client(0));
        }
        let page = pages.page("/metrics").text();
        let mut hot = page.lines().filter_map(|line| {
            let (_, value) = line.strip_prefix("tradewind_hot_keys{")?.rsplit_once(' ')?;
            value.parse::<f64>().ok()
        });
        hot.any(|count| count > 0.5)
    });
    note(&format!(
        "envoy: the object was hot after {:.1?}",
        began.elapsed()
    ));
    rig.sidecar.until("several nodes carry it", |_| {
        let reply = get(&mut proxy, "/hot", &client(nodes.len() * 3));
        nodes.extend(reply.header("x-node").map(str::to_owned));
        nodes.len() > 1
    });
}

#[test]
fn envoy_without_a_sidecar_balances_or_refuses_as_it_was_told() {
    let test = "envoy_without_a_sidecar_balances_or_refuses_as_it_was_told";
    let Some(program) = Tool::Envoy.path(test) else {
        return;
    };
    for (is_refused, edits) in [
        (false, &[][..]),
        (
            true,
            &[("without_copy: balance", "without_copy: refuse")][..],
        ),
    ] {
        let mut rig = Rig::start_with(Setup::default());
        rig.sidecar.kill();
        let config = configured(&mut rig, edits);
        edit(&config, &[TELL_THE_LIST]);
        let mut envoy = Envoy::start_before(&program, rig, &config);
        let mut proxy = envoy.connect();
        for number in 0..20 {
            let chosen = envoy.rig.nodes.counts()[0].address.to_string();
            let headers = [("Host", HOST), ("x-gateway-destination-endpoint", &*chosen)];
            let reply = proxy.get(&format!("/object/{number}"), &headers).unwrap();
            if is_refused {
                let seen = (reply.status, reply.header("x-route-reason"));
                assert_eq!(seen, (503, Some("no_copy")));
            } else {
                let listed = reply.header("x-listed").filter(|listed| *listed != "-");
                assert_eq!((reply.status, listed), (200, None), "a client has chosen");
            }
        }
        envoy.rig.sidecar.restart();
        until_it_decides(&mut envoy);
        is_as_the_sidecar_says(&envoy, &traffic::made_up(30));
    }
}

#[test]
fn envoy_goes_on_without_its_sidecar_and_begins_anew_with_the_last_good_copy() {
    let test = "envoy_goes_on_without_its_sidecar_and_begins_anew_with_the_last_good_copy";
    let Some(program) = Tool::Envoy.path(test) else {
        return;
    };
    let kept = tempfile::tempdir().unwrap();
    let folder = format!(
        "without_copy: refuse\n                  last_good: {}",
        kept.path().display()
    );
    let edits = [("without_copy: balance", &*folder)];
    let mut envoy = start_of(&program, &edits, Setup::default());
    let visits = traffic::made_up(60);
    is_as_the_sidecar_says(&envoy, &visits);
    let file = kept.path().join("last-good-copy");
    envoy.process.until("the copy is kept", || file.exists());
    let lists = |envoy: &Envoy| -> Vec<Vec<String>> {
        let mut proxy = envoy.connect();
        let seen = visits
            .iter()
            .map(|one| traffic::visit(envoy, &mut proxy, one));
        seen.map(|seen| {
            assert_eq!(seen.status, 200, "{seen:?}");
            seen.listed
        })
        .collect()
    };
    let wanted = lists(&envoy);
    let address = envoy.address;
    let (load, ()) = traffic::under_load(address, 4, || envoy.rig.sidecar.kill());
    assert_eq!((load.lost, load.routed), (0, load.requests), "{load:?}");
    assert_eq!(lists(&envoy), wanted);

    // Envoy is started again, and no sidecar is there.
    let Envoy {
        rig, mut process, ..
    } = envoy;
    process.kill();
    let config = rig.file("envoy").join("envoy.yaml");
    let mut envoy = Envoy::start_before(&program, rig, &config);
    until_it_decides(&mut envoy);
    assert_eq!(lists(&envoy), wanted);
    let refused = get(&mut envoy.connect(), "/internal/a", &client(0));
    assert_eq!(refused.status, 403);
}

#[test]
fn envoy_refuses_a_configuration_with_all_that_is_wrong() {
    let test = "envoy_refuses_a_configuration_with_all_that_is_wrong";
    let Some(program) = Tool::Envoy.path(test) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("envoy.yaml");
    std::fs::copy(example("envoy-module/envoy.yaml"), &config).unwrap();
    edit(
        &config,
        &[
            ("sidecar: 127.0.0.1:7070\n", "sidecar: here\n"),
            ("without_copy: balance", "without_cope: balance"),
            ("filter_name: route", "filter_name: rout"),
        ],
    );
    let ran = envoy(&program, &config)
        .args(["--mode", "validate"])
        .output();
    let ran = ran.unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success(), "{said}");
    for part in [
        "filter_name is `rout`, must be `route`",
        "filter_config.sidecar is `here`, must be HOST:PORT or unix:PATH",
        "filter_config.without_cope is not known; there are client_header, sidecar, without_copy,",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

/// How many of the clients' lists are as the sidecar says, each time that the whole log has gone through Envoy: in the first
/// pass most networks are not known yet.
#[test]
#[ignore = "a minute: docs/testing.md"]
fn a_real_log_is_decided_inside_envoy_as_by_the_sidecar() {
    let test = "a_real_log_is_decided_inside_envoy_as_by_the_sidecar";
    let (Some(visits), Some(setup)) = (traffic::access_log(test), real(test)) else {
        return;
    };
    let Some(envoy) = start(test, &[], setup) else {
        return;
    };
    let mut grpc = Asker::of(&envoy.rig.sidecar);
    let mut agree = |pass: usize| {
        let seen = traffic::all(&envoy, &visits, 8);
        let lost = seen.iter().filter(|one| one.status >= 500).count();
        assert_eq!(lost, 0);
        let compared = seen.iter().step_by(5);
        let same = compared.filter(|one| {
            let decision = grpc.decide((HOST, &one.visit.target), &one.visit.client);
            addresses(&decision) == one.listed
        });
        let same = same.count();
        note(&format!(
            "envoy: pass {pass}: {same} of 2000 lists as the sidecar says"
        ));
        same
    };
    let best = (1..=5).map(&mut agree).max();
    assert!(best >= Some(1_980), "{best:?} of 2000");
}

/// Other versions of Envoy, which this file must do for as well: `TRADEWIND_ENVOYS` has their programs, with colons between.
/// docs/testing.md has how they are got.
#[test]
#[ignore = "needs Envoys of other versions: docs/testing.md"]
fn other_envoys_decide_as_well() {
    #[expect(
        clippy::disallowed_methods,
        reason = "which programs to try is given from outside"
    )]
    let programs = std::env::var("TRADEWIND_ENVOYS").expect("TRADEWIND_ENVOYS has programs");
    for program in programs.split(':') {
        let version = Command::new(program).arg("--version").output().unwrap();
        let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
        let mut envoy = start_of(Path::new(program), &[], impatient());
        assert!(
            !envoy.process.log().contains("ABI"),
            "{}",
            envoy.process.log()
        );
        is_as_the_sidecar_says(&envoy, &traffic::made_up(100));
        let admin = envoy.admin;
        let mut proxy = envoy.connect();
        envoy.process.until("Envoy has counted them", || {
            get(&mut proxy, "/object/0", &client(0));
            super::stat(admin, "tradewind.decided") >= 100
        });
        lets_no_client_choose(&envoy);
        is_left_within_five(&mut envoy, Behaviour::Hang, "timeout");
        note(&format!("{version}: decides as the sidecar does"));
    }
}
