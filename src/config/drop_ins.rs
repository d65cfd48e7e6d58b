//! Pure. The files of a configuration together: its own file and the drop-ins in `conf.d` beside it.
//!
//! Arrays of tables (`[[listener]]`, `[[upstream]]`) are appended in the order of the files, other tables get the keys of
//! all files, and a key stands in one file only.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::fault::{Fault, excerpt};
use super::source::Source;

/// Adds what a further file says to what the files before it say; returns the faults: keys that both have.
pub(super) fn merge<'a>(into: &mut DeTable<'a>, further: DeTable<'a>, source: &Source<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    merge_at(into, further, "", source, &mut faults);
    faults
}

fn merge_at<'a>(
    into: &mut DeTable<'a>,
    further: DeTable<'a>,
    name: &str,
    source: &Source<'_>,
    faults: &mut Vec<Fault>,
) {
    for (key, value) in further {
        let Some((known, before)) = into.get_key_value(&key).map(|(key, value)| (key.span(), value)) else {
            into.insert(key, value);
            continue;
        };
        let full = format!("{name}{}", excerpt(key.get_ref()));
        let joins = joins(before.get_ref(), value.get_ref(), name.is_empty());
        let place = key.span();
        match (into.get_mut(&key).map(Spanned::get_mut), value.into_inner()) {
            (Some(DeValue::Table(table)), DeValue::Table(more)) if joins => {
                merge_at(table, more, &format!("{full}."), source, faults);
            }
            (Some(DeValue::Array(array)), DeValue::Array(more)) if joins => {
                more.into_iter().for_each(|item| array.push(item));
            }
            (_, _) => faults.push(twice(full, &known, &place, source)),
        }
    }
}

/// Whether both values can be one: tables, or arrays of tables above all tables.
fn joins(one: &DeValue<'_>, other: &DeValue<'_>, is_top: bool) -> bool {
    let of_tables = |array: &DeArray<'_>| array.iter().all(|item| item.get_ref().is_table());
    match (one, other) {
        (DeValue::Table(_), DeValue::Table(_)) => true,
        (DeValue::Array(one), DeValue::Array(other)) => is_top && of_tables(one) && of_tables(other),
        (_, _) => false,
    }
}

fn twice(key: String, first: &Range<usize>, second: &Range<usize>, source: &Source<'_>) -> Fault {
    let first = source.place(first.start);
    Fault {
        place: source.place(second.start),
        key,
        found: "a key that another file has, too".to_owned(),
        expected: "it in one file only".to_owned(),
        hint: Some(format!("the other one is at {first}: remove one of them")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use crate::cli::Flags;
    use crate::config::{Fault, Loaded, NamedFiles, load_with};

    /// Loads a file, and drop-ins named a.toml, b.toml and so on.
    fn load(main: Option<&str>, drop_ins: &[&str]) -> Result<Loaded, Vec<Fault>> {
        let names = ["a", "b", "c"].map(|name| PathBuf::from(format!("/etc/x/conf.d/{name}.toml")));
        let drop_ins: Vec<_> = names
            .into_iter()
            .zip(drop_ins.iter().map(|text| (*text).to_owned()))
            .collect();
        let files = NamedFiles {
            sources: None,
            lists: &|_| Err("none".to_owned()),
            private: None,
            asked: &[],
        };
        let main = main.map(|text| (Path::new("/etc/x/ntpfront.toml"), text));
        load_with(&Flags::default(), main, &drop_ins, files)
    }

    fn faults(main: &str, drop_ins: &[&str]) -> Vec<String> {
        let faults = load(Some(main), drop_ins).unwrap_err();
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn arrays_of_tables_are_appended_and_other_tables_joined() {
        let main = "[clock]\nmin-sources = 2\n[[upstream]]\naddress = \"a.example\"\n";
        let loaded = load(
            Some(main),
            &[
                "[[upstream]]\naddress = \"b.example\"\n[clock]\nmax-distance = 0.5\n",
                "",
                "upstream = [{ address = \"c.example\", minpoll = 7 }]\n[log]\nlevel = \"debug\"",
            ],
        )
        .unwrap();
        let names: Vec<String> = loaded.config.upstreams.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["a.example:123", "b.example:123", "c.example:123"]);
        assert_eq!(loaded.origin(), "/etc/x/ntpfront.toml, and 3 drop-ins");
        let shown = loaded.effective.to_string();
        for origin in [
            "min-sources = 2",
            "# /etc/x/ntpfront.toml:2:15",
            "# /etc/x/conf.d/a.toml:4:16",
            "# /etc/x/conf.d/c.toml:1:48",
            "# /etc/x/conf.d/c.toml:3:9",
        ] {
            assert!(shown.contains(origin), "{origin}\n{shown}");
        }
        // Without a file of its own, too.
        let loaded = load(None, &["[[listener]]\naddress = \"127.0.0.1:1123\""]).unwrap();
        assert_eq!(loaded.config.listeners.len(), 1);
        assert_eq!(loaded.path, None);
    }

    #[test]
    fn a_key_that_stands_twice_is_a_fault_with_both_places() {
        assert_eq!(
            faults(
                "[clock]\nmin-sources = 2\n",
                &[
                    "[log]\nlevel = \"info\"\n[clock]\nmin-sources = 3\n",
                    "[log]\nlevel = \"warn\""
                ]
            ),
            [
                "/etc/x/conf.d/a.toml:4:1: clock.min-sources: found a key that another file has, too, expected it in one file only; the other one is at /etc/x/ntpfront.toml:2:1: remove one of them",
                "/etc/x/conf.d/b.toml:2:1: log.level: found a key that another file has, too, expected it in one file only; the other one is at /etc/x/conf.d/a.toml:2:1: remove one of them",
            ]
        );
        // Lists are no arrays of tables, and a table is no array.
        for (main, drop_in, key) in [
            (
                "[access]\nallow = [\"192.0.2.0/24\"]",
                "[access]\nallow = [\"::/0\"]",
                "access.allow",
            ),
            ("[clock]", "[[clock]]", "clock"),
            ("[[listener]]\naddress = \"[::]:123\"", "listener = 1", "listener"),
            ("[access]\nallow = []", "access.allow.x = 1", "access.allow"),
        ] {
            let said = faults(main, &[drop_in]).concat();
            assert!(
                said.contains(&format!(": {key}: found a key that another file")),
                "{said}"
            );
        }
    }

    #[test]
    fn faults_name_the_file_that_has_them() {
        let said = faults(
            "[clock]\nmin-sources = \"x\"",
            &[
                "",
                "[[upstream]]\nadress = 1\n[[listener]]\naddress = 99999999999999999999",
            ],
        );
        assert!(
            said.iter()
                .any(|one| one.starts_with("/etc/x/conf.d/b.toml:2:1: upstream[1].adress")),
            "{said:?}"
        );
        assert!(
            said.iter()
                .any(|one| one.starts_with("/etc/x/conf.d/b.toml:4:11: ")),
            "{said:?}"
        );
        assert!(
            said.iter()
                .any(|one| one.starts_with("/etc/x/ntpfront.toml:2:15: ")),
            "{said:?}"
        );
        // All files that are no TOML.
        let said = faults("x =", &["ok = 1", "\n= 2"]);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("/etc/x/ntpfront.toml:1:4: "), "{said:?}");
        assert!(said[1].starts_with("/etc/x/conf.d/b.toml:2:1: "), "{said:?}");
    }
}
