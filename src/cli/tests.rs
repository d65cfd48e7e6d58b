//! Pure. The command line: each form of it, flags before and after a subcommand, and what is refused.

use super::*;

use std::time::Duration;

fn flags(line: &str) -> Flags {
    asked(line).flags
}

fn asked(line: &str) -> Invocation {
    read(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn the_definition_is_sound() {
    definition().debug_assert();
}

#[test]
fn every_short_flag_has_a_long_form_that_means_the_same() {
    let short =
        "ntpfront -4 4 -6 2 -a 127.0.0.1:1 -a 127.0.0.2:1 -b [::1]:1 -s a -s b -u nobody -r / -d -c f";
    let long = "ntpfront --ipv4-workers 4 --ipv6-workers 2 --ipv4-address 127.0.0.1:1 --ipv4-address 127.0.0.2:1 \
                --ipv6-address [::1]:1 --upstream a --upstream b --user nobody --chroot / --debug --config f";
    assert_eq!(asked(short), read(long.split_whitespace()).unwrap());
    let all = flags(short);
    assert_eq!(all.ipv4_workers.as_deref(), Some("4"));
    assert_eq!(all.ipv4_address, ["127.0.0.1:1", "127.0.0.2:1"]);
    assert_eq!(all.upstream, ["a", "b"]);
    assert!(all.debug);
}

#[test]
fn flags_stand_before_and_after_a_subcommand() {
    assert_eq!(asked("ntpfront").command, Command::Serve);
    for line in [
        "ntpfront -4 2 -s a -s b check -d",
        "ntpfront check -4 2 -s a -s b -d",
        "ntpfront -4 7 -s a check -4 2 -s b -d",
    ] {
        let asked = asked(line);
        assert_eq!(
            asked.command,
            Command::Check {
                against_running: false
            }
        );
        assert_eq!(asked.flags, flags("ntpfront -4 2 -s a -s b -d"), "{line}");
    }
    assert_eq!(asked("ntpfront config").command, Command::Config);
}

#[test]
fn query_takes_a_server_and_no_flags() {
    let query = Query {
        nts: false,
        ca: None,
        servers: vec!["[::1]:123".to_owned()],
        ipv4: false,
        ipv6: false,
        timeout: None,
        interleaved: false,
        pool: false,
        json: true,
    };
    assert_eq!(
        asked("ntpfront query [::1]:123 --json").command,
        Command::Query(query)
    );
    for line in [
        "ntpfront query",
        "ntpfront -d query a",
        "ntpfront query a -d",
        "ntpfront query a b --pool",
        "ntpfront query a b --nts",
        "ntpfront query --interleaved a b",
        "ntpfront query a -4 -6",
        "ntpfront query a --timeout 0",
        "ntpfront query a --nts --timeout 1",
    ] {
        assert_eq!(read(line.split(' ')).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn query_takes_several_servers_and_a_family() {
    let line = "ntpfront query a b --timeout 500ms -6 c";
    let Command::Query(query) = asked(line).command else {
        panic!("{line}");
    };
    assert_eq!(query.servers, ["a", "b", "c"]);
    assert_eq!((query.ipv4, query.ipv6), (false, true));
    assert_eq!(query.timeout, Some(Duration::from_millis(500)));
    let many = "ntpfront query".to_owned() + &" a".repeat(64);
    assert!(read(many.split(' ')).is_ok());
    assert!(read((many + " a").split(' ')).is_err());
}

#[test]
fn check_takes_a_file_by_its_name_alone() {
    let named = asked("ntpfront check -c a -s b");
    assert_eq!(asked("ntpfront check a -s b"), named);
    assert_eq!(asked("ntpfront -c x check -s b a"), named);
    for line in ["ntpfront check a b", "ntpfront check a -c b"] {
        assert_eq!(read(line.split(' ')).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn import_takes_files_and_no_flags() {
    let import = Import {
        from: Some(Dialect::Ntp),
        files: vec!["a".into(), "b".into()],
    };
    let line = "ntpfront import --from ntp a b";
    assert_eq!(asked(line).command, Command::Import(import));
    for line in [
        "ntpfront import",
        "ntpfront -d import a",
        "ntpfront import --from x a",
    ] {
        assert_eq!(read(line.split(' ')).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn the_running_server_is_asked_about_itself() {
    let asked = asked("ntpfront -c a health --max-distance 0.5 --socket /s --json -c b");
    let expected = Command::Health {
        server: RunningServer {
            socket: Some("/s".into()),
            json: true,
        },
        query: HealthQuery {
            max_distance: Some(0.5),
            ..HealthQuery::default()
        },
    };
    assert_eq!(asked.command, expected);
    assert_eq!(asked.flags.config, Some("b".into()));
    for limit in ["-1", "x", "inf", ""] {
        let line = ["ntpfront", "health", "--max-distance", limit];
        assert_eq!(read(line).unwrap_err().exit_code(), 2, "{limit}");
    }
}

#[test]
fn unknown_words_are_refused_and_help_is_not_a_fault() {
    assert_eq!(asked("ntpfront version").command, Command::Version);
    for line in [
        "ntpfront serve",
        "ntpfront -x",
        "ntpfront -4",
        "ntpfront -d -d",
        "ntpfront help serve",
        "ntpfront -d version",
        "ntpfront version -d",
    ] {
        assert_eq!(read(line.split(' ')).unwrap_err().exit_code(), 2, "{line}");
    }
    for line in [
        "ntpfront -h",
        "ntpfront --help",
        "ntpfront -V",
        "ntpfront --version",
        "ntpfront help",
        "ntpfront help query",
        "ntpfront help upstream",
    ] {
        assert_eq!(read(line.split(' ')).unwrap_err().exit_code(), 0, "{line}");
    }
}

#[test]
fn the_long_help_is_enough_to_use_it() {
    let help = definition().render_long_help().to_string();
    for word in [
        "0.0.0.0:123",
        "[::]:123",
        "127.0.0.1:11123",
        DEFAULT_FILE,
        "Exit status",
        "Signals",
        "HUP",
        "Files",
        "Examples",
        "check",
        "config",
        "query",
        "import",
        "status",
        "upstreams",
        "top",
        "clients",
        "leap",
        "rehearse",
        "history",
        "report",
        "health",
        "reload",
        "drain",
        "undrain",
        "refresh",
        "upstream",
        "wait",
    ] {
        assert!(help.contains(word), "{word} is missing in:\n{help}");
    }
}
