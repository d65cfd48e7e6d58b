//! What the documents point to is there: files, headings, and programs of tests by their names.

use std::path::Path;

use super::Documents;
use super::library::{Document, code, document, documents};
use super::shipped;

/// Everything that `document` points to and that is not there.
fn dangling(document: &Document) -> Vec<String> {
    let links = document.links();
    let links = links.into_iter().filter(|(_, link)| !leads(document, link));
    let links = links.map(|(line, link)| format!("{}:{line}: {link}", document.path));
    let named = document.lines().flat_map(|(line, text)| {
        let spans = code(text).into_iter().filter(|span| !is_there(span));
        spans.map(move |span| format!("{}:{line}: `{span}`", document.path))
    });
    let targets = document.text.lines().flat_map(missing_targets);
    let targets = targets.map(|target| format!("{}: {target}", document.path));
    links.chain(named).chain(targets).collect()
}

/// Does a link of `document` lead somewhere? Those to other hosts are not tried.
fn leads(from: &Document, link: &str) -> bool {
    if link.starts_with("https://") {
        return true;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let directory = shipped(&from.path).parent().unwrap().to_owned();
    let path = directory.join(file);
    if !file.is_empty() && !path.exists() {
        return false;
    }
    if anchor.is_empty() {
        return true;
    }
    let text = if file.is_empty() {
        from.text.clone()
    } else {
        std::fs::read_to_string(path).unwrap()
    };
    let to = Document {
        path: file.to_owned(),
        text,
    };
    to.anchors().contains(anchor)
}

/// Is it a path of this repository, then is it there? (The last word of a command may follow it.)
fn is_there(span: &str) -> bool {
    const FOLDERS: [&str; 6] = ["src/", "tests/", "packaging/", "config/", "systemd/", ".ci/"];
    let path = span.split(' ').next().unwrap();
    !FOLDERS.iter().any(|folder| path.starts_with(folder)) || shipped(path).exists()
}

/// The programs that a command of cargo names and that are not there.
fn missing_targets(line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split([' ', '`', '|']).collect();
    let named = words.windows(2).filter(|pair| {
        let [kind, name] = pair else { return false };
        let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        matches!(*kind, "--test" | "--bench" | "--example") && is_name && !has_target(kind, name)
    });
    named.map(|pair| pair.join(" ")).collect()
}

fn has_target(kind: &str, name: &str) -> bool {
    let manifest = std::fs::read_to_string(shipped("Cargo.toml")).unwrap();
    let table = format!("[[{}]]\nname = \"{name}\"\n", kind.trim_start_matches('-'));
    let by_place = kind == "--test"
        && [format!("tests/{name}.rs"), format!("tests/{name}/main.rs")]
            .iter()
            .any(|path| shipped(path).exists());
    by_place || manifest.contains(&table)
}

#[test]
fn everything_that_the_documents_point_to_is_there() {
    let documents = documents();
    let links: usize = documents.iter().map(|document| document.links().len()).sum();
    assert!(documents.len() > 15 && links > 100, "{links} links");
    let dangling: Vec<String> = documents.iter().flat_map(dangling).collect();
    assert!(dangling.is_empty(), "{}", dangling.join("\n"));
}

/// Otherwise nobody would find it.
#[test]
fn each_document_is_reached_from_the_readme() {
    let mut reached = vec!["README.md".to_owned()];
    let mut index = 0;
    while let Some(path) = reached.get(index).cloned() {
        for (_, link) in document(&path).links() {
            let name = link.split('#').next().unwrap().rsplit('/').next().unwrap();
            let path = match name {
                "CHANGELOG.md" => "packaging/CHANGELOG.md".to_owned(),
                _ => format!("packaging/doc/{name}"),
            };
            if name.ends_with(".md") && name != "README.md" && !reached.contains(&path) {
                reached.push(path);
            }
        }
        index += 1;
    }
    reached.sort();
    let all: Vec<String> = documents().into_iter().map(|document| document.path).collect();
    assert_eq!(reached, all);
}

/// A front page is read in minutes.
#[test]
fn the_readme_is_short() {
    let lines = document("README.md").text.lines().count();
    assert!(lines <= 200, "{lines} lines");
}

/// As installed they lie in one directory; `packaging/build` looks whether each link leads to a file of the package.
#[test]
fn installed_documents_link_to_no_place_of_the_source() {
    let made = Documents::made();
    let mut count = 0;
    for document in documents() {
        let name = document.path.rsplit('/').next().unwrap();
        if name == "CHANGELOG.md" {
            continue;
        }
        let installed = Document {
            path: name.to_owned(),
            text: made.text(&format!("doc/{name}")),
        };
        for (line, link) in installed.links() {
            let is_inside = ["../", "packaging/", "src/", "tests/", "config/"];
            assert!(
                !is_inside.iter().any(|start| link.starts_with(start)),
                "{name}:{line}: {link}"
            );
            count += 1;
        }
    }
    assert!(count > 80, "only {count} links");
}

#[test]
fn what_is_not_there_is_seen() {
    for (text, seen) in [
        ("[a](nothing.md)", "nothing.md"),
        ("[a](#nothing)\n# Something", "#nothing"),
        ("[a](install.md#nothing)", "install.md#nothing"),
        ("`src/nothing.rs` and `Nothing`", "`src/nothing.rs`"),
        ("`tests/nothing --all`", "`tests/nothing --all`"),
        ("`cargo test --test nothing`", "--test nothing"),
        ("cargo bench --bench nothing", "--bench nothing"),
    ] {
        let document = Document {
            path: "packaging/doc/x.md".to_owned(),
            text: text.to_owned(),
        };
        let found = dangling(&document);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].ends_with(seen), "{found:?}");
    }
    let good = Document {
        path: "packaging/doc/x.md".to_owned(),
        text:
            "# A b\n[a](#a-b), [i](install.md#the-systemd-unit), `src/lib.rs`, `cargo bench --bench model`\n\
               ```sh\n[x](nothing)\n```\n"
                .to_owned(),
    };
    assert_eq!(dangling(&good), Vec::<String>::new());
}

