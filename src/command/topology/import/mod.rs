//! `tradewind topology import`: a topology document from a list of sites.
//!
//! A list is read as it is published: [`table`] makes rows of CSV and JSON alike, [`columns`] finds which column holds
//! what, [`sites`] reads the rows, and [`document`] makes the topology. What cannot be right is refused by its row, with
//! all other faults of the list; what was understood is said on the standard error stream.

mod columns;
mod document;
mod faults;
mod json;
mod place;
mod read;
mod sites;
mod table;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use self::columns::Columns;
use self::faults::Rejected;
use self::sites::{Sites, Tiers};
use self::table::Table;
use crate::command::{CommandError, Exit, output, world};
use crate::engine::geo::Location;
use crate::engine::geo::place::Country;
use crate::engine::topology::{self, AddressError};

pub use self::columns::{Assignment, AssignmentError, Role};
pub use self::faults::{SiteFault, SiteFaults, Wrong};
pub use self::place::{Place, Separator};

/// What may stand in an address template.
const PLACEHOLDERS: &str = "{node}, {site}, {site_lower} and {index}";

/// A mark that texts in UTF-16 begin with, and how the bytes behind it are read.
type Utf16Mark = ([u8; 2], fn([u8; 2]) -> u16);

/// The marks of both orders of bytes.
const UTF_16_MARKS: [Utf16Mark; 2] = [
    ([0xff, 0xfe], u16::from_le_bytes),
    ([0xfe, 0xff], u16::from_be_bytes),
];

/// Arguments of `tradewind topology import`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind topology import sites.csv --output topology.yaml
  tradewind topology import sites.csv --nodes-per-site 4 --address '{site_lower}-{index}.edge.example.net:6081'
  tradewind topology import sites.csv --origin 53.42,-6.27 --origin-country IE --label shield
  tradewind topology import locations.json --skip-incomplete --column id=name

CSV needs a header line; columns are separated by `,`, `;` or tabs and may stand in any order. JSON is an array of
objects, objects one a line, an object of objects by code, or a GeoJSON FeatureCollection of points. Which column is read
for what is said on the standard error stream; names are compared by their letters and digits alone:
  id         code, iata, iata_code, airport, site, pop, colo, datacenter, dc, id, name or region
  latitude   latitude, lat or latitude_deg; 50.03, or 50,03 where commas do not separate columns or within quotes
  longitude  longitude, lon, lng, long or longitude_deg
  country    country_code, cca2, country_iso, iso_country, iso2, alpha2 or cc; or country, where it holds codes
  city       city, town, municipality, location or name: a label
  region     region, pricing_region, continent or group: a label
  tier       tier: one of the topology's tiers; where it is empty, --tier
  parents    parents or parent: ids of sites of a later tier; where it is empty, the origin of --origin

Exit status: 0 good, 1 the list is refused, with the faults of all its rows, 2 wrong usage or nothing to read.")]
pub struct Args {
    /// The list of sites (CSV or JSON)
    #[arg(value_name = "SITES", value_hint = clap::ValueHint::FilePath)]
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
    /// The tier of sites whose row says none [default: edge, or the first of --tiers]
    #[arg(long, value_name = "TIER", env = "TRADEWIND_TIER")]
    pub tier: Option<String>,
    /// The tiers, nearest to clients first [default: edge,regional,origin]
    #[arg(
        long,
        value_name = "TIERS",
        value_delimiter = ',',
        env = "TRADEWIND_TIERS"
    )]
    pub tiers: Vec<String>,
    /// The size of all nodes, 1 to 1000
    #[arg(long, value_name = "SIZE", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000), env = "TRADEWIND_CAPACITY")]
    pub capacity: u16,
    /// Add a site `origin` of the last tier with one node here, as parent of all sites of earlier tiers that name none
    #[arg(
        long,
        value_name = "LAT,LON",
        env = "TRADEWIND_ORIGIN",
        allow_hyphen_values = true
    )]
    pub origin: Option<Point>,
    /// The country of the site that --origin adds, two letters
    #[arg(
        long,
        value_name = "CODE",
        requires = "origin",
        env = "TRADEWIND_ORIGIN_COUNTRY"
    )]
    pub origin_country: Option<Country>,
    /// Say which column holds something, if its name does not: ROLE=COLUMN with a role as listed below; may be repeated
    #[arg(
        long,
        value_name = "ROLE=COLUMN",
        value_delimiter = ',',
        env = "TRADEWIND_COLUMN"
    )]
    pub column: Vec<Assignment>,
    /// Make a label of this column too, under its name in lower case; may be repeated
    #[arg(
        long,
        value_name = "COLUMN",
        value_delimiter = ',',
        env = "TRADEWIND_LABEL"
    )]
    pub label: Vec<String>,
    /// Leave out rows that lack an id or coordinates, have them at 0,0, or have another number of fields than the header
    #[arg(long, env = "TRADEWIND_SKIP_INCOMPLETE")]
    pub skip_incomplete: bool,
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

