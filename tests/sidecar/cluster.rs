//! A fleet on a cluster of three real servers of NATS, which die one after the other and come back.

use std::fmt::Write as _;

use tonic::Code;

use crate::bus::Bus;
use crate::ports::free_port;
use crate::server::Files;
use crate::shared_purges::{Member, purge};

/// Three servers that keep everything three times, and where each says how it is.
fn cluster(test: &str) -> Option<([Bus; 3], [u16; 3])> {
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
    Some((servers, monitors))
}

async fn member(name: &'static str, servers: &[Bus; 3]) -> Member {
    let files = Files::new();
    let urls = servers.each_ref().map(Bus::url).join(",");
    let setup = files.setup().with("bus", urls).with("member", name);
    let setup = setup.with("bus-replicas", "3");
    Member::begin(name, files, setup).await
}

/// Whoever runs one server of NATS has one that can die; whoever runs three goes on to purge when any of them does.
#[tokio::test]
async fn a_cluster_of_three_goes_on_without_any_of_its_servers() {
    let test = "a_cluster_of_three_goes_on_without_any_of_its_servers";
    let Some((mut servers, monitors)) = cluster(test) else {
        return;
    };
    let mut a = member("a", &servers).await;
    let mut b = member("b", &servers).await;
    let mut last = a.purge("/0").await;
    b.until("/0", last).await;
    for at in 0..3 {
        servers[at].kill();
        let path = format!("/{}", at + 1);
        let purged = a.purge(&path).await;
        assert!(purged > last, "versions rise");
        last = purged;
        b.until(&path, last).await;
        servers[at].begin();
        servers[at].until_healthy(monitors[at]);
    }
    // Of three that have no majority none takes anything, and nobody is told otherwise.
    servers[0].kill();
    servers[1].kill();
    a.server.until_said("is not to be used").await;
    let refused = a.try_purge(purge("/4")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert_eq!(a.version("/3").await, last);
    servers[0].begin();
    servers[1].begin();
    let purged = b.purge("/4").await;
    a.until("/4", purged).await;
    // All that was answered is there for who comes now.
    let mut c = member("c", &servers).await;
    for path in ["/0", "/1", "/2", "/3", "/4"] {
        assert_eq!(c.until(path, 1).await, b.version(path).await, "{path}");
    }
}
