//! The fleet, the policy and the geo tables that a command works with, from files or from the embedded example.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::CommandError;
use crate::engine::document::Diagnostics;
use crate::engine::geo::ranges::Ranges;
use crate::engine::policy::{self, Policy};
use crate::engine::snapshot::{GeoState, Parts, Snapshot};
use crate::engine::topology::{self, Topology};
use crate::example;
use crate::sidecar::geoip::Reach;
use crate::sidecar::geoip::error::GeoFaults;
use crate::sidecar::here::Here;
use crate::sidecar::{geoip, store};

/// What the embedded documents are called in faults.
pub(super) const EXAMPLE_POLICY: &str = "<example policy>";

/// What the embedded topology is called in faults.
pub(super) const EXAMPLE_TOPOLOGY: &str = "<example topology>";

/// Which files to work with.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Files")]
#[group(skip)]
pub struct Args {
    /// Policy file; with neither policy nor topology, the embedded example is used
    #[arg(long, value_name = "FILE", env = "TRADEWIND_POLICY", value_hint = clap::ValueHint::FilePath)]
    pub policy: Option<PathBuf>,
    /// Topology file that the policy is for
    #[arg(long, value_name = "FILE", env = "TRADEWIND_TOPOLOGY", value_hint = clap::ValueHint::FilePath)]
    pub topology: Option<PathBuf>,
    /// Geo database (MMDB: city, country or ASN); may be given several times, the first that knows a client wins
    #[arg(long, value_name = "FILE", env = "TRADEWIND_GEO", value_delimiter = ',', value_hint = clap::ValueHint::FilePath)]
    pub geo: Vec<PathBuf>,
    /// Where the sidecar would be: clients whom nobody can place are taken to be there
    #[arg(
        long,
        value_name = "SITE|LAT,LON",
        env = "TRADEWIND_HERE",
        allow_hyphen_values = true
    )]
    pub here: Option<Here>,
}

/// Everything to decide with.
#[derive(Debug)]
pub struct World {
    /// What decisions read.
    pub snapshot: Snapshot,
    /// The policy's digest, shortened.
    pub policy_digest: String,
}

impl Args {
    /// True when no policy and no topology was named.
    pub fn is_example(&self) -> bool {
        self.policy.is_none() && self.topology.is_none()
    }
}

impl World {
    /// Reads and compiles what `args` name.
    pub fn load(args: &Args) -> Result<Self, CommandError> {
        let (topology, policy) = match (&args.policy, &args.topology) {
            (Some(policy), Some(topology)) => {
                let (policy_text, topology_text) = (read(policy)?, read(topology)?);
                compile(
                    (&name(policy), &policy_text),
                    (&name(topology), &topology_text),
                )?
            }
            (None, None) => compile(
                (EXAMPLE_POLICY, example::POLICY),
                (EXAMPLE_TOPOLOGY, example::TOPOLOGY),
            )?,
            (Some(_), None) => {
                return Err(CommandError::HalfAWorld {
                    given: "policy",
                    missing: "topology",
                });
            }
            (None, Some(_)) => {
                return Err(CommandError::HalfAWorld {
                    given: "topology",
                    missing: "policy",
                });
            }
        };
        let (geo, geo_state) = geo(args)?;
        let here = args.here.as_ref().map(|here| here.resolve(&topology));
        let here = here.transpose()?;
        let policy_digest = policy.digest().short();
        let parts = Parts {
            topology: Arc::new(topology),
            policy: Arc::new(policy),
            geo: Arc::new(geo),
            geo_state,
            here,
            signals: Arc::default(),
        };
        Ok(Self {
            snapshot: Snapshot::build(1, parts, None),
            policy_digest,
        })
    }
}

/// The text of a document, read within a bound.
pub(super) fn read(path: &Path) -> Result<String, CommandError> {
    store::read_document(path).map_err(|source| CommandError::Read {
        path: path.to_owned(),
        source,
    })
}

/// What faults call a file.
pub(super) fn name(path: &Path) -> String {
    path.display().to_string()
}

fn compile(
    (policy_name, policy_text): (&str, &str),
    (topology_name, topology_text): (&str, &str),
) -> Result<(Topology, Policy), CommandError> {
    let refused = |name: &str, diagnostics: Diagnostics| CommandError::Refused {
        files: vec![format!("`{name}`")],
        diagnostics: Box::new(diagnostics),
    };
    let compiled = topology::compile(topology_name, topology_text);
    let topology = compiled
        .topology
        .ok_or_else(|| refused(topology_name, compiled.diagnostics))?;
    let compiled = policy::compile(policy_name, policy_text, &topology);
    let policy = compiled
        .policy
        .ok_or_else(|| refused(policy_name, compiled.diagnostics))?;
    Ok((topology, policy))
}

fn geo(args: &Args) -> Result<(Ranges, GeoState), CommandError> {
    let limits = geoip::Limits::default();
    let loaded = match (args.geo.as_slice(), args.is_example()) {
        ([], true) => {
            geoip::decode_and_compile(example::GEO.to_vec(), &limits).map_err(GeoFaults::from)?
        }
        ([], false) => return Ok((Ranges::default(), GeoState::NotConfigured)),
        (files, _) => geoip::load(files, &limits)?,
    };
    // As a sidecar of these files would say.
    let state = match Reach::of(&loaded.files) {
        Reach::Nothing => GeoState::Degraded,
        Reach::Countries | Reach::Coordinates => GeoState::Good,
    };
    Ok((loaded.ranges, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_example_is_sound_and_without_warnings() {
        let compiled = topology::compile(EXAMPLE_TOPOLOGY, example::TOPOLOGY);
        assert_eq!(compiled.diagnostics.to_lines(), Vec::<String>::new());
        let topology = compiled.topology.unwrap();
        assert_eq!((topology.sites().len(), topology.nodes().len()), (29, 82));
        let compiled = policy::compile(EXAMPLE_POLICY, example::POLICY, &topology);
        assert_eq!(compiled.diagnostics.to_lines(), Vec::<String>::new());
        let world = World::load(&Args::default()).unwrap();
        assert_eq!(world.snapshot.geo_state(), GeoState::Good);
        assert!(world.snapshot.geo().class_count() > 50);
    }

    #[test]
    fn a_policy_needs_its_topology() {
        let args = Args {
            policy: Some("p.yaml".into()),
            ..Args::default()
        };
        let error = World::load(&args).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`--policy` is given without `--topology`, must be both or neither"
        );
    }
}
