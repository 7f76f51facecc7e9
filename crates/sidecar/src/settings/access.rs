//! Who may do what, and what they are known by, checked as a whole: a door that nobody could use, or anybody, is a fault.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Faults, Settings};
use crate::identity::{Grant, Grantee, Role, grant};
use crate::listen::socket::Endpoint;
use crate::listen::tls::KeyFiles;
use crate::state::doors::Door;

/// A door, as settings name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DoorName {
    /// gRPC for proxies (--listen).
    Grpc,
    /// Plain HTTP for proxies (--http).
    Http,
    /// Pages and metrics (--debug).
    Debug,
    /// gRPC for operators (--admin).
    Admin,
}

impl From<DoorName> for Door {
    fn from(name: DoorName) -> Self {
        match name {
            DoorName::Grpc => Self::Grpc,
            DoorName::Http => Self::Http,
            DoorName::Debug => Self::Debug,
            DoorName::Admin => Self::Admin,
        }
    }
}

/// TLS at doors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// What is shown, and who is believed.
    pub files: KeyFiles,
    /// The doors that speak it; not empty.
    pub doors: Vec<Door>,
}

/// What is given of all this.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) clients: Option<PathBuf>,
    pub(super) doors: Vec<DoorName>,
    pub(super) tokens: Option<PathBuf>,
    pub(super) allow: Vec<String>,
}

/// Where each door listens.
#[derive(Debug)]
pub(super) struct Listening<'a> {
    pub(super) grpc: &'a [Endpoint],
    pub(super) http: &'a Endpoint,
    pub(super) debug: SocketAddr,
    pub(super) admin: &'a Endpoint,
}

impl Listening<'_> {
    /// The TCP addresses of a door.
    fn addresses(&self, door: Door) -> Vec<SocketAddr> {
        let tcp = |endpoint: &Endpoint| match endpoint {
            Endpoint::Tcp(address) => Some(*address),
            Endpoint::Unix(_) => None,
        };
        match door {
            Door::Grpc => self.grpc.iter().filter_map(tcp).collect(),
            Door::Http => tcp(self.http).into_iter().collect(),
            Door::Debug => vec![self.debug],
            Door::Admin => tcp(self.admin).into_iter().collect(),
        }
    }

    /// An address of a door that others than this host's processes reach.
    fn beyond(&self, door: Door) -> Option<SocketAddr> {
        let is_beyond = |address: &SocketAddr| {
            let ip: IpAddr = address.ip().to_canonical();
            !ip.is_loopback()
        };
        self.addresses(door).into_iter().find(is_beyond)
    }
}

impl Settings {
    /// The doors that others than this host's processes reach without TLS, with an address of each.
    pub fn doors_in_the_clear(&self) -> impl Iterator<Item = (Door, SocketAddr)> {
        let listening = Listening {
            grpc: &self.listen,
            http: &self.http,
            debug: self.debug,
            admin: &self.admin,
        };
        let is_secure = |door| {
            self.tls
                .as_ref()
                .is_some_and(|tls| tls.doors.contains(&door))
        };
        DOORS
            .into_iter()
            .filter(move |door| !is_secure(*door))
            .filter_map(move |door| Some((door, listening.beyond(door)?)))
    }
}

const DOORS: [Door; 4] = [Door::Grpc, Door::Http, Door::Debug, Door::Admin];

/// Reads what is granted, and whether it fits the doors.
pub(super) fn grants(given: &Given, listening: &Listening<'_>, faults: &mut Faults) -> Vec<Grant> {
    let read = given
        .allow
        .iter()
        .filter_map(|text| match text.parse::<Grant>() {
            Ok(grant) => Some(grant),
            Err(error) => {
                faults.add(format!("allow: {error}"));
                None
            }
        });
    let read: Vec<Grant> = read.collect();
    for grant in &read {
        let Grantee::Name(name) = &grant.to else {
            continue;
        };
        let is_token = name.starts_with("token:");
        if is_token && given.tokens.is_none() {
            faults.add(format!(
                "allow: `{grant}` is of a token, and no file of tokens is given (--tokens)"
            ));
        }
        if !is_token && given.clients.is_none() {
            faults.add(format!(
                "allow: `{grant}` is of a certificate, and nobody is said whose certificates are believed (--tls-clients)"
            ));
        }
    }
    // What cannot be read may be what opens a door.
    if read.len() == given.allow.len() {
        for door in DOORS {
            check_use(door, listening, &read, faults);
        }
    }
    read
}

/// Refuses a door on the network that nobody there could use: it is there by mistake, or what it needs has been forgotten.
fn check_use(door: Door, listening: &Listening<'_>, read: &[Grant], faults: &mut Faults) {
    let (setting, roles, example): (_, &[Role], _) = match door {
        Door::Grpc => (
            "listen",
            &[Role::Ask, Role::Tell],
            "--allow 10.0.0.0/8=ask,tell",
        ),
        Door::Http => (
            "http",
            &[Role::Ask, Role::Tell],
            "--allow 10.0.0.0/8=ask,tell",
        ),
        Door::Admin => (
            "admin",
            &[Role::Observe, Role::Operate, Role::Publish],
            "--allow spiffe://TRUST_DOMAIN/ops=observe,operate with --tls-clients, --allow token:NAME=operate with --tokens, or on \
             purpose --allow anyone=operate,publish",
        ),
        // Whether the process lives and is ready is told to everybody.
        Door::Debug => return,
    };
    let Some(address) = listening.beyond(door) else {
        return;
    };
    if !roles.iter().any(|role| grant::reaches_beyond(read, *role)) {
        let words: Vec<String> = roles.iter().map(|role| format!("`{role}`")).collect();
        let words = words.join(" or ");
        faults.add(format!(
            "{setting} is {address}, which others than this host reach, and none of them has the role {words}: {example}"
        ));
    }
}

