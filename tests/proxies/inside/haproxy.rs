//! HAProxy that decides, with the configuration of `examples/haproxy-module`: as a master and a worker, as services of systemd run
//! it, so that the process that serves is forked off.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tradewind::sidecar::clock;
use tradewind_demo::nodes::Behaviour;

use super::{
    by_header, children, is_decided_here, is_told_of_headers, put_library, standing, under_load,
};
use crate::front::{Front, Kind};
use crate::haproxy::no_client_chooses;
use crate::http::Connection;
use crate::process::Process;
use crate::rig::{Asker, Setup, addresses, edit};
use crate::told;
use crate::tools::{Tool, note};
use crate::visits::{HOST, client, follows, get};

const FILES: [&str; 2] = ["haproxy-module/haproxy.cfg", "haproxy-module/route.lua"];

/// Where the example has the page of operators.
const STANDING: u16 = 8093;

/// How often the configuration is read again while requests are under way.
const RELOADS: usize = 3;

fn haproxy(program: &Path, folder: &Path) -> Command {
    if !folder.join("libtradewind_c.so").exists() {
        put_library(folder);
    }
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .args(["-W", "-f", "haproxy.cfg"]);
    command
}

pub(super) const KIND: Kind = Kind {
    tool: Tool::Haproxy,
    files: &FILES,
    port: 8092,
    command: haproxy,
};

/// How long a master may take to begin another worker.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

#[track_caller]
fn start(test: &str, edits: &[(&str, &str)]) -> Option<Front> {
    let mut front = Front::start_with(&KIND, test, Setup::quick(), |_places, folder| {
        edit(&folder.join("route.lua"), edits);
    })?;
    // Its worker listens before the master takes signals.
    let log = front.rig.file("proxy").join("proxy.log");
    front.process.until("the master has begun", || {
        let said = std::fs::read_to_string(&log);
        said.is_ok_and(|said| said.contains("Loading success"))
    });
    Some(front)
}

#[test]
fn haproxy_that_decides_uses_the_nodes_that_the_sidecar_would_name() {
    let test = "haproxy_that_decides_uses_the_nodes_that_the_sidecar_would_name";
    let Some(mut haproxy) = start(test, &[]) else {
        return;
    };
    is_decided_here(&mut haproxy);
    let standing = standing(haproxy.rig.places.address(STANDING));
    assert_eq!(standing["panics"].as_u64(), Some(0), "{standing}");
    assert!(standing["revision"].as_u64() >= Some(1), "{standing}");
    no_client_chooses(&haproxy);
    let refused = haproxy.get("/%69nternal/a", &client(0));
    let seen = (refused.status, refused.header("x-route-reason"));
    assert_eq!(seen, (403, Some("refused_by_rule")));

    // Another server where the named one is not to be reached: HAProxy cannot walk a list.
    let decision = Asker::of(&haproxy.rig.sidecar).decide((HOST, "/object/3"), &client(0));
    haproxy
        .rig
        .behave(&addresses(&decision)[0], Behaviour::Refuse);
    let answer = haproxy.get("/object/3", &client(0));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_ne!(answer.header("x-node"), Some(&*decision.candidates[0].node));
}

#[test]
fn haproxy_that_decides_looks_at_headers() {
    let test = "haproxy_that_decides_looks_at_headers";
    let front = Front::start_with(&KIND, test, by_header(), |_places, _folder| {});
    if let Some(mut haproxy) = front {
        is_told_of_headers(&mut haproxy);
    }
}

#[test]
fn haproxy_that_decides_leaves_a_node_that_fails() {
    let test = "haproxy_that_decides_leaves_a_node_that_fails";
    for how in [(Behaviour::Refuse, "error"), (Behaviour::Hang, "timeout")] {
        let Some(mut front) = Front::start(&KIND, test) else {
            return;
        };
        front.tell();
        told::is_left(front, how, test);
    }
}

#[test]
fn haproxy_that_decides_tells_what_caches_did() {
    if let Some(front) = Front::start(&KIND, "haproxy_that_decides_tells_what_caches_did") {
        told::all_is_told(front);
    }
}

