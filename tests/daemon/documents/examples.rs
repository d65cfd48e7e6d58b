//! Each fenced example of the documents, each of the manual pages, and each sample in `config/` is tried: a configuration by
//! the program that reads it, a command by the shell and by the definition of our own command line.

use std::path::PathBuf;
use std::process::Command;

use clap::error::ErrorKind;

use super::library::documents;
use super::{Documents, PAGES, load, script, shipped};
use crate::common::ke;
use crate::common::program::command;
use crate::common::{Outcome, TempDir, peer, run, with};

/// Something that a reader may copy.
struct Example {
    /// File and line.
    place: String,
    /// What it is written in: the word after the fence, in a manual page the comment before it.
    language: String,
    text: String,
}

/// The languages, each with the tool that tries it by the name that it has in `NTPFRONT_WITHOUT`, where it may be missing.
const RULES: [(&str, Option<&str>, Trial); 7] = [
    ("toml", None, checked),
    ("chrony", Some("chronyd"), read_by_chronyd),
    ("bird", Some("bird"), read_by_bird),
    ("sh", Some("bash"), run_by_the_shell),
    // Of both only what is for our own command line: systemd and ExaBGP are asked elsewhere, or not here.
    ("ini", None, options_of_a_unit),
    ("exabgp", None, run_by_exabgp),
    // What a program prints: there is nothing to try.
    ("text", None, |_| Ok(())),
];

type Trial = fn(&str) -> Result<(), String>;

fn tried(example: &Example) -> Result<(), String> {
    let rule = RULES
        .iter()
        .find(|(language, _, _)| *language == example.language);
    let outcome = match rule {
        Some((_, _, trial)) => trial(&example.text),
        None => Err(format!("no rule tries what is written in {:?}", example.language)),
    };
    outcome.map_err(|why| format!("{}: {why}\n{}", example.place, example.text))
}

