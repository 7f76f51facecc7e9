//! Settings of the process: where it listens, which files it reads, how much it may use. Routing policy is not here.
//!
//! A setting is taken from the command line, else the environment (`TRADEWIND_*`), else the settings file, else its
//! default.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::listen::socket::Endpoint;
use crate::engine::document::{Diagnostics, DurationMs, Limits, Source};

/// Where gRPC is served unless said otherwise.
const DEFAULT_LISTEN: &str = "127.0.0.1:7070";

/// Where the debug door is unless said otherwise.
const DEFAULT_DEBUG: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7071);

/// Arguments of `tradewind serve`.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct Args {
    /// Settings file (YAML) with the fields of these options, `_` for `-`
    #[arg(long, value_name = "FILE", env = "TRADEWIND_CONFIG")]
    pub config: Option<PathBuf>,
    /// Policy file; without it, the embedded example
    #[arg(long, value_name = "FILE", env = "TRADEWIND_POLICY")]
    pub policy: Option<PathBuf>,
    /// Topology file; without it, the embedded example
    #[arg(long, value_name = "FILE", env = "TRADEWIND_TOPOLOGY")]
    pub topology: Option<PathBuf>,
    /// Geo database (MMDB: city or ASN); may be given several times, the first that knows a client wins
    #[arg(
        long,
        value_name = "FILE",
        env = "TRADEWIND_GEO",
        value_delimiter = ','
    )]
    pub geo: Vec<PathBuf>,
    /// Serve gRPC here: ADDR:PORT or unix:PATH; may be given several times [default: 127.0.0.1:7070]
    #[arg(
        long,
        value_name = "ADDR",
        env = "TRADEWIND_LISTEN",
        value_delimiter = ','
    )]
    pub listen: Vec<String>,
    /// Serve the debug door (health, metrics, explanations) here [default: 127.0.0.1:7071]
    #[arg(long, value_name = "ADDR", env = "TRADEWIND_DEBUG")]
    pub debug: Option<SocketAddr>,
    /// Keep the last good policy and topology here [default: .tradewind beside the policy file]
    #[arg(long, value_name = "DIR", env = "TRADEWIND_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// Worker threads [default: one per core]
    #[arg(long, value_name = "N", env = "TRADEWIND_WORKERS")]
    pub workers: Option<usize>,
    /// Most connections open at once, 1 to 100000 [default: 2000]
    #[arg(long, value_name = "N", env = "TRADEWIND_MAX_CONNECTIONS")]
    pub max_connections: Option<usize>,
    /// Time given to calls in flight at shutdown, 0s to 10m [default: 5s]
    #[arg(long, value_name = "DURATION", env = "TRADEWIND_DRAIN_DEADLINE")]
    pub drain_deadline: Option<String>,
    /// Look at all files this often even when nothing told of a change, 100ms to 1h [default: 10s]
    #[arg(long, value_name = "DURATION", env = "TRADEWIND_POLL")]
    pub poll: Option<String>,
    /// Recent decisions kept for the debug door, 0 to 100000 [default: 1024]
    #[arg(long, value_name = "N", env = "TRADEWIND_DECISIONS_KEPT")]
    pub decisions_kept: Option<usize>,
    /// What to log, like `info` or `tradewind=debug` [default: info]
    #[arg(long, value_name = "FILTER", env = "TRADEWIND_LOG")]
    pub log: Option<String>,
    /// How to log: text or json [default: text]
    #[arg(long, value_name = "FORMAT", env = "TRADEWIND_LOG_FORMAT")]
    pub log_format: Option<String>,
}

