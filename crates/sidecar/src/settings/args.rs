//! The settings as given, on the command line, in the environment or in the settings file.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use schemars::JsonSchema;
use serde::Deserialize;

use super::access::DoorName;
use super::documents::Documents;
use super::otlp::Standard;
use tradewind_engine::document::DurationMs;
use tradewind_engine::document::grammar;

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
    /// `spiffe://ID`, dns:NAME, token:NAME. ROLES: ask, tell, observe, operate, publish, all, none
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
    /// Servers of NATS that carry what the sidecars of a fleet tell each other, like `nats://10.0.0.7:4222` or tls://…; may be given several
    /// times [default: none, and this sidecar is alone]
    #[arg(long, value_name = "URL", env = "TRADEWIND_BUS", value_delimiter = ',')]
    pub bus: Vec<String>,
    /// The fleet, by which those who share a bus are told apart: lower case letters, digits, `-`, `_` [default: default]
    #[arg(long, value_name = "NAME", env = "TRADEWIND_FLEET")]
    pub fleet: Option<String>,
    /// This sidecar's name in the fleet; each needs one of its own: letters, digits, `-`, `_` [default: the host's name]
    #[arg(long, value_name = "NAME", env = "TRADEWIND_MEMBER")]
    pub member: Option<String>,
    /// Credentials for the bus: a file of NATS with a JWT and a seed (`.creds`), or with a seed alone
    #[arg(long, value_name = "FILE", env = "TRADEWIND_BUS_CREDENTIALS")]
    pub bus_credentials: Option<PathBuf>,
    /// Whose certificates of the bus are believed (PEM) [default: the system's]
    #[arg(long, value_name = "FILE", env = "TRADEWIND_BUS_CA")]
    pub bus_ca: Option<PathBuf>,
    /// How many servers of the bus keep what the fleet shares, where this sidecar makes the streams for it, 1 to 5: 3 on a cluster [default: 1]
    #[arg(long, value_name = "N", env = "TRADEWIND_BUS_REPLICAS")]
    #[schemars(range(min = 1, max = 5))]
    pub bus_replicas: Option<u8>,
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

impl Args {
    /// What is given here, else what `file` gives.
    pub(super) fn or(self, file: Self) -> Self {
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
            // Grants only add up, so those given here do not take away what the file says.
            allow: [file.allow, self.allow].concat(),
            tokens: self.tokens.or(file.tokens),
            tls_cert: self.tls_cert.or(file.tls_cert),
            tls_key: self.tls_key.or(file.tls_key),
            tls_clients: self.tls_clients.or(file.tls_clients),
            tls_doors: longer(self.tls_doors, file.tls_doors),
            bus: longer(self.bus, file.bus),
            fleet: self.fleet.or(file.fleet),
            member: self.member.or(file.member),
            bus_credentials: self.bus_credentials.or(file.bus_credentials),
            bus_ca: self.bus_ca.or(file.bus_ca),
            bus_replicas: self.bus_replicas.or(file.bus_replicas),
            decisions_kept: self.decisions_kept.or(file.decisions_kept),
            decision_log: self.decision_log.or(file.decision_log),
            decision_log_max_bytes: self.decision_log_max_bytes.or(file.decision_log_max_bytes),
            otlp_endpoint: self.otlp_endpoint.or(file.otlp_endpoint),
            standard: self.standard,
            log: self.log.or(file.log),
            log_format: self.log_format.or(file.log_format),
        }
    }
}
