//! Proves that a tracked clock follows three real `chronyd` on another host, each at another distance, goes on when one
//! goes away, and serves the truth when one begins to lie.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ntpfront::wire::Leap;

use crate::common::chrony::{self, Chronyd};
use crate::common::client::{look, v4};
use crate::common::front::Front;
use crate::common::neighbor::Neighbor;
use crate::common::network::{in_own_network, ip};
use crate::common::port::free_port;
use crate::common::relay::Relay;
use crate::common::scripted::{Scripted, ahead};
use crate::common::{root, wait_until};

/// One way to each server. All serve the same clock, so what is measured is the path alone.
const DELAYS: [Duration; 3] = [
    Duration::from_millis(1),
    Duration::from_millis(4),
    Duration::from_millis(10),
];
/// Reach has eight questions, 2 s apart, until somebody is called silent.
const SLOWLY: Duration = Duration::from_secs(60);

/// A chronyd and its distance; gone when dropped, over there.
type Far = (Relay, Chronyd);

/// Three servers on another host, and ntpfront in front of them.
struct Rig {
    front: Front,
    servers: [Option<Far>; 3],
    neighbor: Neighbor,
}

fn address(server: usize) -> SocketAddr {
    let number = 11 + u8::try_from(server).unwrap();
    ([192, 0, 2, number], 123).into()
}

impl Rig {
    fn start(program: &Path) -> Self {
        let neighbor = Neighbor::plug_in();
        let servers = [0, 1, 2].map(|server| {
            let program = program.to_owned();
            Some(neighbor.run(move || far(&program, server)))
        });
        let front = Front::of(&[address(0), address(1), address(2)]);
        Self {
            front,
            servers,
            neighbor,
        }
    }

    /// Waits until the log calls the `server` one of these.
    fn becomes(&self, server: usize, standings: &[&str]) {
        let what = format!("server {server} is one of {standings:?}");
        wait_until(&what, SLOWLY, || {
            let log = self.front.daemon.log();
            let upstream = format!(" upstream {}: ", address(server));
            let line = log
                .lines()
                .rfind(|line| line.contains(&upstream) && line.contains(" -> "))?;
            let (_, after) = line.split_once(" -> ")?;
            let now = after.split([' ', ',']).next();
            standings
                .iter()
                .any(|standing| now == Some(*standing))
                .then_some(())
        });
    }

    fn follows_all(&self) {
        self.front.becomes_synchronized();
        (0..3).for_each(|server| self.becomes(server, &["system-peer", "agrees"]));
        assert!(self.front.daemon.log().contains("clock source: tracked,"));
        self.is_true();
    }

    /// Since it was synchronized it always was, and now it serves the truth and knows how well.
    fn is_true(&self) {
        let seen = self.front.watch.seen();
        let mut since = seen.iter().skip_while(|reply| reply.leap != Leap::NoWarning);
        assert!(since.all(|reply| reply.leap == Leap::NoWarning));
        let seen = wait_until("an answer", SLOWLY, || look(self.front.server));
        seen.is_ahead_by(0.0, 0.0);
    }

    fn take_away(&mut self, server: usize) {
        let far = self.servers[server].take();
        self.neighbor.run(move || drop(far));
    }
}

/// A chronyd over there. Each has a stratum of its own: the same words would make them one server.
fn far(program: &Path, server: usize) -> Far {
    let port = free_port();
    let stratum = 3 + u8::try_from(server).unwrap();
    let chronyd = Chronyd::start(program, port, stratum);
    ip(&format!("addr add {}/24 dev far", address(server).ip()));
    (Relay::start(address(server), v4(port), DELAYS[server]), chronyd)
}

impl Drop for Rig {
    fn drop(&mut self) {
        (0..3).for_each(|server| self.take_away(server));
    }
}

/// Runs `test` with the rig, unless chronyd or root are left out on purpose.
fn with_rig(test: impl FnOnce(Rig) + Send) {
    let (Some(program), true) = (chrony::program(), root()) else {
        return;
    };
    in_own_network(|| test(Rig::start(&program)));
}

#[test]
fn when_one_of_three_goes_away_the_others_are_followed() {
    with_rig(|mut rig| {
        rig.follows_all();
        rig.take_away(1);
        rig.becomes(1, &["silent"]);
        let log = rig.front.daemon.log();
        assert!(log.contains("no server listens there (ECONNREFUSED)"), "{log}");
        rig.is_true();
    });
}

#[test]
fn when_one_of_three_begins_to_lie_the_truth_is_served() {
    with_rig(|mut rig| {
        rig.follows_all();
        rig.take_away(0);
        let liar = rig
            .neighbor
            .run(|| Scripted::at(address(0), |ask| vec![ahead(ask, 5.0).into()]));
        rig.becomes(0, &["falseticker"]);
        for server in [1, 2] {
            rig.becomes(server, &["system-peer", "agrees"]);
        }
        rig.is_true();
        rig.neighbor.run(move || drop(liar));
    });
}
