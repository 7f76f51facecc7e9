//! nginx that decides, with the configuration of `examples/nginx-module`.

use std::path::Path;
use std::process::Command;

use tradewind_demo::nodes::Behaviour;

use super::{
    by_header, children, is_decided_here, is_told_of_headers, put_library, standing, under_load,
};
use crate::envoy::caches::Caches;
use crate::front::{Front, Kind};
use crate::http::Connection;
use crate::nginx::no_client_chooses;
use crate::process::Process;
use crate::rig::{Asker, Setup, addresses, edit};
use crate::told;
use crate::tools::{Tool, note};
use crate::visits::{HOST, client, follows, get};

const FILES: [&str; 2] = ["nginx-module/nginx.conf", "nginx-module/tradewind.lua"];

/// Where the example has the page of operators.
const STANDING: u16 = 8082;

/// How often the configuration is read again while requests are under way.
const RELOADS: usize = 10;

fn nginx(program: &Path, folder: &Path) -> Command {
    if !folder.join("libtradewind_c.so").exists() {
        put_library(folder);
    }
    let mut command = Command::new(program);
    command
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(folder.join("nginx.conf"));
    command
}

pub(super) const KIND: Kind = Kind {
    tool: Tool::NginxLua,
    files: &FILES,
    port: 8081,
    command: nginx,
};

#[track_caller]
fn start(test: &str, setup: Setup, edits: &[(&str, &str)]) -> Option<Front> {
    Front::start_with(&KIND, test, setup, |_places, folder| {
        edit(&folder.join("nginx.conf"), edits);
    })
}

#[test]
fn nginx_that_decides_uses_the_nodes_that_the_sidecar_would_name() {
    let test = "nginx_that_decides_uses_the_nodes_that_the_sidecar_would_name";
    let Some(mut nginx) = start(test, Setup::quick(), &[]) else {
        return;
    };
    is_decided_here(&mut nginx);
    let page = nginx.rig.places.address(STANDING);
    let standing = standing(page);
    assert_eq!(standing["panics"].as_u64(), Some(0), "{standing}");
    assert!(standing["revision"].as_u64() >= Some(1), "{standing}");
}

#[test]
fn nginx_that_decides_walks_its_list_and_lets_nobody_choose() {
    let test = "nginx_that_decides_walks_its_list_and_lets_nobody_choose";
    // Nobody is told, so the failing nodes stay named.
    let silent = [("log_by_lua_block { tradewind.told() }", "")];
    let Some(nginx) = start(test, Setup::default(), &silent) else {
        return;
    };
    no_client_chooses(&nginx);
    for (path, status, reason) in [
        ("/internal/a", 403, Some("refused_by_rule")),
        ("/%69nternal/a", 403, Some("refused_by_rule")),
        // By nginx itself.
        ("/object/%00", 400, None),
    ] {
        let refused = nginx.get(path, &client(0));
        let seen = (refused.status, refused.header("x-route-reason"));
        assert_eq!(seen, (status, reason), "{path}");
    }
    let mut grpc = Asker::of(&nginx.rig.sidecar);
    // That a node which hangs is left behind as well is seen where it is left for good.
    for (number, behaviour) in [Behaviour::Refuse, Behaviour::Error]
        .into_iter()
        .enumerate()
    {
        let path = format!("/object/{number}");
        let decision = grpc.decide((HOST, &path), &client(0));
        let order = addresses(&decision);
        assert_eq!(order.len(), 3);
        for (failing, address) in order.iter().enumerate() {
            let answer = nginx.get(&path, &client(0));
            let wanted = &decision.candidates[failing].node;
            assert_eq!(
                (answer.status, answer.header("x-node")),
                (200, Some(&**wanted)),
                "{behaviour} {failing}"
            );
            nginx.rig.behave(address, behaviour);
        }
        // All three fail: nginx does not go on to nodes of its own choice.
        let answer = nginx.get(&path, &client(0));
        assert!((502..=504).contains(&answer.status), "{answer:?}");
        for address in &order {
            nginx.rig.behave(address, Behaviour::Well);
        }
    }
}

#[test]
fn nginx_that_decides_looks_at_headers() {
    let test = "nginx_that_decides_looks_at_headers";
    if let Some(mut nginx) = start(test, by_header(), &[]) {
        is_told_of_headers(&mut nginx);
    }
}

#[test]
fn nginx_that_decides_leaves_a_node_that_fails() {
    let test = "nginx_that_decides_leaves_a_node_that_fails";
    for how in [(Behaviour::Refuse, "error"), (Behaviour::Hang, "timeout")] {
        let Some(front) = Front::start(&KIND, test) else {
            return;
        };
        told::is_left(front, how, test);
    }
}

