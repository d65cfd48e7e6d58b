//! No files of `src` import each other in a circle: a reader can begin at the ground and never has to come back.
//!
//! It follows `use` statements, through names that a module hands on from its own files. A file may use what the modules declare
//! that it is a part of, since it is a part of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::layers::gather;

/// The path of a module or of a name in it, from the crate on.
type Names = Vec<String>;

/// The files of a crate, by their modules.
#[derive(Default)]
struct Modules(BTreeMap<Names, String>);

impl Modules {
    fn of_sources() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut found = Vec::new();
        gather(&root, &mut found);
        let mut modules = Self::default();
        for path in found {
            let relative = path.strip_prefix(&root).unwrap().with_extension("");
            let names = relative.iter().map(|part| part.to_str().unwrap());
            modules.add(names, &std::fs::read_to_string(&path).unwrap());
        }
        modules
    }

    /// Adds the file of these names under `src`; what comes behind its tests' attribute does not count.
    fn add<'a>(&mut self, names: impl Iterator<Item = &'a str>, text: &str) {
        let names = names.filter(|name| !matches!(*name, "mod" | "lib" | "main"));
        let shipped = text.split("#[cfg(test)]\nmod ").next().unwrap();
        let code: Vec<&str> = shipped
            .lines()
            .map(|line| line.split("//").next().unwrap())
            .collect();
        self.0.insert(names.map(str::to_owned).collect(), code.join("\n"));
    }

    /// The module that declares what `path` names; the crate's own files are none.
    fn declaring(&self, path: &[String]) -> Option<Names> {
        let mut module = Names::new();
        let mut rest = path;
        while let [name, more @ ..] = rest {
            let inner: Names = module.iter().chain([name]).cloned().collect();
            if !self.0.contains_key(&inner) {
                break;
            }
            (module, rest) = (inner, more);
        }
        // A name that is handed on is declared where it comes from.
        let handed_on = rest.first().and_then(|name| {
            let code = self.0.get(&module)?;
            let handed = uses(code, true).into_iter().map(|path| resolved(&module, &path));
            let mut from = handed.filter(|path| path.last() == Some(name) && *path != joined(&module, name));
            from.next()
        });
        match handed_on {
            Some(path) => self.declaring(&path),
            None => (!module.is_empty()).then_some(module),
        }
    }

    /// The modules that `module` uses, without those that it is a part of.
    fn used_by(&self, module: &Names, code: &str) -> BTreeSet<Names> {
        let paths = uses(code, false).into_iter().map(|path| resolved(module, &path));
        let declaring = paths.filter_map(|path| self.declaring(&path));
        declaring.filter(|used| !module.starts_with(used)).collect()
    }

    /// A circle of modules, each of which uses the next one, if there is any.
    fn circle(&self) -> Option<Vec<Names>> {
        let used: BTreeMap<&Names, BTreeSet<Names>> = self
            .0
            .iter()
            .map(|(module, code)| (module, self.used_by(module, code)))
            .collect();
        let mut left: BTreeSet<&Names> = used.keys().copied().collect();
        // Takes away those that use none of the rest, until there are no such.
        while let Some(&ground) = left
            .iter()
            .find(|module| !used[**module].iter().any(|other| left.contains(other)))
        {
            left.remove(ground);
        }
        let mut way: Vec<Names> = vec![(*left.first()?).clone()];
        loop {
            let next = used[way.last().unwrap()]
                .iter()
                .find(|other| left.contains(other));
            let next = next.unwrap().clone();
            if let Some(start) = way.iter().position(|passed| *passed == next) {
                return Some(way.split_off(start));
            }
            way.push(next);
        }
    }
}

fn joined(module: &[String], name: &str) -> Names {
    module
        .iter()
        .map(String::as_str)
        .chain([name])
        .map(str::to_owned)
        .collect()
}

