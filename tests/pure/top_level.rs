//! Holds the top level of the project to what belongs there: a tool that writes into a new directory is seen.

use std::path::Path;

/// All that is there, beside files whose names begin with a dot. Git ignores `target`, and the seeds of properties that failed.
const BELONGS: [&str; 11] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "config",
    "packaging",
    "proptest-regressions",
    "src",
    "systemd",
    "target",
    "tests",
];

/// The names of a list that do not belong there.
fn others(names: Vec<String>) -> Vec<String> {
    let is_other = |name: &String| !name.starts_with('.') && !BELONGS.contains(&name.as_str());
    names.into_iter().filter(is_other).collect()
}

#[test]
fn nothing_else_is_there() {
    let entries = Path::new(env!("CARGO_MANIFEST_DIR")).read_dir().unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(others(names.collect()), Vec::<String>::new());
}

#[test]
fn what_does_not_belong_there_is_seen() {
    let names = ["src", "--help", ".github", "target2"].map(str::to_owned);
    assert_eq!(others(names.to_vec()), ["--help", "target2"]);
}
