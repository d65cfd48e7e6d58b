//! The references of metrics and of JSON against the running program: nothing is missing in them, nothing is too much.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde_json::Value;

use super::library::{Document, code, document};
use crate::common::client::{ask, request, v4};
use crate::common::daemon::Daemon;
use crate::common::ke;
use crate::common::page;
use crate::common::port::free_port;
use crate::common::program::command;
use crate::common::scripted::{Scripted, good};
use crate::common::{SOON, TempDir, run, wait_until};

/// A server that has one of everything: an upstream with samples, one with NTS (whose server is not there), a client, a fast
/// path (whose interface is not there), key establishment, a drain, a limit, a pool without members.
struct Running {
    server: SocketAddr,
    directory: TempDir,
    _upstream: Scripted,
    _daemon: Daemon,
}

impl Running {
    fn start() -> Self {
        let upstream = Scripted::start(|ask| vec![good(ask).into()]);
        let (server, drained, directory) = (v4(free_port()), v4(free_port()), TempDir::new());
        ke::install(&directory, "time");
        directory.file("dhcp.sources", "server\n");
        let nts = ke::section(&directory, v4(free_port()));
        let text = format!(
            "{nts}[clock]\nmin-sources = 1\n[sources]\ndirectories = [\"{0}\"]\n[control]\nsocket = \"{0}/control\"\n[metrics]\nlisten = \"unix:{0}/metrics\"\n[history]\ndirectory = \"{0}/history\"\n\
             [fast-path]\ninterfaces = [\"absent0\"]\n[budget]\nmode = \"dry-run\"\npackets-per-second = 1e6\ngigabytes-per-month = 1e6\n[[listener]]\naddress = \"{server}\"\nworkers = 2\n\
             [[listener]]\naddress = \"{4}\"\n[listener.limit]\nmode = \"dry-run\"\nwide = true\n\
             [[upstream]]\naddress = \"{1}\"\nminpoll = 0\nmaxpoll = 0\n\
             [[upstream]]\naddress = \"pool.invalid\"\npool = true\nnoselect = true\n\
             [[upstream]]\naddress = \"127.0.0.1:{2}\"\nnoselect = true\nnts = true\nke-port = {2}\nca = \"{3}\"\n",
            directory.path().display(),
            upstream.address(),
            free_port(),
            concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/common/upstream_certificates/root.pem"
            ),
            drained
        );
        let running = Self {
            server,
            _daemon: Daemon::configured(&text).answering(server),
            directory,
            _upstream: upstream,
        };
        running.becomes("status", |status| status["state"] == "synchronized");
        let of_drain = ["drain", &drained.to_string(), "--after", "1h", "--for", "1h"];
        running.json(&[&of_drain[..], &["--socket", &running.socket()]].concat());
        running.becomes("clients", |clients| clients["requests"] != 0);
        running
    }

    /// Waits until the JSON of a command is so, while somebody asks.
    fn becomes(&self, word: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        wait_until(word, SOON, || {
            ask(self.server, &request(4, 3))?;
            Some(self.json(&[word, "--socket", &self.socket()])).filter(&is_so)
        })
    }

    fn socket(&self) -> String {
        format!("{}/control", self.directory.path().display())
    }

    fn json(&self, words: &[&str]) -> Value {
        let outcome = run(command().args(words).arg("--json"));
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("no JSON: {}", outcome.said()))
    }

    /// What a command that asks the running server says as JSON.
    fn says(&self, word: &str) -> Value {
        self.json(&[word, "--socket", &self.socket()])
    }

    fn metrics(&self) -> String {
        page::metrics(&self.directory.path().join("metrics"))
    }
}

/// A metric: its type, the names of its labels, and what it means.
type Metric = (String, BTreeSet<String>, String);

