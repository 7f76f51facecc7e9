//! A strict reader of the `OpenMetrics` text format, as far as the sidecar uses it.

use std::collections::{BTreeMap, BTreeSet};

/// All samples, by their name with labels as written.
pub(crate) type Samples = BTreeMap<String, f64>;

/// A metric family while its lines are read.
#[derive(Debug, Default)]
struct Family {
    name: String,
    kind: String,
    has_help: bool,
    /// One histogram's buckets, by the labels beside `le`.
    buckets: BTreeMap<String, Vec<Bucket>>,
    counts: BTreeMap<String, f64>,
}

/// How many were at most so large.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    bound: f64,
    count: f64,
}

/// Reads a whole exposition; an error names the first line that breaks the format.
pub(crate) fn read(text: &str) -> Result<Samples, String> {
    let body = text
        .strip_suffix("# EOF\n")
        .ok_or("the last line is not `# EOF`")?;
    let mut samples = Samples::new();
    let mut seen = BTreeSet::new();
    let mut family = Family::default();
    for line in body.lines() {
        let read = match line.strip_prefix("# ") {
            Some(comment) => family.comment(comment, &mut seen),
            None => family.sample(line, &mut samples),
        };
        read.map_err(|fault| format!("{fault}: {line}"))?;
    }
    family.end()?;
    Ok(samples)
}

impl Family {
    fn comment(&mut self, comment: &str, seen: &mut BTreeSet<String>) -> Result<(), String> {
        let mut words = comment.splitn(3, ' ');
        let (Some(word), Some(name), Some(rest)) = (words.next(), words.next(), words.next())
        else {
            return Err("a comment of less than three words".into());
        };
        if name != self.name {
            std::mem::take(self).end()?;
            if !seen.insert(name.to_owned()) {
                return Err("a family that was seen before".into());
            }
            name.clone_into(&mut self.name);
        }
        if !self.buckets.is_empty() || !self.counts.is_empty() {
            return Err("a comment after samples".into());
        }
        match word {
            "HELP" if !self.has_help && !rest.is_empty() => self.has_help = true,
            "TYPE" if self.kind.is_empty() => rest.clone_into(&mut self.kind),
            "UNIT" if name.ends_with(&format!("_{rest}")) => {}
            _ => return Err("not HELP, TYPE or UNIT, or given twice".into()),
        }
        Ok(())
    }

    fn sample(&mut self, line: &str, samples: &mut Samples) -> Result<(), String> {
        let (series, value) = line.rsplit_once(' ').ok_or("no value")?;
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').ok_or("no `}`")?),
            None => (series, ""),
        };
        let labels = read_labels(labels)?;
        let value: f64 = value.parse().map_err(|_| "not a number")?;
        if !self.has_help || self.kind.is_empty() {
            return Err("a sample before its HELP and TYPE".into());
        }
        let suffix = name
            .strip_prefix(self.name.as_str())
            .ok_or("a sample of another family")?;
        let allowed = match self.kind.as_str() {
            "counter" => suffix == "_total",
            "gauge" => suffix.is_empty(),
            "histogram" => ["_bucket", "_sum", "_count"].contains(&suffix),
            _ => return Err("an unknown type".into()),
        };
        if !allowed {
            return Err(format!("`{suffix}` does not go with {}", self.kind));
        }
        if self.kind != "gauge" && (!value.is_finite() || value < 0.0) {
            return Err("a counter below 0".into());
        }
        self.note_histogram(suffix, labels, value)?;
        match samples.insert(series.to_owned(), value) {
            Some(_) => Err("a series given twice".into()),
            None => Ok(()),
        }
    }

    fn note_histogram(
        &mut self,
        suffix: &str,
        mut labels: BTreeMap<String, String>,
        value: f64,
    ) -> Result<(), String> {
        let bound = labels.remove("le");
        let others = format!("{labels:?}");
        match (suffix, bound) {
            ("_bucket", Some(bound)) => {
                let bound = match bound.as_str() {
                    "+Inf" => f64::INFINITY,
                    number => number.parse().map_err(|_| "a bound that is no number")?,
                };
                self.buckets.entry(others).or_default().push(Bucket {
                    bound,
                    count: value,
                });
            }
            ("_bucket", None) => return Err("a bucket without `le`".into()),
            (_, Some(_)) => return Err("`le` outside a bucket".into()),
            ("_count", None) => drop(self.counts.insert(others, value)),
            _ => {}
        }
        Ok(())
    }

    /// Checks what only the whole family shows.
    fn end(self) -> Result<(), String> {
        for (labels, buckets) in &self.buckets {
            let rising = buckets
                .windows(2)
                .all(|pair| pair[0].bound < pair[1].bound && pair[0].count <= pair[1].count);
            let last = buckets.last().copied().unwrap_or_default();
            let whole = Some(&last.count) == self.counts.get(labels);
            if !rising || last.bound.is_finite() || !whole {
                return Err(format!(
                    "the buckets of {} do not add up: {buckets:?}",
                    self.name
                ));
            }
        }
        Ok(())
    }
}

