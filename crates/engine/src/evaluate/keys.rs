//! What nodes are ranked by: the object, the client or the request, as the pool's affinity says.

use crate::hash::{self, KeyHash};
use crate::locate::Located;
use crate::policy::Affinity;
use crate::query::Query;

/// What nodes are ranked by, for each kind of affinity.
pub(super) struct Keys<'q> {
    pub(super) object: KeyHash,
    pub(super) query: &'q Query<'q>,
}

impl Keys<'_> {
    pub(super) fn for_affinity(&self, affinity: Affinity, located: &Located) -> KeyHash {
        match affinity {
            Affinity::Key => self.object,
            Affinity::Client => self.client(located),
            Affinity::None => self.of_request(located),
        }
    }

    /// What tells requests for one object apart: the request's id, else the client.
    pub(super) fn of_request(&self, located: &Located) -> KeyHash {
        if self.query.request_id.is_empty() {
            KeyHash(self.object.0 ^ self.client(located).0.rotate_left(32))
        } else {
            hash::key(&[self.query.request_id])
        }
    }

    /// What an object is to a client in one turn of those in which the same requests are shed.
    #[cold]
    pub(super) fn lot(&self, located: &Located, turn: u32) -> KeyHash {
        let asked = KeyHash(self.object.0 ^ self.client(located).0.rotate_left(32));
        asked.then(&turn.to_le_bytes())
    }

    fn client(&self, located: &Located) -> KeyHash {
        match self.query.client.ip.map(|ip| ip.to_canonical()) {
            Some(std::net::IpAddr::V4(ip)) => hash::key(&[&ip.octets()]),
            Some(std::net::IpAddr::V6(ip)) => hash::key(&[&ip.octets()]),
            None => match &located.spot {
                Some(spot) => hash::key(&[&spot.cell.id().to_le_bytes()]),
                None => self.object,
            },
        }
    }

    /// What a client of a vague place is shared out among sites by: its network, else the object.
    #[cold]
    pub(super) fn of_network(&self) -> KeyHash {
        match self.query.client.network() {
            Some(std::net::IpAddr::V4(ip)) => hash::key(&[&ip.octets()]),
            Some(std::net::IpAddr::V6(ip)) => hash::key(&[&ip.octets()]),
            None => self.object,
        }
    }
}