/// The settings file: the same settings, all optional.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FileSettings {
    /// Policy file.
    pub policy: Option<PathBuf>,
    /// Topology file.
    pub topology: Option<PathBuf>,
    /// Geo databases, the first that knows a client wins.
    pub geo: Vec<PathBuf>,
    /// Where gRPC is served: ADDR:PORT or unix:PATH.
    pub listen: Vec<String>,
    /// Where the debug door is served.
    pub debug: Option<String>,
    /// Where the last good policy and topology are kept.
    pub state_dir: Option<PathBuf>,
    /// Worker threads.
    pub workers: Option<usize>,
    /// Most connections open at once, 1 to 100000.
    pub max_connections: Option<usize>,
    /// Time given to calls in flight at shutdown, 0s to 10m.
    pub drain_deadline: Option<DurationMs>,
    /// How often all files are looked at even when nothing told of a change, 100ms to 1h.
    pub poll: Option<DurationMs>,
    /// Recent decisions kept for the debug door, 0 to 100000.
    pub decisions_kept: Option<usize>,
    /// What to log.
    pub log: Option<String>,
    /// How to log: text or json.
    pub log_format: Option<String>,
}

/// Settings in force.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Policy file; `None` for the embedded example.
    pub policy: Option<PathBuf>,
    /// Topology file; `None` for the embedded example.
    pub topology: Option<PathBuf>,
    /// Geo databases; empty with an embedded policy means the embedded example too.
    pub geo: Vec<PathBuf>,
    /// Where gRPC is served; not empty.
    pub listen: Vec<Endpoint>,
    /// Where the debug door is served.
    pub debug: SocketAddr,
    /// Where the last good policy and topology are kept; `None` when both are embedded.
    pub state_dir: Option<PathBuf>,
    /// Worker threads, at least 1.
    pub workers: usize,
    /// Most connections open at once.
    pub max_connections: usize,
    /// Time given to calls in flight at shutdown.
    pub drain_deadline: DurationMs,
    /// How often all files are looked at.
    pub poll: DurationMs,
    /// Recent decisions kept for the debug door.
    pub decisions_kept: usize,
    /// What to log.
    pub log: String,
    /// How to log.
    pub log_format: LogFormat,
}

/// How to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why the settings can not be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The settings file can not be read.
    #[error("the settings file {} can not be read", path.display())]
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
        let file = match &args.config {
            Some(path) => read_file(path)?,
            None => FileSettings::default(),
        };
        let mut faults = Vec::new();
        let settings = merge(args, file, &mut faults);
        if faults.is_empty() {
            Ok(settings)
        } else {
            Err(SettingsError::Invalid(faults))
        }
    }

    /// True when nothing was configured and the embedded example is served.
    pub fn is_example(&self) -> bool {
        self.policy.is_none() && self.topology.is_none()
    }
}

fn read_file(path: &Path) -> Result<FileSettings, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let limits = Limits {
        max_bytes: 1 << 20,
        ..Limits::default()
    };
    let (mut source, mut faults) = Source::read(&path.display().to_string(), &text, &limits);
    let decoded = source.decode::<FileSettings>();
    faults.append(decoded.faults);
    match decoded.value {
        Some(settings) if !faults.has_errors() => Ok(settings),
        _ => Err(SettingsError::Faulty(faults)),
    }
}

