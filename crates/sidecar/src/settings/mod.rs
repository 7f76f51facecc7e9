//! Settings of the process: where it listens, which files it reads, how much it may use. Routing policy is not here.
//!
//! A setting is taken from the command line, else the environment (`TRADEWIND_*`), else the settings file, else its
//! default.

pub mod access;
mod checks;
pub mod documents;
pub mod here;
pub mod otlp;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, ValueEnum};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::identity::Grant;
use crate::identity::reporter::Trusted;
use crate::listen::limits::GateLimits;
use crate::listen::socket::Endpoint;
use crate::listen::worker;
use crate::settings::access::{DoorName, Listening, Tls};
use crate::settings::checks::Faults;
use crate::settings::documents::Documents;
use crate::settings::here::Here;
use crate::settings::otlp::{Otlp, Standard};
use crate::signing::Keys;
use tradewind_engine::document::grammar;
use tradewind_engine::document::{Diagnostics, DurationMs, Limits, Source};

/// Where gRPC is served unless said otherwise.
const DEFAULT_LISTEN: &str = "127.0.0.1:7070";

/// Where the debug door is unless said otherwise.
const DEFAULT_DEBUG: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7071);

/// Where the services for operators are unless said otherwise.
const DEFAULT_ADMIN: &str = "127.0.0.1:7072";

/// Where plain HTTP queries are answered unless said otherwise.
const DEFAULT_HTTP: &str = "127.0.0.1:7073";

