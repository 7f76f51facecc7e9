//! Which column of a list holds what, found by name under the spellings that lists of sites use.
//!
//! Names are compared by their letters and digits alone: `Country Code`, `country-code` and `countryCode` are one name.

use std::fmt;
use std::str::FromStr;

use super::ImportError;
use crate::engine::model;

/// What a column can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The site's id.
    Id,
    /// Degrees north.
    Latitude,
    /// Degrees east.
    Longitude,
    /// The country the site stands in, as a code.
    Country,
    /// The city, a label.
    City,
    /// The region, a label.
    Region,
    /// The site's tier.
    Tier,
    /// The sites that fill its misses.
    Parents,
}

/// A column that a person says holds something, written `ROLE=COLUMN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// What it holds.
    pub role: Role,
    /// The column's name.
    pub column: String,
}

/// A text that assigns nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not ROLE=COLUMN with a role of {}", Role::listed())]
pub struct AssignmentError {
    /// The text.
    pub value: String,
}

/// Where the columns are.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) id: usize,
    pub(super) latitude: usize,
    pub(super) longitude: usize,
    pub(super) country: Option<Country>,
    pub(super) tier: Option<usize>,
    pub(super) parents: Option<usize>,
    /// Names of labels and where their values are.
    pub(super) labels: Vec<(String, usize)>,
    names: Vec<String>,
}

/// A column of countries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Country {
    pub(super) column: usize,
    /// Whether its name says that it holds codes, and no names.
    pub(super) is_of_codes: bool,
}

impl Role {
    const ALL: [Self; 8] = [
        Self::Id,
        Self::Latitude,
        Self::Longitude,
        Self::Country,
        Self::City,
        Self::Region,
        Self::Tier,
        Self::Parents,
    ];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Latitude => "latitude",
            Self::Longitude => "longitude",
            Self::Country => "country",
            Self::City => "city",
            Self::Region => "region",
            Self::Tier => "tier",
            Self::Parents => "parents",
        }
    }

    /// Names of such columns, most telling first; the first that is there counts.
    fn spellings(self) -> &'static [&'static str] {
        match self {
            Self::Id => &[
                "code",
                "iata",
                "iata_code",
                "airport",
                "airport_code",
                "site",
                "site_id",
                "pop",
                "pop_code",
                "colo",
                "datacenter",
                "dc",
                "id",
                "region_code",
                "name",
                "region",
            ],
            Self::Latitude => &["latitude", "lat", "latitude_deg", "lat_deg"],
            Self::Longitude => &[
                "longitude",
                "lon",
                "lng",
                "long",
                "longitude_deg",
                "lon_deg",
            ],
            Self::Country => &[
                "country_code",
                "cca2",
                "country_iso",
                "iso_country",
                "iso2",
                "alpha2",
                "cc",
                "country",
            ],
            Self::City => &[
                "city",
                "town",
                "municipality",
                "location",
                "name",
                "display_name",
            ],
            Self::Region => &["region", "pricing_region", "continent", "group"],
            Self::Tier => &["tier"],
            Self::Parents => &["parents", "parent"],
        }
    }

    fn listed() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

impl Columns {
    /// Finds every role among `names`: where a person says it is, else by its spellings. `labels` are names of columns
    /// that become labels too.
    pub(super) fn find(
        names: &[String],
        assigned: &[Assignment],
        labels: &[String],
    ) -> Result<Self, ImportError> {
        let mut search = Search {
            names,
            taken: Vec::new(),
        };
        let mut unknown: Vec<&str> = Vec::new();
        let mut place = |role: Role| {
            let Some(assignment) = assigned.iter().rev().find(|found| found.role == role) else {
                return search.role(role);
            };
            let column = search.named(&assignment.column);
            if column.is_none() {
                unknown.push(&assignment.column);
            }
            column
        };
        // In this order, so that a `name` which is no id may be the city.
        let places = Role::ALL.map(&mut place);
        let [
            id,
            latitude,
            longitude,
            country,
            city,
            region,
            tier,
            parents,
        ] = places;
        let mut label_columns = Vec::new();
        for (role, column) in [(Role::City, city), (Role::Region, region)] {
            label_columns.extend(column.map(|column| (role.name().to_owned(), column)));
        }
        for label in labels {
            match search.named(label) {
                Some(column) => label_columns.push((label_name(names, column), column)),
                None => unknown.push(label),
            }
        }
        if !unknown.is_empty() {
            return Err(ImportError::NoSuchColumn {
                names: unknown.into_iter().map(str::to_owned).collect(),
                found: printable(names),
            });
        }
        let needed = [
            (Role::Id, id),
            (Role::Latitude, latitude),
            (Role::Longitude, longitude),
        ];
        let (Some(id), Some(latitude), Some(longitude)) = (id, latitude, longitude) else {
            return Err(missing(&needed, names));
        };
        let country = country.map(|column| Country {
            column,
            is_of_codes: names
                .get(column)
                .is_none_or(|name| normal(name) != "country"),
        });
        Ok(Self {
            id,
            latitude,
            longitude,
            country,
            tier,
            parents,
            labels: label_columns,
            names: printable(names),
        })
    }

