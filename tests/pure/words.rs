//! The source is in plain English: comments begin with the thing, and programs are no persons; nor are they in messages and
//! names.

use crate::layers::{Source, sources};

/// Words that a documentation comment doesn't say: programs, packets and threads are no persons, and plain English has
/// plainer words.
const UNPLAIN: [&str; 10] = [
    "who",
    "whom",
    "whoever",
    "nobody",
    "somebody",
    "everybody",
    "anybody",
    "shall",
    "anew",
    "so many",
];

/// A documentation comment begins with the thing or with what it does, not with one of these.
const CLAUSES: [&str; 9] = [
    "What",
    "How",
    "Who",
    "Where",
    "When",
    "Why",
    "One",
    "It",
    "From now on",
];

/// Longer lines of a comment break where they are read (rustfmt does not see them).
const MOST_COLUMNS: usize = 130;

/// The text of a line of documentation, and what marks it.
fn documentation(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let (mark, text) = line.split_at_checked(3)?;
    // Four slashes are no documentation.
    (matches!(mark, "///" | "//!") && !text.starts_with('/')).then(|| (mark, text.trim()))
}

/// The words of a documentation line, in lower case, with a blank around each; code in backticks is left out.
fn spoken(text: &str) -> String {
    let outside = text.split('`').step_by(2).collect::<Vec<_>>().join(" ");
    let words = outside.split(|c: char| !c.is_alphanumeric() && c != '\'');
    let words: Vec<_> = words
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    format!(" {} ", words.join(" "))
}

/// What is wrong with the comments of a file.
///
/// The rows of the configuration's keys and of the fast path's layout are among them: the example file, the manual page,
/// the schema and `layout.h` are made of them.
fn comments(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    let lines: Vec<&str> = source.text.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let columns = line.chars().count();
        if line.trim_start().starts_with("//") && columns > MOST_COLUMNS {
            faults.push(format!("{}: {columns} columns", index + 1));
        }
        let Some((mark, text)) = documentation(line) else {
            continue;
        };
        let said = spoken(text);
        let unplain = UNPLAIN.iter().filter(|word| said.contains(&format!(" {word} ")));
        faults.extend(unplain.map(|word| format!("{}: \"{word}\" in: {text}", index + 1)));
        let is_first = index == 0 || documentation(lines[index - 1]).is_none_or(|before| before.0 != mark);
        if !is_first {
            continue;
        }
        let thing = text.trim_start_matches("Pure. ").trim_start_matches("Impure. ");
        let clause = CLAUSES
            .iter()
            .find(|clause| thing.starts_with(&format!("{clause} ")));
        faults.extend(clause.map(|clause| format!("{}: begins with \"{clause}\": {text}", index + 1)));
        let next = lines.get(index + 1).and_then(|line| documentation(line));
        if next.is_some_and(|(_, text)| !text.is_empty()) {
            faults.push(format!("{}: no empty line after the first: {text}", index + 1));
        }
    }
    faults
}

/// Lines with a word that is part of an interface, and stays: a key of JSON.
const FIXED: [&str; 1] = ["#[serde(rename = \"who\")]"];

/// The lines of a file that are neither tests nor comments, with their numbers.
fn code(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    let is_tested = source.path.ends_with("tests.rs") || source.path.contains("/tests/");
    let end = source.text.find("#[cfg(test)]\nmod tests {");
    let lines = source
        .text
        .get(..end.unwrap_or(source.text.len()))
        .unwrap_or_default();
    let lines = lines.lines().enumerate().filter(move |_| !is_tested);
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// What is wrong with the messages and names of a file.
fn messages(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    for (index, line) in code(source) {
        // Backticks are no code here: a message may have them.
        let said = spoken(&line.replace('`', " "));
        let unplain = UNPLAIN.iter().filter(|word| said.contains(&format!(" {word} ")));
        let line = line.trim();
        let unplain = unplain.filter(|_| !FIXED.contains(&line));
        faults.extend(unplain.map(|word| format!("{}: \"{word}\" in: {line}", index + 1)));
    }
    faults
}

#[test]
fn messages_and_names_are_plain() {
    let sources = sources();
    let lines: usize = sources.iter().map(|source| code(source).count()).sum();
    assert!(lines > 10_000, "the source is not where it was: {lines} lines");
    let faults: Vec<String> = sources
        .iter()
        .flat_map(|source| {
            messages(source)
                .into_iter()
                .map(|fault| format!("src/{}: {fault}", source.path))
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_message_or_name_that_is_not_plain_is_seen() {
    let text = "fn nobody_waits() {\n    // Who knows.\n    warn!(\"`x`: everybody is answered anew\");\n    shallow();\n}\n\n\
                #[cfg(test)]\nmod tests {\n    fn whoever() {}\n}\n";
    let expected = [
        "1: \"nobody\" in: fn nobody_waits() {",
        "3: \"everybody\" in: warn!(\"`x`: everybody is answered anew\");",
        "3: \"anew\" in: warn!(\"`x`: everybody is answered anew\");",
    ];
    for (path, expected) in [
        ("a/b.rs", &expected[..]),
        ("a/tests.rs", &[]),
        ("a/tests/b.rs", &[]),
    ] {
        let source = Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        assert_eq!(messages(&source), expected, "{path}");
    }
}

#[test]
fn comments_are_plain() {
    let sources = sources();
    assert!(sources.len() > 10, "the source is not where it was");
    let faults: Vec<String> = sources
        .iter()
        .flat_map(|source| {
            let faults = comments(source).into_iter();
            faults.map(|fault| format!("src/{}: {fault}", source.path))
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_comment_that_is_not_plain_is_seen() {
    for (path, text, expected) in [
        (
            "host/a.rs",
            "//! Impure. A socket.\n\n/// The process, for\n/// whoever asks.",
            "4: \"whoever\" in: whoever asks.",
        ),
        (
            "host/a.rs",
            "//! Impure. A socket.\n//!\n//! There are so\tmany of them.",
            "3: \"so many\" in: There are so\tmany of them.",
        ),
        (
            "host/a.rs",
            "//! Impure. What sockets do.",
            "1: begins with \"What\": Impure. What sockets do.",
        ),
        (
            "host/a.rs",
            "//! Impure. A socket.\nstruct A {\n    /// How it waits.\n    a: u8,\n}",
            "3: begins with \"How\": How it waits.",
        ),
        (
            "config/keys/a.rs",
            "//! Pure. Rows.\n\ntable! {\n    struct A {\n        /// How many there are: {range}.\n        a: u8 = 1, whole(1..=3);\n    }\n}",
            "5: begins with \"How\": How many there are: {range}.",
        ),
        (
            "host/a.rs",
            "//! Impure. A socket.\n//! It waits.",
            "1: no empty line after the first: Impure. A socket.",
        ),
        (
            "host/a.rs",
            "//! Impure. A socket.\n// 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 \
             0123456789 0123456789 0123456789 0123456789 0123456789",
            "2: 134 columns",
        ),
    ] {
        let source = Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let found = comments(&source);
        assert!(found.iter().any(|fault| fault == expected), "{path}: {found:?}");
    }
}

#[test]
fn a_plain_comment_is_not_seen() {
    for (path, text) in [
        (
            "host/a.rs",
            "//! Impure. A socket.\n//!\n//! Its user is `nobody`, its shallow whole.\n\n/// Its user.\n// Who reads this?",
        ),
        (
            "host/a.rs",
            "//! Impure. A socket.\n\n//// Who draws lines like this?",
        ),
    ] {
        let source = Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        assert_eq!(comments(&source), Vec::<String>::new(), "{path}: {text}");
    }
}
