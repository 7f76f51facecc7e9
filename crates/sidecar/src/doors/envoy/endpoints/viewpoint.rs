//! From where an Envoy looks at the fleet, and what it sees there.

use std::collections::BTreeSet;
use std::sync::Arc;

use prost_types::Struct;
use prost_types::value::Kind;

use super::resource::{self, Found};
use crate::doors::envoy::proto::envoy::config::core::v3::Node;
use crate::doors::envoy::subscribers::Subscription;
use crate::state::{Published, State};
use tradewind_engine::assignment;
use tradewind_engine::geo::Location;
use tradewind_engine::model::NodeIndex;

/// Where an Envoy stands, and what it was shown last.
#[derive(Debug)]
pub(super) struct Viewpoint {
    state: Arc<State>,
    /// Where it says it is.
    place: Option<Location>,
    /// The site it says it is at.
    site: String,
    /// Revision and generation of what was looked at last.
    seen: Option<(u64, u64)>,
}

impl Viewpoint {
    /// Nowhere yet.
    pub(super) fn new(state: Arc<State>) -> Self {
        Self {
            state,
            place: None,
            site: String::new(),
            seen: None,
        }
    }

    /// The Envoy says where it is.
    pub(super) fn stands_at(&mut self, node: &Node) {
        let number = |fields: &Struct, name: &str| match fields.fields.get(name)?.kind.as_ref()? {
            Kind::NumberValue(number) => Some(*number),
            _ => None,
        };
        self.place = node.metadata.as_ref().and_then(|fields| {
            let (lat, lon) = (number(fields, "latitude")?, number(fields, "longitude")?);
            Location::new(lat, lon)
        });
        let zone = node.locality.as_ref().map(|locality| locality.zone.clone());
        self.site = zone.unwrap_or_default();
    }

    /// What is published is to be looked at again even if it has not changed.
    pub(super) fn look_again(&mut self) {
        self.seen = None;
    }

    /// What is published, if it was not looked at yet.
    pub(super) fn news(&mut self) -> Option<Arc<Published>> {
        let published = self.state.published.load();
        let published = published.as_ref()?;
        let seen = (published.revision, published.snapshot.generation());
        if self.seen == Some(seen) {
            return None;
        }
        self.seen = Some(seen);
        Some(Arc::clone(published))
    }

    /// What is under each of `names`; `subscription` is told of those that are unknown and of nodes that were left out.
    pub(super) fn survey<'n>(
        &self,
        published: &Published,
        names: impl IntoIterator<Item = &'n String>,
        subscription: &Subscription,
    ) -> Vec<(&'n String, Found)> {
        let snapshot = &published.snapshot;
        let topology = snapshot.topology();
        let site = topology.find_site(&self.site);
        let place = self
            .place
            .or_else(|| site.map(|site| topology.site(site).location));
        let mut left_out = Vec::new();
        let found: Vec<(&String, Found)> = names
            .into_iter()
            .map(|name| match assignment::assign(snapshot, name, place) {
                Some(assigned) => {
                    let found = resource::resource(name, &assigned, topology, &mut left_out);
                    (name, found)
                }
                None => (name, Found::Unknown),
            })
            .collect();
        subscription.subscribes(
            found.iter().map(|(name, _)| (*name).clone()).collect(),
            found
                .iter()
                .filter(|(_, found)| *found == Found::Unknown)
                .map(|(name, _)| (*name).clone())
                .collect(),
        );
        // A node of several pools is one node.
        let left_out: BTreeSet<NodeIndex> = left_out.into_iter().collect();
        let left_out = left_out.into_iter();
        subscription.leaves_out(
            left_out
                .map(|node| topology.node(node).id.to_string())
                .collect(),
        );
        found
    }
}
