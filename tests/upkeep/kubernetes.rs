//! What `examples/kubernetes` has fits together: files that name each other, labels, ports, and the image.
//!
//! What kustomize makes of it is looked at where `kubectl` is. That a cluster takes it is checked by hand (docs/testing.md).

#![expect(
    clippy::unwrap_used,
    reason = "what tests share may fail like the test itself"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::examples::{INSTALLED, compile, examples, quiet, run, settings};
use crate::programs;

fn folder() -> PathBuf {
    examples().join("kubernetes")
}

fn read(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

fn objects(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

/// What kustomize makes of a folder, where it is.
fn kustomized(folder: &Path, test: &str) -> Option<Vec<Value>> {
    let mut command = Command::new("kubectl");
    command.arg("kustomize").arg(folder);
    let made = run(&mut command, test)?;
    Some(objects(&quiet(&made)))
}

fn of_kind<'a>(made: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    made.iter().filter(move |object| object["kind"] == kind)
}

fn strings(list: &Value) -> Vec<&str> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_str).collect()
}

/// Names of the ports of a pod's containers.
fn ports(pod: &Value) -> BTreeSet<&str> {
    let kinds = [&pod["initContainers"], &pod["containers"]];
    let containers = kinds.into_iter().flat_map(|kind| kind.as_array().unwrap());
    let ports = containers.flat_map(|container| container["ports"].as_array().unwrap());
    ports.map(|port| port["name"].as_str().unwrap()).collect()
}

#[test]
fn each_kustomization_names_the_files_that_there_are() {
    let mut named = BTreeSet::new();
    let mut there = BTreeSet::new();
    for place in ["", "options/egress", "options/prometheus-operator"] {
        let place = folder().join(place);
        let text = fs::read_to_string(place.join("kustomization.yaml")).unwrap();
        let kustomization = &objects(&text)[0];
        let maps = kustomization["configMapGenerator"].as_array();
        let maps = maps.map(Vec::as_slice).unwrap_or_default().iter();
        let files = maps.flat_map(|map| strings(&map["files"]));
        let resources = strings(&kustomization["resources"]);
        named.extend(files.chain(resources).map(|file| place.join(file)));
        for folder in [place.clone(), place.join("config")] {
            let files = fs::read_dir(folder).into_iter().flatten();
            let files = files.map(|file| file.unwrap().path());
            let is_yaml = |path: &PathBuf| path.extension().is_some_and(|it| it == "yaml");
            there.extend(
                files
                    .filter(is_yaml)
                    .filter(|it| !it.ends_with("kustomization.yaml")),
            );
        }
    }
    assert_eq!(named, there);
    for path in there {
        let text = fs::read_to_string(&path).unwrap();
        assert!(!objects(&text).is_empty(), "{}", path.display());
    }
}

/// With everything that may be turned on.
#[test]
fn guards_and_scrapers_name_pods_and_ports_that_there_are() {
    let work = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .arg("-r")
        .arg(folder())
        .arg(work.path().join("all"))
        .status();
    assert!(copied.unwrap().success());
    let file = work.path().join("all/kustomization.yaml");
    let options = "components: [options/egress, options/prometheus-operator]\n";
    fs::write(&file, read("kustomization.yaml") + options).unwrap();
    let Some(made) = kustomized(&work.path().join("all"), "guards_and_scrapers") else {
        return;
    };
    let template = &of_kind(&made, "Deployment").next().unwrap()["spec"]["template"];
    let labels = template["metadata"]["labels"].as_object().unwrap();
    let ports = ports(&template["spec"]);
    let selects = |selector: &Value| {
        let wanted = selector["matchLabels"].as_object().unwrap();
        assert!(!wanted.is_empty());
        let is_there = |(name, value)| labels.get(name) == Some(value);
        assert!(wanted.iter().all(is_there), "{wanted:?} of {labels:?}");
    };
    let policies: Vec<&Value> = of_kind(&made, "NetworkPolicy").collect();
    assert_eq!(policies.len(), 2);
    for policy in policies {
        selects(&policy["spec"]["podSelector"]);
        let rules = policy["spec"]["ingress"].as_array();
        for rule in rules.map(Vec::as_slice).unwrap_or_default() {
            for port in rule["ports"].as_array().unwrap() {
                let port = port["port"].as_str().unwrap();
                assert!(ports.contains(port), "{port} of {ports:?}");
                // The debug door is for scrapers; who asks for pages of the edge is anybody.
                assert_eq!(rule["from"].is_array(), port == "debug", "{rule}");
            }
        }
    }
    let monitor = of_kind(&made, "PodMonitor").next().unwrap();
    selects(&monitor["spec"]["selector"]);
    let scraped = &monitor["spec"]["podMetricsEndpoints"][0];
    assert_eq!(
        (&scraped["port"], &scraped["path"]),
        (&"debug".into(), &"/metrics".into())
    );
    selects(&of_kind(&made, "PodDisruptionBudget").next().unwrap()["spec"]["selector"]);
    let service = of_kind(&made, "Service").next().unwrap();
    for port in service["spec"]["ports"].as_array().unwrap() {
        let target = port["targetPort"].as_str().unwrap();
        assert!(ports.contains(target), "{target} of {ports:?}");
    }
    // The fleet of the example is within what egress lets out.
    let fleet = read("config/topology.yaml");
    let addresses = fleet
        .lines()
        .filter_map(|line| line.split_once("address: \""));
    assert!(addresses.clone().count() > 0);
    for (_, address) in addresses {
        assert!(address.starts_with("10."), "{address}");
    }
}

