//! What a proxy calls. Nothing panics out of here.

#![expect(unsafe_code, reason = "the boundary to C")]

use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;
use std::ptr;
use std::time::Duration;

use crate::abi::{ABI, Answer, FORKED, MISUSED, Pair, Query, Text, UNREADABLE, room_of, slice_of};
use crate::handle::{Asked, Decided, Handle, Named, read};
use crate::room::Room;
use tradewind_client::hosted::contain::contained;

/// The version of this interface, to compare with `TW_ABI`.
#[unsafe(no_mangle)]
pub extern "C" fn tw_abi() -> u32 {
    ABI
}

/// Whether options are good, which starts nothing: 0, or `TW_UNREADABLE`, and `why` has all that is wrong with them, cut to `room`
/// bytes, the null at its end among them. To be called where the proxy's configuration is looked at.
///
/// # Safety
///
/// `options` can be read, and `room` bytes be written at `why`, which may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_check(options: Text, why: *mut c_char, room: usize) -> c_int {
    // SAFETY: as this function asks for.
    let (options, why) = unsafe { (options.bytes(), room_of(why, room)) };
    match contained(|| read(options)) {
        Some(Err(faults)) => {
            tell_why(why, &faults);
            UNREADABLE
        }
        Some(Ok(_)) | None => 0,
    }
}

/// Begins to follow a sidecar, on a thread of the library's own: to be called in the process that asks, after it was forked off.
/// `options` are a JSON object; `docs/c-library.md` has its fields. Null where they are no good, or no thread can be begun, and `why`
/// is as of `tw_check`. All handles of a process that name the same sidecar share its follower.
///
/// # Safety
///
/// `options` can be read, and `room` bytes be written at `why`, which may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_open(options: Text, why: *mut c_char, room: usize) -> *mut Handle {
    // SAFETY: as this function asks for.
    let (options, why) = unsafe { (options.bytes(), room_of(why, room)) };
    match contained(|| Handle::open(options)) {
        Some(Ok(handle)) => Box::into_raw(Box::new(handle)),
        Some(Err(faults)) => {
            tell_why(why, &faults);
            ptr::null_mut()
        }
        None => {
            tell_why(why, "it panicked, and the log says how");
            ptr::null_mut()
        }
    }
}

/// Waits until there is a copy to decide from, for `ms` milliseconds at most: 1 if there is one, 0 if not, or what is wrong. The
/// only call that waits.
///
/// # Safety
///
/// `handle` is null, or from `tw_open` and not closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_wait(handle: *const Handle, ms: u32) -> c_int {
    // SAFETY: as this function asks for.
    match unsafe { usable(handle) } {
        Err(fault) => fault,
        Ok(handle) => {
            let most = Duration::from_millis(ms.into());
            contained(|| handle.wait(most)).map_or(0, c_int::from)
        }
    }
}

/// Decides a request: `TW_ROUTE` and so on, or a negative number for what is wrong with the call. Waits for nothing and may be
/// called by any thread. The texts of the answer come to lie in `room`, of `len` bytes; `TW_ROOM` are always enough.
///
/// # Safety
///
/// `handle` is null, or from `tw_open` and not closed. What `query` points to can be read, `answer` and `len` bytes at `room` be
/// written. Each may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_decide(
    handle: *const Handle,
    query: *const Query,
    answer: *mut Answer,
    room: *mut c_char,
    len: usize,
) -> c_int {
    // SAFETY: as this function asks for.
    let (handle, query) = match unsafe { (usable(handle), Query::read(query)) } {
        (Err(fault), _) => return fault,
        (Ok(_), None) => return MISUSED,
        (Ok(handle), Some(query)) => (handle, query),
    };
    // SAFETY: as this function asks for.
    if !unsafe { Answer::can_be_written(answer) } {
        return MISUSED;
    }
    // SAFETY: as this function asks for.
    let decided = unsafe { decide(handle, &query, room_of(room, len)) };
    // SAFETY: it was looked whether it can be written to.
    unsafe { decided.answer.write(answer) };
    decided.verdict
}

