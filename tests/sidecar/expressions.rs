//! Expressions in rules, and warnings about a file in use, from outside.

use crate::client::{at, request};
use crate::server::Files;
use tradewind::sidecar::wire::proto::{Client, DecideRequest, Header};

const POLICY: &str = "apiVersion: tradewind/v1
kind: Policy
spec:
  geo: {default: {lat: 50.1, lon: 8.7}}
  signals: {load: {max_age: 2s}}
  pools:
  - {name: paris, select: {sites: [par]}}
  - {name: edge, select: {tier: edge}}
  rules:
  - name: beta
    owner: web
    rollback: none
    when: client.country == \"FR\" || request.headers[\"x-beta\"] == \"1\"
    pools: [paris]
  - {name: all, owner: web, rollback: none, pools: [edge]}
";

fn of(country: &str, beta: Option<&str>) -> DecideRequest {
    let headers = beta.map(|value| Header {
        name: "X-Beta".to_owned(),
        value: value.to_owned(),
    });
    DecideRequest {
        client: Some(Client {
            country: country.to_owned(),
            ..at((50.1, 8.7))
        }),
        headers: headers.into_iter().collect(),
        ..request("/a")
    }
}

#[tokio::test]
async fn a_rule_holds_where_its_expression_does_and_failures_are_counted_and_told() {
    let files = Files::new();
    files.write("policy.yaml", POLICY);
    let server = files.setup().start().await;
    let errors = "tradewind_rule_when_errors_total{rule=\"beta\"}";
    assert_eq!(server.count(errors), 0, "there before the first");
    let mut client = server.client().await;
    for (country, beta, rule) in [
        ("FR", None, "beta"),
        ("DE", Some("1"), "beta"),
        ("", Some("1"), "beta"),
        ("DE", Some("0"), "all"),
    ] {
        let answer = client.decide(of(country, beta)).await;
        assert_eq!(answer.rule, rule, "{country} {beta:?}");
    }
    assert_eq!(server.count(errors), 0);
    for _ in 0..3 {
        assert_eq!(client.decide(of("DE", None)).await.rule, "all");
    }
    assert_eq!(server.count(errors), 3);
    let why = client.explain(of("DE", None)).await.explanation.unwrap();
    assert_eq!(why.when_failures.len(), 1);
    assert_eq!(why.when_failures[0].rule, "beta");
    let said =
        "rule `beta`: `when` failed: no such key request.headers[\"x-beta\"], taken as false";
    assert!(
        why.summary.iter().any(|line| line == said),
        "{:?}",
        why.summary
    );
    assert_eq!(server.count(errors), 3, "explaining is not deciding");
}

#[tokio::test]
async fn what_check_warns_of_a_sidecar_logs_and_shows() {
    let files = Files::new();
    files.write("policy.yaml", POLICY);
    let server = files.setup().start().await;
    let warnings = server.get("/readyz").json()["policy"]["warnings"].to_string();
    for code in ["P047", "P048"] {
        assert!(warnings.contains(code), "{code}: {warnings}");
        server.until_said(code).await;
    }
    let refused = POLICY.replace("client.country ==", "client.county ==");
    files.replace("policy.yaml", refused);
    let policy = || server.get("/readyz").json()["policy"].to_string();
    server
        .until("it is refused", || policy().contains("P035"))
        .await;
    let said = policy();
    assert!(said.contains("did you mean `country`?"), "{said}");
    assert!(said.contains(":13:18"), "{said}");
}
