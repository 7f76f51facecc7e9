//! Commands that only print: schemas and completions.

use crate::support::{json, tradewind};
use tradewind::command::Exit;

#[test]
fn schemas_are_json_and_describe_every_field() {
    let policy = json(&["schema", "policy"]);
    assert_eq!(policy["$id"], "urn:tradewind:schema:v1:policy");
    assert!(policy["$defs"]["RuleDocument"]["properties"]["geofence"]["description"].is_string());
    let topology = json(&["schema", "topology"]);
    assert_eq!(topology["additionalProperties"], false);
    let required = topology["$defs"]["NodeDocument"]["required"].as_array();
    assert!(required.is_some_and(|names| names.contains(&"address".into())));
    let http = json(&["schema", "http"]);
    assert_eq!(http["openapi"], "3.1.0");
    assert!(http["paths"]["/v1/route"]["head"]["responses"]["200"].is_object());
    let debug = json(&["schema", "debug"]);
    assert!(debug["paths"]["/debug/overview"]["get"]["responses"]["200"].is_object());
    let settings = json(&["schema", "settings"]);
    assert_eq!(settings["properties"]["workers"]["maximum"], 256);
    assert_eq!(tradewind(&["schema", "world"]).exit, Exit::Usage);
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = tradewind(&["completions", shell]);
        assert_eq!(ran.exit, Exit::Good);
        assert!(
            ran.out.contains("replay") && ran.out.contains("deny-warnings"),
            "{shell}"
        );
    }
    assert_eq!(tradewind(&["completions", "cmd"]).exit, Exit::Usage);
}
