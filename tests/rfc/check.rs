//! The checker of citations: from the lists and the sources to everything that is wrong. A function of texts alone.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;

/// One RFC: its sections, and what it says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    pub(super) rfc: u16,
    #[serde(rename = "title")]
    _title: String,
    /// Number and title of each section that may be cited.
    sections: BTreeMap<String, String>,
    #[serde(default, rename = "statement")]
    statements: Vec<Statement>,
}

/// What a section asks for, and what became of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    section: String,
    key: String,
    #[serde(rename = "level")]
    _level: Level,
    says: String,
    tested: Option<Vec<String>>,
    departs: Option<String>,
    absent: Option<String>,
}

/// How strictly the RFC asks for it.
#[derive(Clone, Copy, Debug, Deserialize)]
enum Level {
    #[serde(rename = "MUST")]
    Must,
    #[serde(rename = "SHOULD")]
    Should,
    #[serde(rename = "MAY")]
    May,
    /// Described without such a word.
    #[serde(rename = "procedure")]
    Procedure,
}

/// What became of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State<'a> {
    Implemented(&'a [String]),
    Departs(&'a str),
    Absent,
}

impl Statement {
    /// # Errors
    /// It is not exactly one of them, or it says nothing of it.
    fn state(&self) -> Result<State<'_>, &'static str> {
        match (&self.tested, &self.departs, &self.absent) {
            (Some(tests), None, None) if !tests.is_empty() => Ok(State::Implemented(tests)),
            (None, Some(why), None) if !why.is_empty() => Ok(State::Departs(why)),
            (None, None, Some(why)) if !why.is_empty() => Ok(State::Absent),
            (None, None, None) => Err("is neither tested nor departs nor absent"),
            (Some(_), None, None) => Err("names no test"),
            (None, Some(_), None) | (None, None, Some(_)) => Err("gives no reason"),
            _ => Err("is more than one of tested, departs and absent"),
        }
    }
}

/// A file, its path relative to the repository's root.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
}

/// Where a mark points to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Citation {
    rfc: u16,
    section: String,
    key: String,
}

impl fmt::Display for Citation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RFC {} §{} {}", self.rfc, self.section, self.key)
    }
}

/// `//= RFC 5905 §8 bogus`, and what it stands above.
struct Mark {
    place: String,
    citation: Citation,
    /// The test function; none for code that ships.
    test: Option<String>,
}

/// All marks, all test functions, and the marks that are none.
#[derive(Default)]
struct Marks {
    marks: Vec<Mark>,
    tests: BTreeSet<String>,
    faults: Vec<String>,
}

impl Marks {
    fn of(sources: &[Source]) -> Self {
        let mut found = Self::default();
        sources.iter().for_each(|source| found.read(source));
        found
    }

    fn read(&mut self, source: &Source) {
        let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
        let ships = if is_of_tests(&source.path) {
            0
        } else {
            let tests = source.text.lines().position(|line| line == "#[cfg(test)]");
            tests.unwrap_or(lines.len())
        };
        for (index, line) in lines.iter().enumerate() {
            let place = format!("{}:{}", source.path, index + 1);
            let below = below(&lines[index + 1..]);
            if *line == "#[test]" {
                self.tests.extend(below.and_then(function));
            }
            let Some(text) = line.strip_prefix("//=") else {
                continue;
            };
            match (citation(text), below) {
                (None, _) => self.faults.push(format!("{place}: can't be read: {line}")),
                (Some(_), None) => self.faults.push(format!("{place}: stands above nothing")),
                (Some(citation), Some(below)) => {
                    let test = has_test(&lines[index + 1..]).then(|| function(below)).flatten();
                    if index >= ships && test.is_none() {
                        self.faults
                            .push(format!("{place}: stands in test code, and not above a test"));
                    } else {
                        self.marks.push(Mark {
                            place,
                            citation,
                            test,
                        });
                    }
                }
            }
        }
    }

    fn of_citation<'a>(&'a self, citation: &'a Citation) -> impl Iterator<Item = &'a Mark> {
        self.marks.iter().filter(move |mark| mark.citation == *citation)
    }

    fn has_code(&self, citation: &Citation) -> bool {
        self.of_citation(citation).any(|mark| mark.test.is_none())
    }
}

fn is_of_tests(path: &str) -> bool {
    path.split('/').any(|part| matches!(part, "tests" | "tests.rs"))
}

/// ` RFC 5905 §8 bogus`
fn citation(text: &str) -> Option<Citation> {
    let words: Vec<&str> = text.split(' ').collect();
    match words.as_slice() {
        ["", "RFC", rfc, section, key] if is_key(key) => Some(Citation {
            rfc: rfc.parse().ok()?,
            section: section.strip_prefix('§')?.to_owned(),
            key: (*key).to_owned(),
        }),
        _ => None,
    }
}

