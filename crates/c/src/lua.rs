//! The library as a module of Lua, for HAProxy: `require("tradewind_c")`.
//!
//! Lua's own functions are looked for when the module is loaded, in the program that loads it: so the library needs no Lua, and
//! may be in an Envoy or nginx that has another one. This is for Lua 5.3 and 5.4; nginx's has functions for C.
//!
//! Functions of Lua may leave by a jump over the frames of whoever called them, where memory runs out. So wherever such a
//! function is called there is nothing to give back.

#![expect(unsafe_code, reason = "the boundary to Lua")]

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::{MaybeUninit, transmute_copy};
use std::ptr;
use std::sync::OnceLock;

use crate::abi::{Answer, MISUSED, Pair, Query, ROOM, Text};
use crate::calls::{tw_check, tw_close, tw_decide, tw_open, tw_standing, tw_told, tw_wait};
use crate::handle::Handle;

/// A state of Lua.
type State = *mut c_void;

/// A function for Lua: what it gives back is on the stack, and this says how many.
type Function = unsafe extern "C" fn(State) -> c_int;

/// `LUA_TSTRING`
const STRING: c_int = 4;

/// `LUA_TLIGHTUSERDATA`
const POINTER: c_int = 2;

/// Most lines of headers, and most words of an outcome, that are taken from a table.
const MOST: usize = 256;

/// Bytes of the longest text of faults, and of the standing.
const WORDS: usize = 4096;

/// What is taken of Lua.
struct Lua {
    to_string: unsafe extern "C" fn(State, c_int, *mut usize) -> *const c_char,
    to_pointer: unsafe extern "C" fn(State, c_int) -> *mut c_void,
    kind: unsafe extern "C" fn(State, c_int) -> c_int,
    raw_get: unsafe extern "C" fn(State, c_int, i64) -> c_int,
    set_top: unsafe extern "C" fn(State, c_int),
    push_string: unsafe extern "C" fn(State, *const c_char, usize) -> *const c_char,
    push_integer: unsafe extern "C" fn(State, i64),
    push_nil: unsafe extern "C" fn(State),
    push_pointer: unsafe extern "C" fn(State, *mut c_void),
    push_function: unsafe extern "C" fn(State, Function, c_int),
    create_table: unsafe extern "C" fn(State, c_int, c_int),
    set_field: unsafe extern "C" fn(State, c_int, *const c_char),
    raw_set: unsafe extern "C" fn(State, c_int, i64),
}

static LUA: OnceLock<Option<Lua>> = OnceLock::new();

thread_local! {
    /// For the texts of an answer, until they are Lua's.
    static TEXTS: UnsafeCell<[MaybeUninit<u8>; ROOM]> = const { UnsafeCell::new([MaybeUninit::uninit(); ROOM]) };
}

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
}

impl Lua {
    /// Lua in this process; `None` where something of it is not to be found.
    fn find() -> Option<&'static Self> {
        let found = LUA.get_or_init(|| {
            // SAFETY: each is of the type that Lua's manual says, in 5.3 as in 5.4.
            unsafe {
                Some(Self {
                    to_string: function(c"lua_tolstring")?,
                    to_pointer: function(c"lua_touserdata")?,
                    kind: function(c"lua_type")?,
                    raw_get: function(c"lua_rawgeti")?,
                    set_top: function(c"lua_settop")?,
                    push_string: function(c"lua_pushlstring")?,
                    push_integer: function(c"lua_pushinteger")?,
                    push_nil: function(c"lua_pushnil")?,
                    push_pointer: function(c"lua_pushlightuserdata")?,
                    push_function: function(c"lua_pushcclosure")?,
                    create_table: function(c"lua_createtable")?,
                    set_field: function(c"lua_setfield")?,
                    raw_set: function(c"lua_rawseti")?,
                })
            }
        });
        found.as_ref()
    }
}

