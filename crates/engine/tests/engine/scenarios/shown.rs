//! Answers and explanations as the text that scenarios expect.

use std::fmt::Write as _;

use tradewind_engine::decision::Decision;
use tradewind_engine::evaluate::{Verdict, evaluate};
use tradewind_engine::explanation::{Explanation, SiteLine};
use tradewind_engine::query::Query;
use tradewind_engine::snapshot::Snapshot;

/// The answer as text.
pub(super) fn answer(snapshot: &Snapshot, query: &Query<'_>) -> String {
    let evaluation = evaluate(snapshot, query);
    let decision = Decision::new(snapshot, &evaluation);
    let or_dash = |text: &str| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text.to_owned()
        }
    };
    let mut text = format!(
        "{}: {}, rung {}, {}\n",
        evaluation.verdict.name(),
        evaluation.reason.name(),
        evaluation.rung.name(),
        decision.purity().name(),
    );
    let (rule, pool_name) = (or_dash(decision.rule_name()), or_dash(decision.pool_name()));
    let matched = if evaluation.verdict == Verdict::Route {
        format!(
            "rule {rule}, pool {pool_name}, cache {}",
            decision.cache_hint().name()
        )
    } else if let Some(shed) = evaluation.shed {
        format!("rule {rule}, come back in {} s", shed.retry_after_s)
    } else {
        format!("rule {rule}")
    };
    writeln!(text, "{matched}").expect("a string takes all");
    for (at, candidate) in decision.candidates().enumerate() {
        let (node, place, tier, why) = (
            &candidate.node.id,
            &candidate.site.id,
            candidate.tier,
            candidate.role.name(),
        );
        writeln!(
            text,
            "{} {node} at {place} ({tier}), {why}, {}",
            at + 1,
            known(candidate.expected_ms, 2, "ms")
        )
        .expect("a string takes all");
    }
    for note in decision.notes() {
        writeln!(text, "note: {}", note.name()).expect("a string takes all");
    }
    text
}

/// The explanation as text.
pub(super) fn explanation(snapshot: &Snapshot, query: &Query<'_>) -> String {
    let evaluation = evaluate(snapshot, query);
    let explanation = Explanation::new(snapshot, query, &evaluation);
    let topology = snapshot.topology();
    let mut text = String::new();
    for line in &explanation.sites {
        let id = &topology.site(line.site).id;
        let (standing, nodes) = (line.standing.name(), line.admitted_nodes);
        writeln!(
            text,
            "{id} {standing}, {}, nodes {nodes}: {}",
            known(line.distance_km, 0, "km"),
            sum(line)
        )
        .expect("a string takes all");
        let evidence = line.evidence.named();
        for (term, known) in evidence.iter().filter(|(_, known)| known.samples > 0) {
            let (samples, age) = (known.samples, f64::from(known.age_ms) / 1_000.0);
            let assumed = known.prior_share * 100.0;
            writeln!(
                text,
                "  {term}: {samples} samples, {age} s old, {assumed:.0} % assumed"
            )
            .expect("a string takes all");
        }
    }
    if explanation.sharing_sites > 1 {
        writeln!(
            text,
            "{} sites share such clients",
            explanation.sharing_sites
        )
        .expect("a string takes all");
    }
    if explanation.spread_cut > 0 {
        let more = explanation.spread_cut;
        writeln!(text, "{more} within the spread share no keys").expect("a string takes all");
    }
    for failure in &explanation.when_failures {
        let rule = snapshot.routing().rules().get(failure.rule.get());
        let rule = &rule.expect("a rule of the policy's").name;
        writeln!(text, "rule {rule}: `when` failed: {}", failure.why).expect("a string takes all");
    }
    text += &home(snapshot, &explanation);
    text += &site_flips(snapshot, &explanation);
    if let Some(second) = explanation.flips.second_node {
        let id = &topology.node(second.node).id;
        writeln!(
            text,
            "{id} would own the key with {:.3} times its weight",
            second.flip_weight_ratio
        )
        .expect("a string takes all");
    }
    for line in &explanation.nodes {
        if let Some(reason) = line.eliminated {
            writeln!(
                text,
                "{} eliminated: {}",
                topology.node(line.node).id,
                reason.name()
            )
            .expect("a string takes all");
        }
    }
    text
}

/// Where the key is at home, if it is not there.
fn home(snapshot: &Snapshot, explanation: &Explanation) -> String {
    let away = explanation.home.and_then(|home| Some((home, home.away?)));
    let Some((home, away)) = away else {
        return String::new();
    };
    let node = &snapshot.topology().node(home.node).id;
    let shift = home.shift.map_or_else(String::new, |shift| {
        format!(", most by {}, {:.2} ms", shift.term, shift.ms)
    });
    format!("at home at {node}: {}{shift}\n", away.name())
}

/// Which sites other numbers would bring in.
fn site_flips(snapshot: &Snapshot, explanation: &Explanation) -> String {
    let id = |site| &snapshot.topology().site(site).id;
    let flips = explanation.flips;
    let lines = [
        flips.runner_up.map(|other| {
            let (id, ms) = (id(other.site), other.flip_ms);
            format!("{id} would win if the best were {ms:.2} ms slower\n")
        }),
        flips.next_sharer.map(|other| {
            let (id, ratio) = (id(other.site), other.flip_weight_ratio);
            format!("{id} would come first with {ratio:.3} times its weight\n")
        }),
        flips.joiner.map(|other| {
            let (id, ms) = (id(other.site), other.join_ms);
            format!("{id} would share if it were {ms:.2} ms faster\n")
        }),
    ];
    lines.into_iter().flatten().collect()
}

/// A quantity, or that it is not known.
fn known(quantity: Option<f32>, decimals: usize, unit: &str) -> String {
    quantity.map_or_else(
        || format!("unknown {unit}"),
        |quantity| format!("{quantity:.decimals$} {unit}"),
    )
}

/// `5.00 network + 20.00 miss = 25.00 ms`, without terms that are zero; and what the site is chosen by, if that is another
/// number.
fn sum(line: &SiteLine) -> String {
    let terms = line.terms.named();
    let shown: Vec<String> = terms
        .iter()
        .filter(|(_, ms)| ms.abs() > 0.0)
        .map(|(name, ms)| format!("{ms:.2} {name}"))
        .collect();
    let total_ms = line.terms.total_ms();
    let held = if (line.choice_ms - total_ms).abs() < 0.005 {
        String::new()
    } else {
        format!(", chosen by {:.2} ms", line.choice_ms)
    };
    format!("{} = {total_ms:.2} ms{held}", shown.join(" + "))
}
