//! The search tree: a node for every bit of an address, each with two records that lead on, to data, or nowhere.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::flaw::{Flaw, place};

/// Leaves allowed for each node. A true tree has one more than it has nodes; sharing a subtree here and there, as
/// aliases do, makes a few more.
const LEAVES_A_NODE: u64 = 3;

/// Depth at which IPv4 begins in a tree of IPv6.
const V4_DEPTH: u8 = 96;

/// Width of a node's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordSize {
    Bits24,
    Bits28,
    Bits32,
}

impl RecordSize {
    pub(super) fn of(bits: u64) -> Option<Self> {
        Some(match bits {
            24 => Self::Bits24,
            28 => Self::Bits28,
            32 => Self::Bits32,
            _ => return None,
        })
    }

    /// Bytes of a node, which has two records.
    pub(super) const fn node_bytes(self) -> usize {
        match self {
            Self::Bits24 => 6,
            Self::Bits28 => 7,
            Self::Bits32 => 8,
        }
    }
}

/// Addresses that a tree is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IpVersion {
    V4,
    V6,
}

impl IpVersion {
    const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

/// A search tree. Its bytes are as many as its nodes take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tree<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) node_count: u32,
    pub(super) record_size: RecordSize,
    pub(super) ip_version: IpVersion,
    /// Bytes of the data that leaves point into.
    pub(super) data_length: usize,
}

/// A place on the walk.
#[derive(Debug, Clone, Copy)]
struct Step {
    record: u32,
    /// The bits so far, the first one on top.
    bits: u128,
    depth: u8,
}

