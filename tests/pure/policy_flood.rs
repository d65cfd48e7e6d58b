//! Floods against the limits, in virtual time: who is still answered. Everything is pure here, so an hour is a second, and
//! the same each time.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the numbers of a flood are small"
)]

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ntpfront::cli::Flags;
use ntpfront::config;
use ntpfront::server::Allowance;
use ntpfront::server::policy::budget::{BudgetController, SentCounts};
use ntpfront::server::policy::limit::{Clients, RequestClass, RequestContext};
use ntpfront::server::policy::probability::{Probability, Random};
use ntpfront::server::policy::{Annotation, Policy, Ruling};

/// A worker with the policy of a configuration.
struct Server {
    policy: Policy,
    clients: Clients,
    random: Random,
    controller: BudgetController,
    allowance: Allowance,
    sent: SentCounts,
    before: SentCounts,
    second: u64,
    remarks: [u64; Annotation::COUNT],
}

impl Server {
    fn new(text: &str) -> Self {
        let text = format!("{text}\n[[listener]]\naddress = \"127.0.0.1:123\"");
        let config = config::load(&Flags::default(), Some((Path::new("f"), &text)))
            .unwrap()
            .config;
        let policy = Policy::clone(&config.listeners[0].policy);
        Self {
            clients: Clients::new(policy.limit.clients, [5, 6]),
            policy,
            random: Random::new(7),
            allowance: Allowance::new(BudgetController::new(config.budget).rates()),
            controller: BudgetController::new(config.budget),
            sent: SentCounts::default(),
            before: SentCounts::default(),
            second: 0,
            remarks: [0; Annotation::COUNT],
        }
    }

    fn answers(&mut self, source: IpAddr, now: Duration) -> bool {
        if now.as_secs() > self.second {
            self.second = now.as_secs();
            let sent = SentCounts {
                taken: self.allowance.taken(),
                ..self.sent
            };
            let new = sent.since(self.before);
            self.before = sent;
            self.allowance
                .set(self.controller.adjust(new, Duration::from_secs(1)));
        }
        let asked = RequestContext {
            source,
            class: RequestClass::Plain,
            now,
            budget: self.policy.budget,
            allowance: &self.allowance,
        };
        let remarks = &mut self.remarks;
        let remark = |remark: Annotation| remarks[remark.index()] += 1;
        let ruling = self
            .policy
            .rule(&mut self.clients, &asked, &mut self.random, remark);
        let answered = ruling == Ruling::Answer;
        self.sent.ipv4 += u64::from(answered);
        answered
    }
}

/// How much of what was asked was answered.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    asked: u64,
    answered: u64,
}

impl Tally {
    fn add(&mut self, answered: bool) {
        self.asked += 1;
        self.answered += u64::from(answered);
    }

    fn share(self) -> f64 {
        self.answered as f64 / self.asked as f64
    }
}

fn honest(number: u32) -> IpAddr {
    (0x0A00_0000 + number * 37).to_be_bytes().into()
}

fn abuser(number: u32) -> IpAddr {
    (0xC000_0200 + number).to_be_bytes().into()
}

const HONEST: u32 = 1000;
const SECONDS: u32 = 150;
const FLOOD: u32 = 200_000;

/// 200,000 requests a second from 10 sources, and 1000 clients that come one after the other within a minute: eight requests
/// 2 s apart, then one in 64 s.
fn flood(text: &str) -> (Server, Tally, Tally) {
    let mut server = Server::new(text);
    let (mut well, mut ill) = (Tally::default(), Tally::default());
    let mut calendar = vec![Vec::new(); (SECONDS * 100) as usize];
    for client in 0..HONEST {
        let start = f64::from(client) * 0.06;
        let times = (0..8).map(|n| f64::from(n) * 2.0).chain([78.0, 142.0]);
        for at in times.map(|time| ((start + time) * 100.0) as usize) {
            calendar.get_mut(at).into_iter().for_each(|due| due.push(client));
        }
    }
    for (slot, due) in calendar.iter().enumerate() {
        let now = Duration::from_secs(1000) + Duration::from_millis(10) * slot as u32;
        for packet in 0..FLOOD / 100 {
            ill.add(server.answers(abuser(packet % 10), now));
        }
        for &client in due {
            well.add(server.answers(honest(client), now));
        }
    }
    (server, well, ill)
}