/// Why a list cannot become a topology.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// Not CSV.
    #[error("the list cannot be read as CSV")]
    Csv(#[source] csv::Error),
    /// Not JSON, though it begins so.
    #[error("this is JSON that cannot be read")]
    Json(#[source] serde_json::Error),
    /// JSON that is no list of sites.
    #[error(
        "this is JSON, {found}; must be an array of objects, objects one a line, an object of objects by code, or a GeoJSON FeatureCollection of points"
    )]
    Shape {
        /// What it is.
        found: String,
    },
    /// Columns that are not there.
    #[error(
        "no column for {}; the columns are {}; say which it is by --column ROLE=COLUMN",
        listed(missing),
        quoted(found)
    )]
    Columns {
        /// What is missing, and the names it is recognised by.
        missing: Vec<(&'static str, String)>,
        /// The names that are there.
        found: Vec<String>,
    },
    /// Columns that were asked for and are not there.
    #[error(
        "no column is called {}; the columns are {}",
        quoted(names),
        quoted(found)
    )]
    NoSuchColumn {
        /// The names asked for.
        names: Vec<String>,
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
    #[error("the address template `{template}` makes no address")]
    Address {
        /// The template.
        template: String,
        /// What is wrong with what it makes.
        source: AddressError,
    },
    /// A tier for sites that there is not, or that is the last.
    #[error("the tier is `{tier}`, must be one of {allowed}; others can be named by --tiers")]
    Tier {
        /// The tier.
        tier: String,
        /// Those that can be.
        allowed: String,
    },
    /// A tier that cannot be called so.
    #[error("a tier is called `{tier}`, must be {}", crate::engine::model::ID_RULE)]
    TierName {
        /// The tier.
        tier: String,
    },
    /// A document that cannot be written.
    #[error("the topology cannot be written as YAML")]
    Yaml(#[source] serde_saphyr::ser_error::Error),
}

/// Reads the list, makes the topology, checks it by compiling it, and writes it. What was understood goes to `notes`.
pub(super) fn run(
    args: &Args,
    out: &mut impl Write,
    notes: &mut impl Write,
) -> Result<Exit, CommandError> {
    let name = world::name(&args.sites);
    let mut rejected = Rejected {
        skip_incomplete: args.skip_incomplete,
        ..Rejected::default()
    };
    let table = Table::read(&text(&args.sites)?, &mut rejected)?;
    let columns = columns(args, &table)?;
    let (tiers, default) = document::tiers(args)?;
    let allowed = Tiers {
        names: &tiers,
        default: &default,
    };
    let found = sites::read(&table, &columns, allowed, &mut rejected);
    let yaml = yaml(args, &found, &tiers, &mut rejected)?;
    output::note(notes, &said(&name, &columns, &found, &mut rejected));
    if !rejected.faults.is_empty() {
        rejected.faults.sort();
        return Err(CommandError::Sites(rejected.faults));
    }
    if found.sites.is_empty() {
        return Err(ImportError::Empty.into());
    }
    let compiled = topology::compile(&format!("the topology made from `{name}`"), &yaml);
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

/// The list's text; in UTF-16 too, as spreadsheets write "Unicode text".
fn text(path: &Path) -> Result<String, CommandError> {
    let error = match world::read(path) {
        Ok(text) => return Ok(text),
        Err(error) => error,
    };
    let CommandError::Read { source, .. } = &error else {
        return Err(error);
    };
    // Only a file within the bound was looked at for what it holds.
    if source.kind() != io::ErrorKind::InvalidData {
        return Err(error);
    }
    let bytes = fs::read(path).unwrap_or_default();
    let decoded = UTF_16_MARKS.iter().find_map(|(mark, unit)| {
        let (pairs, []) = bytes.strip_prefix(mark)?.as_chunks::<2>() else {
            return None;
        };
        let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
        String::from_utf16(&units).ok()
    });
    decoded.ok_or(error)
}

/// The columns; a list without any row has none in JSON, and is told so.
fn columns(args: &Args, table: &Table) -> Result<Columns, ImportError> {
    if table.names.is_empty() {
        return Err(ImportError::Empty);
    }
    Columns::find(&table.names, &args.column, &args.label)
}

/// The topology's text.
fn yaml(
    args: &Args,
    found: &Sites,
    tiers: &[String],
    rejected: &mut Rejected,
) -> Result<String, ImportError> {
    let document = document::document(args, &found.sites, tiers, rejected)?;
    serde_saphyr::to_string(&document).map_err(ImportError::Yaml)
}

/// What was understood and what was left out, in lines.
fn said(name: &str, columns: &Columns, found: &Sites, rejected: &mut Rejected) -> String {
    let mut text = output::Text::default();
    let count = found.sites.len();
    let plural = if count == 1 { "" } else { "s" };
    text.line(format_args!("`{name}`: {count} site{plural}, {columns}"));
    if found.countries_unread > 0 {
        let unread = found.countries_unread;
        text.line(format_args!(
            "no country for {unread} of them: the column holds names, not two-letter codes"
        ));
    }
    let left_out = &mut rejected.left_out;
    if !left_out.is_empty() {
        left_out.sort();
        let count = left_out.len();
        let plural = if count == 1 { "" } else { "s" };
        text.line(format_args!("left out {count} incomplete row{plural}:"));
        text.lines(&left_out.to_string());
    }
    text.into_string()
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
}
