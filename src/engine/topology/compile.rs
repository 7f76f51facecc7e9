//! A topology document turned into tables, or refused with every reason.

use std::collections::BTreeMap;

use super::address::Address;
use super::document::{API_VERSION, KIND, NodeDocument, SiteDocument, TopologyDocument};
use super::{Node, Site, Topology};
use crate::engine::document::{Checker, Diagnostics, Limits, Path, Source};
use crate::engine::geo::Location;
use crate::engine::geo::distance::UnitVector;
use crate::engine::geo::place::Country;
use crate::engine::hash::NodeSeed;
use crate::engine::model::{self, Digest, SiteIndex, TierIndex};
use crate::engine::number;

/// Most sites in one topology.
pub const MAX_SITES: usize = 5_000;

/// Most nodes in one topology.
pub const MAX_NODES: usize = 50_000;

/// Most tiers.
const MAX_TIERS: usize = 8;

/// Most parents of one site.
const MAX_PARENTS: usize = 16;

/// Most labels of one site or node.
const MAX_LABELS: usize = 32;

/// Longest label name or value, in bytes.
const MAX_LABEL_BYTES: usize = 128;

/// The outcome: a topology when nothing refuses it, and all that was found either way.
#[derive(Debug)]
pub struct Compiled {
    /// The fleet, if the document can be used.
    pub topology: Option<Topology>,
    /// Errors and warnings.
    pub diagnostics: Diagnostics,
}

/// Reads and checks the text of a topology file. `file` is its name in faults.
pub fn compile(file: &str, text: &str) -> Compiled {
    let (mut source, mut faults) = Source::read(file, text, &Limits::default());
    let decoded = source.decode::<TopologyDocument>();
    faults.append(decoded.faults);
    let mut checker = Checker::new(&source, faults);
    let Some(document) = decoded.value else {
        return Compiled {
            topology: None,
            diagnostics: checker.finish(),
        };
    };
    let (sites, nodes) = check(&mut checker, &document);
    let topology = checker.is_clean().then(|| Topology {
        digest: Digest::of(text.as_bytes()),
        name: document.metadata.name,
        tiers: document.spec.tiers,
        sites,
        sites_of_nodes: nodes.iter().map(|node| node.site).collect(),
        nodes,
    });
    Compiled {
        topology,
        diagnostics: checker.finish(),
    }
}

fn check(checker: &mut Checker<'_>, document: &TopologyDocument) -> (Vec<Site>, Vec<Node>) {
    checker.envelope((&document.api_version, &document.kind), (API_VERSION, KIND));
    let spec_path = Path::Root.field("spec");
    let spec = &document.spec;
    let tiers_path = spec_path.field("tiers");
    let sites_path = spec_path.field("sites");
    let nodes_path = spec_path.field("nodes");
    let fits = [
        checker.at_most("T001", &tiers_path, spec.tiers.len(), MAX_TIERS),
        checker.at_most("T001", &sites_path, spec.sites.len(), MAX_SITES),
        checker.at_most("T001", &nodes_path, spec.nodes.len(), MAX_NODES),
    ];
    if fits.contains(&false) {
        return (Vec::new(), Vec::new());
    }
    check_tiers(checker, &tiers_path, &spec.tiers);
    if spec.sites.is_empty() {
        let help = "a fleet needs at least one site; an empty one is never valid";
        checker.unknown_name("T002", &sites_path, "no site".to_owned(), help);
    }
    if spec.nodes.is_empty() {
        let help = "a fleet needs at least one node; an empty one is never valid";
        checker.unknown_name("T002", &nodes_path, "no node".to_owned(), help);
    }
    let sites = sites(checker, &sites_path, spec.sites.as_slice(), &spec.tiers);
    let nodes = nodes(
        checker,
        &nodes_path,
        spec.nodes.as_slice(),
        (&spec.sites, &sites),
    );
    (sites, nodes)
}

fn check_tiers(checker: &mut Checker<'_>, path: &Path<'_>, tiers: &[String]) {
    if tiers.is_empty() {
        checker.error(
            "T003",
            path,
            "no tier".to_owned(),
            "name at least one, nearest to clients first",
        );
    }
    for (index, tier) in tiers.iter().enumerate() {
        checker.id("T004", &path.index(index), tier);
        if tiers.iter().take(index).any(|other| other == tier) {
            checker.error(
                "T005",
                &path.index(index),
                format!("the tier `{tier}` stands twice"),
                "keep one",
            );
        }
    }
}

