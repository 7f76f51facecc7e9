//! Grants: which callers have which roles, as the operator says.

use std::fmt;
use std::str::FromStr;

use tradewind_engine::model::printable;

use super::caller::{Caller, MAX_NAME_BYTES};
use super::peer::{FORMS, Peer, Peers};
use super::role::{Role, Roles};

/// How many characters of what is wrong are repeated.
const MAX_SHOWN: usize = 80;

/// Whom something is granted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grantee {
    /// Everybody who reaches a door.
    Anyone,
    /// Processes of this host, by its loopback addresses.
    Loopback,
    /// Who comes from there.
    Peers(Peers),
    /// Who has proven a name: `spiffe://…`, `dns:…`, `token:…`. Of `spiffe://…/*` it is all names that begin so.
    Name(Box<str>),
}

/// Roles for somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Who has them.
    pub to: Grantee,
    /// The roles.
    pub roles: Roles,
}

/// Why a text is no grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoGrant {
    /// There is no `=`.
    #[error("`{0}` is no grant, must be WHO=ROLES like `loopback=ask,tell`")]
    Form(String),
    /// Nobody is called so.
    #[error(
        "`{0}` is nobody, must be `anyone`, `loopback`, {FORMS}, `spiffe://TRUST_DOMAIN/PATH` (or `/*` at its end), `dns:NAME` or \
         `token:NAME`"
    )]
    Grantee(String),
    /// A star that would be taken for itself.
    #[error(
        "`{0}` has a `*` that stands for nothing, must be one at most, for all of `spiffe://TRUST_DOMAIN/PATH/*`"
    )]
    Star(String),
    /// No such role.
    #[error(
        "`{word}` is no role in `{grant}`, must be `ask`, `tell`, `observe`, `operate`, `publish`, several with commas, `all` or `none`"
    )]
    Role {
        /// The word.
        word: String,
        /// Where it stands.
        grant: String,
    },
}

impl FromStr for Grant {
    type Err = NoGrant;

    fn from_str(text: &str) -> Result<Self, NoGrant> {
        let Some((who, roles)) = text.rsplit_once('=') else {
            return Err(NoGrant::Form(printable(text, MAX_SHOWN)));
        };
        let roles = Roles::read(roles).map_err(|word| NoGrant::Role {
            word: printable(word, MAX_SHOWN),
            grant: printable(text, MAX_SHOWN),
        })?;
        let to = Grantee::read(who.trim())?;
        Ok(Self { to, roles })
    }
}

impl Grantee {
    fn read(text: &str) -> Result<Self, NoGrant> {
        match text {
            "anyone" => return Ok(Self::Anyone),
            "loopback" => return Ok(Self::Loopback),
            _ => {}
        }
        let nobody = || NoGrant::Grantee(printable(text, MAX_SHOWN));
        let rest = ["spiffe://", "dns:", "token:"]
            .iter()
            .find_map(|kind| text.strip_prefix(kind));
        let Some(rest) = rest else {
            return text.parse().map(Self::Peers).map_err(|_| nobody());
        };
        if rest.is_empty() || rest == "*" || text.len() > MAX_NAME_BYTES {
            return Err(nobody());
        }
        let literal = match text.strip_suffix("/*") {
            Some(root) if root.starts_with("spiffe://") => root,
            _ => text,
        };
        if literal.contains('*') {
            return Err(NoGrant::Star(printable(text, MAX_SHOWN)));
        }
        Ok(Self::Name(text.into()))
    }

    /// Whether a caller is one of those.
    pub fn is(&self, caller: &Caller) -> bool {
        match (self, caller.peer) {
            (Self::Anyone, _) => true,
            (Self::Loopback, Peer::Ip(address)) => address.is_loopback(),
            (Self::Peers(peers), peer) => peers.has(peer),
            (Self::Name(name), _) => caller.names.iter().any(|own| covers(name, own)),
            _ => false,
        }
    }

    /// Whether it speaks of processes of this host by loopback.
    fn is_of_loopback(&self) -> bool {
        match self {
            Self::Loopback => true,
            Self::Peers(peers) => peers.are_of_loopback(),
            Self::Anyone | Self::Name(_) => false,
        }
    }

    /// Whether it speaks of processes of this host by a Unix socket.
    fn is_of_unix(&self) -> bool {
        matches!(self, Self::Peers(peers) if peers.are_of_unix())
    }

    /// Whether somebody beyond this host may be meant.
    pub fn is_beyond(&self) -> bool {
        !self.is_of_loopback() && !self.is_of_unix()
    }

    /// The name of the token that is meant, where one is.
    pub fn token(&self) -> Option<&str> {
        match self {
            Self::Name(name) => name.strip_prefix("token:"),
            Self::Anyone | Self::Loopback | Self::Peers(_) => None,
        }
    }

    /// Whether who is meant has proven something.
    pub fn is_proven(&self) -> bool {
        matches!(self, Self::Name(_) | Self::Peers(Peers::User(_)))
    }
}

