//! Golden vectors of the hash and the order of nodes: what every release, processor and language must give.
//!
//! `UPDATE=1 cargo test -p tradewind-engine --test engine vectors` rewrites the files, and a second run has the other implementation check them. A
//! change in them is a change of version, because it moves every key of a running fleet; see `docs/hashing.md`.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads UPDATE from the environment"
)]

mod lists;

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tradewind_engine::hash::{self, NodeSeed};
use tradewind_engine::rank::{self, Columns, Top};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct HashVectors {
    version: u32,
    keys: Vec<KeyVector>,
    nodes: Vec<NodeVector>,
}

/// Parts of a key as text, or as one byte repeated where they are long.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct KeyVector {
    parts: Vec<Part>,
    hash: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Part {
    Text(String),
    /// Bytes 0, 1, 2 .. 250, 0, 1 ..: byte `i` is `i mod 251`.
    Counting {
        length: usize,
    },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct NodeVector {
    id: String,
    seed: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct RankVectors {
    version: u32,
    pools: Vec<PoolVector>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct PoolVector {
    key: Vec<String>,
    ids: Vec<String>,
    /// Each the single nearest to the number written.
    weights: Vec<f32>,
    /// Indices into `ids`, best first: all of them, or the first 32.
    order: Vec<u32>,
    /// The bits of the races in that order.
    races: Vec<String>,
}

impl Part {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Counting { length } => (0..=250).cycle().take(*length).collect(),
        }
    }
}

fn key_vector(parts: Vec<Part>) -> KeyVector {
    let bytes: Vec<Vec<u8>> = parts.iter().map(Part::bytes).collect();
    let slices: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
    KeyVector {
        hash: format!("{:016x}", hash::key(&slices).0),
        parts,
    }
}

fn hash_vectors() -> HashVectors {
    let text = |parts: &[&str]| -> Vec<Part> {
        let part = |part: &&str| Part::Text((*part).to_owned());
        parts.iter().map(part).collect()
    };
    let mut keys = vec![
        key_vector(Vec::new()),
        key_vector(text(&["", ""])),
        key_vector(text(&["ab", "c"])),
        key_vector(text(&["a", "bc"])),
        key_vector(text(&["cdn.example.com", "/video/2024/seg-00042.m4s"])),
        key_vector(text(&["cdn.example.com/video/2024/seg-00042.m4s"])),
        key_vector(text(&["cdn.example.com", "/größe?ü=1", "br", ""])),
    ];
    // Every branch of XXH3, on either side of its borders: as the first part, and as a later one.
    for length in [
        0, 1, 3, 4, 8, 9, 16, 17, 32, 33, 64, 65, 96, 97, 128, 129, 130, 240, 241, 256, 257, 1_023,
        1_024, 1_025, 4_096, 65_536,
    ] {
        let part = Part::Counting { length };
        keys.push(key_vector(vec![part.clone()]));
        keys.push(key_vector(vec![Part::Text("host".to_owned()), part]));
    }
    let ids = [
        "",
        "a",
        "fra-01",
        "fra-02",
        "lon-cache-0001.example.net",
        "düs-1",
    ];
    HashVectors {
        version: hash::VERSION,
        keys,
        nodes: ids
            .into_iter()
            .map(|id| NodeVector {
                id: id.to_owned(),
                seed: format!("{:016x}", NodeSeed::of_id(id).0),
            })
            .collect(),
    }
}

fn pool_vector(nodes: usize, weights: &[f32], path: &str) -> PoolVector {
    let key = ["cdn.example.com", path];
    let ids: Vec<String> = (0..nodes).map(|node| format!("node-{node:04}")).collect();
    let weights: Vec<f32> = weights.iter().copied().cycle().take(nodes).collect();
    let seeds = ids.iter().map(|id| NodeSeed::of_id(id));
    let (columns, segment) = Columns::of_nodes(seeds.zip(weights.iter().copied()));
    let mut top = Top::new(Top::CAPACITY);
    let parts = key.map(str::as_bytes);
    rank::rank(&columns, segment, hash::key(&parts), &mut top);
    PoolVector {
        key: key.map(str::to_owned).to_vec(),
        ids,
        weights,
        order: top.iter().map(|entry| entry.position).collect(),
        races: top
            .iter()
            .map(|entry| format!("{:08x}", entry.race.to_bits()))
            .collect(),
    }
}

fn rank_vectors() -> RankVectors {
    let mut pools = Vec::new();
    for (nodes, weights) in [
        (1, &[1.0][..]),
        (2, &[1.0, 3.0]),
        (3, &[1.0]),
        (16, &[1.0]),
        (17, &[1.0, 2.0, 0.5]),
        (20, &[1e-6, 1e6, 0.1]),
        (64, &[1.0, 0.7, 0.5, 4.0]),
        (65, &[1.0]),
        (300, &[10.0, 40.0, 25.0]),
    ] {
        for path in ["/", "/video/2024/seg-00042.m4s", "/a.jpg?w=640"] {
            pools.push(pool_vector(nodes, weights, path));
        }
    }
    RankVectors {
        version: hash::VERSION,
        pools,
    }
}

fn file(name: &str) -> PathBuf {
    let path = [env!("CARGO_MANIFEST_DIR"), "../../testdata/vectors", name];
    path.iter().collect()
}

/// Compares with the file, or rewrites it when `UPDATE` is set.
fn check<V>(name: &str, now: &V)
where
    V: PartialEq + std::fmt::Debug + Serialize + serde::de::DeserializeOwned,
{
    let file = file(name);
    if std::env::var("UPDATE").is_ok() {
        let mut text = serde_json::to_string_pretty(now).expect("vectors are plain data");
        text.push('\n');
        std::fs::write(&file, text).expect("the file can be written");
    }
    let text = std::fs::read_to_string(&file).expect("the file is in the repository");
    let golden: V = serde_json::from_str(&text).expect("the file has this form");
    assert!(
        golden == *now,
        "{name} differs: placement has changed, which needs a new version (see docs/hashing.md)"
    );
}

#[test]
fn hashes_are_those_of_the_golden_file() {
    check("hash.json", &hash_vectors());
}

#[test]
fn orders_are_those_of_the_golden_file() {
    check("rank.json", &rank_vectors());
}

#[test]
fn lists_are_those_of_the_golden_file() {
    let file = file("lists.json");
    let text = std::fs::read_to_string(&file).expect("the file is in the repository");
    let golden: serde_json::Value = serde_json::from_str(&text).expect("the file is JSON");
    let played = lists::print(&lists::played(&golden));
    if std::env::var("UPDATE").is_ok() {
        std::fs::write(&file, &played).expect("the file can be written");
    } else {
        let line = text
            .lines()
            .zip(played.lines())
            .find(|(then, now)| then != now);
        assert!(
            text == played,
            "lists.json says and this release answers: {line:#?}"
        );
    }
}

/// The second implementation, where there is a Python to run it.
#[test]
fn the_second_implementation_agrees() {
    if std::env::var("UPDATE").is_ok() {
        println!("skipped: the files are being rewritten");
        return;
    }
    let script = file("check.py");
    let run = match std::process::Command::new("python3").arg(script).output() {
        Ok(run) => run,
        Err(missing) => {
            let may_skip = std::env::var("TRADEWIND_NO_SKIP").is_err();
            assert!(may_skip, "python3 does not run: {missing}");
            println!("skipped: there is no python3 to run testdata/vectors/check.py");
            return;
        }
    };
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&run.stderr)
    );
}
