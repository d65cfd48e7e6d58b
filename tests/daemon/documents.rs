//! Proves the manual pages and completions: that nothing is missing in them, that they can be read, and that the shells
//! take them; and what else is for reading: advice for the kernel, README and the documents of `packaging/doc` with their
//! examples, links, references and words.

mod examples;
mod keys;
mod library;
mod links;
mod prose;
mod reference;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::common::network::in_own_network;
use crate::common::{TempDir, example, peer, root, run};
use ntpfront::cli::{Flags, definition};
use ntpfront::config::load;

const PAGES: [&str; 2] = ["ntpfront.8", "ntpfront.toml.5"];

/// The documents as made by the example.
struct Documents(TempDir);

impl Documents {
    fn made() -> Self {
        static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
        let program = PROGRAM.get_or_init(|| example::built("documents"));
        let directory = TempDir::new();
        let made = run(Command::new(program).arg(directory.path()));
        assert_eq!(made.status, Some(0), "{}", made.said());
        Self(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// The text of a manual page with its signs as they are read.
    fn page(&self, name: &str) -> String {
        self.text(name)
            .replace("\\-", "-")
            .replace("\\fB", "")
            .replace("\\fR", "")
    }
}

/// The long flags of all commands, and the commands.
fn words() -> (BTreeSet<String>, BTreeSet<String>) {
    let definition = definition();
    let commands: Vec<clap::Command> = definition.get_subcommands().cloned().collect();
    let names = commands.iter().map(|command| command.get_name().to_owned());
    let all = std::iter::once(&definition).chain(&commands);
    let flags = all.flat_map(clap::Command::get_arguments);
    let flags = flags.filter_map(|flag| Some(format!("--{}", flag.get_long()?)));
    (flags.collect(), names.collect())
}

#[test]
fn every_flag_and_command_is_in_all_of_them() {
    let documents = Documents::made();
    let (flags, commands) = words();
    assert!(flags.len() > 10 && commands.len() > 5, "{flags:?} {commands:?}");
    let page = documents.page("ntpfront.8");
    for command in &commands {
        assert!(
            page.contains(&format!("\n.SS ntpfront {command}\n")),
            "{command}: {page}"
        );
    }
    for flag in &flags {
        assert!(page.contains(flag.as_str()), "{flag}: {page}");
    }
    for name in ["ntpfront.bash", "_ntpfront", "ntpfront.fish"] {
        let script = documents.text(name);
        for word in flags.iter().chain(&commands) {
            let word = word.trim_start_matches("--");
            assert!(script.contains(word), "{name}: {word}");
        }
    }
}

#[test]
fn the_first_page_has_what_an_operator_looks_for() {
    let page = Documents::made().page("ntpfront.8");
    let titles: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix(".SH "))
        .collect();
    let expected = [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "COMMANDS",
        "EXIT STATUS",
        "SIGNALS",
        "ENVIRONMENT",
        "FILES",
        "EXAMPLES",
        "SEE ALSO",
    ];
    assert_eq!(titles, expected);
    // Each of the lists that come from the help has arrived.
    for word in [
        "\nHUP\n",
        "\n3\n",
        "\nhealth\n",
        "/etc/ntpfront/ntpfront.toml",
        "--against-running",
    ] {
        assert!(page.contains(word), "{word}: {page}");
    }
}

#[test]
fn every_key_stands_with_its_default_below_its_table() {
    let page = Documents::made().page("ntpfront.toml.5");
    let sections: Vec<(&str, &str)> = page
        .split("\n.SS ")
        .filter_map(|section| section.split_once('\n'))
        .collect();
    let mut count = 0;
    for table in load(&Flags::default(), None).unwrap().effective.tables {
        let (_, section) = sections
            .iter()
            .find(|(head, _)| *head == table.head)
            .unwrap_or_else(|| panic!("no {}: {page}", table.head));
        for setting in &table.settings {
            let line = section
                .lines()
                .find(|line| line.starts_with(&format!("{} = ", setting.key)));
            let line = line.unwrap_or_else(|| panic!("no {} in {}", setting.key, table.head));
            // The second listener's address stands further down, by itself.
            if let Some(value) = setting.value.as_ref().filter(|value| !value.contains("[::]")) {
                assert!(line.contains(value.as_str()), "{value}: {line}");
            }
            count += 1;
        }
    }
    assert!(count > 60, "only {count} keys");
}

#[test]
fn the_pages_are_readable_in_80_columns() {
    let documents = Documents::made();
    let Some(man) = peer("man", "man") else { return };
    for page in PAGES {
        let rendered = run(Command::new(&man)
            .args(["--warnings=w", "--local-file"])
            .arg(documents.path(page))
            .env("MANWIDTH", "80")
            .env("LC_ALL", "C.UTF-8"));
        assert_eq!(rendered.status, Some(0), "{}", rendered.said());
        assert_eq!(rendered.stderr, "", "{page}");
        assert!(rendered.stdout.lines().count() > 100, "{}", rendered.said());
        for line in rendered.stdout.lines() {
            assert!(line.chars().count() <= 80, "{page}: {line}");
        }
    }
}

#[test]
fn the_pages_have_no_fault() {
    let documents = Documents::made();
    let Some(mandoc) = peer("mandoc", "mandoc") else {
        return;
    };
    for page in PAGES {
        let judged = run(Command::new(&mandoc)
            .args(["-T", "lint", "-W", "all"])
            .arg(documents.path(page)));
        assert_eq!(judged.said(), "status Some(0)\n", "{page}");
    }
}

/// Lines with the words that a shell may offer for the last one of each, and some that it may not.
const LINES: [(&[&str], &[&str], &[&str]); 6] = [
    (&["ntpfront", "qu"], &["query"], &["check", "status"]),
    (
        &["ntpfront", "--ipv"],
        &[
            "--ipv4-workers",
            "--ipv6-workers",
            "--ipv4-address",
            "--ipv6-address",
        ],
        &["--user"],
    ),
    (&["ntpfront", "query", "--p"], &["--pool"], &["--json"]),
    (
        &["ntpfront", "check", "--ag"],
        &["--against-running"],
        &["--pool"],
    ),
    (&["ntpfront", "-u", "nobo"], &["nobody"], &["--user"]),
    (
        &["ntpfront", "--config", "/etc/pass"],
        &["/etc/passwd"],
        &["--user"],
    ),
];

/// Asks a shell about each line. What it `says` has the words, each followed by something that is no part of a word.
fn offers(shell: &str, says: impl Fn(&[&str]) -> String) {
    for (line, offered, others) in LINES {
        let said = says(line);
        let words: Vec<&str> = said.split(|c: char| c.is_whitespace() || c == '=').collect();
        for word in offered {
            assert!(words.contains(word), "{shell}: {line:?}: no {word} in {said}");
        }
        for word in others {
            assert!(!words.contains(word), "{shell}: {line:?}: {word} in {said}");
        }
    }
}

#[test]
fn bash_completes() {
    let documents = Documents::made();
    let Some(bash) = peer("bash", "bash") else { return };
    offers("bash", |line| {
        let asked = run(Command::new(&bash)
            .args(["--norc", &script("ask.bash")])
            .arg(documents.0.path())
            .args(line));
        assert_eq!(asked.status, Some(0), "{}", asked.said());
        asked.stdout
    });
}

#[test]
fn zsh_completes() {
    let documents = Documents::made();
    let Some(zsh) = peer("zsh", "zsh") else { return };
    offers("zsh", |line| {
        let asked = run(Command::new(&zsh)
            .args(["-f", &script("ask.zsh")])
            .arg(documents.0.path())
            .arg(line.join(" "))
            .env("HOME", documents.0.path())
            .env("TERM", "dumb"));
        assert_eq!(asked.status, Some(0), "{}", asked.said());
        assert!(asked.stdout.contains("line: ntpfront"), "{}", asked.said());
        asked.stdout
    });
}

#[test]
fn fish_completes() {
    let documents = Documents::made();
    let Some(fish) = peer("fish", "fish") else { return };
    let source = format!("source {}", documents.path("ntpfront.fish").display());
    offers("fish", |line| {
        let asked = run(Command::new(&fish)
            .arg("-c")
            .arg(format!("{source}; complete -C '{}'", line.join(" ")))
            .env("HOME", documents.0.path())
            .env_remove("XDG_CONFIG_HOME"));
        assert_eq!(asked.status, Some(0), "{}", asked.said());
        asked.stdout
    });
}

/// In a network namespace of its own, where nothing else is filtered.
#[test]
fn the_rules_for_nftables_are_loaded_again_and_taken_back() {
    let Some(nft) = peer("nft", "nft").filter(|_| root()) else {
        return;
    };
    let file = shipped("packaging/doc/ntpfront-notrack.nft");
    in_own_network(|| {
        let nft = |arguments: &[&str]| {
            let done = run(Command::new(&nft).args(arguments));
            assert_eq!(done.status, Some(0), "{arguments:?}: {}", done.said());
            done.stdout
        };
        let load = ["-f", file.to_str().unwrap()];
        nft(&load);
        let once = nft(&["list", "ruleset"]);
        assert_eq!(once.matches("notrack\n").count(), 2, "{once}");
        nft(&load);
        assert_eq!(nft(&["list", "ruleset"]), once);
        nft(&["delete", "table", "inet", "ntpfront_notrack"]);
        assert_eq!(nft(&["list", "ruleset"]), "");
    });
}

#[test]
fn the_kernel_has_the_settings_of_the_advice() {
    let text = std::fs::read_to_string(shipped("packaging/doc/ntpfront-sysctl.conf")).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let settings: Vec<(&str, &str)> = lines.map(|line| line.split_once(" = ").unwrap()).collect();
    assert!(!settings.is_empty(), "{text}");
    for (key, value) in settings {
        let path = Path::new("/proc/sys").join(key.replace('.', "/"));
        assert!(path.exists(), "{key}");
        assert!(value.parse::<u32>().is_ok(), "{value}");
    }
}

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn script(name: &str) -> String {
    let path = shipped("tests/documents").join(name);
    path.to_str().unwrap().to_owned()
}
