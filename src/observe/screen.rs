//! Pure. Lines for a screen: texts with a tone each, fields, and tables that fit its width.
//!
//! The server makes them, and the client decides what a tone looks like: `status` and `top` are made of the same lines.

use serde::{Deserialize, Serialize};

/// The width without a terminal, in columns.
pub const USUAL_WIDTH: u16 = 80;
/// The narrowest screen, in columns: less is taken for this.
const NARROWEST: u16 = 40;
/// The widest screen, in columns: more is taken for this.
const WIDEST: u16 = 200;
/// The width of the names of fields.
const NAMES: usize = 13;
/// The least width of the first column of a table, if a name in it needs as much.
const FIRST_COLUMN: usize = 20;

/// The meaning of a text to the reader.
///
/// A terminal shows it as a color.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tone {
    /// Nothing special.
    #[default]
    Plain,
    /// The head of a table.
    Heading,
    /// As it should be.
    Good,
    /// To be looked at, soon.
    Warning,
    /// To be looked at, now.
    Bad,
}

/// A piece of a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TonedText {
    /// The text, without control characters.
    pub text: String,
    /// Its tone.
    pub tone: Tone,
}

/// A line.
pub type Line = Vec<TonedText>;

/// The request for a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScreenWanted {
    /// Its width in columns. Below 40 it is taken for 40, above 200 for 200.
    pub width: u16,
    /// Whether each worker has a row.
    pub workers: bool,
    /// The order of the rows.
    pub order: RowOrder,
}

/// The order of the rows of tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowOrder {
    /// That of the configuration.
    #[default]
    Configured,
    /// The worst first: upstreams by their standing, then by their offset; listeners by what they lost.
    Worst,
    /// The largest first: upstreams by their offset, listeners by their requests.
    Largest,
}

/// The parts of a screen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Screen {
    /// The state, with reason and remedy; the announced error, the requests.
    pub state: Vec<Line>,
    /// More about what is served.
    pub more: Vec<Line>,
    /// The table of upstreams; empty without any.
    pub upstreams: Vec<Line>,
    /// The table of listeners.
    pub listeners: Vec<Line>,
    /// All that is known of each upstream.
    pub details: Vec<Line>,
}

impl ScreenWanted {
    /// Returns the width that the lines have at most.
    pub fn columns(&self) -> usize {
        usize::from(self.width.clamp(NARROWEST, WIDEST))
    }
}

/// The lines without their tones, each with its end.
pub fn plain(lines: &[Line]) -> String {
    let text = |line: &Line| line.iter().map(|span| span.text.as_str()).collect::<String>();
    lines.iter().map(|line| text(line) + "\n").collect()
}

/// Returns a piece of a line. Control characters become `?`: a terminal would obey them.
pub(super) fn span(text: &str, tone: Tone) -> TonedText {
    let text = text
        .chars()
        .map(|character| if character.is_control() { '?' } else { character })
        .collect();
    TonedText { text, tone }
}

/// Lines that are made one after the other.
#[derive(Debug)]
pub(super) struct Lines {
    width: usize,
    lines: Vec<Line>,
}

impl Lines {
    /// Begins a screen that has this width.
    pub(super) fn new(width: usize) -> Self {
        Self {
            width,
            lines: Vec::new(),
        }
    }

    /// Returns the lines.
    pub(super) fn into_lines(self) -> Vec<Line> {
        self.lines
    }

    /// Adds a line of its own, which is cut where the screen ends.
    pub(super) fn text(&mut self, text: &str, tone: Tone) {
        let cut: String = text.chars().take(self.width).collect();
        self.lines.push(vec![span(&cut, tone)]);
    }

    /// Adds a text of its own, which continues below if it is too long.
    pub(super) fn paragraph(&mut self, text: &str) {
        for part in wrapped(text, self.width) {
            self.lines.push(vec![span(&part, Tone::Plain)]);
        }
    }

    /// Adds an empty line.
    pub(super) fn blank(&mut self) {
        self.lines.push(Vec::new());
    }

