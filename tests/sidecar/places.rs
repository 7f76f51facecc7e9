//! Where clients are taken to be whom nobody can place: where the sidecar is, if it was told.

use std::collections::BTreeSet;

use crate::client::{at, from_ip, request};
use crate::fleet::Fleet;
use crate::server::Files;
use tradewind::sidecar::wire::proto::DecideRequest;

fn of_nobody(path: &str, number: u8) -> DecideRequest {
    DecideRequest {
        client: Some(from_ip(&format!("198.51.{number}.7"))),
        ..request(path)
    }
}

#[tokio::test]
async fn a_sidecar_that_knows_its_site_sends_unknown_clients_there_and_stays_where_it_was() {
    let files = Files::new();
    let server = files.setup().with("here", "par").start().await;
    let mut client = server.client().await;
    for number in 0..20 {
        let answer = client.decide(of_nobody("/a", number)).await;
        assert_eq!(answer.candidates[0].site, "par");
        assert_eq!(answer.notes, ["here_location"]);
        assert!(answer.candidates[0].expected_ms.is_some_and(|ms| ms < 30.0));
    }
    // Who says where the client is knows better.
    let known = DecideRequest {
        client: Some(at((50.1, 8.7))),
        ..request("/a")
    };
    assert_eq!(client.decide(known).await.candidates[0].site, "fra");
    let ready = server.get("/readyz").json();
    assert_eq!(ready["here"]["setting"], "par");
    assert_eq!(ready["here"]["location"][0], 49.01);
    assert!(ready["here"].get("warning").is_none(), "{ready}");
    // The policy has no default place, which is nobody's concern here.
    let warnings = ready["policy"]["warnings"].to_string();
    assert!(!warnings.contains("P024"), "{warnings}");
    let counted = "tradewind_client_places_total{source=\"here\",precision=\"point\"}";
    assert_eq!(server.count(counted), 20);

    let mut left = Fleet::usual();
    left.nodes.retain(|node| node.site != "par");
    let text = left.text();
    let lines = text.lines().filter(|line| !line.contains("{id: par,"));
    let text: Vec<&str> = lines.collect();
    files.replace("topology.yaml", text.join("\n"));
    server.until_revision(2).await;
    let ready = || server.get("/readyz").json();
    let is_warned = || ready()["here"]["warning"].is_string();
    server.until("it warns", is_warned).await;
    let ready = ready();
    let warning = ready["here"]["warning"].as_str().unwrap();
    assert!(warning.contains("here is the site `par`"), "{warning}");
    assert!(warning.contains("`ams`, `dub`, `fra`, `nyc`"), "{warning}");
    assert_eq!(ready["here"]["location"][0], 49.01);
    let answer = client.decide(of_nobody("/a", 1)).await;
    assert_eq!(answer.candidates[0].site, "fra", "the next from Paris");
    assert_eq!(answer.notes, ["here_location"]);
}

#[tokio::test]
async fn without_any_place_unknown_clients_are_spread_and_no_cost_is_invented() {
    let files = Files::new();
    let server = files.setup().start().await;
    let mut client = server.client().await;
    let mut sites = BTreeSet::new();
    for number in 0..60 {
        let answer = client.decide(of_nobody("/a", number)).await;
        assert_eq!(answer.notes, ["unknown_location"]);
        assert!(answer.candidates.iter().all(|c| c.expected_ms.is_none()));
        sites.insert(answer.candidates[0].site.clone());
    }
    let sites: Vec<&str> = sites.iter().map(String::as_str).collect();
    assert_eq!(sites, ["fra", "nyc", "par"]);
    let explained = client.explain(of_nobody("/a", 1)).await;
    let why = explained.explanation.unwrap();
    let place = why.client.unwrap();
    assert_eq!(
        (place.source.as_str(), place.cell_center),
        ("nowhere", None)
    );
    assert_eq!(why.sharing_sites, 3);
    for site in &why.sites {
        assert_eq!((site.distance_km, site.network_ms), (None, None));
    }
    let ready = server.get("/readyz").json();
    assert!(ready.get("here").is_none());
    let warnings = ready["policy"]["warnings"].to_string();
    assert!(
        warnings.contains("P024") && warnings.contains("--here"),
        "{warnings}"
    );
}

#[test]
fn a_site_that_the_topology_does_not_have_ends_the_start() {
    let files = Files::new();
    let (status, said) = files.setup().with("here", "lhr").refused();
    assert!(!status.success());
    let expected = "here is the site `lhr`, which the topology does not have; it has `ams`, `dub`, `fra`, `nyc`, `par`";
    assert!(said.contains(expected), "{said}");
    let (status, said) = files.setup().with("here", "91,0").refused();
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(
        said.contains("here: `91,0` is no place, must be the id of a site, or LAT,LON"),
        "{said}"
    );
    assert!(!said.contains("panicked"), "{said}");
}