#[test]
fn every_container_is_locked_and_bounded() {
    let deployment = &objects(&read("deployment.yaml"))[0];
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    for container in [&pod["initContainers"][0], &pod["containers"][0]] {
        let locked = &container["securityContext"];
        assert_eq!(locked["allowPrivilegeEscalation"], false);
        assert_eq!(locked["readOnlyRootFilesystem"], true);
        assert_eq!(locked["capabilities"]["drop"][0], "ALL");
        assert!(container["resources"]["limits"]["memory"].is_string());
        assert!(container["resources"]["requests"]["cpu"].is_string());
    }
}

#[test]
fn the_image_is_of_the_release_and_runs_as_the_pod_does() {
    let file = read("Dockerfile");
    let instruction = |name: &str| {
        let lines = file.lines().filter_map(|line| line.strip_prefix(name));
        lines.map(str::trim).collect::<Vec<_>>()
    };
    // Built as releases are, by the compiler of releases.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let environment = fs::read_to_string(root.join("release/environment")).unwrap();
    let toolchain = environment
        .lines()
        .find_map(|line| line.strip_prefix("toolchain="));
    let builder = format!(
        "BUILDER=docker.io/library/rust:{}-slim-",
        toolchain.unwrap()
    );
    assert!(instruction("ARG ")[0].starts_with(&builder), "{file}");
    assert!(file.contains(" release/build /dist\n"));
    // Whose image is not named by its digest is so by an argument that can be.
    assert_eq!(
        instruction("FROM "),
        ["${BUILDER} AS build", "scratch AS debug", "${BASE}"]
    );
    let user = &objects(&read("deployment.yaml"))[0]["spec"]["template"]["spec"]["securityContext"];
    let user = format!("{}:{}", user["runAsUser"], user["runAsGroup"]);
    assert_eq!(instruction("USER "), [user]);
    assert_eq!(instruction("ENTRYPOINT "), [format!("[\"{INSTALLED}\"]")]);
    assert!(file.contains(&format!("COPY --from=build /dist/tradewind {INSTALLED}\n")));
    let settled = settings(["serve", "--example"]);
    let doors = [&settled.listen[0], &settled.http, &settled.admin];
    let doors = doors.map(ToString::to_string).into_iter();
    let open: BTreeSet<String> = doors.chain([settled.debug.to_string()]).collect();
    let exposed = instruction("EXPOSE ")[0].split(' ');
    let exposed: BTreeSet<String> = exposed.map(|port| format!("127.0.0.1:{port}")).collect();
    assert_eq!(exposed, open);
}

#[test]
fn the_image_has_nothing_that_its_linter_minds() {
    let Some(linter) = programs::path("hadolint", "the_image_has_nothing_that_its_linter_minds")
    else {
        return;
    };
    let mut command = Command::new(linter);
    command.arg(folder().join("Dockerfile"));
    quiet(&run(&mut command, "the_image_has_nothing_that_its_linter_minds").unwrap());
}

#[test]
fn kubernetes_gets_what_the_pages_say() {
    let Some(made) = kustomized(&folder(), "kubernetes_gets_what_the_pages_say") else {
        return;
    };
    let maps: BTreeMap<&str, &Value> = of_kind(&made, "ConfigMap")
        .map(|map| (map["metadata"]["name"].as_str().unwrap(), &map["data"]))
        .collect();
    // A policy that changes must not restart pods, so its name stays; Envoy's file is read once, so its name does not.
    let files = maps["tradewind"];
    assert!(
        maps.keys().any(|name| name.starts_with("envoy-")),
        "{maps:?}"
    );
    let text = |name: &str| files[name].as_str().unwrap();
    compile("tradewind", text("topology.yaml"), &[text("policy.yaml")]);

    let pod = &of_kind(&made, "Deployment").next().unwrap()["spec"]["template"]["spec"];
    let sidecar = &pod["initContainers"][0];
    assert_eq!(
        sidecar["restartPolicy"], "Always",
        "it goes on beside Envoy"
    );
    let arguments = sidecar["args"].as_array().unwrap().iter();
    let settled = settings(arguments.map(|argument| argument.as_str().unwrap()));
    // The kubelet reaches no loopback; nobody else than the kubelet and Envoy reaches what is on it.
    assert!(settled.debug.ip().is_unspecified());
    assert_eq!(settled.listen.len(), 1);
    assert!(settled.listen[0].to_string().starts_with("127.0.0.1:"));
    let port = settled.debug.port();
    assert_eq!(sidecar["ports"][0]["containerPort"], port);
    for (probe, page) in [
        ("startupProbe", "/readyz"),
        ("readinessProbe", "/readyz"),
        ("livenessProbe", "/livez"),
    ] {
        assert_eq!(sidecar[probe]["httpGet"]["path"], page, "{probe}");
    }
    // Files are where the sidecar looks for them, in directories: what is mounted by subPath is never updated.
    let mounts = sidecar["volumeMounts"].as_array().unwrap();
    assert!(mounts.iter().all(|mount| mount.get("subPath").is_none()));
    let parent =
        |file: &Option<PathBuf>| file.as_deref().and_then(Path::parent).map(Path::to_owned);
    for wanted in [
        parent(&settled.policy),
        parent(&settled.topology),
        settled.state_dir.clone(),
    ] {
        let wanted = wanted.unwrap();
        assert!(
            mounts
                .iter()
                .any(|mount| mount["mountPath"] == *wanted.to_str().unwrap()),
            "{wanted:?}"
        );
    }
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
}
