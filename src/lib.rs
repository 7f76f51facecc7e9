//! Tradewind answers, for every request a proxy asks about: **which cache node for this client and this object, and
//! which next if it fails?**
//!
//! A tour in the order of a request:
//!
//! 1. [`sidecar::listen`] accepts the proxy's connection and hands it to a worker; [`sidecar::doors`] takes the call.
//! 2. [`sidecar::wire`] reads the message as an [`engine::query::Query`].
//! 3. [`engine::evaluate`] decides it on the published [`engine::snapshot::Snapshot`]: where the client is
//!    ([`engine::locate`]), which rule matches ([`engine::policy`]), which site is best in milliseconds
//!    ([`engine::score`]), which node owns the key ([`engine::rank`]), and who stands in.
//! 4. [`engine::decision`] is what the proxy gets, [`engine::explanation`] is why.
//!
//! The other way round, [`sidecar::writer`] turns files into the next snapshot and swaps it in.
//!
//! The engine is pure and can be used by itself:
//!
//! ```
//! use std::sync::Arc;
//!
//! use tradewind::engine::decision::Decision;
//! use tradewind::engine::evaluate::evaluate;
//! use tradewind::engine::geo::ranges::Ranges;
//! use tradewind::engine::query::Query;
//! use tradewind::engine::snapshot::{GeoState, Parts, Snapshot};
//! use tradewind::engine::{policy, topology};
//! use tradewind::example;
//!
//! let topology = topology::compile("topology.yaml", example::TOPOLOGY).topology.expect("it is good");
//! let policy = policy::compile("policy.yaml", example::POLICY, &topology).policy.expect("it is good");
//! let parts = Parts {
//!     topology: Arc::new(topology),
//!     policy: Arc::new(policy),
//!     candidate: None,
//!     geo: Arc::new(Ranges::default()),
//!     geo_state: GeoState::NotConfigured,
//!     here: None,
//!     signals: Arc::default(),
//! };
//! let snapshot = Snapshot::build(1, parts, None);
//! let query = Query { host: "www.example.com", path: "/index.html", ..Query::default() };
//! let evaluation = evaluate(&snapshot, &query);
//! let decision = Decision::new(&snapshot, &evaluation);
//! assert_eq!(decision.candidates().count(), 3);
//! ```
//!
//! docs/architecture.md is the map, with the invariants.

pub mod command;

#[doc(inline)]
pub use tradewind_client as client;
#[doc(inline)]
pub use tradewind_engine as engine;
#[doc(inline)]
pub use tradewind_sidecar as sidecar;
#[doc(inline)]
pub use tradewind_sidecar::example;
