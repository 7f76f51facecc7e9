//! What can be wrong with a row of a list, and all that is wrong with a list.

use std::fmt;

use super::place::{Place, Separator};
use crate::engine::topology::AddressError;

/// Most faults that are kept; a file of another kind would have one a row.
const MAX_FAULTS: usize = 100;

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteFault {
    /// Where the row is.
    pub place: Place,
    /// What is wrong there.
    pub wrong: Wrong,
}

/// What can be wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wrong {
    /// More or fewer fields than the header names.
    Length {
        /// Fields of the row.
        fields: usize,
        /// Names in the header.
        header: usize,
        /// What stands between fields.
        separator: Separator,
        /// Lines of the file that the row runs over; more than one within quotes.
        lines: u64,
    },
    /// Nothing in columns that every site needs.
    Empty {
        /// The columns' names as the file has them.
        columns: Vec<String>,
    },
    /// Both coordinates exactly 0: what missing ones become when a list is made.
    Null {
        /// The columns' names as the file has them.
        columns: [String; 2],
    },
    /// A value that cannot be.
    Value {
        /// The column's name as the file has it.
        column: String,
        /// The value there, cut to 40 characters.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// A shape of `GeoJSON` that is not a point.
    Geometry {
        /// Its type.
        found: String,
    },
    /// An id that makes no address when put into the template.
    Address {
        /// What came out.
        address: String,
        /// Why it is none.
        reason: AddressError,
    },
}

/// Every fault of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteFaults {
    kept: Vec<SiteFault>,
    dropped: usize,
    incomplete: usize,
}

/// What became of the rows that are not sites: refused, or left out because that was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rejected {
    /// What refuses the list.
    pub(super) faults: SiteFaults,
    /// Rows that were left out.
    pub(super) left_out: SiteFaults,
    /// Whether rows that lack something are left out and not refused.
    pub(super) skip_incomplete: bool,
}

impl Wrong {
    /// Whether the row lacks something, rather than saying something wrong.
    fn is_incomplete(&self) -> bool {
        matches!(
            self,
            Self::Length { .. } | Self::Empty { .. } | Self::Null { .. }
        )
    }
}

impl Rejected {
    /// Adds a fault, where it belongs.
    pub(super) fn push(&mut self, place: Place, wrong: Wrong) {
        let leaves_out = self.skip_incomplete && wrong.is_incomplete();
        let list = if leaves_out {
            &mut self.left_out
        } else {
            &mut self.faults
        };
        list.push(SiteFault { place, wrong });
    }
}

impl SiteFaults {
    /// Adds a fault, or counts it when 100 are kept already.
    fn push(&mut self, fault: SiteFault) {
        self.incomplete += usize::from(fault.wrong.is_incomplete());
        if self.kept.len() < MAX_FAULTS {
            self.kept.push(fault);
        } else {
            self.dropped += 1;
        }
    }

    /// Puts the faults in the order of the file.
    pub(super) fn sort(&mut self) {
        self.kept.sort_by_key(|fault| fault.place);
    }

    /// Number of faults, kept or not.
    pub fn len(&self) -> usize {
        self.kept.len() + self.dropped
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The faults kept, in the order of the file.
    pub fn kept(&self) -> &[SiteFault] {
        &self.kept
    }

    /// The faults in a line, with what can be done about rows that lack something.
    pub fn summary(&self) -> String {
        let plural = if self.len() == 1 { "" } else { "s" };
        let count = format!("with {} fault{plural}", self.len());
        match self.incomplete {
            0 => count,
            all if all == self.len() => {
                format!("{count}; --skip-incomplete leaves such rows out")
            }
            some => format!("{count}; --skip-incomplete would leave out the rows of {some}"),
        }
    }
}

impl fmt::Display for SiteFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place;
        match &self.wrong {
            Wrong::Length {
                fields,
                header,
                separator,
                lines,
            } => {
                let plural = if *fields == 1 { "" } else { "s" };
                write!(
                    f,
                    "{place} has {fields} field{plural}, the header has {header}"
                )?;
                match (*lines, fields > header) {
                    (2.., _) => write!(f, ": it runs over {lines} lines, is a quote left open?"),
                    (_, true) => write!(f, ": {}", separator.advice()),
                    (_, false) => Ok(()),
                }
            }
            Wrong::Empty { columns } => {
                let columns: Vec<String> = columns.iter().map(|name| format!("`{name}`")).collect();
                write!(f, "{place} has nothing in {}", columns.join(" and "))
            }
            Wrong::Null {
                columns: [latitude, longitude],
            } => write!(
                f,
                "{place}: `{latitude}` and `{longitude}` are both 0, as missing coordinates are; must be where the site is"
            ),
            Wrong::Value {
                column,
                value,
                allowed,
            } => {
                write!(f, "{place}: `{column}` is `{value}`, must be {allowed}")
            }
            Wrong::Geometry { found } => {
                write!(f, "{place} is of the type {found}, must be a Point")
            }
            Wrong::Address { address, reason } => {
                write!(
                    f,
                    "{place}: the address template gives `{address}`, which {reason}"
                )
            }
        }
    }
}

impl fmt::Display for SiteFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.kept {
            writeln!(f, "{fault}")?;
        }
        match self.dropped {
            0 => Ok(()),
            dropped => writeln!(f, "and {dropped} more, not shown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_what_leaving_out_would_do() {
        let mut rejected = Rejected::default();
        let empty = || Wrong::Empty {
            columns: vec!["lat".to_owned(), "lon".to_owned()],
        };
        rejected.push(Place::Line(7), empty());
        assert_eq!(
            rejected.faults.summary(),
            "with 1 fault; --skip-incomplete leaves such rows out"
        );
        let found = "Polygon".to_owned();
        rejected.push(Place::Feature(2), Wrong::Geometry { found });
        assert_eq!(
            rejected.faults.summary(),
            "with 2 faults; --skip-incomplete would leave out the rows of 1"
        );
        rejected.skip_incomplete = true;
        rejected.push(Place::Line(9), empty());
        assert_eq!((rejected.faults.len(), rejected.left_out.len()), (2, 1));
        assert_eq!(
            rejected.left_out.to_string(),
            "line 9 has nothing in `lat` and `lon`\n"
        );
    }

    #[test]
    fn a_list_of_another_kind_does_not_fill_the_screen() {
        let mut rejected = Rejected::default();
        for line in 0..250 {
            let found = "Polygon".to_owned();
            rejected.push(Place::Line(line), Wrong::Geometry { found });
        }
        let text = rejected.faults.to_string();
        assert_eq!(text.lines().count(), 101);
        assert!(text.ends_with("and 150 more, not shown\n"), "{text}");
        assert_eq!(rejected.faults.len(), 250);
    }
}