/// All of a page of Prometheus's text format.
fn on_page(page: &str) -> BTreeMap<String, Metric> {
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    for line in page.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' ')) {
            metrics.entry(name.to_owned()).or_default().2 = help.to_owned();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' '))
        {
            metrics.entry(name.to_owned()).or_default().0 = kind.to_owned();
        } else if let Some((name, labels)) = line.split_once('{') {
            let name = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end).filter(|name| metrics.contains_key(*name)))
                .unwrap_or(name);
            let metric = metrics.get_mut(name).unwrap_or_else(|| panic!("{line}"));
            metric
                .1
                .extend(labels_of(labels).into_iter().map(|(label, _)| label));
            metric.1.remove("le");
        }
    }
    metrics
}

/// The labels of a line, from after its brace on.
fn labels_of(text: &str) -> Vec<(String, String)> {
    let inner = text.rsplit_once('}').unwrap().0;
    let labels = inner.split("\",").filter_map(|label| label.split_once("=\""));
    let labels = labels.map(|(name, value)| (name.to_owned(), value.trim_end_matches('"').to_owned()));
    labels.collect()
}

/// All that a document tells.
fn metrics_of(document: &Document) -> BTreeMap<String, Metric> {
    let rows = document.rows("# Metrics").into_iter().map(|row| {
        let [name, kind, labels, meaning] = <[String; 4]>::try_from(row).unwrap();
        let labels = code(&labels).into_iter().map(str::to_owned).collect();
        (name.trim_matches('`').to_owned(), (kind, labels, meaning))
    });
    rows.collect()
}

/// The names, words or fields that only one of two has.
fn difference<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    documented: &BTreeMap<K, V>,
    real: &BTreeMap<K, V>,
) -> String {
    let missing = real
        .iter()
        .filter(|(key, value)| documented.get(key) != Some(value));
    let excess = documented
        .iter()
        .filter(|(key, value)| real.get(key) != Some(value));
    let lines = missing
        .map(|line| format!("the program has    {line:?}"))
        .chain(excess.map(|line| format!("the document has   {line:?}")));
    lines.collect::<Vec<_>>().join("\n")
}

/// Each field by its path, with its type: `a.b`, `a[].b`. Counts by words, and lists of numbers, are fields themselves.
fn fields(value: &Value, path: &str, found: &mut BTreeMap<String, BTreeSet<&'static str>>) {
    const BY_WORD: [&str; 8] = [
        "verdicts", "remarks", "rejected", "naks", "cookies", "sessions", "refusals", "failures",
    ];
    let name = path.rsplit('.').next().unwrap();
    let kind = match value {
        Value::Object(inner) if !BY_WORD.contains(&name) => {
            let dot = if path.is_empty() { "" } else { "." };
            for (name, value) in inner {
                fields(value, &format!("{path}{dot}{name}"), found);
            }
            return;
        }
        Value::Array(items) if name != "samples" && items.iter().any(Value::is_object) => {
            for item in items {
                fields(item, &format!("{path}[]"), found);
            }
            return;
        }
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    };
    found.entry(path.to_owned()).or_default().insert(kind);
}

/// What a section of the reference tells: each field with its types.
fn fields_of(document: &Document, heading: &str) -> BTreeMap<String, BTreeSet<String>> {
    let rows = document.rows(heading).into_iter().map(|row| {
        let types = row[1].split(", ").map(str::to_owned).collect();
        (row[0].trim_matches('`').to_owned(), types)
    });
    rows.collect()
}

/// What is wrong with a section: a field that only one has, or one of another type.
fn wrong(documented: &BTreeMap<String, BTreeSet<String>>, real: &Value) -> String {
    let mut found = BTreeMap::new();
    fields(real, "", &mut found);
    // Some elements of a list lack what others have.
    let is_elsewhere = |path: &str| {
        documented
            .keys()
            .any(|known| known.starts_with(&format!("{path}.")))
    };
    found.retain(|path, types| !(is_elsewhere(path) && types.iter().eq(&["null"])));
    assert!(found.len() > 1, "{real}");
    let seen = |path: &String, types: &BTreeSet<&str>| {
        let known = documented.get(path);
        let is_right = known.is_some_and(|known| types.iter().all(|kind| known.contains(*kind)));
        (path.clone(), if is_right { known.cloned() } else { None })
    };
    let real = found.iter().map(|(path, types)| seen(path, types)).collect();
    let all = documented
        .iter()
        .map(|(path, types)| (path.clone(), Some(types.clone())));
    difference(&all.collect(), &real)
}

