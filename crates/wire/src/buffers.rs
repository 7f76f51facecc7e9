//! How much room the codecs take before they know what for.

use tonic::codec::BufferSettings;

/// Bytes taken at once for every call, and again for its answer. Nearly all questions and answers fit; larger messages
/// make the buffer grow. tonic takes 8 KiB each time by default, of which the allocator's part alone was 1,700
/// instructions a call (callgrind, 32 calls open on each of 4 connections).
const FIRST_BYTES: usize = 1 << 10;

/// Most bytes of ready messages that a stream gathers for one write: tonic's own default.
const GATHERED_BYTES: usize = 32 << 10;

/// The settings of every codec here.
pub(super) fn buffers() -> BufferSettings {
    BufferSettings::new(FIRST_BYTES, GATHERED_BYTES)
}
