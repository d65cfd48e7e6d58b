//! Pure. ntpfront.toml(5) from the example file, which explains every key and says its default.
//!
//! In it a comment has a blank after its sign, and a setting, which is commented out, has none. What a comment says holds
//! for all the settings right below it.

use crate::roff::{escaped, fill_in, filled, item, sentence, verbatim};

/// What stands together: a comment, and the settings or the table's head below it.
#[derive(Debug, Default)]
struct Block<'a> {
    comment: Vec<&'a str>,
    settings: Vec<&'a str>,
}

/// The page.
///
/// # Errors
/// What in the file is not as described above.
pub(crate) fn page(template: &str, example: &str) -> Result<String, String> {
    let blocks = blocks(example);
    let (first, rest) = blocks.split_first().ok_or("the example is empty")?;
    // Its first line is a title.
    let (_, head) = first.comment.split_first().ok_or("the example has no head")?;
    fill_in(template, &[("HEAD", explained(head)), ("TABLES", tables(rest)?)])
}

fn blocks(example: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = vec![Block::default()];
    // The line for editors explains nothing.
    for line in example.lines().filter(|line| !line.starts_with("#:")) {
        let is_comment = line == "#" || line.starts_with("# ");
        let starts_anew = match blocks.last() {
            None => true,
            // A comment after a setting belongs to the next one, and so does a table's head after anything.
            Some(last) => (is_comment && !last.settings.is_empty()) || line.is_empty(),
        };
        if starts_anew {
            blocks.push(Block::default());
        }
        let Some(last) = blocks.last_mut() else { continue };
        if is_comment {
            last.comment.push(line.trim_start_matches('#'));
        } else if !line.is_empty() {
            last.settings.push(line.trim_start_matches('#'));
        }
    }
    blocks.retain(|block| !block.comment.is_empty() || !block.settings.is_empty());
    blocks
}

fn tables(blocks: &[Block<'_>]) -> Result<String, String> {
    let mut page = String::new();
    let mut seen: Vec<&str> = Vec::new();
    for block in blocks {
        match block.settings.split_first() {
            None => page.push_str(&explained(&block.comment)),
            Some((head, settings)) if head.starts_with('[') && seen.contains(head) => {
                let lines: Vec<&str> = std::iter::once(head).chain(settings).copied().collect();
                page.push_str(".PP\nThere is a second one by default:\n");
                page.push_str(&verbatim(&lines));
            }
            Some((head, [])) if head.starts_with('[') => {
                seen.push(head);
                page.push_str(&format!(".SS {}\n", escaped(head)));
                // Right after a title, a paragraph begins by itself.
                page.push_str(explained(&block.comment).trim_start_matches(".PP\n"));
            }
            Some(_) => page.push_str(&keys(block)?),
        }
    }
    Ok(page)
}

fn keys(block: &Block<'_>) -> Result<String, String> {
    let mut terms = Vec::new();
    for setting in &block.settings {
        let (key, value) = setting
            .split_once(" = ")
            .ok_or_else(|| format!("this is no setting: {setting}"))?;
        let kind = kind(key, setting)?;
        let (key, value) = (escaped(key), escaped(value));
        terms.push(format!("\\fB{key}\\fR = {value} \\ (\\fI{kind}\\fR)"));
    }
    Ok(item(&terms, &block.comment.join(" ")))
}

/// What a setting takes, as its default tells.
fn kind(key: &str, setting: &str) -> Result<&'static str, String> {
    let table: toml::Table = setting.parse().map_err(|error| format!("{setting}: {error}"))?;
    match table.get(key) {
        Some(toml::Value::Boolean(_)) => Ok("true or false"),
        Some(toml::Value::Integer(_)) => Ok("whole number"),
        Some(toml::Value::Float(_)) => Ok("number"),
        Some(toml::Value::String(_)) => Ok("text"),
        Some(toml::Value::Array(_)) => Ok("list of texts"),
        Some(toml::Value::Datetime(_) | toml::Value::Table(_)) | None => {
            Err(format!("no key takes such a value: {setting}"))
        }
    }
}

/// Paragraphs; lines that are further in are shown as they are, or are a term and what it means.
fn explained(comment: &[&str]) -> String {
    let mut page = String::new();
    let mut paragraph: Vec<&str> = Vec::new();
    for group in comment.chunk_by(|a, b| shape(a) == shape(b)) {
        match group.first().map(|line| shape(line)) {
            Some(Shape::Prose) => paragraph.extend(group),
            Some(Shape::Term) => {
                flush(&mut page, &mut paragraph);
                let pairs = group.iter().filter_map(|line| line.trim().split_once("   "));
                page.extend(pairs.map(|(term, text)| item(&[bold(term)], &sentence(text))));
            }
            Some(Shape::Code) => {
                flush(&mut page, &mut paragraph);
                let lines: Vec<&str> = group.iter().map(|line| line.trim()).collect();
                page.push_str(&verbatim(&lines));
            }
            Some(Shape::Empty) | None => flush(&mut page, &mut paragraph),
        }
    }
    flush(&mut page, &mut paragraph);
    page
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Empty,
    Prose,
    Term,
    Code,
}

fn shape(line: &str) -> Shape {
    let text = line.trim();
    match () {
        () if text.is_empty() => Shape::Empty,
        () if !line.starts_with("   ") => Shape::Prose,
        () if text.contains("   ") => Shape::Term,
        () => Shape::Code,
    }
}

fn flush(page: &mut String, paragraph: &mut Vec<&str>) {
    if !paragraph.is_empty() {
        page.push_str(".PP\n");
        page.push_str(&filled(&paragraph.join(" ")));
        paragraph.clear();
    }
}

fn bold(term: &str) -> String {
    format!("\\fB{}\\fR", escaped(term))
}
