//! The fleet, the policy and the geo tables that a command works with, from files or from the embedded example.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::CommandError;
use crate::engine::edition::{Edition, Known, Names, Texts, Which};
use crate::engine::evaluate::{Evaluation, evaluate};
use crate::engine::geo::ranges::Ranges;
use crate::engine::query::Query;
use crate::engine::snapshot::{GeoState, Parts, Snapshot};
use crate::example;
use crate::sidecar::geoip;
use crate::sidecar::geoip::Reach;
use crate::sidecar::geoip::error::GeoFaults;
use crate::sidecar::settings::here::Here;
use crate::sidecar::wire::{QueryBuffer, QueryRoom, WireError, proto};
use crate::sidecar::writer::store;

/// What the embedded policy is called in faults.
const EXAMPLE_POLICY: &str = "<example policy>";

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
        let edition = edition(args)?;
        let places = Places::load(&args.geo, args.here.clone(), args.is_example())?;
        Ok(Self {
            snapshot: places.snapshot(&edition)?,
            policy_digest: edition.policy().digest().short(),
        })
    }

    /// Evaluates a request, and makes something of that while the query can still be looked at.
    pub(super) fn evaluate<T>(
        &self,
        request: &proto::DecideRequest,
        and_then: impl FnOnce(&Query<'_>, &Evaluation) -> T,
    ) -> Result<T, WireError> {
        let (mut room, mut buffer) = (QueryRoom::default(), QueryBuffer::default());
        let reading = self.snapshot.reading();
        let query = buffer.read(request, &mut room, reading)?;
        let evaluation = evaluate(&self.snapshot, &query);
        Ok(and_then(&query, &evaluation))
    }
}

/// Where clients are, whatever the edition.
pub(super) struct Places {
    geo: Arc<Ranges>,
    geo_state: GeoState,
    here: Option<Here>,
}

impl Places {
    /// Reads geo files; without any, those of the embedded example where that is `by_example`.
    pub(super) fn load(
        files: &[PathBuf],
        here: Option<Here>,
        by_example: bool,
    ) -> Result<Self, CommandError> {
        let (geo, geo_state) = geo(files, by_example)?;
        Ok(Self {
            geo: Arc::new(geo),
            geo_state,
            here,
        })
    }

    /// The snapshot of an edition, of which nothing is measured yet.
    pub(super) fn snapshot(&self, edition: &Edition) -> Result<Snapshot, CommandError> {
        let here = self.here.as_ref();
        let here = here.map(|here| here.resolve(edition.topology()));
        let parts = Parts {
            topology: Arc::clone(edition.topology()),
            policy: Arc::clone(edition.policy()),
            candidate: None,
            geo: Arc::clone(&self.geo),
            geo_state: self.geo_state,
            here: here.transpose()?,
            signals: Arc::default(),
        };
        Ok(Snapshot::build(1, parts, None))
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

/// Policy and topology as `args` say.
fn edition(args: &Args) -> Result<Edition, CommandError> {
    let (texts, names) = match (&args.policy, &args.topology) {
        (Some(policy), Some(topology)) => (
            Texts {
                policy: read(policy)?.into(),
                topology: read(topology)?.into(),
            },
            Names::new(&name(policy), &name(topology)),
        ),
        (None, None) => example(),
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
    // Whoever wonders why an example comes out otherwise asks here.
    let known = Known::in_force();
    Edition::compile(&texts, &names, known).map_err(|refused| {
        let file = match refused.which {
            Which::Policy => names.policy,
            Which::Topology => names.topology,
        };
        CommandError::Refused {
            files: vec![format!("`{file}`")],
            diagnostics: Box::new(refused.findings),
        }
    })
}

/// The embedded documents, and what they are called in faults.
fn example() -> (Texts, Names) {
    let texts = Texts {
        policy: example::POLICY.into(),
        topology: example::TOPOLOGY.into(),
    };
    (texts, Names::new(EXAMPLE_POLICY, EXAMPLE_TOPOLOGY))
}

fn geo(files: &[PathBuf], by_example: bool) -> Result<(Ranges, GeoState), CommandError> {
    let limits = geoip::Limits::default();
    let loaded = match (files, by_example) {
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
        let (texts, names) = example();
        let edition = Edition::compile(&texts, &names, Known::default()).unwrap();
        let today = "2026-11-27".parse().unwrap();
        let warnings = [
            edition.ground().warnings().to_lines(),
            edition.policy_warnings(today).to_lines(),
        ];
        assert_eq!(warnings.concat(), Vec::<String>::new());
        let topology = edition.topology();
        assert_eq!((topology.sites().len(), topology.nodes().len()), (29, 82));
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