#[test]
fn a_flood_of_200_000_a_second_takes_nothing_from_honest_clients() {
    let budget = "[budget]\npackets-per-second = 1000";
    for (name, text, abused) in [
        ("off", "", 1.0..=1.0),
        ("dry-run", "[limit]\nmode = \"dry-run\"", 1.0..=1.0),
        ("on", "[limit]\nmode = \"on\"", 0.24..=0.26),
        (
            "on, leak 0.01",
            "[limit]\nmode = \"on\"\nleak = 0.01",
            0.009..=0.011,
        ),
        ("budget 1000/s", budget, 0.0..=0.02),
    ] {
        let (server, well, ill) = flood(text);
        let would = server.remarks[Annotation::WouldLimit.index()];
        println!(
            "{name:<14} honest {:.4} of {}, abusers {:.4} of {}, would-limit {would}",
            well.share(),
            well.asked,
            ill.share(),
            ill.asked
        );
        assert_eq!(well.answered, well.asked, "{name}");
        assert!(abused.contains(&ill.share()), "{name}: {ill:?}");
        assert_eq!(would > 0, name == "dry-run");
    }
}

/// A victim that asks eight times at its start and then once in 64 s, while somebody asks 1000 times a second in its name.
#[test]
fn a_victim_in_whose_name_others_ask_is_still_answered() {
    for (text, least) in [
        ("[limit]\nmode = \"on\"", 0.2),
        ("[limit]\nmode = \"on\"\nleak = 0.5", 0.44),
        ("[budget]\npackets-per-second = 500", 0.4),
    ] {
        let mut server = Server::new(text);
        let (mut victim, mut spoofed) = (Tally::default(), Tally::default());
        // Many victims, one after the other, so that the share means something.
        for number in 0..200 {
            let source = honest(number);
            let start = Duration::from_secs(1000 + u64::from(number) * 200);
            let asks = |milliseconds: u32| {
                matches!(milliseconds, 30_000..45_000) && milliseconds.is_multiple_of(2000)
                    || milliseconds == 108_000
            };
            for milliseconds in 0..110_000 {
                let now = start + Duration::from_millis(1) * milliseconds;
                spoofed.add(server.answers(source, now));
                if asks(milliseconds) {
                    victim.add(server.answers(source, now));
                }
            }
        }
        println!(
            "{text:?}: victim {:.3} of {}, spoofed {:.3}",
            victim.share(),
            victim.asked,
            spoofed.share()
        );
        assert!(victim.share() > least, "{text}: {victim:?}");
    }
}

/// A flood from ever new addresses, as a botnet or a spoofer makes it, beside one heavy client and honest ones.
#[test]
fn made_up_addresses_neither_free_the_heavy_nor_hurt_the_honest() {
    let mut server = Server::new("[limit]\nmode = \"on\"\nclients = 4096\nleak = 0.01");
    let (mut well, mut heavy) = (Tally::default(), Tally::default());
    let mut made_up = 0x5000_0000_u32;
    for slot in 0..6000_u32 {
        let now = Duration::from_secs(1000) + Duration::from_millis(10) * slot;
        for _ in 0..1000 {
            made_up += 7;
            server.answers(made_up.to_be_bytes().into(), now);
        }
        (0..10).for_each(|_| heavy.add(server.answers(abuser(0), now)));
        if slot % 200 == 0 {
            (0..50).for_each(|client| well.add(server.answers(honest(client), now)));
        }
    }
    println!(
        "honest {:.3}, heavy {:.4} of {}",
        well.share(),
        heavy.share(),
        heavy.asked
    );
    assert_eq!(well.answered, well.asked);
    assert!(heavy.share() < 0.05, "{heavy:?}");
}

