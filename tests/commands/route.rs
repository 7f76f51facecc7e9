//! `tradewind route`.

use serde_json::Value;

use crate::support::{Files, Ran, Sidecar, example, json, tradewind};
use tradewind::command::Exit;
use tradewind::sidecar::settings::Args;

const VIDEO: &str = "https://www.example.com/video/1.mp4?token=1";

#[test]
fn a_url_and_a_client_are_enough() {
    let ran = tradewind(&["route", VIDEO, "--client", "198.18.0.1"]);
    assert_eq!((ran.exit, ran.error.as_str()), (Exit::Good, ""));
    assert!(
        ran.out
            .starts_with("route: rule `video`, owner, pure, rung normal\n"),
        "{}",
        ran.out
    );
    for part in ["expected ms", "lhr-", "10.0.1.", "cache: store", "3s"] {
        assert!(ran.out.contains(part), "{part} in {}", ran.out);
    }
    assert!(ran.out.lines().all(|line| line == line.trim_end()));
}

#[test]
fn a_client_nobody_can_place_is_where_the_sidecar_would_be() {
    let first = |here: &[&str]| {
        let args: Vec<&str> = [
            "route",
            VIDEO,
            "--client",
            "203.0.114.1",
            "--format",
            "json",
        ]
        .into_iter()
        .chain(here.iter().copied())
        .collect();
        let answer = json(&args);
        let site = answer["candidates"][0]["site"].as_str().unwrap().to_owned();
        (site, answer["notes"][0].as_str().unwrap().to_owned())
    };
    let default = ("FRA".to_owned(), "default_location".to_owned());
    assert_eq!(first(&[]), default);
    let here = |site: &str| (site.to_owned(), "here_location".to_owned());
    assert_eq!(first(&["--here", "SYD"]), here("SYD"));
    assert_eq!(first(&["--here", "-33.87,151.21"]), here("SYD"));
    let ran = tradewind(&["route", VIDEO, "--here", "xyz"]);
    assert_eq!(ran.exit, Exit::Usage);
    assert!(
        ran.error
            .contains("here is the site `xyz`, which the topology does not have; it has `"),
        "{}",
        ran.error
    );
    let ran = tradewind(&["route", VIDEO, "--here", "100,0"]);
    assert!(
        ran.error.contains("must be the id of a site, or LAT,LON"),
        "{}",
        ran.error
    );
}

#[test]
fn an_unknown_cost_is_said_to_be_unknown() {
    let files = Files::new();
    let topology = files.write(
        "topology.yaml",
        "apiVersion: tradewind/v1\nkind: Topology\nspec:\n  sites:\n  - {id: a, lat: 50, lon: 8}\n  - {id: b, lat: 40, lon: -74}\n  \
         nodes:\n  - {id: a-1, site: a, address: 10.0.0.1:80}\n  - {id: b-1, site: b, address: 10.0.0.2:80}\n",
    );
    let policy = files.write(
        "policy.yaml",
        "apiVersion: tradewind/v1\nkind: Policy\nspec:\n  pools: [{name: edge}]\n  rules: [{name: all, owner: o, rollback: r, pools: [edge]}]\n",
    );
    let args = [
        "route",
        "/a",
        "--policy",
        &policy,
        "--topology",
        &topology,
        "--explain",
    ];
    let ran = tradewind(&args);
    assert_eq!((ran.exit, ran.error.as_str()), (Exit::Good, ""));
    for part in [
        " unknown ",
        "notes: unknown_location",
        "nothing is known of where the client is (unknown country), and nothing stands in",
        "ms without the way there, which is not known",
        "2 sites share clients of whom no more is known",
    ] {
        assert!(ran.out.contains(part), "{part} in {}", ran.out);
    }
    let answer = json(&[&args[..6], &["--format", "json"]].concat());
    assert!(
        answer["candidates"][0].get("expected_ms").is_none(),
        "{answer}"
    );
}

