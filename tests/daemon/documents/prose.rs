//! The words of what operators read: the glossary of CONTRIBUTING.md says which must not stand there, and what to say
//! instead. Sentences are short, and so are lines.

use std::path::Path;

use clap::Command;

use super::definition;
use super::library::{Document, code, document, documents};
use super::shipped;

/// More words make a sentence that is read twice.
const MOST_WORDS: usize = 35;
/// Wider lines break where they are read; those of tables can't be broken.
const MOST_COLUMNS: usize = 130;

/// A paragraph, an item of a list, a cell of a table.
struct Block {
    /// File and line, or the command of the help.
    place: String,
    text: String,
}

/// What must not stand there, and what to say instead.
struct Banned {
    phrase: String,
    /// Longer words that begin like it, too?
    is_start: bool,
    instead: String,
}

fn glossary(document: &Document) -> Vec<Banned> {
    let rows = document.rows("### Glossary").into_iter();
    let banned = rows.flat_map(|row| {
        let phrases: Vec<String> = code(&row[2]).into_iter().map(str::to_owned).collect();
        phrases.into_iter().map(move |phrase| Banned {
            is_start: phrase.ends_with('…'),
            phrase: phrase.trim_end_matches('…').to_owned(),
            instead: row[0].clone(),
        })
    });
    banned.collect()
}

impl Banned {
    fn is_in(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        text.match_indices(&self.phrase).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + self.phrase.len()..].chars().next();
            !before.is_some_and(char::is_alphanumeric)
                && (self.is_start || !after.is_some_and(char::is_alphanumeric))
        })
    }
}

