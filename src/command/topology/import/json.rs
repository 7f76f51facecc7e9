//! Lists of sites as JSON: an array of objects, objects one a line, objects by code, or `GeoJSON`.
//!
//! Objects within a row become columns of their own (`coordinates.latitude`), as lists with nested coordinates need.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use serde_json::{Deserializer, Map, Value};

use super::ImportError;
use super::faults::{Rejected, Wrong};
use super::place::Place;
use super::table::{Row, Table};
use crate::engine::model;

/// How deep objects within a row are looked into.
const MAX_DEPTH: usize = 4;

/// The column for the names of an object of objects.
const KEY: &str = "code";

/// Columns for the coordinates of a `GeoJSON` point, in the order in which it has them.
const COORDINATES: [&str; 2] = ["longitude", "latitude"];

/// Whether a list is JSON and not CSV: no header begins so.
pub(super) fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

/// Reads a list, whichever of the shapes it has.
pub(super) fn read(text: &str, rejected: &mut Rejected) -> Result<Table, ImportError> {
    let mut values = values(text)?;
    let mut rows = Rows::default();
    if values.len() > 1 {
        for (line, value) in &values {
            rows.push(Place::Line(*line), value)?;
        }
        return Ok(rows.table());
    }
    match values.pop() {
        Some((_, Value::Array(entries))) => {
            for (entry, value) in (1..).zip(&entries) {
                rows.push(Place::Entry(entry), value)?;
            }
        }
        Some((_, Value::Object(object))) if is_collection(&object) => {
            let features = object.get("features").and_then(Value::as_array);
            let features = features.ok_or_else(|| shape("GeoJSON without `features`"))?;
            for (number, feature) in (1..).zip(features) {
                rows.feature(Place::Feature(number), feature, rejected)?;
            }
        }
        Some((_, Value::Object(object))) if object.values().all(Value::is_object) => {
            for (entry, (name, value)) in (1..).zip(&object) {
                rows.keyed(Place::Entry(entry), name, value);
            }
        }
        Some((line, value @ Value::Object(_))) => match wrapper(&value) {
            Some(found) => return Err(shape(&found)),
            None => rows.push(Place::Line(line), &value)?,
        },
        Some((_, other)) => return Err(shape(kind(&other))),
        None => {}
    }
    Ok(rows.table())
}

/// A value and the line on which it begins.
type Line = (u64, Value);

/// All values of the text.
fn values(text: &str) -> Result<Vec<Line>, ImportError> {
    let mut stream = Deserializer::from_str(text).into_iter::<Value>();
    let (mut line, mut counted) = (1, 0);
    let mut values = Vec::new();
    loop {
        let rest = text.get(stream.byte_offset()..).unwrap_or_default();
        let start = text.len() - rest.trim_start().len();
        let passed = text.get(counted..start).unwrap_or_default();
        line += passed.bytes().filter(|byte| *byte == b'\n').count() as u64;
        counted = start;
        match stream.next() {
            None => return Ok(values),
            Some(value) => values.push((line, value.map_err(ImportError::Json)?)),
        }
    }
}

fn is_collection(object: &Map<String, Value>) -> bool {
    object.get("type").and_then(Value::as_str) == Some("FeatureCollection")
}

/// What an object is that holds a list and is no row, with the way to get the list out.
fn wrapper(value: &Value) -> Option<String> {
    let object = value.as_object()?;
    let list = object.iter().find_map(|(name, value)| {
        value
            .as_array()?
            .iter()
            .any(Value::is_object)
            .then_some(name)
    });
    let names: Vec<String> = object
        .keys()
        .take(8)
        .map(|name| format!("`{name}`"))
        .collect();
    list.map(|list| {
        format!(
            "an object of {} (take its list out: jq '.[\"{list}\"]')",
            names.join(", ")
        )
    })
}

