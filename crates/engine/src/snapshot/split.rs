//! Which requests a candidate decides: a share of them, the same ones everywhere and at every stage, and more at a later one.
//!
//! A request falls into one of 10,000 buckets by what it is for or by who asks, and the candidate decides the first so many
//! of them. So a larger share has all requests of a smaller one, and what has moved once does not move back and forth.

use crate::geo::cell::Cell;
use crate::geo::place::Asn;
use crate::hash::{self, KeyHash};
use crate::query::Query;
use crate::request::host::{HostRoom, normal_host};

/// How many buckets there are.
pub const BUCKETS: u16 = 10_000;

/// A share of all requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Split {
    /// By what requests are told apart.
    pub cohort: Cohort,
    /// How many of the [`BUCKETS`] are of the share; 0 for none.
    pub buckets: u16,
    /// Another one for each candidate, so that it is not always the same clients that are tried on.
    pub salt: u64,
}

/// By what requests are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Cohort {
    /// By object: all requests for one are decided alike, so its copies stay where they are or move once.
    #[default]
    Key,
    /// By group of clients: all that one asks for is decided alike, so what it sees is all of one policy.
    ClientGroup,
}

impl Cohort {
    /// The word for it in documents and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::ClientGroup => "client_group",
        }
    }
}

impl Split {
    /// Whether a request is of the share: a pure function, so that every worker, every sidecar and every replay agree.
    pub fn has(&self, query: &Query<'_>) -> bool {
        match self.buckets {
            0 => false,
            BUCKETS.. => true,
            buckets => self.bucket(query) < buckets,
        }
    }

    /// The bucket of a request, below [`BUCKETS`].
    pub fn bucket(&self, query: &Query<'_>) -> u16 {
        let unit = match self.cohort {
            Cohort::Key => of_object(query),
            Cohort::ClientGroup => of_client(query),
        };
        let mixed = unit.then(&self.salt.to_le_bytes()).0;
        let bucket = (u128::from(mixed) * u128::from(BUCKETS)) >> 64;
        u16::try_from(bucket).unwrap_or(BUCKETS - 1)
    }
}

/// What is asked for, whatever a policy makes its key of: two policies may differ in just that. The query string is left
/// out, because keys mostly leave it out.
fn of_object(query: &Query<'_>) -> KeyHash {
    if let Some(key) = query.key {
        return hash::key(&[key]);
    }
    let mut room = HostRoom::new();
    let host = normal_host(query.host, &mut room);
    hash::key(&[host.as_bytes(), query.path.as_bytes()])
}

/// The network of the client, else its cell, else its operator and country, else nothing that tells it from others: then
/// the object.
fn of_client(query: &Query<'_>) -> KeyHash {
    let client = &query.client;
    if let Some(network) = client.network() {
        return match network {
            std::net::IpAddr::V4(ip) => hash::key(&[&ip.octets()]),
            std::net::IpAddr::V6(ip) => hash::key(&[&ip.octets()]),
        };
    }
    if let Some(location) = client.location {
        return hash::key(&[&Cell::of(location).id().to_le_bytes()]);
    }
    if client.asn.is_some() || client.country.is_some() {
        let asn = client.asn.map_or(0, Asn::get);
        let country = client.country.map(|it| it.to_string());
        let country = country.unwrap_or_default();
        return hash::key(&[&asn.to_le_bytes(), country.as_bytes()]);
    }
    of_object(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPLITS: [Cohort; 2] = [Cohort::Key, Cohort::ClientGroup];

    fn query(path: &str, ip: Option<[u8; 4]>) -> Query<'_> {
        let mut query = Query {
            host: "www.Example.com:443",
            path,
            ..Query::default()
        };
        query.client.ip = ip.map(Into::into);
        query
    }

    #[test]
    fn a_larger_share_has_all_of_a_smaller_one_and_shares_are_as_large_as_said() {
        for cohort in SPLITS {
            let mut counts = [0_u32; 3];
            for number in 0..20_000_u32 {
                let path = format!("/{number}");
                let [_, a, b, c] = (number * 7_919).to_be_bytes();
                let query = query(&path, Some([a, b, c, 9]));
                let mut was = false;
                for (count, buckets) in counts.iter_mut().zip([100, 2_500, BUCKETS]) {
                    let split = Split {
                        cohort,
                        buckets,
                        salt: 7,
                    };
                    let has = split.has(&query);
                    assert!(has || !was, "it left the share as that grew");
                    was = has;
                    *count += u32::from(has);
                }
            }
            assert!((140..260).contains(&counts[0]), "{counts:?}");
            assert!((4_750..5_250).contains(&counts[1]), "{counts:?}");
            assert_eq!(counts[2], 20_000);
        }
    }

    #[test]
    fn an_object_and_a_network_are_of_one_bucket() {
        let split = |cohort| Split {
            cohort,
            buckets: 1,
            salt: 3,
        };
        let (key, client) = (split(Cohort::Key), split(Cohort::ClientGroup));
        let one = query("/a", Some([192, 0, 2, 1]));
        let mut other = query("/a", Some([198, 51, 100, 1]));
        other.host = "www.example.com";
        assert_eq!(key.bucket(&one), key.bucket(&other));
        assert_ne!(client.bucket(&one), client.bucket(&other));
        let same_network = query("/b", Some([192, 0, 2, 77]));
        assert_eq!(client.bucket(&one), client.bucket(&same_network));
        assert_ne!(key.bucket(&one), key.bucket(&same_network));
        let nobody = query("/a", None);
        assert_eq!(client.bucket(&nobody), key.bucket(&nobody));
    }
}
