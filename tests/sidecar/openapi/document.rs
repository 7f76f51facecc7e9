//! A document, and the part of JSON Schema that the HTTP door's uses.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// A document.
pub(crate) struct Document(pub(crate) Value);

/// An operation: its method and path.
pub(crate) type Operation = (String, String);

impl Document {
    /// The HTTP door's.
    pub(super) fn read() -> Self {
        Self::of(include_str!("../../../docs/openapi.yaml"))
    }

    pub(crate) fn of(text: &str) -> Self {
        Self(serde_saphyr::from_str(text).unwrap())
    }

    /// That it is of this version, that all it refers to is there, that it uses all it has, and that no two operations are
    /// called alike.
    #[track_caller]
    pub(crate) fn assert_whole(&self) {
        assert_eq!(self.0["openapi"], "3.1.0");
        assert_eq!(self.0["info"]["version"], env!("CARGO_PKG_VERSION"));
        let mut open = vec![&self.0];
        let mut used = BTreeSet::new();
        while let Some(value) = open.pop() {
            self.resolve(value);
            if let Some(reference) = value["$ref"].as_str() {
                used.insert(reference.to_owned());
            }
            open.extend(value.as_object().into_iter().flat_map(Map::values));
            open.extend(value.as_array().into_iter().flatten());
        }
        for kind in ["parameters", "headers", "responses", "schemas"] {
            for name in self.0["components"][kind].as_object().unwrap().keys() {
                let reference = format!("#/components/{kind}/{name}");
                assert!(used.contains(&reference), "nobody uses {reference}");
            }
        }
        let operations = self.operations();
        let ids: Vec<_> = operations
            .values()
            .filter_map(|operation| operation["operationId"].as_str())
            .collect();
        let names: BTreeSet<_> = ids.iter().collect();
        assert_eq!(names.len(), ids.len(), "{ids:?}");
        // The paths of one page are one operation.
        for ((_, path), operation) in &operations {
            let has_name = operation["operationId"].is_string();
            assert!(has_name || operation["tags"][0] == "console", "{path}");
        }
    }

    /// What a value refers to, if it does, else itself.
    pub(crate) fn resolve<'d>(&'d self, value: &'d Value) -> &'d Value {
        let Some(reference) = value["$ref"].as_str() else {
            return value;
        };
        let found = self.0.pointer(reference.strip_prefix('#').unwrap());
        found.unwrap_or_else(|| panic!("{reference} is not there"))
    }

    pub(crate) fn schema(&self, name: &str) -> &Value {
        &self.0["components"]["schemas"][name]
    }

    pub(crate) fn operations(&self) -> BTreeMap<Operation, &Value> {
        let paths = self.0["paths"].as_object().unwrap().iter();
        paths
            .flat_map(|(path, methods)| {
                let methods = methods.as_object().unwrap().iter();
                methods
                    .map(|(method, operation)| ((method.to_uppercase(), path.clone()), operation))
            })
            .collect()
    }

    pub(crate) fn operation(&self, (method, path): (&str, &str)) -> &Value {
        &self.0["paths"][path][method.to_lowercase()]
    }

    /// The parameters of an operation that stand `within` the query or the headers.
    pub(crate) fn parameters<'d>(&'d self, operation: &'d Value, within: &str) -> Vec<&'d Value> {
        let all = operation["parameters"].as_array();
        let all = all.into_iter().flatten();
        all.map(|parameter| self.resolve(parameter))
            .filter(|parameter| parameter["in"] == within)
            .collect()
    }

    /// What is wrong with `value` by `schema`; the part of JSON Schema that the document uses.
    pub(super) fn faults(&self, schema: &Value, value: &Value, at: &str) -> Vec<String> {
        let schema = self.resolve(schema);
        if let Some(options) = schema["oneOf"].as_array() {
            let fitting = options
                .iter()
                .filter(|option| self.faults(option, value, at).is_empty());
            return match fitting.count() {
                1 => Vec::new(),
                count => vec![format!("{at}: {count} of the options fit {value}")],
            };
        }
        let mut faults = Vec::new();
        let types = types(schema);
        if !types.is_empty() && !types.iter().any(|name| is_of_type(name, value)) {
            faults.push(format!("{at}: {value} is not of {types:?}"));
        }
        let allowed = schema["enum"].as_array();
        if allowed.is_some_and(|allowed| !allowed.contains(value)) {
            faults.push(format!("{at}: {value} is not listed"));
        }
        if schema.get("const").is_some_and(|only| only != value) {
            faults.push(format!("{at}: {value} is not {}", schema["const"]));
        }
        if let Some(fields) = value.as_object() {
            faults.extend(self.faults_of_object(schema, fields, at));
        }
        if let Some(items) = value.as_array() {
            let most = schema["maxItems"].as_u64().unwrap_or(u64::MAX);
            if items.len() as u64 > most {
                faults.push(format!("{at}: more than {most}"));
            }
            let items = items.iter().enumerate();
            faults.extend(items.flat_map(|(number, item)| {
                self.faults(&schema["items"], item, &format!("{at}[{number}]"))
            }));
        }
        faults
    }

    fn faults_of_object(
        &self,
        schema: &Value,
        fields: &Map<String, Value>,
        at: &str,
    ) -> Vec<String> {
        let required = schema["required"].as_array().into_iter().flatten();
        let missing = required
            .filter_map(Value::as_str)
            .filter(|name| !fields.contains_key(*name));
        let mut faults: Vec<String> = missing
            .map(|name| format!("{at}.{name} is missing"))
            .collect();
        for (name, value) in fields {
            let at = format!("{at}.{name}");
            let names = &schema["propertyNames"];
            faults.extend(self.faults(names, &Value::from(name.as_str()), &at));
            let known = schema["properties"].get(name);
            let schema = known.unwrap_or(&schema["additionalProperties"]);
            if *schema == Value::Bool(false) {
                faults.push(format!("{at} is not in the document"));
            } else {
                faults.extend(self.faults(schema, value, &at));
            }
        }
        faults
    }
}

/// The types that a schema allows; none for any.
pub(super) fn types(schema: &Value) -> Vec<&str> {
    let several = schema["type"].as_array().into_iter().flatten();
    let one = std::iter::once(&schema["type"]);
    one.chain(several).filter_map(Value::as_str).collect()
}

fn is_of_type(name: &str, value: &Value) -> bool {
    match name {
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("`{other}` is no type"),
    }
}