/// What is known of honest clients and monitors passes under the default limits, each from an address of its own.
#[test]
fn what_honest_clients_do_passes() {
    // When each asks, in seconds.
    let patterns: [(&str, Vec<f64>); 6] = [
        (
            "ntpd iburst",
            (0..8)
                .map(|n| f64::from(n) * 2.0)
                .chain((1..20).map(|n| 14.0 + 64.0 * f64::from(n)))
                .collect(),
        ),
        (
            "chrony iburst",
            (0..4)
                .map(|n| f64::from(n) * 2.0)
                .chain((1..20).map(|n| 6.0 + 64.0 * f64::from(n)))
                .collect(),
        ),
        (
            "pool monitor",
            (0..20)
                .flat_map(|check| (0..3).map(move |n| f64::from(check) * 600.0 + f64::from(n) * 2.0))
                .collect(),
        ),
        ("three in 4 s", vec![0.0, 2.0, 4.0]),
        ("eight at once", vec![0.0; 8]),
        ("64 behind one address", (0..640).map(f64::from).collect()),
    ];
    let mut server = Server::new("[limit]\nmode = \"on\"\nwide = true");
    for (number, (name, times)) in patterns.iter().enumerate() {
        for time in times {
            let now = Duration::from_secs(100_000 * (1 + number as u64)) + Duration::from_secs_f64(*time);
            assert!(server.answers(abuser(number as u32), now), "{name} at {time}");
        }
    }
    assert_eq!(server.remarks, [0; 5]);
    assert!(server.policy.limit.leak > Probability::NONE);
}

const BUDGET: u64 = 500;

/// Clients that ask regularly: how many, and every how many milliseconds.
const REGULARS: [(u32, u32); 4] = [(20, 1000), (20, 2000), (20, 16_000), (20, 60_000)];

/// One second of a flood, millisecond by millisecond: who asks, by the number of the request.
type Flood<'a> = &'a mut dyn FnMut(u64) -> IpAddr;

/// Lives through `seconds` with regular clients and `per_second` requests of a `flood`; the regulars' tally by their interval,
/// and the answers of each second.
fn live(
    server: &mut Server,
    from: u32,
    seconds: u32,
    per_second: u32,
    flood: Flood<'_>,
) -> (Vec<Tally>, Vec<u64>) {
    let mut regulars = vec![Tally::default(); REGULARS.len()];
    let mut answers = Vec::new();
    let mut asked = 0_u64;
    for second in from..from + seconds {
        let mut answered = 0;
        for millisecond in 0..1000 {
            let elapsed = second * 1000 + millisecond;
            let now = Duration::from_secs(1000) + Duration::from_millis(elapsed.into());
            for (kind, (count, interval)) in REGULARS.into_iter().enumerate() {
                let due = (0..count).filter(|client| (elapsed + client * interval / count) % interval == 0);
                for client in due {
                    let is_answered = server.answers(honest(1000 * kind as u32 + client), now);
                    regulars[kind].add(is_answered);
                    answered += u64::from(is_answered);
                }
            }
            let due = u64::from(millisecond + 1) * u64::from(per_second) / 1000;
            let before = u64::from(millisecond) * u64::from(per_second) / 1000;
            for _ in before..due {
                answered += u64::from(server.answers(flood(asked), now));
                asked += 1;
            }
        }
        answers.push(answered);
    }
    (regulars, answers)
}

fn nobody(_: u64) -> IpAddr {
    honest(0)
}

fn budgeted() -> Server {
    let mut server = Server::new(&format!("[budget]\npackets-per-second = {BUDGET}"));
    // Until everybody is known.
    let (regulars, _) = live(&mut server, 0, 300, 0, &mut nobody);
    assert!(regulars.iter().all(|tally| tally.answered == tally.asked));
    server
}