#[test]
fn the_metrics_are_those_of_the_document() {
    let running = Running::start();
    let document = document("packaging/doc/metrics.md");
    let (mut documented, page) = (metrics_of(&document), running.metrics());
    // They need keys: tests/daemon/nts_upstreams.rs looks for them.
    let len = documented.len();
    documented.retain(|_, (_, _, meaning)| !meaning.ends_with("; absent without keys"));
    assert_eq!(len - documented.len(), 2);
    // It needs a member: tests/daemon/pools.rs looks for it.
    assert!(documented.remove("ntpfront_upstream_pool_member").is_some());
    assert!(documented.len() > 30, "{documented:?}");
    let difference = difference(&documented, &on_page(&page));
    assert!(difference.is_empty(), "{difference}\n{page}");
}

#[test]
fn the_fields_are_those_of_the_document() {
    let running = Running::start();
    let document = document("packaging/doc/json.md");
    let (server, socket) = (running.server.to_string(), running.socket());
    for change in [
        &["add", "192.0.2.9", "noselect=true"][..],
        &["pause", "192.0.2.9"],
    ] {
        running.json(&[&["upstream", "--socket", &socket], change].concat());
    }
    let mut status = fields_of(&document, "## status");
    // "Each element of `listeners` also has all fields of `requests`."
    let requests = status.clone().into_iter();
    let of_each = requests.filter_map(|(path, types)| {
        let field = path.strip_prefix("requests.")?;
        Some((format!("listeners[].{field}"), types))
    });
    status.extend(of_each.collect::<Vec<_>>());
    let mut faults = vec![wrong(&status, &running.says("status"))];
    let reload = running.says("reload");
    faults.push(wrong(
        &fields_of(&document, "## reload, drain, undrain, refresh, upstream"),
        &reload,
    ));
    for word in ["health", "clients", "wait"] {
        let section = fields_of(&document, &format!("## {word}"));
        faults.push(wrong(&section, &running.says(word)));
    }
    let client = running.json(&["client", "127.0.0.1", "--socket", &socket]);
    faults.push(wrong(&fields_of(&document, "## client"), &client));
    let query = running.json(&["query", &server]);
    faults.push(wrong(&fields_of(&document, "## query"), &query));
    let pool = running.json(&["query", "--pool", &server]);
    faults.push(wrong(&fields_of(&document, "## query --pool"), &pool));
    assert_eq!(faults.concat(), "");
    // Two that are told in words.
    assert_eq!(
        running.says("upstreams")[0]["name"],
        running.says("status")["upstreams"][0]["name"]
    );
    let keys = |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(keys(&pool["samples"][0]), keys(&query));
}

#[test]
fn the_words_are_those_of_the_document() {
    let running = Running::start();
    let document = document("packaging/doc/json.md");
    let page = running.metrics();
    for (kind, metric) in [
        ("state", ""),
        ("standing", ""),
        ("reason", "ntpfront_upstream_rejected_total"),
        ("NAK reason", "ntpfront_nts_naks_total"),
        ("key failure", "ntpfront_upstream_nts_failures_total"),
        ("verdict", ""),
        ("remark", ""),
        ("period_age", ""),
        ("outcome", ""),
    ] {
        let rows = document.rows(&format!("### {kind}"));
        let documented = rows.iter().map(|row| (row[0].trim_matches('`').to_owned(), ()));
        let lines = page.lines().filter(|line| line.starts_with(metric));
        let lines = lines.filter_map(|line| line.split_once('{'));
        let kind = match kind {
            "NAK reason" | "key failure" => "reason",
            _ => kind,
        };
        let labels = lines.flat_map(|(_, labels)| labels_of(labels));
        let real = labels.filter(|(name, _)| name == kind);
        let real: BTreeMap<String, ()> = real.map(|(_, value)| (value, ())).collect();
        assert!(real.len() > 2, "{kind}: {real:?}");
        let difference = difference(&documented.collect(), &real);
        assert!(difference.is_empty(), "{kind}:\n{difference}");
    }
}

