//! Columns of text with colours, cut to a terminal's width.

/// How text looks, where there are colours (ECMA-48).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Style {
    /// As it is.
    #[default]
    Plain,
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Cyan,
}

impl Style {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "\x1b[1m",
            Self::Dim => "\x1b[2m",
            Self::Red => "\x1b[31m",
            Self::Green => "\x1b[32m",
            Self::Yellow => "\x1b[33m",
            Self::Cyan => "\x1b[36m",
        }
    }
}

/// Ends every style.
const PLAIN: &str = "\x1b[0m";

/// Whether there are colours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint(pub(super) bool);

impl Paint {
    /// The text in this style.
    pub(super) fn text(self, style: Style, text: &str) -> String {
        if self.0 && style != Style::Plain {
            format!("{}{text}{PLAIN}", style.code())
        } else {
            text.to_owned()
        }
    }
}

/// Text in a style.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(super) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self {
            text: text.into(),
            style,
        }
    }

    fn columns(&self) -> usize {
        self.text.chars().count()
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(text, Style::Plain)
    }
}

/// One line of cells, cut to `most` columns; what is cut ends in `…`.
pub(super) fn line(cells: &[Cell], paint: Paint, most: usize) -> String {
    let whole: usize = cells.iter().map(Cell::columns).sum();
    let mut room = if whole > most {
        most.saturating_sub(1)
    } else {
        most
    };
    let mut text = String::new();
    for cell in cells {
        let shown: String = cell.text.chars().take(room).collect();
        room -= shown.chars().count();
        text.push_str(&paint.text(cell.style, &shown));
    }
    if whole > most && most > 0 {
        text.push('…');
    }
    text
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Words,
    Numbers,
}

/// Lines whose cells stand under each other.
#[derive(Debug)]
pub(super) struct Table {
    head: Vec<(&'static str, Holds)>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(super) fn new(head: &[(&'static str, Holds)]) -> Self {
        Self {
            head: head.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.head.len(), "a cell for each column");
        self.rows.push(cells);
    }

    /// The head and the rows, each cut to `most` columns.
    pub(super) fn lines(&self, paint: Paint, most: usize) -> Vec<String> {
        let widths = self.widths();
        let head = self.head.iter();
        let head = head
            .map(|(name, _)| Cell::styled(*name, Style::Bold))
            .collect();
        let all = std::iter::once(&head).chain(&self.rows);
        all.map(|row: &Vec<Cell>| line(&self.set(row, &widths), paint, most))
            .collect()
    }

    fn widths(&self) -> Vec<usize> {
        let names = self.head.iter().map(|(name, _)| name.chars().count());
        let mut widths: Vec<usize> = names.collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.columns());
            }
        }
        widths
    }

    /// A row with the spaces between its cells; none at its end.
    fn set(&self, row: &[Cell], widths: &[usize]) -> Vec<Cell> {
        let last = row.iter().rposition(|cell| !cell.text.is_empty());
        let row = row.get(..last.map_or(0, |last| last + 1)).unwrap_or(row);
        let mut set = Vec::new();
        let mut owed = 0;
        for ((cell, width), (_, holds)) in row.iter().zip(widths).zip(&self.head) {
            let fill = width - cell.columns();
            let (before, after) = match holds {
                Holds::Words => (0, fill),
                Holds::Numbers => (fill, 0),
            };
            set.push(" ".repeat(owed + before).into());
            set.push(cell.clone());
            owed = after + 2;
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[
            ("id", Holds::Words),
            ("rate", Holds::Numbers),
            ("why", Holds::Words),
        ]);
        table.row(vec![
            "a".into(),
            "7 /s".into(),
            Cell::styled("slow", Style::Red),
        ]);
        table.row(vec!["bcd".into(), "12,000 /s".into(), "".into()]);
        table
    }

    #[test]
    fn cells_stand_under_each_other_without_spaces_at_the_end() {
        let lines = table().lines(Paint(false), 80);
        assert_eq!(
            lines,
            [
                "id        rate  why",
                "a         7 /s  slow",
                "bcd  12,000 /s"
            ]
        );
    }

    #[test]
    fn lines_are_cut_by_what_is_seen_and_not_by_their_colours() {
        let lines = table().lines(Paint(true), 18);
        assert_eq!(lines.get(1).unwrap(), "a         7 /s  \x1b[31ms\x1b[0m…");
        assert_eq!(line(&["abc".into()], Paint(false), 0), "");
        assert_eq!(line(&["abc".into()], Paint(false), 3), "abc");
    }
}
