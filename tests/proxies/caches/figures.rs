//! How soon after `tradewind purge` has returned a client has the new object, through a stock Envoy.

use std::time::Duration;

use tradewind::sidecar::clock;

use super::programs::Cache;
use super::rig::{Rig, get};
use crate::tools::note;

const OBJECTS: usize = 1_000;

#[test]
#[ignore = "takes minutes; docs/benchmarks.md, Freshness"]
fn a_thousand_purged_objects_are_new_on_the_next_request() {
    let test = "a_thousand_purged_objects_are_new_on_the_next_request";
    let Some(rig) = Rig::start(test, &Cache::EDGES) else {
        return;
    };
    for cache in rig.edges.clone() {
        let host = cache.host();
        let mut connection = rig.connect();
        let paths: Vec<String> = (0..OBJECTS)
            .map(|number| format!("/{}/figure/{number}", cache.name()))
            .collect();
        for path in &paths {
            get(&mut connection, (&host, path), &[]);
        }
        let (mut waits, mut commands) = (Vec::new(), Vec::new());
        let (mut had, mut old) = (0, 0);
        for path in &paths {
            had += usize::from(get(&mut connection, (&host, path), &[]).is_hit);
            let revision = rig.origin.change(path);
            let typed = clock::now();
            rig.sidecar.purge(&[&format!("https://{host}{path}")]);
            let returned = clock::now();
            old += usize::from(get(&mut connection, (&host, path), &[]).revision != revision);
            waits.push(returned.elapsed());
            commands.push(returned - typed);
        }
        note(&format!(
            "{}: {had} of {OBJECTS} hits before, {old} old after; new after the command returned {}; the command itself {}",
            cache.name(),
            percentiles(&mut waits),
            percentiles(&mut commands)
        ));
        assert_eq!(old, 0, "{}", cache.name());
    }
}

fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1_000.0;
    format!("p50 {:.2} ms, p99 {:.2} ms", at(50), at(99))
}