#[test]
fn each_rule_of_the_example_can_be_reached() {
    let site = |answer: &Value| answer["candidates"][0]["site"].as_str().unwrap().to_owned();
    for (args, rule) in [
        (vec![VIDEO], "video"),
        (vec!["https://www.example.com/api/me"], "api"),
        (
            vec!["https://www.example.com/account", "--country", "DE"],
            "account-eu",
        ),
        (vec!["https://www.example.com/images/a.png"], "images"),
        (vec!["https://s1.static.example.com/a.js"], "static-shards"),
        (vec!["https://other.example/"], "everything-else"),
        (vec![VIDEO, "--method", "POST"], "everything-else"),
    ] {
        let args: Vec<&str> = ["route", "--format", "json"]
            .into_iter()
            .chain(args)
            .collect();
        assert_eq!(json(&args)["rule"], rule, "{args:?}");
    }
    // A client in London is outside the fence of the EU's account pages. A caller who knows that it is in France counts
    // before the geo files, and then a site there comes first.
    let account = [
        "route",
        "https://a.example/account",
        "--format",
        "json",
        "--client",
        "198.18.0.1",
    ];
    assert_eq!(site(&json(&account)), "LHR");
    let fenced: Vec<&str> = account.into_iter().chain(["--country", "FR"]).collect();
    assert_eq!(site(&json(&fenced)), "CDG");
    // Shards are one site under many names, and the width is the only parameter of an image that counts.
    let first = |args: &[&str]| {
        let args: Vec<&str> = ["route", "--format", "json", "--lat", "48", "--lon", "11"]
            .iter()
            .chain(args)
            .copied()
            .collect();
        json(&args)["candidates"][0]["node"].clone()
    };
    for number in 1..9 {
        let (a, b) = (
            format!("s1.static.example.com/{number}"),
            format!("s2.static.example.com/{number}"),
        );
        assert_eq!(first(&[&a]), first(&[&b]));
        let (a, b) = (
            format!("a.example/images/{number}?w=9&x=1"),
            format!("a.example/images/{number}?x=2&w=9"),
        );
        assert_eq!(first(&[&a]), first(&[&b]));
    }
}

#[test]
fn explanations_show_sites_nodes_and_flips() {
    let ran = tradewind(&["route", VIDEO, "--client", "198.18.0.1", "--explain"]);
    assert_eq!(ran.exit, Exit::Good);
    for part in [
        "- rule `video` matches first",
        "owned by media-team@example.com",
        "sites, best first, in ms:",
        "in_scope",
        "the smallest race wins",
        "capability",
        "runner-up: ",
        "second node: ",
    ] {
        assert!(ran.out.contains(part), "{part} in {}", ran.out);
    }
    let explained = json(&[
        "route",
        VIDEO,
        "--client",
        "198.18.0.1",
        "--explain",
        "--format",
        "json",
    ]);
    assert_eq!(explained["decision"]["verdict"], "VERDICT_ROUTE");
    assert_eq!(explained["explanation"]["sites"][0]["site"], "LHR");
}

#[test]
fn every_flag_reaches_the_request() {
    let args = [
        "route",
        "/x",
        "--host",
        "h.example",
        "--query",
        "a=1",
        "--method",
        "GET",
        "--header",
        "A: b",
        "--header",
        "C: d",
        "--key",
        "k",
        "--class",
        "video",
        "--size",
        "7",
        "--tried",
        "lhr-1",
        "--tried",
        "lhr-2",
        "--tried",
        "lhr-3",
        "--candidates",
        "2",
        "--pool",
        "edge",
        "--request-id",
        "r7",
        "--asn",
        "64500",
        "--country",
        "GB",
        "--lat",
        "51.5",
        "--lon",
        "-0.1",
        "--format",
        "json",
    ];
    let answer = json(&args);
    assert_eq!(answer["request_id"], "r7");
    assert_eq!(answer["reason"], "site_tried");
    assert_eq!(answer["candidates"].as_array().map(Vec::len), Some(2));
}

