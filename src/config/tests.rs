//! Pure. Tests of flags and a file together, and properties of any text and any configuration.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::cli;

const FILE: &str = "f";

fn flags(line: &str) -> Flags {
    let words = std::iter::once("ntpfront").chain(line.split_whitespace());
    cli::read(words)
        .unwrap_or_else(|error| panic!("{line}: {error}"))
        .flags
}

fn with(line: &str, text: &str) -> Result<Loaded, Vec<Fault>> {
    load(&flags(line), Some((Path::new(FILE), text)))
}

/// Returns the faults, or the listeners with their workers.
fn listeners(line: &str, text: &str) -> String {
    match with(line, text) {
        Ok(loaded) => {
            let shown = |listener: &Listener| {
                let asked = if loaded.default_listeners.contains(&listener.address) {
                    "?"
                } else {
                    ""
                };
                format!("{}*{}{asked}", listener.address, listener.workers)
            };
            loaded
                .config
                .listeners
                .iter()
                .map(shown)
                .collect::<Vec<_>>()
                .join(" ")
        }
        Err(faults) => listing(&faults),
    }
}

const BOTH: &str = "[[listener]]\naddress = \"127.0.0.1:1\"\nworkers = 3\n[[listener]]\naddress = \"[::1]:1\"\nworkers = 3\n\
                    [[listener]]\naddress = \"127.0.0.2:1\"";
const ONLY_4: &str = "[[listener]]\naddress = \"127.0.0.1:1\"\nworkers = 3";
const ONLY_6: &str = "[[listener]]\naddress = \"[::1]:1\"";
const NONE: &str = "listener = []";

