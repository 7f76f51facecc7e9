//! The embedded example: a worldwide fleet, a policy that shows what rules can do, and a small geo file of our own.

/// The example policy.
pub const POLICY: &str = include_str!("../../../testdata/example/policy.yaml");

/// The example topology.
pub const TOPOLOGY: &str = include_str!("../../../testdata/example/topology.yaml");

/// The example geo database; its generator is `examples/fixtures.rs`.
pub const GEO: &[u8] = include_bytes!("../../../testdata/example/geo.mmdb");