/// `a="b",c="d"`, with `\\`, `\"` and `\n` in values.
fn read_labels(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").ok_or("a label without value")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(format!("`{name}` is no label"));
        }
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().ok_or("an open quote")? {
                (at, '"') => break at,
                (_, '\\') => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, c @ ('"' | '\\'))) => value.push(c),
                    _ => return Err("an unknown escape".into()),
                },
                (_, c) => value.push(c),
            }
        };
        if labels.insert(name.to_owned(), value).is_some() {
            return Err(format!("label `{name}` given twice"));
        }
        let (_, after) = after.split_at(end + 1);
        rest = match after.strip_prefix(',') {
            Some("") => return Err("a comma at the end".into()),
            Some(next) => next,
            None if after.is_empty() => after,
            None => return Err("no comma between labels".into()),
        };
    }
    Ok(labels)
}

#[test]
fn the_reader_takes_what_is_right_and_refuses_what_is_not() {
    let right = "# HELP calls Calls.\n# TYPE calls counter\ncalls_total{of=\"a\\\"b,c\"} 1\n\
                 # HELP took_seconds Time.\n# TYPE took_seconds histogram\n# UNIT took_seconds seconds\n\
                 took_seconds_sum 0.5\ntook_seconds_count 2\n\
                 took_seconds_bucket{le=\"0.1\"} 1\ntook_seconds_bucket{le=\"+Inf\"} 2\n# EOF\n";
    assert_eq!(read(right).unwrap().len(), 5);
    for (part, instead) in [
        ("# EOF\n", ""),
        ("# EOF\n", "# EOF\n\n"),
        ("calls_total", "calls"),
        ("# HELP calls Calls.\n", ""),
        ("# TYPE calls counter\n", ""),
        ("} 1\n# HELP", "} -1\n# HELP"),
        ("} 1\n# HELP", "} one\n# HELP"),
        ("le=\"+Inf\"} 2", "le=\"1\"} 2"),
        ("le=\"+Inf\"} 2", "le=\"+Inf\"} 0"),
        ("le=\"0.1\"} 1", "le=\"0.1\"} 3"),
        ("le=\"0.1\"", "le=\"0.1\",le=\"0.1\""),
        (
            "took_seconds_sum 0.5",
            "took_seconds_sum 0.5\ntook_seconds_sum 0.5",
        ),
        ("# UNIT took_seconds seconds", "# UNIT took_seconds bytes"),
        ("\n# HELP took", "\n\n# HELP took"),
    ] {
        let wrong = right.replacen(part, instead, 1);
        assert_ne!(wrong, right, "{part}");
        assert!(read(&wrong).is_err(), "{wrong}");
    }
}
