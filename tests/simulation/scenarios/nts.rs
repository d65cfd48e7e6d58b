//! Upstreams with NTS: a host whose clock is wrong at boot, certificates that have ended, and those without NTS beside them.

use ntpfront::upstream::KeServer;
use ntpfront::upstream::candidate::SelectionStatus;
use ntpfront::upstream::clock_policy::Authenticated;
use ntpfront::upstream::nts::certificate::CertificateValidity;
use ntpfront::upstream::nts::ke_fault::KeFault;
use ntpfront::upstream::nts::trusted::TrustedCertificates;

use super::{HOUR, MINUTE, Scenario, served_well, settle};
use crate::network::{Network, START};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "nts-clock-of-1970",
        what: "the host's clock is at 1970, its three upstreams have NTS",
        run: |network| wrong_clock(network, 0),
    },
    Scenario {
        name: "nts-clock-of-2036",
        what: "the host's clock is in the next era of NTP, its three upstreams have NTS",
        run: |network| wrong_clock(network, 2_090_000_000),
    },
    Scenario {
        name: "nts-clock-of-2099",
        what: "the host's clock is at 2099, its three upstreams have NTS",
        run: |network| wrong_clock(network, 4_070_908_800),
    },
    Scenario {
        name: "nts-expired-liar",
        what: "of four with NTS and a clock of 1970, one lies by a time when its certificate was valid",
        run: expired_liar,
    },
    Scenario {
        name: "nts-expired-liar-of-two",
        what: "of two with NTS and a clock of 1970, one lies by a time when its certificate was valid",
        run: expired_liar_of_two,
    },
    Scenario {
        name: "nts-expired-alone",
        what: "the certificate of the only one ended yesterday, whatever it says",
        run: expired_alone,
    },
    Scenario {
        name: "nts-expires-later",
        what: "the certificates of all end while they are in use",
        run: expires_later,
    },
    Scenario {
        name: "nts-prefer",
        what: "three without NTS tell the same lie beside two with it",
        run: preferred,
    },
    Scenario {
        name: "nts-require",
        what: "the same, and NTS is required",
        run: required,
    },
];

const DAY: f64 = 86_400.0;

/// This upstream has NTS, and a certificate with these dates, in hours from the start.
fn with_nts(network: &mut Network, upstream: usize, from: i64, to: i64) {
    const PEM: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
    let server = KeServer {
        port: 4460,
        ca: None,
        trusted: TrustedCertificates::read(&mut PEM.as_bytes()).unwrap(),
    };
    network.configure(upstream, |upstream| upstream.nts = Some(server));
    network.servers[upstream].certificate = Some(CertificateValidity {
        not_before: START + from * 3600,
        not_after: START + to * 3600,
    });
}

/// Sets the host's clock to a time since 1970; NTP's has no era.
fn set_clock(network: &mut Network, seconds: i64) {
    let by = i32::from_ne_bytes(((seconds - START) as u32).to_ne_bytes());
    network.host.error = f64::from(by);
}

fn wrong_clock(network: &mut Network, seconds: i64) {
    network.honest(3);
    (0..3).for_each(|one| with_nts(network, one, -2000, 700));
    set_clock(network, seconds);
    network.run(MINUTE);
    let first = network.record.first_usable.unwrap_or(f64::INFINITY);
    network.at_most("until the time is served, s", 15.0, first);
    settle(network);
    network.run(HOUR);
    served_well(network, 5.0, 100.0);
}

fn expired_liar(network: &mut Network) {
    network.honest(4);
    (0..3).for_each(|one| with_nts(network, one, -2000, 700));
    // It can say any time at which nobody could know better.
    with_nts(network, 3, -2000, -500);
    network.servers[3].offset = -30.0 * DAY;
    set_clock(network, 0);
    network.run(5.0);
    network.holds("cast out", network.key_fault(3) == Some(KeFault::CastOut));
    // Then its certificate is checked against the time that is known.
    settle(network);
    network.holds(
        "refused afterwards",
        network.key_fault(3) == Some(KeFault::Expired),
    );
    network.run(2.0 * HOUR);
    network.holds("without a vote", network.standing(3) == SelectionStatus::Silent);
    served_well(network, 5.0, 100.0);
}

fn expired_liar_of_two(network: &mut Network) {
    network.honest(2);
    with_nts(network, 0, -2000, 700);
    with_nts(network, 1, -2000, -500);
    network.servers[1].offset = -30.0 * DAY;
    set_clock(network, 0);
    network.run(2.0 * HOUR);
    network.holds("never announced", network.record.first_usable.is_none());
}

fn expired_alone(network: &mut Network) {
    network.honest(1);
    with_nts(network, 0, -2000, -24);
    set_clock(network, 0);
    network.run(2.0 * HOUR);
    network.holds("never announced", network.record.first_usable.is_none());
}

fn expires_later(network: &mut Network) {
    network.honest(3);
    (0..3).for_each(|one| with_nts(network, one, -2000, 1));
    set_clock(network, 0);
    settle(network);
    network.run(3.0 * HOUR);
    served_well(network, 5.0, 100.0);
}

/// Two with NTS, and three others that are a majority for half a second more.
fn outnumbered(network: &mut Network, authenticated: Authenticated) {
    network.policy.authenticated = authenticated;
    network.honest(5);
    (0..2).for_each(|one| with_nts(network, one, -2000, 700));
    (2..5).for_each(|one| network.servers[one].offset += 0.5);
    network.run(2.0 * HOUR);
}

fn preferred(network: &mut Network) {
    outnumbered(network, Authenticated::Prefer);
    network.holds("never announced", network.record.first_usable.is_none());
}

fn required(network: &mut Network) {
    outnumbered(network, Authenticated::Require);
    served_well(network, 5.0, 99.0);
    network.holds("without a vote", network.standing(2) == SelectionStatus::Plain);
}