/// A configuration of ours.
fn checked(text: &str) -> Result<(), String> {
    let directory = TempDir::new();
    // The files of NTS have to be there, and to be good.
    ke::install(&directory, "time");
    let secret = ke::secrets(&directory, &[1]);
    // And so does the file of symmetric keys.
    let keys = directory.file("ntp.keys", "10 AES128 HEX:000102030405060708090a0b0c0d0e0f\n");
    std::fs::set_permissions(&keys, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    let path = directory.path().display();
    let text = text
        .replace("/etc/ntpfront/ntp.keys", &keys.display().to_string())
        .replace("/etc/ntpfront/tls/fullchain.pem", &format!("{path}/tls.pem"))
        .replace("/etc/ntpfront/tls/privkey.pem", &format!("{path}/tls.key"))
        .replace("/etc/ntpfront/nts-secret", &secret.display().to_string());
    let file = directory.file("example.toml", text);
    let mut outcome = run(command().args(["check", "-c"]).arg(file));
    // The list of leap seconds is this machine's: it may have expired.
    let is_of_leap_list = |line: &&str| line.starts_with("clock.leap-seconds: /usr/share/zoneinfo");
    outcome.stderr = outcome
        .stderr
        .split_inclusive('\n')
        .filter(|line| !is_of_leap_list(line))
        .collect();
    good(&outcome)
}

fn read_by_chronyd(text: &str) -> Result<(), String> {
    let Some(chronyd) = peer("chronyd", "chronyd") else {
        return Ok(());
    };
    let directory = TempDir::new();
    accepted(
        Command::new(chronyd)
            .args(["-p", "-f"])
            .arg(directory.file("chrony.conf", text)),
    )
}

fn read_by_bird(text: &str) -> Result<(), String> {
    let Some(bird) = peer("bird", "bird") else {
        return Ok(());
    };
    let directory = TempDir::new();
    accepted(
        Command::new(bird)
            .args(["-p", "-c"])
            .arg(directory.file("bird.conf", text)),
    )
}

/// A drop-in with the flags of the watch over health.
fn options_of_a_unit(text: &str) -> Result<(), String> {
    let options = text
        .lines()
        .find_map(|line| line.strip_prefix("Environment=\"OPTIONS=")?.strip_suffix('"'));
    let options = options.ok_or("no OPTIONS")?;
    ours(
        &["health", "--watch"]
            .into_iter()
            .chain(options.split(' '))
            .collect::<Vec<_>>(),
    )
}

/// A process that ExaBGP runs.
fn run_by_exabgp(text: &str) -> Result<(), String> {
    let run = text.lines().find_map(|line| line.trim().strip_prefix("run "));
    let words = run.and_then(|run| run.strip_prefix("/usr/sbin/ntpfront ")?.strip_suffix(';'));
    ours(&words.ok_or("nothing is run")?.split(' ').collect::<Vec<_>>())
}

/// Status 0, and not a word of complaint.
fn accepted(command: &mut Command) -> Result<(), String> {
    good(&run(command))
}

fn good(outcome: &Outcome) -> Result<(), String> {
    match (outcome.status, outcome.stderr.as_str()) {
        (Some(0), "") => Ok(()),
        _ => Err(outcome.said()),
    }
}

/// Commands: `sh` reads them, and bash goes through them, with nothing that it could run (`try.bash`), once as if all
/// were well and once as if not. What it would have run is then judged word by word.
fn run_by_the_shell(text: &str) -> Result<(), String> {
    let directory = TempDir::new();
    let file = directory.file("example", text);
    accepted(Command::new("/bin/sh").arg("-n").arg(&file))?;
    let Some(bash) = peer("bash", "bash") else {
        return Ok(());
    };
    for status in ["0", "1"] {
        let inside = TempDir::new();
        let words = inside.path().join("words");
        let tried = run(Command::new(&bash)
            .args(["--norc", &script("try.bash"), status])
            .arg(&file)
            .current_dir(inside.path())
            .env("PATH", "/nowhere"));
        // What the commands printed is not of interest, but bash's own complaints are.
        if tried.stderr.contains("bash: ") || tried.status == Some(99) {
            return Err(tried.said());
        }
        let words = std::fs::read_to_string(words).map_err(|_| format!("no command: {}", tried.said()))?;
        for command in words.split_terminator("\0\x1e\0") {
            let words: Vec<&str> = command.split_terminator('\0').collect();
            known(&words).map_err(|why| format!("{words:?}: {why}"))?;
        }
    }
    Ok(())
}

/// Programs of others that can't be asked whether they would take their words: known by name.
const OTHERS: [&str; 17] = [
    "ip",
    "systemctl",
    "apt",
    "birdc",
    "podman",
    "skopeo",
    "sleep",
    "certbot",
    "openssl",
    "ssh-keygen",
    "zcat",
    "jq",
    "curl",
    "clickhouse",
    "tail",
    "install",
    "sh",
];
/// Where cargo puts our program.
const BUILT: [&str; 2] = ["target/release/ntpfront", "target/debug/ntpfront"];

/// Is that a command that can be given?
fn known(words: &[&str]) -> Result<(), String> {
    match words {
        ["ntpfront", arguments @ ..] => ours(arguments),
        [program, arguments @ ..] if BUILT.contains(program) => ours(arguments),
        ["cargo", "run" | "build", arguments @ ..] => {
            let (cargos, own) = match arguments.iter().position(|word| *word == "--") {
                Some(at) => (&arguments[..at], &arguments[at + 1..]),
                None => (arguments, &[][..]),
            };
            let unknown = cargos
                .iter()
                .find(|word| !["--release", "--locked"].contains(word));
            unknown.map_or_else(|| ours(own), |word| Err(format!("cargo: {word}?")))
        }
        // In a container whose image begins with our program: what follows its name.
        ["docker", "run" | "exec", arguments @ ..] => {
            let at = arguments.iter().rposition(|word| *word == "ntpfront");
            at.map_or_else(|| Err("no image".to_owned()), |at| ours(&arguments[at + 1..]))
        }
        ["docker", "build", "-f", file, ..] => there(file),
        ["docker", "load", "-i", _] => Ok(()),
        ["chronyd", arguments @ ..] => peer("chronyd", "chronyd").map_or(Ok(()), |chronyd| {
            accepted(Command::new(chronyd).arg("-p").args(arguments))
        }),
        [program, ..] if OTHERS.contains(program) => Ok(()),
        [program, ..] if program.contains('/') => there(program),
        _ => Err("no such program is known here".to_owned()),
    }
}

/// Our own command line, with what its flags say. A file that should be in the repository has to be there.
fn ours(arguments: &[&str]) -> Result<(), String> {
    let words = std::iter::once("ntpfront").chain(arguments.iter().copied());
    let invocation = match ntpfront::cli::read(words) {
        Ok(invocation) => invocation,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    load(&invocation.flags, None).map_err(|faults| format!("{faults:?}"))?;
    let mut files = arguments.iter().filter(|word| word.starts_with("config/"));
    files.try_for_each(|file| there(file))
}

fn there(path: &str) -> Result<(), String> {
    match shipped(path).is_file() {
        true => Ok(()),
        false => Err(format!("{path}: there is no such file")),
    }
}

/// The fenced ones.
fn fenced(name: &str, text: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut is_inside = false;
    for (index, line) in text.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), is_inside) {
            (Some(language), false) => {
                is_inside = true;
                examples.push(Example {
                    place: format!("{name}:{}", index + 1),
                    language: language.trim().to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), true) => is_inside = false,
            (None, true) => {
                let text = &mut examples.last_mut().unwrap().text;
                *text += line;
                text.push('\n');
            }
            (None, false) => {}
        }
    }
    assert!(!is_inside, "{name}: the last fence isn't closed");
    examples
}