/// Whether a name, or the beginning of names, is that of somebody.
fn covers(granted: &str, own: &str) -> bool {
    match granted.strip_suffix('*') {
        Some(root) if root.ends_with('/') => own.len() > root.len() && own.starts_with(root),
        _ => granted == own,
    }
}

impl fmt::Display for Grantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anyone => f.write_str("anyone"),
            Self::Loopback => f.write_str("loopback"),
            Self::Peers(peers) => write!(f, "{peers}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.to, self.roles)
    }
}

/// What is granted, with what goes without saying: processes of this host may do everything, by loopback and by Unix sockets,
/// unless some grant speaks of them.
pub fn with_defaults(given: Vec<Grant>) -> Vec<Grant> {
    let mut all = Vec::new();
    let all_to = |to| Grant {
        to,
        roles: Roles::ALL,
    };
    if !given.iter().any(|grant| grant.to.is_of_loopback()) {
        all.push(all_to(Grantee::Loopback));
    }
    if !given.iter().any(|grant| grant.to.is_of_unix()) {
        all.push(all_to(Grantee::Peers(Peers::Unix)));
    }
    all.extend(given);
    all
}

/// The roles of somebody, by all grants that speak of them.
pub fn roles_of(grants: &[Grant], caller: &Caller) -> Roles {
    let own = grants.iter().filter(|grant| grant.to.is(caller));
    own.fold(Roles::NONE, |roles, grant| roles.and(grant.roles))
}

/// Whether anybody beyond this host has a role.
pub fn reaches_beyond(grants: &[Grant], role: Role) -> bool {
    let mut beyond = grants.iter().filter(|grant| grant.to.is_beyond());
    beyond.any(|grant| grant.roles.contains(role))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(texts: &[&str]) -> Vec<Grant> {
        with_defaults(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn ip(text: &str) -> Caller {
        Caller::from(Peer::Ip(text.parse().unwrap()))
    }

    #[test]
    fn grants_are_read_as_they_are_written() {
        for text in [
            "anyone=ask",
            "loopback=ask,tell",
            "unix=none",
            "uid:33=ask,tell",
            "10.0.0.0/8=observe",
            "2001:db8::/32=ask",
            "spiffe://edge.example/ops=operate",
            "spiffe://edge.example/proxies/*=ask,tell",
            "dns:ci.example.net=publish",
            "token:prometheus=observe",
        ] {
            assert_eq!(text.parse::<Grant>().unwrap().to_string(), text);
        }
        assert_eq!(
            "::ffff:10.0.0.0/104=ask"
                .parse::<Grant>()
                .unwrap()
                .to_string(),
            "10.0.0.0/8=ask"
        );
        assert_eq!(
            "10.1.2.3/8=ask".parse::<Grant>().unwrap().to_string(),
            "10.0.0.0/8=ask"
        );
    }

    #[test]
    fn what_is_no_grant_is_told_why() {
        for (text, part) in [
            ("loopback", "must be WHO=ROLES"),
            ("everybody=ask", "`everybody` is nobody"),
            ("spiffe://=ask", "is nobody"),
            ("token:*=ask", "is nobody"),
            ("uid:root=ask", "is nobody"),
            ("unix=ask,admin", "`admin` is no role"),
            ("dns:a*=ask", "has a `*` that stands for nothing"),
            ("dns:*.edge.example=ask", "has a `*`"),
            ("token:ci/*=ask", "has a `*`"),
            ("spiffe://a/proxy*=ask", "has a `*`"),
            ("spiffe://*/ops=ask", "has a `*`"),
            ("spiffe://a/*/*=ask", "has a `*`"),
        ] {
            let error = text.parse::<Grant>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn this_host_may_do_everything_until_somebody_says_otherwise() {
        let here = ip("127.0.0.1");
        let user = Caller::from(Peer::Unix(Some(33)));
        assert_eq!(roles_of(&grants(&[]), &here), Roles::ALL);
        assert_eq!(roles_of(&grants(&[]), &user), Roles::ALL);
        assert_eq!(roles_of(&grants(&[]), &ip("10.0.0.7")), Roles::NONE);
        let fewer = grants(&["loopback=ask,tell", "uid:33=observe"]);
        assert_eq!(roles_of(&fewer, &here).to_string(), "ask,tell");
        assert_eq!(roles_of(&fewer, &user).to_string(), "observe");
        assert_eq!(
            roles_of(&fewer, &Caller::from(Peer::Unix(Some(34)))),
            Roles::NONE
        );
    }

    #[test]
    fn names_count_for_what_they_are_and_not_for_what_they_look_like() {
        let of = |granted: &str, own: &str| {
            let caller = ip("10.0.0.7").named([own.into()]);
            roles_of(&grants(&[&format!("{granted}=ask")]), &caller) != Roles::NONE
        };
        assert!(of("spiffe://a/ops", "spiffe://a/ops"));
        assert!(of("spiffe://a/*", "spiffe://a/ops/eu"));
        assert!(!of("spiffe://a/*", "spiffe://a/"));
        assert!(!of("spiffe://a/*", "spiffe://ab/ops"));
        assert!(!of("spiffe://a/ops", "spiffe://a/ops2"));
        assert!(!of("token:ci", "dns:ci"));
    }
}
