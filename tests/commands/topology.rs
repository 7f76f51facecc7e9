//! `tradewind topology import`.

use crate::support::{Files, Ran, shared, tradewind};
use tradewind::command::Exit;
use tradewind::engine::topology::{self, Topology};

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
    assert_eq!(
        ran.notes,
        format!(
            "`{list}`: 2 sites, read as id `code`, latitude `latitude`, longitude `longitude`, country `country_code`, \
             label city `city`, label region `pricing_region`; not read: `country`\n"
        )
    );
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
        "iata,lat,lon,cca2,parent\nFRA,50,8,DE,\nfra,1,1,DE,\n?,x,200,DEU,\norigin,0,1,,\nMUC,48,11,DE,FRA\nOSL,60,11,NO,LON\n",
    );
    let ran = tradewind(&["topology", "import", &list, "--origin", "0,5"]);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Refused, ""));
    for part in [
        "line 3: `iata` is `fra`, must be an id of its own; line 2 has the same",
        "line 4: `iata` is `?`",
        "line 4: `lat` is `x`, must be a number from -90 to 90",
        "line 4: `lon` is `200`",
        "line 4: `cca2` is `DEU`",
        "line 5: `id` is `origin`",
        "line 6: `parents` is `FRA`, must be of a later tier than `edge`",
        "line 7: `parents` is `LON`, must be the id of a site in this list",
        "tradewind: the list of sites is refused, with 8 faults\n",
    ] {
        assert!(ran.error.contains(part), "{part} in {}", ran.error);
    }
}

