//! Geo files come late, break while they are in use, and are mended.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use tradewind::example;
use tradewind::sidecar::geoip::kept::Keep;
use tradewind::sidecar::wire::proto::{DecideRequest, DecideResponse};

use crate::client::{Client, from_ip, request};
use crate::server::{Files, Server};

const DEGRADED: &str = "tradewind_source_degraded{source=\"geo\"}";

/// An address that the example database puts into Paris.
const PARIS: &str = "198.18.1.77";

async fn ask(client: &mut Client, ip: &str) -> DecideResponse {
    let asked = DecideRequest {
        client: Some(from_ip(ip)),
        ..request("/a")
    };
    client.decide(asked).await
}

async fn until_degraded(server: &Server, degraded: bool) {
    let what = format!("geo is degraded: {degraded}");
    server
        .until(&what, || server.count(DEGRADED) == i64::from(degraded))
        .await;
    let geo = server.get("/readyz").json()["geo"].clone();
    let state = if degraded { "degraded" } else { "good" };
    assert_eq!(geo["state"], state, "{geo}");
    assert_eq!(geo["faults"].as_array().unwrap().is_empty(), !degraded);
}

#[tokio::test]
async fn f20_a_missing_file_is_flagged_and_used_once_it_is_there() {
    let files = Files::new();
    let setup = files.setup().with("geo", files.path("geo.mmdb"));
    let server = setup.flag("geo-optional").start().await;
    let mut client = server.client().await;
    let blind = ask(&mut client, PARIS).await;
    assert_eq!(blind.notes, ["unknown_location", "geo_degraded"]);
    assert_eq!(
        (blind.purity.as_str(), blind.rung.as_str()),
        ("degraded", "normal")
    );
    assert_eq!(blind.candidates[0].expected_ms, None);
    // Who says where it is, is sent to the same place as ever.
    let told = client.decide(request("/a")).await;
    assert_eq!(
        (told.purity.as_str(), told.notes),
        ("pure", vec!["geo_degraded".to_owned()])
    );
    until_degraded(&server, true).await;

    files.replace("geo.mmdb", example::GEO);
    until_degraded(&server, false).await;
    let seeing = ask(&mut client, PARIS).await;
    assert_eq!(
        (seeing.candidates[0].site.as_str(), seeing.notes.len()),
        ("par", 0)
    );
    assert_eq!(seeing.purity, "pure");
    assert_eq!(seeing.policy_revision, 1, "the policy is the same");
    assert!(seeing.snapshot_generation > blind.snapshot_generation);

    // Gone again: the tables in memory stay in use.
    fs::remove_file(files.path("geo.mmdb")).unwrap();
    until_degraded(&server, true).await;
    let kept = ask(&mut client, PARIS).await;
    assert_eq!(kept.candidates, seeing.candidates);
    assert_eq!(kept.notes, ["geo_degraded"]);
}

#[tokio::test]
async fn f18_a_file_spoilt_in_place_is_flagged_and_the_tables_stay() {
    let files = Files::new();
    files.write("geo.mmdb", example::GEO);
    let server = files
        .setup()
        .with("geo", files.path("geo.mmdb"))
        .start()
        .await;
    let mut client = server.client().await;
    let before = ask(&mut client, PARIS).await;
    assert_eq!(
        (before.candidates[0].site.as_str(), before.notes.len()),
        ("par", 0)
    );
    let path = files.path("geo.mmdb");
    let truncate = |length: u64| {
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(length).unwrap();
    };
    let length = u64::try_from(example::GEO.len()).unwrap();
    let usual_kb = server.memory_kb().map_or(0, |(most, _)| most);
    for spoil in 0..6 {
        match spoil {
            0 => truncate(length / 2),
            // Nothing but holes behind it, as a copy leaves that was cut.
            5 => truncate(200 << 20),
            1 => files.write("geo.mmdb", vec![0xa5; example::GEO.len()]),
            2 => truncate(0),
            3 => files.write("geo.mmdb", &example::GEO[..example::GEO.len() - 40]),
            _ => files.replace("geo.mmdb", "not a database"),
        }
        until_degraded(&server, true).await;
        let answer = ask(&mut client, PARIS).await;
        assert_eq!(answer.candidates, before.candidates, "{spoil}");
        assert_eq!(answer.notes, ["geo_degraded"], "{spoil}");
        let cells = &server.get("/readyz").json()["geo"]["cells"];
        assert!(cells.as_u64().unwrap() > 100, "{cells}");
        files.write("geo.mmdb", example::GEO);
        until_degraded(&server, false).await;
    }
    assert_eq!(ask(&mut client, PARIS).await.notes.len(), 0);
    let most_kb = server.memory_kb().map_or(0, |(most, _)| most);
    println!(
        "{} MB more at most, for 200 MB of holes",
        most_kb.saturating_sub(usual_kb) >> 10
    );
}

