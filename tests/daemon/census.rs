//! Proves `ntpfront clients`: that the running server knows who asks, how often, and tells it to nobody when it shall not.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::common::client::{self, v4};
use crate::common::daemon::Daemon;
use crate::common::port::free_port;
use crate::common::program::command;
use crate::common::{Outcome, SOON, TempDir, run, wait_until};

const HEAVY: Ipv4Addr = Ipv4Addr::new(127, 1, 2, 3);
const HEAVY_REQUESTS: u64 = 1000;
/// /24s with a hundred others in each.
const NETWORKS: [u8; 3] = [10, 11, 12];

struct Server {
    address: SocketAddr,
    control: PathBuf,
    _directory: TempDir,
    _daemon: Daemon,
}

impl Server {
    fn start(census: &str) -> Self {
        let directory = TempDir::new();
        let (address, control) = (v4(free_port()), directory.path().join("control"));
        let text = format!(
            "upstream = []\n[local]\nenabled = true\n[control]\nsocket = \"{}\"\n[census]\n{census}\n\
             [[listener]]\naddress = \"{address}\"\nworkers = 2\n",
            control.display()
        );
        Self {
            address,
            control,
            _daemon: Daemon::configured(&text).answering(address),
            _directory: directory,
        }
    }

    fn clients(&self, arguments: &[&str]) -> Outcome {
        let mut command = command();
        run(command
            .args(["clients", "--socket"])
            .arg(&self.control)
            .args(arguments))
    }

    fn json(&self) -> serde_json::Value {
        let outcome = self.clients(&["--json"]);
        assert_eq!(outcome.status, Some(0), "{}", outcome.said());
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("no JSON: {}", outcome.said()))
    }

    /// Asks so often from one address, and gives how often that took more than one packet.
    fn ask_from(&self, source: Ipv4Addr, requests: u64) -> u64 {
        let socket = client::socket((source, 0));
        let mut again = 0;
        for _ in 0..requests {
            wait_until("an answer", SOON, || {
                let answer = client::exchange(&socket, self.address, &client::request(4, 3), SOON / 10);
                again += u64::from(answer.is_none());
                answer
            });
        }
        again
    }
}

fn others() -> impl Iterator<Item = Ipv4Addr> {
    let hosts = |network| (1..=100).map(move |host| Ipv4Addr::new(127, 0, network, host));
    NETWORKS.into_iter().flat_map(hosts)
}

