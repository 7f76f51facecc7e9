//! What comes from outside as files: policies, topologies and geo files, good ones, broken ones and such as are made to harm.

mod differences;
mod documents;
mod ends;
mod geo;
mod geo_hostile;
mod geo_oracle;
mod geo_published;
#[path = "../../examples/fixtures/hostile.rs"]
mod hostile;
#[path = "../support/measuring.rs"]
mod measuring;
mod messages;
#[path = "../../examples/fixtures/mmdb.rs"]
mod mmdb;
mod pairs;
mod schemas;

#[global_allocator]
static ALLOCATOR: measuring::Measuring = measuring::Measuring;