#[tokio::test]
async fn f20_of_two_files_the_good_one_is_used_from_the_start() {
    let files = Files::new();
    files.write("geo.mmdb", example::GEO);
    files.write("asn.mmdb", "not a database");
    let server = files
        .setup()
        .with("geo", files.path("geo.mmdb"))
        .also("geo", files.path("asn.mmdb"))
        .start()
        .await;
    let mut client = server.client().await;
    until_degraded(&server, true).await;
    let answer = ask(&mut client, PARIS).await;
    assert_eq!(
        (answer.candidates[0].site.as_str(), answer.notes),
        ("par", vec!["geo_degraded".to_owned()])
    );
    let asn = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/geo/asn.mmdb");
    files.replace("asn.mmdb", fs::read(asn).unwrap());
    until_degraded(&server, false).await;
    let listed = server.get("/readyz").json()["geo"]["files"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
}

fn lines(value: &serde_json::Value) -> Vec<String> {
    let lines = value.as_array().unwrap().iter();
    lines
        .map(|line| line.as_str().unwrap().to_owned())
        .collect()
}

/// A file of the project's own fixtures.
fn own(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/geo");
    fs::read(path.join(name)).unwrap()
}

#[tokio::test]
async fn without_any_usable_file_it_is_not_ready_and_names_every_fault() {
    let files = Files::new();
    files.write("first.mmdb", "not a database");
    files.write("second.mmdb", own("hostile/pointer-loop.mmdb"));
    let server = files
        .setup()
        .with("geo", files.path("first.mmdb"))
        .also("geo", files.path("second.mmdb"))
        .also("geo", files.path("third.mmdb"))
        .start_unready()
        .await;
    server
        .until("the faults are told", || {
            !lines(&server.get("/readyz").json()["geo"]["faults"]).is_empty()
        })
        .await;
    let page = server.get("/readyz");
    let said = page.json();
    assert_eq!((page.status, &said["ready"]), (503, &false.into()));
    assert_eq!(said["policy"]["state"], "serving", "only geo is missing");
    let faults = lines(&said["geo"]["faults"]);
    for (fault, words) in faults.iter().zip([
        ["first.mmdb", "the mark before the metadata"],
        ["second.mmdb", "pointers go in a circle"],
        ["third.mmdb", "No such file"],
        ["not ready until a file can be used", "--geo-optional"],
    ]) {
        assert!(
            words.iter().all(|words| fault.contains(words)),
            "{faults:?}"
        );
        server.until_said(fault).await;
    }
    assert_eq!(faults.len(), 4, "{faults:?}");

    // One that can be used is enough to be ready; the others are still told of.
    files.replace("first.mmdb", example::GEO);
    server
        .until("it is ready", || server.get("/readyz").status == 200)
        .await;
    until_degraded(&server, true).await;
    server
        .until("two faults are left", || {
            lines(&server.get("/readyz").json()["geo"]["faults"]).len() == 2
        })
        .await;
    files.replace("second.mmdb", own("asn.mmdb"));
    files.replace("third.mmdb", own("flat-ipv4.mmdb"));
    until_degraded(&server, false).await;

    // Once it had tables it stays ready, whatever becomes of the files.
    for name in ["first.mmdb", "second.mmdb", "third.mmdb"] {
        fs::remove_file(files.path(name)).unwrap();
    }
    until_degraded(&server, true).await;
    assert_eq!(server.get("/readyz").status, 200);
}

#[tokio::test]
async fn files_that_cannot_say_where_anybody_is_are_a_fault() {
    let files = Files::new();
    files.write("asn.mmdb", own("asn.mmdb"));
    let server = files
        .setup()
        .with("geo", files.path("asn.mmdb"))
        .start()
        .await;
    let geo = server.get("/readyz").json()["geo"].clone();
    assert_eq!(
        (&geo["state"], &geo["cells"]),
        (&"degraded".into(), &0.into())
    );
    let faults = lines(&geo["faults"]);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].starts_with("no geo file has a coordinate or a country"));
    assert_eq!(lines(&geo["files"][0]["knows"]), ["operators"]);
}

