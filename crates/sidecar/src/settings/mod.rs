//! Settings of the process: where it listens, which files it reads, how much it may use. Routing policy is not here.
//!
//! A setting is taken from the command line, else the environment (`TRADEWIND_*`), else the settings file, else its
//! default.

pub mod access;
mod args;
mod checks;
pub mod documents;
pub mod fleet;
pub mod here;
pub mod otlp;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::fleet::Membership;
use crate::identity::Grant;
use crate::identity::Peers;
use crate::listen::limits::GateLimits;
use crate::listen::socket::Endpoint;
use crate::listen::worker;
use crate::regular;
use crate::settings::access::{Listening, Tls};
use crate::settings::checks::Faults;
use crate::settings::documents::Documents;
use crate::settings::here::Here;
use crate::settings::otlp::Otlp;
use crate::signing::Keys;
use tradewind_engine::document::{Diagnostics, DurationMs, Limits, Source};

pub use args::{Args, LogFormat};

/// Where gRPC is served unless said otherwise.
const DEFAULT_LISTEN: &str = "127.0.0.1:7070";

/// Where the debug door is unless said otherwise.
const DEFAULT_DEBUG: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7071);

/// Where the services for operators are unless said otherwise.
const DEFAULT_ADMIN: &str = "127.0.0.1:7072";

/// Where plain HTTP queries are answered unless said otherwise.
const DEFAULT_HTTP: &str = "127.0.0.1:7073";

/// Settings in force.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether the embedded example was asked for.
    pub example: bool,
    /// Policy file; `None` for the embedded example.
    pub policy: Option<PathBuf>,
    /// Topology file; `None` for the embedded example.
    pub topology: Option<PathBuf>,
    /// What must tell that a policy or topology file is whole.
    pub documents: Documents,
    /// Keys that policies and topologies must be signed by; none where they need no signature.
    pub signed_by: Keys,
    /// Geo databases; empty with an embedded policy means the embedded example too.
    pub geo: Vec<PathBuf>,
    /// Where this sidecar is; `None` where nobody said so.
    pub here: Option<Here>,
    /// Whether to be ready without any geo table though files are configured.
    pub geo_optional: bool,
    /// Where gRPC is served; not empty.
    pub listen: Vec<Endpoint>,
    /// Where the debug door is served.
    pub debug: SocketAddr,
    /// Where the services for operators are.
    pub admin: Endpoint,
    /// Where plain HTTP queries are answered.
    pub http: Endpoint,
    /// Where the last good policy, topology and geo tables, and what operators set, are kept; `None` when both are embedded.
    pub state_dir: Option<PathBuf>,
    /// Worker threads, at least 1.
    pub workers: usize,
    /// Most connections open at once.
    pub max_connections: usize,
    /// Most calls in flight at once, beyond those that each connection has to itself.
    pub max_calls: usize,
    /// Time given to calls in flight at shutdown.
    pub drain_deadline: DurationMs,
    /// How often all files are looked at.
    pub poll: DurationMs,
    /// Peers whose reporters are told apart by the names they give.
    pub trusted_reporters: Vec<Peers>,
    /// Names that the debug door is asked by, beside addresses and those of this machine.
    pub debug_hosts: Vec<String>,
    /// What is granted to whom, beside what goes without saying.
    pub allow: Vec<Grant>,
    /// What grants it, to be looked at again; `None` without a settings file.
    pub granting: Option<Granting>,
    /// File of bearer tokens.
    pub tokens: Option<PathBuf>,
    /// TLS at doors.
    pub tls: Option<Tls>,
    /// The fleet that this sidecar is a member of; `None` where it is alone.
    pub fleet: Option<Membership>,
    /// Recent decisions kept for the debug door.
    pub decisions_kept: usize,
    /// Where decisions are written down; `None` for nowhere.
    pub decision_log: Option<PathBuf>,
    /// Largest size of that file, in bytes.
    pub decision_log_max_bytes: u64,
    /// Where spans go, if anywhere.
    pub otlp: Otlp,
    /// What to log.
    pub log: String,
    /// How to log.
    pub log_format: LogFormat,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The settings file cannot be read.
    #[error("the settings file {} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The settings file has faults.
    #[error("the settings file has faults:\n{}", .0.render(false))]
    Faulty(Diagnostics),
    /// Settings out of range, all of them.
    #[error("{}", .0.join("\n"))]
    Invalid(Vec<String>),
}

impl Settings {
    /// Settles all settings from arguments (which hold the environment too) and the settings file they name.
    pub fn new(args: Args) -> Result<Self, SettingsError> {
        let granting = Granting::of(&args);
        let given = match &args.config {
            Some(path) => args.clone().or(read_file(path)?),
            None => args,
        };
        let settings = given.settled()?;
        Ok(Self {
            granting,
            ..settings
        })
    }

    /// True when nothing was configured and the embedded example is served.
    pub fn is_example(&self) -> bool {
        self.policy.is_none() && self.topology.is_none()
    }
}

