//! Our subset of Envoy's protos against the originals, field by field: what is on the wire is what Envoy means.
//!
//! The originals come with the crate `envoy-types`. It is named in Cargo.toml so that its version is fixed, but never
//! compiled: cargo is asked where its source lies, and only its `.proto` files are read.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a file that is not as expected is a failure"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FileDescriptorSet, MethodDescriptorProto,
};
use serde_json::Value;

/// Our files, and the files of Envoy that they are subsets of.
const FILES: [&str; 6] = [
    "envoy/service/accesslog/v3/als.proto",
    "envoy/service/auth/v3/external_auth.proto",
    "envoy/service/discovery/v3/ads.proto",
    "envoy/service/endpoint/v3/eds.proto",
    "envoy/service/ext_proc/v3/external_processor.proto",
    "envoy/service/load_stats/v3/lrs.proto",
];

/// The folder of the crate with the originals.
fn originals() -> PathBuf {
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages
        .iter()
        .find(|package| package["name"] == "envoy-types")
        .unwrap();
    let manifest = Path::new(package["manifest_path"].as_str().unwrap());
    manifest.parent().unwrap().join("proto")
}

/// Everything a set of files declares, by full name.
#[derive(Default)]
struct Declared {
    messages: BTreeMap<String, DescriptorProto>,
    enums: BTreeMap<String, EnumDescriptorProto>,
    /// By service and name.
    methods: BTreeMap<String, MethodDescriptorProto>,
}

impl Declared {
    fn new(set: FileDescriptorSet) -> Self {
        let mut declared = Self::default();
        for file in set.file {
            let package = format!(".{}", file.package());
            for message in &file.message_type {
                declared.message(&package, message);
            }
            for own in &file.enum_type {
                declared
                    .enums
                    .insert(format!("{package}.{}", own.name()), own.clone());
            }
            for service in &file.service {
                for method in &service.method {
                    // Only what reaches the wire: options are for others.
                    let signature = MethodDescriptorProto {
                        options: None,
                        ..method.clone()
                    };
                    let name = format!("{package}.{}/{}", service.name(), method.name());
                    declared.methods.insert(name, signature);
                }
            }
        }
        declared
    }

    fn message(&mut self, within: &str, message: &DescriptorProto) {
        let name = format!("{within}.{}", message.name());
        for nested in &message.nested_type {
            self.message(&name, nested);
        }
        for own in &message.enum_type {
            self.enums
                .insert(format!("{name}.{}", own.name()), own.clone());
        }
        self.messages.insert(name, message.clone());
    }
}

/// What of a field reaches the wire, and the group of alternatives it is of.
fn meaning(
    field: &FieldDescriptorProto,
    message: &DescriptorProto,
) -> impl PartialEq + std::fmt::Debug {
    let alternatives = field
        .oneof_index
        .and_then(|at| message.oneof_decl.get(usize::try_from(at).unwrap()));
    (
        field.number(),
        field.r#type(),
        field.label(),
        field.type_name().to_owned(),
        alternatives.map(|group| group.name().to_owned()),
    )
}

#[test]
fn every_field_enum_and_method_is_as_in_envoys_own_files() {
    let root = originals();
    let includes: Vec<PathBuf> = [
        "data-plane-api",
        "googleapis",
        "xds",
        "protoc-gen-validate",
        "cel-spec",
        "opentelemetry-proto",
        "client_model",
        "ratelimit",
    ]
    .iter()
    .map(|folder| root.join(folder))
    .collect();
    // Endpoints travel inside `Any`, so the service's file does not lead to theirs.
    let files = FILES
        .into_iter()
        .chain(["envoy/config/endpoint/v3/endpoint.proto"]);
    let theirs = Declared::new(protox::compile(files, includes).unwrap());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let own_files = FILES.map(|file| file.replace("ads.proto", "discovery.proto"));
    let ours = Declared::new(protox::compile(own_files, [folder]).unwrap());
    let mut compared = 0;
    for (name, message) in &ours.messages {
        let original = &theirs
            .messages
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not Envoy's"));
        for field in &message.field {
            let field_name = field.name();
            let same = original
                .field
                .iter()
                .find(|other| other.name() == field_name);
            let same = same.unwrap_or_else(|| panic!("{name}.{field_name} is not Envoy's"));
            let (own, other) = (meaning(field, message), meaning(same, original));
            assert!(
                format!("{own:?}") == format!("{other:?}"),
                "{name}.{field_name}: {own:?} is {other:?} in Envoy"
            );
            compared += 1;
        }
    }
    for (name, own) in &ours.enums {
        let original = &theirs.enums[name];
        for value in &own.value {
            let same = original
                .value
                .iter()
                .find(|other| other.name() == value.name());
            assert_eq!(
                same.map(EnumValueDescriptorProto::number),
                Some(value.number()),
                "{name}.{}",
                value.name()
            );
            compared += 1;
        }
    }
    for (name, own) in &ours.methods {
        assert_eq!(Some(own), theirs.methods.get(name), "{name}");
        compared += 1;
    }
    assert!(compared > 150, "only {compared} things were compared");
}
