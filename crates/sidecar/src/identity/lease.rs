//! Leases: what holds for longer than a call, and ends when what it stands on does.
//!
//! A short call is looked at as it begins. A stream may live for weeks, in which its token is taken away or its certificate
//! ends; so it holds a [`Lease`], which is over as soon as a call that began now would be denied.

use super::access::{Denied, Pass};
use super::role::Role;

/// The right to go on with a call that lives as long as its stream.
#[derive(Debug)]
pub struct Lease {
    pass: Pass,
    role: Role,
    /// What was shown with the call.
    authorization: Option<Box<[u8]>>,
}

impl Lease {
    /// Of a call that needs `role`, with what its head has as `authorization`.
    pub fn new(pass: Pass, role: Role, authorization: Option<&[u8]>) -> Self {
        Self {
            pass,
            role,
            authorization: authorization.map(Into::into),
        }
    }

    /// Completes when the call may go on no longer, with why.
    pub async fn lost(self) -> Denied {
        let mut turns = self.pass.turns();
        loop {
            turns.borrow_and_update();
            if let Err(denied) = self.pass.admit(self.role, self.authorization.as_deref()) {
                return denied;
            }
            let ended = async {
                match self.pass.proof() {
                    Some(proof) => proof.ended().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // An error is the end of whoever grants, which the pass keeps alive.
                _ = turns.changed() => {}
                () = ended => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::access::{Access, Why};
    use super::super::caller::Caller;
    use super::super::peer::Peer;
    use super::super::proof::Proof;
    use super::super::tokens::Tokens;
    use super::*;

    const SECRET: &str = "Zm9yLXRlc3RzLW9ubHktMDEyMw";

    fn access() -> Arc<Access> {
        let grants = ["token:ci=ask", "spiffe://a/ops=ask"].map(|text| text.parse().unwrap());
        let tokens = Tokens::read(&format!("ci {SECRET}\n")).unwrap();
        Access::new(grants.to_vec(), tokens)
    }

    fn caller() -> Caller {
        Caller::from(Peer::Ip("10.0.0.7".parse().unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_is_taken_away_ends_what_it_began() {
        let access = access();
        let shown = format!("Bearer {SECRET}");
        let lease = Lease::new(access.pass(caller()), Role::Ask, Some(shown.as_bytes()));
        let mut lost = std::pin::pin!(lease.lost());
        let moment = Duration::from_secs(1);
        assert!(tokio::time::timeout(moment, &mut lost).await.is_err());
        let both = format!("ci {SECRET}\nother {SECRET}2\n");
        access.set_tokens(Tokens::read(&both).unwrap());
        let goes_on = tokio::time::timeout(moment, &mut lost).await.is_err();
        assert!(goes_on, "another token is not this one's business");
        access.set_tokens(Tokens::default());
        assert_eq!(lost.await.why, Why::UnknownToken);
    }

    #[tokio::test(start_paused = true)]
    async fn a_certificate_that_counts_no_more_ends_what_it_began() {
        let access = access();
        let proof = Proof::default();
        let named = caller().named(["spiffe://a/ops".into()]);
        let pass = access.pass(named).standing_on(proof.clone());
        let mut lost = std::pin::pin!(Lease::new(pass.clone(), Role::Ask, None).lost());
        let moment = Duration::from_secs(1);
        assert!(tokio::time::timeout(moment, &mut lost).await.is_err());
        assert!(pass.has(Role::Ask));
        proof.end();
        assert_eq!(lost.await.why, Why::Ended);
        assert!(!pass.has(Role::Ask), "nor does a new call begin");
    }
}