#[test]
fn flags_change_the_listeners_of_their_family() {
    for (line, text, expected) in [
        // No listener in the file: the default ones, of which -4 and -6 set the workers.
        ("", "", "0.0.0.0:123*1? [::]:123*1?"),
        ("-4 4", "", "0.0.0.0:123*4 [::]:123*1?"),
        ("-4 4 -6 2", "", "0.0.0.0:123*4 [::]:123*2"),
        ("-6 0", "", "0.0.0.0:123*1?"),
        ("-4 0", "", "[::]:123*1?"),
        ("-a 127.0.0.1:9", "", "[::]:123*1? 127.0.0.1:9*1"),
        ("-b [::1]:9", "", "0.0.0.0:123*1? [::1]:9*1"),
        ("-a 127.0.0.1:9 -4 5 -6 0", "", "127.0.0.1:9*5"),
        (
            "-a 127.0.0.1:9 -a 127.0.0.2:9 -b [::1]:9",
            "",
            "127.0.0.1:9*1 127.0.0.2:9*1 [::1]:9*1",
        ),
        // The file's listeners.
        ("", BOTH, "127.0.0.1:1*3 [::1]:1*3 127.0.0.2:1*1"),
        ("-4 7", BOTH, "127.0.0.1:1*7 [::1]:1*3 127.0.0.2:1*7"),
        ("-6 7", BOTH, "127.0.0.1:1*3 [::1]:1*7 127.0.0.2:1*1"),
        ("-4 0", BOTH, "[::1]:1*3"),
        ("-a 127.0.0.3:1", BOTH, "[::1]:1*3 127.0.0.3:1*1"),
        ("-a 127.0.0.1:1", BOTH, "[::1]:1*3 127.0.0.1:1*1"),
        (
            "-b [::2]:1 -6 2 -4 2",
            BOTH,
            "127.0.0.1:1*2 127.0.0.2:1*2 [::2]:1*2",
        ),
        // A file with one family serves that family, unless flags ask.
        ("", ONLY_4, "127.0.0.1:1*3"),
        ("-6 2", ONLY_4, "127.0.0.1:1*3 [::]:123*2"),
        ("-b [::1]:9", ONLY_4, "127.0.0.1:1*3 [::1]:9*1"),
        ("-4 2", ONLY_6, "[::1]:1*1 0.0.0.0:123*2"),
        ("-6 0", ONLY_4, "127.0.0.1:1*3"),
        // A file with an empty list.
        ("-4 2", NONE, "0.0.0.0:123*2"),
        ("-b [::1]:9", NONE, "[::1]:9*1"),
        // No listener is left.
        (
            "-4 0 -6 0",
            "",
            "flag -4: listener: found none, expected at least one: there would be nothing to serve; give at least one of -4 and -6 a worker\n1 fault\n",
        ),
        (
            "-4 0",
            ONLY_4,
            "flag -4: listener: found none, expected at least one: there would be nothing to serve; give at least one of -4 and -6 a worker\n1 fault\n",
        ),
        (
            "-6 0",
            NONE,
            "flag -6: listener: found none, expected at least one: there would be nothing to serve; give at least one of -4 and -6 a worker\n1 fault\n",
        ),
        // Contradictions and invalid flags: all at once, and together with the faults of the file.
        (
            "-4 0 -a 127.0.0.1:9",
            "",
            "flag -4: listener.workers: found \"0\", expected at least 1 where -a asks for a listener\n1 fault\n",
        ),
        (
            "-4 1025 -6 x -a [::1]:1 -b host:0",
            "log.level = 5",
            "flag -4: listener.workers: found \"1025\", expected a whole number from 0 to 1024\n\
             flag -6: listener.workers: found \"x\", expected a whole number from 0 to 1024\n\
             flag -a: listener.address: found \"[::1]:1\", expected an IPv4 address and a port; -a is for IPv4 addresses, -b for IPv6 addresses\n\
             flag -b: listener.address: found \"host:0\", expected an address and a port such as \"192.0.2.1:123\" or \"[2001:db8::1]:123\"; a listener needs an address, not a name\n\
             f:1:13: log.level: found 5, expected \"error\", \"warn\", \"info\", \"debug\" or \"trace\"\n5 faults\n",
        ),
        (
            "-a 127.0.0.1:9 -a 127.0.0.1:9",
            "",
            "flag -a: listener.address: found \"127.0.0.1:9\", expected each address once; it stands at flag -a already\n1 fault\n",
        ),
        // A listener that a flag replaces is not validated; one that stays is, with its number in the file.
        (
            "-a 127.0.0.1:9",
            "[[listener]]\naddress = \"0.0.0.0:123\"\nworkers = \"x\"",
            "127.0.0.1:9*1",
        ),
        (
            "-a 127.0.0.1:9",
            "[[listener]]\naddress = \"0.0.0.0:123\"\n[[listener]]\naddress = \"[::1]:123\"\nworkers = 0",
            "f:5:11: listener[2].workers: found 0, expected a whole number from 1 to 1024\n1 fault\n",
        ),
        (
            "-a 127.0.0.1:9",
            "[[listener]]\naddress = \"0.0.0.0:123\"\nworker = 1",
            "f:3:1: listener[1].worker: found an unknown key, expected \"address\", \"workers\", \"steering\", \"required\", \"batch\", \"max-wait\", \"receive-buffer\", \"busy-poll\", \"pin\", \"answer\", \"max-stratum\", \"nts\", \"leap\", \"authentication\", \"interleaved\", \"access\" or \"limit\"; did you mean \"workers\"?\n1 fault\n",
        ),
    ] {
        assert_eq!(listeners(line, text), expected, "flags {line:?} with\n{text}");
    }
}

fn upstreams(line: &str, text: &str) -> String {
    match with(line, text) {
        Ok(loaded) => {
            let shown = |one: &Upstream| format!("{one}/{}/{}/{}", one.iburst, one.minpoll, one.maxpoll);
            loaded
                .config
                .upstreams
                .iter()
                .map(shown)
                .collect::<Vec<_>>()
                .join(" ")
        }
        Err(faults) => listing(&faults),
    }
}

//= RFC 5905 §7.2 port
#[test]
fn upstreams_come_from_flags_or_the_file_or_by_default() {
    let text =
        "[[upstream]]\naddress = \"time.example\"\niburst = false\n[[upstream]]\naddress = \"[::1]:323\"";
    for (line, text, expected) in [
        ("", "", "127.0.0.1:11123/true/2/4"),
        ("", text, "time.example:123/false/6/10 [::1]:323/true/2/4"),
        (
            "-s a.example -s 192.0.2.1:1",
            text,
            "a.example:123/true/6/10 192.0.2.1:1/true/6/10",
        ),
        ("-s a.example", "upstream = []", "a.example:123/true/6/10"),
        ("", "upstream = []\nlocal.enabled = true", ""),
        (
            "-s a -s A.",
            "",
            "flag -s: upstream.address: found \"A.\", expected each address once; it stands at flag -s already\n1 fault\n",
        ),
        (
            "-s a:0",
            "[[upstream]]\naddress = 5",
            "flag -s: upstream.address: found \"a:0\", expected a port from 1 to 65535\n1 fault\n",
        ),
        (
            "-s a",
            "clock.min-sources = 2",
            "f:1:21: clock.min-sources: found 2, expected at most the number of upstreams, 1\n1 fault\n",
        ),
        (
            "-s a -s b",
            "clock.min-sources = 2",
            "a:123/true/6/10 b:123/true/6/10",
        ),
    ] {
        assert_eq!(upstreams(line, text), expected, "flags {line:?} with\n{text}");
    }
}

