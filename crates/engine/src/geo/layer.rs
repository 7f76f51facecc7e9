//! From networks with records to one compiled table: the pure half of loading a geographic database.
//!
//! Each database becomes a [`Layer`]; [`compile`] lays them over each other. An earlier layer wins for the geography
//! (country, location, radius), taken as a whole so that a country never stands beside another country's location;
//! with one exception: where it knows only the country, a later layer of the same country may give the location. The
//! operator (ASN) comes from the first layer that has one.

use std::collections::HashMap;

use ipnet::{IpNet, Ipv6Net};

use super::Location;
use super::cell::Cell;
use super::known::Known;
use super::place::{Asn, Country};
use super::radius::RadiusClass;
use super::ranges::Ranges;
use super::steps::{self, Address, NOTHING, Steps};

/// What a database says of one network.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Record {
    /// Where it is.
    pub location: Option<Location>,
    /// Radius in kilometres around the location within which the client is likely to be.
    pub accuracy_radius_km: Option<f32>,
    /// Country.
    pub country: Option<Country>,
    /// Operator.
    pub asn: Option<Asn>,
}

/// The number of a record within the layer that gave it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordIndex(u32);

/// A network that does not lie behind all those added before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("network {network} overlaps or precedes an earlier one, must come in ascending order")]
pub struct OutOfOrder {
    /// The network as given.
    pub network: IpNet,
}

/// The networks of one database.
///
/// They come in ascending order and do not overlap, which is how a walk over the database's tree yields them; so no
/// list of networks is kept, only what changes from one to the next.
#[derive(Debug, Clone)]
pub struct Layer {
    known: Vec<Known>,
    numbers: HashMap<Known, u32>,
    v4: Steps<u32>,
    v6: Steps<u128>,
}

impl Default for Layer {
    fn default() -> Self {
        Self::new()
    }
}

impl Layer {
    /// A layer that knows nothing yet.
    pub fn new() -> Self {
        Self {
            known: Vec::new(),
            numbers: HashMap::new(),
            v4: Steps::new(),
            v6: Steps::new(),
        }
    }

    /// A layer with room for that many changes from one network to the next in either family, so that it need not be
    /// copied as it grows. What is not used of it takes addresses, not memory; where even those are short it grows as
    /// any does.
    pub fn with_room(changes: usize) -> Self {
        Self {
            v4: Steps::with_room(changes),
            v6: Steps::with_room(changes),
            ..Self::new()
        }
    }

    /// Notes a record. Equal classes get equal numbers, so a caller may keep the number and skip decoding.
    pub fn intern(&mut self, record: &Record) -> RecordIndex {
        let known = known_of(record);
        if known.is_empty() {
            return RecordIndex(NOTHING);
        }
        let list = &mut self.known;
        RecordIndex(
            *self
                .numbers
                .entry(known)
                .or_insert_with(|| push_numbered(list, known)),
        )
    }

    /// Says that a network has a record, noted before in this layer.
    ///
    /// A network within `::ffff:0:0/96` is passed over: addresses written so are looked up as IPv4.
    pub fn add(&mut self, network: IpNet, record: RecordIndex) -> Result<(), OutOfOrder> {
        let is_behind = match network {
            IpNet::V4(net) => {
                self.v4
                    .append(net.network().to_bits(), net.broadcast().to_bits(), record.0)
            }
            IpNet::V6(net) if is_mapped(net) => true,
            IpNet::V6(net) => {
                self.v6
                    .append(net.network().to_bits(), net.broadcast().to_bits(), record.0)
            }
        };
        if is_behind {
            Ok(())
        } else {
            Err(OutOfOrder { network })
        }
    }

    /// Number of distinct classes noted.
    pub fn class_count(&self) -> usize {
        self.known.len()
    }

    /// Number of address ranges with a record so far, adjacent equal ones joined.
    pub fn range_count(&self) -> usize {
        self.v4.range_count() + self.v6.range_count()
    }
}

