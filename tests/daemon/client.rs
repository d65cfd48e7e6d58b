//! Proves that `ntpfront client` says what a request of a client gets: what it says of many addresses under a long list agrees
//! with the list and with what packets get; buckets, drains, absent listeners, files that were changed.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;

use serde_json::Value;

use crate::common::client::{exchange, request, socket, v4};
use crate::common::daemon::{Daemon, LOCAL, Reload};
use crate::common::port::free_port;
use crate::common::program::command;
use crate::common::random::Random;
use crate::common::{Outcome, SOON, TempDir, run, wait_until};

/// A server of this host's clock with one worker on each address, a control socket, and more lines.
struct Server {
    address: SocketAddr,
    directory: TempDir,
    daemon: Daemon,
}

impl Server {
    fn start(more: &str) -> Self {
        Self::in_directory(TempDir::new(), more)
    }

    fn in_directory(directory: TempDir, more: &str) -> Self {
        let address = v4(free_port());
        let daemon = Daemon::configured(&text(&directory, address, more)).answering(address);
        Self {
            address,
            directory,
            daemon,
        }
    }

    fn reload(&self, more: &str) {
        let text = text(&self.directory, self.address, more);
        assert_eq!(self.daemon.reload(&text), Reload::Done);
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("control")
    }

    fn client(&self, arguments: &[&str]) -> Outcome {
        run(command()
            .args(["client", "--socket"])
            .arg(self.socket())
            .args(arguments))
    }

    /// What is said of these addresses, as JSON.
    fn ask(&self, addresses: &[IpAddr]) -> Vec<Value> {
        let words: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        words.push("--json");
        let outcome = self.client(&words);
        let said: Vec<Value> = outcome
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(said.len(), addresses.len(), "{}", outcome.said());
        let all_answered = said.iter().all(|client| client["answered"] == true);
        assert_eq!(outcome.status, Some(if all_answered { 0 } else { 1 }));
        said
    }

    /// What is said of an address at the only listener.
    fn at_listener(&self, address: Ipv4Addr) -> Value {
        self.ask(&[address.into()]).remove(0)["listeners"][0].take()
    }

    /// Sends a request from each socket, and returns which were answered once all were judged.
    fn answered(&self, clients: &[UdpSocket]) -> Vec<bool> {
        for client in clients {
            client.set_nonblocking(true).unwrap();
            client.send_to(&request(4, 3), self.address).unwrap();
        }
        exchange(&from(ALLOWED), self.address, &request(4, 3), SOON).expect("the last one is answered");
        let is_answered = |client: &UdpSocket| client.recv(&mut [0; 512]).is_ok();
        clients.iter().map(is_answered).collect()
    }
}

/// A client that every list of this file allows.
const ALLOWED: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 77);

fn text(directory: &TempDir, server: SocketAddr, more: &str) -> String {
    let directory = directory.path().display();
    format!(
        "{LOCAL}[control]\nsocket = \"{directory}/control\"\n{more}\n[[listener]]\naddress = \"{server}\"\n"
    )
}

fn from(address: Ipv4Addr) -> UdpSocket {
    socket((address, 0))
}

/// Prefixes with their lines in a file, of which each is looked up by itself.
#[derive(Default)]
struct Model(HashMap<(u8, u32), (usize, bool)>);

impl Model {
    /// The longest prefix of an address, its line, and whether it allows.
    fn decides(&self, address: Ipv4Addr) -> Option<(String, usize, bool)> {
        (0..=32_u8).rev().find_map(|length| {
            let net = masked(address.to_bits(), length);
            let (line, allowed) = self.0.get(&(length, net))?;
            Some((format!("{}/{length}", Ipv4Addr::from(net)), *line, *allowed))
        })
    }
}

