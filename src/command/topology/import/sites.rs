//! Rows of a list turned into sites, with every faulty row reported and not only the first.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;

use super::columns::Columns;
use super::faults::{Rejected, Wrong};
use super::place::Place;
use super::table::{Row, Table};
use crate::engine::geo::Location;
use crate::engine::geo::place::Country;
use crate::engine::model;

/// Longest label in bytes, as topologies have it.
const MAX_LABEL_BYTES: usize = 128;

/// What lists write where they know no coordinate.
const NOTHING: &[&str] = &["", "-", "?", "null", "none", "nan", "na", "n/a", "unknown"];

/// A site of a list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Site {
    pub(super) place: Place,
    pub(super) id: String,
    pub(super) location: Location,
    pub(super) country: Option<String>,
    pub(super) tier: String,
    pub(super) parents: Vec<String>,
    pub(super) labels: BTreeMap<String, String>,
}

/// The tiers that sites may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiers<'a> {
    /// Their names, nearest to clients first.
    pub(super) names: &'a [String],
    /// The tier of a site whose row says none.
    pub(super) default: &'a str,
}

/// The sites of a list, and what was left unread in it.
#[derive(Debug, Default)]
pub(super) struct Sites {
    pub(super) sites: Vec<Site>,
    /// Values of the country column that are no codes, and whose sites have no country therefore.
    pub(super) countries_unread: usize,
}

/// Reads the rows. Faulty ones are rejected.
pub(super) fn read(
    table: &Table,
    columns: &Columns,
    tiers: Tiers<'_>,
    rejected: &mut Rejected,
) -> Sites {
    let mut first_use: HashMap<String, Place, FixedState> = HashMap::default();
    let mut found = Sites::default();
    for row in &table.rows {
        let mut reader = Reader {
            row,
            columns,
            tiers,
            rejected,
        };
        let Some(site) = reader.site() else {
            continue;
        };
        let key = site.id.to_ascii_lowercase();
        if let Some(first) = first_use.get(&key) {
            let allowed = format!("an id of its own; {first} has the same");
            reader.refuse(columns.id, allowed);
            continue;
        }
        first_use.insert(key, site.place);
        if let (None, Some(country)) = (&site.country, columns.country) {
            found.countries_unread += usize::from(!reader.text(country.column).is_empty());
        }
        found.sites.push(site);
    }
    found
}

/// A row while it is read.
struct Reader<'a> {
    row: &'a Row,
    columns: &'a Columns,
    tiers: Tiers<'a>,
    rejected: &'a mut Rejected,
}