/// Whether all addresses of a network are IPv4 ones written as IPv6.
fn is_mapped(network: Ipv6Net) -> bool {
    network.prefix_len() >= 96 && network.network().to_ipv4_mapped().is_some()
}

/// Lays layers over each other, the first on top, and compiles what results into a table for requests.
///
/// Deterministic: the table depends on what the layers say, not on how their records were numbered.
pub fn compile(layers: Vec<Layer>) -> Ranges {
    let layers = match <[Layer; 1]>::try_from(layers) {
        // Nothing to join, and the layer has numbered its classes itself.
        Ok([layer]) => return Ranges::new(&layer.known, layer.v4, layer.v6),
        Err(layers) => layers,
    };
    let (known, (v4, v6)): (Vec<_>, (Vec<_>, Vec<_>)) = layers
        .into_iter()
        .map(|layer| (layer.known, (layer.v4, layer.v6)))
        .unzip();
    let mut joiner = Joiner {
        known_of: known,
        known: Vec::new(),
        numbers: HashMap::new(),
        memo: HashMap::new(),
    };
    let v4 = joiner.join_all(v4);
    let v6 = joiner.join_all(v6);
    Ranges::new(&joiner.known, v4, v6)
}

/// Numbers the combinations of records that occur.
struct Joiner {
    /// What each layer knows.
    known_of: Vec<Vec<Known>>,
    known: Vec<Known>,
    numbers: HashMap<Known, u32>,
    memo: HashMap<Vec<u32>, u32>,
}

impl Joiner {
    /// Joins the steps of all layers in one family.
    fn join_all<A: Address>(&mut self, parts: Vec<Steps<A>>) -> Steps<A> {
        let said = parts.iter().filter(|part| !part.is_empty()).count();
        if said > 1 {
            return steps::merge(&parts.iter().collect::<Vec<_>>(), |values| {
                self.join(values)
            });
        }
        // Often each family has a file of its own. Then nothing lies over anything, and what is large need not be copied.
        let only = parts
            .into_iter()
            .zip(0..)
            .find(|(part, _)| !part.is_empty());
        let Some((part, layer)) = only else {
            return Steps::new();
        };
        let mut values = vec![NOTHING; self.known_of.len()];
        let joined: Vec<u32> = (0_u32..)
            .zip(0..self.known_of.get(layer).map_or(0, Vec::len))
            .map(|(number, _)| {
                if let Some(value) = values.get_mut(layer) {
                    *value = number;
                }
                self.join(&values)
            })
            .collect();
        part.renumbered(|value| joined.get(value as usize).copied().unwrap_or(NOTHING))
    }

    fn join(&mut self, values: &[u32]) -> u32 {
        if let Some(number) = self.memo.get(values) {
            return *number;
        }
        let records = self
            .known_of
            .iter()
            .zip(values)
            .filter_map(|(known, value)| known.get(*value as usize));
        let number = match overlay(records) {
            Some(known) => {
                let list = &mut self.known;
                *self
                    .numbers
                    .entry(known)
                    .or_insert_with(|| push_numbered(list, known))
            }
            None => NOTHING,
        };
        self.memo.insert(values.to_vec(), number);
        number
    }
}

fn known_of(record: &Record) -> Known {
    let stated = record.location.and(record.accuracy_radius_km);
    Known {
        cell: record.location.map(Cell::of),
        country: record.country,
        asn: record.asn,
        radius: stated.map_or(RadiusClass::POINT, RadiusClass::of_accuracy_km),
    }
}

/// Appends and gives the position. Positions stay below [`NOTHING`] because 2^32 classes fit in no memory.
fn push_numbered(list: &mut Vec<Known>, known: Known) -> u32 {
    list.push(known);
    u32::try_from(list.len() - 1).unwrap_or(NOTHING)
}