//= RFC 5905 §7.2 maxpoll
//= RFC 5905 §7.3 poll-defaults
#[test]
fn a_poll_interval_alone_moves_the_default_of_the_other() {
    for (said, expected) in [
        ("minpoll = 12", "a:123/true/12/12"),
        ("minpoll = 8", "a:123/true/8/10"),
        ("maxpoll = 4", "a:123/true/4/4"),
        ("maxpoll = 17", "a:123/true/6/17"),
        ("minpoll = 1\nmaxpoll = 1", "a:123/true/1/1"),
    ] {
        assert_eq!(
            upstreams("", &format!("[[upstream]]\naddress = \"a\"\n{said}")),
            expected
        );
    }
    for (said, expected) in [
        ("minpoll = 0", "127.0.0.9:323/true/0/4"),
        ("maxpoll = 0", "127.0.0.9:323/true/0/0"),
        ("minpoll = 6", "127.0.0.9:323/true/6/6"),
    ] {
        assert_eq!(
            upstreams("", &format!("[[upstream]]\naddress = \"127.0.0.9:323\"\n{said}")),
            expected
        );
    }
}

#[test]
fn flags_win_over_the_keys_of_the_process() {
    let text = "[process]\nuser = \"a\"\nchroot = \"/a\"\n[log]\nlevel = \"error\"";
    let config = with("", text).unwrap().config;
    assert_eq!(
        (config.process.user.as_deref(), config.log_level),
        (Some("a"), LogLevel::Error)
    );
    let config = with("-u b -r /b -d", text).unwrap().config;
    assert_eq!(
        (config.process.user.as_deref(), config.log_level),
        (Some("b"), LogLevel::Debug)
    );
    assert_eq!(config.process.chroot, Some("/b".into()));
    let faults = with("-r b", "").unwrap_err();
    assert_eq!(
        faults[0].to_string(),
        "flag -r: process.chroot: found \"b\", expected an absolute path without control characters"
    );
}

#[test]
fn local_is_none_unless_enabled() {
    assert_eq!(with("", "").unwrap().config.clock.local, None);
    assert_eq!(
        with("", "[local]\nstratum = 5\ndistance = 9")
            .unwrap()
            .config
            .clock
            .local,
        None
    );
    let local = with("", "[local]\nenabled = true\nwait = 0")
        .unwrap()
        .config
        .clock
        .local
        .unwrap();
    assert_eq!(
        (local.stratum, local.wait.as_secs(), local.distance.to_seconds()),
        (10, 0, 0.5)
    );
}

/// Each table of the file is described, in the same order, and has the keys of its rows.
#[test]
fn the_tables_are_those_that_are_described() {
    let tables = keys::tables();
    let text: String = tables
        .iter()
        .map(|table| format!("{}\nx = 1\n", table.head))
        .collect();
    let raw: Section<Raw> = lenient::read(lenient::parse(0, &format!("x = 1\n{text}")).unwrap()).unwrap();
    let described: Vec<&str> = tables.iter().map(row::Table::name).collect();
    assert_eq!(raw.unknown[0].known, described);
    let faults = with("", &text).unwrap_err();
    for table in &tables {
        let inner = table.tables.iter().map(row::Table::name);
        let known: Vec<&str> = table.keys.iter().map(|key| key.name).chain(inner).collect();
        let name = if table.is_array() {
            format!("{}[1]", table.name())
        } else {
            table.name().to_owned()
        };
        let fault = faults.iter().find(|fault| fault.key == format!("{name}.x"));
        assert_eq!(
            fault.unwrap().expected,
            effective::either(&known),
            "{}",
            table.head
        );
    }
    assert!(tables.len() > 10, "{described:?}");
}

