//! Where each door is, said to whoever knocks at the wrong one.
//!
//! The sidecar has four doors, each with an audience and a protocol of its own. A request that came to another door is
//! never served there, but the answer names the door that would serve it, and the setting that says where that one is.

use crate::listen::socket::Endpoint;
use tradewind_engine::model;

/// Longest path that is repeated in an answer, in characters.
const MAX_PATH_SHOWN: usize = 60;

/// Where every door is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doors {
    /// gRPC for proxies; not empty.
    pub grpc: Vec<Endpoint>,
    /// Plain HTTP for proxies.
    pub http: Endpoint,
    /// Pages and metrics.
    pub debug: Endpoint,
    /// gRPC for operators.
    pub admin: Endpoint,
}

/// One of the doors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// gRPC for proxies.
    Grpc,
    /// Plain HTTP for proxies.
    Http,
    /// Pages and metrics.
    Debug,
    /// gRPC for operators.
    Admin,
}

impl Door {
    /// The door that serves a path; `None` if that cannot be told, or several do.
    fn of(path: &str) -> Option<Self> {
        let path = path.split('?').next().unwrap_or_default();
        let under = |root: &str| {
            let rest = path.strip_prefix(root);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if path == "/v1/purge" {
            Some(Self::Debug)
        } else if under("/v1") {
            Some(Self::Http)
        } else if ["/livez", "/readyz", "/metrics", "/debug"]
            .into_iter()
            .any(under)
        {
            Some(Self::Debug)
        } else if [
            "/tradewind.v1.AdminService",
            "/tradewind.v1.PolicyService",
            "/tradewind.v1.PurgeService",
            "/tradewind.v1.RolloutService",
            "/tradewind.v1.TopologyService",
        ]
        .into_iter()
        .any(under)
        {
            Some(Self::Admin)
        } else if ["/tradewind.", "/envoy.", "/grpc.health."]
            .iter()
            .any(|root| path.starts_with(root))
        {
            Some(Self::Grpc)
        } else {
            None
        }
    }

    /// The setting that says where it is.
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Self::Grpc => "--listen",
            Self::Http => "--http",
            Self::Debug => "--debug",
            Self::Admin => "--admin",
        }
    }
}

impl Doors {
    /// Where a path that `here` does not serve is served; `None` if no other door has it.
    pub fn elsewhere(&self, here: Door, path: &str) -> Option<String> {
        let door = Door::of(path).filter(|door| *door != here)?;
        let path = model::printable(path, MAX_PATH_SHOWN);
        let (place, flag) = (self.place(door), door.flag());
        Some(format!(
            "`{path}` is served at {place} ({flag}), not at this door"
        ))
    }

    /// What a peer is told that speaks another protocol than `here` does.
    pub fn other_protocol(&self, here: Door, path: &str) -> String {
        let speaks = match here {
            Door::Grpc | Door::Admin => "this door speaks gRPC (HTTP/2 without TLS)",
            Door::Http | Door::Debug => "this door speaks HTTP/1.1",
        };
        let (one, other) = match here {
            Door::Grpc | Door::Admin => (Door::Http, Door::Debug),
            Door::Http | Door::Debug => (Door::Grpc, Door::Admin),
        };
        self.elsewhere(here, path).map_or_else(
            || {
                let (first, second) = match here {
                    Door::Grpc | Door::Admin => ("plain HTTP for proxies", "pages and metrics"),
                    Door::Http | Door::Debug => ("gRPC for proxies", "gRPC for operators"),
                };
                let (at, there) = (self.place(one), self.place(other));
                let (flag, other_flag) = (one.flag(), other.flag());
                format!("{speaks}; {first}: {at} ({flag}), {second}: {there} ({other_flag})")
            },
            |elsewhere| format!("{speaks}; {elsewhere}"),
        )
    }

    /// Where a door is, as a client would write it.
    fn place(&self, door: Door) -> String {
        match door {
            Door::Grpc => {
                let each: Vec<String> = self.grpc.iter().map(ToString::to_string).collect();
                each.join(" and ")
            }
            Door::Admin => self.admin.to_string(),
            Door::Http => http(&self.http),
            Door::Debug => http(&self.debug),
        }
    }
}

fn http(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Tcp(address) => format!("http://{address}"),
        Endpoint::Unix(_) => endpoint.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doors() -> Doors {
        let tcp = |port| Endpoint::Tcp(([127, 0, 0, 1], port).into());
        Doors {
            grpc: vec![tcp(7070), Endpoint::Unix("/run/tw.sock".into())],
            http: Endpoint::Unix("/run/http.sock".into()),
            debug: tcp(7071),
            admin: tcp(7072),
        }
    }

    #[test]
    fn each_path_has_its_door() {
        let grpc = "127.0.0.1:7070 and unix:/run/tw.sock (--listen)";
        for (here, path, place) in [
            (Door::Debug, "/v1/route?x=1", "unix:/run/http.sock (--http)"),
            (Door::Http, "/metrics", "http://127.0.0.1:7071 (--debug)"),
            (
                Door::Http,
                "/debug/nodes",
                "http://127.0.0.1:7071 (--debug)",
            ),
            (
                Door::Grpc,
                "/tradewind.v1.AdminService/ResetBreaker",
                "127.0.0.1:7072 (--admin)",
            ),
            (Door::Admin, "/tradewind.v1.DecisionService/Decide", grpc),
            (
                Door::Http,
                "/envoy.service.auth.v3.Authorization/Check",
                grpc,
            ),
        ] {
            let said = doors().elsewhere(here, path).unwrap();
            let words = format!("`{path}` is served at {place}, not at this door");
            assert_eq!(said, words);
        }
        for (here, path) in [
            (Door::Debug, "/metrics"),
            (Door::Debug, "/v10"),
            (Door::Http, "/metricsfoo"),
            (
                Door::Grpc,
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            ),
        ] {
            assert_eq!(doors().elsewhere(here, path), None, "{path}");
        }
    }

    #[test]
    fn another_protocol_is_told_where_it_is_spoken() {
        assert_eq!(
            doors().other_protocol(Door::Admin, "/"),
            "this door speaks gRPC (HTTP/2 without TLS); plain HTTP for proxies: unix:/run/http.sock (--http), \
             pages and metrics: http://127.0.0.1:7071 (--debug)"
        );
        assert_eq!(
            doors().other_protocol(Door::Debug, "/tradewind.v1.TopologyService/Get"),
            "this door speaks HTTP/1.1; `/tradewind.v1.TopologyService/Get` is served at 127.0.0.1:7072 (--admin), \
             not at this door"
        );
    }
}
