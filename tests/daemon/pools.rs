//! Proves what becomes of a pool: dead addresses, a false server, a family without a route, a server that goes away, and
//! name servers that answer something else.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Instant;

use ntpfront::wire::Leap;
use serde_json::Value;

use crate::common::client::v4;
use crate::common::daemon::Daemon;
use crate::common::neighbor::Neighbor;
use crate::common::network::{in_own_network, ip};
use crate::common::page;
use crate::common::port::free_port;
use crate::common::scripted::{Scripted, ahead};
use crate::common::status::status;
use crate::common::watch::Watch;
use crate::common::{SOON, TempDir, wait_until};

/// ntpfront with a pool, whose name stands for what the file of hosts says.
struct Front {
    daemon: Daemon,
    watch: Watch,
    directory: TempDir,
}

impl Front {
    fn start(hosts: &[IpAddr], keys: &str) -> Self {
        let directory = TempDir::new();
        let (hosts, nobody) = (
            directory.file("hosts", lines(hosts)),
            directory.file("resolv.conf", ""),
        );
        let mount = format!(
            "mount --bind {} /etc/hosts && mount --bind {} /etc/resolv.conf && exec \"$@\"",
            hosts.display(),
            nobody.display()
        );
        let server = v4(free_port());
        let control = directory.path().join("control");
        let daemon = Daemon::configured_by(
            &["unshare", "--mount", "sh", "-c", &mount, "sh"],
            &format!(
                "[control]\nsocket = \"{0}\"\n[metrics]\nlisten = \"unix:{0}.metrics\"\n[[upstream]]\naddress = \"pool.example\"\n{keys}\n\
                 minpoll = 1\nmaxpoll = 1\n[[listener]]\naddress = \"{server}\"\n",
                control.display()
            ),
        );
        let daemon = daemon.answering(server);
        let watch = Watch::on(server);
        Self {
            daemon,
            watch,
            directory,
        }
    }

    /// The name stands for these from now on. The file itself stays, as it is mounted.
    fn resolves_to(&self, hosts: &[IpAddr]) {
        fs::write(self.directory.path().join("hosts"), lines(hosts)).unwrap();
    }

    fn control(&self) -> PathBuf {
        self.directory.path().join("control")
    }

    fn metrics(&self) -> String {
        page::metrics(&self.control().with_extension("metrics"))
    }

    fn status(&self) -> Value {
        status(&self.control())
    }

    /// The addresses of the members that answer and have a vote, each with its standing.
    fn answering(&self) -> BTreeSet<(String, String)> {
        let status = self.status();
        let upstreams = status["upstreams"].as_array().unwrap();
        let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
        let answering = upstreams
            .iter()
            .filter(|one| one["accepted"].as_u64() > Some(0) && one["on_trial"] == Value::Bool(false));
        answering
            .map(|one| {
                assert_eq!(text(one, "pool"), "pool.example:123");
                (text(one, "name"), text(one, "standing"))
            })
            .collect()
    }
}

fn lines(hosts: &[IpAddr]) -> String {
    hosts.iter().map(|one| format!("{one} pool.example\n")).collect()
}

fn host(number: u8) -> Ipv4Addr {
    [192, 0, 2, number].into()
}

/// A server at this address of the neighbor, `seconds` ahead.
fn serve(neighbor: &Neighbor, number: u8, seconds: f64) -> Scripted {
    neighbor.run(move || {
        ip(&format!("addr add {}/24 dev far", host(number)));
        Scripted::at(SocketAddr::from((host(number), 123)), move |ask| {
            vec![ahead(ask, seconds).into()]
        })
    })
}