    /// Adds a name and its value, which continues below if it is too long.
    pub(super) fn field(&mut self, name: &str, text: &str) {
        self.toned_field(name, "", text, Tone::Plain);
    }

    /// The same with a tone for all of the value.
    pub(super) fn toned(&mut self, name: &str, text: &str, tone: Tone) {
        self.toned_field(name, text, "", tone);
    }

    /// The same with a tone for the beginning of the value only.
    pub(super) fn toned_field(&mut self, name: &str, begins: &str, rest: &str, tone: Tone) {
        let mut toned = begins.chars().count();
        let value = format!("{begins}{rest}");
        let mut name = name;
        for part in wrapped(&value, self.width.saturating_sub(NAMES)) {
            let beginning: String = part.chars().take(toned).collect();
            let end: String = part.chars().skip(toned).collect();
            // The blank at which it was broken counts, too.
            toned = toned.saturating_sub(part.chars().count() + 1);
            let mut line = vec![span(&format!("{name:<NAMES$}"), Tone::Plain)];
            if !beginning.is_empty() {
                line.push(span(&beginning, tone));
            }
            if !end.is_empty() {
                line.push(span(&end, Tone::Plain));
            }
            self.lines.push(line);
            name = "";
        }
    }

    /// Adds a table, without the columns that have no room.
    pub(super) fn table(&mut self, table: &ScreenTable) {
        let layout = table.layout(self.width);
        let aligns: Vec<Align> = table.columns.iter().map(|column| column.align).collect();
        let head = table
            .columns
            .iter()
            .map(|column| (column.head.to_owned(), Tone::Heading));
        self.row(&layout, &aligns, &head.collect::<Vec<_>>());
        for row in &table.rows {
            self.row(&layout, &aligns, &row.cells);
            let indent = layout.first().copied().flatten().unwrap_or_default().min(6);
            for (text, tone) in &row.below {
                for part in wrapped(text, self.width.saturating_sub(indent)) {
                    self.lines
                        .push(vec![span(&" ".repeat(indent), Tone::Plain), span(&part, *tone)]);
                }
            }
        }
    }

    /// Adds a row; a name that is longer than its column has a line of its own.
    fn row(&mut self, layout: &[Option<usize>], aligns: &[Align], cells: &[Cell]) {
        let mut line = Vec::new();
        for (index, (((text, tone), width), align)) in cells.iter().zip(layout).zip(aligns).enumerate() {
            let Some(width) = *width else { continue };
            let length = text.chars().count();
            match (index, align) {
                (0, _) if length > width => {
                    self.text(text, *tone);
                    line.push(span(&" ".repeat(width), Tone::Plain));
                }
                (0, _) => line.push(span(&format!("{text:<width$}"), *tone)),
                (_, Align::Left) => {
                    line.push(span(" ", Tone::Plain));
                    line.push(span(&format!("{text:<width$}"), *tone));
                }
                (_, Align::Right) => {
                    line.push(span(&" ".repeat(1 + width.saturating_sub(length)), Tone::Plain));
                    line.push(span(text, *tone));
                }
            }
        }
        if let Some(last) = line.last_mut() {
            last.text.truncate(last.text.trim_end().len());
        }
        self.lines.push(line);
    }
}

/// A cell: its text, and the tone of it.
pub(super) type Cell = (String, Tone);

/// Makes a cell with nothing special.
pub(super) fn plain_cell(text: impl ToString) -> Cell {
    (text.to_string(), Tone::Plain)
}

/// The alignment of a column's cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A column; the first one has names, and is aligned to the left.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScreenColumn {
    /// Its head.
    pub(super) head: &'static str,
    /// The alignment of its cells.
    pub(super) align: Align,
    /// Its least width, so that it does not move with each number.
    pub(super) least: usize,
    /// The columns with the lowest rank are left out first where there is no room for all; `u8::MAX`: it always stays.
    pub(super) rank: u8,
}

