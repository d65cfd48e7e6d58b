//! Proves that no reply is lost, whatever the operator changes meanwhile, by a load that counts every single one; and
//! first that the load sees a loss.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a test may fail, speak and look at the clock"
)]

mod common;

use ntpfront::wire::{Leap, ReferenceId};

use common::client::{v4, v6};
use common::daemon::Daemon;
use common::load::{self, Load, Report};
use common::scripted::{Ask, Reply, Scripted, good};

/// Requests a second, over all targets.
const RATE: u32 = 20_000;
/// Of a namespace of its own, so everything is free.
const PORT: u16 = 12_300;

/// Serves this host's clock at once, so that every answer is a usable one.
const LOCAL: &str = "upstream = []\n[local]\nenabled = true\nwait = 0\n";

fn listener(address: std::net::SocketAddr, workers: u32) -> String {
    format!("[[listener]]\naddress = \"{address}\"\nworkers = {workers}\n")
}

#[test]
fn a_steady_server_loses_nothing() {
    if !common::root() {
        return;
    }
    load::in_own_network(|| {
        let targets = [v4(PORT), v6(PORT)];
        let text = targets.map(|target| listener(target, 2)).concat();
        let _daemon = Daemon::configured(&(LOCAL.to_owned() + &text))
            .answering(targets[0])
            .answering(targets[1]);
        Load::start(&targets, RATE, 3).finish().nothing_lost(RATE);
    });
}

/// What a load of 100 requests a second finds out about a server that behaves as `script` says.
fn found(script: impl FnMut(&Ask) -> Vec<Reply> + Send + 'static) -> Report {
    let server = Scripted::at(v4(PORT), script);
    Load::start(&[server.address()], 100, 1).finish()
}

#[test]
fn the_load_sees_what_is_wrong() {
    if !common::root() {
        return;
    }
    load::in_own_network(|| {
        let mut count = 0;
        let nth = found(move |ask| {
            count += 1;
            if count % 10 == 0 {
                Vec::new()
            } else {
                vec![good(ask).into()]
            }
        });
        assert!(nth.lost >= nth.sent / 10 && nth.lost <= nth.sent / 5, "{nth:?}");
        assert_eq!((nth.kernel.no_ports, nth.wrong, nth.duplicate), (0, 0, 0));

        let twice = found(|ask| vec![good(ask).into(), good(ask).into()]);
        assert_eq!((twice.lost, twice.duplicate), (0, twice.sent), "{twice:?}");

        let stray = found(|ask| vec![Reply::Stray(good(ask).to_bytes().to_vec())]);
        assert_eq!((stray.lost, stray.wrong), (stray.sent, stray.sent), "{stray:?}");

        let one_bit = found(|ask| {
            let mut bytes = good(ask).to_bytes();
            bytes[24] ^= 1;
            vec![Reply::Own(bytes.to_vec())]
        });
        assert_eq!(
            (one_bit.lost, one_bit.wrong),
            (one_bit.sent, one_bit.sent),
            "{one_bit:?}"
        );

        let unsynchronized = found(common::scripted::but(|reply| {
            reply.leap = Leap::Unsynchronized;
            reply.stratum = 0;
            reply.reference_id = ReferenceId::INIT;
        }));
        assert_eq!(
            (unsynchronized.lost, unsynchronized.unsynchronized),
            (0, unsynchronized.sent),
            "{unsynchronized:?}"
        );

        let nobody = Load::start(&[v4(PORT)], 100, 1).finish();
        assert_eq!(
            (nobody.lost, nobody.kernel.no_ports),
            (nobody.sent, nobody.sent),
            "{nobody:?}"
        );
        assert!(nobody.sent > 0 && nobody.targets[0].max_gap_ms > 100.0);
    });
}
