//! Weighted rendezvous: the order of the nodes for a key, the same in every sidecar without a word between them.
//!
//! Each node runs a race, an exponential time with its weight as the rate (`race.rs`); the least times are
//! the first choices. That is the *exponential race* of weighted rendezvous hashing (Thaler and Ravishankar 1998;
//! Schindelhauer and Schomaker 2005 for the logarithm). What it gives, and the tests in `tests/engine` show:
//! shares in proportion to weights, and no key that moves without cause. Removing a node moves its own keys only, each
//! to its second choice; raising a weight moves keys to that node only.
//!
//! The cost is kept down by layout: a table by column in blocks of sixteen lanes, one key hash for all nodes, vector
//! instructions (`kernel.rs`), and a lower bound that spares most logarithms in large pools.
//!
//! Nodes that may not be chosen are not masked here. Who excludes `x` nodes asks for `k + x` and skips them: the order
//! of the others does not depend on them. Weights of zero are not known here either: such a node is left out.

mod kernel;
mod lanes;
mod race;
mod top;

pub use kernel::Kernel;
pub use race::{MAX_WEIGHT, MIN_WEIGHT};
pub use top::{Entry, Top};

use crate::hash::{KeyHash, NodeSeed};
use race::Halves;

/// Lanes in a block; every segment starts at a multiple of this.
pub const LANES: usize = 16;

/// Blocks of which every lane is run at once: 64 lanes, so that one word can hold a bit for each.
const BLOCKS_AT_ONCE: usize = 4;

/// The races of that many blocks; infinite where there is none.
type Races = [[f32; LANES]; BLOCKS_AT_ONCE];

/// A table of nodes in segments (a site is a segment, a pool is a table), laid out for the kernel.
///
/// A *position* is a lane of the table. The n-th node of a segment is at `segment.start() + n`; the lanes between the
/// end of a segment and the start of the next are padding, which never wins.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    blocks: Vec<Block>,
    nodes: usize,
}

/// Nodes side by side in a [`Columns`]: a range of positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Segment {
    /// A multiple of [`LANES`].
    start: u32,
    len: u32,
}

/// Sixteen lanes. Padding has an infinite inverse weight, so its race is infinite.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Block {
    seed_low: [u32; LANES],
    seed_high: [u32; LANES],
    inverse: [f32; LANES],
}

impl Columns {
    /// A table with one segment.
    pub fn of_nodes(nodes: impl IntoIterator<Item = (NodeSeed, f32)>) -> (Self, Segment) {
        let mut columns = Self::default();
        let segment = columns.push_segment(nodes);
        (columns, segment)
    }

    /// Appends a segment. The order of the nodes decides ties, so sort them by id.
    ///
    /// Weights are relative numbers without a unit, [`MIN_WEIGHT`]`..=`[`MAX_WEIGHT`]; others are clamped. Every segment
    /// of a table must have its weights in the same unit, for they race one another.
    pub fn push_segment(&mut self, nodes: impl IntoIterator<Item = (NodeSeed, f32)>) -> Segment {
        let start = position_of(self.blocks.len() * LANES);
        let mut nodes = nodes.into_iter().peekable();
        let before = self.nodes;
        while nodes.peek().is_some() {
            let mut block = Block::PADDING;
            self.nodes += block.fill(&mut nodes);
            self.blocks.push(block);
        }
        Segment {
            start,
            len: position_of(self.nodes - before),
        }
    }

    /// Nodes in the table, padding not counted.
    pub const fn len(&self) -> usize {
        self.nodes
    }

    /// Whether the table has no node.
    pub const fn is_empty(&self) -> bool {
        self.nodes == 0
    }

    /// Lanes in the table, padding counted: positions are below this. A multiple of [`LANES`].
    pub const fn lanes(&self) -> usize {
        self.blocks.len() * LANES
    }

    /// Gives the node at a position another weight, clamped as in [`push_segment`](Self::push_segment). A position of
    /// padding or past the end changes nothing.
    pub fn set_weight(&mut self, position: u32, weight: f32) {
        if let Some(inverse) = self.inverse_mut(position)
            && inverse.is_finite()
        {
            *inverse = race::inverse(weight);
        }
    }