impl Reader<'_> {
    /// The site, unless the row lacks something or an id, coordinate or tier is none.
    fn site(&mut self) -> Option<Site> {
        let columns = self.columns;
        if self.lacks_something() {
            return None;
        }
        let id = self.id();
        let latitude = self.degrees(columns.latitude, 90.0);
        let longitude = self.degrees(columns.longitude, 180.0);
        let country = self.country();
        let tier = self.tier();
        let mut labels = BTreeMap::new();
        for (name, column) in &columns.labels {
            if let Some(value) = self.label(*column) {
                labels.insert(name.clone(), value);
            }
        }
        let parents = columns.parents.map_or("", |column| self.text(column));
        let parents = parents
            .split([' ', ',', ';', '|'])
            .filter(|id| !id.is_empty());
        let parents = parents.map(str::to_owned).collect();
        let location = Location::new(latitude?, longitude?)?;
        if location.latitude() == 0.0 && location.longitude() == 0.0 {
            let columns = [columns.latitude, columns.longitude].map(|column| columns.name(column));
            self.rejected.push(self.row.place, Wrong::Null { columns });
            return None;
        }
        Some(Site {
            place: self.row.place,
            id: id?,
            location,
            country,
            tier: tier?,
            parents,
            labels,
        })
    }

    fn text(&self, column: usize) -> &str {
        self.row.fields.get(column).map_or("", String::as_str)
    }

    /// Rejects the row if it has nothing in a column that every site needs.
    fn lacks_something(&mut self) -> bool {
        let columns = self.columns;
        let has_none = |column: &usize| {
            let text = self.text(*column);
            text.is_empty()
                || *column != columns.id && NOTHING.contains(&text.to_ascii_lowercase().as_str())
        };
        let needed = [columns.id, columns.latitude, columns.longitude];
        let empty: Vec<String> = needed
            .into_iter()
            .filter(has_none)
            .map(|column| columns.name(column))
            .collect();
        let lacks = !empty.is_empty();
        if lacks {
            let wrong = Wrong::Empty { columns: empty };
            self.rejected.push(self.row.place, wrong);
        }
        lacks
    }

    fn id(&mut self) -> Option<String> {
        let column = self.columns.id;
        let id = self.text(column).to_owned();
        if model::is_id(&id) {
            return Some(id);
        }
        self.refuse(column, model::ID_RULE.to_owned());
        None
    }

    fn degrees(&mut self, column: usize, most: f64) -> Option<f64> {
        let text = self.text(column);
        let value = match text.split_once(',') {
            // A decimal comma: at most one, and no point beside it.
            Some((whole, part)) if !text.contains('.') => format!("{whole}.{part}").parse(),
            _ => text.parse::<f64>(),
        };
        let value = value
            .ok()
            .filter(|degrees| (-most..=most).contains(degrees));
        if value.is_none() {
            self.refuse(column, format!("a number from -{most} to {most}"));
        }
        value
    }

    fn country(&mut self) -> Option<String> {
        let country = self.columns.country?;
        let text = self.text(country.column).to_owned();
        if text.is_empty() || text.parse::<Country>().is_ok() {
            return Some(text).filter(|code| !code.is_empty());
        }
        if country.is_of_codes {
            let allowed = "two letters like DE, or nothing".to_owned();
            self.refuse(country.column, allowed);
        }
        None
    }

    fn tier(&mut self) -> Option<String> {
        let default = Some(self.tiers.default.to_owned());
        let Some(column) = self.columns.tier else {
            return default;
        };
        let text = self.text(column).to_owned();
        if text.is_empty() {
            return default;
        }
        let names = self.tiers.names;
        let tier = names.iter().find(|name| name.eq_ignore_ascii_case(&text));
        if tier.is_none() {
            let allowed = format!("one of {}, or others named by --tiers", names.join(", "));
            self.refuse(column, allowed);
        }
        tier.cloned()
    }

    fn label(&mut self, column: usize) -> Option<String> {
        let text = self.text(column).to_owned();
        if text.len() > MAX_LABEL_BYTES || text.chars().any(char::is_control) {
            let allowed = format!("up to {MAX_LABEL_BYTES} bytes without control characters");
            self.refuse(column, allowed);
        }
        Some(text).filter(|text| !text.is_empty())
    }

    fn refuse(&mut self, column: usize, allowed: String) {
        let wrong = Wrong::Value {
            column: self.columns.name(column),
            value: model::printable(self.text(column), 40),
            allowed,
        };
        self.rejected.push(self.row.place, wrong);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &str, skip_incomplete: bool) -> (Sites, Rejected) {
        let mut rejected = Rejected {
            skip_incomplete,
            ..Rejected::default()
        };
        let table = Table::read(text, &mut rejected).unwrap();
        let columns = Columns::find(&table.names, &[], &[]).unwrap();
        let names = ["edge", "regional", "origin"].map(str::to_owned);
        let tiers = Tiers {
            names: &names,
            default: "edge",
        };
        let sites = read(&table, &columns, tiers, &mut rejected);
        (sites, rejected)
    }

    fn read_good(text: &str) -> Vec<Site> {
        let (found, rejected) = read_all(text, false);
        assert_eq!(rejected.faults.to_string(), "");
        found.sites
    }

    #[test]
    fn both_forms_of_lists_are_read() {
        let long = "code,city,country,country_code,latitude,longitude,pricing_region\n\
                    ATL,Atlanta,United States,US,33.6367,-84.428101,\"United States, Mexico, & Canada\"\n";
        let short = "\u{feff}IATA;Lat;Lng;CCA2;Region;City\nFRA;50.03;8.57;DE;Europe;Frankfurt\n";
        let [atlanta] = read_good(long).try_into().unwrap();
        assert_eq!(
            (atlanta.id.as_str(), atlanta.country.as_deref()),
            ("ATL", Some("US"))
        );
        assert_eq!(atlanta.labels["region"], "United States, Mexico, & Canada");
        let [frankfurt] = read_good(short).try_into().unwrap();
        assert_eq!(frankfurt.place, Place::Line(2));
        assert_eq!(frankfurt.location.longitude().to_string(), "8.57");
        assert_eq!(frankfurt.labels["city"], "Frankfurt");
    }

    #[test]
    fn decimal_commas_are_decimal_points() {
        for text in [
            "code;lat;lon\nFRA;50,03;-8,57\n",
            "code\tlat\tlon\nFRA\t50,03\t-8,57\n",
            "code,lat,lon\nFRA,\"50,03\",\"-8,57\"\n",
        ] {
            let [site] = read_good(text).try_into().unwrap();
            assert_eq!(Location::new(50.03, -8.57), Some(site.location), "{text}");
        }
        let (_, rejected) = read_all("code;lat;lon\nA;1.000,5;1,2,3\n", false);
        assert_eq!(
            rejected.faults.to_string(),
            "line 2: `lat` is `1.000,5`, must be a number from -90 to 90\n\
             line 2: `lon` is `1,2,3`, must be a number from -180 to 180\n"
        );
    }

    #[test]
    fn a_column_of_country_names_is_no_fault() {
        let (found, rejected) = read_all("code,lat,lon,country\nA,1,2,Germany\nB,1,2,de\n", false);
        assert!(rejected.faults.is_empty());
        assert_eq!(
            (found.sites[0].country.as_deref(), found.countries_unread),
            (None, 1)
        );
        assert_eq!(found.sites[1].country.as_deref(), Some("de"));
    }

    #[test]
    fn every_bad_row_is_reported_at_once() {
        let text = "code,lat,lon,country_code,tier\n\
                    A,91,1,DE,\n,0,x,DE,\nB,1,0,Germany,\nC,0,1,,Origin\nc,0,1,FR,\nD,null,,,\nE,0,-0.0,,\nF/,1,1,,core\n";
        let (found, rejected) = read_all(text, false);
        assert_eq!(
            rejected.faults.to_string().lines().collect::<Vec<_>>(),
            [
                "line 2: `lat` is `91`, must be a number from -90 to 90",
                "line 3 has nothing in `code`",
                "line 4: `country_code` is `Germany`, must be two letters like DE, or nothing",
                "line 6: `code` is `c`, must be an id of its own; line 5 has the same",
                "line 7 has nothing in `lat` and `lon`",
                "line 8: `lat` and `lon` are both 0, as missing coordinates are; must be where the site is",
                &format!("line 9: `code` is `F/`, must be {}", model::ID_RULE),
                "line 9: `tier` is `core`, must be one of edge, regional, origin, or others named by --tiers",
            ]
        );
        let tiers: Vec<&str> = found.sites.iter().map(|site| site.tier.as_str()).collect();
        assert_eq!(tiers, ["edge", "origin"]);
    }

    #[test]
    fn rows_that_lack_something_can_be_left_out_and_wrong_ones_cannot() {
        let text = "code,lat,lon\nA,1,1\nB,,2\nC,0,0\nD,1\nE,95,1\n";
        let (found, rejected) = read_all(text, true);
        assert_eq!(found.sites.len(), 1);
        assert_eq!((rejected.left_out.len(), rejected.faults.len()), (3, 1));
        assert!(
            rejected
                .faults
                .to_string()
                .starts_with("line 6: `lat` is `95`")
        );
    }

    #[test]
    fn parents_stand_apart_by_any_usual_mark() {
        let sites = read_good("id,lat,lon,parents\nA,1,1,B C\nB,1,1,C|D;E\nC,1,1,\n");
        assert_eq!(sites[0].parents, ["B", "C"]);
        assert_eq!(sites[1].parents, ["C", "D", "E"]);
        assert!(sites[2].parents.is_empty());
    }
}