#[tokio::test]
async fn files_of_countries_alone_are_good_and_say_so() {
    let files = Files::new();
    files.write("country.mmdb", own("country.mmdb"));
    let server = files
        .setup()
        .with("geo", files.path("country.mmdb"))
        .start()
        .await;
    until_degraded(&server, false).await;
    let geo = server.get("/readyz").json()["geo"].clone();
    let warnings = lines(&geo["warnings"]);
    assert!(warnings[0].starts_with("countries only:"), "{warnings:?}");
    assert_eq!(lines(&geo["files"][0]["knows"]), ["countries"]);
}

/// Waits until the tables of this many files are kept.
async fn until_kept(server: &Server, files: &Files, count: usize) {
    let keep = Keep::new(files.state());
    server
        .until(
            "the tables are kept",
            || matches!(keep.last_good(), Ok(Some(tables)) if tables.files.len() == count),
        )
        .await;
}

const TAKEN_FROM_DISK: &str = "geo tables kept of these files took effect";

#[tokio::test]
async fn after_a_crash_the_tables_kept_on_disk_serve_if_they_are_of_these_files() {
    let files = Files::new();
    files.write("geo.mmdb", example::GEO);
    let setup = files.setup().with("geo", files.path("geo.mmdb"));
    let first = setup.clone().start().await;
    let before = ask(&mut first.client().await, PARIS).await;
    let status = first.get("/readyz").json()["geo"].clone();
    until_kept(&first, &files, 1).await;
    assert!(!first.log().contains(TAKEN_FROM_DISK));
    first.kill();

    let second = setup.clone().start().await;
    second.until_said(TAKEN_FROM_DISK).await;
    assert_eq!(second.get("/readyz").json()["geo"], status);
    let after = ask(&mut second.client().await, PARIS).await;
    assert_eq!(after.candidates, before.candidates);
    second.kill();

    // Other content, at the same path and of the same size: compiled anew, and kept in place of the old.
    let mut other = example::GEO.to_vec();
    let text = b"Made-up networks in real cities";
    let at = other.windows(text.len()).position(|w| w == text).unwrap();
    other[at] = b'm';
    files.write("geo.mmdb", &other);
    let third = setup.clone().start().await;
    assert!(!third.log().contains(TAKEN_FROM_DISK));
    until_degraded(&third, false).await;
    let wanted = third.get("/readyz").json()["geo"]["files"][0]["digest"].clone();
    let keep = Keep::new(files.state());
    third
        .until("the new tables are kept", || {
            let kept = keep.last_good().ok().flatten();
            kept.is_some_and(|tables| {
                tables.files[0].digest.to_string() == *wanted.as_str().unwrap()
            })
        })
        .await;
    third.kill();

    // A sum beside the file counts for tables that were kept as well.
    files.write("geo.mmdb.sha256", "0".repeat(64));
    let fourth = setup.start().await;
    until_degraded(&fourth, true).await;
    let faults = lines(&fourth.get("/readyz").json()["geo"]["faults"]);
    assert!(faults[0].contains("SHA-256"), "{faults:?}");
}