/// Texts that an operator might write: mostly valid, in any order and number.
fn sensible_text() -> impl Strategy<Value = String> {
    let listener = (
        1_u8..40,
        1_u16..1100,
        prop::sample::select(vec!["source", "cpu", "kernel"]),
        any::<bool>(),
    )
        .prop_map(|(last, workers, steering, six)| {
            let address = if six {
                format!("[2001:db8::{last}]:123")
            } else {
                format!("192.0.2.{last}:123")
            };
            format!("[[listener]]\naddress = \"{address}\"\nworkers = {workers}\nsteering = '{steering}'\n")
        });
    let host = prop::sample::select(vec![
        "127.0.0.1",
        "::1",
        "[2001:db8::5]:1",
        "Time.Example.",
        "a-b.c_d:9",
        "192.0.2.1",
    ]);
    let upstream =
        (host, any::<bool>(), 0_i8..19, prop::option::of(4_i8..18)).prop_map(|(host, iburst, min, max)| {
            let max = max.map(|max| format!("maxpoll = {max}\n")).unwrap_or_default();
            format!("[[upstream]]\naddress = \"{host}\"\niburst = {iburst}\nminpoll = {min}\n{max}")
        });
    let head = ("[a-z]{1,8}", "/[a-z '\"\\\\]{0,8}", 1_u8..4, 0.0001_f64..16.0, any::<bool>(), 1_u8..16, 0_u32..90_000, 0.0_f64..2.0).prop_map(
        |(user, chroot, sources, max, enabled, stratum, wait, distance)| {
            format!(
                "[process]\nuser = '{user}'\nchroot = {}\n[clock]\nmin-sources = {sources}\nmax-distance = {max:?}\n\
                 [local]\nenabled = {enabled}\nstratum = {stratum}\nwait = {wait}\ndistance = {distance:?}\n",
                effective::quoted(&chroot)
            )
        },
    );
    let some = |one| prop::collection::vec(one, 0..4).prop_map(|all| all.concat());
    let tables = (
        prop::option::of(head),
        some(listener.boxed()),
        some(upstream.boxed()),
    );
    (any::<bool>(), tables).prop_map(|(none, (head, listeners, upstreams))| {
        let none = if none && upstreams.is_empty() {
            "upstream = []\n"
        } else {
            ""
        };
        format!("{none}{}{listeners}{upstreams}", head.unwrap_or_default())
    })
}

fn sensible_flags() -> impl Strategy<Value = String> {
    let words = vec![
        "-4 2",
        "-6 3",
        "-a 192.0.2.77:5",
        "-b [::1]:5",
        "-s time.example",
        "-s 127.0.0.1",
        "-d",
        "-u someone",
        "-r /x",
    ];
    prop::sample::subsequence(words, 0..4).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_loaded_or_faulted(text in any::<String>()) {
        if let Err(faults) = with("", &text) {
            prop_assert!(!faults.is_empty());
        }
    }

    #[test]
    fn any_text_of_toml_letters_is_loaded_or_faulted(text in "([\\[\\]{}=\"'#.,\n\r 0-9a-f_:+-]|listener|upstream|address|log|workers|local|é|inf|nan|true|1e9){0,40}") {
        if let Err(faults) = with("", &text) {
            prop_assert!(!faults.is_empty());
            prop_assert!(faults.iter().all(|fault| !fault.to_string().contains(char::is_control)));
        }
    }

    #[test]
    fn any_values_in_the_right_places_are_loaded_or_faulted(address in any::<String>(), other in any::<String>(), number: i64, float: f64) {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let (address, other) = (quoted(&address), quoted(&other));
        let text = format!(
            "[process]\nuser = {other}\nchroot = {address}\n[clock]\nmin-sources = {number}\nmax-distance = {float:?}\n\
             [[listener]]\naddress = {address}\nworkers = {number}\nsteering = {other}\n\
             [[upstream]]\naddress = {address}\nminpoll = {number}\niburst = {other}\n{other} = {address}\n"
        ).replace("NaN", "nan");
        let faults = with("", &text).unwrap_err();
        prop_assert!(faults.iter().all(|fault| !fault.to_string().contains(char::is_control)));
    }

    #[test]
    fn what_config_prints_means_the_same(text in sensible_text(), line in sensible_flags()) {
        if let Ok(first) = with(&line, &text) {
            let printed = first.effective.to_string();
            let second = with("", &printed).map_err(|faults| TestCaseError::fail(format!("{faults:?}\n{printed}")))?;
            prop_assert_eq!(&second.config, &first.config, "{}", printed);
            prop_assert_eq!(second.default_listeners, Vec::new());
        }
    }

    #[test]
    fn what_is_loaded_keeps_its_promises(text in sensible_text(), line in sensible_flags()) {
        if let Ok(Loaded { config, .. }) = with(&line, &text) {
            prop_assert!(!config.listeners.is_empty());
            prop_assert!(config.listeners.iter().all(|one| (1..=1024).contains(&one.workers) && one.address.port() != 0));
            prop_assert!(!config.upstreams.is_empty() || config.clock.local.is_some());
            prop_assert!(usize::from(config.clock.min_sources) <= config.upstreams.len().max(1));
            for upstream in &config.upstreams {
                let loopback = upstream.host.is_loopback();
                prop_assert!(upstream.minpoll >= i8::from(!loopback) && upstream.minpoll <= upstream.maxpoll && upstream.maxpoll <= 17);
            }
            prop_assert!(config.clock.local.is_none_or(|local| local.distance <= config.clock.max_distance));
        }
    }
}

