//! Geo files that take seconds to read and compile, while operators go on.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use ipnet::IpNet;
use tradewind::sidecar::wire::proto::set_admin_state_request::Target;
use tradewind::sidecar::wire::proto::topology_service_client::TopologyServiceClient;
use tradewind::sidecar::wire::proto::{AdminState, SetAdminStateRequest};

use crate::mmdb::{Database, Family, Value};
use crate::server::{Files, PATIENCE};
use tradewind::sidecar::clock::timer_now;

const APPLIED: &str = "tradewind_geo_reload_total{result=\"applied\"}";

/// Networks of 256 addresses; in a build for tests their file takes about a second for each 100,000.
const NETWORKS: u32 = 200_000;

/// A file of many networks, built at this time.
fn large(build_epoch_s: u64) -> Vec<u8> {
    let mut database = Database::new("Tradewind-Large-City", "Made-up networks", Family::V4);
    database.record_bits = 28;
    database.build_epoch_s = build_epoch_s;
    let place = |number: u32| {
        let lat = f64::from(number % 130) - 60.0;
        let lon = f64::from(number % 359) - 179.0;
        Rc::new(Value::map([
            ("latitude", Value::Double(lat)),
            ("longitude", Value::Double(lon)),
        ]))
    };
    let places: Vec<Rc<Value>> = (0..40_000).map(place).collect();
    for number in 0..NETWORKS {
        let address = Ipv4Addr::from_bits((1 << 24) + (number << 8));
        let network = IpNet::new(IpAddr::V4(address), 24).unwrap();
        let place = &places[number as usize * 7_919 % places.len()];
        database.insert(network, Rc::clone(place));
    }
    database.to_bytes()
}

#[tokio::test]
async fn a_drain_does_not_wait_for_geo_files() {
    let files = Files::new();
    files.write("geo.mmdb", large(1));
    let setup = files.setup().with("geo", files.path("geo.mmdb"));
    let server = setup.start_within(4 * PATIENCE).await;
    let at = format!("http://{}", server.admin);
    let mut operator = TopologyServiceClient::connect(at).await.unwrap();
    files.replace("geo.mmdb", large(2));
    let began = timer_now();
    let mut took = Vec::new();
    while server.count(APPLIED) < 2 {
        assert!(began.elapsed() < 4 * PATIENCE, "{}", server.log());
        let asked = timer_now();
        let change = SetAdminStateRequest {
            target: Some(Target::Node("fra-1".to_owned())),
            state: AdminState::Drain.into(),
            why: "tests".to_owned(),
            ..SetAdminStateRequest::default()
        };
        operator.set_admin_state(change).await.unwrap();
        took.push(asked.elapsed());
    }
    let loaded = began.elapsed();
    took.sort();
    let (longest, middle) = (took.last().unwrap(), took[took.len() / 2]);
    println!(
        "{} drains while a load took {loaded:?}: {middle:?} in the middle, {longest:?} at most",
        took.len()
    );
    // On a busy machine any one may be late; one that waits for the load takes as long.
    assert!(
        took.len() >= 3 && middle < Duration::from_millis(100),
        "{took:?}"
    );
    assert!(*longest < loaded / 2, "{longest:?} of {loaded:?}");
}