/// The arguments, and the settings file among them: what is granted by both is read again whenever the file may have changed. All
/// other settings stay those of the start.
#[derive(Debug, Clone)]
pub struct Granting(Box<Args>);

impl Granting {
    /// `None` where there is no file, or what is there can be read once only.
    fn of(args: &Args) -> Option<Self> {
        let path = args.config.as_deref()?;
        let is_file = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
        is_file.then(|| Self(Box::new(args.clone())))
    }

    /// The settings file.
    pub fn path(&self) -> Option<&Path> {
        self.0.config.as_deref()
    }

    /// What is granted now, beside what goes without saying. The whole file must be sound.
    pub fn read(&self) -> Result<Vec<Grant>, SettingsError> {
        let args = Args::clone(&self.0);
        let Some(path) = self.path() else {
            return args.settled().map(|settings| settings.allow);
        };
        let text = regular::read(path).and_then(|bytes| {
            let text = String::from_utf8(bytes);
            text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "is not UTF-8"))
        });
        let text = text.map_err(|source| SettingsError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        // A file that is cut between two lines may be sound, and grant what was taken away by the line that is gone.
        if !text.ends_with('\n') {
            let path = path.display();
            return Err(SettingsError::Invalid(vec![format!(
                "{path}: its last line has no end, must end with a newline: the file may be cut"
            )]));
        }
        let file = decode(path, &text)?;
        args.or(file).settled().map(|settings| settings.allow)
    }
}

/// How many there may be of what.
struct Numbers {
    workers: usize,
    connections: usize,
    calls: usize,
    decisions_kept: usize,
    log_bytes: u64,
}

impl Args {
    /// What is counted, with defaults where nothing is given.
    fn numbers(&self, faults: &mut Faults) -> Numbers {
        self.check_documents(faults);
        let gate = GateLimits::default();
        let numbers = Numbers {
            workers: self.workers.unwrap_or_else(worker::default_count),
            connections: self.max_connections.unwrap_or(gate.max_connections),
            calls: self.max_calls.unwrap_or(gate.max_in_flight),
            decisions_kept: self.decisions_kept.unwrap_or(1_024),
            log_bytes: self.decision_log_max_bytes.unwrap_or(256_000_000),
        };
        let log_range = 1_000_000..=1_000_000_000_000;
        faults.check("decision_log_max_bytes", &numbers.log_bytes, &log_range);
        faults.check("workers", &numbers.workers, &(1..=256));
        faults.check("max_connections", &numbers.connections, &(1..=100_000));
        faults.check("max_calls", &numbers.calls, &(64..=1_000_000));
        faults.check("decisions_kept", &numbers.decisions_kept, &(0..=100_000));
        numbers
    }

    /// The deadline of the drain, and how often files are looked at.
    fn durations(&self, faults: &mut Faults) -> (DurationMs, DurationMs) {
        let ms = DurationMs::from_ms;
        let drain_deadline = self.drain_deadline.unwrap_or(ms(5_000));
        let poll = self.poll.unwrap_or(ms(10_000));
        faults.check("drain_deadline", &drain_deadline, &(ms(0)..=ms(600_000)));
        faults.check("poll", &poll, &(ms(100)..=ms(3_600_000)));
        (drain_deadline, poll)
    }

    fn fleet_given(&self) -> fleet::Given {
        fleet::Given {
            bus: self.bus.clone(),
            fleet: self.fleet.clone(),
            member: self.member.clone(),
            credentials: self.bus_credentials.clone(),
            ca: self.bus_ca.clone(),
            replicas: self.bus_replicas,
        }
    }

    fn check_documents(&self, faults: &mut Faults) {
        if self.policy.is_some() != self.topology.is_some() {
            faults
                .add("only one of policy and topology is given, both or neither are needed".into());
        }
        if self.example && self.policy.is_some() {
            faults.add("example is set beside a policy, must be one or the other".into());
        }
    }

    /// Every value checked, and all faults otherwise.
    fn settled(self) -> Result<Settings, SettingsError> {
        let mut faults = Faults::default();
        let settings = self.settle(&mut faults);
        if faults.0.is_empty() {
            Ok(settings)
        } else {
            Err(SettingsError::Invalid(faults.0))
        }
    }