/// An error page leads away from where it was decided, and of the failures behind it nothing was told: a dead node stayed named.
#[test]
fn nginx_that_decides_tells_of_failures_behind_an_error_page() {
    let test = "nginx_that_decides_tells_of_failures_behind_an_error_page";
    let page = "error_page 502 503 504 /sorry;\n    location = /sorry { internal; return 503 sorry; }\n\n    location / {";
    let edits = [
        ("\"candidates\": 3", "\"candidates\": 1"),
        ("location / {", page),
    ];
    let Some(mut nginx) = start(test, Setup::default(), &edits) else {
        return;
    };
    let path = "/object/0";
    let mut grpc = Asker::of(&nginx.rig.sidecar);
    let first = addresses(&grpc.decide((HOST, path), &client(0)))[0].clone();
    nginx.rig.behave(&first, Behaviour::Refuse);
    let answer = nginx.get(path, &client(0));
    assert_eq!((answer.status, &*answer.body), (502, &b"sorry"[..]));
    let address = nginx.address;
    nginx.process.until("requests go elsewhere", || {
        get(&mut Connection::tcp(address).unwrap(), path, &client(0)).status == 200
    });
}

#[test]
fn nginx_that_decides_tells_what_caches_did() {
    if let Some(front) = Front::start(&KIND, "nginx_that_decides_tells_what_caches_did") {
        told::all_is_told(front);
    }
}

/// The sidecar dies and comes back, and the configuration is read again, with requests under way: none is lost.
#[test]
fn nginx_that_decides_loses_nothing_when_the_sidecar_or_it_is_replaced() {
    let test = "nginx_that_decides_loses_nothing_when_the_sidecar_or_it_is_replaced";
    let Some(mut nginx) = start(test, Setup::quick(), &[]) else {
        return;
    };
    let address = nginx.address;
    let objects = (0..60).map(|number| (format!("/object/{number}"), client(number)));
    let objects: Vec<(String, String)> = objects.collect();
    // Each by a connection of its own, as under load.
    let nodes = || -> Vec<Option<String>> {
        let answers = objects
            .iter()
            .map(|(path, client)| get(&mut Connection::tcp(address).unwrap(), path, client));
        answers
            .map(|answer| answer.header("x-node").map(str::to_owned))
            .collect()
    };
    follows(&mut nginx.process, &nginx.rig, address);
    let wanted = nodes();
    let (asked, failed) = under_load(address, || {
        nginx.rig.sidecar.kill();
        assert_eq!(nodes(), wanted);
        nginx.rig.sidecar.restart();
        for _ in 0..RELOADS {
            reload(&mut nginx.process);
        }
    });
    note(&format!(
        "nginx: {failed} of {asked} requests failed in {RELOADS} reloads and a dead sidecar"
    ));
    assert!(failed == 0 && asked > 100, "{failed} of {asked}");
    assert_eq!(nodes(), wanted);
}

/// Has nginx read its configuration again, and waits until other workers have come.
fn reload(process: &mut Process) {
    let id = process.id();
    let before = children(id);
    assert!(process.signal("HUP"));
    process.until("other workers have come", || {
        children(id).difference(&before).count() >= 2
    });
}

#[test]
fn nginx_without_a_sidecar_balances_or_refuses_as_it_was_told() {
    let test = "nginx_without_a_sidecar_balances_or_refuses_as_it_was_told";
    let balance = "\"without_copy\": \"balance\"";
    let kept = tempfile::tempdir().unwrap();
    // Its workers are nobody when root starts it.
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(kept.path(), everybody).unwrap();
    let last_good = format!(
        "\"without_copy\": \"refuse\", \"last_good\": \"{}\"",
        kept.path().display()
    );
    let refuse = "\"without_copy\": \"refuse\"";
    for (is_refused, said) in [(false, balance), (true, refuse)] {
        let Some(mut nginx) = start(test, Setup::quick(), &[(balance, said)]) else {
            return;
        };
        nginx.rig.sidecar.kill();
        // Workers that begin now have no copy.
        reload(&mut nginx.process);
        let address = nginx.address;
        let mut answer = nginx.get("/internal/a", &client(0));
        // The workers before answer until they have gone.
        nginx.process.until("no worker has a copy", || {
            answer = get(
                &mut Connection::tcp(address).unwrap(),
                "/internal/a",
                &client(0),
            );
            answer.status != 403
        });
        let seen = (answer.status, answer.header("x-route-reason"));
        let wanted = if is_refused {
            (503, Some("no_copy"))
        } else {
            (200, None)
        };
        assert_eq!(seen, wanted, "{answer:?}");
        nginx.rig.sidecar.restart();
        // One worker may have heard of it before the other.
        nginx.process.until("every worker has a copy", || {
            let ask = || {
                get(
                    &mut Connection::tcp(address).unwrap(),
                    "/internal/a",
                    &client(0),
                )
            };
            (0..20).all(|_| ask().status == 403)
        });
    }
    let Some(mut nginx) = start(test, Setup::quick(), &[(balance, &last_good)]) else {
        return;
    };
    let wanted = nginx.get("/object/1", &client(0));
    let file = kept.path().join("last-good-copy");
    nginx.process.until("the copy is kept", || file.exists());
    nginx.rig.sidecar.kill();
    reload(&mut nginx.process);
    for number in 0..20 {
        let answer = nginx.get("/object/1", &client(0));
        let node = answer.header("x-node");
        assert_eq!(
            (answer.status, node),
            (200, wanted.header("x-node")),
            "{number}"
        );
        assert_eq!(nginx.get("/internal/a", &client(0)).status, 403);
    }
}

