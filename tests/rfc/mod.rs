//! Proves that what the RFCs ask for is done where the marks in the source say, or that a list says why not.
//!
//! `5905.toml` and its likes beside this file list what each RFC asks for, in words of ours; their heads tell how. A
//! line `//= RFC 5905 §8 bogus` above code of `src/` says that it does that statement (or departs from it), and above a
//! `#[test]` that this test proves it. The rules are those of `check`, and its own tests show each of them broken.

mod check;

use std::path::{Path, PathBuf};

use check::{List, Source, faults};

const LISTS: [&str; 4] = ["5905.toml", "7822.toml", "8915.toml", "9769.toml"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn lists() -> Vec<List> {
    let read = |name: &str| {
        let text = std::fs::read_to_string(root().join("tests/rfc").join(name)).unwrap();
        List::parse(&text).unwrap_or_else(|fault| panic!("{name}: {fault}"))
    };
    LISTS.map(read).into()
}

/// All of `src/` and `tests/`, but for this room: its marks are made up.
fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for directory in ["src", "tests"] {
        crate::layers::gather(&root().join(directory), &mut found);
    }
    found.sort();
    let outside = |path: &PathBuf| !path.starts_with(root().join("tests/rfc"));
    let source = |path: PathBuf| Source {
        text: std::fs::read_to_string(&path).unwrap(),
        path: path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(),
    };
    found.into_iter().filter(outside).map(source).collect()
}

#[test]
fn what_the_rfcs_ask_for_is_cited_where_it_is_done() {
    let (lists, sources) = (lists(), sources());
    for list in &lists {
        println!("RFC {}: {}", list.rfc, list.summary());
    }
    let faults = faults(&lists, &sources);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