/// Those of a manual page: what stands between `.EX` and `.EE`, and the commands of its section EXAMPLES.
fn of_page(name: &str, text: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let (mut before, mut section, mut is_inside) = ("", "", false);
    for (index, line) in text.lines().enumerate() {
        let example = |language: &str, text: String| Example {
            place: format!("{name}:{}", index + 1),
            language: language.to_owned(),
            text,
        };
        match line {
            ".EX" => {
                is_inside = true;
                let language = before.strip_prefix(".\\\" ").unwrap_or_default();
                examples.push(example(language, String::new()));
            }
            ".EE" => is_inside = false,
            _ if is_inside => examples.last_mut().unwrap().text += &(plain(line) + "\n"),
            _ if section == "EXAMPLES" && line.starts_with("\\fBntpfront") => {
                examples.push(example("sh", plain(line) + "\n"));
            }
            _ => section = line.strip_prefix(".SH ").unwrap_or(section),
        }
        before = line;
    }
    assert!(!is_inside, "{name}: the last example has no end");
    examples
}

/// A line of roff as it is read.
fn plain(line: &str) -> String {
    let signs = [
        ("\\fB", ""),
        ("\\fR", ""),
        ("\\&", ""),
        ("\\-", "-"),
        ("\\(aq", "'"),
        ("\\(ga", "`"),
        ("\\(ha", "^"),
        ("\\(ti", "~"),
        ("\\e", "\\"),
    ];
    signs
        .iter()
        .fold(line.to_owned(), |line, (sign, read)| line.replace(sign, read))
}

