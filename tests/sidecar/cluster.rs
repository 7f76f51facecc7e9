//! A fleet on a cluster of three real servers of NATS, which die one after the other and come back.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use tonic::Code;
use tradewind::sidecar::clock::timer_now;

use crate::bus::Bus;
use crate::ports::free_port;
use crate::server::{Files, PATIENCE};
use crate::shared_purges::{Member, purge};

/// Three servers that keep everything three times.
struct Cluster {
    servers: [Bus; 3],
    /// Where each says how it is.
    monitors: [u16; 3],
}

impl Cluster {
    /// Starts one again, and waits until it has all that the others have.
    fn begin(&mut self, at: usize) {
        self.servers[at].begin();
        let monitor = SocketAddr::from(([127, 0, 0, 1], self.monitors[at]));
        let give_up = timer_now() + PATIENCE;
        while crate::page::get(monitor, "/healthz").status != 200 {
            assert!(timer_now() < give_up, "server {at} does not catch up");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn cluster(test: &str) -> Option<Cluster> {
    let ports = [free_port(), free_port(), free_port()];
    let monitors = [free_port(), free_port(), free_port()];
    let mut routes = String::new();
    for port in ports {
        write!(routes, "\"nats-route://127.0.0.1:{port}\", ").unwrap();
    }
    let settings = |name: &str, at: usize| {
        let (port, monitor) = (ports[at], monitors[at]);
        format!(
            "server_name: {name}\nhttp: \"127.0.0.1:{monitor}\"\n\
             cluster {{ name: edge, listen: \"127.0.0.1:{port}\", routes: [ {routes}] }}\n"
        )
    };
    let servers = [
        Bus::of_cluster(test, settings("one", 0))?,
        Bus::of_cluster(test, settings("two", 1))?,
        Bus::of_cluster(test, settings("three", 2))?,
    ];
    Some(Cluster { servers, monitors })
}

async fn member(name: &'static str, cluster: &Cluster) -> Member {
    let files = Files::new();
    let urls = cluster.servers.each_ref().map(Bus::url).join(",");
    let setup = files.setup().with("bus", urls).with("member", name);
    let setup = setup.with("bus-replicas", "3");
    Member::begin(name, files, setup).await
}

/// Whoever runs one server of NATS has one that can die; whoever runs three goes on to purge when any of them does.
#[tokio::test]
async fn a_cluster_of_three_goes_on_without_any_of_its_servers() {
    let test = "a_cluster_of_three_goes_on_without_any_of_its_servers";
    let Some(mut cluster) = cluster(test) else {
        return;
    };
    let mut a = member("a", &cluster).await;
    let mut b = member("b", &cluster).await;
    let mut last = a.purge("/0").await;
    b.until("/0", last).await;
    for at in 0..3 {
        cluster.servers[at].kill();
        let path = format!("/{}", at + 1);
        let purged = a.purge(&path).await;
        assert!(purged > last, "versions rise");
        last = purged;
        b.until(&path, last).await;
        cluster.begin(at);
    }
    // Of three that have no majority none takes anything, and nobody is told otherwise.
    cluster.servers[0].kill();
    cluster.servers[1].kill();
    a.server.until_said("is not to be used").await;
    let refused = a.try_purge(purge("/4")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert_eq!(a.version("/3").await, last);
    cluster.servers[0].begin();
    cluster.servers[1].begin();
    let purged = b.purge("/4").await;
    a.until("/4", purged).await;
    // All that was answered is there for who comes now.
    let mut c = member("c", &cluster).await;
    for path in ["/0", "/1", "/2", "/3", "/4"] {
        assert_eq!(c.until(path, 1).await, b.version(path).await, "{path}");
    }
}
