//! Tradewind's engine as a C library: a proxy that can call C decides every request where it is, and tells the sidecar how the
//! attempts went.
//!
//! `docs/c-library.md` tells how it is used, `include/tradewind.h` is what C sees of it: made from [`abi`] and [`calls`], and
//! compared in `tests/upkeep/header.rs`. nginx comes by the foreign functions of its Lua, HAProxy by [`lua`], whose Lua has none.
//!
//! It calls nobody back, and takes nothing that it has to give back but the handle. Only `abi`, `calls` and `lua` know of pointers.
//! A panic is contained, counted, and the request is as if there were no copy.

pub mod abi;
pub mod calls;
pub mod handle;
pub mod lua;
mod room;