/// A function of the program.
///
/// # Safety
///
/// `T` is the type of a pointer to what this name stands for.
unsafe fn function<T>(name: &CStr) -> Option<T> {
    const { assert!(size_of::<T>() == size_of::<*mut c_void>(), "a pointer") };
    // SAFETY: the name ends with a null, and a null handle (`RTLD_DEFAULT`) means all that is loaded.
    let found = unsafe { dlsym(ptr::null_mut(), name.as_ptr()) };
    // SAFETY: it is not null, and of the type that this function asks for.
    (!found.is_null()).then(|| unsafe { transmute_copy(&found) })
}

/// A call from Lua, for as long as it runs.
#[derive(Clone, Copy)]
struct Call {
    lua: &'static Lua,
    state: State,
}

/// Called by `require`: a table of functions.
///
/// # Safety
///
/// `state` is Lua's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luaopen_tradewind_c(state: *mut c_void) -> c_int {
    let Some(lua) = Lua::find() else { return 0 };
    let call = Call { lua, state };
    let functions: [(&CStr, Function); 7] = [
        (c"check", check),
        (c"open", open),
        (c"wait", wait),
        (c"decide", decide),
        (c"told", told),
        (c"standing", standing),
        (c"close", close),
    ];
    // SAFETY: the state is Lua's, names end with a null, and the table is at the top when its fields are set.
    unsafe {
        (lua.create_table)(state, 0, 7);
        for (name, function) in functions {
            (lua.push_function)(state, function, 0);
            (lua.set_field)(state, -2, name.as_ptr());
        }
    }
    call.returns(1)
}

/// `check(options)`: 0, or nil and all that is wrong.
unsafe extern "C" fn check(state: State) -> c_int {
    let Some(call) = Call::of(state) else {
        return 0;
    };
    let mut why = [0; WORDS];
    // SAFETY: a text on the stack lives as long as this call, and there is room for what is wrong.
    let checked = unsafe { tw_check(call.text(1), why.as_mut_ptr(), WORDS) };
    if checked < 0 {
        return call.refuses(&why);
    }
    call.push_number(checked.into());
    call.returns(1)
}

/// `open(options)`: a handle, or nil and all that is wrong.
unsafe extern "C" fn open(state: State) -> c_int {
    let Some(call) = Call::of(state) else {
        return 0;
    };
    let mut why = [0; WORDS];
    // SAFETY: a text on the stack lives as long as this call, and there is room for what is wrong.
    let handle = unsafe { tw_open(call.text(1), why.as_mut_ptr(), WORDS) };
    if handle.is_null() {
        return call.refuses(&why);
    }
    // SAFETY: the state is Lua's.
    unsafe { (call.lua.push_pointer)(state, handle.cast()) };
    call.returns(1)
}

/// `wait(handle, milliseconds as a text)`: whether there is a copy, 1 or 0.
unsafe extern "C" fn wait(state: State) -> c_int {
    let Some(call) = Call::of(state) else {
        return 0;
    };
    // SAFETY: a text on the stack lives as long as this call.
    let ms = unsafe { call.text(2).bytes() };
    let ms = std::str::from_utf8(ms).ok().and_then(|ms| ms.parse().ok());
    // SAFETY: a handle is from `open`, or null.
    let waited = unsafe { tw_wait(call.handle(), ms.unwrap_or(0)) };
    call.push_number(waited.into());
    call.returns(1)
}

/// `decide(handle, host, target, method, client, request id, reads, headers)`: the verdict as a number and a table of what was
/// decided. `headers` is a list of a name, its value, the next name and so on, or nil.
unsafe extern "C" fn decide(state: State) -> c_int {
    let Some(call) = Call::of(state) else {
        return 0;
    };
    let mut lines = [Pair::NONE; MOST];
    let Some(headers_len) = call.pairs(8, &mut lines) else {
        // Of a part of the headers nothing may be decided.
        call.push_number(MISUSED.into());
        return call.returns(1);
    };
    // SAFETY: texts on the stack, and in a table that is there, live as long as this call.
    let reads = unsafe { call.text(7).bytes() };
    let reads = std::str::from_utf8(reads)
        .ok()
        .and_then(|reads| reads.parse().ok());
    let query = Query {
        host: call.text(2),
        path: call.text(3),
        method: call.text(4),
        client: call.text(5),
        request_id: call.text(6),
        reads: reads.unwrap_or(0),
        headers: lines.as_ptr(),
        headers_len,
        ..Query::NONE
    };
    let mut answer = Answer::NONE;
    let texts = TEXTS.with(UnsafeCell::get);
    // SAFETY: a handle is from `open`, or null; all else is ours, and the texts are this thread's alone.
    let verdict = unsafe {
        tw_decide(
            call.handle(),
            &raw const query,
            &raw mut answer,
            texts.cast(),
            ROOM,
        )
    };
    call.push_number(verdict.into());
    call.push_answer(&answer);
    call.returns(2)
}

