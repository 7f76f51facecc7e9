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
    /// Those that speak TLS on TCP.
    pub secure: Vec<Door>,
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
        let place = self.place(here, door);
        Some(format!("`{path}` is served at {place}, not at this door"))
    }

    /// What a peer is told that speaks another protocol than `here` does.
    pub fn other_protocol(&self, here: Door, path: &str) -> String {
        let tls = if self.secure.contains(&here) {
            "with TLS"
        } else {
            "without TLS"
        };
        let speaks = match here {
            Door::Grpc | Door::Admin => format!("this door speaks gRPC (HTTP/2 {tls})"),
            Door::Http | Door::Debug if self.secure.contains(&here) => {
                "this door speaks HTTP/1.1 with TLS".to_owned()
            }
            Door::Http | Door::Debug => "this door speaks HTTP/1.1".to_owned(),
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
                let (at, there) = (self.place(here, one), self.place(here, other));
                format!("{speaks}; {first}: {at}, {second}: {there}")
            },
            |elsewhere| format!("{speaks}; {elsewhere}"),
        )
    }

    /// Where a door is, as a client would write it, and the setting that says so. At a door that others than this host reach it
    /// is the setting alone: strangers need not learn where else to knock.
    fn place(&self, here: Door, door: Door) -> String {
        let flag = door.flag();
        if self.endpoints(here).iter().any(|it| !is_of_this_host(it)) {
            return format!("the door of {flag}");
        }
        let written = |endpoint: &Endpoint| match (door, endpoint) {
            (Door::Http | Door::Debug, Endpoint::Tcp(address)) => {
                let is_secure = self.secure.contains(&door);
                let scheme = if is_secure { "https" } else { "http" };
                format!("{scheme}://{address}")
            }
            _ => endpoint.to_string(),
        };
        let each: Vec<String> = self.endpoints(door).iter().map(written).collect();
        format!("{} ({flag})", each.join(" and "))
    }

    fn endpoints(&self, door: Door) -> &[Endpoint] {
        match door {
            Door::Grpc => &self.grpc,
            Door::Http => std::slice::from_ref(&self.http),
            Door::Debug => std::slice::from_ref(&self.debug),
            Door::Admin => std::slice::from_ref(&self.admin),
        }
    }
}

/// Whether only processes of this host reach it.
fn is_of_this_host(endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Tcp(address) => address.ip().to_canonical().is_loopback(),
        Endpoint::Unix(_) => true,
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
            secure: Vec::new(),
        }
    }

    #[test]
    fn strangers_were_told_where_all_other_doors_are() {
        let open = Doors {
            debug: Endpoint::Tcp(([0, 0, 0, 0], 7071).into()),
            secure: vec![Door::Debug],
            ..doors()
        };
        assert_eq!(
            open.other_protocol(Door::Debug, "/"),
            "this door speaks HTTP/1.1 with TLS; gRPC for proxies: the door of --listen, gRPC for operators: the door of --admin"
        );
        let elsewhere = open.elsewhere(Door::Debug, "/v1/route").unwrap();
        assert_eq!(
            elsewhere,
            "`/v1/route` is served at the door of --http, not at this door"
        );
        // Who is on this host may know.
        let elsewhere = open.elsewhere(Door::Http, "/metrics").unwrap();
        assert!(
            elsewhere.contains("https://0.0.0.0:7071 (--debug)"),
            "{elsewhere}"
        );
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
