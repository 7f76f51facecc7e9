//! A fleet and a policy, to be changed in one thing.

use std::fmt::Write as _;
use std::sync::Arc;

use tradewind_engine::edition::{Edition, Known, Names, Texts};
use tradewind_engine::geo::ranges::Ranges;
use tradewind_engine::snapshot::{GeoState, Parts, Snapshot};

/// Id, latitude, longitude and country.
pub(super) type Site = (&'static str, f64, f64, &'static str);

/// Four sites of two countries, three nodes each, one of them with a disk of its own, and an origin.
pub(super) const SITES: [Site; 4] = [
    ("ber", 52.5, 13.4, "DE"),
    ("fra", 50.1, 8.7, "DE"),
    ("mrs", 43.3, 5.4, "FR"),
    ("par", 48.9, 2.4, "FR"),
];

/// What an edition is made of.
#[derive(Debug, Clone, Default)]
pub(super) struct Made {
    /// Lines of `spec` before pools.
    pub(super) spec: String,
    /// Rules before the last.
    pub(super) rules: String,
    /// More of the last rule, which takes what is left.
    pub(super) last: String,
    /// Nodes that are left out.
    pub(super) without: Vec<&'static str>,
    /// Nodes that are drained.
    pub(super) drained: Vec<&'static str>,
    /// Nodes that are new.
    pub(super) more: String,
}

impl Made {
    pub(super) fn topology(&self) -> String {
        let mut text = String::from(
            "apiVersion: tradewind/v1\nkind: Topology\nspec:\n  tiers: [edge, origin]\n  sites:\n  - {id: org, lat: 50, lon: 5, tier: origin}\n",
        );
        for (site, lat, lon, country) in SITES {
            writeln!(
                text,
                "  - {{id: {site}, lat: {lat}, lon: {lon}, country: {country}, tier: edge}}"
            )
            .unwrap();
        }
        text.push_str("  nodes:\n  - {id: org-0, site: org, address: \"192.0.2.250:80\"}\n");
        for (at, (site, ..)) in SITES.iter().enumerate() {
            for node in 0..3 {
                let id = format!("{site}-{node}");
                if self.without.contains(&id.as_str()) {
                    continue;
                }
                let state = if self.drained.contains(&id.as_str()) {
                    "drain"
                } else {
                    "ready"
                };
                let disk = if node == 0 { "nvme" } else { "hdd" };
                let ip = at * 3 + node + 1;
                writeln!(
                    text,
                    "  - {{id: {id}, site: {site}, address: \"192.0.2.{ip}:80\", state: {state}, labels: {{disk: {disk}}}}}"
                )
                .unwrap();
            }
        }
        text + &self.more
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let policy = format!(
            "apiVersion: tradewind/v1\nkind: Policy\nspec:\n{}  pools: [{{name: edge, select: {{tier: edge}}}}, {{name: origin, select: {{tier: origin}}}}]\n  \
             geo: {{default: {{lat: 50, lon: 5}}}}\n  rules:\n{}  - {{name: rest, owner: us, rollback: none, pools: [edge, origin]{}}}\n",
            self.spec, self.rules, self.last
        );
        let texts = Texts {
            policy: policy.as_str().into(),
            topology: self.topology().into(),
        };
        let edition = Edition::compile(&texts, &Names::new("p", "t"), Known::default());
        let edition = edition.unwrap_or_else(|refused| {
            panic!("{}\n{policy}", refused.findings.to_lines().join("\n"))
        });
        let parts = Parts {
            topology: Arc::clone(edition.topology()),
            policy: Arc::clone(edition.policy()),
            candidate: None,
            geo: Arc::new(Ranges::default()),
            geo_state: GeoState::NotConfigured,
            here: None,
            signals: Arc::default(),
        };
        Snapshot::build(1, parts, None)
    }
}
