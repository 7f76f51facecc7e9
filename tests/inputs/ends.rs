//! A document that is cut anywhere is told from the whole one, where it says that it ends.

use tradewind::engine::document::has_end;
use tradewind::engine::policy;
use tradewind::engine::topology;
use tradewind::example;

/// How many of the texts that are cut at a byte can be used: of all, and of those that say that they end there.
fn taken(text: &str, can_be_used: impl Fn(&str) -> bool) -> [usize; 2] {
    let cut = (0..text.len()).filter_map(|at| text.get(..at));
    let used: Vec<&str> = cut.filter(|cut| can_be_used(cut)).collect();
    let say_so = used.iter().filter(|cut| has_end(cut)).count();
    [used.len(), say_so]
}

#[test]
fn no_cut_policy_says_that_it_ends() {
    let text = format!("{}\nend: true", example::POLICY.trim_end());
    let fleet = topology::compile("t", example::TOPOLOGY).topology.unwrap();
    let [all, say_so] = taken(&text, |cut| {
        policy::compile("p", cut, &fleet).policy.is_some()
    });
    println!(
        "of {} cut policies {all} can be used, {say_so} of them say that they end",
        text.len()
    );
    assert_eq!(say_so, 0);
    assert!(policy::compile("p", &text, &fleet).policy.is_some() && has_end(&text));
}

#[test]
fn no_cut_topology_says_that_it_ends() {
    let text = format!("{}\nend: true", example::TOPOLOGY.trim_end());
    let [all, say_so] = taken(&text, |cut| topology::compile("t", cut).topology.is_some());
    println!(
        "of {} cut topologies {all} can be used, {say_so} of them say that they end",
        text.len()
    );
    assert_eq!(say_so, 0);
    assert!(topology::compile("t", &text).topology.is_some() && has_end(&text));
}