fn merge(args: Args, file: FileSettings, faults: &mut Vec<String>) -> Settings {
    let or_file = |given: Vec<_>, file: Vec<_>| if given.is_empty() { file } else { given };
    let policy = args.policy.or(file.policy);
    let topology = args.topology.or(file.topology);
    if policy.is_some() != topology.is_some() {
        faults.push(
            "only one of policy and topology is given, both or neither are needed".to_owned(),
        );
    }
    let listen = or_file(args.listen, file.listen);
    let listen = if listen.is_empty() {
        vec![DEFAULT_LISTEN.to_owned()]
    } else {
        listen
    };
    let file_debug = file.debug.and_then(|text| parsed("debug", &text, faults));
    let state_dir = args.state_dir.or(file.state_dir).or_else(|| {
        let beside = policy.as_deref().and_then(Path::parent);
        beside.map(|dir| dir.join(".tradewind"))
    });
    let duration = |name: &str, text: Option<String>, faults: &mut Vec<String>| {
        let text = text?;
        let parsed = DurationMs::parse(&text);
        if parsed.is_none() {
            faults.push(format!(
                "{name} is `{text}`, must be a duration like 300ms or 1m30s"
            ));
        }
        parsed
    };
    let drain = duration("drain_deadline", args.drain_deadline, faults).or(file.drain_deadline);
    let poll = duration("poll", args.poll, faults).or(file.poll);
    let log_format = args
        .log_format
        .or(file.log_format)
        .unwrap_or_else(|| "text".to_owned());
    let default_workers = super::listen::worker::default_count();
    Settings {
        geo: or_file(
            args.geo
                .into_iter()
                .map(|p| p.display().to_string())
                .collect(),
            path_texts(file.geo),
        )
        .into_iter()
        .map(PathBuf::from)
        .collect(),
        listen: listen
            .iter()
            .filter_map(|text| endpoint(text, faults))
            .collect(),
        debug: args.debug.or(file_debug).unwrap_or(DEFAULT_DEBUG),
        workers: bounded(
            "workers",
            args.workers.or(file.workers),
            default_workers,
            1..=1_024,
            faults,
        ),
        max_connections: bounded(
            "max_connections",
            args.max_connections.or(file.max_connections),
            2_000,
            1..=100_000,
            faults,
        ),
        drain_deadline: bounded_ms("drain_deadline", drain, 5_000, 0..=600_000, faults),
        poll: bounded_ms("poll", poll, 10_000, 100..=3_600_000, faults),
        decisions_kept: bounded(
            "decisions_kept",
            args.decisions_kept.or(file.decisions_kept),
            1_024,
            0..=100_000,
            faults,
        ),
        log: args.log.or(file.log).unwrap_or_else(|| "info".to_owned()),
        log_format: match log_format.as_str() {
            "json" => LogFormat::Json,
            "text" => LogFormat::Text,
            other => {
                faults.push(format!("log_format is `{other}`, must be text or json"));
                LogFormat::Text
            }
        },
        policy,
        topology,
        state_dir,
    }
}

fn path_texts(paths: Vec<PathBuf>) -> Vec<String> {
    paths
        .into_iter()
        .map(|path| path.display().to_string())
        .collect()
}

fn parsed<T: std::str::FromStr>(name: &str, text: &str, faults: &mut Vec<String>) -> Option<T> {
    let value = text.parse().ok();
    if value.is_none() {
        faults.push(format!("{name} is `{text}`, must be ADDRESS:PORT"));
    }
    value
}

fn endpoint(text: &str, faults: &mut Vec<String>) -> Option<Endpoint> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Some(Endpoint::Unix(PathBuf::from(path)));
    }
    let address = text.parse().ok();
    if address.is_none() {
        faults.push(format!(
            "listen is `{text}`, must be ADDRESS:PORT or unix:PATH"
        ));
    }
    address.map(Endpoint::Tcp)
}

fn bounded(
    name: &str,
    value: Option<usize>,
    default: usize,
    allowed: std::ops::RangeInclusive<usize>,
    faults: &mut Vec<String>,
) -> usize {
    let value = value.unwrap_or(default);
    if !allowed.contains(&value) {
        faults.push(format!(
            "{name} is {value}, must be {} to {}",
            allowed.start(),
            allowed.end()
        ));
    }
    value
}

fn bounded_ms(
    name: &str,
    value: Option<DurationMs>,
    default_ms: u64,
    allowed_ms: std::ops::RangeInclusive<u64>,
    faults: &mut Vec<String>,
) -> DurationMs {
    let value = value.unwrap_or(DurationMs::from_ms(default_ms));
    if !allowed_ms.contains(&value.as_ms()) {
        let (least, most) = (
            DurationMs::from_ms(*allowed_ms.start()),
            DurationMs::from_ms(*allowed_ms.end()),
        );
        faults.push(format!("{name} is {value}, must be {least} to {most}"));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

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
            workers: Some(0),
            poll: Some("soon".into()),
            log_format: Some("xml".into()),
            ..Args::default()
        };
        let text = Settings::new(args).unwrap_err().to_string();
        for part in [
            "only one of policy and topology",
            "listen is `nowhere`",
            "workers is 0",
            "poll is `soon`",
            "xml",
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
            "workers: 3\nmax_connections: 10\npoll: 1s\ndebug: 127.0.0.1:9\n",
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
