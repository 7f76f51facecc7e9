//! What this process tags the ids of its decisions with, and gives to those who decide from copies.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::wire::receipt::{self, ReceiptKey};

/// The key of this process; see [`receipt`].
#[derive(Debug)]
pub struct Receipts {
    key: ReceiptKey,
    copies: AtomicU16,
}

impl Default for Receipts {
    /// Draws a key.
    fn default() -> Self {
        Self {
            key: ReceiptKey::new(random(), random()),
            copies: AtomicU16::new(0),
        }
    }
}

impl Receipts {
    /// What tags are made with.
    pub fn key(&self) -> ReceiptKey {
        self.key
    }

    /// Where the ids of another copy begin, and its key.
    pub fn for_copy(&self, instance: u16) -> (u64, ReceiptKey) {
        let copy = self.copies.fetch_add(1, Ordering::Relaxed);
        let first = receipt::copy_from(instance, copy);
        (first, self.key.of_copy(first))
    }
}

/// A number that nobody can guess: what the standard library draws from the system against chosen keys of hash maps.
#[expect(
    clippy::disallowed_types,
    reason = "it is to be random, and no decision depends on it"
)]
fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}