/// `told(handle, fields)`: how many attempts say something, or nil and what is wrong. `fields` is a list of a name, its value, the
/// next name and so on.
unsafe extern "C" fn told(state: State) -> c_int {
    let Some(call) = Call::of(state) else {
        return 0;
    };
    let mut fields = [Pair::NONE; MOST];
    let Some(len) = call.pairs(2, &mut fields) else {
        let mut why = [0; WORDS];
        for (to, from) in why.iter_mut().zip(c"more fields than there are".to_bytes()) {
            *to = c_char::try_from(*from).unwrap_or(0);
        }
        return call.refuses(&why);
    };
    let mut why = [0; WORDS];
    // SAFETY: a handle is from `open`, or null; texts in a table that is on the stack live as long as this call.
    let taken = unsafe { tw_told(call.handle(), fields.as_ptr(), len, why.as_mut_ptr(), WORDS) };
    if taken < 0 {
        return call.refuses(&why);
    }
    call.push_number(taken.into());
    call.returns(1)
}

/// `standing(handle)`: how it stands, as JSON.
unsafe extern "C" fn standing(state: State) -> c_int {
    let Some(call) = Call::of(state) else {
        return 0;
    };
    let mut words = [0; WORDS];
    // SAFETY: a handle is from `open`, or null.
    let len = unsafe { tw_standing(call.handle(), words.as_mut_ptr(), WORDS) };
    call.push(Text {
        at: words.as_ptr(),
        len: len.min(WORDS - 1),
    });
    call.returns(1)
}

/// `close(handle)`
unsafe extern "C" fn close(state: State) -> c_int {
    if let Some(call) = Call::of(state) {
        // SAFETY: a handle is from `open`, or null, and a script gives it back once.
        unsafe { tw_close(call.handle()) };
    }
    0
}

impl Pair {
    const NONE: Self = Self {
        name: Text::NONE,
        value: Text::NONE,
    };
}

#[expect(
    clippy::unused_self,
    reason = "how many values a call returns is said of the call"
)]
impl Call {
    fn of(state: State) -> Option<Self> {
        let lua = Lua::find()?;
        Some(Self { lua, state })
    }

    /// Ends it with so many values.
    fn returns(self, values: c_int) -> c_int {
        values
    }

    /// Ends it with nil and why.
    fn refuses(self, why: &[c_char; WORDS]) -> c_int {
        let len = why.iter().position(|byte| *byte == 0).unwrap_or(0);
        // SAFETY: the state is Lua's.
        unsafe { (self.lua.push_nil)(self.state) };
        self.push(Text {
            at: why.as_ptr(),
            len,
        });
        2
    }

    /// The handle, which is the first argument; null for anything else.
    fn handle(self) -> *mut Handle {
        // SAFETY: the state is Lua's; of what is no pointer the kind says so.
        unsafe {
            if (self.lua.kind)(self.state, 1) == POINTER {
                (self.lua.to_pointer)(self.state, 1).cast()
            } else {
                ptr::null_mut()
            }
        }
    }

    /// A text among the arguments; empty for anything else. It lives as long as it is on the stack, or in a table there.
    fn text(self, at: c_int) -> Text {
        let mut text = Text::NONE;
        // SAFETY: the state is Lua's; of a text nothing is converted, so nothing is allocated.
        unsafe {
            if (self.lua.kind)(self.state, at) == STRING {
                text.at = (self.lua.to_string)(self.state, at, &raw mut text.len);
            }
        }
        text
    }

