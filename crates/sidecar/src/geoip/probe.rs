//! Would a new table say something quite different? A file can be sound and yet wrong: everyone in one place, half of
//! the networks missing, another product under the same name.
//!
//! Fixed addresses, and addresses sampled evenly from both tables, are looked up in both. Of those the table in use
//! locates, only a limited share may move far or vanish.

use std::net::{IpAddr, Ipv4Addr};

use super::Limits;
use tradewind_engine::geo::distance::{UnitVector, chord_squared, distance_km};
use tradewind_engine::geo::ranges::Ranges;

/// Whether a new table that differs too much is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbePolicy {
    /// Refuse it.
    Enforce,
    /// Take it: an operator knows that the change is meant.
    Report,
}

/// Answers of two tables compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProbeReport {
    /// Probes asked.
    pub asked: usize,
    /// Probes the table in use locates.
    pub located: usize,
    /// Of those, the ones the new table locates too, but further off than allowed.
    pub moved: usize,
    /// Of those, the ones the new table does not locate.
    pub vanished: usize,
}

impl ProbeReport {
    /// Share of the located probes that moved or vanished, 0..=1; 0 if none was located.
    #[expect(clippy::cast_precision_loss, reason = "a few thousand probes")]
    pub fn changed_share(&self) -> f64 {
        if self.located == 0 {
            0.0
        } else {
            (self.moved + self.vanished) as f64 / self.located as f64
        }
    }
}

/// Compares the answers of two tables.
pub fn compare(current: &Ranges, next: &Ranges, limits: &Limits) -> ProbeReport {
    let mut probes = current.sample(limits.probe_count);
    probes.extend(next.sample(limits.probe_count));
    probes.extend(fixed());
    let mut report = ProbeReport {
        asked: probes.len(),
        ..ProbeReport::default()
    };
    for address in probes {
        let Some(before) = direction(current, address) else {
            continue;
        };
        report.located += 1;
        match direction(next, address) {
            None => report.vanished += 1,
            Some(after) if distance_km(chord_squared(before, after)) > limits.probe_moved_km => {
                report.moved += 1;
            }
            Some(_) => {}
        }
    }
    report
}

/// One address of every /8 of IPv4 that can be a client's, the same in every comparison.
fn fixed() -> impl Iterator<Item = IpAddr> {
    (1..=223)
        .filter(|first| *first != 10 && *first != 127)
        .map(|first| IpAddr::V4(Ipv4Addr::new(first, 1, 1, 1)))
}

/// Where a table says that an address is; a country and nothing else does not say that.
fn direction(ranges: &Ranges, address: IpAddr) -> Option<UnitVector> {
    let class = ranges.lookup(address)?;
    let cell = ranges.cell_of(class)?;
    let direction = ranges.cell_vectors().get(cell.index()).copied();
    direction.filter(|_| !ranges.place(class).is_country_only)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geoip::error::GeoError;
    use crate::geoip::probes_agree;
    use tradewind_engine::geo::Location;
    use tradewind_engine::geo::layer::{Layer, Record, compile};

    /// Networks of the given numbers, each with the latitude and longitude the function gives.
    fn table(numbers: std::ops::Range<u8>, location_of: impl Fn(u8) -> (f64, f64)) -> Ranges {
        let mut layer = Layer::new();
        for n in numbers {
            let (latitude, longitude) = location_of(n);
            let record = layer.intern(&Record {
                location: Location::new(latitude, longitude),
                ..Record::default()
            });
            layer
                .add(format!("198.18.{n}.0/24").parse().unwrap(), record)
                .unwrap();
        }
        compile(vec![layer])
    }

    fn around_the_world(n: u8) -> (f64, f64) {
        (0.0, f64::from(n) * 3.6 - 180.0)
    }

    #[test]
    fn a_table_that_knows_the_country_only_locates_nobody_and_can_be_replaced() {
        let mut layer = Layer::new();
        let american = layer.intern(&Record {
            country: "US".parse().ok(),
            ..Record::default()
        });
        for n in 11..31_u8 {
            let net = format!("198.18.{n}.0/24").parse().unwrap();
            layer.add(net, american).unwrap();
        }
        let countries = compile(vec![layer]);
        // Each in another place, or they would be one range.
        let cities = table(11..31, around_the_world);
        let limits = Limits::default();
        assert_eq!(compare(&countries, &cities, &limits).located, 0);
        let back = compare(&cities, &countries, &limits);
        assert!(
            back.vanished == back.located && back.located > 10,
            "{back:?}"
        );
    }

    #[test]
    fn equal_tables_do_not_differ() {
        let table = table(0..100, around_the_world);
        let report =
            probes_agree(&table, &table, &Limits::default(), ProbePolicy::Enforce).unwrap();
        assert!(
            report.located > 100 && report.changed_share() <= 0.0,
            "{report:?}"
        );
    }

    #[test]
    fn everyone_in_one_place_is_refused() {
        let (good, bad) = (
            table(0..100, around_the_world),
            table(0..100, |_| (48.0, 2.0)),
        );
        let error =
            probes_agree(&good, &bad, &Limits::default(), ProbePolicy::Enforce).unwrap_err();
        assert!(
            matches!(&error, GeoError::ProbesDiffer { report, .. } if report.moved * 2 > report.located),
            "{error}"
        );
        assert!(probes_agree(&good, &bad, &Limits::default(), ProbePolicy::Report).is_ok());
    }

    #[test]
    fn many_vanished_networks_are_refused_and_a_few_are_not() {
        let good = table(0..100, around_the_world);
        let few = table(40..100, around_the_world);
        let many = table(70..100, around_the_world);
        let limits = Limits::default();
        assert!(probes_agree(&good, &few, &limits, ProbePolicy::Enforce).is_ok());
        let error = probes_agree(&good, &many, &limits, ProbePolicy::Enforce).unwrap_err();
        assert!(
            matches!(&error, GeoError::ProbesDiffer { report, .. } if report.vanished > 0 && report.moved == 0)
        );
    }

    #[test]
    fn anything_may_follow_an_empty_table() {
        let report = probes_agree(
            &Ranges::default(),
            &table(0..100, around_the_world),
            &Limits::default(),
            ProbePolicy::Enforce,
        );
        assert_eq!(report.unwrap().located, 0);
    }
}
