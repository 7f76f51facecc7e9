//! `tradewind topology import`: a topology document from a list of sites.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;

use super::sites::{self, Site, SiteFaults};
use crate::command::{CommandError, Exit, output, world};
use crate::engine::document::Metadata;
use crate::engine::geo::Location;
use crate::engine::model::{AdminState, is_id};
use crate::engine::topology::document::{
    API_VERSION, KIND, NodeDocument, SiteDocument, TopologyDocument, TopologySpec,
};
use crate::engine::topology::{self, Address, AddressError};

/// The tiers of a topology that names none, as the document's default has them.
const TIERS: [&str; 3] = ["edge", "regional", ORIGIN_TIER];

/// The tier of the origin.
const ORIGIN_TIER: &str = "origin";

/// The id of the site that `--origin` adds.
const ORIGIN_SITE: &str = "origin";

/// What may stand in an address template.
const PLACEHOLDERS: &str = "{node}, {site}, {site_lower} and {index}";

/// Arguments of `tradewind topology import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind topology import sites.csv --output topology.yaml
  tradewind topology import sites.csv --nodes-per-site 4 --address '{site_lower}-{index}.edge.example.net:6081'
  tradewind topology import sites.csv --origin 53.42,-6.27

The CSV needs a header line; columns may stand in any order:
  id         code, iata, iata_code, airport, site, pop, colo or id
  latitude   latitude or lat
  longitude  longitude, lon, lng or long
  country    country_code, cca2, country_iso, iso2 or cc; or country, where it holds codes
  labels     city, town or location; region, pricing_region or continent")]
pub struct Args {
    /// The list of sites (CSV)
    #[arg(value_name = "SITES.csv", value_hint = clap::ValueHint::FilePath)]
    pub sites: PathBuf,
    /// How many nodes each site has, 1 to 100
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=100), env = "TRADEWIND_NODES_PER_SITE")]
    pub nodes_per_site: u16,
    /// Where nodes listen: `host:port` with `{node}`, `{site}`, `{site_lower}` or `{index}` (from 1) in it
    #[arg(
        long,
        value_name = "TEMPLATE",
        default_value = "{node}.cache.example.net:80",
        env = "TRADEWIND_ADDRESS"
    )]
    pub address: String,
    /// The tier of all sites
    #[arg(
        long,
        value_name = "TIER",
        default_value = "edge",
        env = "TRADEWIND_TIER"
    )]
    pub tier: String,
    /// The size of all nodes, 1 to 1000
    #[arg(long, value_name = "SIZE", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000), env = "TRADEWIND_CAPACITY")]
    pub capacity: u16,
    /// Add an origin site with one node here, and make it the parent of all others
    #[arg(
        long,
        value_name = "LAT,LON",
        env = "TRADEWIND_ORIGIN",
        allow_hyphen_values = true
    )]
    pub origin: Option<Point>,
    /// Write to this file [default: standard output]
    #[arg(long, value_name = "FILE", env = "TRADEWIND_OUTPUT", value_hint = clap::ValueHint::FilePath)]
    pub output: Option<PathBuf>,
}

/// A place, written `LAT,LON` in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point(pub Location);

/// A text that is no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a place, must be LAT,LON within -90 to 90 and -180 to 180 degrees")]
pub struct PointError {
    /// The text.
    pub value: String,
}

/// Why a list can not become a topology.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// Not CSV.
    #[error("the list can not be read as CSV")]
    Csv(#[source] csv::Error),
    /// Columns that are not there.
    #[error("no column for {}; the columns are {}", listed(missing), quoted(found))]
    Columns {
        /// What is missing, and the names it is recognised by.
        missing: Vec<(&'static str, String)>,
        /// The names that are there.
        found: Vec<String>,
    },
    /// No row.
    #[error("the list has no site, must have at least one row below its header")]
    Empty,
    /// A placeholder that does not exist.
    #[error("the address template has `{{{placeholder}}}`, must have only {PLACEHOLDERS}")]
    Placeholder {
        /// Its name.
        placeholder: String,
    },
    /// A template that gives one address to several nodes.
    #[error(
        "the address template `{template}` gives several nodes one address, must have {{node}}, or {{site}} and {{index}}"
    )]
    Shared {
        /// The template.
        template: String,
    },
    /// A template that makes no address.
    #[error("the address template gives `{address}`, which {source}")]
    Address {
        /// What came out.
        address: String,
        /// Why it is none.
        source: AddressError,
    },
    /// A tier that can not be named so.
    #[error("the tier is `{tier}`, must be a word other than `{ORIGIN_TIER}`")]
    Tier {
        /// The tier.
        tier: String,
    },
    /// A document that can not be written.
    #[error("the topology can not be written as YAML")]
    Yaml(#[source] serde_saphyr::ser_error::Error),
}