#[test]
fn refusals_and_bad_requests_differ() {
    let refused = tradewind(&["route", "/x", "--pool", "nowhere"]);
    assert_eq!(refused.exit, Exit::Refused);
    assert!(
        refused.out.starts_with("refuse: no rule, unknown_pool"),
        "{}",
        refused.out
    );
    for (args, part) in [
        (
            &["--client", "x"][..],
            "client.ip: `x` is not an IP address",
        ),
        (
            &["--country", "Germany", "--candidates", "9"],
            "client.country: `Germany` is not a country code like DE; candidates: is 9, must be 0 to 8",
        ),
        (&["--header", "none"], "the header `none` has no name"),
        (&["--lat", "1"], "--lon"),
        (&["--lat", "91", "--lon", "0"], "client.location: is 91, 0"),
        (&["ftp://a.example/"], "is not a URL to route"),
        (
            &["--policy", "p.yaml"],
            "`--policy` is given without `--topology`",
        ),
        (&["--server", "nowhere"], "`nowhere` is not a server"),
        (&["--server", "127.0.0.1:1"], "no connection to 127.0.0.1:1"),
        (
            &["--geo", "no-such-file.mmdb"],
            "no geo table: geo file `no-such-file.mmdb`",
        ),
    ] {
        let args: Vec<&str> = ["route"].iter().chain(args).copied().collect();
        let ran = tradewind(&args);
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Usage, ""), "{args:?}");
        assert!(ran.error.contains(part), "{part} in {}", ran.error);
    }
}

#[test]
fn refused_files_are_shown_with_their_faults() {
    let files = Files::new();
    let policy = files.write("p.yaml", "kind: Policy\n");
    let ran = tradewind(&[
        "route",
        "/x",
        "--policy",
        &policy,
        "--topology",
        &example("topology.yaml"),
    ]);
    assert_eq!(ran.exit, Exit::Refused);
    assert!(
        ran.error.contains("error[D") && ran.error.contains("p.yaml` is refused"),
        "{}",
        ran.error
    );
}

#[test]
fn a_server_and_the_files_print_the_same() {
    let files = Files::new();
    let socket = format!("unix:{}", files.path("s"));
    let over_tcp = Sidecar::start(Args::default());
    let over_unix = Sidecar::start(Args {
        listen: vec![socket],
        ..Args::default()
    });
    for more in [
        &[][..],
        &["--explain"],
        &["--client", "198.18.11.1", "--tried", "fra-1"],
        &["--pool", "nowhere"],
    ] {
        let args: Vec<&str> = ["route", VIDEO].iter().chain(more).copied().collect();
        let offline = tradewind(&args);
        assert!(!offline.out.is_empty());
        for sidecar in [&over_tcp, &over_unix] {
            let asked: Vec<&str> = args
                .iter()
                .copied()
                .chain(["--server", &sidecar.server])
                .collect();
            let asked = tradewind(&asked);
            assert_eq!(asked.notes, "", "no embedded example decided");
            let printed = |ran: &Ran| (ran.exit, ran.out.clone(), ran.error.clone());
            assert_eq!(printed(&asked), printed(&offline), "{args:?}");
        }
    }
    let mut offline = json(&["route", VIDEO, "--format", "json"]);
    let mut asked = json(&[
        "route",
        VIDEO,
        "--format",
        "json",
        "--server",
        &over_tcp.server,
    ]);
    for answer in [&mut offline, &mut asked] {
        // These name the process that decided.
        for field in ["decision_id", "policy_revision", "snapshot_generation"] {
            answer.as_object_mut().unwrap().remove(field).unwrap();
        }
    }
    assert_eq!(offline, asked);
    let bad = tradewind(&["route", "--client", "x", "--server", &over_tcp.server]);
    assert_eq!(bad.exit, Exit::Usage);
    assert!(
        bad.error.contains("INVALID_ARGUMENT, client.ip"),
        "{}",
        bad.error
    );
}
