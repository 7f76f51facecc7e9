//! The proxies' programs: found, installed, or the test is skipped.

use std::path::PathBuf;
use std::process::Command;

use crate::programs;
pub(crate) use crate::programs::note;

/// A program of others that tests need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    Nginx,
    /// nginx, and its module for Lua beside it.
    NginxLua,
    Haproxy,
    /// Envoy 1.40. It ends when the process that started it ends, so it must be a child of the test.
    Envoy,
    Varnish,
    TrafficServer,
    Squid,
    Nats,
}

impl Tool {
    /// The word that `prepare` takes.
    const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::NginxLua => "nginx-lua",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
            Self::Varnish => "varnish",
            Self::TrafficServer => "trafficserver",
            Self::Squid => "squid",
            Self::Nats => "nats",
        }
    }

    /// Where it is, or `None` after the line that says why the test called `test` is skipped.
    ///
    /// # Panics
    ///
    /// Instead of skipping, where `TRADEWIND_NO_SKIP` is set to 1.
    #[track_caller]
    pub(crate) fn path(self, test: &str) -> Option<PathBuf> {
        programs::path(self.name(), test)
    }
}

#[test]
fn programs_are_those_that_were_asked_for() {
    for (tool, option, says) in [
        (Tool::Nginx, "-v", "nginx/"),
        (Tool::NginxLua, "-v", "nginx/"),
        (Tool::Haproxy, "-v", "HAProxy version "),
        (Tool::Envoy, "--version", "/1.40.0/"),
        (Tool::Varnish, "-V", "varnishd (varnish-"),
        (Tool::TrafficServer, "--version", "Traffic Server "),
        (Tool::Squid, "-v", "Squid Cache: Version "),
        (Tool::Nats, "-v", "nats-server: v"),
    ] {
        let Some(path) = tool.path(&format!("the version of {}", tool.name())) else {
            continue;
        };
        let ran = Command::new(path).arg(option).output().unwrap();
        let said = [ran.stdout, ran.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(ran.status.success() && said.contains(says), "{said}");
    }
}
