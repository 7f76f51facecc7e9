//! Requests that nobody sends, for a plan without traffic: of every rule of both editions, by clients at and around the
//! sites and of the networks that the geo tables know. The same editions make the same requests.

use super::{Asked, Basis, Planner, Report};
use crate::model::RuleIndex;
use crate::policy::Routing;
use crate::query::Client;
use crate::snapshot::Snapshot;

/// Requests that are made up where there are fewer rules than that: enough that one percent of them is known to within
/// half of that.
const PROBES: usize = 4_096;

/// Most requests that are made up, whatever the number of rules, beside the examples that stand in them.
pub const MAX_PROBES: usize = 20_000;

/// The plan of a change by made-up requests alone.
pub fn of_probes(before: &Snapshot, after: &Snapshot) -> Report {
    let mut planner = Planner::new(before, after, Basis::Probes);
    for snapshot in [after, before] {
        for example in snapshot.policy().examples() {
            example
                .request
                .ask(|query| planner.observe(Asked::alike(query), 1));
        }
    }
    let clients = clients(after);
    let rules: Vec<(&Routing, RuleIndex)> = [after, before].into_iter().flat_map(rules).collect();
    let count = PROBES.max(rules.len()).min(MAX_PROBES);
    // Each rule in turn, and when all have had theirs the next client for each.
    let turns = rules.iter().cycle().take(count).enumerate();
    for (at, (routing, rule)) in turns {
        let number = at / rules.len();
        let client = clients.get((at + number) % clients.len().max(1));
        if let Some(specimen) = routing.specimen(*rule, number) {
            let client = client.copied().unwrap_or_default();
            specimen.ask(client, |query| planner.observe(Asked::alike(query), 1));
        }
    }
    planner.finish()
}

fn rules(snapshot: &Snapshot) -> impl Iterator<Item = (&Routing, RuleIndex)> {
    let routing = snapshot.routing();
    let count = routing.rules().len();
    let rules = (0..).map(RuleIndex).take(count);
    rules.map(move |rule| (routing, rule))
}

/// Who asks: in turn a client at a site, of the site's country; one around it; and one of a network that is known.
fn clients(snapshot: &Snapshot) -> Vec<Client> {
    /// Most of each kind.
    const MAX_OF_A_KIND: usize = 512;
    let sites = snapshot.topology().sites();
    let step = sites.len().div_ceil(MAX_OF_A_KIND).max(1);
    let sites = sites.iter().step_by(step).zip(0_u64..);
    let known = snapshot.geo().sample(MAX_OF_A_KIND);
    let of_sites = sites.flat_map(|(site, number)| {
        let around = Client::made_up(site.location, number);
        let at_it = Client {
            location: Some(site.location),
            country: site.country,
            ..around
        };
        [at_it, around]
    });
    let known = known.into_iter().map(|ip| Client {
        ip: Some(ip),
        ..Client::default()
    });
    of_sites.chain(known).collect()
}
