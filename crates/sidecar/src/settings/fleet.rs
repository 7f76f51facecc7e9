//! The fleet that a sidecar is a member of, and the bus that carries what its members tell each other.

use std::path::PathBuf;

use super::checks::Faults;
use crate::fleet::Membership;
use crate::host;

/// Longest name of a fleet or a member, in bytes: they are parts of subjects.
const MAX_NAME: usize = 64;

/// As it was given.
pub(super) struct Given {
    pub(super) bus: Vec<String>,
    pub(super) fleet: Option<String>,
    pub(super) member: Option<String>,
    pub(super) credentials: Option<PathBuf>,
    pub(super) ca: Option<PathBuf>,
    pub(super) replicas: Option<u8>,
}

impl Given {
    pub(super) fn settle(self, faults: &mut Faults) -> Option<Membership> {
        if self.bus.is_empty() {
            let given = [
                ("fleet", self.fleet.is_some()),
                ("member", self.member.is_some()),
                ("bus_credentials", self.credentials.is_some()),
                ("bus_ca", self.ca.is_some()),
                ("bus_replicas", self.replicas.is_some()),
            ];
            for (name, _) in given.iter().filter(|(_, is_given)| *is_given) {
                faults.add(format!("{name} is given without a bus, must be beside one"));
            }
            return None;
        }
        for server in &self.bus {
            if server.contains('@') {
                // What stands before it is not for a log.
                faults.add(
                    "bus has a name or password in it, must be without: bus_credentials has them"
                        .to_owned(),
                );
            } else if !is_server(server) {
                faults.add(format!(
                    "bus is `{server}`, must be nats://HOST:PORT or tls://HOST:PORT"
                ));
            }
        }
        let fleet = self.fleet.unwrap_or_else(|| "default".to_owned());
        let is_lower = |it: char| !it.is_ascii_uppercase();
        if !is_name(&fleet) || !fleet.chars().all(is_lower) {
            faults.add(format!(
                "fleet is `{fleet}`, must be 1 to {MAX_NAME} lower case letters, digits, `-` and `_`"
            ));
        }
        let member = self.member.unwrap_or_else(host_name);
        if !is_name(&member) {
            faults.add(format!(
                "member is `{member}`, must be 1 to {MAX_NAME} letters, digits, `-` and `_`"
            ));
        }
        let replicas = self.replicas.unwrap_or(1);
        faults.check("bus_replicas", &replicas, &(1..=5));
        Some(Membership {
            servers: self.bus,
            fleet,
            member,
            credentials: self.credentials,
            ca: self.ca,
            replicas,
        })
    }
}

fn is_server(text: &str) -> bool {
    let rest = ["nats://", "tls://"]
        .iter()
        .find_map(|it| text.strip_prefix(it));
    rest.is_some_and(|rest| {
        let port = rest
            .rsplit_once(':')
            .map(|(host, port)| (!host.is_empty(), port));
        port.is_some_and(|(has_host, port)| has_host && port.parse::<u16>().is_ok())
    })
}

fn is_name(text: &str) -> bool {
    let is_fit = |it: char| it.is_ascii_alphanumeric() || it == '-' || it == '_';
    (1..=MAX_NAME).contains(&text.len()) && text.chars().all(is_fit)
}

/// The host's name, as far as it fits.
fn host_name() -> String {
    let fit = |it: char| {
        if it.is_ascii_alphanumeric() { it } else { '-' }
    };
    host::name().chars().map(fit).take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(bus: &[&str]) -> Given {
        Given {
            bus: bus.iter().map(|it| (*it).to_owned()).collect(),
            fleet: None,
            member: None,
            credentials: None,
            ca: None,
            replicas: None,
        }
    }

    #[test]
    fn without_a_bus_a_sidecar_is_alone_and_nothing_else_may_be_said_of_a_fleet() {
        let mut faults = Faults::default();
        assert_eq!(given(&[]).settle(&mut faults), None);
        assert_eq!(faults.0, Vec::<String>::new());
        let wrong = Given {
            member: Some("a".to_owned()),
            ca: Some("ca.pem".into()),
            replicas: Some(3),
            ..given(&[])
        };
        wrong.settle(&mut faults);
        assert_eq!(faults.0.len(), 3, "{:?}", faults.0);
    }

    #[test]
    fn names_and_servers_that_cannot_be_are_all_told_at_once() {
        let mut faults = Faults::default();
        let wrong = Given {
            fleet: Some("Edge".to_owned()),
            member: Some("a.b".to_owned()),
            replicas: Some(7),
            ..given(&[
                "nats://h:4222",
                "h:4222",
                "nats://:1",
                "tls://h",
                "nats://me:secret@h:1",
            ])
        };
        wrong.settle(&mut faults);
        assert_eq!(faults.0.len(), 7, "{:?}", faults.0);
        assert!(!faults.0.concat().contains("secret"), "{:?}", faults.0);
    }
}
