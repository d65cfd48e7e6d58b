//! The documents, and what stands in them: paragraphs, tables, links.

use std::collections::BTreeSet;
use std::path::Path;

use super::shipped;

/// A document in Markdown.
pub(super) struct Document {
    /// Its path from the root of the repository.
    pub(super) path: String,
    pub(super) text: String,
}

/// README and all of `packaging/doc`, and the list of changes.
pub(super) fn documents() -> Vec<Document> {
    let mut paths = vec!["README.md".to_owned(), "packaging/CHANGELOG.md".to_owned()];
    for entry in std::fs::read_dir(shipped("packaging/doc")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if Path::new(&name)
            .extension()
            .is_some_and(|extension| extension == "md")
        {
            paths.push(format!("packaging/doc/{name}"));
        }
    }
    paths.sort();
    let read = |path: String| Document {
        text: std::fs::read_to_string(shipped(&path)).unwrap(),
        path,
    };
    paths.into_iter().map(read).collect()
}

/// One of them.
pub(super) fn document(path: &str) -> Document {
    let mut found = documents().into_iter().filter(|document| document.path == path);
    found.next().unwrap_or_else(|| panic!("there is no {path}"))
}

impl Document {
    /// The lines outside of fenced examples, with their numbers.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut is_inside = false;
        let outside = move |(_, line): &(usize, &str)| {
            let is_fence = line.trim_start().starts_with("```");
            is_inside ^= is_fence;
            !is_inside && !is_fence
        };
        (1..).zip(self.text.lines()).filter(outside)
    }

    /// Its links: line and target.
    pub(super) fn links(&self) -> Vec<(usize, &str)> {
        let mut links = Vec::new();
        for (number, line) in self.lines() {
            for (at, _) in line.match_indices("](") {
                let link = line[at + 2..].split(')').next().unwrap();
                links.push((number, link));
            }
        }
        links
    }

    /// The names that links to its headings have.
    pub(super) fn anchors(&self) -> BTreeSet<String> {
        let headings = self.lines().filter(|(_, line)| line.starts_with('#'));
        headings
            .map(|(_, line)| anchor(line.trim_start_matches('#').trim()))
            .collect()
    }

    /// The rows of the tables below a heading, up to the next one of its level or a higher one.
    pub(super) fn rows(&self, heading: &str) -> Vec<Vec<String>> {
        let level = heading.chars().take_while(|c| *c == '#').count();
        let is_end = |line: &str| {
            let depth = line.chars().take_while(|c| *c == '#').count();
            (1..=level).contains(&depth)
        };
        let below = self.lines().map(|(_, line)| line);
        let mut below = below.skip_while(|line| *line != heading);
        assert!(below.next().is_some(), "{}: no {heading}", self.path);
        let section = below.take_while(|line| !is_end(line));
        // A table has a head, and a line below it.
        let rows = section.filter(|line| line.starts_with('|')).map(cells);
        let rows: Vec<Vec<String>> = rows.collect();
        let heads = rows.iter().skip(1).map(|row| is_rule(row)).chain([false]);
        let kept = rows
            .iter()
            .zip(heads)
            .filter(|(row, next_is_rule)| !next_is_rule && !is_rule(row));
        kept.map(|(row, _)| row.clone()).collect()
    }
}

fn is_rule(row: &[String]) -> bool {
    row.iter().all(|cell| cell == "---")
}

/// The cells of a row. A sign of a table inside of backquotes is a part of a cell.
pub(super) fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
    inner.split(" |").map(|cell| cell.trim().to_owned()).collect()
}

/// What stands in backquotes.
pub(super) fn code(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// What a heading is called in a link, where the text is shown.
fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}
