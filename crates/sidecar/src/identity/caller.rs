//! Callers: where a call comes from, and the names that it has proven.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::Extensions;
use tradewind_engine::lifecycle::MAX_WORDS;
use tradewind_engine::model::{Digest, printable};

use super::peer::{HOST_BITS, Peer};

/// Longest name that is kept of a certificate or a token, in bytes; SPIFFE allows its ids 2,048.
pub const MAX_NAME_BYTES: usize = 2_048;

/// Longest name that is shown whole, in characters. Of a longer one its digest is shown besides, for two may begin alike.
const MAX_SHOWN: usize = 512;

/// What that digest takes, with the word before it.
const DIGEST_SHOWN: usize = 24;

/// Longest signature of a change, in characters: a caller, and a word of its own that has as many as words may.
pub const MAX_SIGNATURE: usize = MAX_SHOWN + SAYS.len() + MAX_WORDS;

/// What stands between what is proven and what is said.
const SAYS: &str = ", says ";

/// What proven names begin with, and users.
const PROOFS: [&str; 4] = ["spiffe://", "dns:", "token:", "uid:"];

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Caller {
    /// Where it comes from.
    pub peer: Peer,
    /// What it has proven to be, the most telling first: `spiffe://…`, `dns:…` by its certificate, `token:…` by what it knows.
    /// Empty for who has proven nothing.
    pub names: Arc<[Box<str>]>,
}

impl Caller {
    /// Somebody who has shown no name.
    pub fn from(peer: Peer) -> Self {
        Self {
            peer,
            names: Arc::default(),
        }
    }

    /// Who makes a call, as the gate tells its service; without a gate nothing is known of them.
    pub fn of(told: &Extensions) -> Self {
        let caller = told.get::<Self>().cloned();
        caller.unwrap_or_else(|| Self::from(Peer::Unix(None)))
    }

    /// The same, which has proven these names.
    #[must_use]
    pub fn named(self, names: impl IntoIterator<Item = Box<str>>) -> Self {
        Self {
            names: names.into_iter().collect(),
            ..self
        }
    }

    /// The same as one of all that count as one: a proven name wherever it comes from, otherwise a host or a user.
    #[must_use]
    pub fn whole(&self) -> Self {
        let peer = match self.name() {
            Some(_) => Peer::Unix(None),
            None => self.peer.host(),
        };
        Self {
            peer,
            // Others may differ from certificate to certificate of the same one.
            names: self.names.iter().take(1).cloned().collect(),
        }
    }

    /// The name it goes by; `None` for who has proven none.
    pub fn name(&self) -> Option<&str> {
        self.names.first().map(|name| &**name)
    }

    /// Who is recorded as having changed something: what it has proven to be, and the name it gives itself.
    ///
    /// Of this host's own loopback nothing is known but that it is one of all processes there, so its word is all there is.
    pub fn signature(&self, says: &str) -> String {
        let is_anybody = self.names.is_empty()
            && match self.peer {
                Peer::Ip(address) => address.is_loopback(),
                Peer::Unix(user) => user.is_none(),
            };
        // What looks like a proof is none where nothing is proven.
        let feigns = PROOFS.iter().any(|kind| says.starts_with(kind)) || says.contains(SAYS);
        match (is_anybody, says.is_empty()) {
            (true, _) if feigns => format!("{self}{SAYS}{says}"),
            (true, _) => says.to_owned(),
            (false, true) => self.to_string(),
            (false, false) => format!("{self}{SAYS}{says}"),
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name(), self.peer) {
            (Some(name), _) if name.chars().nth(MAX_SHOWN).is_none() => {
                f.write_str(&printable(name, MAX_SHOWN))
            }
            (Some(name), _) => {
                let digest = Digest::of(name.as_bytes());
                let begins = printable(name, MAX_SHOWN - DIGEST_SHOWN);
                write!(f, "{begins} sha256:{}", digest.short())
            }
            (None, Peer::Ip(IpAddr::V6(address))) if !address.is_loopback() => {
                write!(f, "{address}/{HOST_BITS}")
            }
            (None, Peer::Ip(address)) => write!(f, "{address}"),
            (None, Peer::Unix(Some(uid))) => write!(f, "uid:{uid}"),
            (None, Peer::Unix(None)) => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_signed_by_what_is_proven() {
        let loopback = Caller::from(Peer::Ip(IpAddr::from([127, 0, 0, 1])));
        assert_eq!(loopback.signature("alice"), "alice");
        let user = Caller::from(Peer::Unix(Some(33)));
        assert_eq!(user.signature(""), "uid:33");
        assert_eq!(user.signature("alice"), "uid:33, says alice");
        assert_eq!(
            loopback.signature("token:ci, says bob"),
            "127.0.0.1, says token:ci, says bob"
        );
        let long = format!("spiffe://a/{}", "x".repeat(300));
        let ops = loopback.clone().named([long.as_str().into()]);
        assert_eq!(ops.to_string(), long, "whole");
        let [one, other] = ["1", "2"].map(|last| {
            let name = format!("spiffe://a/{}{last}", "x".repeat(2_000));
            let signed = loopback
                .clone()
                .named([name.into()])
                .signature(&"y".repeat(256));
            assert!(signed.chars().count() <= MAX_SIGNATURE);
            signed
        });
        assert_ne!(one, other, "they differ where they are cut");
        let certified = loopback.named(["spiffe://a/ops".into(), "dns:a".into()]);
        assert_eq!(certified.signature("eve"), "spiffe://a/ops, says eve");
    }
}
