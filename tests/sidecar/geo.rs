//! Geo files come late, break while they are in use, and are mended.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use tradewind::example;
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
    let server = setup.start().await;
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
    for spoil in 0..5 {
        match spoil {
            0 => truncate(length / 2),
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