fn masked(bits: u32, length: u8) -> u32 {
    bits & u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

/// 100,000 prefixes in two files, half of them within 127.0.0.0/8.
fn files(directory: &TempDir, random: &mut Random) -> Model {
    let mut model = Model::default();
    for (name, allowed) in [("allow", true), ("deny", false)] {
        let mut text = "# made by a test\n".to_owned();
        let mut line = 1;
        while line <= 50_000 {
            let length = u8::try_from(9 + random.below(24)).unwrap();
            let bits = u32::try_from(random.next() >> 32).unwrap();
            let bits = if line % 2 == 0 {
                bits >> 8 | 127 << 24
            } else {
                bits
            };
            let net = masked(bits, length);
            if model.0.contains_key(&(length, net)) {
                continue;
            }
            line += 1;
            model.0.insert((length, net), (line, allowed));
            writeln!(text, "{}/{length}", Ipv4Addr::from(net)).unwrap();
        }
        // The start is waited for from the second.
        for own in [ALLOWED, Ipv4Addr::LOCALHOST].into_iter().filter(|_| allowed) {
            line += 1;
            model.0.insert((32, own.to_bits()), (line, true));
            writeln!(text, "{own}").unwrap();
        }
        directory.file(name, &text);
    }
    model
}

#[test]
fn under_100_000_prefixes_it_says_what_packets_get() {
    let (directory, mut random) = (TempDir::new(), Random::seeded());
    let model = files(&directory, &mut random);
    let path = directory.path().display().to_string();
    let server = Server::in_directory(
        directory,
        &format!(
            "[access]\ndefault = \"deny\"\nallow-files = [\"{path}/allow\"]\ndeny-files = [\"{path}/deny\"]"
        ),
    );
    let local = |random: &mut Random| {
        let bits = u32::try_from(random.next() >> 40).unwrap();
        Ipv4Addr::from(127 << 24 | bits.clamp(1, 0x00FF_FFFE))
    };
    let mut addresses: Vec<Ipv4Addr> = (0..400).map(|_| local(&mut random)).collect();
    let anywhere = |random: &mut Random| Ipv4Addr::from(u32::try_from(random.next() >> 32).unwrap());
    addresses.extend((400..10_000).map(|_| anywhere(&mut random)));
    let asked: Vec<IpAddr> = addresses.iter().copied().map(IpAddr::V4).collect();
    let said = server.ask(&asked);
    let mut answered = 0;
    for (address, said) in addresses.iter().zip(&said) {
        let [top, ..] = address.octets();
        let is_host = (1..224).contains(&top);
        let expected = model.decides(*address);
        let allowed = expected.as_ref().is_some_and(|(.., allowed)| *allowed);
        assert_eq!(said["answered"], allowed && is_host, "{address}: {said}");
        answered += usize::from(allowed && is_host);
        let one = &said["listeners"][0];
        let (rule, verdict) = (&one["access"]["rule"], &one["verdict"]);
        let refused = match (is_host, allowed) {
            (false, _) => "refused-source-address",
            (true, true) => "answered-client",
            (true, false) => "refused-denied",
        };
        assert_eq!(*verdict, refused, "{address}: {said}");
        assert!(one["access"]["rule_doubt"].is_null(), "{said}");
        let Some((prefix, line, allowed)) = expected else {
            assert!(
                rule["prefix"].is_null() && rule["key"] == "access.default",
                "{said}"
            );
            continue;
        };
        let name = if allowed { "allow" } else { "deny" };
        assert_eq!(rule["prefix"], prefix, "{said}");
        assert_eq!(rule["key"], format!("access.{name}-files"), "{said}");
        assert_eq!(rule["place"], format!("{path}/{name}:{line}:1"), "{said}");
    }
    assert!((1000..9000).contains(&answered), "{answered}");
    // And so it is, with packets.
    let clients: Vec<UdpSocket> = addresses.iter().take(400).copied().map(from).collect();
    let said = said.iter().take(400).map(|said| said["answered"] == true);
    let said: Vec<bool> = said.collect();
    assert_eq!(server.answered(&clients), said);
    assert!(said.contains(&true) && said.contains(&false));
}

#[test]
fn the_bucket_is_that_of_the_worker_and_asking_takes_nothing_from_it() {
    let limit = "[limit]\nmode = \"on\"\ninterval = 60\nburst = 8\nleak = 0.25\nkiss = 0.5\nwide = true\n";
    let server = Server::start(limit);
    let (address, client) = (Ipv4Addr::new(127, 0, 3, 9), from(Ipv4Addr::new(127, 0, 3, 9)));
    let before = server.at_listener(address);
    assert_eq!(before["limit"]["bucket"]["tokens"], 8, "{before}");
    assert!(
        before["limit"]["worker"].is_null() && before["limit"]["last_request"].is_null(),
        "{before}"
    );
    for sent in 1..=8 {
        exchange(&client, server.address, &request(4, 3), SOON).expect("within the limit");
        let now = server.at_listener(address);
        assert_eq!(now["limit"]["bucket"]["tokens"], 8 - sent, "{now}");
        let expected = if sent < 8 {
            "answered-client"
        } else {
            "refused-rate"
        };
        if sent < 8 {
            assert_eq!(now["verdict"], expected, "{now}");
        }
        assert_eq!(now["limit"]["worker"], 0, "{now}");
        assert!(now["limit"]["last_request"].as_f64().unwrap() < 5.0, "{now}");
    }
    let empty = server.at_listener(address);
    let share = |name: &str| empty["verdicts"][name].as_f64().unwrap();
    for (name, expected) in [
        ("answered-client", 0.25),
        ("kissed-rate", 0.375),
        ("refused-rate", 0.375),
    ] {
        assert!((share(name) - expected).abs() < 0.1, "{empty}");
    }
    assert_eq!(empty["limit"]["bucket"]["prefix"], "127.0.3.9/32");
    assert_eq!(empty["limit"]["wide"]["prefix"], "127.0.3.0/24");
    assert_eq!(empty["limit"]["wide"]["burst"], 1000);
    // Another client of the same network has a bucket of its own.
    let neighbor = server.at_listener(Ipv4Addr::new(127, 0, 3, 10));
    assert_eq!(
        (&neighbor["verdict"], &neighbor["limit"]["bucket"]["tokens"]),
        (&"answered-client".into(), &8.into())
    );
    let text = server.client(&[&address.to_string()]);
    assert!(
        text.stdout
            .contains("0 of 8 answers left for 127.0.3.9/32, one more every 60 s"),
        "{}",
        text.said()
    );
    // On trial all are answered, and the remark says what would be.
    server.reload(&limit.replace("\"on\"", "\"dry-run\""));
    let trial = server.at_listener(address);
    assert_eq!(trial["verdict"], "answered-client", "{trial}");
    // A quarter leaks.
    let share = trial["remarks"]["would-limit"].as_f64().unwrap();
    assert!((0.6..0.9).contains(&share), "{trial}");
}

#[test]
fn the_census_says_how_often_it_asks() {
    let server = Server::start("");
    let address = Ipv4Addr::new(127, 0, 3, 9);
    let client = from(address);
    for _ in 0..20 {
        exchange(&client, server.address, &request(4, 3), SOON).expect("an answer");
    }
    let census = wait_until("the census", SOON, || {
        let census = server.ask(&[address.into()]).remove(0)["census"].take();
        (census["at_least"].as_u64()? >= 20).then_some(census)
    });
    assert!(census["at_most"].as_u64().unwrap() < 30, "{census}");
    assert!(census["last_request"].as_f64().unwrap() < 10.0, "{census}");
    assert!(census["interval"].as_f64().is_some(), "{census}");
    let stranger = server.ask(&["192.0.2.1".parse().unwrap()]).remove(0);
    assert_eq!(stranger["census"]["at_least"], 0, "{stranger}");
    assert!(stranger["census"]["last_request"].is_null(), "{stranger}");
    let off = Server::start("[census]\nenabled = false");
    assert!(off.ask(&[address.into()])[0]["census"].is_null());
    // Interleaved mode is on by default, and this client did not ask for it.
    assert_eq!(stranger["listeners"][0]["interleaved"]["interleaved"], 0);
}

#[test]
fn each_listener_has_its_reason() {
    let directory = TempDir::new();
    let list = directory.file("list", "127.0.3.0/24\n");
    let [drained, other, strict] = [(); 3].map(|()| v4(free_port()));
    let more = format!(
        "[[listener]]\naddress = \"{drained}\"\nanswer = \"unsynchronized\"\n\
         [[listener]]\naddress = \"192.0.2.77:{}\"\n\
         [[listener]]\naddress = \"{other}\"\n[listener.access]\nmode = \"dry-run\"\ndeny = [\n  \"127.0.3.9\",\n]\n\
         [[listener]]\naddress = \"{strict}\"\n[listener.access]\non-deny = \"kiss\"\ndeny-files = [\"{}\"]\n",
        free_port(),
        list.display()
    );
    let server = Server::in_directory(directory, &more);
    let address: IpAddr = "127.0.3.9".parse().unwrap();
    let said = server.ask(&[address]).remove(0);
    let at = |socket: SocketAddr| {
        let mut all = said["listeners"].as_array().unwrap().iter();
        all.find(|one| one["listener"] == socket.to_string())
            .unwrap()
            .clone()
    };
    assert_eq!(said["listeners"].as_array().unwrap().len(), 5, "{said}");
    let away = at(drained);
    assert_eq!(
        (&away["verdict"], &away["announces_time"], &away["drained"]),
        (&"answered-client".into(), &false.into(), &"configuration".into())
    );
    let trial = at(other);
    assert_eq!(trial["remarks"]["would-deny"], 1.0, "{trial}");
    let configuration = server.daemon.configuration().display().to_string();
    let place = trial["access"]["rule"]["place"].as_str().unwrap();
    assert!(
        place.starts_with(&configuration) && place.ends_with(":3"),
        "{trial}"
    );
    let kissed = at(strict);
    assert_eq!(
        (&kissed["verdict"], &kissed["access"]["rule"]["place"]),
        (&"kissed-denied".into(), &format!("{}:1:1", list.display()).into())
    );
    let absent = said["listeners"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["serving"] == false);
    assert!(
        absent.unwrap()["verdict"].is_null() && absent.unwrap()["fault"].is_string(),
        "{said}"
    );
    // One listener alone; and one that there is not.
    let only = server.client(&["127.0.3.9", "--listener", &strict.to_string()]);
    assert_eq!(only.status, Some(1), "{}", only.said());
    assert!(
        only.stdout.contains("answered with DENY, and no time") && !only.stdout.contains("192.0.2.77"),
        "{}",
        only.said()
    );
    let none = server.client(&["127.0.3.9", "--listener", "192.0.2.78:9"]);
    assert_eq!(none.status, Some(2), "{}", none.said());
    assert!(
        none.stderr
            .contains("there is no listener for 192.0.2.78:9: there are"),
        "{}",
        none.said()
    );
    // Of IPv6 there is none.
    let six = server.client(&["2001:db8::1"]);
    assert_eq!(six.status, Some(1), "{}", six.said());
    assert!(
        six.stdout.starts_with("2001:db8::1: no listener of IPv6"),
        "{}",
        six.said()
    );
    // A file that was changed since says another rule than the one in use.
    std::fs::write(&list, "127.0.4.0/24\n").unwrap();
    let changed = server.client(&["127.0.3.9", "--listener", &strict.to_string()]);
    assert!(
        changed.stdout.contains("`ntpfront reload` reads them"),
        "{}",
        changed.said()
    );
    assert!(
        changed
            .stdout
            .contains("denied, and now in the files by access.default"),
        "{}",
        changed.said()
    );
    std::fs::write(&list, "nonsense\n").unwrap();
    let broken = server.client(&["127.0.3.9", "--listener", &strict.to_string()]);
    assert_eq!(broken.status, Some(1), "{}", broken.said());
    assert!(
        broken.stdout.contains("the configuration cannot be read now") && broken.stdout.contains("nonsense"),
        "{}",
        broken.said()
    );
}

#[test]
fn a_drain_by_command_and_an_answer_in_plain_words() {
    let server = Server::start("");
    let good = server.client(&["192.0.2.1"]);
    assert_eq!(good.status, Some(0), "{}", good.said());
    assert!(
        good.stdout.contains(": answered with the time\n"),
        "{}",
        good.said()
    );
    let drained = run(command().args(["drain", "--socket"]).arg(server.socket()));
    assert_eq!(drained.status, Some(0), "{}", drained.said());
    let away = server.client(&["192.0.2.1"]);
    assert_eq!(away.status, Some(0), "{}", away.said());
    assert!(
        away.stdout
            .contains(": answered with \"unsynchronized\", drained by command\n"),
        "{}",
        away.said()
    );
    let bad = server.client(&["nowhere.example"]);
    assert_eq!(bad.status, Some(2), "{}", bad.said());
}