/// The text without code, targets of links and emphasis.
fn plain(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let text: String = parts
        .map(|(index, part)| if index % 2 == 0 { part } else { "X" })
        .collect();
    let mut plain = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("](") {
        plain.push_str(before);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    (plain + rest).replace(['*', '['], "")
}

/// Its sentences. An abbreviation or a number in the middle of one ends none.
fn sentences(text: &str) -> Vec<String> {
    let mut sentences = vec![String::new()];
    for word in text.split_whitespace() {
        let last = sentences.last_mut().unwrap();
        let is_end = last.trim_end_matches(['"', ')']).ends_with(['.', '?', '!']);
        if is_end && !word.starts_with(char::is_lowercase) || last.ends_with([':', ';']) {
            sentences.push(word.to_owned());
        } else {
            last.push(' ');
            last.push_str(word);
        }
    }
    sentences
}

fn faults(block: &Block, banned: &[Banned]) -> Vec<String> {
    let text = plain(&block.text);
    let words = banned.iter().filter(|banned| banned.is_in(&text));
    let words = words.map(|banned| {
        let Banned { phrase, instead, .. } = banned;
        format!("{}: \"{phrase}\": say: {instead}: {text}", block.place)
    });
    let long = sentences(&text).into_iter().filter_map(|sentence| {
        let words = sentence
            .split_whitespace()
            .filter(|word| word.contains(char::is_alphanumeric));
        let count = words.count();
        (count > MOST_WORDS).then(|| format!("{}: {count} words: {sentence}", block.place))
    });
    words.chain(long).collect()
}

/// Adds a line to the last block, or begins one.
fn add(blocks: &mut Vec<Block>, place: String, text: &str, begins: bool) {
    match blocks.last_mut() {
        Some(last) if !begins => {
            last.text.push(' ');
            last.text.push_str(text);
        }
        _ => blocks.push(Block {
            place,
            text: text.to_owned(),
        }),
    }
}

fn of_markdown(document: &Document) -> Vec<Block> {
    let mut blocks = Vec::new();
    let (mut begins, mut before) = (true, 0);
    for (number, line) in document.lines() {
        let place = format!("{}:{number}", document.path);
        let text = line.trim();
        begins |= number != before + 1;
        before = number;
        if text.is_empty() || text.starts_with("<!--") {
            begins = true;
        } else if text.starts_with('|') {
            for cell in super::library::cells(text) {
                add(&mut blocks, place.clone(), &cell, true);
            }
            begins = true;
        } else {
            let is_item = text.starts_with("* ")
                || text.starts_with(|c: char| c.is_ascii_digit()) && text.contains(". ");
            let is_heading = text.starts_with('#');
            add(&mut blocks, place, text, begins || is_item || is_heading);
            begins = is_heading;
        }
    }
    blocks
}

/// Comments begin with `#` and a blank; what is further in is an example.
fn of_comments(path: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut begins = true;
    for (number, line) in (1..).zip(text.lines()) {
        match line.trim_start().strip_prefix("# ") {
            Some(text) if !text.starts_with("  ") => {
                add(&mut blocks, format!("{path}:{number}"), text, begins);
                begins = false;
            }
            Some(_) | None => begins = true,
        }
    }
    blocks
}

/// The prose of a manual page. Words in bold or italics are code.
fn of_roff(path: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let (mut begins, mut is_example) = (true, false);
    for (number, line) in (1..).zip(text.lines()) {
        is_example = line == ".EX" || is_example && line != ".EE";
        let place = format!("{path}:{number}");
        let request = line
            .strip_prefix('.')
            .map(|request| request.split(' ').next().unwrap());
        match request {
            _ if is_example || line.starts_with('@') => begins = true,
            Some("B" | "I" | "BR" | "RB" | "IR" | "RI") => {
                add(&mut blocks, place, "X", begins);
                begins = false;
            }
            Some(_) => begins = true,
            None => {
                let signs = [("\\(aq", "'"), ("\\(lq", "\""), ("\\(rq", "\""), ("\\-", "-")];
                let read = signs
                    .iter()
                    .fold(line.to_owned(), |line, (sign, read)| line.replace(sign, read));
                add(&mut blocks, place, &read, begins);
                begins = false;
            }
        }
    }
    blocks
}

/// What `--help` says, of all commands.
fn of_help(command: &Command) -> Vec<Block> {
    let name = command.get_name();
    let about = [command.get_about(), command.get_long_about()];
    let mut texts: Vec<String> = about.into_iter().flatten().map(ToString::to_string).collect();
    // A list in it has an item a line, and a deeper line goes on.
    let more = command.get_after_long_help().map(ToString::to_string);
    let mut begins = true;
    let mut items: Vec<Block> = Vec::new();
    for line in more.unwrap_or_default().lines() {
        begins |= line.is_empty() || line.starts_with("  ") && !line.starts_with("    ");
        if !line.is_empty() {
            add(&mut items, format!("--help of {name}"), line.trim(), begins);
            begins = false;
        }
    }
    for argument in command.get_arguments() {
        texts.extend(argument.get_help().map(ToString::to_string));
        let values = argument.get_possible_values();
        texts.extend(
            values
                .iter()
                .filter_map(|value| Some(value.get_help()?.to_string())),
        );
    }
    let texts = texts.into_iter().map(|text| Block {
        place: format!("--help of {name}"),
        text,
    });
    texts
        .chain(items)
        .chain(command.get_subcommands().flat_map(of_help))
        .collect()
}

/// The files with comments for operators.
fn commented() -> Vec<Document> {
    const FOLDERS: [&str; 6] = [
        "config",
        "systemd",
        "systemd/ntpfront.service.d",
        "packaging/doc",
        "packaging",
        "packaging/kubernetes",
    ];
    const KINDS: [&str; 6] = ["toml", "conf", "nft", "service", "socket", "yaml"];
    let mut found = Vec::new();
    for folder in FOLDERS {
        for entry in std::fs::read_dir(shipped(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let extension = Path::new(&name)
                .extension()
                .and_then(|extension| extension.to_str());
            if name == "Dockerfile" || extension.is_some_and(|extension| KINDS.contains(&extension)) {
                let path = format!("{folder}/{name}");
                let text = std::fs::read_to_string(shipped(&path)).unwrap();
                found.push(Document { path, text });
            }
        }
    }
    found
}

/// All that operators read.
fn all() -> Vec<Block> {
    let mut blocks: Vec<Block> = documents().iter().flat_map(of_markdown).collect();
    for file in commented() {
        blocks.extend(of_comments(&file.path, &file.text));
    }
    for page in ["packaging/man/ntpfront.8.in", "packaging/man/ntpfront.toml.5.in"] {
        blocks.extend(of_roff(page, &std::fs::read_to_string(shipped(page)).unwrap()));
    }
    blocks.extend(of_help(&definition()));
    blocks
}

#[test]
fn what_operators_read_is_plain_english() {
    let banned = glossary(&document("packaging/doc/CONTRIBUTING.md"));
    assert!(banned.len() > 50, "only {} words", banned.len());
    let blocks = all();
    assert!(blocks.len() > 1000, "only {} blocks", blocks.len());
    let faults: Vec<String> = blocks.iter().flat_map(|block| faults(block, &banned)).collect();
    assert!(
        faults.is_empty(),
        "{} faults\n{}",
        faults.len(),
        faults.join("\n")
    );
}

#[test]
fn no_line_is_too_long() {
    let of_documents = documents();
    let comments = commented();
    let lines = of_documents.iter().flat_map(|document| {
        let broken = document
            .lines()
            .filter(|(_, line)| !line.starts_with('|') && !line.contains("starts (least"));
        broken.map(move |(number, line)| (&document.path, number, line))
    });
    let lines = lines.chain(comments.iter().flat_map(|file| {
        let lines = (1..).zip(file.text.lines());
        let lines = lines.filter(|(_, line)| line.trim_start().starts_with('#'));
        lines.map(move |(number, line)| (&file.path, number, line))
    }));
    let long = lines.filter(|(_, _, line)| line.chars().count() > MOST_COLUMNS);
    let long: Vec<String> = long
        .map(|(path, number, line)| format!("{path}:{number}: {line}"))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// A word of each kind, in each kind of text.
#[test]
fn it_sees_what_is_not_plain() {
    let banned = glossary(&document("packaging/doc/CONTRIBUTING.md"));
    let markdown = |text: &str| {
        of_markdown(&Document {
            path: "x.md".to_owned(),
            text: text.to_owned(),
        })
    };
    let long = format!("# {}\n", "word ".repeat(MOST_WORDS + 1));
    let bad = [
        ("a paragraph", markdown("Nobody is\nasked.")),
        ("over two lines", markdown("It goes\non.")),
        ("an item", markdown("* a\n* whoever asks")),
        ("a cell", markdown("| a | Who asks |\n| --- | --- |")),
        ("a heading", markdown("# The board")),
        ("the text of a link", markdown("[our clock](x.md)")),
        ("after an example", markdown("```sh\nx\n```\nIt tells.")),
        ("a longer form", markdown("two faults")),
        ("a long sentence", markdown(&long[2..])),
        ("a comment", of_comments("x", "# whoever\n# asks\n#key = 1\n")),
        ("a manual page", of_roff("x", ".SH NAME\nwhat somebody\nasks\n")),
        ("help", of_help(&Command::new("x").about("Tell it"))),
        (
            "help of a part",
            of_help(&Command::new("x").subcommand(Command::new("y").about("Tell it"))),
        ),
        (
            "help at the end",
            of_help(&Command::new("x").after_long_help("A:\n  b  as we are")),
        ),
    ];
    for (what, blocks) in bad {
        let found: Vec<String> = blocks.iter().flat_map(|block| faults(block, &banned)).collect();
        assert_eq!(found.len(), 1, "{what}: {found:?}");
    }
    let good = [
        markdown("`nobody`, default, dashboard, whole, useful, µs"),
        markdown("```text\nnobody\n```\n[a](who.md)\n<!-- who -->"),
        of_comments("x", "#who = 1\n#   who runs\n"),
        of_roff("x", ".B who\n.EX\nwho\n.EE\n"),
    ];
    for blocks in good {
        let found: Vec<String> = blocks.iter().flat_map(|block| faults(block, &banned)).collect();
        assert_eq!(found, Vec::<String>::new());
    }
}