/// All of them have to be good, and each is told that isn't.
fn all_good(examples: &[Example]) {
    let faults: Vec<String> = examples
        .iter()
        .filter_map(|example| tried(example).err())
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_example_of_the_documents_is_taken() {
    let documents = documents();
    let examples = documents
        .iter()
        .map(|document| fenced(&document.path, &document.text));
    let examples: Vec<Example> = examples.flatten().collect();
    all_good(&examples);
    for (language, _, _) in RULES {
        let count = examples
            .iter()
            .filter(|example| example.language == language)
            .count();
        assert!(count > 0, "none in {language}: is its rule needed?");
    }
}

#[test]
fn every_example_of_the_manual_pages_is_taken() {
    let documents = Documents::made();
    for (page, least) in PAGES.into_iter().zip([10, 3]) {
        let examples = of_page(page, &documents.text(page));
        assert!(examples.len() >= least, "{page}: only {}", examples.len());
        all_good(&examples);
    }
}

#[test]
fn the_configuration_for_bird_is_taken() {
    let text = std::fs::read_to_string(shipped("packaging/doc/ntpfront-bird.conf")).unwrap();
    assert_eq!(read_by_bird(&text), Ok(()));
}

#[test]
fn every_sample_of_a_configuration_is_taken() {
    let samples = std::fs::read_dir(shipped("config")).unwrap();
    let samples: Vec<Example> = samples
        .map(|sample| sample.unwrap().path())
        // The schema is no configuration: `keys` tries it.
        .filter(|path| !path.ends_with("ntpfront.schema.json"))
        .map(|path: PathBuf| Example {
            place: path.display().to_string(),
            language: path.extension().unwrap().to_str().unwrap().to_owned(),
            text: std::fs::read_to_string(&path).unwrap(),
        })
        .collect();
    assert!(samples.len() >= 2, "only {}", samples.len());
    all_good(&samples);
}

/// The units, and the names under which they are loaded.
const UNITS: [(&str, &str); 3] = [
    ("ntpfront.service", "ntpfront.service"),
    ("ntpfront.socket", "ntpfront.socket"),
    ("ntpfront-anycast@.service", "ntpfront-anycast@anycast.service"),
];

/// systemd splits them as we would.
#[test]
fn the_units_give_flags_that_exist() {
    for (name, _) in UNITS {
        let text = std::fs::read_to_string(shipped("systemd").join(name)).unwrap();
        let command = text
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart=/usr/sbin/ntpfront"));
        let words = shlex::split(&command.unwrap_or_default().replace("$OPTIONS", "")).unwrap();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(ours(&words), Ok(()), "{name}");
    }
}

/// With the program as it was built in place of the one that a package installs, and without manual pages.
#[test]
fn the_units_are_taken() {
    let Some(analyze) = peer("systemd-analyze", "systemd-analyze") else {
        return;
    };
    let verified = |change: &dyn Fn(String) -> String| {
        let directory = TempDir::new();
        let mut verify = Command::new(&analyze);
        verify.args(["verify", "--man=no"]);
        for (name, instance) in UNITS {
            let text = std::fs::read_to_string(shipped("systemd").join(name)).unwrap();
            let text = text.replace("/usr/sbin/ntpfront", env!("CARGO_BIN_EXE_ntpfront"));
            // BIRD need not be installed here.
            let text = text
                .replace("/usr/sbin/birdc", "/bin/true")
                .replace("BindsTo=bird.service\n", "");
            verify.arg(directory.file(instance, change(text)));
        }
        // It also tells of units of this host that ours lead to.
        let said = run(&mut verify).said();
        let said = said.lines().filter(|line| line.contains("ntpfront"));
        said.map(|line| line.to_owned() + "\n").collect::<String>()
    };
    assert_eq!(verified(&|text| text), "");
    let misspelt = verified(&|text| text.replace("\nUser=", "\nUsr="));
    assert!(misspelt.contains("Usr"), "{misspelt}");
}

/// Without these the tests above could pass whatever is written.
#[test]
fn bad_examples_are_refused() {
    let cases = [
        ("toml", "[clock]\nmin-source = 2\n", "min-source"),
        ("toml", "[clock\n", "clock"),
        ("chrony", "port 11123\nbindadress 127.0.0.1\n", "line 2"),
        // A word of BIRD's own as a name: so it stood in a document once.
        (
            "bird",
            "protocol bgp router {\n    local as 64500;\n    neighbor 192.0.2.254 as 64501;\n    ipv4;\n}\n",
            "unexpected ROUTER",
        ),
        ("sh", "while sleep 2; do ntpfront status; don\n", "example: "),
        ("sh", "ntpfrnt status\n", "no such program"),
        ("sh", "/usr/sbin/ntpfront status\n", "not run"),
        ("sh", "ntpfront statuses\n", "statuses"),
        ("sh", "ntpfront -4 many\n", "many"),
        ("ini", "[Service]\nEnvironment=\"OPTIONS=--limit 1\"\n", "--limit"),
        ("ini", "[Service]\n", "no OPTIONS"),
        (
            "exabgp",
            "process a {\n    run /usr/sbin/ntpfront health --wach;\n}\n",
            "--wach",
        ),
        ("exabgp", "process a {\n}\n", "nothing is run"),
        (
            "sh",
            "if ntpfront health; then sleep 1; else brdc x; fi\n",
            "brdc",
        ),
        ("sh", "cargo run --release -- --confg config/try.toml\n", "confg"),
        ("sh", "cargo run --relase\n", "relase"),
        (
            "sh",
            "target/release/ntpfront -c config/tri.toml\n",
            "config/tri.toml",
        ),
        (
            "sh",
            "docker run -d -p 123:123/udp ntpfront --adress 0.0.0.0:123\n",
            "adress",
        ),
        (
            "sh",
            "docker build -f packaging/Dockerfil .\n",
            "packaging/Dockerfil",
        ),
        ("sh", "packaging/bild deb\n", "packaging/bild"),
        ("sh", "# nothing\n", "no command"),
        ("", "port 11123\n", "no rule"),
        ("yaml", "a: 1\n", "no rule"),
    ];
    for (language, text, why) in cases {
        let tool = RULES
            .iter()
            .find(|rule| rule.0 == language)
            .and_then(|rule| rule.1);
        if tool.is_some_and(|tool| !with(tool)) {
            continue;
        }
        let example = Example {
            place: "here".to_owned(),
            language: language.to_owned(),
            text: text.to_owned(),
        };
        let said = tried(&example).expect_err(text);
        assert!(said.contains(why), "{text}: {said}");
    }
}