#[test]
fn haproxy_that_decides_loses_nothing_when_the_sidecar_or_it_is_replaced() {
    let test = "haproxy_that_decides_loses_nothing_when_the_sidecar_or_it_is_replaced";
    let Some(mut haproxy) = start(test, &[]) else {
        return;
    };
    let address = haproxy.address;
    follows(&mut haproxy.process, &haproxy.rig, address);
    let (asked, failed) = under_load(address, || {
        haproxy.rig.sidecar.kill();
        follows_its_copy(&haproxy);
        haproxy.rig.sidecar.restart();
        for _ in 0..RELOADS {
            reload(&mut haproxy.process);
        }
    });
    note(&format!(
        "haproxy: {failed} of {asked} requests failed in {RELOADS} reloads and a dead sidecar"
    ));
    assert!(failed == 0 && asked > 100, "{failed} of {asked}");
    follows(&mut haproxy.process, &haproxy.rig, address);
}

/// That rules hold while nobody is there to ask.
fn follows_its_copy(haproxy: &Front) {
    for number in 0..20 {
        let refused = haproxy.get("/internal/a", &client(number));
        assert_eq!(refused.status, 403, "{refused:?}");
    }
}

/// Has HAProxy read its configuration again, and waits until the worker before has gone.
fn reload(process: &mut Process) {
    let id = process.id();
    let before = children(id);
    assert!(process.signal("USR2"));
    let mut asked = clock::now();
    process.until("another worker serves alone", || {
        let now = children(id);
        // A master that had not come to its loop yet loses the signal.
        if now == before && asked.elapsed() > AGAIN_AFTER {
            let again = Command::new("sh")
                .args(["-c", "kill -s USR2 \"$0\""])
                .arg(id.to_string())
                .status();
            assert!(again.unwrap().success());
            asked = clock::now();
        }
        !now.is_empty() && now.is_disjoint(&before)
    });
}

#[test]
fn haproxy_without_a_sidecar_balances_or_refuses_as_it_was_told() {
    let test = "haproxy_without_a_sidecar_balances_or_refuses_as_it_was_told";
    let balance = "\"without_copy\": \"balance\"";
    for (is_refused, said) in [(false, balance), (true, "\"without_copy\": \"refuse\"")] {
        let Some(mut haproxy) = start(test, &[(balance, said)]) else {
            return;
        };
        haproxy.rig.sidecar.kill();
        // The worker that begins now has no copy.
        reload(&mut haproxy.process);
        let answer = haproxy.get("/internal/a", &client(0));
        let seen = (answer.status, answer.header("x-route-reason"));
        let wanted = if is_refused {
            (503, Some("no_copy"))
        } else {
            (200, None)
        };
        assert_eq!(seen, wanted, "{answer:?}");
        haproxy.rig.sidecar.restart();
        let address = haproxy.address;
        haproxy.process.until("it has a copy", || {
            let mut proxy = Connection::tcp(address).unwrap();
            get(&mut proxy, "/internal/a", &client(0)).status == 403
        });
    }
}

#[test]
fn haproxy_refuses_options_with_all_that_is_wrong() {
    let Some(program) = Tool::Haproxy.path("haproxy_refuses_options_with_all_that_is_wrong") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    crate::places::Places::default().copy(&FILES, folder.path());
    let check = || {
        let checked = haproxy(&program, folder.path()).arg("-c").output().unwrap();
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        (checked.status.success(), said)
    };
    let (is_taken, said) = check();
    assert!(is_taken && !said.contains("[WARNING]"), "{said}");
    let edits = [("\"candidates\": 3", "\"candidates\": 9, \"more\": 1")];
    edit(&folder.path().join("route.lua"), &edits);
    let (is_taken, said) = check();
    assert!(!is_taken, "{said}");
    for part in [
        "options.candidates is `9`, must be 0 to 8",
        "options.more is not known; there are sidecar, without_copy,",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
}