fn is_key(key: &str) -> bool {
    let of_key = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    key.starts_with(|c: char| c.is_ascii_lowercase()) && key.chars().all(of_key)
}

/// Comments and attributes between a mark and what it stands above.
fn between<'a>(lines: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    let mut open = false;
    lines.iter().copied().take_while(move |line| {
        let is_between = open || line.starts_with("//") || line.starts_with("#[");
        open = is_between && !line.starts_with("//") && !line.ends_with(']');
        is_between
    })
}

/// The code that comes next; none if there is an empty line before it.
fn below<'a>(lines: &[&'a str]) -> Option<&'a str> {
    let next = lines.get(between(lines).count()).copied();
    next.filter(|line| !line.is_empty())
}

fn has_test(lines: &[&str]) -> bool {
    between(lines).any(|line| line == "#[test]")
}

fn function(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("fn ")?;
    let name = rest.split(['(', '<']).next()?;
    Some(name.to_owned())
}

/// What came of an RFC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) implemented: usize,
    /// How many times a test is named.
    pub(super) tests: usize,
    pub(super) departs: usize,
    /// Of these, so many that nobody decided.
    pub(super) unintended: usize,
    pub(super) absent: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} implemented (tested {} times), {} depart ({} of them not intended), {} absent",
            self.implemented, self.tests, self.departs, self.unintended, self.absent
        )
    }
}

impl List {
    /// # Errors
    /// What is no list.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    pub(super) fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for statement in &self.statements {
            match statement.state() {
                Ok(State::Implemented(tests)) => {
                    summary.implemented += 1;
                    summary.tests += tests.len();
                }
                Ok(State::Departs(why)) => {
                    summary.departs += 1;
                    summary.unintended += usize::from(why.starts_with("not intended:"));
                }
                Ok(State::Absent) => summary.absent += 1,
                Err(_) => {}
            }
        }
        summary
    }

    fn citation(&self, statement: &Statement) -> Citation {
        Citation {
            rfc: self.rfc,
            section: statement.section.clone(),
            key: statement.key.clone(),
        }
    }

    fn statement(&self, citation: &Citation) -> Option<&Statement> {
        self.statements
            .iter()
            .find(|statement| self.citation(statement) == *citation)
    }

    /// What is wrong with the list itself.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for statement in &self.statements {
            let citation = self.citation(statement);
            if !self.sections.contains_key(&statement.section) {
                faults.push(format!("{citation}: there is no such section"));
            }
            if !is_key(&statement.key) {
                faults.push(format!("{citation}: is no key (small letters, digits, hyphens)"));
            }
            if statement.says.is_empty() {
                faults.push(format!("{citation}: says nothing"));
            }
            faults.extend(
                statement
                    .state()
                    .err()
                    .map(|fault| format!("{citation}: {fault}")),
            );
        }
        for (one, next) in self.statements.iter().zip(self.statements.iter().skip(1)) {
            let fault = match order(one).cmp(&order(next)) {
                Ordering::Less => continue,
                Ordering::Equal => "is there twice",
                Ordering::Greater => "stands below a later section or key",
            };
            faults.push(format!("{}: {fault}", self.citation(next)));
        }
        faults
    }
}

/// Sections in the order of the RFC, keys as in a dictionary.
fn order(statement: &Statement) -> (Vec<u32>, &str) {
    let numbers = statement.section.split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.collect(), &statement.key)
}

/// Everything that is wrong with the lists and the marks in the sources.
pub(super) fn faults(lists: &[List], sources: &[Source]) -> Vec<String> {
    let marks = Marks::of(sources);
    let mut faults = marks.faults.clone();
    for list in lists {
        faults.extend(list.faults());
        for statement in &list.statements {
            faults.extend(unmarked(&list.citation(statement), statement, &marks));
        }
    }
    for mark in &marks.marks {
        let list = lists.iter().find(|list| list.rfc == mark.citation.rfc);
        let statement = list.and_then(|list| list.statement(&mark.citation));
        let fault = match statement {
            None => Some("is in no list".to_owned()),
            Some(statement) => unlisted(mark, statement),
        };
        faults.extend(fault.map(|fault| format!("{}: {}: {fault}", mark.place, mark.citation)));
    }
    faults
}

