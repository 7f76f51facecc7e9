//! Lists of sites with coordinates, as CDNs and their watchers publish them: CSV with a header line.
//!
//! Columns are found by name, under the spellings such lists use. Every faulty row is reported, not only the first.

use std::collections::HashMap;
use std::fmt;

use csv::{ReaderBuilder, StringRecord, Trim};
use foldhash::fast::FixedState;

use super::import::ImportError;
use crate::engine::geo::Location;
use crate::engine::geo::place::Country;
use crate::engine::model;

/// Names of the column with a site's id; the first that is there counts.
const CODE: &[&str] = &[
    "code",
    "iata",
    "iata_code",
    "airport",
    "site",
    "pop",
    "colo",
    "id",
];

/// Names of the column with degrees north.
const LATITUDE: &[&str] = &["latitude", "lat"];

/// Names of the column with degrees east.
const LONGITUDE: &[&str] = &["longitude", "lon", "lng", "long"];

/// Names of the column with a two-letter country code.
const COUNTRY_CODE: &[&str] = &["country_code", "cca2", "country_iso", "iso2", "cc"];

/// A column that holds codes in some lists and names in others.
const COUNTRY: &[&str] = &["country"];

/// Names of the column with the city.
const CITY: &[&str] = &["city", "town", "location"];

/// Names of the column with the region.
const REGION: &[&str] = &["region", "pricing_region", "continent"];

/// Most faults that are kept; a file of another kind would have one a row.
const MAX_FAULTS: usize = 100;

/// Longest label in bytes, as topologies have it.
const MAX_LABEL_BYTES: usize = 128;

/// A row of the list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Site {
    pub(super) line: u64,
    pub(super) code: String,
    pub(super) location: Location,
    pub(super) country: Option<String>,
    pub(super) city: Option<String>,
    pub(super) region: Option<String>,
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteFault {
    /// The line of the file, from 1.
    pub line: u64,
    /// The column's name as the file has it.
    pub column: String,
    /// The value there, cut to 40 characters.
    pub value: String,
    /// What is allowed.
    pub allowed: String,
}

/// Every fault of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteFaults {
    kept: Vec<SiteFault>,
    dropped: usize,
}

/// Where the columns are.
struct Columns {
    code: usize,
    latitude: usize,
    longitude: usize,
    country_code: Option<usize>,
    country: Option<usize>,
    city: Option<usize>,
    region: Option<usize>,
    names: StringRecord,
}

/// Reads the list. Faults of rows are added to `faults`, and such rows left out.
pub(super) fn read(text: &str, faults: &mut SiteFaults) -> Result<Vec<Site>, ImportError> {
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = ReaderBuilder::new()
        .trim(Trim::All)
        .flexible(true)
        .delimiter(delimiter(text))
        .from_reader(text.as_bytes());
    let columns = Columns::find(reader.headers().map_err(ImportError::Csv)?)?;
    let mut first_use: HashMap<String, u64, FixedState> = HashMap::default();
    let mut sites = Vec::new();
    for record in reader.records() {
        let record = record.map_err(ImportError::Csv)?;
        let row = Row {
            line: record.position().map_or(0, csv::Position::line),
            record: &record,
            columns: &columns,
        };
        let Some(site) = row.site(faults) else {
            continue;
        };
        match first_use.insert(site.code.to_ascii_lowercase(), site.line) {
            None => sites.push(site),
            Some(first) => {
                let allowed = format!("a code of its own; line {first} has the same");
                faults.push(row.fault(columns.code, allowed));
            }
        }
    }
    Ok(sites)
}

/// The character between columns: whichever of comma, semicolon and tab the header has most of.
fn delimiter(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default();
    let count = |mark: u8| header.bytes().filter(|byte| *byte == mark).count();
    // The last of equals wins, so the comma stands last.
    let best = [b'\t', b';', b',']
        .into_iter()
        .max_by_key(|mark| count(*mark));
    best.unwrap_or(b',')
}