fn shape(found: &str) -> ImportError {
    ImportError::Shape {
        found: found.to_owned(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Rows whose columns come to light one after the other.
#[derive(Default)]
struct Rows {
    names: Vec<String>,
    columns: HashMap<String, usize, FixedState>,
    found: Vec<(Place, Fields)>,
}

/// The texts of a row, each with its column.
type Fields = Vec<(usize, String)>;

impl Rows {
    /// Adds a row from an object.
    fn push(&mut self, place: Place, value: &Value) -> Result<(), ImportError> {
        if !value.is_object() {
            return Err(shape(&format!("{} as {place}", kind(value))));
        }
        let mut fields = Vec::new();
        self.flatten("", value, 0, &mut fields);
        self.found.push((place, fields));
        Ok(())
    }

    /// Adds a row from an object that stands under its code.
    fn keyed(&mut self, place: Place, name: &str, value: &Value) {
        // The name stands first: a field of the same name, which the object may have too, comes later and wins.
        let mut fields = vec![(self.column(KEY), name.to_owned())];
        self.flatten("", value, 0, &mut fields);
        self.found.push((place, fields));
    }

    /// Adds a row from a point with properties.
    fn feature(
        &mut self,
        place: Place,
        feature: &Value,
        rejected: &mut Rejected,
    ) -> Result<(), ImportError> {
        let (Some(properties), Some(geometry)) =
            (feature.get("properties"), feature.get("geometry"))
        else {
            let found = format!(
                "{} without `properties` or `geometry` as {place}",
                kind(feature)
            );
            return Err(shape(&found));
        };
        let kind = geometry.get("type").and_then(Value::as_str);
        if let Some(found) = kind.filter(|kind| *kind != "Point") {
            let found = model::printable(found, 40);
            rejected.push(place, Wrong::Geometry { found });
            return Ok(());
        }
        let mut fields = Vec::new();
        if let Some(id) = feature.get("id") {
            self.flatten("id", id, 0, &mut fields);
        }
        self.flatten("", properties, 0, &mut fields);
        let coordinates = geometry.get("coordinates").and_then(Value::as_array);
        for (number, name) in COORDINATES.into_iter().enumerate() {
            let degrees = coordinates.and_then(|list| list.get(number));
            self.flatten(name, degrees.unwrap_or(&Value::Null), 0, &mut fields);
        }
        self.found.push((place, fields));
        Ok(())
    }

    fn flatten(&mut self, name: &str, value: &Value, depth: usize, fields: &mut Fields) {
        match value {
            Value::Object(object) if depth < MAX_DEPTH => {
                for (part, value) in object {
                    let name = if name.is_empty() {
                        part.clone()
                    } else {
                        format!("{name}.{part}")
                    };
                    self.flatten(&name, value, depth + 1, fields);
                }
            }
            Value::Object(_) => {}
            Value::Array(list) => {
                let texts: Option<Vec<String>> = list.iter().map(scalar).collect();
                if let Some(texts) = texts {
                    fields.push((self.column(name), texts.join(" ")));
                }
            }
            _ => fields.push((self.column(name), scalar(value).unwrap_or_default())),
        }
    }

    /// The column with this name, which is made if there is none.
    fn column(&mut self, name: &str) -> usize {
        if let Some(column) = self.columns.get(name) {
            return *column;
        }
        let column = self.names.len();
        self.names.push(name.to_owned());
        self.columns.insert(name.to_owned(), column);
        column
    }

    fn table(self) -> Table {
        let width = self.names.len();
        let rows = self.found.into_iter().map(|(place, found)| {
            let mut fields = vec![String::new(); width];
            for (column, text) in found.into_iter().filter(|(_, text)| !text.is_empty()) {
                if let Some(field) = fields.get_mut(column) {
                    *field = text;
                }
            }
            Row { place, fields }
        });
        Table {
            rows: rows.collect(),
            names: self.names,
        }
    }
}

/// The text of a value that is no list and no object; nothing for null.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row as `name=text` for what is there.
    fn rows(text: &str) -> Vec<String> {
        let mut rejected = Rejected::default();
        let table = read(text, &mut rejected).unwrap();
        assert_eq!(rejected.faults.to_string(), "");
        let row = |row: &Row| {
            let pairs = table.names.iter().zip(&row.fields);
            let mut pairs: Vec<String> = pairs
                .filter(|(_, text)| !text.is_empty())
                .map(|(name, text)| format!("{name}={text}"))
                .collect();
            pairs.sort();
            format!("{}: {}", row.place, pairs.join(" "))
        };
        table.rows.iter().map(row).collect()
    }

    #[test]
    fn every_shape_of_list_becomes_rows() {
        assert_eq!(
            rows(r#"[{"iata": "FRA", "lat": 50.03, "cca2": null}, {"iata": "MAD", "lat": -3}]"#),
            ["entry 1: iata=FRA lat=50.03", "entry 2: iata=MAD lat=-3"]
        );
        assert_eq!(
            rows("{\"code\": \"FRA\"}\n\n{\"code\": \"MAD\", \"tags\": [\"a\", 1]}\n"),
            ["line 1: code=FRA", "line 3: code=MAD tags=a 1"]
        );
        assert_eq!(
            rows(r#"{"FRA": {"coordinates": {"latitude": 50}}, "MAD": {"code": "MAD2"}}"#),
            [
                "entry 1: code=FRA coordinates.latitude=50",
                "entry 2: code=MAD2"
            ]
        );
        assert_eq!(
            rows(
                r#"{"type": "FeatureCollection", "features": [
                {"type": "Feature", "id": 7, "properties": {"code": "FRA", "latitude": 1},
                 "geometry": {"type": "Point", "coordinates": [8.57, 50.03, 110]}},
                {"type": "Feature", "properties": {"code": "MAD"}, "geometry": null}]}"#
            ),
            [
                "feature 1: code=FRA id=7 latitude=50.03 longitude=8.57",
                "feature 2: code=MAD"
            ]
        );
        assert_eq!(rows("[]"), Vec::<String>::new());
    }

    #[test]
    fn json_of_another_shape_says_what_it_is() {
        for (text, found) in [
            ("[1]", "this is JSON, a number as entry 1; must be"),
            (
                "{\"code\": \"FRA\"}\n[]",
                "this is JSON, an array as line 2; must be",
            ),
            (
                r#"{"data": [{"code": "FRA"}], "n": 1}"#,
                "an object of `data`, `n` (take its list out: jq '.[\"data\"]')",
            ),
            (
                r#"{"type": "FeatureCollection"}"#,
                "GeoJSON without `features`",
            ),
            ("[{\"code\": }]", "this is JSON that cannot be read"),
        ] {
            let error = read(text, &mut Rejected::default()).unwrap_err();
            assert!(error.to_string().contains(found), "{found} in {error}");
        }
    }

    #[test]
    fn a_shape_that_is_no_point_is_refused_by_its_number() {
        let mut rejected = Rejected::default();
        let text = r#"{"type": "FeatureCollection", "features": [
            {"properties": {}, "geometry": {"type": "Polygon", "coordinates": []}}]}"#;
        read(text, &mut rejected).unwrap();
        assert_eq!(
            rejected.faults.to_string(),
            "feature 1 is of the type Polygon, must be a Point\n"
        );
    }
}