/// TLS as given, and whether it fits the doors.
pub(super) fn tls(given: &Given, listening: &Listening<'_>, faults: &mut Faults) -> Option<Tls> {
    let (certificate, key) = match (&given.certificate, &given.key) {
        (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
        (None, None) => {
            if given.clients.is_some() || !given.doors.is_empty() {
                faults.add(
                    "tls_clients or tls_doors is given without tls_cert and tls_key".to_owned(),
                );
            }
            return None;
        }
        _ => {
            faults.add(
                "only one of tls_cert and tls_key is given, both or neither are needed".to_owned(),
            );
            return None;
        }
    };
    let named: Vec<Door> = given.doors.iter().copied().map(Door::from).collect();
    for (door, name) in named.iter().zip(&given.doors) {
        if listening.addresses(*door).is_empty() {
            faults.add(format!(
                "tls_doors has `{}`, which does not listen on TCP",
                words(*name)
            ));
        }
    }
    let doors: Vec<Door> = if named.is_empty() {
        DOORS
            .into_iter()
            .filter(|door| listening.beyond(*door).is_some())
            .collect()
    } else {
        named
    };
    if doors.is_empty() {
        faults.add(
            "tls_cert is given, and no door listens beyond loopback: name the doors that shall speak TLS all the same (--tls-doors)"
                .to_owned(),
        );
    }
    Some(Tls {
        files: KeyFiles {
            certificate,
            key,
            clients: given.clients.clone(),
        },
        doors,
    })
}

fn words(name: DoorName) -> String {
    name.to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given() -> Given {
        Given {
            certificate: None,
            key: None,
            clients: None,
            doors: Vec::new(),
            tokens: None,
            allow: Vec::new(),
        }
    }

    fn tcp(text: &str) -> Endpoint {
        Endpoint::Tcp(text.parse().unwrap())
    }

    fn faults_of(given: &Given, [grpc, http, debug, admin]: [&str; 4]) -> (Option<Tls>, String) {
        let (grpc, http, admin) = ([tcp(grpc)], tcp(http), tcp(admin));
        let listening = Listening {
            grpc: &grpc,
            http: &http,
            debug: debug.parse().unwrap(),
            admin: &admin,
        };
        let mut faults = Faults::default();
        grants(given, &listening, &mut faults);
        let tls = tls(given, &listening, &mut faults);
        (tls, faults.0.join("\n"))
    }

    const HERE: [&str; 4] = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4"];

    #[test]
    fn a_door_on_the_network_that_nobody_may_use_is_refused_with_the_way_to_open_it() {
        let (_, nothing) = faults_of(&given(), HERE);
        assert_eq!(nothing, "");
        let (_, all) = faults_of(&given(), ["0.0.0.0:1", "[::]:2", "0.0.0.0:3", "10.0.0.7:4"]);
        for part in [
            "listen is 0.0.0.0:1, which others than this host reach, and none of them has the role `ask` or `tell`: --allow",
            "http is [::]:2",
            "admin is 10.0.0.7:4",
            "on purpose --allow anyone=operate,publish",
        ] {
            assert!(all.contains(part), "{part} in {all}");
        }
        assert!(!all.contains("debug"), "{all}");
        let opened = Given {
            allow: vec!["anyone=ask,operate".to_owned()],
            ..given()
        };
        let (_, faults) = faults_of(
            &opened,
            ["0.0.0.0:1", "127.0.0.1:2", "0.0.0.0:3", "0.0.0.0:4"],
        );
        assert_eq!(faults, "");
    }

    #[test]
    fn names_need_what_they_are_proven_by() {
        let given = Given {
            allow: vec![
                "token:ci=publish".to_owned(),
                "dns:a=ask".to_owned(),
                "x=ask".to_owned(),
            ],
            ..given()
        };
        let (_, faults) = faults_of(&given, HERE);
        for part in ["(--tokens)", "(--tls-clients)", "`x` is nobody"] {
            assert!(faults.contains(part), "{part} in {faults}");
        }
    }

    #[test]
    fn tls_is_where_the_network_is_unless_doors_are_named() {
        let keys = |doors| Given {
            certificate: Some("c.pem".into()),
            key: Some("k.pem".into()),
            doors,
            ..given()
        };
        let (tls, faults) = faults_of(
            &keys(Vec::new()),
            ["127.0.0.1:1", "127.0.0.1:2", "0.0.0.0:3", "127.0.0.1:4"],
        );
        assert_eq!(
            (tls.unwrap().doors, faults.as_str()),
            (vec![Door::Debug], "")
        );
        let (tls, faults) = faults_of(&keys(vec![DoorName::Admin]), HERE);
        assert_eq!(
            (tls.unwrap().doors, faults.as_str()),
            (vec![Door::Admin], "")
        );
        let (_, faults) = faults_of(&keys(Vec::new()), HERE);
        assert!(
            faults.contains("no door listens beyond loopback"),
            "{faults}"
        );
        let half = Given {
            key: None,
            ..keys(Vec::new())
        };
        assert!(
            faults_of(&half, HERE)
                .1
                .contains("only one of tls_cert and tls_key")
        );
        let none = Given {
            clients: Some("ca.pem".into()),
            ..given()
        };
        assert!(faults_of(&none, HERE).1.contains("without tls_cert"));
    }
}