    /// The name of a column as the file has it.
    pub(super) fn name(&self, column: usize) -> String {
        self.names.get(column).cloned().unwrap_or_default()
    }

    /// The columns that nothing is read from.
    fn unread(&self) -> Vec<String> {
        let mut read = vec![self.id, self.latitude, self.longitude];
        read.extend(self.country.map(|country| country.column));
        read.extend(self.tier.iter().chain(&self.parents));
        read.extend(self.labels.iter().map(|(_, column)| column));
        let names = self.names.iter().enumerate();
        names
            .filter(|(column, _)| !read.contains(column))
            .map(|(_, name)| format!("`{name}`"))
            .collect()
    }
}

/// Which column was read for what.
impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let always = [
            (Role::Id, self.id),
            (Role::Latitude, self.latitude),
            (Role::Longitude, self.longitude),
        ];
        let [id, latitude, longitude] =
            always.map(|(role, column)| format!("{} `{}`", role.name(), self.name(column)));
        write!(f, "read as {id}, {latitude}, {longitude}")?;
        let country = self.country.map(|country| country.column);
        for (role, column) in [
            (Role::Country, country),
            (Role::Tier, self.tier),
            (Role::Parents, self.parents),
        ] {
            if let Some(column) = column {
                write!(f, ", {} `{}`", role.name(), self.name(column))?;
            }
        }
        for (label, column) in &self.labels {
            write!(f, ", label {label} `{}`", self.name(*column))?;
        }
        match self.unread().as_slice() {
            [] => Ok(()),
            unread => write!(f, "; not read: {}", unread.join(", ")),
        }
    }
}

/// The error of columns that every site needs and that are not there.
fn missing(needed: &[(Role, Option<usize>)], names: &[String]) -> ImportError {
    let missing = needed.iter().filter(|(_, column)| column.is_none());
    ImportError::Columns {
        missing: missing
            .map(|(role, _)| (role.name(), role.spellings().join(", ")))
            .collect(),
        found: printable(names),
    }
}

/// A search in which each column is found once.
struct Search<'a> {
    names: &'a [String],
    taken: Vec<usize>,
}

impl Search<'_> {
    fn role(&mut self, role: Role) -> Option<usize> {
        let mut spellings = role.spellings().iter().copied();
        let column = spellings.find_map(|spelling| {
            let wanted = normal(spelling);
            let is_it = |name: &String| normal(name) == wanted;
            let is_nested = |name: &String| is_coordinate(role) && last(name) == wanted;
            let exact = self.position(is_it);
            exact.or_else(|| self.position(is_nested))
        })?;
        self.taken.push(column);
        Some(column)
    }

    /// The free column that `wanted` holds for.
    fn position(&self, wanted: impl Fn(&String) -> bool) -> Option<usize> {
        let mut found = self.names.iter().enumerate();
        let found = found.find(|(column, name)| !self.taken.contains(column) && wanted(name));
        found.map(|(column, _)| column)
    }

    /// A column by its own name, whether or not it holds something else as well.
    fn named(&mut self, name: &str) -> Option<usize> {
        let same = |other: &String| other == name;
        let alike = |other: &String| normal(other) == normal(name);
        let exact = self.names.iter().position(same);
        let column = exact.or_else(|| self.names.iter().position(alike))?;
        self.taken.push(column);
        Some(column)
    }
}

/// Whether columns of JSON are found by the last part of their name: `coordinates.latitude` is a latitude, but
/// `country.code` is no id.
fn is_coordinate(role: Role) -> bool {
    matches!(role, Role::Latitude | Role::Longitude)
}

