//! A topology document turned into tables, or refused with every reason.

use std::collections::BTreeMap;

use super::address::Address;
use super::document::{API_VERSION, KIND, NodeDocument, SiteDocument, TopologyDocument};
use super::{Node, Site, Topology};
use crate::document::{Checker, Code, Diagnostics, Limits, Mark, Names, Path, Source};
use crate::geo::Location;
use crate::geo::country;
use crate::geo::distance::UnitVector;
use crate::geo::place::Country;
use crate::hash::NodeSeed;
use crate::model::{self, Digest, SiteIndex, TierIndex};
use crate::number;

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
    let (sites, placed) = check(&mut checker, &document);
    let (nodes, marks): (Vec<Node>, Vec<Mark>) = placed.into_iter().unzip();
    let topology = checker.is_clean().then(|| Topology {
        file: file.into(),
        digest: Digest::of(text.as_bytes()),
        name: document.metadata.name,
        tiers: document.spec.tiers,
        sites,
        sites_of_nodes: nodes.iter().map(|node| node.site).collect(),
        nodes,
        address_marks: marks.into(),
    });
    Compiled {
        topology,
        diagnostics: checker.finish(),
    }
}

/// A node, and where its address stands in the file.
type Placed = (Node, Mark);

fn check(checker: &mut Checker<'_>, document: &TopologyDocument) -> (Vec<Site>, Vec<Placed>) {
    checker.envelope((&document.api_version, &document.kind), (API_VERSION, KIND));
    checker.end(document.end);
    let spec_path = Path::Root.field("spec");
    let spec = &document.spec;
    let tiers_path = spec_path.field("tiers");
    let sites_path = spec_path.field("sites");
    let nodes_path = spec_path.field("nodes");
    let fits = [
        checker.at_most(Code::T001, &tiers_path, spec.tiers.len(), MAX_TIERS),
        checker.at_most(Code::T001, &sites_path, spec.sites.len(), MAX_SITES),
        checker.at_most(Code::T001, &nodes_path, spec.nodes.len(), MAX_NODES),
    ];
    if fits.contains(&false) {
        return (Vec::new(), Vec::new());
    }
    check_tiers(checker, &tiers_path, &spec.tiers);
    if spec.sites.is_empty() && checker.is_whole(&sites_path) {
        let help = "a fleet needs at least one site; an empty one is never valid";
        checker.error(Code::T002, &sites_path, "no site".to_owned(), help);
    }
    if spec.nodes.is_empty() && checker.is_whole(&nodes_path) {
        let help = "a fleet needs at least one node; an empty one is never valid";
        checker.error(Code::T002, &nodes_path, "no node".to_owned(), help);
    }
    let tiers = spec.tiers.iter().map(String::as_str);
    let tiers = Names::new("tier", "spec.tiers", tiers).complete_if(checker.is_whole(&tiers_path));
    let ids = spec.sites.iter().map(|site| site.id.as_str());
    let ids =
        Names::new("site", "spec.sites", ids).complete_if(checker.has_every(&sites_path, "id"));
    let sites = sites(
        checker,
        &sites_path,
        &spec.sites,
        (&tiers, &ids, &spec.tiers),
    );
    let nodes = nodes(
        checker,
        &nodes_path,
        &spec.nodes,
        (&spec.sites, &sites, &ids),
    );
    (sites, nodes)
}