impl Columns {
    fn find(names: &StringRecord) -> Result<Self, ImportError> {
        let normal = |name: &str| name.trim().to_ascii_lowercase().replace([' ', '-'], "_");
        let position = |spellings: &[&str]| {
            let mut found = spellings
                .iter()
                .filter_map(|wanted| names.iter().position(|name| normal(name) == *wanted));
            found.next()
        };
        let wanted = [
            ("code", CODE),
            ("latitude", LATITUDE),
            ("longitude", LONGITUDE),
        ];
        let places = wanted.map(|(_, spellings)| position(spellings));
        let [Some(code), Some(latitude), Some(longitude)] = places else {
            let missing = wanted.into_iter().filter(|(_, s)| position(s).is_none());
            return Err(ImportError::Columns {
                missing: missing
                    .map(|(what, names)| (what, names.join(", ")))
                    .collect(),
                found: names
                    .iter()
                    .map(|name| model::printable(name, 40))
                    .collect(),
            });
        };
        Ok(Self {
            code,
            latitude,
            longitude,
            country_code: position(COUNTRY_CODE),
            country: position(COUNTRY),
            city: position(CITY),
            region: position(REGION),
            names: names.clone(),
        })
    }
}

/// A row while it is read.
struct Row<'a> {
    line: u64,
    record: &'a StringRecord,
    columns: &'a Columns,
}

impl Row<'_> {
    fn site(&self, faults: &mut SiteFaults) -> Option<Site> {
        let columns = self.columns;
        let code = self.text(columns.code);
        if !model::is_id(code) {
            faults.push(self.fault(columns.code, model::ID_RULE.to_owned()));
        }
        let latitude = self.degrees(columns.latitude, 90.0, faults);
        let longitude = self.degrees(columns.longitude, 180.0, faults);
        let country = self.country(faults);
        let city = self.label(columns.city, faults);
        let region = self.label(columns.region, faults);
        let location = Location::new(latitude?, longitude?)?;
        model::is_id(code).then(|| Site {
            line: self.line,
            code: code.to_owned(),
            location,
            country,
            city,
            region,
        })
    }

    fn text(&self, column: usize) -> &str {
        self.record.get(column).unwrap_or_default()
    }

    fn degrees(&self, column: usize, most: f64, faults: &mut SiteFaults) -> Option<f64> {
        let value = self.text(column).parse::<f64>().ok();
        let value = value.filter(|degrees| (-most..=most).contains(degrees));
        if value.is_none() {
            faults.push(self.fault(column, format!("a number from -{most} to {most}")));
        }
        value
    }

    fn country(&self, faults: &mut SiteFaults) -> Option<String> {
        let is_code = |text: &str| text.parse::<Country>().is_ok();
        if let Some(column) = self.columns.country_code {
            let code = self.text(column);
            if !code.is_empty() && !is_code(code) {
                faults.push(self.fault(column, "two letters like DE, or nothing".to_owned()));
            }
            return Some(code.to_owned()).filter(|code| !code.is_empty());
        }
        let column = self.columns.country?;
        Some(self.text(column).to_owned()).filter(|text| is_code(text))
    }

    fn label(&self, column: Option<usize>, faults: &mut SiteFaults) -> Option<String> {
        let column = column?;
        let text = self.text(column);
        if text.len() > MAX_LABEL_BYTES || text.chars().any(char::is_control) {
            let allowed = format!("up to {MAX_LABEL_BYTES} bytes without control characters");
            faults.push(self.fault(column, allowed));
        }
        Some(text.to_owned()).filter(|text| !text.is_empty())
    }

    fn fault(&self, column: usize, allowed: String) -> SiteFault {
        SiteFault {
            line: self.line,
            column: model::printable(self.columns.names.get(column).unwrap_or_default(), 40),
            value: model::printable(self.text(column), 40),
            allowed,
        }
    }
}