impl ScreenColumn {
    /// Makes a column of words.
    pub(super) const fn words(head: &'static str, least: usize, rank: u8) -> Self {
        Self {
            head,
            align: Align::Left,
            least,
            rank,
        }
    }

    /// Makes a column of numbers.
    pub(super) const fn numbers(head: &'static str, least: usize, rank: u8) -> Self {
        Self {
            head,
            align: Align::Right,
            least,
            rank,
        }
    }
}

/// A row of a table.
#[derive(Debug, Default)]
pub(super) struct ScreenRow {
    /// A cell for each column.
    pub(super) cells: Vec<Cell>,
    /// More about it, in lines below.
    pub(super) below: Vec<Cell>,
}

/// A table.
#[derive(Debug)]
pub(super) struct ScreenTable {
    /// Its columns.
    pub(super) columns: Vec<ScreenColumn>,
    /// Its rows.
    pub(super) rows: Vec<ScreenRow>,
}

impl ScreenTable {
    /// Returns the width of each column; `None` for one that is left out.
    ///
    /// The first column takes what the others leave.
    fn layout(&self, width: usize) -> Vec<Option<usize>> {
        let natural = |index: usize, column: &ScreenColumn| {
            let cells = self.rows.iter().filter_map(|row| row.cells.get(index));
            let widest = cells.map(|(text, _)| text.chars().count()).max();
            widest
                .unwrap_or_default()
                .max(column.head.len())
                .max(column.least)
        };
        let mut widths: Vec<Option<usize>> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| Some(natural(index, column)))
            .collect();
        let first = widths.first().copied().flatten().unwrap_or_default();
        let wanted = first.min(FIRST_COLUMN);
        loop {
            let others: usize = widths.iter().skip(1).flatten().map(|width| width + 1).sum();
            let room = width.saturating_sub(others);
            let least = self
                .columns
                .iter()
                .zip(&mut widths)
                .skip(1)
                .filter(|(column, width)| column.rank < u8::MAX && width.is_some())
                .min_by_key(|(column, _)| column.rank);
            match least {
                Some((_, width)) if room < wanted => *width = None,
                Some(_) | None => {
                    if let Some(width) = widths.first_mut() {
                        *width = Some(first.min(room));
                    }
                    return widths;
                }
            }
        }
    }
}

/// Returns `text` in lines of at most `width`, broken at blanks where that is possible.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let word: String = word.chars().take(width).collect();
        match lines.last_mut() {
            Some(last) if last.is_empty() => *last = word,
            Some(last) if last.chars().count() + 1 + word.chars().count() <= width => {
                last.push(' ');
                last.push_str(&word);
            }
            Some(_) | None => lines.push(word),
        }
    }
    lines
}

/// Returns a text with its lines broken at blanks where they are wider than `width`.
///
/// The rest of a line begins below its value, which follows a gap of two blanks or more. A word that is too long stays whole:
/// it may be a path.
pub fn folded(text: &str, width: usize) -> String {
    let mut folded = String::new();
    for line in text.lines() {
        let parts = value_at(line).and_then(|value| line.split_at_checked(value));
        let parts = parts.filter(|(name, _)| name.chars().count() <= width / 2);
        let (name, rest) = parts.unwrap_or(("", line));
        let indent = name.chars().count();
        let mut column = indent;
        folded += name;
        for (index, word) in rest.split(' ').enumerate() {
            let length = word.chars().count();
            if index > 0 && column + 1 + length > width {
                folded.push('\n');
                folded += &" ".repeat(indent);
                column = indent;
            } else if index > 0 {
                folded.push(' ');
                column += 1;
            }
            folded += word;
            column += length;
        }
        folded.push('\n');
    }
    folded
}