#[test]
fn what_cannot_become_a_topology_says_why() {
    let files = Files::new();
    let good = files.write("good.csv", LONG);
    let columns = files.write("columns.csv", "title,lat\nA,1\n");
    let empty = files.write("empty.csv", "code,lat,lon\n");
    let wrapped = files.write("wrapped.json", r#"{"data": [{"code": "FRA"}]}"#);
    let cut = files.write("cut.json", r#"[{"code": "FRA""#);
    for (args, part) in [
        (vec![columns.as_str()], "no column for id (code, iata"),
        (vec![&empty], "has no site"),
        (vec!["no-such-file.csv"], "cannot be read"),
        (vec![&good, "--address", "{host}:80"], "`{host}`"),
        (
            vec![&good, "--address", "cache:80"],
            "gives several nodes one address",
        ),
        (vec![&good, "--address", "{node}"], "has no port"),
        (vec![&good, "--tier", "origin"], "the tier is `origin`"),
        (
            vec![&good, "--tier", "edge", "--tiers", "near,far"],
            "the tier is `edge`, must be one of near",
        ),
        (vec![&good, "--tiers", "near,the far"], "called `the far`"),
        (vec![&good, "--label", "rack"], "no column is called `rack`"),
        (vec![&good, "--column", "height=rack"], "not ROLE=COLUMN"),
        (vec![&good, "--origin-country", "IE"], "--origin <LAT,LON>"),
        (vec![&wrapped], "this is JSON, an object of `data`"),
        (vec![&cut], "this is JSON that cannot be read: EOF"),
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

/// Imports a list that is good.
fn import(args: &[&str]) -> (Ran, Topology) {
    let args: Vec<&str> = ["topology", "import"].iter().chain(args).copied().collect();
    let ran = tradewind(&args);
    assert_eq!((ran.exit, ran.error.as_str()), (Exit::Good, ""), "{args:?}");
    let compiled = topology::compile("out", &ran.out);
    (ran, compiled.topology.unwrap())
}

/// The faults of a list that is refused, without the closing line.
fn faults(list: &str) -> Vec<String> {
    let ran = tradewind(&["topology", "import", list]);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Refused, ""));
    let lines = ran.error.lines().map(str::to_owned);
    let mut lines: Vec<String> = lines.collect();
    lines.pop();
    lines
}

#[test]
fn rows_of_another_length_were_read_as_other_places() {
    let files = Files::new();
    // Decimal commas made Frankfurt a place at 50, 3, and its city 8.
    let list = files.write(
        "decimal.csv",
        "code,lat,lon,city,country\nFRA,50,03,8,57,Frankfurt,DE\n",
    );
    let advice = "quote values with commas, or separate columns by ;";
    assert_eq!(
        faults(&list),
        [format!("line 2 has 7 fields, the header has 5: {advice}")]
    );
    // A comma in a country's name moved the columns behind it.
    let list = files.write(
        "names.csv",
        "code,city,country,country_code,latitude,longitude\n\
         ICN,Seoul,Korea, Republic of,KR,37.4691,126.4510\nNRT,Tokyo,Japan,JP,35.76,140.39\nTPE,Taipei\n",
    );
    assert_eq!(
        faults(&list),
        [
            format!("line 2 has 7 fields, the header has 6: {advice}"),
            "line 4 has 2 fields, the header has 6".to_owned(),
        ]
    );
    let (ran, fleet) = import(&[&list, "--skip-incomplete"]);
    assert_eq!(fleet.sites().len(), 1);
    let left_out = format!(
        "left out 2 incomplete rows:\nline 2 has 7 fields, the header has 6: {advice}\nline 4 has 2 fields, the header has 6\n"
    );
    assert!(ran.notes.ends_with(&left_out), "{}", ran.notes);
}

#[test]
fn a_site_at_0_0_is_one_whose_place_is_missing() {
    let files = Files::new();
    let list = files.write(
        "zero.csv",
        "code,lat,lon,country_code\nFRA,0,0,DE\nMAD,40.4,-3.6,ES\nLOS,,,NG\n",
    );
    assert_eq!(
        faults(&list),
        [
            "line 2: `lat` and `lon` are both 0, as missing coordinates are; must be where the site is",
            "line 4 has nothing in `lat` and `lon`",
        ]
    );
    let (ran, fleet) = import(&[&list, "--skip-incomplete"]);
    assert!(fleet.find_site("FRA").is_none() && fleet.find_site("MAD").is_some());
    assert!(
        ran.notes
            .contains("left out 2 incomplete rows:\nline 2: `lat`")
    );
    let nowhere = files.write("nowhere.csv", "code,lat,lon\nFRA,0,0\n");
    let ran = tradewind(&["topology", "import", &nowhere, "--skip-incomplete"]);
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.error.contains("has no site"), "{}", ran.error);
}

#[test]
fn an_id_that_makes_no_address_is_named_by_its_line_and_reason_once() {
    let files = Files::new();
    let list = files.write("ids.csv", "code,lat,lon\n1_000,6,6\nFRA,50,8\n2_000,7,7\n");
    let reason = "which has a host that is neither an IP address nor a host name";
    assert_eq!(
        faults(&list),
        [
            format!("line 2: the address template gives `1_000-1.cache.example.net:80`, {reason}"),
            format!("line 4: the address template gives `2_000-1.cache.example.net:80`, {reason}"),
        ]
    );
    let ran = tradewind(&["topology", "import", &list, "--address", "{node}"]);
    assert_eq!(
        ran.error,
        "tradewind: the address template `{node}` makes no address: has no port from 1 to 65535\n"
    );
}

#[test]
fn tiers_parents_labels_and_the_origins_country_come_from_the_list() {
    let files = Files::new();
    let list = files.write(
        "sites.csv",
        "Site;Breite;Länge;Tier;Parents;Shield Group\n\
         FRA;50,03;8,57;;R-EU;eu\nR-EU;52,3;4,7;Mid;;eu\nLIS;38,7;-9,1;;;\n",
    );
    let (ran, fleet) = import(&[
        &list,
        "--column",
        "latitude=breite,longitude=Länge",
        "--tiers",
        "near,mid,far",
        "--label",
        "shield group",
        "--origin",
        "53.42,-6.27",
        "--origin-country",
        "ie",
    ]);
    assert!(
        ran.notes
            .contains("tier `Tier`, parents `Parents`, label shield_group `Shield Group`")
    );
    let site = |id: &str| fleet.site(fleet.find_site(id).unwrap());
    let parents = |id: &str| -> Vec<&str> {
        let parents = site(id).parents.iter();
        parents.map(|parent| &*fleet.site(*parent).id).collect()
    };
    assert_eq!(parents("FRA"), ["R-EU"]);
    assert_eq!(parents("R-EU"), ["origin"]);
    assert_eq!(parents("LIS"), ["origin"]);
    let tiers = ["FRA", "R-EU", "LIS", "origin"].map(|id| fleet.tier_name(site(id).tier));
    assert_eq!(tiers, ["near", "mid", "near", "far"]);
    assert_eq!(site("origin").country.unwrap().to_string(), "IE");
    assert_eq!(
        fleet.node(fleet.find_node("FRA-1").unwrap()).labels["shield_group"],
        "eu"
    );
    assert_eq!(site("FRA").location.longitude().to_string(), "8.57");
}

#[test]
fn json_is_told_from_csv() {
    let files = Files::new();
    let array = r#"[{"iata": "FRA", "lat": 50.03, "lon": "8.57", "cca2": "DE"}]"#;
    let lines = "\u{feff}{\"code\": \"FRA\", \"coordinates\": {\"latitude\": 50.03, \"longitude\": 8.57}, \"cc\": \"DE\"}\n";
    let map = r#"{"FRA": {"latitude": 50.03, "longitude": 8.57, "country_code": "DE"}}"#;
    let geo = r#"{"type": "FeatureCollection", "features": [{"type": "Feature",
        "properties": {"code": "FRA", "country": "DE"}, "geometry": {"type": "Point", "coordinates": [8.57, 50.03]}}]}"#;
    for text in [array, lines, map, geo] {
        let (_, fleet) = import(&[&files.write("sites.json", text)]);
        let site = fleet.site(fleet.find_site("FRA").unwrap());
        assert_eq!(site.country.unwrap().to_string(), "DE", "{text}");
        let place = (site.location.latitude(), site.location.longitude());
        assert_eq!(format!("{place:?}"), "(50.03, 8.57)", "{text}");
    }
}

#[test]
fn byte_order_marks_are_no_part_of_the_first_name() {
    let files = Files::new();
    let text = "\u{feff}code\tlat\tlon\nZRH\t47,46\t8,55\n";
    let units = || text.encode_utf16();
    let little: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
    for bytes in [text.as_bytes(), &little, &big] {
        let (_, fleet) = import(&[&files.write("sites.txt", bytes)]);
        assert!(fleet.find_site("ZRH").is_some());
    }
    let latin = files.write("latin.csv", b"code,lat,lon,city\nMUC,48,11,M\xfcnchen\n");
    let ran = tradewind(&["topology", "import", &latin]);
    assert!(ran.error.ends_with("is not UTF-8\n"), "{}", ran.error);
}

#[test]
fn a_public_list_of_edge_locations_is_read_as_it_is() {
    let name = "a_public_list_of_edge_locations_is_read_as_it_is";
    let Some(list) = shared(name, "pops/aws-edge-locations.csv") else {
        return;
    };
    let (ran, fleet) = import(&[&list]);
    let rows = std::fs::read_to_string(&list).unwrap().lines().count() - 1;
    assert_eq!((rows > 100, fleet.sites().len()), (true, rows));
    assert!(
        ran.notes
            .contains("country `country_code`, label city `city`, label region `pricing_region`"),
        "{}",
        ran.notes
    );
}
