//! What was purged and the engine inside Envoy: real nginx as the nodes, whose keys have the version that Envoy tells them.

use tradewind::sidecar::clock;

use super::Envoy;
use super::caches::Caches;
use super::module::start;
use crate::http::{Connection, Reply};
use crate::rig::Setup;
use crate::tools::{Tool, note};
use crate::visits::{HOST, client};

/// What the caches have in their keys, and tell of what they were asked for.
const BY_VERSION: &str = "proxy_cache_key $host$request_uri$http_x_tradewind_version;
      add_header X-Version $http_x_tradewind_version;
      add_header X-Max-Age $http_x_tradewind_max_age;
      add_header X-Freshness $http_x_tradewind_freshness;";

/// How often the same is purged to see how soon that counts.
const ROUNDS: usize = 16;

fn ask(proxy: &mut Connection, path: &str, more: &[(&str, &str)]) -> Reply {
    let asker = client(0);
    let own = [("Host", HOST), ("X-Forwarded-For", &*asker)];
    let answer = proxy.get(path, &[&own, more].concat()).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// What the cache said of itself: it comes after what its parent said.
fn said(answer: &Reply) -> &str {
    let mut said = answer.headers.iter().rev();
    let own = said.find(|(name, _)| name == "x-cache");
    own.map(|(_, value)| &**value).unwrap()
}

/// Asks twice: what the cache said each time.
fn twice(proxy: &mut Connection, path: &str) -> [String; 2] {
    [(); 2].map(|()| said(&ask(proxy, path, &[])).to_owned())
}

#[test]
fn what_is_purged_is_served_new_by_an_envoy_that_decides() {
    let test = "what_is_purged_is_served_new_by_an_envoy_that_decides";
    let Some(nginx) = Tool::Nginx.path(test) else {
        return;
    };
    let caches = Caches::start(&nginx, BY_VERSION);
    let setup = Setup {
        elsewhere: caches.elsewhere(),
        ..Setup::default()
    };
    let Some(mut envoy) = start(test, &[], setup) else {
        return;
    };
    let mut proxy = envoy.connect();
    let path = "/fresh/a.jpg";
    let url = format!("https://{HOST}{path}");
    assert_eq!(twice(&mut proxy, path), ["MISS", "HIT"]);
    let mut late_by = Vec::new();
    for round in 0..ROUNDS {
        envoy.rig.sidecar.purge(&[&url]);
        let purged = clock::now();
        // A hit is of before the purge.
        envoy.process.until("it is served new", || {
            said(&ask(&mut proxy, path, &[])) == "MISS"
        });
        late_by.push(purged.elapsed());
        assert_eq!(twice(&mut proxy, path), ["HIT"; 2], "round {round}");
    }
    late_by.sort_unstable();
    note(&format!(
        "envoy: served new {:.1?} after `tradewind purge` in the middle of {ROUNDS}, {:.1?} at most, the request included",
        late_by[ROUNDS / 2],
        late_by[ROUNDS - 1]
    ));
    let version = ask(&mut proxy, path, &[]);
    let version = version.header("x-version").map(str::to_owned);
    assert!(version.is_some());

    // No client says what is fresh.
    for (name, value) in [
        ("x-tradewind-version", "1"),
        ("X-Tradewind-Version", "ZZZZZZZZ"),
        ("x-tradewind-max-age", "9"),
        ("x-tradewind-freshness", "unknown"),
    ] {
        let answer = ask(&mut proxy, path, &[(name, value)]);
        assert_eq!(answer.header("x-version"), version.as_deref(), "{name}");
        assert_eq!(answer.header("x-max-age"), None, "{name}");
        assert_eq!(answer.header("x-freshness"), None, "{name}");
        assert_eq!(said(&answer), "HIT", "{name}");
    }
    let never = ask(&mut proxy, "/never", &[("x-tradewind-version", "1")]);
    assert_eq!(never.header("x-version"), None);

    // A soft one, and one of everything below a path.
    envoy.rig.sidecar.purge(&["--soft", &url]);
    envoy.process.until("what is old is revalidated", || {
        let answer = ask(&mut proxy, path, &[]);
        let age = answer.header("x-max-age").map(str::to_owned);
        age.is_some_and(|age| age.parse::<u64>().unwrap() < 60)
    });
    let other = format!("https://{HOST}/fresh/");
    envoy.rig.sidecar.purge(&["--confirm", "--prefix", &other]);
    envoy.process.until("a prefix is served new", || {
        let answer = ask(&mut proxy, path, &[]);
        answer.header("x-version") != version.as_deref()
    });
    stays_so_without_a_sidecar(&mut envoy, &mut proxy, (path, &url));
}

/// The sidecar ends: what was purged stays so, and caches are told that there may be more. It begins again: all is known.
fn stays_so_without_a_sidecar(
    envoy: &mut Envoy,
    proxy: &mut Connection,
    (path, url): (&str, &str),
) {
    let before = ask(proxy, path, &[]);
    let version = before.header("x-version").map(str::to_owned);
    envoy.rig.sidecar.kill();
    let mut unknown = None;
    envoy.process.until("caches are told", || {
        let answer = ask(proxy, path, &[]);
        assert_eq!(answer.header("x-version"), version.as_deref());
        unknown = answer.header("x-freshness").map(str::to_owned);
        unknown.is_some()
    });
    assert_eq!(unknown.as_deref(), Some("unknown"));
    envoy.rig.sidecar.restart();
    envoy.process.until("all is known again", || {
        let answer = ask(proxy, path, &[]);
        assert_eq!(answer.header("x-version"), version.as_deref());
        answer.header("x-freshness").is_none()
    });
    envoy.rig.sidecar.purge(&[url]);
    envoy.process.until("it is served new", || {
        let answer = ask(proxy, path, &[]);
        answer.header("x-version") != version.as_deref()
    });
    let admin = envoy.admin;
    envoy.process.until("Envoy has counted it", || {
        ask(proxy, path, &[]);
        super::stat(admin, "tradewind.freshness_unknown") > 0
    });
    assert!(envoy.stat("tradewind.purged_entries") > 0);
}