#[test]
fn of_a_pool_the_servers_that_answer_are_polled_and_one_that_goes_is_replaced() {
    in_own_network(|| {
        let neighbor = Neighbor::plug_in();
        let servers: Vec<Scripted> = (15..=17).map(|number| serve(&neighbor, number, 0.0)).collect();
        let false_one = serve(&neighbor, 18, 5.0);
        // Four without a route, and four dead ones, come first.
        let six = (1..=4_u16).map(|number| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, number]));
        let four = (11..=18).map(|number| IpAddr::V4(host(number)));
        let all: Vec<IpAddr> = six.chain(four).collect();
        let started = Instant::now();
        let front = Front::start(&all, "pool = true");
        front.watch.wait_for("a synchronized reply", SOON * 3, |reply| {
            reply.leap == Leap::NoWarning
        });
        println!("a time after {:?}", started.elapsed());
        let name = |number: u8| format!("{}:123", host(number));
        let full = wait_until("four members that answer", SOON * 6, || {
            let answering = front.answering();
            let names: BTreeSet<String> = answering.iter().map(|one| one.0.clone()).collect();
            (names == (15..=18).map(name).collect()).then_some(answering)
        });
        let member = format!(
            "ntpfront_upstream_pool_member{{upstream=\"{}\",pool=\"pool.example:123\"}} 1\n",
            name(15)
        );
        assert!(front.metrics().contains(&member), "{}", front.metrics());
        println!("four members after {:?}", started.elapsed());
        assert!(false_one.asked() > 0);
        let is_false =
            |(name, standing): &(String, String)| name.contains(".18:") == (standing == "falseticker");
        wait_until("the false one is found", SOON, || {
            front.answering().iter().all(is_false).then_some(())
        });
        assert_eq!(full.len(), 4);
        let pool = front.status()["upstream_pools"][0].clone();
        assert_eq!(
            (pool["count"].as_u64(), pool["members"].as_u64()),
            (Some(4), Some(4)),
            "{pool}"
        );
        // One goes, and the name has another address: it is tried, and takes its place. The others stay, though the
        // name does not stand for them any more.
        let replaced = pool["replaced"].as_u64().unwrap();
        let mut servers = servers;
        drop(servers.remove(0));
        let _new = serve(&neighbor, 19, 0.0);
        front.resolves_to(&[IpAddr::V4(host(19))]);
        let reload = front.daemon.hang_up();
        println!("{reload:?}");
        wait_until("it is replaced", SOON * 8, || {
            let names: BTreeSet<String> = front.answering().into_iter().map(|one| one.0).collect();
            (names == (16..=19).map(name).collect()).then_some(())
        });
        assert_eq!(
            front.status()["upstream_pools"][0]["replaced"].as_u64(),
            Some(replaced + 1)
        );
        let log = front.daemon.log();
        assert!(log.contains("192.0.2.19 replaces 192.0.2.15"), "{log}");
        // At no moment after the first there was no time.
        let seen = front.watch.seen();
        let first = seen
            .iter()
            .position(|reply| reply.leap == Leap::NoWarning)
            .unwrap();
        assert!(seen[first..].iter().all(|reply| reply.leap == Leap::NoWarning));
    });
}

#[test]
fn a_pool_without_an_address_is_shown_and_found_later() {
    in_own_network(|| {
        let neighbor = Neighbor::plug_in();
        let _server = serve(&neighbor, 20, 0.0);
        let front = Front::start(&[], "count = 2");
        wait_until("the reason", SOON, || {
            let status = front.status();
            let (pool, one) = (&status["upstream_pools"][0], &status["upstreams"][0]);
            let is_told = pool["fault"].is_string() && one["fault"] == pool["fault"];
            (is_told && one["name"] == "pool.example:123").then_some(())
        });
        front.resolves_to(&[IpAddr::V4(host(20)), "127.0.0.1".parse().unwrap()]);
        front.watch.wait_for("a synchronized reply", SOON * 3, |reply| {
            reply.leap == Leap::NoWarning
        });
        // A loopback address behind a name is refused.
        assert_eq!(front.answering().len(), 1);
        assert_eq!(front.status()["upstreams"].as_array().unwrap().len(), 1);
    });
}