/// A name by its letters and digits, in lower case.
fn normal(name: &str) -> String {
    let letters = name.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

/// The last part of a name with dots.
fn last(name: &str) -> String {
    normal(name.rsplit('.').next().unwrap_or_default())
}

/// What a column's label is called: its name in lower case, with `_` for what is no letter or digit.
fn label_name(names: &[String], column: usize) -> String {
    let name = names.get(column).map_or("", |name| name.trim());
    let word = |c: char| if c.is_alphanumeric() { c } else { '_' };
    name.to_lowercase().chars().map(word).collect()
}

fn printable(names: &[String]) -> Vec<String> {
    let names = names.iter();
    names.map(|name| model::printable(name, 40)).collect()
}

impl FromStr for Assignment {
    type Err = AssignmentError;

    fn from_str(text: &str) -> Result<Self, AssignmentError> {
        let parts = text.split_once('=').and_then(|(role, column)| {
            let role = Role::ALL.into_iter().find(|known| known.name() == role)?;
            Some((role, column))
        });
        match parts {
            Some((role, column)) if !column.is_empty() => Ok(Self {
                role,
                column: column.to_owned(),
            }),
            _ => Err(AssignmentError {
                value: model::printable(text, 80),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(header: &str) -> Columns {
        find_with(header, &[], &[]).unwrap()
    }

    fn find_with(header: &str, assigned: &[&str], labels: &[&str]) -> Result<Columns, ImportError> {
        let names: Vec<String> = header.split(',').map(str::to_owned).collect();
        let assigned: Vec<Assignment> = assigned.iter().map(|a| a.parse().unwrap()).collect();
        let labels: Vec<String> = labels.iter().map(|&label| label.to_owned()).collect();
        Columns::find(&names, &assigned, &labels)
    }

    #[test]
    fn lists_as_they_are_published_are_read_by_their_own_names() {
        for (header, read) in [
            (
                // Edge locations of a large cloud.
                "code,city,country,country_code,latitude,longitude,pricing_region",
                "read as id `code`, latitude `latitude`, longitude `longitude`, country `country_code`, \
                 label city `city`, label region `pricing_region`; not read: `country`",
            ),
            (
                // Locations of a network, from its speed test.
                "iata,lat,lon,cca2,region,city",
                "read as id `iata`, latitude `lat`, longitude `lon`, country `cca2`, label city `city`, \
                 label region `region`",
            ),
            (
                // Data centres with nested coordinates, from an API.
                "code,name,group,shield,coordinates.x,coordinates.latitude,coordinates.longitude",
                "read as id `code`, latitude `coordinates.latitude`, longitude `coordinates.longitude`, \
                 label city `name`, label region `group`; not read: `shield`, `coordinates.x`",
            ),
            (
                // Regions of a cloud, from its command line.
                "name,displayName,metadata.latitude,metadata.longitude,country.code",
                "read as id `name`, latitude `metadata.latitude`, longitude `metadata.longitude`, country `country.code`, \
                 label city `displayName`",
            ),
            (
                "region,Lat,LNG",
                "read as id `region`, latitude `Lat`, longitude `LNG`",
            ),
            (
                // Airports.
                "ident,name,latitude_deg,longitude_deg,iso_country,municipality,iata_code",
                "read as id `iata_code`, latitude `latitude_deg`, longitude `longitude_deg`, country `iso_country`, \
                 label city `municipality`; not read: `ident`, `name`",
            ),
            (
                "POP,Country-Code,LATITUDE,Long,Tier,Parent",
                "read as id `POP`, latitude `LATITUDE`, longitude `Long`, country `Country-Code`, tier `Tier`, \
                 parents `Parent`",
            ),
        ] {
            assert_eq!(find(header).to_string(), read);
        }
    }

    #[test]
    fn a_person_can_say_which_column_holds_what() {
        let found = find_with(
            "code,Node Name,lat,lon,y,Rack-Size",
            &["id=node name", "latitude=y"],
            &["rack size", "code"],
        )
        .unwrap();
        assert_eq!(
            found.to_string(),
            "read as id `Node Name`, latitude `y`, longitude `lon`, label rack_size `Rack-Size`, label code `code`; \
             not read: `lat`"
        );
        for bad in ["", "id", "id=", "height=h", "=id"] {
            assert!(bad.parse::<Assignment>().is_err(), "{bad:?}");
        }
        let error = find_with("code,lat,lon", &["id=cod"], &["rack"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no column is called `cod`, `rack`; the columns are `code`, `lat`, `lon`"
        );
    }

    #[test]
    fn missing_columns_say_which_names_are_recognised() {
        let error = find_with("title,breadth", &[], &[]).unwrap_err();
        let text = error.to_string();
        for part in [
            "id (code, iata,",
            "latitude (latitude, lat,",
            "longitude (",
            "`title`, `breadth`",
            "--column",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
