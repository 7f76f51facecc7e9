//! The examples of a policy, tried: each is decided as any request is, and what came out is held against what it says.
//!
//! They are decided by the two documents alone: every node ready whatever operators say of it, nothing measured, no geo
//! files. So an example comes out alike in `check`, in every sidecar and at every hour, and a policy is never refused
//! because a node is drained just now.

use std::sync::Arc;

use crate::document::{Code, Diagnostic, Diagnostics, Limits, Path, Severity, Source};
use crate::evaluate::{Evaluation, MatchedBy, Verdict, evaluate};
use crate::geo::ranges::Ranges;
use crate::policy::{Action, Example, List, Policy};
use crate::snapshot::{GeoState, Parts, Snapshot};
use crate::topology::Topology;

/// An example that was tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried<'p> {
    /// The example.
    pub example: &'p Example,
    /// The rule that it stands in.
    pub rule: &'p str,
    /// What became of it.
    pub came_out: CameOut,
    /// What of that is not as the example says, each in a few words; empty for one that holds.
    pub wrong: Vec<String>,
}

impl Tried<'_> {
    /// Whether all came out as it says.
    pub fn holds(&self) -> bool {
        self.wrong.is_empty()
    }
}

/// What became of an example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameOut {
    /// The rule that it is; `None` where no rule matches.
    pub rule: Option<Box<str>>,
    /// Whether nodes are named.
    pub verdict: Verdict,
    /// Why, in a word.
    pub reason: &'static str,
    /// The site of the first node.
    pub site: Option<Box<str>>,
    /// The first node.
    pub node: Option<Box<str>>,
}

/// Tries every example of a policy on the fleet it was compiled against.
pub fn try_all<'p>(policy: &'p Arc<Policy>, topology: &Topology) -> Vec<Tried<'p>> {
    if policy.examples().is_empty() {
        return Vec::new();
    }
    let parts = Parts {
        topology: Arc::new(topology.all_ready()),
        policy: Arc::clone(policy),
        candidate: None,
        geo: Arc::new(Ranges::default()),
        geo_state: GeoState::NotConfigured,
        here: None,
        signals: Arc::default(),
    };
    let snapshot = Snapshot::build(1, parts, None);
    let rules = policy.routing().rules();
    let tried = policy.examples().iter().map(|example| {
        let came_out = example
            .request
            .ask(|query| CameOut::of(&evaluate(&snapshot, query), policy, topology));
        let rule = rules.get(example.rule.get()).map_or("", |rule| &rule.name);
        let wrong = wrong(example, rule, &came_out, topology);
        Tried {
            example,
            rule,
            came_out,
            wrong,
        }
    });
    tried.collect()
}

/// A finding, of this code, for each example that does not hold. `file` and `text` are the policy's.
pub fn findings(
    (file, text): (&str, &str),
    policy: &Arc<Policy>,
    topology: &Topology,
    code: Code,
) -> Diagnostics {
    let mut tried = try_all(policy, topology);
    tried.retain(|tried| !tried.holds());
    let mut found = Diagnostics::default();
    if tried.is_empty() {
        return found;
    }
    let (source, _) = Source::read(file, text, &Limits::default());
    let help = match code.severity() {
        Severity::Error => "mend the rule, or the example if it is what is wrong",
        Severity::Warning => {
            "mend the example: a sidecar that starts with nothing kept refuses the policy for it"
        }
    };
    for tried in tried {
        let message = format!(
            "the example `{}` of rule `{}` gets {}",
            tried.example.request.url,
            tried.rule,
            tried.wrong.join(", ")
        );
        found.push(fault(&source, tried.example, code, (message, help)));
    }
    found
}

/// The line of an example in the policy's text, from 1.
pub fn line(source: &Source, example: &Example) -> usize {
    fault(source, example, Code::P037, (String::new(), "")).line
}

/// A finding where an example stands.
fn fault(source: &Source, example: &Example, code: Code, said: (String, &str)) -> Diagnostic {
    let spec = Path::Root.field("spec");
    let rules = spec.field("rules");
    let rule = rules.index(example.rule.get());
    let lists = rule.field("examples");
    let list = lists.field(example.list.name());
    source.fault(code, &list.index(example.position), said)
}