/// Returns the place of the value of a field in a line; `None` if it has no name.
fn value_at(line: &str) -> Option<usize> {
    let begin = line.find(|character| character != ' ')?;
    let gap = begin + line.get(begin..)?.find("  ")?;
    Some(gap + line.get(gap..)?.find(|character| character != ' ')?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn widest(lines: &[Line]) -> usize {
        let lengths = plain(lines);
        lengths
            .lines()
            .map(|line| line.chars().count())
            .max()
            .unwrap_or(0)
    }

    fn table(names: &[&str]) -> ScreenTable {
        let cell = |text: &str| (text.to_owned(), Tone::Plain);
        ScreenTable {
            columns: [("NAME", u8::MAX), ("STATE", u8::MAX), ("ONE", 1), ("TWO", 2)]
                .map(|(head, rank)| ScreenColumn {
                    head,
                    align: if head == "STATE" {
                        Align::Left
                    } else {
                        Align::Right
                    },
                    least: 0,
                    rank,
                })
                .to_vec(),
            rows: names
                .iter()
                .map(|name| ScreenRow {
                    cells: vec![cell(name), cell("good"), cell("1"), cell("12345")],
                    below: vec![],
                })
                .collect(),
        }
    }

    #[test]
    fn a_table_leaves_out_what_has_no_room() {
        for (width, names, expected) in [
            (
                60,
                &["a", "bcdefg"][..],
                "NAME   STATE ONE   TWO\na      good    1 12345\nbcdefg good    1 12345\n",
            ),
            (
                20,
                &["a", "bcdefg"],
                "NAME   STATE   TWO\na      good  12345\nbcdefg good  12345\n",
            ),
            (12, &["a", "bcdefg"], "NAME   STATE\na      good\nbcdefg good\n"),
            (12, &["bcdefghijk"], "NAME   STATE\nbcdefghijk\n       good\n"),
        ] {
            let mut lines = Lines::new(width);
            lines.table(&table(names));
            assert_eq!(plain(&lines.into_lines()), expected, "{width}");
        }
    }

    #[test]
    fn a_text_of_fields_is_folded_below_its_values() {
        for (text, width, expected) in [
            ("name  a b c\n", 11, "name  a b c\n"),
            ("name  a b c\n", 12, "name  a b c\n"),
            ("  ab  a bcde c d\n", 13, "  ab  a bcde\n      c d\n"),
            ("a longer line\nof two\n", 8, "a longer\nline\nof two\n"),
            ("at  /a/long/path it is\n", 10, "at  /a/long/path\n    it is\n"),
            ("\nµ  a\n", 40, "\nµ  a\n"),
        ] {
            assert_eq!(folded(text, width), expected, "{text}");
        }
    }

    #[test]
    fn a_field_continues_below_in_its_tone() {
        let mut lines = Lines::new(30);
        lines.toned_field("why", "one two three four five", " and six", Tone::Bad);
        let lines = lines.into_lines();
        assert_eq!(
            plain(&lines),
            "why          one two three\n             four five and six\n"
        );
        let tones: Vec<_> = lines
            .concat()
            .into_iter()
            .map(|span| (span.text, span.tone))
            .collect();
        let toned = |text: &str, tone| (text.to_owned(), tone);
        assert_eq!(
            tones[1..],
            [
                toned("one two three", Tone::Bad),
                toned("             ", Tone::Plain),
                toned("four five", Tone::Bad),
                toned(" and six", Tone::Plain)
            ]
        );
    }

    proptest! {
        /// Whatever the names are: nothing is wider than the screen, and nothing in it can harm a terminal.
        #[test]
        fn nothing_is_wider_than_the_screen(
            width in 40_usize..=200,
            names in prop::collection::vec(".{0,100}", 0..5),
            text in "[a-z ]{0,300}",
        ) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let mut lines = Lines::new(width);
            lines.table(&table(&names));
            lines.field("name", &text);
            names.iter().for_each(|name| lines.toned_field("name", name, &text, Tone::Bad));
            let lines = lines.into_lines();
            prop_assert!(widest(&lines) <= width, "{}", plain(&lines));
            let spans = lines.iter().flatten();
            prop_assert!(spans.clone().all(|span| !span.text.contains(char::is_control)));
        }
    }
}
