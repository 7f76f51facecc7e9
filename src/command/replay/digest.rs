//! A few bytes that stand for all answers of a replay, to tell whether two replays agree.

use sha2::{Digest as _, Sha256};

use crate::sidecar::wire::proto;

/// What decides: verdict, nodes in order, rule and reason; never ids, times or generations.
#[derive(Debug, Clone, Default)]
pub(super) struct Digest {
    /// The sum of the answers' hashes: the same in any order, and each answer counts as often as it comes.
    sum: u128,
    chain: Sha256,
}

impl Digest {
    /// Adds an answer.
    pub(super) fn add(&mut self, answer: &proto::DecideResponse) {
        let mut hash = Sha256::new();
        hash.update(answer.verdict.to_le_bytes());
        let nodes = answer.candidates.iter().map(|c| c.node.as_str());
        for text in [answer.rule.as_str(), answer.reason.as_str()]
            .into_iter()
            .chain(nodes)
        {
            // The length keeps apart what would read the same when put together.
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        let hash: [u8; 32] = hash.finalize().into();
        let (first, _) = hash.split_at(16);
        let number = <[u8; 16]>::try_from(first).map_or(0, u128::from_le_bytes);
        self.sum = self.sum.wrapping_add(number);
        self.chain.update(hash);
    }

    /// The same for the same answers in any order; 32 hexadecimal digits.
    pub(super) fn any_order(&self) -> String {
        format!("{:032x}", self.sum)
    }

    /// The same for the same answers in the same order; 32 hexadecimal digits.
    pub(super) fn in_order(&self) -> String {
        let bytes: [u8; 32] = self.chain.clone().finalize().into();
        let (first, _) = bytes.split_at(16);
        let number = <[u8; 16]>::try_from(first).map_or(0, u128::from_be_bytes);
        format!("{number:032x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rules: &[&str]) -> Digest {
        let mut digest = Digest::default();
        for rule in rules {
            digest.add(&proto::DecideResponse {
                rule: (*rule).to_owned(),
                decision_id: format!("{}", digest.sum),
                ..Default::default()
            });
        }
        digest
    }

    #[test]
    fn one_digest_sees_the_order_and_the_other_does_not() {
        let (there, back, twice) = (of(&["a", "b"]), of(&["b", "a"]), of(&["a", "b", "b"]));
        assert_eq!(there.any_order(), back.any_order());
        assert_ne!(there.in_order(), back.in_order());
        assert_ne!(there.any_order(), twice.any_order());
        assert_eq!(there.in_order(), of(&["a", "b"]).in_order());
        assert_eq!(there.in_order().len(), 32);
    }
}