impl CameOut {
    fn of(evaluation: &Evaluation, policy: &Policy, topology: &Topology) -> Self {
        let rule = match evaluation.matched {
            MatchedBy::Rule(index) => policy.routing().rules().get(index.get()),
            MatchedBy::Pool(_) | MatchedBy::Nothing => None,
        };
        let first = evaluation.picks.first().map(|pick| pick.node);
        let site = first.map(|node| topology.site(topology.site_of(node)));
        Self {
            rule: rule.map(|rule| rule.name.clone()),
            verdict: evaluation.verdict,
            reason: evaluation.reason.name(),
            site: site.map(|site| site.id.clone()),
            node: first.map(|node| topology.node(node).id.clone()),
        }
    }
}

/// What is not as the example says.
fn wrong(example: &Example, rule: &str, came_out: &CameOut, topology: &Topology) -> Vec<String> {
    let then = &example.then;
    let mut wrong = Vec::new();
    let got = came_out.rule.as_deref();
    match (example.list, then.rule.as_deref()) {
        (List::Match, _) => wrong.extend(other("rule", Some(rule), got)),
        (List::NoMatch, Some(wanted)) => wrong.extend(other("rule", Some(wanted), got)),
        (List::NoMatch, None) if got == Some(rule) => {
            wrong.push(format!("rule `{rule}` instead of another"));
        }
        (List::NoMatch, None) => {}
    }
    if let Some(action) = then.verdict {
        let wanted = match action {
            Action::Route => Verdict::Route,
            Action::Refuse => Verdict::Refuse,
        };
        if came_out.verdict != wanted {
            let (verdict, wanted) = (came_out.verdict.name(), wanted.name());
            let reason = came_out.reason;
            wrong.push(format!("`{verdict}` ({reason}) instead of `{wanted}`"));
        }
    }
    wrong.extend(other(
        "site",
        then.site.as_deref(),
        came_out.site.as_deref(),
    ));
    wrong.extend(other(
        "node",
        then.node.as_deref(),
        came_out.node.as_deref(),
    ));
    let site = then.site.as_deref();
    let is_site = |id: &str| topology.sites().iter().any(|site| &*site.id == id);
    wrong.extend(missing("site", site.filter(|id| !is_site(id))));
    let node = then.node.as_deref();
    let is_node = |id: &str| topology.nodes().iter().any(|node| &*node.id == id);
    wrong.extend(missing("node", node.filter(|id| !is_node(id))));
    wrong
}

/// Says that another `what` came out than was wanted, if one was.
fn other(what: &str, wanted: Option<&str>, got: Option<&str>) -> Option<String> {
    let wanted = wanted.filter(|wanted| got != Some(wanted))?;
    Some(match got {
        Some(got) => format!("{what} `{got}` instead of `{wanted}`"),
        None => format!("no {what} instead of `{wanted}`"),
    })
}