#[test]
fn nginx_refuses_options_with_all_that_is_wrong() {
    let Some(program) = Tool::NginxLua.path("nginx_refuses_options_with_all_that_is_wrong") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut places = crate::places::Places::default();
    places.copy(&FILES, folder.path());
    let tested = nginx(&program, folder.path()).arg("-t").output().unwrap();
    let said = String::from_utf8_lossy(&tested.stderr);
    assert!(
        tested.status.success() && !said.contains("[warn]"),
        "{said}"
    );
    let edits = [
        ("\"candidates\": 3", "\"candidates\": 9, \"more\": 1"),
        (
            "\"without_copy\": \"balance\"",
            "\"without_copy\": \"wait\"",
        ),
    ];
    edit(&folder.path().join("nginx.conf"), &edits);
    // Its Lua runs when it starts, and not when it only looks at its configuration.
    let started = nginx(&program, folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&started.stderr);
    assert!(!started.status.success(), "{said}");
    for part in [
        "options.candidates is `9`, must be 0 to 8",
        "options.without_copy is `wait`, must be `balance` or `refuse`",
        "options.more is not known; there are sidecar, without_copy,",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

/// What the caches have in their keys, and tell of what they were asked for.
const BY_VERSION: &str = "proxy_cache_key $host$request_uri$http_x_tradewind_version;
      add_header X-Version $http_x_tradewind_version;
      add_header X-Freshness $http_x_tradewind_freshness;";

#[test]
fn what_is_purged_is_served_new_by_an_nginx_that_decides() {
    let test = "what_is_purged_is_served_new_by_an_nginx_that_decides";
    let Some(program) = Tool::NginxLua.path(test) else {
        return;
    };
    let caches = Caches::start(&program, BY_VERSION);
    let setup = Setup {
        elsewhere: caches.elsewhere(),
        ..Setup::default()
    };
    let Some(mut nginx) = start(test, setup, &[]) else {
        return;
    };
    let path = "/fresh/a.jpg";
    let address = nginx.address;
    let version = |sent: &str| {
        let asker = client(0);
        let headers = [
            ("Host", HOST),
            ("X-Forwarded-For", &*asker),
            ("X-Tradewind-Version", sent),
        ];
        let answer = Connection::tcp(address)
            .unwrap()
            .get(path, &headers)
            .unwrap();
        let said = |name| answer.header(name).map(str::to_owned);
        (said("x-version"), said("x-freshness"))
    };
    // No client says what is fresh.
    assert_eq!(version("ZZZZZZZZ"), (None, None));
    nginx.rig.sidecar.purge(&[&format!("https://{HOST}{path}")]);
    let mut seen = None;
    nginx.process.until("caches are told", || {
        seen = version("1").0;
        seen.is_some()
    });
    nginx.rig.sidecar.kill();
    nginx.process.until("that there may be more as well", || {
        let (version, freshness) = version("1");
        assert_eq!(version, seen);
        freshness.as_deref() == Some("unknown")
    });
}

/// What the glue tells its Lua of the library is what the header says.
#[test]
fn the_declarations_of_the_glue_are_those_of_the_header() {
    let read = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        std::fs::read_to_string(path).unwrap()
    };
    let header = read("crates/c/include/tradewind.h").replace("TW_NODES]", "8]");
    let comment = without_comments(&header);
    let words = |text: &str| text.split_whitespace().collect::<String>();
    let header = words(&comment);
    let glue = read("examples/nginx-module/tradewind.lua");
    let (_, declared) = glue.split_once("ffi.cdef([[").unwrap();
    let (declared, _) = declared.split_once("]])").unwrap();
    let mut count = 0;
    for declaration in declared.replace("\ntypedef", "\u{0}typedef").split('\u{0}') {
        // Structs are one declaration, calls a line each.
        let parts: Vec<&str> = if declaration.contains('{') && !declaration.contains("tw_abi") {
            vec![declaration]
        } else {
            declaration.split_inclusive(";\n").collect()
        };
        for part in parts.iter().filter(|part| part.contains("tw_")) {
            count += 1;
            let wanted = words(part);
            assert!(header.contains(&wanted), "{part}");
        }
    }
    assert!(count > 7, "{count}");
}

/// A text of C without its comments.
fn without_comments(text: &str) -> String {
    let mut parts = text.split("/*");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |all, part| {
        all + part.split_once("*/").map_or("", |(_, rest)| rest)
    })
}