/// The settings as given, on the command line or in the settings file; whatever is absent has a default.
#[derive(Debug, Clone, Default, ClapArgs, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Args {
    /// Settings file (YAML) with the fields of these options, `_` for `-`
    #[arg(long, value_name = "FILE", env = "TRADEWIND_CONFIG")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Serve the embedded example fleet; without a policy and a topology this is needed unless a person looks on
    #[arg(
        long,
        env = "TRADEWIND_EXAMPLE",
        conflicts_with_all = ["policy", "topology"]
    )]
    pub example: bool,
    /// Policy file
    #[arg(long, value_name = "FILE", env = "TRADEWIND_POLICY")]
    pub policy: Option<PathBuf>,
    /// Topology file
    #[arg(long, value_name = "FILE", env = "TRADEWIND_TOPOLOGY")]
    pub topology: Option<PathBuf>,
    /// What must tell that a policy or topology file is whole [default: any]
    #[arg(long, value_name = "HOW", env = "TRADEWIND_DOCUMENTS")]
    pub documents: Option<Documents>,
    /// Use only policies and topologies signed by this key of minisign, `RW…` or a file with it, of a file and by a call alike; may
    /// be given several times [default: none, and nothing needs a signature]
    #[arg(
        long,
        value_name = "KEY",
        env = "TRADEWIND_SIGNED_BY",
        value_delimiter = ','
    )]
    pub signed_by: Vec<String>,
    /// Geo database (MMDB: city, country or ASN); may be given several times, the first that knows a client wins
    #[arg(
        long,
        value_name = "FILE",
        env = "TRADEWIND_GEO",
        value_delimiter = ','
    )]
    pub geo: Vec<PathBuf>,
    /// Where this sidecar is: clients whom nobody can place are taken to be there [default: the policy's geo.default]
    #[arg(
        long,
        value_name = "SITE|LAT,LON",
        env = "TRADEWIND_HERE",
        allow_hyphen_values = true
    )]
    pub here: Option<String>,
    /// Be ready even if no geo file can be used; without it, such a start waits until one can
    #[arg(
        long,
        value_name = "BOOL",
        env = "TRADEWIND_GEO_OPTIONAL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub geo_optional: Option<bool>,
    /// Serve gRPC here, ADDR:PORT or unix:PATH; may be given several times [default: 127.0.0.1:7070]
    #[arg(
        long,
        value_name = "ADDR",
        env = "TRADEWIND_LISTEN",
        value_delimiter = ','
    )]
    #[schemars(with = "Vec<grammar::Endpoint>")]
    pub listen: Vec<String>,
    /// Serve the debug door (health, metrics, explanations) here [default: 127.0.0.1:7071]
    #[arg(long, value_name = "ADDR", env = "TRADEWIND_DEBUG")]
    #[schemars(with = "Option<String>")]
    pub debug: Option<SocketAddr>,
    /// Serve operators (drain, topology, breakers) over gRPC here, ADDR:PORT or unix:PATH [default: 127.0.0.1:7072]
    #[arg(long, value_name = "ADDR", env = "TRADEWIND_ADMIN")]
    #[schemars(with = "Option<grammar::Endpoint>")]
    pub admin: Option<String>,
    /// Answer plain HTTP (/v1/route, /v1/outcomes) here, ADDR:PORT or unix:PATH [default: 127.0.0.1:7073]
    #[arg(long, value_name = "ADDR", env = "TRADEWIND_HTTP")]
    #[schemars(with = "Option<grammar::Endpoint>")]
    pub http: Option<String>,
    /// Keep the last good policy, topology and geo tables, and what operators set, here [default: .tradewind beside the policy file]
    #[arg(long, value_name = "DIR", env = "TRADEWIND_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// Worker threads, 1 to 256 [default: one per core]
    #[arg(long, value_name = "N", env = "TRADEWIND_WORKERS")]
    #[schemars(range(min = 1, max = 256))]
    pub workers: Option<usize>,
    /// Most connections open at once, 1 to 100000 [default: 2000]
    #[arg(long, value_name = "N", env = "TRADEWIND_MAX_CONNECTIONS")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_connections: Option<usize>,
    /// Most calls in flight at once beyond 16 of each connection, 64 to 1000000. A stream is one for as long as it is open, and
    /// Envoy opens one for each request that it has looked at while it lasts; it costs 6 to 10 KB [default: 4096]
    #[arg(long, value_name = "N", env = "TRADEWIND_MAX_CALLS")]
    #[schemars(range(min = 64, max = 1_000_000))]
    pub max_calls: Option<usize>,
    /// Time given to calls in flight at shutdown, up to 10m [default: 5s]
    #[arg(long, value_name = "DURATION", env = "TRADEWIND_DRAIN_DEADLINE")]
    pub drain_deadline: Option<DurationMs>,
    /// Look at all files this often even when nothing told of a change, 100ms to 1h [default: 10s]
    #[arg(long, value_name = "DURATION", env = "TRADEWIND_POLL")]
    pub poll: Option<DurationMs>,
    /// Peers whose reporters are told apart by the names they give, and who may tell the load of any node: unix, uid:N, an
    /// address or a network; may be given several times [default: none]
    #[arg(
        long,
        value_name = "PEER",
        env = "TRADEWIND_TRUSTED_REPORTERS",
        value_delimiter = ','
    )]
    #[schemars(with = "Vec<grammar::Peer>")]
    pub trusted_reporters: Vec<String>,
    /// Name that the debug door is asked by in a browser, beside its address and localhost; may be given several times
    #[arg(
        long = "debug-host",
        value_name = "NAME",
        env = "TRADEWIND_DEBUG_HOSTS",
        value_delimiter = ','
    )]
    pub debug_hosts: Vec<String>,
    /// What somebody may do, WHO=ROLES; may be given several times. WHO: anyone, loopback, unix, uid:N, an address or a network,
    /// spiffe://ID, dns:NAME, token:NAME. ROLES: ask, tell, observe, operate, publish, all, none
    /// [default: loopback=all unix=all]
    #[arg(
        long,
        value_name = "WHO=ROLES",
        env = "TRADEWIND_ALLOW",
        value_delimiter = ' '
    )]
    #[schemars(with = "Vec<grammar::Grant>")]
    pub allow: Vec<String>,
    /// File of bearer tokens, a line `NAME TOKEN` each; `token:NAME` is who shows it
    #[arg(long, value_name = "FILE", env = "TRADEWIND_TOKENS")]
    pub tokens: Option<PathBuf>,
    /// Certificate that doors show, its issuers behind it (PEM); with it they speak TLS
    #[arg(long, value_name = "FILE", env = "TRADEWIND_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", env = "TRADEWIND_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// Whose certificates of clients are believed (PEM)
    #[arg(long, value_name = "FILE", env = "TRADEWIND_TLS_CLIENTS")]
    pub tls_clients: Option<PathBuf>,
    /// Doors that speak TLS on TCP; may be given several times [default: those that listen beyond loopback]
    #[arg(
        long,
        value_name = "DOOR",
        env = "TRADEWIND_TLS_DOORS",
        value_delimiter = ','
    )]
    pub tls_doors: Vec<DoorName>,
    /// Recent decisions kept for the debug door, up to 100000 [default: 1024]
    #[arg(long, value_name = "N", env = "TRADEWIND_DECISIONS_KEPT")]
    #[schemars(range(min = 0, max = 100_000))]
    pub decisions_kept: Option<usize>,
    /// Write decisions to this file, so that `tradewind replay` can make them again [default: none]
    #[arg(long, value_name = "FILE", env = "TRADEWIND_DECISION_LOG")]
    pub decision_log: Option<PathBuf>,
    /// Largest size of the decision log; the one before is kept as FILE.1; 1 MB to 1 TB [default: 256 MB]
    #[arg(long, value_name = "BYTES", env = "TRADEWIND_DECISION_LOG_MAX_BYTES")]
    #[schemars(range(min = 1_000_000, max = 1_000_000_000_000_u64))]
    pub decision_log_max_bytes: Option<u64>,
    /// Send spans of sampled decisions to a collector of OpenTelemetry here, OTLP over gRPC, like
    /// `http://127.0.0.1:4317`; before the variable `OTEL_EXPORTER_OTLP_ENDPOINT` [default: none]
    #[arg(long, value_name = "URL", env = "TRADEWIND_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
    /// The variables of OpenTelemetry
    #[command(flatten)]
    #[serde(skip)]
    pub standard: Standard,
    /// What to log, like `info` or `tradewind=debug` [default: info]
    #[arg(long, value_name = "FILTER", env = "TRADEWIND_LOG")]
    pub log: Option<String>,
    /// How to log [default: text]
    #[arg(long, value_name = "FORMAT", env = "TRADEWIND_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
}

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
    pub trusted_reporters: Vec<Trusted>,
    /// Names that the debug door is asked by, beside addresses and those of this machine.
    pub debug_hosts: Vec<String>,
    /// What is granted to whom, beside what goes without saying.
    pub allow: Vec<Grant>,
    /// File of bearer tokens.
    pub tokens: Option<PathBuf>,
    /// TLS at doors.
    pub tls: Option<Tls>,
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

