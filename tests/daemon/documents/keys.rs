//! `config/ntpfront.toml` and `config/ntpfront.schema.json` are what the rows of the keys give, and the schema says of small
//! configurations what the program says, as far as a schema can.
//!
//! After a change of a row, `NTPFRONT_EXPECT=write cargo test --test daemon documents::keys` writes them again (and fails).

use std::process::Command;

use super::{Documents, shipped};
use crate::common::samples::samples;
use crate::common::{TempDir, peer, run};

const MADE: [&str; 2] = ["ntpfront.toml", "ntpfront.schema.json"];

#[test]
fn the_example_and_the_schema_are_made_of_the_rows() {
    let documents = Documents::made();
    let mut stale = Vec::new();
    for name in MADE {
        let (made, shipped) = (documents.text(name), shipped("config").join(name));
        if made != std::fs::read_to_string(&shipped).unwrap_or_default() {
            stale.push(name);
            if std::env::var_os("NTPFRONT_EXPECT").is_some_and(|wish| wish == "write") {
                std::fs::write(&shipped, &made).unwrap();
            }
        }
    }
    assert!(
        stale.is_empty(),
        "not what the rows give: {stale:?} of config/; NTPFRONT_EXPECT=write cargo test --test daemon documents::keys"
    );
}

/// The example as it is, with the schema that it names; with all its settings; and the sample of the first run.
#[test]
fn editors_find_no_fault_with_what_is_shipped() {
    let Some(taplo) = peer("taplo", "taplo") else {
        return;
    };
    let example = std::fs::read_to_string(shipped("config/ntpfront.toml")).unwrap();
    assert!(
        example.starts_with("#:schema ./ntpfront.schema.json\n"),
        "{example}"
    );
    let set: String = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.is_empty() && !setting.starts_with([' ', ':']) => {
                format!("{setting}\n")
            }
            Some(_) | None => format!("{line}\n"),
        })
        .collect();
    assert!(
        set.contains("\n[[upstream]]\n") && set.contains("\nmin-sources = 1\n"),
        "{set}"
    );
    let directory = TempDir::new();
    let schema = std::fs::read(shipped("config/ntpfront.schema.json")).unwrap();
    directory.file("ntpfront.schema.json", schema);
    let files = [
        directory.file("example.toml", &example),
        directory.file("set.toml", &set),
    ];
    let checked = run(Command::new(&taplo)
        .arg("check")
        .args(&files)
        .current_dir(directory.path()));
    assert_eq!(checked.status, Some(0), "{}", checked.said());
    let wrong = directory.file("wrong.toml", set.replace("min-sources = 1", "min-sources = 0"));
    let checked = run(Command::new(&taplo)
        .arg("check")
        .arg(wrong)
        .current_dir(directory.path()));
    assert!(
        checked.said().contains("0 is less than the minimum of 1"),
        "{}",
        checked.said()
    );
    let checked = run(Command::new(&taplo)
        .args(["check", "--schema"])
        .arg(format!(
            "file://{}",
            shipped("config/ntpfront.schema.json").display()
        ))
        .arg(shipped("config/try.toml")));
    assert_eq!(checked.status, Some(0), "{}", checked.said());
}

#[test]
fn the_schema_takes_and_refuses_what_the_program_does() {
    let Some(taplo) = peer("taplo", "taplo") else {
        return;
    };
    let directory = TempDir::new();
    let schema = std::fs::read(shipped("config/ntpfront.schema.json")).unwrap();
    directory.file("ntpfront.schema.json", schema);
    let mut all: Vec<(String, String, bool)> = samples()
        .into_iter()
        .map(|sample| {
            (
                format!("{} = {}", sample.key, sample.value),
                sample.text,
                sample.is_good,
            )
        })
        .collect();
    for text in [
        "colour = 1",
        "[clock]\ncolour = 1",
        "[[listener]]\nworkers = 1",
        "[listener]\naddress = \"192.0.2.1:123\"",
        "[[listener]]\naddress = \"192.0.2.1:123\"\n[listener.access]\ncolour = 1",
        "[[upstream]]\nprefer = true",
    ] {
        all.push((text.to_owned(), text.to_owned(), false));
    }
    let mut names = Vec::new();
    for (number, (_, text, _)) in all.iter().enumerate() {
        let name = format!("{number}.toml");
        directory.file(&name, format!("#:schema ./ntpfront.schema.json\n{text}\n"));
        names.push(name);
    }
    let checked = run(Command::new(&taplo)
        .arg("check")
        .args(&names)
        .current_dir(directory.path()));
    let said = checked.said();
    for (name, (what, _, is_good)) in names.iter().zip(&all) {
        // By the place of a fault: taplo may end before it has logged the last file's name.
        let is_refused = said.contains(&format!("/{name}:"));
        assert_eq!(is_refused, !is_good, "{what}\n{said}");
    }
}
