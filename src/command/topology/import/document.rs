//! The topology document that a list of sites becomes.

use std::collections::BTreeMap;

use super::faults::{Rejected, Wrong};
use super::place::Place;
use super::sites::Site;
use super::{Args, ImportError, Point};
use crate::engine::document::Metadata;
use crate::engine::geo::Location;
use crate::engine::model::{self, AdminState, is_id};
use crate::engine::topology::document::{
    API_VERSION, KIND, NodeDocument, SiteDocument, TopologyDocument, TopologySpec,
};
use crate::engine::topology::{Address, AddressError};

/// The tiers of a topology that names none, as the document's default has them.
const TIERS: [&str; 3] = ["edge", "regional", "origin"];

/// The id of the site that `--origin` adds, and its tier where nobody names tiers.
pub(super) const ORIGIN: &str = "origin";

/// The tiers of the topology, nearest to clients first, and the one of sites that name none.
pub(super) fn tiers(args: &Args) -> Result<(Vec<String>, String), ImportError> {
    let given = args.tier.as_deref();
    let names: Vec<String> = match (args.tiers.as_slice(), given) {
        ([], Some(tier)) if !TIERS.contains(&tier) => vec![tier.to_owned(), ORIGIN.to_owned()],
        ([], _) => TIERS.map(str::to_owned).to_vec(),
        (names, _) => names.to_vec(),
    };
    if let Some(tier) = names.iter().find(|tier| !is_id(tier)) {
        return Err(ImportError::TierName { tier: tier.clone() });
    }
    // The last of several is what the others fill their misses from, and seldom where all sites stand.
    let nearer = match names.split_last() {
        Some((_, nearer)) if !nearer.is_empty() => nearer,
        _ => names.as_slice(),
    };
    let chosen = nearer
        .iter()
        .find(|name| given.is_none_or(|given| *name == given));
    match chosen.cloned() {
        Some(chosen) => Ok((names, chosen)),
        None => Err(ImportError::Tier {
            tier: given.unwrap_or_default().to_owned(),
            allowed: nearer.join(", "),
        }),
    }
}

/// The topology. Rows whose parents or addresses cannot be are rejected.
pub(super) fn document(
    args: &Args,
    sites: &[Site],
    tiers: &[String],
    rejected: &mut Rejected,
) -> Result<TopologyDocument, ImportError> {
    check_template(&args.address, sites.len(), args.nodes_per_site)?;
    check_parents(args, sites, tiers, rejected);
    let mut spec = TopologySpec {
        tiers: tiers.to_vec(),
        sites: sites.iter().map(|site| listed(args, site, tiers)).collect(),
        nodes: Vec::new(),
    };
    for site in sites {
        for index in 1..=args.nodes_per_site {
            match node(args, &site.id, index) {
                Ok(node) => spec.nodes.push(node),
                Err((address, reason)) => {
                    rejected.push(site.place, Wrong::Address { address, reason });
                    break;
                }
            }
        }
    }
    if let Some(Point(location)) = args.origin {
        spec.sites.push(SiteDocument {
            tier: tiers.last().cloned(),
            country: args.origin_country.map(|country| country.to_string()),
            ..bare(ORIGIN, location)
        });
        let node = node(args, ORIGIN, 1)
            .map_err(|(template, source)| ImportError::Address { template, source })?;
        spec.nodes.push(node);
    }
    Ok(TopologyDocument {
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        metadata: Metadata {
            description: format!("{} sites, by tradewind topology import", sites.len()),
            ..Metadata::default()
        },
        spec,
        end: None,
    })
}

/// A site of the list as the document has it.
fn listed(args: &Args, site: &Site, tiers: &[String]) -> SiteDocument {
    let is_first = tiers.first() == Some(&site.tier);
    let is_last = tiers.last() == Some(&site.tier);
    let mut parents = site.parents.clone();
    if parents.is_empty() && !is_last && args.origin.is_some() {
        parents.push(ORIGIN.to_owned());
    }
    SiteDocument {
        country: site.country.clone(),
        tier: Some(site.tier.clone()).filter(|_| !is_first),
        parents,
        labels: site.labels.clone(),
        ..bare(&site.id, site.location)
    }
}

fn bare(id: &str, location: Location) -> SiteDocument {
    SiteDocument {
        id: id.to_owned(),
        lat: location.latitude(),
        lon: location.longitude(),
        country: None,
        tier: None,
        parents: Vec::new(),
        price_usd_per_gb: 0.0,
        labels: BTreeMap::new(),
        state: AdminState::Ready,
    }
}