/// The screen in README is one that the program shows: the same lines in the same order, and the same columns.
#[test]
fn the_screen_of_the_readme_is_the_programs() {
    /// The first word of each line of the head, and each line of titles.
    fn shape(screen: &str) -> Vec<String> {
        let mut lines = screen.lines();
        let head = lines
            .by_ref()
            .take_while(|line| !line.is_empty())
            .filter(|line| !line.starts_with(' '))
            .collect::<Vec<_>>();
        // What is not as it should be on this machine stands between the state and the error bound.
        let bound = head
            .iter()
            .position(|line| line.starts_with("error bound"))
            .unwrap();
        let head = head[..2].iter().chain(&head[bound..]);
        let words = head.map(|line| line.split("  ").next().unwrap());
        let words = words.map(|word| word.split(' ').next().unwrap().to_owned());
        let mut shape: Vec<String> = words.collect();
        let titles = lines.filter(|line| line.starts_with("LISTENER") || line.starts_with("UPSTREAM"));
        // The stratum has the least rank: long names leave no room for it.
        let words = |line: &str| {
            line.split_whitespace()
                .filter(|word| *word != "ST")
                .collect::<Vec<_>>()
                .join(" ")
        };
        shape.extend(titles.map(words));
        shape
    }
    let running = Running::start();
    let readme = document("README.md").text;
    let shown = readme.split("$ ntpfront status\n").nth(1).unwrap();
    let shown = shown.split("```").next().unwrap();
    let status = run(command().args(["status", "--socket", &running.socket()]));
    let mut real = shape(&status.stdout);
    // The screen of README has no budget, no fast path, no NTS and no pool. On a busy machine a request may have waited too long, and is
    // refused.
    real.retain(|word| {
        ![
            "budget",
            "fast",
            "refused",
            "NTS",
            "keys",
            "key",
            "certificate",
            "pool",
        ]
        .contains(&word.as_str())
    });
    assert_eq!(shape(shown), real, "{}", status.said());
}

#[test]
fn what_is_missing_or_too_much_is_seen() {
    let document = Document {
        path: "x.md".to_owned(),
        text: "# Metrics\n| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n\
               | `a_total` | counter | `b` | A thing |\n\
               ## query\n| field | type | meaning |\n| --- | --- | --- |\n\
               | `a` | number | x |\n| `b[].c` | string, null | x |\n"
            .to_owned(),
    };
    let page = |name: &str, kind: &str, label: &str, help: &str| {
        format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{{{label}=\"x,y\"}} 1\n")
    };
    let mut text = document.text.clone();
    text.truncate(text.find("## query").unwrap());
    let metrics = Document {
        path: "x.md".to_owned(),
        text,
    };
    let faults = |page: &str| difference(&metrics_of(&metrics), &on_page(page));
    let good = page("a_total", "counter", "b", "A thing");
    assert_eq!(faults(&good), "");
    for bad in [
        page("a_total", "gauge", "b", "A thing"),
        page("a_total", "counter", "c", "A thing"),
        page("a_total", "counter", "b", "Another thing"),
        good + &page("b_total", "counter", "b", "A thing"),
        String::new(),
    ] {
        assert_ne!(faults(&bad), "", "{bad}");
    }
    let section = fields_of(&document, "## query");
    for (json, is_good) in [
        (r#"{"a": 1, "b": [{"c": "x"}, {"c": null}]}"#, true),
        (r#"{"a": "1", "b": [{"c": "x"}]}"#, false),
        (r#"{"a": 1, "b": [{"c": "x", "d": 1}]}"#, false),
        (r#"{"b": [{"c": "x"}], "e": 1}"#, false),
    ] {
        let found = wrong(&section, &serde_json::from_str(json).unwrap());
        assert_eq!(found.is_empty(), is_good, "{json}: {found}");
    }
}
