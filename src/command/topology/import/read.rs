//! Reads a list as a table, whether it is JSON or CSV.

use csv::{ReaderBuilder, Trim};

use super::faults::{Rejected, Wrong};
use super::place::{Place, Separator};
use super::table::{Row, Table};
use super::{ImportError, json};

impl Table {
    /// Reads JSON or CSV, whichever `text` is. Rows that have not one text for each column are rejected.
    pub(super) fn read(text: &str, rejected: &mut Rejected) -> Result<Self, ImportError> {
        let text = text.trim_start_matches('\u{feff}');
        if json::is_json(text) {
            json::read(text, rejected)
        } else {
            csv(text, rejected).map_err(ImportError::Csv)
        }
    }
}

fn csv(text: &str, rejected: &mut Rejected) -> Result<Table, csv::Error> {
    let separator = Separator::of(text);
    let mut reader = ReaderBuilder::new()
        .trim(Trim::All)
        .flexible(true)
        .delimiter(separator.byte())
        .from_reader(text.as_bytes());
    let mut table = Table {
        names: reader.headers()?.iter().map(str::to_owned).collect(),
        rows: Vec::new(),
    };
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record)? {
        // What a spreadsheet leaves below its last row.
        if record.iter().all(str::is_empty) {
            continue;
        }
        let place = Place::Line(record.position().map_or(0, |at| line(text, at)));
        if record.len() == table.names.len() {
            let fields = record.iter().map(str::to_owned).collect();
            table.rows.push(Row { place, fields });
        } else {
            let (fields, header) = (record.len(), table.names.len());
            let lines = record.iter().map(|field| field.lines().count().max(1) - 1);
            let wrong = Wrong::Length {
                fields,
                header,
                separator,
                lines: 1 + lines.map(|more| more as u64).sum::<u64>(),
            };
            rejected.push(place, wrong);
        }
    }
    Ok(table)
}

/// The line on which the record that is found from here on begins; empty lines before it are passed over unseen.
fn line(text: &str, position: &csv::Position) -> u64 {
    let from = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let rest = text.get(from..).unwrap_or_default();
    let passed = rest
        .bytes()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'));
    position.line() + passed.filter(|byte| *byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> String {
        let mut rejected = Rejected::default();
        Table::read(text, &mut rejected).unwrap();
        rejected.faults.to_string()
    }

    #[test]
    fn the_separator_is_what_the_header_has_most_of_outside_quotes() {
        for (header, separator) in [
            ("a,b,c", Separator::Comma),
            ("a;b;\"c,d,e,f\"", Separator::Semicolon),
            ("a\tb\tc", Separator::Tab),
            ("alone", Separator::Comma),
        ] {
            assert_eq!(Separator::of(header), separator, "{header}");
        }
    }

    #[test]
    fn a_row_of_another_length_is_refused_by_its_line() {
        // Decimal commas that are not quoted; a country's name with a comma; a row that was cut.
        assert_eq!(
            faults(
                "code,lat,lon,city,country\nFRA,50,03,8,57,Frankfurt,DE\nMAD,40.4,-3.6,Madrid,ES\n"
            ),
            "line 2 has 7 fields, the header has 5: quote values with commas, or separate columns by ;\n"
        );
        assert_eq!(
            faults("code;lat\nA;1\n\nB;2;3\nC\n"),
            "line 4 has 3 fields, the header has 2: quote values with semicolons\n\
             line 5 has 1 field, the header has 2\n"
        );
        assert_eq!(
            faults("code,lat,lon\nA,\"1,2\nB,1,2\nC,1,2\n"),
            "line 2 has 2 fields, the header has 3: it runs over 3 lines, is a quote left open?\n"
        );
    }

    #[test]
    fn what_a_spreadsheet_leaves_below_its_rows_is_nothing() {
        let mut rejected = Rejected::default();
        let table = Table::read("\u{feff}a;b\r\n1;2\r\n;\r\n;;;\r\n\r\n", &mut rejected).unwrap();
        assert_eq!((table.rows.len(), rejected.faults.len()), (1, 0));
        assert_eq!(table.names, ["a", "b"]);
    }
}