/// What several records, the most important first, say together; `None` of none.
fn overlay<'a>(records: impl Iterator<Item = &'a Known> + Clone) -> Option<Known> {
    let asn = records.clone().find_map(|known| known.asn);
    let first = records
        .clone()
        .find(|known| known.has_geography())
        .or(records.clone().next())?;
    let placed = records
        .filter(|known| {
            known.cell.is_some() && (known.country.is_none() || known.country == first.country)
        })
        .find(|_| first.cell.is_none() && first.country.is_some());
    let place = placed.unwrap_or(first);
    Some(Known {
        cell: place.cell,
        country: first.country,
        asn,
        radius: place.radius,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(latitude: f64) -> Option<Cell> {
        Location::new(latitude, 2.0).map(Cell::of)
    }

    fn known(country: &str, latitude: Option<f64>, asn: u32) -> Known {
        Known {
            cell: latitude.and_then(cell),
            country: country.parse().ok(),
            asn: Asn::new(asn),
            radius: RadiusClass::POINT,
        }
    }

    #[test]
    fn the_earlier_geography_wins_as_a_whole() {
        let french = known("FR", Some(48.0), 0);
        let german = known("DE", Some(52.0), 7);
        assert_eq!(
            overlay([french, german].iter()),
            Some(known("FR", Some(48.0), 7))
        );
        assert_eq!(overlay([german, french].iter()), Some(german));
        assert_eq!(overlay([].iter()), None);
    }

    #[test]
    fn a_bare_country_is_completed_by_its_own_location_only() {
        let bare = known("FR", None, 0);
        let french = known("FR", Some(48.0), 0);
        let german = known("DE", Some(52.0), 0);
        let nameless = known("", Some(30.0), 0);
        assert_eq!(overlay([bare, german, french].iter()), Some(french));
        assert_eq!(overlay([bare, german].iter()), Some(bare));
        assert_eq!(
            overlay([bare, nameless].iter()),
            Some(known("FR", Some(30.0), 0))
        );
        assert_eq!(overlay([nameless, french].iter()), Some(nameless));
    }

    #[test]
    fn an_operator_alone_does_not_hide_the_geography_below_it() {
        let operator = known("", None, 7);
        let french = known("FR", Some(48.0), 9);
        assert_eq!(
            overlay([operator, french].iter()),
            Some(known("FR", Some(48.0), 7))
        );
        assert_eq!(overlay([operator].iter()), Some(operator));
    }

    #[test]
    fn a_record_that_says_nothing_is_no_record() {
        let mut layer = Layer::new();
        let nothing = layer.intern(&Record::default());
        layer.add("192.0.2.0/24".parse().unwrap(), nothing).unwrap();
        let ranges = compile(vec![layer]);
        assert_eq!(ranges.lookup("192.0.2.1".parse().unwrap()), None);
        assert_eq!(ranges.class_count(), 0);
    }

    #[test]
    fn mapped_networks_are_looked_up_as_ipv4() {
        let mut layer = Layer::new();
        let french = layer.intern(&Record {
            country: "FR".parse().ok(),
            ..Record::default()
        });
        let german = layer.intern(&Record {
            country: "DE".parse().ok(),
            ..Record::default()
        });
        layer.add("192.0.2.0/24".parse().unwrap(), french).unwrap();
        layer
            .add("::ffff:192.0.2.0/120".parse().unwrap(), german)
            .unwrap();
        let ranges = compile(vec![layer]);
        let class = ranges.lookup("::ffff:192.0.2.1".parse().unwrap()).unwrap();
        assert_eq!(ranges.place(class).country, "FR".parse().ok());
        assert_eq!(ranges.range_counts(), (1, 0));
    }

    #[test]
    fn disorder_is_named() {
        let mut layer = Layer::new();
        let record = layer.intern(&Record {
            country: "FR".parse().ok(),
            ..Record::default()
        });
        layer.add("192.0.2.0/24".parse().unwrap(), record).unwrap();
        let error = layer
            .add("192.0.2.128/25".parse().unwrap(), record)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "network 192.0.2.128/25 overlaps or precedes an earlier one, must come in ascending order"
        );
    }
}