fn check_tiers(checker: &mut Checker<'_>, path: &Path<'_>, tiers: &[String]) {
    if tiers.is_empty() && checker.is_whole(path) {
        checker.error(
            Code::T003,
            path,
            "no tier".to_owned(),
            "name at least one, nearest to clients first",
        );
    }
    for (index, tier) in tiers.iter().enumerate() {
        checker.id(Code::T004, &path.index(index), tier);
        if tiers.iter().take(index).any(|other| other == tier) {
            checker.error(
                Code::T005,
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
    (tier_names, ids, tiers): (&Names<'_>, &Names<'_>, &[String]),
) -> Vec<Site> {
    let mut first_use = BTreeMap::new();
    let mut sites = Vec::with_capacity(documents.len());
    for (index, document) in documents.iter().enumerate() {
        let path = path.index(index);
        let id_path = path.field("id");
        checker.id(Code::T004, &id_path, &document.id);
        if let Some(first) = first_use.insert(document.id.as_str(), index) {
            let message = format!(
                "the site `{}` stands twice, first as entry {first}",
                document.id
            );
            checker.error(
                Code::T005,
                &id_path,
                message,
                "give each site an id of its own",
            );
        }
        if let Some(site) = site(checker, &path, document, (tier_names, tiers)) {
            sites.push(site);
        }
    }
    sites.sort_by(|a, b| a.id.cmp(&b.id));
    resolve_parents(checker, path, documents, (ids, &mut sites));
    sites
}

fn site(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    document: &SiteDocument,
    (tier_names, tiers): (&Names<'_>, &[String]),
) -> Option<Site> {
    checker.in_range(
        Code::T006,
        &path.field("lat"),
        document.lat,
        &(-90.0..=90.0),
    );
    checker.in_range(
        Code::T006,
        &path.field("lon"),
        document.lon,
        &(-180.0..=180.0),
    );
    checker.in_range(
        Code::T006,
        &path.field("price_usd_per_gb"),
        document.price_usd_per_gb,
        &(0.0..=100.0),
    );
    check_labels(checker, &path.field("labels"), &document.labels);
    let country = document.country.as_deref();
    if let Some(code) = country.filter(|code| !country::is_assigned(code)) {
        let message = format!("`{}` is the code of no country", model::printable(code, 80));
        let path = path.field("country");
        checker.error(Code::T007, &path, message, &country::advice(code));
    }
    let tier = match &document.tier {
        None => Some(0),
        Some(name) => tiers.iter().position(|tier| tier == name),
    };
    if tier.is_none() {
        let name = document.tier.as_deref().unwrap_or_default();
        checker.unknown_name(Code::T008, &path.field("tier"), tier_names, name);
    }
    if document.lat.abs() + document.lon.abs() <= 0.0 {
        let message = "the site is at exactly 0, 0, in the Gulf of Guinea".to_owned();
        let help = "that is what coordinates become that are missing; write where the site is";
        checker.warning(Code::T013, &path.field("lat"), message, help);
    }
    let location = Location::new(document.lat, document.lon)?;
    Some(Site {
        id: document.id.as_str().into(),
        tier: TierIndex(u8::try_from(tier?).ok()?),
        location,
        point: UnitVector::new(location),
        country: country.and_then(|code| code.parse::<Country>().ok()),
        parents: Vec::new(),
        price_usd_per_gb: number::narrow(document.price_usd_per_gb),
        state: document.state,
    })
}

fn resolve_parents(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    documents: &[SiteDocument],
    (ids, sites): (&Names<'_>, &mut [Site]),
) {
    let position: BTreeMap<Box<str>, (SiteIndex, TierIndex)> = (0_u16..)
        .zip(sites.iter())
        .map(|(i, site)| (site.id.clone(), (SiteIndex(i), site.tier)))
        .collect();
    for (index, document) in documents.iter().enumerate() {
        let path = path.index(index);
        let list = path.field("parents");
        if !checker.at_most(Code::T001, &list, document.parents.len(), MAX_PARENTS) {
            continue;
        }
        let Some((own, own_tier)) = position.get(document.id.as_str()).copied() else {
            continue;
        };
        let mut parents = Vec::new();
        for (k, name) in document.parents.iter().enumerate() {
            match position.get(name.as_str()) {
                None if ids.has(name) => {} // It is there, with a fault of its own.
                None => checker.unknown_name(Code::T008, &list.index(k), ids, name),
                Some((_, tier)) if *tier <= own_tier => {
                    let message = format!(
                        "the parent `{name}` is not of a later tier than `{}`",
                        document.id
                    );
                    checker.error(
                        Code::T009,
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
    if !checker.at_most(Code::T001, path, labels.len(), MAX_LABELS) {
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
                Code::T010,
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
    (site_documents, sites, ids): (&[SiteDocument], &[Site], &Names<'_>),
) -> Vec<Placed> {
    let with_labels = site_documents.iter();
    let fleet = Fleet {
        sites,
        ids,
        labels: with_labels
            .map(|site| (site.id.as_str(), &site.labels))
            .collect(),
    };
    let mut first_use = BTreeMap::new();
    let mut addresses = BTreeMap::new();
    let mut nodes = Vec::with_capacity(documents.len());
    let marks = checker.source().marks(path, "address");
    let mut marks = marks.into_iter();
    for (index, document) in documents.iter().enumerate() {
        let path = path.index(index);
        let mark = marks.next().unwrap_or_default();
        let id = document.id.as_str();
        if let Some(first) = first_use.insert(id, index) {
            let message = format!("the node `{id}` stands twice, first as entry {first}");
            let help = "give each node an id of its own";
            checker.error(Code::T005, &path.field("id"), message, help);
        }
        let Some(node) = fleet.node(checker, &path, document) else {
            continue;
        };
        let sharing: &mut Vec<usize> = addresses.entry(node.address.to_string()).or_default();
        sharing.push(index);
        nodes.push((node, mark));
    }
    warn_of_shared(checker, path, documents, &addresses);
    nodes.sort_by(|(a, _), (b, _)| (a.site, &a.id).cmp(&(b.site, &b.id)));
    nodes
}

/// One warning for each address that several nodes have.
fn warn_of_shared(
    checker: &mut Checker<'_>,
    path: &Path<'_>,
    documents: &[NodeDocument],
    addresses: &BTreeMap<String, Vec<usize>>,
) {
    for (address, sharing) in addresses {
        let [first, second, ..] = sharing.as_slice() else {
            continue;
        };
        let name = |index: &usize| documents.get(*index).map_or("", |node| &node.id);
        let message = match sharing.len() {
            2 => format!(
                "`{}` and `{}` share the address {address}",
                name(first),
                name(second)
            ),
            count => format!(
                "{count} nodes, `{}` first, share the address {address}",
                name(first)
            ),
        };
        let help = "two ids on one address halve its cache";
        checker.warning(
            Code::T012,
            &path.index(*second).field("address"),
            message,
            help,
        );
    }
}

/// The sites that nodes stand in.
struct Fleet<'a> {
    sites: &'a [Site],
    ids: &'a Names<'a>,
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
        checker.id(Code::T004, &path.field("id"), &document.id);
        let capacity = f64::from(document.capacity);
        checker.in_range(
            Code::T006,
            &path.field("capacity"),
            capacity,
            &(1.0..=1000.0),
        );
        check_labels(checker, &path.field("labels"), &document.labels);
        let address = address(checker, &path.field("address"), &document.address);
        let by_id = |site: &Site| (*site.id).cmp(&document.site);
        let Ok(position) = self.sites.binary_search_by(by_id) else {
            // A site that is there has a fault of its own.
            if !self.ids.has(&document.site) {
                checker.unknown_name(Code::T008, &path.field("site"), self.ids, &document.site);
            }
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
            checker.error(
                Code::T011,
                path,
                format!("the address `{shown}` {error}"),
                help,
            );
            None
        }
    }
}