/// Reads the list, makes the topology, checks it by compiling it, and writes it.
pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<Exit, CommandError> {
    let list = world::read(&args.sites)?;
    let mut faults = SiteFaults::default();
    let sites = sites::read(&list, &mut faults)?;
    if let (Some(_), Some(site)) = (args.origin, sites.iter().find(|site| is_origin(site))) {
        faults.push(super::SiteFault {
            line: site.line,
            column: "code".to_owned(),
            value: site.code.clone(),
            allowed: format!("another word, since --origin adds a site `{ORIGIN_SITE}`"),
        });
    }
    if !faults.is_empty() {
        return Err(CommandError::Sites(faults));
    }
    let yaml = document(args, &sites)?;
    let name = world::name(&args.sites);
    let compiled = topology::compile(&name, &yaml);
    if compiled.topology.is_none() {
        return Err(CommandError::Refused {
            files: vec![format!("the topology made from `{name}`")],
            diagnostics: Box::new(compiled.diagnostics),
        });
    }
    match &args.output {
        None => output::text(out, &yaml)?,
        Some(path) => fs::write(path, yaml).map_err(|source| CommandError::Write {
            path: path.clone(),
            source,
        })?,
    }
    Ok(Exit::Good)
}

fn is_origin(site: &Site) -> bool {
    site.code.eq_ignore_ascii_case(ORIGIN_SITE)
}

/// The text of the topology.
fn document(args: &Args, sites: &[Site]) -> Result<String, ImportError> {
    if sites.is_empty() {
        return Err(ImportError::Empty);
    }
    if !is_id(&args.tier) || args.tier == ORIGIN_TIER {
        return Err(ImportError::Tier {
            tier: args.tier.clone(),
        });
    }
    check_template(&args.address, sites.len(), args.nodes_per_site)?;
    let tiers: Vec<&str> = if TIERS.contains(&args.tier.as_str()) {
        TIERS.to_vec()
    } else {
        vec![&args.tier, ORIGIN_TIER]
    };
    let mut spec = TopologySpec {
        tiers: tiers.into_iter().map(str::to_owned).collect(),
        sites: sites.iter().map(|site| edge_site(args, site)).collect(),
        nodes: Vec::new(),
    };
    for site in sites {
        for index in 1..=args.nodes_per_site {
            spec.nodes.push(node(args, &site.code, index)?);
        }
    }
    if let Some(Point(location)) = args.origin {
        spec.sites.push(SiteDocument {
            tier: Some(ORIGIN_TIER.to_owned()),
            ..bare_site(ORIGIN_SITE, location)
        });
        spec.nodes.push(node(args, ORIGIN_SITE, 1)?);
    }
    let document = TopologyDocument {
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        metadata: Metadata {
            description: format!("{} sites, by tradewind topology import", sites.len()),
            ..Metadata::default()
        },
        spec,
    };
    serde_saphyr::to_string(&document).map_err(ImportError::Yaml)
}

fn edge_site(args: &Args, site: &Site) -> SiteDocument {
    let labels = [("city", &site.city), ("region", &site.region)];
    let labels = labels
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
    let parent = args.origin.map(|_| ORIGIN_SITE.to_owned());
    let default_tier = TIERS.first().is_some_and(|first| *first == args.tier);
    SiteDocument {
        country: site.country.clone(),
        tier: Some(args.tier.clone()).filter(|_| !default_tier),
        parents: parent.into_iter().collect(),
        labels: labels.collect(),
        ..bare_site(&site.code, site.location)
    }
}

fn bare_site(id: &str, location: Location) -> SiteDocument {
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

fn node(args: &Args, site: &str, index: u16) -> Result<NodeDocument, ImportError> {
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
        Err(source) => Err(ImportError::Address { address, source }),
    }
}

/// Only known placeholders, and enough of them to tell nodes apart.
fn check_template(template: &str, sites: usize, nodes_per_site: u16) -> Result<(), ImportError> {
    for part in template.split('{').skip(1) {
        let placeholder = part.split('}').next().unwrap_or_default();
        if !matches!(placeholder, "node" | "site" | "site_lower" | "index") {
            let placeholder = placeholder.chars().take(40).collect();
            return Err(ImportError::Placeholder { placeholder });
        }
    }
    let names_site = template.contains("{site}") || template.contains("{site_lower}");
    let tells_sites = sites == 1 || names_site;
    let tells_nodes = nodes_per_site == 1 || template.contains("{index}");
    if template.contains("{node}") || (tells_sites && tells_nodes) {
        Ok(())
    } else {
        let template = template.chars().take(80).collect();
        Err(ImportError::Shared { template })
    }
}

impl FromStr for Point {
    type Err = PointError;

    fn from_str(text: &str) -> Result<Self, PointError> {
        let location = text.split_once(',').and_then(|(latitude, longitude)| {
            let degrees = |text: &str| text.trim().parse::<f64>().ok();
            Location::new(degrees(latitude)?, degrees(longitude)?)
        });
        location.map(Self).ok_or_else(|| PointError {
            value: text.chars().take(40).collect(),
        })
    }
}

fn listed(missing: &[(&'static str, String)]) -> String {
    let each = missing.iter();
    let each: Vec<String> = each
        .map(|(what, names)| format!("{what} ({names})"))
        .collect();
    each.join(", ")
}

fn quoted(names: &[String]) -> String {
    let each: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    each.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_latitude_and_longitude() {
        let Point(place) = "-33.9, 151.2".parse().unwrap();
        assert_eq!(
            (place.latitude().to_string(), place.longitude().to_string()),
            ("-33.9".into(), "151.2".into())
        );
        for bad in ["", "1", "91,0", "0,181", "x,y", "1,2,3"] {
            assert!(bad.parse::<Point>().is_err(), "{bad:?}");
        }
    }

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
