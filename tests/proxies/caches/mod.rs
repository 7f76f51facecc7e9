//! Real caches behind a stock Envoy, in two tiers, on the files of `examples/caches`: what is purged is new on the next
//! request.

mod active;
mod figures;
mod fronts;
mod origin;
mod programs;
mod race;
mod rig;
mod stories;
