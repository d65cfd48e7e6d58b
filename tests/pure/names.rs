//! A type's name has one meaning in the whole program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The names of types that a file declares: `struct`, `enum`, `union` or `trait`.
fn declared(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let line = line.trim_start();
        let line = match line.strip_prefix("pub") {
            None => line,
            Some(rest) => {
                let rest = rest
                    .strip_prefix('(')
                    .map_or(Some(rest), |within| within.split_once(')').map(|(_, rest)| rest));
                rest?.trim_start()
            }
        };
        let kinds = ["struct ", "enum ", "union ", "trait "];
        let rest = kinds.iter().find_map(|kind| line.strip_prefix(kind))?;
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        let name = rest.get(..end)?;
        name.starts_with(|c: char| c.is_ascii_uppercase()).then_some(name)
    })
}

/// Stands in for another file where that can't be built, so that it has the same names.
fn is_stand_in(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with("no_"))
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Each name that is declared in more than one place, with these.
fn repeated<'a>(files: impl Iterator<Item = (&'a Path, &'a str)>) -> BTreeMap<&'a str, Vec<&'a Path>> {
    let mut places: BTreeMap<&str, Vec<&Path>> = BTreeMap::new();
    for (path, text) in files.filter(|(path, _)| !is_stand_in(path)) {
        for name in declared(text) {
            places.entry(name).or_default().push(path);
        }
    }
    places.retain(|_, paths| paths.len() > 1);
    places
}

#[test]
fn no_two_types_have_the_same_name() {
    let files: Vec<(PathBuf, String)> = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .into_iter()
        .map(|path| (path.clone(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    assert!(files.len() > 100, "{} files", files.len());
    let repeated = repeated(files.iter().map(|(path, text)| (path.as_path(), text.as_str())));
    assert!(
        repeated.is_empty(),
        "name each after what it is of, so that a reader knows which one is meant: {repeated:#?}"
    );
}

#[test]
fn what_is_declared_twice_is_found() {
    let one = "pub struct Report;\nenum Kind {\n";
    let other = "    pub(in crate::a) struct Report<T> {\nlet structure = 1;\npub(super) trait Kinds {\n";
    let (one_path, other_path, stand_in) = (Path::new("a.rs"), Path::new("b.rs"), Path::new("no_a.rs"));
    let found = repeated([(one_path, one), (other_path, other), (stand_in, "enum Kind")].into_iter());
    assert_eq!(found, BTreeMap::from([("Report", vec![one_path, other_path])]));
}