/// Checks every site and lays them out sorted by id. Faulty ones are left out; the result is used only without faults.
fn sites(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    documents: &[SiteDocument],
    tiers: &[String],
) -> Vec<Site> {
    let mut first_use = BTreeMap::new();
    let mut sites = Vec::with_capacity(documents.len());
    for (index, document) in documents.iter().enumerate() {
        let path = path.index(index);
        let id_path = path.field("id");
        checker.id("T004", &id_path, &document.id);
        if let Some(first) = first_use.insert(document.id.as_str(), index) {
            let message = format!(
                "the site `{}` stands twice, first as entry {first}",
                document.id
            );
            checker.error("T005", &id_path, message, "give each site an id of its own");
        }
        if let Some(site) = site(checker, &path, document, tiers) {
            sites.push(site);
        }
    }
    sites.sort_by(|a, b| a.id.cmp(&b.id));
    resolve_parents(checker, path, documents, &mut sites);
    sites
}

fn site(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    document: &SiteDocument,
    tiers: &[String],
) -> Option<Site> {
    checker.in_range("T006", &path.field("lat"), document.lat, &(-90.0..=90.0));
    checker.in_range("T006", &path.field("lon"), document.lon, &(-180.0..=180.0));
    checker.in_range(
        "T006",
        &path.field("price_usd_per_gb"),
        document.price_usd_per_gb,
        &(0.0..=100.0),
    );
    check_labels(checker, &path.field("labels"), &document.labels);
    let country = document
        .country
        .as_deref()
        .map(|code| (code, code.parse::<Country>().ok()));
    if let Some((code, None)) = country {
        let help = "write the two letters of ISO 3166, like DE";
        checker.error(
            "T007",
            &path.field("country"),
            format!("`{code}` is not a country code"),
            help,
        );
    }
    let tier = match &document.tier {
        None => Some(0),
        Some(name) => tiers.iter().position(|tier| tier == name),
    };
    if tier.is_none() {
        let name = document.tier.as_deref().unwrap_or_default();
        let help = format!("the tiers are {}", tiers.join(", "));
        checker.unknown_name(
            "T008",
            &path.field("tier"),
            format!("no tier is called `{name}`"),
            &help,
        );
    }
    if document.lat.abs() + document.lon.abs() <= 0.0 {
        let message = "the site is at exactly 0, 0, in the Gulf of Guinea".to_owned();
        let help = "that is what coordinates become that are missing; write where the site is";
        checker.warning("T013", &path.field("lat"), message, help);
    }
    let location = Location::new(document.lat, document.lon)?;
    Some(Site {
        id: document.id.as_str().into(),
        tier: TierIndex(u8::try_from(tier?).ok()?),
        location,
        point: UnitVector::new(location),
        country: country.and_then(|(_, parsed)| parsed),
        parents: Vec::new(),
        price_usd_per_gb: number::narrow(document.price_usd_per_gb),
        state: document.state,
    })
}

fn resolve_parents(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    documents: &[SiteDocument],
    sites: &mut [Site],
) {
    let position: BTreeMap<Box<str>, (SiteIndex, TierIndex)> = (0_u16..)
        .zip(sites.iter())
        .map(|(i, site)| (site.id.clone(), (SiteIndex(i), site.tier)))
        .collect();
    for (index, document) in documents.iter().enumerate() {
        let path = path.index(index);
        let list = path.field("parents");
        if !checker.at_most("T001", &list, document.parents.len(), MAX_PARENTS) {
            continue;
        }
        let Some((own, own_tier)) = position.get(document.id.as_str()).copied() else {
            continue;
        };
        let mut parents = Vec::new();
        for (k, name) in document.parents.iter().enumerate() {
            match position.get(name.as_str()) {
                None => {
                    let message = format!("no site is called `{name}`");
                    checker.unknown_name(
                        "T008",
                        &list.index(k),
                        message,
                        "name a site of a later tier",
                    );
                }
                Some((_, tier)) if *tier <= own_tier => {
                    let message = format!(
                        "the parent `{name}` is not of a later tier than `{}`",
                        document.id
                    );
                    checker.error(
                        "T009",
                        &list.index(k),
                        message,
                        "misses flow towards the origin only",
                    );
                }
                Some((parent, _)) => parents.push(*parent),
            }
        }
        parents.sort_unstable();
        parents.dedup();
        if let Some(site) = sites.get_mut(own.get()) {
            site.parents = parents;
        }
    }
}

