//! Access: whether a call may be answered.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::caller::Caller;
use super::grant::{self, Grant};
use super::proof::Proof;
use super::role::{Role, Roles};
use super::tokens::Tokens;

/// Who may do what, for as long as the process lives; the tokens and what is granted may change.
#[derive(Debug)]
pub struct Access {
    grants: ArcSwap<Vec<Grant>>,
    /// Counts how often others were granted something.
    edition: AtomicU64,
    tokens: ArcSwap<Tokens>,
    /// Told whenever what was admitted must be looked at again.
    turned: watch::Sender<()>,
}

/// Why a call is not answered, or goes on no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// The role that the call needs.
    pub role: Role,
    /// Who calls.
    pub caller: Caller,
    /// What is the matter.
    pub why: Why,
}

/// What is the matter with a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It does not have the role.
    NoRole,
    /// It shows a token that nobody knows, or knows no longer.
    UnknownToken,
    /// The certificate that its connection began with counts no more.
    Ended,
}

impl Denied {
    /// Whether others may be answered who show something else: a status of its own in every protocol.
    pub fn is_unproven(&self) -> bool {
        matches!(self.why, Why::UnknownToken | Why::Ended)
    }

    /// What is said to the caller: plain ASCII, no `%`.
    pub fn words(&self) -> String {
        let words = match self.why {
            Why::UnknownToken => format!(
                "this token is not known here, and the call needs the role `{}`",
                self.role
            ),
            Why::NoRole => format!(
                "{} may not do this, it needs the role `{}`; the operator grants it (--allow)",
                self.caller, self.role
            ),
            Why::Ended => format!(
                "the certificate of {} counts no more, connect anew with one that does",
                self.caller
            ),
        };
        let is_plain = |c: char| (c.is_ascii_graphic() || c == ' ') && c != '%';
        words
            .chars()
            .map(|c| if is_plain(c) { c } else { '?' })
            .collect()
    }
}

impl Access {
    /// What is granted, defaults included.
    pub fn new(grants: Vec<Grant>, tokens: Tokens) -> Arc<Self> {
        Arc::new(Self {
            grants: ArcSwap::from_pointee(grants),
            edition: AtomicU64::new(0),
            tokens: ArcSwap::from_pointee(tokens),
            turned: watch::Sender::new(()),
        })
    }

    /// Everybody may do everything, as far as doors go that ask nobody.
    pub fn open() -> Arc<Self> {
        let anyone = Grant {
            to: grant::Grantee::Anyone,
            roles: Roles::ALL,
        };
        Self::new(vec![anyone], Tokens::default())
    }

    /// Puts other tokens in force. Streams whose callers may not go on with those are ended.
    pub fn set_tokens(&self, tokens: Tokens) {
        self.tokens.store(Arc::new(tokens));
        self.turn();
    }

    /// Grants something else. Streams whose callers may not go on by that are ended.
    pub fn set_grants(&self, grants: Vec<Grant>) {
        self.grants.store(Arc::new(grants));
        // Behind them: whoever sees this number sees those.
        self.edition.fetch_add(1, Ordering::Release);
        self.turn();
    }

    /// What is granted.
    pub fn grants(&self) -> Arc<Vec<Grant>> {
        self.grants.load_full()
    }

    /// Has everything looked at again that has been admitted and goes on.
    pub fn turn(&self) {
        self.turned.send_replace(());
    }

    /// Tells of each time at which that is due.
    pub fn turns(&self) -> watch::Receiver<()> {
        self.turned.subscribe()
    }

    /// The tokens in force.
    pub fn tokens(&self) -> Arc<Tokens> {
        self.tokens.load_full()
    }

    /// The tokens to which something is granted and that nobody knows, by their names: a grant that is of nobody.
    pub fn missing_tokens(&self) -> Vec<String> {
        let tokens = self.tokens.load();
        let grants = self.grants.load();
        let granted = grants.iter().filter_map(|grant| grant.to.token());
        let missing = granted.filter(|name| !tokens.has(name));
        let missing: BTreeSet<&str> = missing.collect();
        missing.into_iter().map(str::to_owned).collect()
    }

    /// The roles of somebody.
    pub fn roles_of(&self, caller: &Caller) -> Roles {
        grant::roles_of(&self.grants.load(), caller)
    }

    /// The pass of somebody who has just come.
    pub fn pass(self: &Arc<Self>, caller: Caller) -> Pass {
        let edition = self.edition.load(Ordering::Acquire);
        Pass {
            roles: self.roles_of(&caller),
            edition,
            access: Arc::clone(self),
            caller,
            proof: None,
        }
    }
}

/// What a connection may do. Looked at by each of its calls, so what is granted to it is worked out once.
#[derive(Debug, Clone)]
pub struct Pass {
    caller: Caller,
    /// As of the edition below.
    roles: Roles,
    edition: u64,
    access: Arc<Access>,
    /// What its names stand on, where they may end before the connection does.
    proof: Option<Proof>,
}

