//! The pure half: no clock, lock, file, environment or task. Everything here is a function of its arguments.

pub mod document;