#[tokio::test]
async fn spoilt_files_at_a_start_leave_the_last_good_tables_in_force() {
    let files = Files::new();
    files.write("geo.mmdb", example::GEO);
    let setup = files.setup().with("geo", files.path("geo.mmdb"));
    let first = setup.clone().start().await;
    let before = ask(&mut first.client().await, PARIS).await;
    until_kept(&first, &files, 1).await;
    first.kill();
    fs::remove_file(files.path("geo.mmdb")).unwrap();
    let second = setup.start().await;
    until_degraded(&second, true).await;
    let geo = second.get("/readyz").json()["geo"].clone();
    assert!(lines(&geo["faults"])[0].contains("No such file"), "{geo}");
    assert!(
        lines(&geo["warnings"])[0].contains("kept from an earlier run"),
        "{geo}"
    );
    let after = ask(&mut second.client().await, PARIS).await;
    assert_eq!(after.candidates, before.candidates);
    assert_eq!(after.notes, ["geo_degraded"]);
    files.replace("geo.mmdb", example::GEO);
    until_degraded(&second, false).await;
    assert_eq!(
        lines(&second.get("/readyz").json()["geo"]["warnings"]).len(),
        0
    );
}

#[tokio::test]
async fn spoilt_tables_on_disk_are_passed_over_and_written_anew() {
    let files = Files::new();
    files.write("geo.mmdb", example::GEO);
    let setup = files.setup().with("geo", files.path("geo.mmdb"));
    let keep = Keep::new(files.state());
    let first = setup.clone().start().await;
    until_kept(&first, &files, 1).await;
    first.kill();
    let whole = fs::read(keep.path()).unwrap();
    let mut turned = whole.clone();
    turned[whole.len() / 2] ^= 0x40;
    for spoilt in [
        turned,
        whole[..whole.len() / 2].to_vec(),
        vec![0; 100],
        vec![],
    ] {
        fs::write(keep.path(), spoilt).unwrap();
        let server = setup.clone().start().await;
        until_degraded(&server, false).await;
        assert!(!server.log().contains(TAKEN_FROM_DISK));
        assert!(
            server
                .log()
                .contains("the geo tables that were kept are passed over")
        );
        until_kept(&server, &files, 1).await;
        assert_eq!(fs::read(keep.path()).unwrap(), whole);
        server.kill();
    }
    // Without geo files there is nothing to keep.
    let server = files.setup().start().await;
    assert!(!keep.path().exists());
    drop(server);
}

/// A published file, or `None` after the one line that says so.
fn shared(test: &str, name: &str) -> Option<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if directory.is_dir() {
        Some(directory.join("geo").join(name))
    } else {
        println!("skipped: {test}: ../shared/data is not here");
        None
    }
}

#[tokio::test]
async fn published_files_of_both_layouts_are_served() {
    let test = "published_files_of_both_layouts_are_served";
    let mut places = Vec::new();
    for name in [
        "GeoLite2-City-Test.mmdb",
        "dbip-city-subset-flat.mmdb",
        "dbip-city-subset-nested.mmdb",
    ] {
        let Some(path) = shared(test, name) else {
            return;
        };
        let files = Files::new();
        let server = files.setup().with("geo", path).start().await;
        until_degraded(&server, false).await;
        let mut client = server.client().await;
        // A documented network of the first file, in Boxford, England.
        let answer = ask(&mut client, "2.125.160.217").await;
        if name.starts_with("GeoLite2") {
            assert_eq!(answer.notes.len(), 0, "{answer:?}");
            assert_eq!(answer.candidates[0].site, "par");
        }
        let cells = server.get("/readyz").json()["geo"]["cells"].clone();
        places.push((name, cells));
    }
    assert_eq!(
        places[1].1, places[2].1,
        "the same networks in either layout"
    );
}
