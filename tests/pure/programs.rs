//! The programs of tests: `tests/NAME/main.rs`, each with its modules. Proves that no file is forgotten: cargo builds a file
//! of its own accord only directly below `tests/`, and a module that no program declares would never be run.
//!
//! It reads modules as rustfmt writes them: one declaration a line, the end of an inline module as deep as its head.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// Each is linked by itself, and runs alone.
const MOST: usize = 6;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All source below a directory, but for what is built there.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    crate::layers::gather(directory, &mut found);
    found.retain(|path| !path.components().any(|part| part.as_os_str() == "target"));
    found
}

/// The first files of all programs of tests.
fn programs() -> Vec<PathBuf> {
    let directories = std::fs::read_dir(root().join("tests")).unwrap();
    let mains = directories.map(|entry| entry.unwrap().path().join("main.rs"));
    mains.filter(|path| path.exists()).collect()
}

/// What a manifest names by its path: examples, benches, binaries.
fn named(manifest: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(manifest).unwrap();
    let manifest_of: toml::Table = text.parse().unwrap();
    let targets = ["example", "bench", "bin", "test"].map(|kind| manifest_of.get(kind));
    let targets = targets.into_iter().flatten().filter_map(toml::Value::as_array);
    let paths = targets
        .flatten()
        .filter_map(|target| target.get("path")?.as_str());
    paths.map(|path| manifest.parent().unwrap().join(path)).collect()
}

/// A module that is declared with a `;`: one of these files has it.
fn modules(file: &Path, text: &str, is_first: bool) -> Vec<[PathBuf; 2]> {
    let beside = file.parent().unwrap();
    let below = if is_first || file.ends_with("mod.rs") {
        beside.to_owned()
    } else {
        file.with_extension("")
    };
    // Inline modules around this line: how deep the head of each is, and where its modules are.
    let mut around: Vec<(usize, PathBuf)> = Vec::new();
    let (mut found, mut path_told) = (Vec::new(), None);
    for line in text.lines() {
        let depth = line.len() - line.trim_start().len();
        let words = line.trim();
        let directory = around.last().map_or(&below, |(_, directory)| directory).clone();
        let base = if around.is_empty() { beside } else { &directory };
        if let Some(rest) = words.strip_prefix("#[path = \"") {
            path_told = Some(base.join(rest.split('"').next().unwrap()));
        } else if let Some((name, is_inline)) = declared(words) {
            let told = path_told.take();
            if is_inline {
                around.push((depth, told.unwrap_or_else(|| directory.join(name))));
                continue;
            }
            found.push(match told {
                Some(path) => [path.clone(), path],
                None => ["", "/mod"].map(|rest| directory.join(format!("{name}{rest}.rs"))),
            });
        } else if words == "}" && around.last().is_some_and(|(head, _)| *head == depth) {
            around.pop();
        }
    }
    found
}

/// The name in `mod name;` or `mod name {`, however public, and whether it is the latter.
fn declared(line: &str) -> Option<(&str, bool)> {
    let (before, rest) = line.split_once("mod ")?;
    if !(before.is_empty() || before.starts_with("pub")) {
        return None;
    }
    let name = rest.strip_suffix(';').or_else(|| rest.strip_suffix(" {"))?;
    Some((name, rest.ends_with('{')))
}

/// Without `..`, as files are listed.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain
}

/// `first` and all files that it is made of.
fn reached(first: &Path) -> BTreeSet<PathBuf> {
    let mut reached = BTreeSet::new();
    let mut left = vec![plain(first)];
    while let Some(file) = left.pop() {
        let text =
            std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for candidates in modules(&file, &text, file == first) {
            let there = candidates.into_iter().map(|path| plain(&path));
            left.extend(there.filter(|path| path.exists() && !reached.contains(path)));
        }
        reached.insert(file);
    }
    reached
}

#[test]
fn no_file_is_forgotten() {
    let manifests = [
        "Cargo.toml",
        "tests/fuzz/Cargo.toml",
        "tests/kernels/step/Cargo.toml",
    ];
    let mut firsts = programs();
    firsts.extend(manifests.iter().flat_map(|path| named(&root().join(path))));
    let reached: BTreeSet<PathBuf> = firsts.iter().flat_map(|first| reached(first)).collect();
    assert!(reached.len() > 80, "only {} files are reached", reached.len());
    let all = sources(&root().join("tests"));
    let forgotten: Vec<_> = all.iter().filter(|path| !reached.contains(*path)).collect();
    assert!(
        forgotten.is_empty(),
        "no program has these as modules: {forgotten:#?}"
    );
}

#[test]
fn programs_are_few_and_have_directories() {
    let directly = std::fs::read_dir(root().join("tests")).unwrap();
    let stray: Vec<_> = directly
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    assert!(
        stray.is_empty(),
        "each would be a program: make them modules of one: {stray:?}"
    );
    let programs = programs();
    assert!((1..=MOST).contains(&programs.len()), "{programs:?}");
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for word in ["[[test]]", "autotests"] {
        assert!(
            !manifest.contains(word),
            "{word}: programs are found by their directories"
        );
    }
}

#[test]
fn modules_are_found_where_the_compiler_looks() {
    for (file, is_first, text, expected) in [
        ("t/a/main.rs", true, "mod b;", "t/a/b.rs"),
        ("t/a/main.rs", true, "#[cfg(x)]\npub(crate) mod b;", "t/a/b.rs"),
        ("t/a/load.rs", true, "mod b;", "t/a/b.rs"),
        ("t/a/b.rs", false, "mod c;", "t/a/b/c.rs"),
        ("t/a/b/mod.rs", false, "mod c;", "t/a/b/c.rs"),
        ("t/a/main.rs", true, "#[path = \"../c/d.rs\"]\nmod e;", "t/c/d.rs"),
        ("t/a/b.rs", false, "#[path = \"d.rs\"]\nmod e;", "t/a/d.rs"),
        ("t/a/main.rs", true, "mod b {\n    mod c;\n}", "t/a/b/c.rs"),
        (
            "t/a/main.rs",
            true,
            "mod b {\n    x! {\n    }\n}\nmod c;",
            "t/a/c.rs",
        ),
        (
            "t/a/main.rs",
            true,
            "#[path = \"../c\"]\nmod b {\n    mod d;\n}",
            "t/c/d.rs",
        ),
        (
            "t/a/main.rs",
            true,
            "mod b {\n    #[path = \"d.rs\"]\n    mod c;\n}",
            "t/a/b/d.rs",
        ),
    ] {
        let found = modules(Path::new(file), text, is_first);
        let found: Vec<_> = found.into_iter().map(|[first, _]| plain(&first)).collect();
        assert_eq!(found, [PathBuf::from(expected)], "{file}: {text}");
    }
    for no_module in ["// mod b;", "let mod_b = 1;", "use a::mod_b;", "model b;"] {
        let found = modules(Path::new("t/a/main.rs"), no_module, true);
        assert_eq!(found, Vec::<[PathBuf; 2]>::new(), "{no_module}");
    }
}