impl SiteFaults {
    /// Adds a fault, or counts it when 100 are kept already.
    pub(super) fn push(&mut self, fault: SiteFault) {
        if self.kept.len() < MAX_FAULTS {
            self.kept.push(fault);
        } else {
            self.dropped += 1;
        }
    }

    /// Number of faults, kept or not.
    pub fn len(&self) -> usize {
        self.kept.len() + self.dropped
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The faults kept, in the order of the file.
    pub fn kept(&self) -> &[SiteFault] {
        &self.kept
    }
}

impl fmt::Display for SiteFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            value,
            allowed,
        } = self;
        write!(f, "line {line}: `{column}` is `{value}`, must be {allowed}")
    }
}

impl fmt::Display for SiteFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.kept {
            writeln!(f, "{fault}")?;
        }
        match self.dropped {
            0 => Ok(()),
            dropped => writeln!(f, "and {dropped} more, not shown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_good(text: &str) -> Vec<Site> {
        let mut faults = SiteFaults::default();
        let sites = read(text, &mut faults).unwrap();
        assert_eq!(faults.to_string(), "");
        sites
    }

    #[test]
    fn both_forms_of_lists_are_read() {
        let long = "code,city,country,country_code,latitude,longitude,pricing_region\n\
                    ATL,Atlanta,United States,US,33.6367,-84.428101,\"United States, Mexico, & Canada\"\n";
        let short = "\u{feff}IATA;Lat;Lng;CCA2;Region;City\nFRA;50.03;8.57;DE;Europe;Frankfurt\n";
        let [atlanta] = read_good(long).try_into().unwrap();
        assert_eq!(
            (atlanta.code.as_str(), atlanta.country.as_deref()),
            ("ATL", Some("US"))
        );
        assert_eq!(
            atlanta.region.as_deref(),
            Some("United States, Mexico, & Canada")
        );
        let [frankfurt] = read_good(short).try_into().unwrap();
        assert_eq!(
            (
                frankfurt.line,
                frankfurt.location.longitude().to_string().as_str()
            ),
            (2, "8.57")
        );
        assert_eq!(frankfurt.city.as_deref(), Some("Frankfurt"));
    }

    #[test]
    fn a_column_of_country_names_is_no_fault() {
        let sites = read_good("code,lat,lon,country\nA,1,2,Germany\nB,1,2,DE\n");
        assert_eq!(sites[0].country, None);
        assert_eq!(sites[1].country.as_deref(), Some("DE"));
    }

    #[test]
    fn every_bad_row_is_reported_at_once() {
        let text =
            "code,lat,lon,country_code\nA,91,0,DE\n,0,x,DE\nB,0,0,Germany\nC,0,0,\nc,0,0,FR\nD\n";
        let mut faults = SiteFaults::default();
        let sites = read(text, &mut faults).unwrap();
        assert_eq!(
            faults.to_string().lines().collect::<Vec<_>>(),
            [
                "line 2: `lat` is `91`, must be a number from -90 to 90",
                &format!("line 3: `code` is ``, must be {}", model::ID_RULE),
                "line 3: `lon` is `x`, must be a number from -180 to 180",
                "line 4: `country_code` is `Germany`, must be two letters like DE, or nothing",
                "line 6: `code` is `c`, must be a code of its own; line 5 has the same",
                "line 7: `lat` is ``, must be a number from -90 to 90",
                "line 7: `lon` is ``, must be a number from -180 to 180",
            ]
        );
        assert_eq!(sites.len(), 2);
    }

    #[test]
    fn missing_columns_say_which_names_are_recognised() {
        let error = read("name,breadth\nA,1\n", &mut SiteFaults::default()).unwrap_err();
        let text = error.to_string();
        for part in [
            "code (code, iata,",
            "latitude (latitude, lat)",
            "longitude (",
            "`name`, `breadth`",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
