//! Expectations, checked and resolved to the nodes they are about. Whether they hold is for a plan to see.

use super::super::conditions;
use super::super::document::{
    ExpectDocument, ExpectedMsDocument, RefusedDocument, RuleDocument, ShareDocument,
    WhereDocument, WhoseDocument,
};
use super::super::expectation::{Area, Claim, Expectation, Whose, listed};
use super::super::node_set;
use super::Compiler;
use super::rules::RuleNames;
use crate::document::{Code, Names, Path};
use crate::geo::place::{Asn, Country};
use crate::model::{NodeIndex, RuleIndex};
use crate::topology::Topology;

/// What an expectation without a claim, or with several, is helped with.
const CLAIM_HELP: &str = "write exactly one of share, stays_within, expected_ms and refused";

/// Most entries of a list of conditions; the schema says the same.
const MAX_ENTRIES: usize = 1_024;

/// Most that a time may be expected to take, in ms.
const MAX_MS: f64 = 60_000.0;

impl Compiler<'_, '_> {
    /// The expectations of a rule.
    pub(super) fn expectations(
        &mut self,
        path: &Path<'_>,
        (index, rule): (RuleIndex, &RuleDocument),
        names: &RuleNames<'_>,
    ) -> Vec<Expectation> {
        let path = path.field("expect");
        let mut expectations = Vec::new();
        for (position, document) in rule.expect.iter().enumerate() {
            let path = path.index(position);
            let of = self.whose(&path.field("of"), &document.of, names);
            let claim = self.claim(&path, document, names);
            expectations.extend(claim.map(|claim| Expectation {
                rule: index,
                position,
                of,
                claim,
            }));
        }
        expectations
    }

    fn whose(&mut self, path: &Path<'_>, document: &WhoseDocument, names: &RuleNames<'_>) -> Whose {
        let countries = self.countries(&path.field("countries"), &document.countries);
        let asns_path = path.field("asns");
        let asns: &[u32] = if self.fits(&asns_path, document.asns.len()) {
            &document.asns
        } else {
            &[]
        };
        for (k, number) in asns.iter().enumerate() {
            if *number == 0 {
                let help = "write 1 or more (RFC 7607)";
                let message = "0 is the number of no network".to_owned();
                self.checker
                    .error(Code::P006, &asns_path.index(k), message, help);
            }
        }
        self.each_known(&path.field("classes"), &document.classes, &names.classes);
        Whose {
            countries,
            asns: asns.iter().copied().filter_map(Asn::new).collect(),
            classes: document
                .classes
                .iter()
                .map(|it| it.as_str().into())
                .collect(),
        }
    }

    /// The one claim of an expectation; `None` when part of it is refused.
    fn claim(
        &mut self,
        path: &Path<'_>,
        document: &ExpectDocument,
        names: &RuleNames<'_>,
    ) -> Option<Claim> {
        let ExpectDocument {
            of: _,
            share,
            stays_within,
            expected_ms,
            refused,
        } = document;
        let claims = [
            share.is_some(),
            stays_within.is_some(),
            expected_ms.is_some(),
            refused.is_some(),
        ];
        let count = claims.into_iter().filter(|is_there| *is_there).count();
        if count != 1 && self.checker.is_whole(path) {
            let message = if count == 0 {
                "an expectation that claims nothing".to_owned()
            } else {
                format!("an expectation with {count} claims")
            };
            self.checker.error(Code::P050, path, message, CLAIM_HELP);
        }
        let share = share
            .as_ref()
            .and_then(|share| self.share(&path.field("share"), share, names));
        let within = stays_within
            .as_ref()
            .and_then(|area| self.area(&path.field("stays_within"), area, names))
            .map(Claim::StaysWithin);
        let expected = expected_ms
            .as_ref()
            .map(|expected| self.expected_ms(&path.field("expected_ms"), expected));
        let refused = refused
            .as_ref()
            .map(|refused| self.refused(&path.field("refused"), refused));
        share.or(within).or(expected).or(refused)
    }

    fn share(
        &mut self,
        path: &Path<'_>,
        document: &ShareDocument,
        names: &RuleNames<'_>,
    ) -> Option<Claim> {
        let bounds = [
            ("at_least_percent", document.at_least_percent),
            ("at_most_percent", document.at_most_percent),
        ];
        self.bounds(path, &bounds, 100.0);
        if let (Some(least), Some(most)) = (document.at_least_percent, document.at_most_percent)
            && least > most
        {
            let message = format!("at least {least} and at most {most} percent");
            let help = "no share is both; let the least be below the most";
            self.checker.error(Code::P051, path, message, help);
        }
        Some(Claim::Share {
            at: self.area(&path.field("at"), &document.at, names)?,
            at_least: document.at_least_percent.map(|percent| percent / 100.0),
            at_most: document.at_most_percent.map(|percent| percent / 100.0),
        })
    }

    fn expected_ms(&mut self, path: &Path<'_>, document: &ExpectedMsDocument) -> Claim {
        let ExpectedMsDocument {
            mean_at_most,
            p50_at_most,
            p99_at_most,
        } = *document;
        let bounds = [
            ("mean_at_most", mean_at_most),
            ("p50_at_most", p50_at_most),
            ("p99_at_most", p99_at_most),
        ];
        self.bounds(path, &bounds, MAX_MS);
        Claim::ExpectedMs {
            mean: mean_at_most,
            p50: p50_at_most,
            p99: p99_at_most,
        }
    }

