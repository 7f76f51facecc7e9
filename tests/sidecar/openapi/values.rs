//! Values at the limits of a schema and beyond, to be tried on the door.

use serde_json::{Value, json};

use super::document::{Document, types};

/// Values that a parameter or field takes, and others that it refuses.
pub(super) type Tried<T> = (Vec<T>, Vec<T>);

/// Texts that a parameter or field of this schema takes, and others that it refuses. `example` is one that it takes.
fn texts(schema: &Value, example: &str) -> Tried<String> {
    let (mut taken, mut refused) = (vec![example.to_owned()], Vec::new());
    if let Some(most) = schema["maxLength"].as_u64() {
        let fill = usize::try_from(most).unwrap() - example.len();
        let longest = format!("{example}{}", "a".repeat(fill));
        refused.push(format!("{longest}a"));
        taken.push(longest);
    }
    if schema["minLength"].is_u64() {
        refused.push("D".to_owned());
    }
    if schema["format"] == "ip" {
        taken.extend(
            [
                "2001:db8::1",
                "[2001:db8::1]:443",
                "192.0.2.1:80",
                "unknown",
                "-",
            ]
            .map(str::to_owned),
        );
        refused.extend(["1.2.3", "192.0.2.256", "host"].map(str::to_owned));
    }
    (taken, refused)
}

/// The same for a number, as it is written.
fn numbers(schema: &Value) -> Tried<String> {
    let (least, most) = (&schema["minimum"], &schema["maximum"]);
    let beyond = |number: &Value, step: i128| {
        let number = number.to_string().parse::<i128>().unwrap();
        (number + step).to_string()
    };
    let taken = vec![least.to_string(), most.to_string()];
    let refused = vec![beyond(least, -1), beyond(most, 1), "many".to_owned()];
    (taken, refused)
}

/// The same for a list, with commas between.
fn lists(schema: &Value, example: &Value) -> Tried<String> {
    let joined = |items: &[String]| items.join(",");
    let items: Vec<String> = example
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item.as_str().unwrap().to_owned())
        .collect();
    let most = usize::try_from(schema["maxItems"].as_u64().unwrap()).unwrap();
    let (longest, longer) = texts(&schema["items"], &items[0]);
    let many = |count: usize| joined(&vec![items[0].clone(); count]);
    let mut refused = vec![many(most + 1)];
    refused.extend(longer);
    let taken = [vec![joined(&items), many(most)], longest].concat();
    (taken, refused)
}

/// What a parameter takes and what it refuses.
pub(super) fn values(parameter: &Value) -> Tried<String> {
    let (schema, example) = (&parameter["schema"], &parameter["example"]);
    match schema["type"].as_str().unwrap() {
        "integer" | "number" => numbers(schema),
        "array" => lists(schema, example),
        "string" => texts(schema, example.as_str().unwrap()),
        other => panic!("{other} is no type of a parameter"),
    }
}

/// The same for a field of JSON.
pub(super) fn json_values(document: &Document, schema: &Value) -> Tried<Value> {
    let schema = document.resolve(schema);
    match types(schema).first() {
        Some(&"string") => json_texts(schema),
        Some(&"boolean") => (
            vec![json!(true), json!(false), Value::Null],
            vec![json!("yes"), json!(1)],
        ),
        Some(&("integer" | "number")) => {
            let (taken, refused) = numbers(schema);
            let values = |texts: Vec<String>| {
                let read = texts.into_iter().map(|text| serde_json::from_str(&text));
                read.map(|value| value.unwrap_or(json!("many"))).collect()
            };
            (values(taken), values(refused))
        }
        Some(&"array") => json_lists(document, schema),
        Some(&"object") => json_objects(document, schema),
        other => panic!("{other:?} of {schema}"),
    }
}

fn json_texts(schema: &Value) -> Tried<Value> {
    let is_address = schema["format"] == "ip";
    let any = if is_address { "192.0.2.1" } else { "a" };
    let example = schema["examples"][0].as_str().unwrap_or(any);
    let (taken, refused) = texts(schema, example);
    let values = |texts: Vec<String>| texts.into_iter().map(Value::from).collect::<Vec<_>>();
    let mut refused = values(refused);
    refused.push(json!([]));
    if types(schema).len() == 1 {
        refused.push(json!(7));
    }
    (values(taken), refused)
}

fn json_lists(document: &Document, schema: &Value) -> Tried<Value> {
    let (one, wrong) = json_values(document, &schema["items"]);
    let most = schema["maxItems"].as_u64();
    let many = |count: u64| json!(vec![one[0].clone(); usize::try_from(count).unwrap()]);
    let mut taken: Vec<Value> = one.iter().map(|item| json!([item])).collect();
    taken.push(many(most.unwrap_or(2)));
    let mut refused: Vec<Value> = wrong.iter().map(|item| json!([item])).collect();
    refused.push(json!("a"));
    refused.extend(most.map(|most| many(most + 1)));
    (taken, refused)
}

/// All fields at once, then one after the other with other values.
fn json_objects(document: &Document, schema: &Value) -> Tried<Value> {
    let fields = schema["properties"].as_object().unwrap();
    let fields: Vec<(&String, Tried<Value>)> = fields
        .iter()
        .map(|(name, schema)| (name, json_values(document, schema)))
        .collect();
    let mut whole = json!({});
    for (name, (taken, _)) in &fields {
        whole[*name] = taken[0].clone();
    }
    let with = |name: &str, value: Value| {
        let mut changed = whole.clone();
        changed[name] = value;
        changed
    };
    let (mut taken, mut refused) = (
        vec![whole.clone()],
        vec![json!({ "colour": 1 }), json!("a")],
    );
    for (name, (rights, wrongs)) in fields {
        taken.extend(rights.into_iter().map(|value| with(name, value)));
        refused.extend(wrongs.into_iter().map(|value| with(name, value)));
    }
    (taken, refused)
}