/// In each second, with some tenths more while it begins.
#[track_caller]
fn ceiling_holds(answers: &[u64]) {
    let (first, rest) = answers.split_at(3);
    assert!(first.iter().all(|&count| count <= BUDGET * 9 / 4), "{first:?}");
    assert!(rest.iter().all(|&count| count <= BUDGET * 11 / 10), "{rest:?}");
    let mean = rest.iter().sum::<u64>() as f64 / rest.len() as f64;
    assert!(mean <= BUDGET as f64 * 1.01, "{mean}");
}

/// Ever new addresses, at three and at thirty times the ceiling.
#[test]
fn made_up_addresses_pass_no_ceiling_and_take_nothing_from_regular_clients() {
    for times in [3, 30] {
        let mut server = budgeted();
        let new = |number: u64| (0x5000_0000 + (number % 1_000_000) as u32).to_be_bytes().into();
        let (regulars, answers) = live(&mut server, 300, 120, BUDGET as u32 * times, &mut { new });
        for (tally, (_, interval)) in regulars.iter().zip(REGULARS) {
            println!(
                "{times} times, every {interval} ms: {:.3} of {}",
                tally.share(),
                tally.asked
            );
            assert!(tally.share() >= 0.95, "every {interval} ms: {tally:?}");
        }
        ceiling_holds(&answers);
        // What is left is given out, not kept.
        assert!(answers.iter().sum::<u64>() > BUDGET * 115, "{answers:?}");
        let (regulars, _) = live(&mut server, 420, 5, 0, &mut nobody);
        assert!(
            regulars.iter().all(|tally| tally.answered == tally.asked),
            "{regulars:?}"
        );
        // Others who are new, too, and at once.
        let (_, answers) = live(&mut server, 425, 3, 200, &mut |number| {
            abuser(number as u32 + 5000)
        });
        assert!(answers.iter().all(|&answers| answers >= 200), "{answers:?}");
    }
}

/// All kinds at once, in any proportion.
#[test]
fn the_ceiling_holds_against_any_mix() {
    const KINDS: u64 = 5;
    let kind_of = |number: u64, kind: u64| -> IpAddr {
        let number = number as u32;
        match kind {
            // Ever new; a few heavy ones; many that ask once in some seconds; some times at once, then never again; and
            // some that are a little too heavy.
            0 => 0x5000_0000 + number,
            1 => 0x6000_0000 + number % 7,
            2 => 0x6100_0000 + number % 3000,
            3 => 0x6200_0000 + number / 12,
            _ => 0x6300_0000 + number % 100,
        }
        .to_be_bytes()
        .into()
    };
    let mut random = Random::new(11);
    for round in 0..12_u32 {
        let mut server = budgeted();
        let shares: Vec<f64> = (0..KINDS)
            .map(|kind| f64::from((round * 7 + kind as u32 * 5) % 11))
            .collect();
        let all: f64 = shares.iter().sum();
        let mut draw = |number: u64| {
            let mut left = 1.0;
            let kind = (0..KINDS - 1).find(|&kind| {
                let share = shares[kind as usize] / all / left;
                left -= shares[kind as usize] / all;
                random.sample(Probability::of(share))
            });
            kind_of(number, kind.unwrap_or(KINDS - 1))
        };
        let (_, answers) = live(&mut server, 300, 40, BUDGET as u32 * (2 + round * 2), &mut draw);
        println!("{round}: {shares:?}: {:?}", &answers[..12]);
        // A quarter of a second's tokens may be taken at once when it begins.
        assert!(
            answers.iter().all(|&count| count <= BUDGET * 13 / 10),
            "{answers:?}"
        );
        let tens = answers.windows(10).map(|ten| ten.iter().sum::<u64>());
        assert!(tens.max() <= Some(BUDGET * 21 / 2), "{answers:?}");
        assert!(
            answers[15..].iter().sum::<u64>() <= BUDGET * 253 / 10,
            "{answers:?}"
        );
        live(&mut server, 340, 5, 0, &mut nobody);
        let (regulars, _) = live(&mut server, 345, 20, 0, &mut nobody);
        assert!(
            regulars.iter().all(|tally| tally.answered == tally.asked),
            "{round}: {regulars:?}"
        );
    }
}