    fn refused(&mut self, path: &Path<'_>, document: &RefusedDocument) -> Claim {
        let bounds = [("at_most_percent", Some(document.at_most_percent))];
        self.bounds(path, &bounds, 100.0);
        Claim::Refused {
            at_most: document.at_most_percent / 100.0,
        }
    }

    /// Bounds of a claim, of which there must be one.
    fn bounds(&mut self, path: &Path<'_>, bounds: &[(&'static str, Option<f64>)], most: f64) {
        for (field, value) in bounds {
            if let Some(value) = value {
                self.checker
                    .in_range(Code::P006, &path.field(field), *value, &(0.0..=most));
            }
        }
        if bounds.iter().all(|(_, value)| value.is_none()) && self.checker.is_whole(path) {
            let fields: Vec<&str> = bounds.iter().map(|(field, _)| *field).collect();
            let message = "a claim without a bound".to_owned();
            let help = format!("write {}", fields.join(" or "));
            self.checker.error(Code::P050, path, message, &help);
        }
    }

    /// The nodes that a claim is about; `None` when part of it is refused, or nothing is known of nodes.
    fn area(
        &mut self,
        path: &Path<'_>,
        document: &WhereDocument,
        names: &RuleNames<'_>,
    ) -> Option<Area> {
        let before = self.checker.errors();
        let countries = self.countries(&path.field("countries"), &document.countries);
        self.each_known(&path.field("pools"), &document.pools, &names.pools);
        if let Some(topology) = self.topology {
            let [sites, tiers, nodes] = ["sites", "tiers", "nodes"].map(|field| path.field(field));
            self.each_known(&sites, &document.sites, &topology.site_names());
            self.each_known(&tiers, &document.tiers, &topology.tier_names());
            self.each_known(&nodes, &document.nodes, &topology.node_names());
        }
        if self.checker.errors() > before || !self.checker.is_whole(path) {
            return None;
        }
        if *document == WhereDocument::default() {
            let message = "a place that is everywhere".to_owned();
            let help = "name sites, nodes, pools, tiers, countries or labels";
            self.checker.error(Code::P050, path, message, help);
            return None;
        }
        let topology = self.topology?;
        let nodes = self.nodes_in(document, &countries, topology)?;
        let area = Area::new(topology.nodes().len(), nodes, words(document));
        if area.is_empty() {
            let message = format!("no node is at {area}");
            let help = format!(
                "compare with `{}`; all conditions must hold",
                topology.file()
            );
            self.checker.error(Code::P051, path, message, &help);
        }
        Some(area)
    }

    /// The nodes that meet all conditions; `None` when a pool's nodes are not known.
    fn nodes_in(
        &self,
        document: &WhereDocument,
        countries: &[Country],
        topology: &Topology,
    ) -> Option<Vec<NodeIndex>> {
        let pools = self.document.spec.pools.iter().zip(&self.pool_members);
        let pools = pools.filter(|(pool, _)| document.pools.contains(&pool.name));
        let mut in_pools: Vec<NodeIndex> = Vec::new();
        for (_, members) in pools {
            in_pools.extend(members.as_ref()?);
        }
        in_pools.sort_unstable();
        let nodes = topology.indexed_nodes().filter(|(index, node)| {
            let site = topology.site(node.site);
            let is_one =
                |list: &[String], id: &str| list.is_empty() || list.iter().any(|it| it == id);
            let stands_there = countries.is_empty()
                || site
                    .country
                    .is_some_and(|country| countries.contains(&country));
            is_one(&document.sites, &site.id)
                && is_one(&document.nodes, &node.id)
                && is_one(&document.tiers, topology.tier_name(site.tier))
                && stands_there
                && node_set::has_labels(&node.labels, &document.labels)
                && (document.pools.is_empty() || in_pools.binary_search(index).is_ok())
        });
        Some(nodes.map(|(index, _)| index).collect())
    }

    /// The country codes of a list, as far as they are good.
    fn countries(&mut self, path: &Path<'_>, codes: &[String]) -> Vec<Country> {
        if !self.fits(path, codes.len()) {
            return Vec::new();
        }
        let codes = codes.iter().enumerate();
        codes
            .filter_map(|(k, code)| conditions::country(self.checker, &path.index(k), code))
            .collect()
    }

    /// Whether a list is of a length that can be worked through; one that is given and empty is a fault too.
    fn fits(&mut self, path: &Path<'_>, count: usize) -> bool {
        conditions::check_not_empty(self.checker, path, count);
        self.checker.at_most(Code::P001, path, count, MAX_ENTRIES)
    }

    /// Finds fault with an empty list, and with names that nothing bears.
    fn each_known(&mut self, path: &Path<'_>, given: &[String], names: &Names<'_>) {
        if !self.fits(path, given.len()) {
            return;
        }
        for (k, name) in given.iter().enumerate() {
            if !names.has(name) {
                self.checker
                    .unknown_name(Code::P008, &path.index(k), names, name);
            }
        }
    }
}

/// An area in words: `site fra, par and tier edge`.
fn words(document: &WhereDocument) -> String {
    let labels = document.labels.iter();
    let parts = [
        listed("site", document.sites.iter().cloned()),
        listed("node", document.nodes.iter().cloned()),
        listed("pool", document.pools.iter().cloned()),
        listed("tier", document.tiers.iter().cloned()),
        listed(
            "country",
            document
                .countries
                .iter()
                .map(|code| code.to_ascii_uppercase()),
        ),
        listed(
            "label",
            labels.map(|(name, value)| format!("{name}={value}")),
        ),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join(" and ")
}