impl Pass {
    /// The same, of no use any more as soon as `proof` ends.
    #[must_use]
    pub fn standing_on(self, proof: Proof) -> Self {
        Self {
            proof: Some(proof),
            ..self
        }
    }

    /// What it stands on.
    pub(super) fn proof(&self) -> Option<&Proof> {
        self.proof.as_ref()
    }

    /// Tells of each time at which what goes on must be looked at again.
    pub(super) fn turns(&self) -> watch::Receiver<()> {
        self.access.turns()
    }

    fn counts(&self) -> bool {
        self.proof.as_ref().is_none_or(Proof::counts)
    }

    /// Who is at the other end.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The roles that it has without showing a token.
    fn roles(&self) -> Roles {
        if self.access.edition.load(Ordering::Acquire) == self.edition {
            self.roles
        } else {
            self.access.roles_of(&self.caller)
        }
    }

    /// Whether it has a role without showing a token.
    pub fn has(&self, role: Role) -> bool {
        self.roles().contains(role) && self.counts()
    }

    /// Who calls, if they have `role`: by the connection, or by the token in the call's `authorization`.
    pub fn admit(&self, role: Role, authorization: Option<&[u8]>) -> Result<Caller, Denied> {
        let denied = |caller: &Caller, why| Denied {
            role,
            caller: caller.clone(),
            why,
        };
        if !self.counts() {
            return Err(denied(&self.caller, Why::Ended));
        }
        let shown = authorization.and_then(bearer);
        let known = shown.and_then(|token| {
            let tokens = self.access.tokens.load();
            let name = tokens.name(token)?;
            Some(self.caller.clone().named([format!("token:{name}").into()]))
        });
        if let Some(caller) = known {
            let roles = self.roles().and(self.access.roles_of(&caller));
            if roles.contains(role) {
                return Ok(caller);
            }
            return Err(denied(&caller, Why::NoRole));
        }
        if self.roles().contains(role) {
            return Ok(self.caller.clone());
        }
        let why = match shown {
            Some(_unknown) => Why::UnknownToken,
            None => Why::NoRole,
        };
        Err(denied(&self.caller, why))
    }
}

/// The token of `Bearer TOKEN`; the scheme's case is nobody's business (RFC 9110, section 11.1).
fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked(b"bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::super::peer::Peer;
    use super::*;

    const SECRET: &str = "Zm9yLXRlc3RzLW9ubHktMDEyMw";

    #[test]
    fn a_token_gives_what_is_granted_to_its_name_and_no_more() {
        let grants = ["token:ci=publish", "10.0.0.0/8=ask"].map(|text| text.parse().unwrap());
        let tokens = Tokens::read(&format!("ci {SECRET}")).unwrap();
        let access = Access::new(grant::with_defaults(grants.to_vec()), tokens);
        let pass = access.pass(Caller::from(Peer::Ip("10.0.0.7".parse().unwrap())));
        let shown = format!("bearer {SECRET}");
        let admitted = pass.admit(Role::Publish, Some(shown.as_bytes())).unwrap();
        assert_eq!(admitted.to_string(), "token:ci");
        assert!(pass.admit(Role::Operate, Some(shown.as_bytes())).is_err());
        assert_eq!(pass.admit(Role::Ask, None).unwrap().to_string(), "10.0.0.7");
        let denied = pass.admit(Role::Publish, None).unwrap_err();
        assert_eq!(
            denied.words(),
            "10.0.0.7 may not do this, it needs the role `publish`; the operator grants it (--allow)"
        );
        let wrong = pass
            .admit(Role::Publish, Some(b"Bearer wrong"))
            .unwrap_err();
        assert!(wrong.why == Why::UnknownToken && !wrong.words().contains("wrong"));
        access.set_tokens(Tokens::default());
        assert!(
            pass.admit(Role::Publish, Some(shown.as_bytes())).is_err(),
            "taken away"
        );
    }

    #[test]
    fn who_was_granted_too_much_kept_it_until_a_restart() {
        let grants = |text: &str| vec![text.parse::<Grant>().unwrap()];
        let access = Access::new(grants("10.0.0.0/8=ask,operate"), Tokens::default());
        let pass = access.pass(Caller::from(Peer::Ip("10.0.0.7".parse().unwrap())));
        assert!(pass.has(Role::Operate) && !pass.has(Role::Tell));
        access.set_grants(grants("10.0.0.0/8=ask,tell"));
        assert!(!pass.has(Role::Operate) && pass.has(Role::Tell));
        assert_eq!(
            pass.admit(Role::Operate, None).unwrap_err().why,
            Why::NoRole
        );
    }
}
