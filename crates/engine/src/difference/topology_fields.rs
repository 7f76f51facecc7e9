//! The fields of a topology, and what each may change.

use super::field::{Field, Kind, Reaches, Spelling, Usual};
use super::reach::Reach;

const SITE: Reaches = &[Reach::Site];
const OPERATION: Reaches = &[Reach::Operation];
const WORDS: Reaches = &[Reach::Words];

/// What nodes there are to choose from, and how large they are.
const NODES: Reaches = &[Reach::Placement, Reach::Site];

/// Every field of a topology, in the order of the document's types.
pub(super) const TABLE: &[Field] = &[
    Field::new("apiVersion", WORDS),
    Field::new("kind", WORDS),
    Field::new("metadata.name", WORDS),
    Field::new("metadata.owner", WORDS),
    Field::new("metadata.description", WORDS),
    Field::new("end", WORDS),
    // In the order in which a miss flows.
    Field::new("spec.tiers", NODES),
    Field::entries("spec.sites", NODES, Kind::Site, "id"),
    Field::new("spec.sites[].id", NODES),
    Field::new("spec.sites[].lat", SITE),
    Field::new("spec.sites[].lon", SITE),
    // What geofences keep to.
    Field::new("spec.sites[].country", NODES).spelt(Spelling::Upper),
    Field::new("spec.sites[].tier", NODES).usually(Usual::FirstOf("spec.tiers")),
    Field::set("spec.sites[].parents", SITE),
    Field::new("spec.sites[].price_usd_per_gb", SITE).usually(Usual::Number(0.0)),
    Field::names("spec.sites[].labels", NODES),
    Field::new("spec.sites[].state", NODES).usually(Usual::Word("ready")),
    Field::entries("spec.nodes", NODES, Kind::Node, "id"),
    Field::new("spec.nodes[].id", NODES),
    Field::new("spec.nodes[].site", NODES),
    // Placement follows the id, never the address.
    Field::new("spec.nodes[].address", OPERATION),
    Field::new("spec.nodes[].capacity", NODES).usually(Usual::Whole(100)),
    Field::names("spec.nodes[].labels", NODES),
    Field::new("spec.nodes[].state", NODES).usually(Usual::Word("ready")),
];