/// `path`, as it stands in `module`, from the crate on. (Other crates' names lead nowhere.)
fn resolved(module: &[String], path: &[String]) -> Names {
    let (mut base, mut rest) = (module.to_vec(), path);
    while let [first, more @ ..] = rest {
        match first.as_str() {
            "crate" => base.clear(),
            "super" => drop(base.pop()),
            "self" => {}
            _ => break,
        }
        rest = more;
    }
    base.extend_from_slice(rest);
    base
}

/// The paths of all `use` statements at the start of a line; those alone that hand names on, if `public`.
fn uses(code: &str, public: bool) -> Vec<Names> {
    let mut found = Vec::new();
    let statements = code.split(';').filter_map(|statement| {
        let line_start = statement.rfind("use ").filter(|at| {
            let line = statement[..*at].rsplit('\n').next().unwrap();
            line.is_empty() || (line.starts_with("pub") && line.ends_with(' '))
        })?;
        let is_public = !statement[..line_start].ends_with('\n') && line_start > 0;
        (is_public || !public).then_some(&statement[line_start + "use ".len()..])
    });
    for tree in statements {
        expand(tree.trim(), &[], &mut found);
    }
    found
}

/// Writes out a tree as in `a::{b, c::{self, d}}`.
fn expand(tree: &str, before: &[String], found: &mut Vec<Names>) {
    let Some(open) = tree.find('{') else {
        let tree = tree.split(" as ").next().unwrap();
        let own = tree.split("::").map(|name| name.trim().to_owned());
        let mut path: Names = before.iter().cloned().chain(own).collect();
        path.retain(|name| !matches!(name.as_str(), "" | "*"));
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        found.push(path);
        return;
    };
    let own = tree[..open].split("::").map(|name| name.trim().to_owned());
    let before: Names = before
        .iter()
        .cloned()
        .chain(own.filter(|name| !name.is_empty()))
        .collect();
    let inside = tree[open + 1..].trim_end().strip_suffix('}').unwrap();
    let (mut depth, mut start) = (0_usize, 0);
    for (at, character) in inside.char_indices().chain([(inside.len(), ',')]) {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !inside[start..at].trim().is_empty() {
                    expand(inside[start..at].trim(), &before, found);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let modules = Modules::of_sources();
    assert!(modules.0.len() > 100, "{} files", modules.0.len());
    let arrows: usize = modules
        .0
        .iter()
        .map(|(module, code)| modules.used_by(module, code).len())
        .sum();
    assert!(arrows > 300, "{arrows} arrows");
    let circle = modules.circle().map(|circle| {
        let names: Vec<String> = circle.iter().map(|names| names.join("::")).collect();
        names.join(" -> ")
    });
    assert_eq!(circle, None, "move what ties them into a file below both");
}

#[test]
fn a_circle_is_seen_through_names_that_are_handed_on() {
    let files = [
        ("room/mod", "mod a;\nmod b;\npub use b::{B, C};\n"),
        ("room/a", "use crate::room::B;\nuse std::fmt;\n"),
        ("room/b", "use super::d::{self, D};\n"),
        ("room/d", "// use super::a::A;\n"),
        ("other", "pub(crate) use crate::room::{a::{A, A2}, C as E};\n"),
    ];
    let modules = |last: Option<(&str, &str)>| {
        let mut modules = Modules::default();
        for (path, text) in files.into_iter().chain(last) {
            modules.add(path.split('/'), text);
        }
        modules
    };
    let name = |path: &str| -> Names { path.split('/').map(str::to_owned).collect() };
    let plain = modules(None);
    assert_eq!(
        plain.used_by(&name("room/a"), &plain.0[&name("room/a")]),
        [name("room/b")].into()
    );
    assert_eq!(
        plain.used_by(&name("other"), &plain.0[&name("other")]),
        [name("room/a"), name("room/b")].into()
    );
    assert_eq!(plain.circle(), None);
    let tied = modules(Some(("room/d", "use crate::room::a::A;\n")));
    assert_eq!(
        tied.circle(),
        Some(vec![name("room/a"), name("room/b"), name("room/d")])
    );
    // A part may use what the whole declares.
    let part = modules(Some(("room/d", "use super::Whole;\n")));
    assert_eq!(part.circle(), None);
}