    /// Gives the nodes of a segment other weights, in their order: much faster than one by one. Nodes past the end of
    /// `weights` keep theirs.
    pub fn set_weights(&mut self, segment: Segment, weights: &[f32]) {
        let weights = weights.get(..segment.len as usize).unwrap_or(weights);
        let blocks = self.blocks.get_mut(segment.blocks()).unwrap_or_default();
        for (block, weights) in blocks.iter_mut().zip(weights.chunks(LANES)) {
            for (inverse, weight) in block.inverse.iter_mut().zip(weights) {
                *inverse = race::inverse(*weight);
            }
        }
    }

    fn inverse_mut(&mut self, position: u32) -> Option<&mut f32> {
        let (block, lane) = (position as usize / LANES, position as usize % LANES);
        self.blocks.get_mut(block)?.inverse.get_mut(lane)
    }
}

impl Segment {
    /// Position of the first node, a multiple of [`LANES`].
    pub const fn start(self) -> u32 {
        self.start
    }

    /// Number of nodes.
    pub const fn len(self) -> u32 {
        self.len
    }

    /// Whether there is no node.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The positions of the nodes.
    pub const fn positions(self) -> std::ops::Range<u32> {
        self.start..self.start + self.len
    }

    const fn blocks(self) -> std::ops::Range<usize> {
        let first = self.start as usize / LANES;
        first..first + (self.len as usize).div_ceil(LANES)
    }
}

impl Block {
    const PADDING: Self = Self {
        seed_low: [0; LANES],
        seed_high: [0; LANES],
        inverse: [f32::INFINITY; LANES],
    };

    /// Fills lanes from the left, and says how many.
    fn fill(&mut self, nodes: &mut impl Iterator<Item = (NodeSeed, f32)>) -> usize {
        let lanes = self
            .seed_low
            .iter_mut()
            .zip(&mut self.seed_high)
            .zip(&mut self.inverse);
        let mut filled = 0;
        for (((low, high), inverse), (seed, weight)) in lanes.zip(nodes) {
            let halves = Halves::of_seed(seed);
            (*low, *high) = (halves.low, halves.high);
            *inverse = race::inverse(weight);
            filled += 1;
        }
        filled
    }
}

/// Runs the race of a segment for a key, into `top`. Several segments may be run into the same list, in any order.
/// A segment of another table gives the nodes at its positions, or nothing where there are none.
///
/// ```
/// use tradewind_engine::hash::{self, NodeSeed};
/// use tradewind_engine::rank::{self, Columns, Top};
///
/// let ids = ["fra-01", "fra-02", "fra-03", "fra-04"];
/// let (columns, fra) = Columns::of_nodes(ids.map(|id| (NodeSeed::of_id(id), 1.0)));
/// let mut top = Top::new(3);
/// rank::rank(&columns, fra, hash::key(&[b"cdn.example.com", b"/a.mp4"]), &mut top);
/// let order: Vec<&str> = top.iter().map(|entry| ids[entry.position as usize]).collect();
/// assert_eq!(order.len(), 3);
/// ```
#[inline]
pub fn rank(columns: &Columns, segment: Segment, key: KeyHash, top: &mut Top) {
    rank_with(Kernel::fastest(), columns, segment, key, top);
}

/// As [`rank`], with a given version of the kernel: for measuring, and for showing that all give the same bits.
#[inline]
pub fn rank_with(kernel: Kernel, columns: &Columns, segment: Segment, key: KeyHash, top: &mut Top) {
    let blocks = columns.blocks.get(segment.blocks()).unwrap_or_default();
    kernel.run(blocks, segment.start, Halves::of_key(key), top);
}

/// The race of one node that is in no table, bit for bit as [`rank`] would see it. Weights are clamped as in
/// [`Columns::push_segment`].
pub fn race_of_node(seed: NodeSeed, weight: f32, key: KeyHash) -> f32 {
    let (key, seed) = (Halves::of_key(key), Halves::of_seed(seed));
    race::race(key, seed, race::inverse(weight))
}

/// The race of the node at a position, bit for bit as [`rank`] sees it: for explanations. Infinite for padding and past
/// the end of the table.
pub fn race_of(columns: &Columns, position: u32, key: KeyHash) -> f32 {
    let (block, lane) = (position as usize / LANES, position as usize % LANES);
    columns
        .blocks
        .get(block)
        .and_then(|block| block.race(lane, Halves::of_key(key)))
        .unwrap_or(f32::INFINITY)
}

/// Positions are 32 bits: a table of 4 billion lanes would fill 48 GB.
fn position_of(lanes: usize) -> u32 {
    u32::try_from(lanes).unwrap_or(u32::MAX)
}