/// The words of log lines that a list of remedies quotes, as far as they are the program's own: a line that is worded anew is
/// looked for in vain.
fn quoted(document: &Document) -> Vec<String> {
    /// Of the system, or of a line's fields.
    const OF_OTHERS: [&str; 7] = [
        "Address already in use",
        "Cannot assign requested address",
        "No such device",
        "nf_conntrack",
        "type=1326",
        "status=31/SYS",
        "=",
    ];
    let mut rows = document
        .rows("# Troubleshooting")
        .into_iter()
        .flatten()
        .step_by(2);
    let mut words = Vec::new();
    for cell in rows.by_ref() {
        let spans: Vec<&str> = code(&cell);
        let parts = spans.into_iter().flat_map(|span| span.split('…')).map(str::trim);
        let own = parts.filter(|part| part.len() > 7 && !OF_OTHERS.iter().any(|other| part.contains(other)));
        words.extend(own.map(str::to_owned));
    }
    words
}

/// All of the source, with the texts that are broken over lines put together.
fn source() -> String {
    fn gather(directory: &Path, all: &mut String) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                gather(&path, all);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                *all += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    let mut all = String::new();
    gather(&shipped("src"), &mut all);
    let parts = all.split("\\\n");
    parts.map(str::trim_start).collect()
}

#[test]
fn the_program_says_what_the_list_of_remedies_quotes() {
    let words = quoted(&document("packaging/doc/troubleshooting.md"));
    assert!(words.len() > 15, "{words:?}");
    let source = source();
    let unknown: Vec<&String> = words.iter().filter(|words| !source.contains(*words)).collect();
    assert!(unknown.is_empty(), "nothing in src says {unknown:#?}");
}
