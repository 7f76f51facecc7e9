//! `tradewind topology import`.

use crate::support::{Files, tradewind};
use tradewind::command::Exit;
use tradewind::engine::topology;

const LONG: &str = "code,city,country,country_code,latitude,longitude,pricing_region\n\
                    FRA,Frankfurt,Germany,DE,50.033333,8.570556,\"Europe, & Israel\"\n\
                    OSL,Oslo,Norway,NO,60.193917,11.100361,\n";

const SHORT: &str = "iata,lat,lon,cca2,region,city\nSYD,-33.95,151.18,AU,Oceania,Sydney\n";

#[test]
fn a_list_becomes_a_topology_that_compiles() {
    let files = Files::new();
    let list = files.write("sites.csv", LONG);
    let ran = tradewind(&["topology", "import", &list]);
    assert_eq!((ran.exit, ran.error.as_str()), (Exit::Good, ""));
    let fleet = topology::compile("out", &ran.out).topology.unwrap();
    assert_eq!((fleet.sites().len(), fleet.nodes().len()), (2, 4));
    let oslo = fleet.site(fleet.find_site("OSL").unwrap());
    // The code that YAML 1.1 reads as "false".
    assert_eq!(oslo.country.unwrap().to_string(), "NO");
    let node = fleet.node(fleet.find_node("FRA-2").unwrap());
    assert_eq!(node.address.to_string(), "fra-2.cache.example.net:80");
    assert_eq!(node.labels["city"], "Frankfurt");
    assert_eq!(node.labels["region"], "Europe, & Israel");
    assert_eq!(fleet.tier_name(oslo.tier), "edge");
}

#[test]
fn flags_shape_the_fleet() {
    let files = Files::new();
    let list = files.write("sites.csv", SHORT);
    let ran = tradewind(&[
        "topology",
        "import",
        &list,
        "--nodes-per-site",
        "3",
        "--capacity",
        "250",
        "--tier",
        "regional",
        "--address",
        "{site_lower}{index}.{site}.example.org:6081",
        "--origin",
        "-33.9,151.2",
        "--output",
        &files.path("out.yaml"),
    ]);
    assert_eq!(
        (ran.exit, ran.out.as_str(), ran.error.as_str()),
        (Exit::Good, "", "")
    );
    let fleet = topology::compile("out", &files.read("out.yaml"))
        .topology
        .unwrap();
    let sydney = fleet.site(fleet.find_site("SYD").unwrap());
    let origin = fleet.find_site("origin").unwrap();
    assert_eq!(sydney.parents, [origin]);
    assert_eq!(fleet.tier_name(sydney.tier), "regional");
    assert_eq!(fleet.tier_name(fleet.site(origin).tier), "origin");
    let node = fleet.node(fleet.find_node("SYD-3").unwrap());
    assert_eq!(
        (node.address.to_string().as_str(), node.capacity),
        ("syd3.syd.example.org:6081", 250)
    );
    assert_eq!(fleet.nodes().len(), 4);
    // What `check` reads is what `import` writes.
    assert_eq!(
        tradewind(&["check", &files.path("out.yaml")]).exit,
        Exit::Good
    );
}

#[test]
fn every_bad_row_is_named_at_once() {
    let files = Files::new();
    let list = files.write(
        "sites.csv",
        "iata,lat,lon,cca2\nFRA,50,8,DE\nfra,1,1,DE\n?,x,200,DEU\norigin,0,0,\n",
    );
    let ran = tradewind(&["topology", "import", &list, "--origin", "0,0"]);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Refused, ""));
    for part in [
        "line 3: `iata` is `fra`, must be a code of its own; line 2 has the same",
        "line 4: `iata` is `?`",
        "line 4: `lat` is `x`, must be a number from -90 to 90",
        "line 4: `lon` is `200`",
        "line 4: `cca2` is `DEU`",
        "line 5: `code` is `origin`",
        "tradewind: the list of sites is refused, with 6 faults\n",
    ] {
        assert!(ran.error.contains(part), "{part} in {}", ran.error);
    }
}

#[test]
fn what_can_not_become_a_topology_says_why() {
    let files = Files::new();
    let good = files.write("good.csv", LONG);
    let columns = files.write("columns.csv", "name,lat\nA,1\n");
    let empty = files.write("empty.csv", "code,lat,lon\n");
    for (args, part) in [
        (vec![columns.as_str()], "no column for code (code, iata"),
        (vec![&empty], "has no site"),
        (vec!["no-such-file.csv"], "can not be read"),
        (vec![&good, "--address", "{host}:80"], "`{host}`"),
        (
            vec![&good, "--address", "cache:80"],
            "gives several nodes one address",
        ),
        (vec![&good, "--address", "{node}"], "has no port"),
        (vec![&good, "--tier", "origin"], "the tier is `origin`"),
        (vec![&good, "--origin", "100,0"], "is not a place"),
        (vec![&good, "--nodes-per-site", "0"], "0 is not in 1..=100"),
        (vec![&good, "--capacity", "1001"], "1001 is not in 1..=1000"),
    ] {
        let args: Vec<&str> = ["topology", "import"].into_iter().chain(args).collect();
        let ran = tradewind(&args);
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Usage, ""), "{args:?}");
        assert!(ran.error.contains(part), "{part} in {}", ran.error);
    }
}