/// A node, or the text that is no address and why.
fn node(args: &Args, site: &str, index: u16) -> Result<NodeDocument, (String, AddressError)> {
    let id = format!("{site}-{index}");
    let address = args
        .address
        .replace("{node}", &id)
        .replace("{site_lower}", &site.to_ascii_lowercase())
        .replace("{site}", site)
        .replace("{index}", &index.to_string());
    match Address::parse(&address) {
        Ok(parsed) => Ok(NodeDocument {
            id,
            site: site.to_owned(),
            address: parsed.to_string(),
            capacity: args.capacity,
            labels: BTreeMap::new(),
            state: AdminState::Ready,
        }),
        Err(error) => Err((address, error)),
    }
}

/// Every parent must be a site of a later tier; and no site may have the name of the one that is added.
fn check_parents(args: &Args, sites: &[Site], tiers: &[String], rejected: &mut Rejected) {
    let depth = |tier: &str| tiers.iter().position(|other| other == tier);
    let mut depths: BTreeMap<&str, Option<usize>> = BTreeMap::new();
    depths.extend(
        sites
            .iter()
            .map(|site| (site.id.as_str(), depth(&site.tier))),
    );
    if args.origin.is_some() {
        depths.insert(ORIGIN, tiers.len().checked_sub(1));
    }
    let mut refuse = |place: Place, (column, value): (&str, &str), allowed: String| {
        let (column, value) = (column.to_owned(), value.to_owned());
        let wrong = Wrong::Value {
            column,
            value,
            allowed,
        };
        rejected.push(place, wrong);
    };
    for site in sites {
        if args.origin.is_some() && site.id.eq_ignore_ascii_case(ORIGIN) {
            let allowed = format!("another word, since --origin adds a site `{ORIGIN}`");
            refuse(site.place, ("id", &site.id), allowed);
        }
        for parent in &site.parents {
            let value = model::printable(parent, 40);
            match depths.get(parent.as_str()) {
                None => {
                    let allowed = "the id of a site in this list".to_owned();
                    refuse(site.place, ("parents", &value), allowed);
                }
                Some(behind) if *behind <= depth(&site.tier) => {
                    let allowed = format!("of a later tier than `{}`", site.tier);
                    refuse(site.place, ("parents", &value), allowed);
                }
                Some(_) => {}
            }
        }
    }
}

/// Only known placeholders, enough of them to tell nodes apart, and an address when they are filled in.
fn check_template(template: &str, sites: usize, nodes_per_site: u16) -> Result<(), ImportError> {
    for part in template.split('{').skip(1) {
        let placeholder = part.split('}').next().unwrap_or_default();
        if !matches!(placeholder, "node" | "site" | "site_lower" | "index") {
            let placeholder = placeholder.chars().take(40).collect();
            return Err(ImportError::Placeholder { placeholder });
        }
    }
    let names_site = template.contains("{site}") || template.contains("{site_lower}");
    let tells_sites = sites <= 1 || names_site;
    let tells_nodes = nodes_per_site == 1 || template.contains("{index}");
    let tells_both = tells_sites && tells_nodes;
    if !template.contains("{node}") && !tells_both {
        let template = template.chars().take(80).collect();
        return Err(ImportError::Shared { template });
    }
    // What is wrong with every site's address is said once.
    let filled = template
        .replace("{index}", "1")
        .replace("{node}", "x-1")
        .replace("{site_lower}", "x")
        .replace("{site}", "x");
    match Address::parse(&filled) {
        Ok(_) => Ok(()),
        Err(source) => Err(ImportError::Address {
            template: model::printable(template, 80),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_tell_nodes_apart() {
        for good in [
            "{node}:80",
            "{site}-{index}:80",
            "a-{index}.{site_lower}:80",
        ] {
            assert!(check_template(good, 2, 2).is_ok(), "{good}");
        }
        for shared in ["a:80", "{site}:80", "{index}:80"] {
            let checked = check_template(shared, 2, 2);
            assert!(
                matches!(checked, Err(ImportError::Shared { .. })),
                "{shared}"
            );
        }
        assert!(
            check_template("{site}:80", 9, 1).is_ok()
                && check_template("a{index}:80", 1, 9).is_ok()
        );
        let unknown = check_template("{host}:80", 1, 1).unwrap_err();
        assert!(unknown.to_string().contains("`{host}`"), "{unknown}");
    }
}
