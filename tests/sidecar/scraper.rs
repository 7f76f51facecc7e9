//! A real Prometheus that scrapes a sidecar.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::http::Connection;
use crate::ports::free_port;
use crate::prometheus::read;
use crate::server::Files;

/// A Prometheus, killed when dropped.
pub(crate) struct Prometheus {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Prometheus {
    /// Starts one that scrapes `target` and evaluates the alerts, both four times a second.
    pub(crate) fn start(program: &Path, files: &Files, target: SocketAddr) -> Self {
        let rules = read("examples/prometheus/alerts.yaml");
        Self::start_with(program, files, target, &rules)
    }

    /// The same, with other rules.
    pub(crate) fn start_with(
        program: &Path,
        files: &Files,
        target: SocketAddr,
        rules: &str,
    ) -> Self {
        let place = files.root().join("prometheus");
        fs::create_dir(&place).unwrap();
        fs::write(place.join("alerts.yaml"), rules).unwrap();
        let config = read("examples/prometheus/prometheus.yaml")
            .replace("15s", "250ms")
            .replace("127.0.0.1:7071", &target.to_string());
        fs::write(place.join("prometheus.yaml"), config).unwrap();
        // It cannot be asked which port the system chose, so it is told one.
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let log = place.join("log");
        let child = Command::new(program)
            .arg(format!(
                "--config.file={}",
                place.join("prometheus.yaml").display()
            ))
            .arg(format!(
                "--storage.tsdb.path={}",
                place.join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self {
            child,
            address,
            log,
        }
    }

    /// The `data` of an answer of its API; `None` while it does not answer.
    pub(crate) fn data(&self, path: &str) -> Option<Value> {
        let reply = Connection::tcp(self.address).ok()?.get(path, &[]).ok()?;
        let mut answer: Value = serde_json::from_slice(&reply.body).ok()?;
        assert_ne!(answer["status"], "error", "{path}: {answer}");
        (answer["status"] == "success").then(|| answer["data"].take())
    }

    /// How many series a selector finds.
    pub(crate) fn found(&self, selector: &str) -> usize {
        let escaped = selector.bytes().fold(String::new(), |mut escaped, byte| {
            write!(escaped, "%{byte:02X}").unwrap();
            escaped
        });
        let data = self.data(&format!("/api/v1/query?query={escaped}"));
        data.map_or(0, |data| data["result"].as_array().unwrap().len())
    }

    /// Every alert's health and last error.
    pub(crate) fn health(&self) -> BTreeMap<String, (String, String)> {
        let data = self.data("/api/v1/rules").unwrap_or_default();
        let groups = data["groups"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        groups
            .iter()
            .flat_map(|group| group["rules"].as_array().unwrap())
            .map(|rule| {
                let health = (text(&rule["health"]), text(&rule["lastError"]));
                (text(&rule["name"]), health)
            })
            .collect()
    }
}

impl Prometheus {
    /// The alerts that fire, with their labels.
    pub(crate) fn firing(&self) -> Vec<Value> {
        let mut data = self.data("/api/v1/alerts").unwrap_or_default();
        let Value::Array(alerts) = data["alerts"].take() else {
            return Vec::new();
        };
        let fires = |alert: &Value| alert["state"] == "firing";
        alerts.into_iter().filter(fires).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}