    /// Defaults where nothing is given; every value checked.
    fn settle(self, faults: &mut Faults) -> Settings {
        let numbers = self.numbers(faults);
        let fleet = self.fleet_given().settle(faults);
        let beside = self.policy.as_deref().and_then(Path::parent);
        let state_dir = beside.map(|dir| dir.join(".tradewind"));
        let (drain_deadline, poll) = self.durations(faults);
        let listen = if self.listen.is_empty() {
            vec![DEFAULT_LISTEN.to_owned()]
        } else {
            self.listen
        };
        let mut one = |name, given: Option<&str>, default| {
            let read = checks::endpoint(name, given.unwrap_or(default), faults);
            // Where it cannot be read, the fault keeps these settings from being used.
            read.unwrap_or(Endpoint::Tcp(DEFAULT_DEBUG))
        };
        let admin = one("admin", self.admin.as_deref(), DEFAULT_ADMIN);
        let http = one("http", self.http.as_deref(), DEFAULT_HTTP);
        let here = checks::here(self.here.as_deref(), faults);
        let listen = checks::endpoints("listen", &listen, faults);
        let debug = self.debug.unwrap_or(DEFAULT_DEBUG);
        let given = access::Given {
            certificate: self.tls_cert,
            key: self.tls_key,
            clients: self.tls_clients,
            doors: self.tls_doors,
            tokens: self.tokens,
            allow: self.allow,
        };
        let listening = Listening {
            grpc: &listen,
            http: &http,
            debug,
            admin: &admin,
        };
        let signed_by = checks::keys(&self.signed_by, self.policy.is_some(), faults);
        Settings {
            here,
            documents: self.documents.unwrap_or_default(),
            signed_by,
            state_dir: self.state_dir.or(state_dir),
            example: self.example,
            policy: self.policy,
            topology: self.topology,
            geo: self.geo,
            geo_optional: self.geo_optional.unwrap_or_default(),
            debug,
            workers: numbers.workers,
            max_connections: numbers.connections,
            max_calls: numbers.calls,
            drain_deadline,
            poll,
            trusted_reporters: checks::trusted(&self.trusted_reporters, faults),
            debug_hosts: self.debug_hosts,
            allow: access::grants(&given, &listening, faults),
            granting: None,
            tls: access::tls(&given, &listening, faults),
            tokens: given.tokens,
            fleet,
            decisions_kept: numbers.decisions_kept,
            decision_log: self.decision_log,
            decision_log_max_bytes: numbers.log_bytes,
            listen,
            admin,
            http,
            otlp: checks::otlp(self.otlp_endpoint.as_deref(), &self.standard, faults),
            log: self.log.unwrap_or_else(|| "info".to_owned()),
            log_format: self.log_format.unwrap_or_default(),
        }
    }
}

fn read_file(path: &Path) -> Result<Args, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    decode(path, &text)
}

fn decode(path: &Path, text: &str) -> Result<Args, SettingsError> {
    let limits = Limits {
        max_bytes: 1 << 20,
        ..Limits::default()
    };
    let (mut source, mut faults) = Source::read(&path.display().to_string(), text, &limits);
    let decoded = source.decode::<Args>();
    faults.append(decoded.faults);
    match decoded.value {
        Some(settings) if !faults.has_errors() => Ok(settings),
        _ => Err(SettingsError::Faulty(faults)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_served_beside_no_policy() {
        let args = Args {
            example: true,
            policy: Some("p.yaml".into()),
            topology: Some("t.yaml".into()),
            ..Args::default()
        };
        let error = Settings::new(args).unwrap_err();
        assert!(error.to_string().contains("example is set beside a policy"));
    }

    #[test]
    fn nothing_configured_serves_the_example_on_loopback() {
        let settings = Settings::new(Args::default()).unwrap();
        assert!(settings.is_example() && settings.state_dir.is_none());
        assert!(settings.debug.ip().is_loopback());
        assert_eq!(
            settings.listen,
            vec![Endpoint::Tcp("127.0.0.1:7070".parse().unwrap())]
        );
    }

    #[test]
    fn every_wrong_setting_is_named_at_once() {
        let args = Args {
            policy: Some("p.yaml".into()),
            listen: vec!["nowhere".into()],
            here: Some("50.1;8.7,".into()),
            admin: Some("here".into()),
            http: Some("there".into()),
            workers: Some(0),
            poll: Some(DurationMs::from_ms(1)),
            ..Args::default()
        };
        let text = Settings::new(args).unwrap_err().to_string();
        for part in [
            "only one of policy and topology",
            "listen is `nowhere`",
            "here: `50.1;8.7,` is no place",
            "admin is `here`",
            "http is `there`",
            "workers is 0",
            "poll is 1ms, must be 100ms to 1h",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn arguments_go_before_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings.yaml");
        std::fs::write(
            &path,
            "workers: 3\nmax_connections: 10\npoll: 1s\ndebug: 127.0.0.1:9\ngeo_optional: true\n",
        )
        .unwrap();
        let args = Args {
            config: Some(path.clone()),
            workers: Some(5),
            ..Args::default()
        };
        let settings = Settings::new(args).unwrap();
        assert_eq!(
            (
                settings.workers,
                settings.max_connections,
                settings.poll.as_ms()
            ),
            (5, 10, 1_000)
        );
        assert_eq!(settings.debug.port(), 9);
        assert!(settings.geo_optional);
        std::fs::write(&path, "wrokers: 3\nworkers: many\n").unwrap();
        let text = Settings::new(Args {
            config: Some(path),
            ..Args::default()
        })
        .unwrap_err()
        .to_string();
        assert!(
            text.contains("did you mean `workers`?") && text.contains("`many`"),
            "{text}"
        );
    }
}
