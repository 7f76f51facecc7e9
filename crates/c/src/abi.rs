//! What is passed between a proxy and this library, as C sees it.
//!
//! Structs say their size, so that they can grow at their end: who was built with a smaller one is given what it knows of.

#![expect(unsafe_code, reason = "the boundary to C")]

use std::ffi::{c_char, c_int};
use std::mem::{MaybeUninit, offset_of};
use std::{ptr, slice};

/// The version of this interface. It changes when something is taken away or means something else.
pub const ABI: u32 = 1;

/// Most nodes of an answer.
pub const NODES: usize = 8;

/// As much room as the texts of an answer may take: the longest target in its normal form, and eight nodes.
pub const ROOM: usize = 65536;

/// The nodes to use stand in the answer, best first.
pub const ROUTE: c_int = 0;

/// The request goes to no node: answer with the status and the reason that stand in the answer.
pub const REFUSE: c_int = 1;

/// Nothing is decided, for there is no copy: do as without Tradewind. Only with `without_copy: balance`.
pub const BALANCE: c_int = 2;

/// The policy looks at headers that the query has not: ask again, with those that `asks` names and the answer's `reads`.
pub const AGAIN: c_int = 3;

/// This process was forked off the one that opened the handle, and nobody follows the sidecar here: open another.
pub const FORKED: c_int = -1;

/// The texts of the answer do not fit into the room: give it `TW_ROOM` bytes.
pub const TOO_SMALL: c_int = -2;

/// A pointer is null that must not be, or a struct says no size that it can have.
pub const MISUSED: c_int = -3;

/// What was told cannot be read, and nothing of it is taken; `why` says what is wrong.
pub const UNREADABLE: c_int = -4;

/// Bytes that belong to whoever passes them, of any encoding and without a null at their end. `at` may be null where `len` is 0.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// The first byte.
    pub at: *const c_char,
    /// How many there are.
    pub len: usize,
}

/// A name and a value.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    /// The name.
    pub name: Text,
    /// The value.
    pub value: Text,
}

/// A request to decide. Set all of it to zero, then `size`, then what is known.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Query {
    /// `sizeof(tw_query)`.
    pub size: usize,
    /// The `Host` header or the authority.
    pub host: Text,
    /// The target as the client wrote it, with what follows `?`.
    pub path: Text,
    /// The method; empty stands for GET.
    pub method: Text,
    /// The client's address. What is no address is a client nobody knows.
    pub client: Text,
    /// Names the request in what is kept of it; may be empty.
    pub request_id: Text,
    /// Every line of every header that the last answer with `TW_AGAIN` named, and of others as well if that is easier.
    pub headers: *const Pair,
    /// How many lines.
    pub headers_len: usize,
    /// The `reads` of the answer that named the headers that were looked for; 0 for none.
    pub reads: u64,
    /// Ids of nodes that this request was sent to already, which are not named again.
    pub tried: *const Text,
    /// How many.
    pub tried_len: usize,
}

/// A node to use.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Node {
    /// Where to connect to, `HOST:PORT`.
    pub address: Text,
    /// Its id.
    pub id: Text,
}

/// What is decided. Its texts lie in the room that was passed beside it, or in the query, and are good for as long as those are.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// `sizeof(tw_answer)`: set it before each call.
    pub size: usize,
    /// Which headers the policy looks at, as a number; 0 for none. Pass it on with the next query.
    pub reads: u64,
    /// Counts policies and topologies that took effect at the sidecar; 0 without a copy.
    pub revision: u64,
    /// The HTTP status to answer with, where no node is to be used.
    pub status: u32,
    /// In how many seconds the client should come back, with that status; 0 for nothing to say.
    pub retry_after_s: u32,
    /// How many of the nodes may be tried.
    pub attempts: u32,
    /// How long to wait for each, in ms; 0 for as long as the proxy would by itself.
    pub attempt_timeout_ms: u32,
    /// Names the decision where it is told how it went; empty where the sidecar was never there to say how.
    pub decision: Text,
    /// Why no node is to be used, in one word.
    pub reason: Text,
    /// What to ask nodes for: the target in its one normal form, which rules saw. Empty for `path` as it was given.
    pub target: Text,
    /// The version of the object, for the keys of caches: `x-tradewind-version`; empty for none.
    pub version: Text,
    /// What caches stored longer ago is to be revalidated, in seconds: `x-tradewind-max-age`; empty for nothing.
    pub max_age: Text,
    /// How long caches may keep the object, in seconds: `x-tradewind-cache-ttl`; empty for what its origin says.
    pub cache_ttl: Text,
    /// `unknown` while not all purges may be known here: `x-tradewind-freshness`; else empty.
    pub freshness: Text,
    /// With `TW_AGAIN`: the names of the headers to look for, in lower case, with commas between them.
    pub asks: Text,
    /// How many nodes there are.
    pub nodes_len: usize,
    /// The nodes, best first.
    pub nodes: [Node; NODES],
}