    /// The pairs of a list; how many there are, or that there are more than fit.
    fn pairs(self, at: c_int, pairs: &mut [Pair; MOST]) -> Option<usize> {
        /// `LUA_TTABLE`
        const TABLE: c_int = 5;
        // SAFETY: the state is Lua's.
        if unsafe { (self.lua.kind)(self.state, at) } != TABLE {
            return Some(0);
        }
        let mut count = 0;
        for (pair, name) in pairs.iter_mut().zip((1_i64..).step_by(2)) {
            let part = |number| {
                // SAFETY: the state is Lua's, and at this place there is a table, which is not changed: what was in it lives on.
                unsafe {
                    (self.lua.raw_get)(self.state, at, number);
                    let text = self.text(-1);
                    (self.lua.set_top)(self.state, -2);
                    text
                }
            };
            *pair = Pair {
                name: part(name),
                value: part(name + 1),
            };
            if pair.name.at.is_null() {
                return Some(count);
            }
            count += 1;
        }
        // SAFETY: as above.
        let is_more = unsafe {
            let next = i64::try_from(2 * MOST + 1).unwrap_or(i64::MAX);
            (self.lua.raw_get)(self.state, at, next);
            let is_text = (self.lua.kind)(self.state, -1) == STRING;
            (self.lua.set_top)(self.state, -2);
            is_text
        };
        (!is_more).then_some(count)
    }

    fn push(self, text: Text) {
        // An empty text of ours may be at null.
        let at = if text.at.is_null() {
            c"".as_ptr()
        } else {
            text.at
        };
        // SAFETY: the state is Lua's, which copies so many bytes.
        unsafe { (self.lua.push_string)(self.state, at, text.len) };
    }

    fn push_number(self, number: i64) {
        // SAFETY: the state is Lua's.
        unsafe { (self.lua.push_integer)(self.state, number) };
    }

    /// Gives what is at the top a name in the table below it.
    fn name(self, name: &CStr) {
        // SAFETY: the state is Lua's, and there is a table without a metatable.
        unsafe { (self.lua.set_field)(self.state, -2, name.as_ptr()) };
    }

    /// A table of what was decided: what is empty or 0 is not in it.
    fn push_answer(self, answer: &Answer) {
        // SAFETY: the state is Lua's.
        unsafe { (self.lua.create_table)(self.state, 0, 12) };
        for (name, text) in [
            (c"decision", answer.decision),
            (c"reason", answer.reason),
            (c"target", answer.target),
            (c"version", answer.version),
            (c"max_age", answer.max_age),
            (c"cache_ttl", answer.cache_ttl),
            (c"freshness", answer.freshness),
            (c"asks", answer.asks),
        ] {
            if text.len > 0 {
                self.push(text);
                self.name(name);
            }
        }
        for (name, number) in [
            (c"status", answer.status),
            (c"retry_after_s", answer.retry_after_s),
            (c"attempts", answer.attempts),
            (c"attempt_timeout_ms", answer.attempt_timeout_ms),
        ] {
            if number > 0 {
                self.push_number(number.into());
                self.name(name);
            }
        }
        if answer.reads > 0 {
            self.push_reads(answer.reads);
            self.name(c"reads");
        }
        for (name, part) in [(c"nodes", 0), (c"addresses", 1)] {
            // SAFETY: the state is Lua's, and the table of this list is below what is set in it.
            unsafe {
                (self.lua.create_table)(self.state, 8, 0);
                for (place, node) in (1..).zip(answer.nodes.iter().take(answer.nodes_len)) {
                    self.push(if part == 0 { node.id } else { node.address });
                    (self.lua.raw_set)(self.state, -2, place);
                }
            }
            self.name(name);
        }
    }

    /// A number of 64 bits as a text: Lua's have a sign.
    fn push_reads(self, reads: u64) {
        let mut digits = [0_u8; 20];
        let (mut from, mut rest) = (digits.len(), reads);
        while rest > 0 {
            from -= 1;
            if let Some(digit) = digits.get_mut(from) {
                *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            }
            rest /= 10;
        }
        let digits = digits.get(from..).unwrap_or_default();
        self.push(Text {
            at: digits.as_ptr().cast(),
            len: digits.len(),
        });
    }
}
