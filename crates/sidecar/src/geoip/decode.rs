//! From the bytes of a database to a layer for the engine.

use std::net::Ipv6Addr;
use std::path::Path;

use ipnet::{IpNet, Ipv4Net};

use super::error::GeoError;
use super::format::flaw::Flaw;
use super::format::{Database, Visit};
use super::record::RawRecord;
use super::source::{ContentDigest, FileDigest};
use super::{FileInfo, Limits};
use tradewind_engine::geo::layer::{Layer, OutOfOrder, RecordIndex};

/// Decodes every network of a database into a layer.
pub(super) fn decode(
    bytes: &[u8],
    digest: FileDigest,
    path: &Path,
    limits: &Limits,
) -> Result<(Layer, FileInfo), GeoError> {
    let stopped = |stop| match stop {
        Stop::Flaw(source) => GeoError::Malformed {
            path: path.to_owned(),
            source,
        },
        Stop::Disorder(source) => GeoError::Disorder {
            path: path.to_owned(),
            source,
        },
        Stop::TooMany => GeoError::TooManyNetworks {
            path: path.to_owned(),
            limit: limits.max_networks,
        },
    };
    let database = Database::open(bytes).map_err(|flaw| stopped(Stop::Flaw(flaw)))?;
    // Before anything is kept of it.
    if database.node_count() as usize > limits.max_networks {
        return Err(stopped(Stop::TooMany));
    }
    let mut walk = Walk {
        layer: Layer::with_room(database.node_count() as usize),
        counts: Counts::default(),
        max_networks: limits.max_networks,
    };
    database.visit(&mut walk).map_err(stopped)?;
    let Walk { layer, counts, .. } = walk;
    let file = FileInfo {
        path: path.to_owned(),
        database_type: database.type_name.chars().take(64).collect(),
        build_epoch_s: database.build_epoch_s,
        digest,
        content: ContentDigest::of(bytes),
        bytes: bytes.len(),
        network_count: counts.networks,
        range_count: layer.range_count(),
        class_count: layer.class_count(),
        located_record_count: counts.located,
        country_record_count: counts.with_country,
        operator_record_count: counts.with_operator,
        faulty_record_count: counts.faulty,
    };
    if file.class_count == 0 {
        return Err(GeoError::NothingKnown {
            path: file.path,
            database_type: file.database_type,
        });
    }
    Ok((layer, file))
}

/// Why a walk did not come to its end.
enum Stop {
    Flaw(Flaw),
    Disorder(OutOfOrder),
    TooMany,
}

impl From<Flaw> for Stop {
    fn from(flaw: Flaw) -> Self {
        Self::Flaw(flaw)
    }
}

impl From<OutOfOrder> for Stop {
    fn from(disorder: OutOfOrder) -> Self {
        Self::Disorder(disorder)
    }
}

/// A walk over the networks of a file.
struct Walk {
    layer: Layer,
    counts: Counts,
    max_networks: usize,
}

/// What was met on the way: networks, and distinct records.
#[derive(Default)]
struct Counts {
    networks: usize,
    located: usize,
    with_country: usize,
    with_operator: usize,
    faulty: usize,
}

impl Visit<'_> for Walk {
    type Record = RawRecord;
    type Noted = RecordIndex;
    type Stop = Stop;

    fn record(&mut self, raw: RawRecord) -> RecordIndex {
        let (record, is_faulty) = raw.into_record();
        let counts = &mut self.counts;
        counts.located += usize::from(record.location.is_some());
        counts.with_country += usize::from(record.country.is_some());
        counts.with_operator += usize::from(record.asn.is_some());
        counts.faulty += usize::from(is_faulty);
        self.layer.intern(&record)
    }

    fn network(&mut self, network: IpNet, record: RecordIndex) -> Result<(), Stop> {
        if self.counts.networks == self.max_networks {
            return Err(Stop::TooMany);
        }
        self.counts.networks += 1;
        // A file for IPv6 with one record for all of `::/96` or more means IPv4 by it as well: its tree ends before
        // IPv4 would begin.
        if let IpNet::V6(net) = network
            && net.network() == Ipv6Addr::UNSPECIFIED
            && net.prefix_len() <= 96
        {
            self.layer.add(IpNet::V4(Ipv4Net::default()), record)?;
        }
        self.layer.add(network, record)?;
        Ok(())
    }
}