impl Tree<'_> {
    /// Calls `visit` for every network with data, in ascending order, with the offset of its value in the data
    /// section. The other names of IPv4 in a tree of IPv6 (mapped, 6to4, Teredo) are passed over if they share its nodes.
    pub(super) fn walk<E: From<Flaw>>(
        &self,
        mut visit: impl FnMut(IpNet, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let v4_root = self.v4_root();
        let limit = u64::from(self.node_count) * LEAVES_A_NODE;
        let mut leaves = 0_u64;
        // One step of each depth waits at most.
        let mut stack = Vec::with_capacity(usize::from(self.ip_version.bits()) + 1);
        stack.push(Step {
            record: 0,
            bits: 0,
            depth: 0,
        });
        while let Some(step) = stack.pop() {
            if step.record < self.node_count {
                if Some(step.record) == v4_root && step.bits >> 32 != 0 {
                    continue;
                }
                stack.extend(self.children(step)?);
                continue;
            }
            leaves += 1;
            if leaves > limit {
                return Err(Flaw::TreeMultiplies {
                    node_count: self.node_count.into(),
                    limit,
                }
                .into());
            }
            if step.record > self.node_count {
                visit(self.network(step), self.data_offset(step.record)?)?;
            }
        }
        Ok(())
    }

    /// The steps to both children of a node, that of the bit 0 last.
    fn children(&self, step: Step) -> Result<[Step; 2], Flaw> {
        let bits = self.ip_version.bits();
        if step.depth >= bits {
            return Err(Flaw::TreeLoops { bits });
        }
        let [zero, one] = self.node(step.record);
        let depth = step.depth + 1;
        let low = Step {
            record: zero,
            bits: step.bits,
            depth,
        };
        let high = Step {
            record: one,
            bits: step.bits | 1 << (128 - u32::from(depth)),
            depth,
        };
        Ok([high, low])
    }

    /// The node under which IPv4 lies in a tree of IPv6, if there is one.
    fn v4_root(&self) -> Option<u32> {
        if self.ip_version == IpVersion::V4 {
            return None;
        }
        let mut node = 0;
        for _ in 0..V4_DEPTH {
            let [zero, _] = self.node(node);
            if zero >= self.node_count {
                return None;
            }
            node = zero;
        }
        Some(node)
    }

    /// Both records of a node.
    fn node(&self, number: u32) -> [u32; 2] {
        let size = self.record_size.node_bytes();
        let at = number as usize * size;
        let bytes = self.bytes.get(at..at + size).unwrap_or_default();
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |number, byte| number << 8 | u32::from(*byte))
        };
        let middle = size / 2;
        let (zero, rest) = bytes.split_at_checked(middle).unwrap_or_default();
        match (self.record_size, rest) {
            // The byte in the middle holds the upper four bits of both.
            (RecordSize::Bits28, [high, one @ ..]) => {
                let high = u32::from(*high);
                [
                    (high >> 4) << 24 | number(zero),
                    (high & 15) << 24 | number(one),
                ]
            }
            (_, one) => [number(zero), number(one)],
        }
    }

    /// Where a record beyond the nodes points.
    fn data_offset(&self, record: u32) -> Result<usize, Flaw> {
        let beyond = record - self.node_count;
        let offset = beyond.checked_sub(16).map(|offset| offset as usize);
        offset
            .filter(|offset| *offset < self.data_length)
            .ok_or_else(|| Flaw::LeafOutside {
                target: i64::from(beyond) - 16,
                length: place(self.data_length),
            })
    }

    /// The addresses that begin with the bits of a step.
    fn network(&self, step: Step) -> IpNet {
        let v4 = |bits: u128, depth: u8| {
            let address = Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or_default());
            Ipv4Net::new(address, depth).unwrap_or_default().into()
        };
        match self.ip_version {
            IpVersion::V4 => v4(step.bits >> 96, step.depth),
            IpVersion::V6 if step.depth > V4_DEPTH && step.bits >> 32 == 0 => {
                v4(step.bits, step.depth - V4_DEPTH)
            }
            IpVersion::V6 => Ipv6Net::new(Ipv6Addr::from_bits(step.bits), step.depth)
                .unwrap_or_default()
                .into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(bytes: &[u8], node_count: u32, record_size: RecordSize) -> Tree<'_> {
        Tree {
            bytes,
            node_count,
            record_size,
            ip_version: IpVersion::V4,
            data_length: 10,
        }
    }

    /// Networks, and where their records are.
    type Found = Vec<(String, usize)>;

    fn networks(tree: Tree<'_>) -> Result<Found, Flaw> {
        let mut found = Vec::new();
        tree.walk(|network, offset| {
            found.push((network.to_string(), offset));
            Ok::<(), Flaw>(())
        })?;
        Ok(found)
    }

    #[test]
    fn records_of_all_widths_are_read() {
        let expected = Ok(vec![
            ("0.0.0.0/1".to_owned(), 3),
            ("192.0.0.0/2".to_owned(), 0),
        ]);
        let bits_24 = [0, 0, 21, 0, 0, 1, 0, 0, 2, 0, 0, 18];
        assert_eq!(networks(tree(&bits_24, 2, RecordSize::Bits24)), expected);
        let bits_28 = [0, 0, 21, 0, 0, 0, 1, 0, 0, 2, 0, 0, 0, 18];
        assert_eq!(networks(tree(&bits_28, 2, RecordSize::Bits28)), expected);
        let bits_32 = [0, 0, 0, 21, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 18];
        assert_eq!(networks(tree(&bits_32, 2, RecordSize::Bits32)), expected);
        // The middle byte has the upper bits of the first record in its upper half.
        let high = [1, 2, 3, 0xab, 4, 5, 6];
        assert_eq!(
            tree(&high, 1, RecordSize::Bits28).node(0),
            [0x0a01_0203, 0x0b04_0506]
        );
    }

    #[test]
    fn leaves_outside_of_the_data_are_refused() {
        for (record, target) in [(2_u8, -15_i64), (16, -1), (27, 10), (255, 238)] {
            let error = networks(tree(&[0, 0, 1, 0, 0, record], 1, RecordSize::Bits24));
            assert_eq!(error, Err(Flaw::LeafOutside { target, length: 10 }));
        }
    }

    #[test]
    fn loops_and_shared_nodes_end() {
        let to_itself = [0, 0, 0, 0, 0, 1];
        let error = networks(tree(&to_itself, 1, RecordSize::Bits24));
        assert_eq!(error, Err(Flaw::TreeLoops { bits: 32 }));
        // Every node leads to the next on both sides: 2^32 leaves.
        let doubling: Vec<u8> = (1..=32).flat_map(|next| [0, 0, next, 0, 0, next]).collect();
        let error = networks(tree(&doubling, 32, RecordSize::Bits24));
        assert_eq!(
            error,
            Err(Flaw::TreeMultiplies {
                node_count: 32,
                limit: 96
            })
        );
    }
}
