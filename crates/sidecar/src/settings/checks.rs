//! Single settings, read with every fault at once.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::here::Here;
use super::otlp::{Otlp, Standard};
use crate::identity::Peers;
use crate::listen::socket::Endpoint;
use crate::signing::Keys;

/// Everything that is wrong with the settings.
#[derive(Default)]
pub(super) struct Faults(pub(super) Vec<String>);

impl Faults {
    pub(super) fn add(&mut self, fault: String) {
        self.0.push(fault);
    }

    pub(super) fn check<T: PartialOrd + Display>(
        &mut self,
        name: &str,
        value: &T,
        allowed: &RangeInclusive<T>,
    ) {
        if !allowed.contains(value) {
            let (least, most) = (allowed.start(), allowed.end());
            self.add(format!("{name} is {value}, must be {least} to {most}"));
        }
    }
}

/// The keys that documents must be signed by.
pub(super) fn keys(given: &[String], has_files: bool, faults: &mut Faults) -> Keys {
    let mut keys = Keys::default();
    for key in given {
        if let Err(error) = keys.add(key) {
            faults.add(format!("signed_by: {error}"));
        }
    }
    if !given.is_empty() && !has_files {
        faults
            .add("signed_by is given without a policy and a topology, must be beside both".into());
    }
    keys
}

pub(super) fn trusted(given: &[String], faults: &mut Faults) -> Vec<Peers> {
    let read = given.iter().filter_map(|text| match text.parse() {
        Ok(peer) => Some(peer),
        Err(error) => {
            faults.add(format!("trusted_reporters: {error}"));
            None
        }
    });
    read.collect()
}

pub(super) fn otlp(own: Option<&str>, standard: &Standard, faults: &mut Faults) -> Otlp {
    Otlp::settle(own, standard).unwrap_or_else(|fault| {
        faults.add(fault);
        Otlp::default()
    })
}

pub(super) fn endpoint(name: &str, text: &str, faults: &mut Faults) -> Option<Endpoint> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Some(Endpoint::Unix(PathBuf::from(path)));
    }
    let address = text.parse().ok();
    if address.is_none() {
        faults.add(format!(
            "{name} is `{text}`, must be ADDRESS:PORT or unix:PATH"
        ));
    }
    address.map(Endpoint::Tcp)
}

/// Where this sidecar is.
pub(super) fn here(given: Option<&str>, faults: &mut Faults) -> Option<Here> {
    given?
        .parse()
        .map_err(|error| faults.add(format!("here: {error}")))
        .ok()
}

/// Several addresses.
pub(super) fn endpoints(name: &str, given: &[String], faults: &mut Faults) -> Vec<Endpoint> {
    let read = given.iter().filter_map(|text| endpoint(name, text, faults));
    read.collect()
}
