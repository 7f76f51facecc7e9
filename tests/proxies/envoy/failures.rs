//! What the sidecar learns from Envoy's log of attempts and from its load reports, and how soon it acts on it.

use tradewind_demo::nodes::Behaviour;

use super::traffic::{self, Visit};
use super::{Envoy, PATIENT, TELL_THE_LIST};
use crate::rig::Setup;
use crate::visits::get;

/// A patience with nodes that hang that is short.
pub(super) fn impatient() -> Setup {
    Setup {
        policy: vec![(
            "      candidates: 3\n",
            "      candidates: 3\n      attempt_timeout: 100ms\n",
        )],
        ..Setup::default()
    }
}

/// A node fails: how many requests meet it before it is no longer named?
fn opens_within_five(test: &str, behaviour: Behaviour, result: &str) {
    let edits = [TELL_THE_LIST, PATIENT];
    if let Some(mut envoy) = Envoy::start_with(test, "envoy.yaml", &edits, impatient()) {
        is_left_within_five(&mut envoy, behaviour, result);
    }
}

/// The same of an Envoy that runs. One that decides by itself knows of an open breaker a second later.
pub(super) fn is_left_within_five(envoy: &mut Envoy, behaviour: Behaviour, result: &str) {
    let mut proxy = envoy.connect();
    // Objects that Frankfurt's clients find at one node of Frankfurt.
    let mut of_frankfurt = traffic::made_up(400).into_iter().step_by(3);
    let one = of_frankfurt.next().unwrap();
    let first = traffic::visit(envoy, &mut proxy, &one).listed.remove(0);
    let mut own: Vec<Visit> = of_frankfurt.collect();
    own.retain(|visit| traffic::visit(envoy, &mut proxy, visit).listed[0] == first);
    assert!(own.len() > 5, "{}", own.len());
    envoy.rig.behave(&first, behaviour);
    // One at a time: the next request comes when the sidecar has been told of this one.
    let sample = format!("tradewind_outcomes_total{{result=\"{result}\"}}");
    let mut failures = 0;
    for visit in own.iter().take(5) {
        let seen = traffic::visit(envoy, &mut proxy, visit);
        assert_eq!(seen.status, 200, "{seen:?}");
        if seen.listed[0] != first {
            break;
        }
        assert_eq!(
            (&seen.node, seen.attempts),
            (&seen.listed[1], 2),
            "{seen:?}"
        );
        failures += 1;
        let told = f64::from(failures);
        let sidecar = &mut envoy.rig.sidecar;
        sidecar.until("the failure is told", |pages| pages.metric(&sample) >= told);
    }
    let state = format!(
        "tradewind_breaker_state{{node=\"{}\"}}",
        envoy.rig.node_at(&first)
    );
    let sidecar = &mut envoy.rig.sidecar;
    sidecar.until("the breaker is open", |pages| pages.metric(&state) > 1.5);
    let last = &own[5];
    envoy.process.until("the node is left", || {
        let reply = get(&mut proxy, &last.target, &last.client);
        let listed = reply.header("x-listed");
        listed.is_some_and(|listed| !listed.contains(&first))
    });
    let seen = traffic::visit(envoy, &mut proxy, last);
    assert!(
        !seen.listed.contains(&first) && seen.attempts == 1,
        "{seen:?}"
    );
    crate::tools::note(&format!(
        "envoy: the breaker opened after {failures} failures of `{behaviour}`"
    ));
}

#[test]
fn envoy_tells_of_refused_connections_until_the_breaker_opens() {
    opens_within_five(
        "envoy_tells_of_refused_connections_until_the_breaker_opens",
        Behaviour::Refuse,
        "error",
    );
}

#[test]
fn envoy_tells_of_errors_until_the_breaker_opens() {
    opens_within_five(
        "envoy_tells_of_errors_until_the_breaker_opens",
        Behaviour::Error,
        "error",
    );
}

#[test]
fn envoy_tells_of_timeouts_until_the_breaker_opens() {
    opens_within_five(
        "envoy_tells_of_timeouts_until_the_breaker_opens",
        Behaviour::Hang,
        "timeout",
    );
}

#[test]
fn envoy_tells_what_nodes_say_of_their_load() {
    let test = "envoy_tells_what_nodes_say_of_their_load";
    let Some(mut envoy) = Envoy::start(test) else {
        return;
    };
    let mut proxy = envoy.connect();
    let visits = traffic::made_up(90);
    for visit in &visits {
        traffic::visit(&envoy, &mut proxy, visit);
    }
    let Envoy { rig, process, .. } = &mut envoy;
    process.until("load and hit ratio of a node are known", || {
        let nodes = rig.sidecar.page("/debug/nodes").json();
        let mut nodes = nodes["nodes"].as_array().unwrap().iter();
        nodes.any(|node| {
            let health = &node["health"];
            health["utilisation"].as_f64() > Some(0.0) && health["told_hit_ratio"].is_number()
        })
    });
    let refused = "tradewind_reports_refused_total{kind=\"load\",reason=\"unknown_node\"}";
    assert!(rig.sidecar.metric(refused) < 0.5);
}
