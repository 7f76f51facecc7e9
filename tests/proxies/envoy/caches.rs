//! Caches behind caches: real nginx as the nodes, in front of a parent that says what its own cache did. Both say it in
//! `X-Cache`, the parent first, and nginx keeps the parent's word with the object.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use tradewind_demo::nodes::{NodeOptions, NodePlan, Nodes};

use super::{Envoy, PATIENT, TELL_THE_LIST};
use crate::http::Connection;
use crate::ports::free_port;
use crate::process::Process;
use crate::rig::{Setup, is_open};
use crate::tools::{Tool, note};
use crate::visits::{HOST, client};

/// The ports that the examples name for Frankfurt's nodes.
const NODES: [u16; 3] = [9_001, 9_002, 9_003];

/// Requests, of which every eighth is for an object that nobody has asked for before.
const REQUESTS: usize = 4_000;

/// How far what is learned may be from the truth.
const WITHIN: f64 = 0.02;

/// A cache for each port, in front of one parent; `more` stands in each of their locations.
fn configuration(folder: &Path, ports: &[u16], (parent, more): (&str, &str)) -> String {
    let folder = folder.display();
    let mut text = format!(
        "daemon off; pid {folder}/pid; error_log stderr warn; worker_processes 1;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
"
    );
    for port in ports {
        write!(
            text,
            "  proxy_cache_path {folder}/{port} keys_zone=z{port}:4m;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://{parent}; proxy_cache z{port}; proxy_cache_valid 200 1h;
      proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host;
      {more}
      add_header X-Cache $upstream_cache_status; add_header X-Cache-Node 127.0.0.1:{port};
    }}
  }}\n"
        )
        .unwrap();
    }
    text + "}\n"
}

/// Caches that stand for Frankfurt's nodes, and their parent.
pub(crate) struct Caches {
    ports: [u16; 3],
    _nginx: Process,
    _parent: Nodes,
    _folder: TempDir,
}

impl Caches {
    /// Starts them; `more` stands in each of their locations.
    pub(crate) fn start(nginx: &Path, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let parent = Nodes::start(
            &[NodePlan::on_any_port("parent", "FRA")],
            NodeOptions::default(),
        );
        let parent = parent.unwrap();
        let ports = NODES.map(|_| free_port());
        let address = parent.address("parent").unwrap().to_string();
        let file = folder.path().join("nginx.conf");
        let text = configuration(folder.path(), &ports, (&address, more));
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(nginx);
        command
            .args(["-e", "stderr", "-p"])
            .arg(folder.path())
            .arg("-c")
            .arg(&file);
        let mut caches = Process::start(command, folder.path().join("log"));
        caches.until("the caches listen", || {
            ports
                .iter()
                .all(|port| is_open(([127, 0, 0, 1], *port).into()))
        });
        Self {
            ports,
            _nginx: caches,
            _parent: parent,
            _folder: folder,
        }
    }

    /// The ports that the examples name for them, and their own.
    pub(crate) fn elsewhere(&self) -> Vec<(u16, u16)> {
        NODES.into_iter().zip(self.ports).collect()
    }
}

#[test]
fn hits_behind_a_parent_are_the_nodes_own() {
    let test = "hits_behind_a_parent_are_the_nodes_own";
    let Some(program) = Tool::Nginx.path(test) else {
        return;
    };
    let caches = Caches::start(&program, "");
    let setup = Setup {
        elsewhere: caches.elsewhere(),
        ..Setup::default()
    };
    let edits = [TELL_THE_LIST, PATIENT];
    let Some(mut envoy) = Envoy::start_with(test, "envoy.yaml", &edits, setup) else {
        return;
    };
    let mut proxy = envoy.connect();
    let mut truth = BTreeMap::<String, (u32, u32)>::new();
    let mut parents_own = 0;
    for number in 0..REQUESTS {
        let (node, parent, is_hit) = ask(&mut proxy, number);
        let (hits, all) = truth.entry(node).or_default();
        *hits += u32::from(is_hit);
        *all += 1;
        parents_own += usize::from(parent == "MISS" && is_hit);
    }
    // What would be believed by the first word is far from the truth.
    assert!(parents_own > REQUESTS / 2, "{parents_own}");
    let sidecar = &mut envoy.rig.sidecar;
    sidecar.until("all attempts are told", |pages| {
        pages.metric("tradewind_outcomes_total{result=\"ok\"}") >= 4_000.0
    });
    let mut learned = BTreeMap::new();
    sidecar.until("hit ratios are learned", |pages| {
        let page = pages.page("/debug/nodes?site=FRA").json();
        let nodes = page["nodes"].as_array().unwrap().iter();
        learned = nodes
            .filter_map(|node| {
                let port = node["address"].as_str()?.to_owned();
                Some((port, node["health"]["hit_ratio"].as_f64()?))
            })
            .collect::<BTreeMap<String, f64>>();
        learned.len() == 3
    });
    for (node, (hits, all)) in truth {
        let ratio = f64::from(hits) / f64::from(all);
        let learned = learned[&node];
        note(&format!(
            "{test}: {:.1} % of {all} are hits, {:.1} % learned",
            100.0 * ratio,
            100.0 * learned
        ));
        assert!((learned - ratio).abs() <= WITHIN, "{ratio} {learned}");
    }
}

/// Makes one request of a client near Frankfurt: which node answered, what its parent had said, and whether it had the object.
fn ask(proxy: &mut Connection, number: usize) -> (String, String, bool) {
    let path = match number % 8 {
        0 => format!("/once/{number}"),
        _ => format!("/object/{}", number % 24),
    };
    let asker = client(0);
    let answer = proxy.get(&path, &[("Host", HOST), ("X-Forwarded-For", &*asker)]);
    let answer = answer.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let said = answer.headers.iter().filter(|(name, _)| name == "x-cache");
    let said: Vec<&str> = said.map(|(_, value)| &**value).collect();
    assert_eq!(
        said.len(),
        2,
        "the parent's word and the node's own: {said:?}"
    );
    let node = answer.header("x-cache-node").unwrap();
    (node.to_owned(), said[0].to_owned(), said[1] == "HIT")
}