/// Tells how the attempts of a request went, in the words that proxies log: `node`, `status`, `decision_id` and so on, which
/// `docs/outcomes.md` lists; of several attempts with commas between them, as nginx has them. How many attempts say something of
/// a node, or what is wrong; then `why` has it in words.
///
/// # Safety
///
/// `handle` is null, or from `tw_open` and not closed. The fields can be read, and `room` bytes be written at `why`; each may be
/// null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_told(
    handle: *const Handle,
    fields: *const Pair,
    fields_len: usize,
    why: *mut c_char,
    room: usize,
) -> c_int {
    // SAFETY: as this function asks for.
    let (handle, why) = match unsafe { (usable(handle), room_of(why, room)) } {
        (Err(fault), _) => return fault,
        (Ok(handle), why) => (handle, why),
    };
    // SAFETY: as this function asks for.
    let fields = unsafe { named(slice_of(fields, fields_len)) };
    match contained(|| handle.told(&fields)) {
        Some(Ok(taken)) => c_int::try_from(taken).unwrap_or(c_int::MAX),
        Some(Err(faults)) => {
            tell_why(why, &faults);
            UNREADABLE
        }
        None => 0,
    }
}

/// How it stands, as a JSON object: what was decided, how old the copy is, what was not told. Cut to `room` bytes, the null at its
/// end among them; how many bytes there are without it. 0 where nothing can be said.
///
/// # Safety
///
/// `handle` is null, or from `tw_open` and not closed. At `to` `room` bytes can be written; it may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_standing(handle: *const Handle, to: *mut c_char, room: usize) -> usize {
    // SAFETY: as this function asks for.
    let (handle, to) = match unsafe { (usable(handle), room_of(to, room)) } {
        (Err(_), _) => return 0,
        (Ok(handle), to) => (handle, to),
    };
    let standing = contained(|| handle.standing()).unwrap_or_default();
    tell_why(to, &standing);
    standing.len()
}

/// Gives a handle back; no other call may have it then. The last one of a sidecar ends its follower. Where the process was forked
/// off the one that opened it, nothing is done.
///
/// # Safety
///
/// `handle` is null, or from `tw_open`, and nobody uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_close(handle: *mut Handle) {
    // SAFETY: as this function asks for.
    if unsafe { usable(handle) }.is_ok() {
        contained(|| {
            // SAFETY: it is from `Box::into_raw` in `tw_open`, and who calls gives each back once.
            drop(unsafe { Box::from_raw(handle) });
        });
    }
}

/// A handle, or what is wrong with it.
///
/// # Safety
///
/// It is null, or from `tw_open` and not closed while this is used.
pub(crate) unsafe fn usable<'h>(handle: *const Handle) -> Result<&'h Handle, c_int> {
    // SAFETY: as this function asks for.
    match unsafe { handle.as_ref() } {
        None => Err(MISUSED),
        Some(handle) if handle.is_forked() => Err(FORKED),
        Some(handle) => Ok(handle),
    }
}

/// Decides what C asks.
///
/// # Safety
///
/// What `query` points to can be read.
pub(crate) unsafe fn decide(
    handle: &Handle,
    query: &Query,
    room: &mut [MaybeUninit<u8>],
) -> Decided {
    // SAFETY: as this function asks for.
    let asked = unsafe {
        let tried: &[Text] = slice_of(query.tried, query.tried_len);
        Asked {
            host: query.host.bytes(),
            path: query.path.bytes(),
            method: query.method.bytes(),
            client: query.client.bytes(),
            request_id: query.request_id.bytes(),
            headers: named(slice_of(query.headers, query.headers_len)),
            reads: query.reads,
            tried: tried.iter().map(|text| text.bytes()).collect(),
        }
    };
    handle.decide(&asked, &mut Room::new(room))
}

/// The bytes of pairs.
///
/// # Safety
///
/// All that they point to can be read, for as long as they live.
unsafe fn named(pairs: &[Pair]) -> Vec<Named<'_>> {
    let both = |pair: &Pair| {
        // SAFETY: as this function asks for.
        let (name, value) = unsafe { (pair.name.bytes(), pair.value.bytes()) };
        Named { name, value }
    };
    pairs.iter().map(both).collect()
}

/// Writes a text and a null behind it, cut to what there is room for, between two characters.
fn tell_why(to: &mut [MaybeUninit<u8>], text: &str) {
    let Some(most) = to.len().checked_sub(1) else {
        return;
    };
    let text = text
        .get(..text.floor_char_boundary(most))
        .unwrap_or_default();
    for (place, byte) in to.iter_mut().zip(text.bytes().chain([0])) {
        place.write(byte);
    }
}