/// The marks that a statement has to have.
fn unmarked(citation: &Citation, statement: &Statement, marks: &Marks) -> Vec<String> {
    let mut faults = Vec::new();
    let state = statement.state();
    if matches!(state, Ok(State::Implemented(_) | State::Departs(_))) && !marks.has_code(citation) {
        faults.push(format!("{citation}: no mark in src says where"));
    }
    let Ok(State::Implemented(tests)) = state else {
        return faults;
    };
    for test in tests {
        let bears = |mark: &Mark| mark.test.as_ref() == Some(test);
        if !marks.tests.contains(test) {
            faults.push(format!("{citation}: there is no test {test}"));
        } else if !marks.of_citation(citation).any(bears) {
            faults.push(format!("{citation}: the test {test} bears no mark of it"));
        }
    }
    faults
}

/// What is wrong with a mark of this statement.
fn unlisted(mark: &Mark, statement: &Statement) -> Option<String> {
    match (statement.state(), &mark.test) {
        (Ok(State::Implemented(tests)), Some(test)) if !tests.contains(test) => {
            Some(format!("the list does not name {test}"))
        }
        (Ok(State::Departs(_) | State::Absent), Some(_)) => {
            Some("has a test, and is not said to be implemented".to_owned())
        }
        (Ok(State::Absent), None) => Some("is said to be absent".to_owned()),
        (Ok(State::Implemented(_) | State::Departs(_)) | Err(_), _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "rfc = 1\ntitle = \"T\"\n[sections]\n\"2\" = \"Two\"\n\"2.9\" = \"A\"\n\"2.10\" = \"B\"\n";
    const CODE: &str = "//! Pure.\n\n/// Does it.\n//= RFC 1 §2 first\nfn f() {}\n";
    const TEST: &str = "//= RFC 1 §2 first\n#[test]\nfn works() {}\n";
    const FIRST: &str = "tested = [\"works\"]";

    fn statement(section: &str, key: &str, state: &str) -> String {
        format!(
            "[[statement]]\nsection = \"{section}\"\nkey = \"{key}\"\nlevel = \"MUST\"\nsays = \"It.\"\n{state}\n"
        )
    }

    fn first(state: &str) -> String {
        statement("2", "first", state)
    }

    fn judged(statements: &str, sources: &[(&str, &str)]) -> Vec<String> {
        let list = List::parse(&format!("{HEAD}{statements}")).unwrap();
        let source = |&(path, text): &(&str, &str)| Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        faults(&[list], &sources.iter().map(source).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_right_has_no_fault() {
        let inside = format!(
            "{CODE}\n#[cfg(test)]\nmod tests {{\n    {}}}\n",
            TEST.replace('\n', "\n    ")
        );
        let property = "proptest! {\n    //= RFC 1 §2 first\n    #[test]\n    fn works(x: u8) {}\n}\n";
        let attribute =
            "//= RFC 1 §2 first\n#[expect(\n    a,\n    reason = \"b\"\n)]\n// Why.\nconst A: u8 = 1;\n";
        let order = ["2", "2.9", "2.10"].map(|section| statement(section, "a", "absent = \"Why.\""));
        for (statements, sources) in [
            (first(FIRST), vec![("src/a.rs", CODE), ("tests/a.rs", TEST)]),
            (first(FIRST), vec![("src/a.rs", inside.as_str())]),
            (
                first(FIRST),
                vec![("src/a.rs", CODE), ("src/a/tests.rs", property)],
            ),
            (
                first(FIRST),
                vec![("src/a.rs", attribute), ("src/a/tests/b.rs", TEST)],
            ),
            (first("departs = \"Why.\""), vec![("src/a.rs", CODE)]),
            (
                first("absent = \"Why.\""),
                vec![("src/a.rs", "// RFC 1 §2: not a mark.\n")],
            ),
            (order.concat(), vec![]),
        ] {
            assert_eq!(
                judged(&statements, &sources),
                Vec::<String>::new(),
                "{statements}"
            );
        }
    }

    fn finds(expected: &str, statements: &str, sources: &[(&str, &str)]) {
        let found = judged(statements, sources);
        assert!(
            found.iter().any(|fault| fault == expected),
            "{expected}: {found:?}"
        );
    }

    /// The marks of `CODE`, `TEST` and one more line.
    fn finds_of_mark(expected: &str, line: &str) {
        let code = format!("{CODE}\n{line}\nfn g() {{}}\n");
        let expected = format!("src/a.rs:7: {expected}");
        finds(
            &expected,
            &first(FIRST),
            &[("src/a.rs", &code), ("tests/a.rs", TEST)],
        );
    }

    #[test]
    fn a_mark_that_leads_nowhere_is_found() {
        finds_of_mark("RFC 1 §3 first: is in no list", "//= RFC 1 §3 first");
        finds_of_mark("RFC 1 §2 second: is in no list", "//= RFC 1 §2 second");
        finds_of_mark("RFC 2 §2 first: is in no list", "//= RFC 2 §2 first");
        finds_of_mark("can't be read: //= RFC 1 §2", "//= RFC 1 §2");
        finds_of_mark(
            "can't be read: //= RFC 1 §2 first and more",
            "//= RFC 1 §2 first and more",
        );
        finds_of_mark("stands above nothing", "//= RFC 1 §2 first\n");
        let astray = format!("{TEST}\n{CODE}");
        let sources = [("src/a.rs", CODE), ("tests/a.rs", astray.as_str())];
        finds(
            "tests/a.rs:8: stands in test code, and not above a test",
            &first(FIRST),
            &sources,
        );
    }

    #[test]
    fn a_statement_without_its_marks_is_found() {
        let both = [("src/a.rs", CODE), ("tests/a.rs", TEST)];
        let (code, test) = both.split_at(1);
        let unmarked = [code[0], ("tests/a.rs", "#[test]\nfn works() {}\n")];
        let (departs, absent) = (first("departs = \"Why.\""), first("absent = \"Why.\""));
        let another = first("tested = [\"another\"]");
        finds("RFC 1 §2 first: no mark in src says where", &first(FIRST), test);
        finds("RFC 1 §2 first: no mark in src says where", &departs, &[]);
        finds("RFC 1 §2 first: there is no test works", &first(FIRST), code);
        finds(
            "RFC 1 §2 first: the test works bears no mark of it",
            &first(FIRST),
            &unmarked,
        );
        finds(
            "tests/a.rs:1: RFC 1 §2 first: the list does not name works",
            &another,
            &both,
        );
        let tested = "tests/a.rs:1: RFC 1 §2 first: has a test, and is not said to be implemented";
        finds(tested, &departs, &both);
        finds(tested, &absent, &both);
        finds("src/a.rs:4: RFC 1 §2 first: is said to be absent", &absent, code);
    }

    #[test]
    fn a_fault_of_the_list_is_found() {
        let why = "absent = \"Why.\"";
        let two = |one: &str, next: &str| format!("{one}{next}");
        let twice = two(&first(why), &first(why));
        let sections = two(&statement("2.10", "a", why), &statement("2.9", "a", why));
        let keys = two(&statement("2", "b", why), &statement("2", "a", why));
        let all = first(&format!("tested = [\"works\"]\n{why}"));
        finds(
            "RFC 1 §2 first: is neither tested nor departs nor absent",
            &first(""),
            &[],
        );
        finds(
            "RFC 1 §2 first: is more than one of tested, departs and absent",
            &all,
            &[],
        );
        finds("RFC 1 §2 first: names no test", &first("tested = []"), &[]);
        finds("RFC 1 §2 first: gives no reason", &first("absent = \"\""), &[]);
        finds("RFC 1 §2 first: gives no reason", &first("departs = \"\""), &[]);
        finds(
            "RFC 1 §2 first: says nothing",
            &first(why).replace("It.", ""),
            &[],
        );
        finds(
            "RFC 1 §4 a: there is no such section",
            &statement("4", "a", why),
            &[],
        );
        finds("RFC 1 §2 first: is there twice", &twice, &[]);
        finds(
            "RFC 1 §2.9 a: stands below a later section or key",
            &sections,
            &[],
        );
        finds("RFC 1 §2 a: stands below a later section or key", &keys, &[]);
        let key = "RFC 1 §2 No Key: is no key (small letters, digits, hyphens)";
        finds(key, &statement("2", "No Key", why), &[]);
    }

    #[test]
    fn what_is_no_list() {
        for (text, why) in [
            ("rfc = 1", "missing field"),
            ("section", "expected"),
            (&format!("{HEAD}{}", first("implemented = true")), "unknown field"),
            (
                &format!("{HEAD}{}", first("").replace("MUST", "must")),
                "unknown variant",
            ),
        ] {
            let fault = List::parse(text).unwrap_err();
            assert!(fault.contains(why), "{fault}");
        }
    }

    #[test]
    fn what_is_counted() {
        let statements = [
            statement("2", "a", "tested = [\"x\", \"y\"]"),
            statement("2", "b", "departs = \"Why.\""),
            statement("2", "c", "departs = \"not intended: see this.\""),
            statement("2", "d", "absent = \"Why.\""),
        ];
        let list = List::parse(&format!("{HEAD}{}", statements.concat())).unwrap();
        let expected = Summary {
            implemented: 1,
            tests: 2,
            departs: 2,
            unintended: 1,
            absent: 1,
        };
        assert_eq!(list.summary(), expected);
    }
}