fn check_labels(checker: &mut Checker<'_>, path: &Path<'_>, labels: &BTreeMap<String, String>) {
    if !checker.at_most("T001", path, labels.len(), MAX_LABELS) {
        return;
    }
    for (name, value) in labels {
        let good =
            |text: &str| text.len() <= MAX_LABEL_BYTES && !text.chars().any(char::is_control);
        if name.is_empty() || !good(name) || !good(value) {
            let help = format!(
                "names and values have up to {MAX_LABEL_BYTES} bytes, without control characters"
            );
            checker.error(
                "T010",
                &path.field(name),
                "a label that is empty, too long or unprintable".to_owned(),
                &help,
            );
        }
    }
}

/// Checks every node and lays them out sorted by site id, then node id.
fn nodes(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    documents: &[NodeDocument],
    (site_documents, sites): (&[SiteDocument], &[Site]),
) -> Vec<Node> {
    let with_labels = site_documents.iter();
    let fleet = Fleet {
        sites,
        labels: with_labels
            .map(|site| (site.id.as_str(), &site.labels))
            .collect(),
    };
    let mut first_use = BTreeMap::new();
    let mut first_address = BTreeMap::new();
    let mut nodes = Vec::with_capacity(documents.len());
    for (index, document) in documents.iter().enumerate() {
        let path = path.index(index);
        let id = document.id.as_str();
        if let Some(first) = first_use.insert(id, index) {
            let message = format!("the node `{id}` stands twice, first as entry {first}");
            let help = "give each node an id of its own";
            checker.error("T005", &path.field("id"), message, help);
        }
        let Some(node) = fleet.node(checker, &path, document) else {
            continue;
        };
        if let Some(other) = first_address.insert(node.address.to_string(), id) {
            let message = format!("`{other}` and `{id}` share the address {}", node.address);
            let help = "two ids on one address halve its cache";
            checker.warning("T012", &path.field("address"), message, help);
        }
        nodes.push(node);
    }
    nodes.sort_by(|a, b| (a.site, &a.id).cmp(&(b.site, &b.id)));
    nodes
}

/// The sites that nodes stand in.
struct Fleet<'a> {
    sites: &'a [Site],
    labels: BTreeMap<&'a str, &'a BTreeMap<String, String>>,
}

impl Fleet<'_> {
    /// Checks one node; `None` when it is too faulty to have a place.
    fn node(
        &self,
        checker: &mut Checker<'_>,
        path: &Path<'_>,
        document: &NodeDocument,
    ) -> Option<Node> {
        checker.id("T004", &path.field("id"), &document.id);
        let capacity = f64::from(document.capacity);
        checker.in_range("T006", &path.field("capacity"), capacity, &(1.0..=1000.0));
        check_labels(checker, &path.field("labels"), &document.labels);
        let address = address(checker, &path.field("address"), &document.address);
        let by_id = |site: &Site| (*site.id).cmp(&document.site);
        let Ok(position) = self.sites.binary_search_by(by_id) else {
            let message = format!("no site is called `{}`", document.site);
            let help = "name one of spec.sites";
            checker.unknown_name("T008", &path.field("site"), message, help);
            return None;
        };
        let site = self.sites.get(position)?;
        let mut labels = self.labels.get(&*site.id).map(|l| (*l).clone())?;
        labels.extend(document.labels.clone());
        Some(Node {
            id: document.id.as_str().into(),
            site: SiteIndex(u16::try_from(position).ok()?),
            address: address?,
            capacity: document.capacity,
            labels,
            state: document.state.max(site.state),
            seed: NodeSeed::of_id(&document.id),
        })
    }
}

fn address(checker: &mut Checker<'_>, path: &Path<'_>, text: &str) -> Option<Address> {
    match Address::parse(text) {
        Ok(address) => Some(address),
        Err(error) => {
            let shown = model::printable(text, 80);
            let help =
                "write host:port, like 10.0.0.1:8080, [2001:db8::1]:80 or cache1.example.net:80";
            checker.error("T011", path, format!("the address `{shown}` {error}"), help);
            None
        }
    }
}