fn number(value: &serde_json::Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn many_who_ask_once_and_one_who_asks_a_lot() {
    let server = Server::start("");
    let lost: u64 = others().map(|source| server.ask_from(source, 1)).sum();
    let lost = lost + server.ask_from(HEAVY, HEAVY_REQUESTS);
    // From the start of the test there is one request more, or a few.
    let requests = HEAVY_REQUESTS + 301;
    let said = wait_until("all that was asked", SOON, || {
        let said = server.json();
        (number(&said["requests"]) >= requests).then_some(said)
    });
    assert!(number(&said["requests"]) < requests + lost + 10, "{said}");
    assert_eq!(said["workers"], 2, "{said}");
    // 302, with four times the standard error.
    assert!((282..=322).contains(&number(&said["clients"])), "{said}");
    let heavy = &said["addresses"]["top"][0];
    assert_eq!(heavy["who"], HEAVY.to_string(), "{said}");
    is_about(heavy, HEAVY_REQUESTS, lost);
    assert!((0.74..0.78).contains(&heavy["share"].as_f64().unwrap()), "{said}");
    let prefixes = said["prefixes"]["top"].as_array().unwrap();
    assert_eq!(prefixes[0]["who"], "127.1.2.0/24", "{said}");
    is_about(&prefixes[0], HEAVY_REQUESTS, lost);
    for network in NETWORKS {
        let name = format!("127.0.{network}.0/24");
        let found = prefixes.iter().find(|prefix| prefix["who"] == name);
        is_about(found.unwrap_or_else(|| panic!("no {name}: {said}")), 100, lost);
    }
    let at_once = &said["intervals"][0];
    assert_eq!(at_once["from"], 0.0);
    // On a machine that stood still for a moment it may be a few less.
    assert!(
        (HEAVY_REQUESTS - 20..HEAVY_REQUESTS + lost + 10).contains(&number(&at_once["count"])),
        "{said}"
    );
    fits_a_terminal(&server);
}

/// The bounds hold `count`, and are as near as they can be with so few.
fn is_about(talker: &serde_json::Value, count: u64, lost: u64) {
    let (at_least, at_most) = (number(&talker["at_least"]), number(&talker["at_most"]));
    assert!((count - 10..=count + lost).contains(&at_least), "{talker}");
    assert!((count..=count + lost + 10).contains(&at_most), "{talker}");
}

fn fits_a_terminal(server: &Server) {
    let outcome = server.clients(&[]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.said());
    println!("{}", outcome.stdout);
    assert!(
        outcome.stdout.lines().all(|line| line.chars().count() < 80),
        "{}",
        outcome.said()
    );
    for word in [
        "clients",
        "127.1.2.3 ",
        "127.1.2.0/24 ",
        "ASKS AGAIN AFTER",
        "less than 0.7 s",
    ] {
        assert!(outcome.stdout.contains(word), "{word}: {}", outcome.said());
    }
}

#[test]
fn lists_have_the_length_the_order_and_the_clients_that_are_asked_for() {
    let limit = "\n[limit]\nmode = \"on\"\nburst = 8\ninterval = 64\nleak = 0.01\n";
    let server = Server::start(limit);
    for (source, requests) in [(3, 3), (4, 5), (5, 4)] {
        server.ask_from(Ipv4Addr::new(127, 1, 9, source), requests);
    }
    // One that gets no answers any more.
    let limited = client::socket((Ipv4Addr::new(127, 1, 8, 7), 0));
    for _ in 0..40 {
        limited.send_to(&client::request(4, 3), server.address).unwrap();
    }
    let listed = |arguments: &[&str]| -> Vec<String> {
        let outcome = server.clients(&[arguments, &["--json"]].concat());
        assert_eq!(outcome.status, Some(0), "{}", outcome.said());
        let said: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
        let top = said["addresses"]["top"].as_array().unwrap().iter();
        top.map(|talker| talker["who"].as_str().unwrap().to_owned())
            .collect()
    };
    let ours = ["--prefix", "127.1.9.0/24"];
    wait_until("all that was asked", SOON, || {
        let few = listed(&["--limited"]);
        (listed(&ours).len() == 3 && few == ["127.1.8.7"]).then_some(())
    });
    let with = |more: &[&str]| listed(&[&ours[..], more].concat());
    assert_eq!(with(&[]), ["127.1.9.4", "127.1.9.5", "127.1.9.3"]);
    assert_eq!(with(&["-n", "1", "--sort", "rate"]), ["127.1.9.4"]);
    assert_eq!(
        with(&["--sort", "address"]),
        ["127.1.9.3", "127.1.9.4", "127.1.9.5"]
    );
    server.ask_from(Ipv4Addr::new(127, 1, 9, 3), 1);
    // In sixteenths of a second the others were asking at about the same time.
    assert!(with(&["--sort", "last"]).contains(&"127.1.9.3".to_owned()));
    assert_eq!(with(&["--limited"]), Vec::<String>::new());
    let text = server.clients(&["--limited"]);
    assert!(
        text.stdout
            .contains("Listed below: clients of which limit or budget refused requests\n"),
        "{}",
        text.said()
    );
    let row = text
        .stdout
        .lines()
        .find(|line| line.starts_with("127.1.8.7 "))
        .unwrap();
    assert!(row.chars().count() < 80, "{row}");
    for wrong in [["--prefix", "192.0.2.0/33"], ["-n", "0"], ["--sort", "x"]] {
        assert_eq!(server.clients(&wrong).status, Some(2), "{wrong:?}");
    }
}

#[test]
fn nobody_is_counted_where_that_is_off() {
    let server = Server::start("enabled = false");
    let outcome = server.clients(&["--json"]);
    assert_eq!(
        (outcome.status, outcome.stdout.as_str()),
        (Some(1), ""),
        "{}",
        outcome.said()
    );
    assert!(outcome.stderr.contains("census.enabled"), "{}", outcome.said());
}

#[test]
fn without_a_server_it_says_so() {
    let directory = TempDir::new();
    let nowhere = directory.path().join("control");
    let outcome = run(command().args(["clients", "--socket"]).arg(&nowhere));
    assert_eq!(outcome.status, Some(1), "{}", outcome.said());
    assert!(
        outcome.stderr.contains("there is no such socket"),
        "{}",
        outcome.said()
    );
}