/// How to log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
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
        source: std::io::Error,
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
        let given = match &args.config {
            Some(path) => args.clone().or(read_file(path)?),
            None => args,
        };
        let mut faults = Faults::default();
        let settings = given.settle(&mut faults);
        if faults.0.is_empty() {
            Ok(settings)
        } else {
            Err(SettingsError::Invalid(faults.0))
        }
    }

    /// True when nothing was configured and the embedded example is served.
    pub fn is_example(&self) -> bool {
        self.policy.is_none() && self.topology.is_none()
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
    /// What is given here, else what `file` gives.
    fn or(self, file: Self) -> Self {
        fn longer<T>(own: Vec<T>, other: Vec<T>) -> Vec<T> {
            if own.is_empty() { other } else { own }
        }
        Self {
            config: self.config,
            example: self.example || file.example,
            policy: self.policy.or(file.policy),
            topology: self.topology.or(file.topology),
            documents: self.documents.or(file.documents),
            signed_by: longer(self.signed_by, file.signed_by),
            geo: longer(self.geo, file.geo),
            here: self.here.or(file.here),
            geo_optional: self.geo_optional.or(file.geo_optional),
            listen: longer(self.listen, file.listen),
            debug: self.debug.or(file.debug),
            admin: self.admin.or(file.admin),
            http: self.http.or(file.http),
            state_dir: self.state_dir.or(file.state_dir),
            workers: self.workers.or(file.workers),
            max_connections: self.max_connections.or(file.max_connections),
            max_calls: self.max_calls.or(file.max_calls),
            drain_deadline: self.drain_deadline.or(file.drain_deadline),
            poll: self.poll.or(file.poll),
            trusted_reporters: longer(self.trusted_reporters, file.trusted_reporters),
            debug_hosts: longer(self.debug_hosts, file.debug_hosts),
            allow: longer(self.allow, file.allow),
            tokens: self.tokens.or(file.tokens),
            tls_cert: self.tls_cert.or(file.tls_cert),
            tls_key: self.tls_key.or(file.tls_key),
            tls_clients: self.tls_clients.or(file.tls_clients),
            tls_doors: longer(self.tls_doors, file.tls_doors),
            decisions_kept: self.decisions_kept.or(file.decisions_kept),
            decision_log: self.decision_log.or(file.decision_log),
            decision_log_max_bytes: self.decision_log_max_bytes.or(file.decision_log_max_bytes),
            otlp_endpoint: self.otlp_endpoint.or(file.otlp_endpoint),
            standard: self.standard,
            log: self.log.or(file.log),
            log_format: self.log_format.or(file.log_format),
        }
    }

    /// What is counted, with defaults where nothing is given.
    fn numbers(&self, faults: &mut Faults) -> Numbers {
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

    /// Defaults where nothing is given; every value checked.
    fn settle(self, faults: &mut Faults) -> Settings {
        let numbers = self.numbers(faults);
        if self.policy.is_some() != self.topology.is_some() {
            faults
                .add("only one of policy and topology is given, both or neither are needed".into());
        }
        if self.example && self.policy.is_some() {
            faults.add("example is set beside a policy, must be one or the other".into());
        }
        let beside = self.policy.as_deref().and_then(Path::parent);
        let state_dir = beside.map(|dir| dir.join(".tradewind"));
        let listen = if self.listen.is_empty() {
            vec![DEFAULT_LISTEN.to_owned()]
        } else {
            self.listen
        };
        let drain_deadline = self.drain_deadline.unwrap_or(DurationMs::from_ms(5_000));
        let poll = self.poll.unwrap_or(DurationMs::from_ms(10_000));
        let ms = DurationMs::from_ms;
        faults.check("drain_deadline", &drain_deadline, &(ms(0)..=ms(600_000)));
        faults.check("poll", &poll, &(ms(100)..=ms(3_600_000)));
        let mut one = |name, given: Option<&str>, default| {
            let read = checks::endpoint(name, given.unwrap_or(default), faults);
            // Where it cannot be read, the fault keeps these settings from being used.
            read.unwrap_or(Endpoint::Tcp(DEFAULT_DEBUG))
        };
        let here = self.here.as_deref().map(str::parse::<Here>);
        let admin = one("admin", self.admin.as_deref(), DEFAULT_ADMIN);
        let http = one("http", self.http.as_deref(), DEFAULT_HTTP);
        let here = here.and_then(|here| match here {
            Ok(here) => Some(here),
            Err(error) => {
                faults.add(format!("here: {error}"));
                None
            }
        });
        let listen: Vec<Endpoint> = listen
            .iter()
            .filter_map(|text| checks::endpoint("listen", text, faults))
            .collect();
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
            tls: access::tls(&given, &listening, faults),
            tokens: given.tokens,
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
    let limits = Limits {
        max_bytes: 1 << 20,
        ..Limits::default()
    };
    let (mut source, mut faults) = Source::read(&path.display().to_string(), &text, &limits);
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