#[test]
fn the_environment_is_between_the_file_and_the_flags() {
    let with = |line: &str, variables: &[(&str, &str)], text: &str| {
        let get = |name: &str| Some(variables.iter().find(|(known, _)| *known == name)?.1.into());
        let words = std::iter::once("ntpfront").chain(line.split_whitespace());
        let flags = cli::read(words).unwrap().in_environment(get).flags;
        load(&flags, Some((Path::new(FILE), text)))
    };
    let file = "[clock]\nmin-sources = 1\n[log]\nlevel = \"warn\"\n[[upstream]]\naddress = \"a.example\"\n[[listener]]\naddress = \"[::1]:1\"\n";
    let variables = [
        ("NTPFRONT_UPSTREAM", "b.example,c.example"),
        ("NTPFRONT_LISTEN", "127.0.0.1:1123 127.0.0.2:1123"),
        ("NTPFRONT_WORKERS", "3"),
        ("NTPFRONT_MIN_SOURCES", "2"),
        ("NTPFRONT_LOG_LEVEL", "debug"),
        ("NTPFRONT_METRICS", "127.0.0.1:9123"),
    ];
    let said = |loaded: &Loaded| {
        let listeners = &loaded.config.listeners;
        let listeners: Vec<String> = listeners
            .iter()
            .map(|one| format!("{}*{}", one.address, one.workers))
            .collect();
        let upstreams: Vec<String> = loaded.config.upstreams.iter().map(ToString::to_string).collect();
        format!(
            "{} {} {}",
            listeners.join(" "),
            upstreams.join(" "),
            loaded.config.clock.min_sources
        )
    };
    let loaded = with("", &variables, file).unwrap();
    assert_eq!(
        said(&loaded),
        "127.0.0.1:1123*3 127.0.0.2:1123*3 b.example:123 c.example:123 2"
    );
    assert_eq!(loaded.config.log_level, LogLevel::Debug);
    let shown = loaded.effective.to_string();
    for variable in variables {
        assert!(
            shown.contains(&format!("# environment {}\n", variable.0)),
            "{variable:?}\n{shown}"
        );
    }
    // A flag replaces what it is for, and no more.
    let flags = "-s d.example -4 5 -b [::1]:1123 --min-sources 1";
    let loaded = with(flags, &variables, file).unwrap();
    assert_eq!(
        said(&loaded),
        "127.0.0.1:1123*5 127.0.0.2:1123*5 [::1]:1123*3 d.example:123 1"
    );
    // Workers are no wish for a listener, and the default ones stay such.
    let loaded = with("", &variables[2..3], file).unwrap();
    assert_eq!(said(&loaded), "[::1]:1*3 a.example:123 1");
    let loaded = with("", &variables[2..3], "").unwrap();
    assert_eq!(loaded.default_listeners.len(), 2);
    // A fault names the variable.
    let faults = with(
        "",
        &[("NTPFRONT_MIN_SOURCES", "many"), ("NTPFRONT_LISTEN", "x")],
        file,
    )
    .unwrap_err();
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert!(faults.iter().any(|one| one.starts_with("environment NTPFRONT_MIN_SOURCES: clock.min-sources: found \"many\"")), "{faults:?}");
    assert!(
        faults
            .iter()
            .any(|one| one.starts_with("environment NTPFRONT_LISTEN: ")),
        "{faults:?}"
    );
}
