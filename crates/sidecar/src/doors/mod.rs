//! The doors by which others come in: proxies by [`grpc`], [`http`] and [`envoy`], their copies by [`follow`], operators by
//! [`admin`]. Short calls that come often are answered by hand ([`unary`]); bodies of others are handed on
//! as they come ([`earned`]). The door of people and monitors is with what it shows, in [`observe`](crate::observe).

pub mod admin;
pub mod earned;
pub mod envoy;
pub mod follow;
pub mod grpc;
pub mod http;
pub mod unary;

#[cfg(test)]
mod tests;
