//! Where a sidecar is, as its operator says: at a site of the topology, or at a point on earth.
//!
//! A client whom nobody can place has reached the proxy that asks, so most likely it is near it.

use std::fmt;
use std::str::FromStr;

use tradewind_engine::geo::Location;
use tradewind_engine::model::printable;
use tradewind_engine::topology::Topology;

/// Longest id of a site.
const MAX_ID_BYTES: usize = 64;

/// Where a sidecar is.
#[derive(Debug, Clone, PartialEq)]
pub enum Here {
    /// At the site with this id.
    Site(String),
    /// At this point.
    At(Location),
}

/// A text that says no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{value}` is no place, must be the id of a site, or LAT,LON within -90 to 90 and -180 to 180 degrees"
)]
pub struct HereError {
    /// The text as given, cut to 64 characters.
    pub value: String,
}

impl FromStr for Here {
    type Err = HereError;

    fn from_str(text: &str) -> Result<Self, HereError> {
        // No id has a comma in it.
        let read = match text.split_once(',') {
            Some((latitude, longitude)) => {
                let degrees = |text: &str| text.trim().parse::<f64>().ok();
                let pair = degrees(latitude).zip(degrees(longitude));
                pair.and_then(|(latitude, longitude)| Location::new(latitude, longitude))
                    .map(Self::At)
            }
            None if text.is_empty() || text.len() > MAX_ID_BYTES => None,
            None => Some(Self::Site(text.to_owned())),
        };
        read.ok_or_else(|| HereError {
            value: printable(text, 64),
        })
    }
}

impl fmt::Display for Here {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Site(id) => f.write_str(id),
            Self::At(location) => write!(f, "{},{}", location.latitude(), location.longitude()),
        }
    }
}

/// A site that the topology does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "here is the site `{id}`, which the topology does not have; it has {}",
    listed(known)
)]
pub struct UnknownSite {
    /// The site's id.
    pub id: String,
    /// The ids that there are.
    pub known: Vec<String>,
}

impl Here {
    /// The point on earth, with the sites of a topology.
    pub fn resolve(&self, topology: &Topology) -> Result<Location, UnknownSite> {
        match self {
            Self::At(location) => Ok(*location),
            Self::Site(id) => {
                let site = topology.find_site(id).map(|site| topology.site(site));
                site.map(|site| site.location).ok_or_else(|| UnknownSite {
                    id: id.clone(),
                    known: topology.sites().iter().map(|s| s.id.to_string()).collect(),
                })
            }
        }
    }
}

/// The first few of a list of ids.
fn listed(ids: &[String]) -> String {
    const SHOWN: usize = 8;
    let quoted: Vec<String> = ids.iter().take(SHOWN).map(|id| format!("`{id}`")).collect();
    match ids.len().saturating_sub(SHOWN) {
        0 => quoted.join(", "),
        more => format!("{} and {more} more", quoted.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;
    use tradewind_engine::topology;

    #[test]
    fn a_site_or_a_point_is_a_place() {
        let paris = Location::new(48.86, 2.35).unwrap();
        assert_eq!("48.86,2.35".parse(), Ok(Here::At(paris)));
        assert_eq!(" 48.86 , 2.35 ".parse(), Ok(Here::At(paris)));
        assert_eq!("fra".parse(), Ok(Here::Site("fra".to_owned())));
        assert_eq!(Here::At(paris).to_string(), "48.86,2.35");
        for wrong in [
            "",
            "91,0",
            "0,181",
            "48.86,",
            ",",
            "a,b",
            "1,2,3",
            "nan,0",
            &"x".repeat(65),
        ] {
            let error = wrong.parse::<Here>().unwrap_err().to_string();
            assert!(
                error.contains("must be the id of a site, or LAT,LON"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_site_is_where_the_topology_says() {
        let topology = topology::compile("t", example::TOPOLOGY).topology.unwrap();
        let first = &topology.sites()[0];
        let here = Here::Site(first.id.to_string());
        assert_eq!(here.resolve(&topology), Ok(first.location));
        let error = Here::Site("nowhere".to_owned())
            .resolve(&topology)
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("`nowhere`") && text.contains(" and 21 more"),
            "{text}"
        );
    }
}