impl Text {
    /// No bytes.
    pub(crate) const NONE: Self = Self {
        at: ptr::null(),
        len: 0,
    };

    /// The bytes; none of a null pointer.
    ///
    /// # Safety
    ///
    /// They live for `'a`, and nobody writes to them.
    pub(crate) unsafe fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: as this function asks for.
        unsafe { slice_of(self.at.cast(), self.len) }
    }
}

/// A slice of C's; empty of a null pointer.
///
/// # Safety
///
/// So many lie there, for `'a`, and nobody writes to them.
pub(crate) unsafe fn slice_of<'a, T>(at: *const T, len: usize) -> &'a [T] {
    if at.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: it is not null, and the rest is what this function asks for.
    unsafe { slice::from_raw_parts(at, len) }
}

/// Room of C's; none of a null pointer.
///
/// # Safety
///
/// So many bytes may be written there for `'a`, and nobody else looks at them.
pub(crate) unsafe fn room_of<'a>(at: *mut c_char, len: usize) -> &'a mut [MaybeUninit<u8>] {
    if at.is_null() || len == 0 {
        return &mut [];
    }
    // SAFETY: it is not null, bytes need no alignment, and the rest is what this function asks for.
    unsafe { slice::from_raw_parts_mut(at.cast(), len) }
}

impl Query {
    /// One in which nothing is said.
    pub(crate) const NONE: Self = Self {
        size: size_of::<Self>(),
        host: Text::NONE,
        path: Text::NONE,
        method: Text::NONE,
        client: Text::NONE,
        request_id: Text::NONE,
        headers: ptr::null(),
        headers_len: 0,
        reads: 0,
        tried: ptr::null(),
        tried_len: 0,
    };

    /// One of C's, of which only so much is read as its size says; `None` of a null pointer and of one that is too small.
    ///
    /// # Safety
    ///
    /// So much as its size says can be read.
    pub(crate) unsafe fn read(at: *const Self) -> Option<Self> {
        if at.is_null() {
            return None;
        }
        // SAFETY: it is not null, and begins with its size, which who calls says can be read.
        let size = unsafe { ptr::addr_of!((*at).size).read_unaligned() };
        if size < offset_of!(Self, tried) {
            return None;
        }
        let mut own = Self::NONE;
        // SAFETY: both have so many bytes, which are numbers and pointers only, and do not overlap.
        unsafe {
            let to = ptr::addr_of_mut!(own).cast::<u8>();
            ptr::copy_nonoverlapping(at.cast::<u8>(), to, size.min(size_of::<Self>()));
        }
        Some(own)
    }
}

impl Answer {
    /// One in which nothing is said.
    pub(crate) const NONE: Self = Self {
        size: size_of::<Self>(),
        reads: 0,
        revision: 0,
        status: 0,
        retry_after_s: 0,
        attempts: 0,
        attempt_timeout_ms: 0,
        decision: Text::NONE,
        reason: Text::NONE,
        target: Text::NONE,
        version: Text::NONE,
        max_age: Text::NONE,
        cache_ttl: Text::NONE,
        freshness: Text::NONE,
        asks: Text::NONE,
        nodes_len: 0,
        nodes: [Node {
            address: Text::NONE,
            id: Text::NONE,
        }; NODES],
    };

    /// Whether one of C's can be written to. Once it has grown, the size that it has today is the least, and no more is written than
    /// there is room for.
    ///
    /// # Safety
    ///
    /// It is null, or its size can be read.
    pub(crate) unsafe fn can_be_written(at: *const Self) -> bool {
        // SAFETY: as this function asks for.
        !at.is_null() && unsafe { (*at).size } >= size_of::<Self>()
    }

    /// Writes one of C's. What it has beyond is of a later version, and stays.
    ///
    /// # Safety
    ///
    /// [`Answer::can_be_written`] said so of `to`, which nobody else looks at.
    pub(crate) unsafe fn write(self, to: *mut Self) {
        // SAFETY: as this function asks for.
        unsafe {
            let size = (*to).size;
            to.write(Self { size, ..self });
        }
    }
}