fn missing(what: &str, id: Option<&str>) -> Option<String> {
    Some(format!("the topology has no {what} `{}`", id?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{policy, topology};

    const TOPOLOGY: &str = "apiVersion: tradewind/v1\nkind: Topology\nspec:\n  sites:\n  \
        - {id: fra, lat: 50.1, lon: 8.7}\n  - {id: nyc, lat: 40.7, lon: -74.0}\n  nodes:\n  \
        - {id: fra-1, site: fra, address: \"192.0.2.1:80\", state: drain}\n  \
        - {id: nyc-1, site: nyc, address: \"192.0.2.2:80\"}\n";

    fn policy_with(examples: &str) -> String {
        format!(
            "apiVersion: tradewind/v1\nkind: Policy\nspec:\n  pools: [{{name: all}}]\n  geo: {{default: {{lat: 40, lon: -70}}}}\n  \
             rules:\n  - name: video\n    owner: us\n    rollback: none\n    \
             match: {{hosts: [www.example.com], paths: [{{value: /video}}], headers: [{{name: X-Kind, exact: big}}]}}\n    \
             pools: [all]\n    examples:\n{examples}\
             \n  - {{name: secret, owner: us, rollback: none, match: {{paths: [{{value: /secret}}]}}, action: refuse}}\
             \n  - {{name: rest, owner: us, rollback: none, pools: [all]}}\n"
        )
    }

    fn compiled(examples: &str) -> (Arc<Policy>, Topology) {
        let topology = topology::compile("t", TOPOLOGY).topology.unwrap();
        let compiled = policy::compile("p", &policy_with(examples), &topology);
        let lines = compiled.diagnostics.to_lines();
        let policy = compiled
            .policy
            .unwrap_or_else(|| panic!("{}", lines.join("\n")));
        (Arc::new(policy), topology)
    }

    fn wrong(examples: &str) -> Vec<String> {
        let (policy, topology) = compiled(examples);
        let tried = try_all(&policy, &topology);
        tried.into_iter().flat_map(|tried| tried.wrong).collect()
    }

    #[test]
    fn examples_that_come_out_as_they_say_are_passed_over() {
        let examples = "      match:\n      \
            - {url: 'https://WWW.example.com:443/a/../video/1?x', headers: {x-kind: big}, lat: 50, lon: 8, then: {site: fra, node: fra-1}}\n      \
            - {url: 'http://www.example.com/video', headers: {X-KIND: big, other: thing}, then: {site: nyc, verdict: route}}\n      \
            no_match:\n      - {url: 'https://www.example.com/video'}\n      \
            - {url: 'https://a.example/secret/a', then: {rule: secret, verdict: refuse}}\n";
        assert_eq!(wrong(examples), Vec::<String>::new());
    }

    #[test]
    fn what_comes_out_otherwise_is_said() {
        let examples = "      match:\n      \
            - {url: 'https://www.example.com/video', then: {site: fra}}\n      \
            - {url: 'https://a.example/secret', then: {verdict: route}}\n      \
            no_match:\n      \
            - {url: 'https://www.example.com/video', headers: {x-kind: big}}\n      \
            - {url: 'https://www.example.com/', then: {rule: secret, node: lon-1}}\n";
        let said = [
            "rule `rest` instead of `video`",
            "site `nyc` instead of `fra`",
            "rule `secret` instead of `video`",
            "`refuse` (refused_by_rule) instead of `route`",
            "rule `video` instead of another",
            "rule `rest` instead of `secret`",
            "node `nyc-1` instead of `lon-1`",
            "the topology has no node `lon-1`",
        ];
        assert_eq!(wrong(examples), said);
    }

    #[test]
    fn a_finding_stands_at_the_line_of_its_example() {
        let examples = "      match:\n      - {url: 'https://www.example.com/'}\n";
        let (policy, topology) = compiled(examples);
        let text = policy_with(examples);
        let found = findings(("p", &text), &policy, &topology, Code::P037);
        let found = &found.items()[0];
        let line = text.lines().position(|line| line.contains("url")).unwrap() + 1;
        assert_eq!((found.line, found.code), (line, Code::P037));
        assert_eq!(
            found.message,
            "the example `https://www.example.com/` of rule `video` gets rule `rest` instead of `video`"
        );
        assert_eq!(found.path, "spec.rules[0].examples.match[0]");
    }

    #[test]
    fn what_no_request_can_be_is_refused_all_at_once() {
        let examples = "      match:\n      \
            - {url: /video, method: GTE, client: nobody, country: XX, asn: 0, lat: 91, lon: 0, class: big, then: {rule: rest}}\n      \
            - {url: 'https://a_b c/', lat: 1}\n      \
            no_match:\n      - {url: 'https://a.example/', then: {rule: video}}\n      \
            - {url: 'https://a.example/%zz', then: {rule: res}}\n";
        let topology = topology::compile("t", TOPOLOGY).topology.unwrap();
        let compiled = policy::compile("p", &policy_with(examples), &topology);
        let lines = compiled.diagnostics.to_lines().join("\n");
        for said in [
            "it names no host",
            "GTE",
            "`nobody` is not an address",
            "XX",
            "0 is the number of no network",
            "91 is out of range",
            "big",
            "an example of `video` names a rule",
            "a_b c",
            "`lat` without `lon`",
            "an example that is not `video`'s is to be `video`'s",
            "`res`",
        ] {
            assert!(lines.contains(said), "{said}:\n{lines}");
        }
        assert!(compiled.policy.is_none());
    }
}
