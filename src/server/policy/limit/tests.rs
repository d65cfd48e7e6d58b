//! Pure. Tests of the limit per client.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn limit() -> RateLimit {
    RateLimit {
        mode: RuleMode::On,
        client: Bucket {
            interval: SECOND,
            burst: 8,
            ipv4_prefix: 32,
            ipv6_prefix: 64,
        },
        wide: None,
        leak: Probability::NONE,
        kiss: Probability::NONE,
        clients: 1024,
    }
}

/// A worker's memory, and the dice.
struct TestClients(Clients, Random);

impl TestClients {
    fn new(clients: u32) -> Self {
        Self(Clients::new(clients, [1, 2]), Random::new(3))
    }

    fn ask(&mut self, limit: &RateLimit, source: &str, now: Duration) -> Limited {
        self.ask_as(limit, source.parse().unwrap(), now)
    }

    fn ask_as(&mut self, limit: &RateLimit, source: IpAddr, now: Duration) -> Limited {
        self.ask_of(RequestClass::Plain, limit, source, now)
    }

    fn ask_of(&mut self, class: RequestClass, limit: &RateLimit, source: IpAddr, now: Duration) -> Limited {
        let asked = RequestContext {
            source,
            class,
            now,
            budget: RuleMode::Off,
            allowance: &Allowance::default(),
        };
        self.0.decide(limit, &asked, &mut self.1).0
    }
}

#[test]
fn a_burst_passes_and_then_one_an_interval() {
    let (mut table, limit) = (TestClients::new(4), limit());
    let start = 1000 * SECOND;
    let answers = |table: &mut TestClients, at: Duration| {
        (0..20)
            .filter(|_| table.ask(&limit, "192.0.2.1", at) == Limited::Within)
            .count()
    };
    assert_eq!(answers(&mut table, start), 8);
    assert_eq!(answers(&mut table, start + SECOND / 2), 0);
    assert_eq!(answers(&mut table, start + SECOND), 1);
    assert_eq!(answers(&mut table, start + 4 * SECOND), 3);
    assert_eq!(answers(&mut table, start + 1000 * SECOND), 8);
}

#[test]
fn those_of_one_prefix_share_a_bucket_and_others_do_not() {
    let (mut table, limit) = (TestClients::new(1024), limit());
    for source in ["2001:db8::1", "2001:db8::ffff:ffff"] {
        (0..4).for_each(|_| assert_eq!(table.ask(&limit, source, SECOND), Limited::Within));
    }
    assert_eq!(table.ask(&limit, "2001:db8::2", SECOND), Limited::Refused);
    assert_eq!(table.ask(&limit, "2001:db8:0:1::2", SECOND), Limited::Within);
    for last in 0..=255 {
        let source = IpAddr::from([192, 0, 2, last]);
        assert_eq!(table.ask_as(&limit, source, SECOND), Limited::Within);
    }
}

#[test]
fn a_wider_prefix_has_a_bucket_of_its_own() {
    let limit = RateLimit {
        wide: Some(Bucket {
            burst: 100,
            ipv4_prefix: 24,
            ..limit().client
        }),
        ..limit()
    };
    let mut table = TestClients::new(1024);
    let mut answered = |net: u8| {
        let sources = (0..=255).map(|last| IpAddr::from([192, 0, net, last]));
        sources
            .filter(|source| table.ask_as(&limit, *source, SECOND) == Limited::Within)
            .count()
    };
    assert_eq!([answered(2), answered(3)], [100, 100]);
}

/// Neither that of its own address nor that of the wider prefix.
#[test]
fn no_class_of_requests_takes_the_tokens_of_another() {
    let wide = Bucket {
        ipv4_prefix: 24,
        ..limit().client
    };
    let limit = RateLimit {
        wide: Some(wide),
        ..limit()
    };
    let classes = [
        RequestClass::Plain,
        RequestClass::Authenticated,
        RequestClass::Unauthenticated,
    ];
    let source = IpAddr::from([192, 0, 2, 1]);
    let mut table = TestClients::new(1024);
    for class in classes {
        let answered = (0..100).filter(|_| table.ask_of(class, &limit, source, SECOND) == Limited::Within);
        assert_eq!(answered.count(), 8, "{class:?}");
        assert_eq!(
            class.salt() % 2,
            0,
            "a hash could become 0, which is a free place"
        );
    }
}

#[test]
fn made_up_addresses_do_not_wash_a_heavy_client_out() {
    let (mut table, limit) = (TestClients::new(1024), limit());
    let heavy: IpAddr = "192.0.2.1".parse().unwrap();
    let mut answered = 0;
    for round in 0..100_u32 {
        let now = 100 * SECOND + SECOND / 100 * round;
        answered += u32::from(table.ask_as(&limit, heavy, now) == Limited::Within);
        for number in 0..1000 {
            let source = IpAddr::from((round << 16 | number).to_be_bytes());
            table.ask_as(&limit, source, now);
        }
    }
    // Before it had asked often enough to be known as heavy, it was forgotten once or twice.
    assert!((8..=16).contains(&answered), "{answered}");
}

#[test]
fn a_share_is_leaked_and_a_share_of_the_rest_kissed() {
    let limit = RateLimit {
        leak: Probability::of(0.25),
        kiss: Probability::of(0.5),
        ..limit()
    };
    let mut table = TestClients::new(4);
    let mut counts = [0; 4];
    for _ in 0..10_008 {
        let at = match table.ask(&limit, "192.0.2.1", SECOND) {
            Limited::Within => 0,
            Limited::Leaked => 1,
            Limited::Kissed => 2,
            Limited::Refused => 3,
            Limited::RetriesWhenDropped => panic!("it asks at once whatever we do"),
        };
        counts[at] += 1;
    }
    let [within, leaked, kissed, refused] = counts;
    assert_eq!(within, 8);
    assert!((2300..2700).contains(&leaked), "{counts:?}");
    assert!((3500..4000).contains(&kissed), "{counts:?}");
    assert!((3500..4000).contains(&refused), "{counts:?}");
}

/// Counts the answers among the last 400 of 500 requests.
///
/// A request is sent `patient` seconds after an answer, and `retry` seconds after silence.
fn answered_late(limit: &RateLimit, patient: f64, retry: f64) -> usize {
    let mut table = TestClients::new(4);
    let mut now = 1000.0;
    let mut answers = Vec::new();
    for _ in 0..500 {
        let limited = table.ask(limit, "192.0.2.1", Duration::from_secs_f64(now));
        answers.push(limited != Limited::Refused);
        now += if limited == Limited::Refused {
            retry
        } else {
            patient
        };
    }
    answers.iter().skip(100).filter(|answered| **answered).count()
}

#[test]
fn who_asks_harder_when_not_answered_is_answered() {
    let slow = RateLimit {
        client: Bucket {
            interval: 8 * SECOND,
            ..limit().client
        },
        ..limit()
    };
    // Silence would cost eight requests for each that it saves.
    assert_eq!(answered_late(&slow, 4.0, 0.5), 400);
    // A client that does not retry is limited, and one that asks too often in any case.
    assert!(answered_late(&slow, 4.0, 4.0) < 210);
    assert!(answered_late(&slow, 0.9, 0.1) < 50);
}

#[test]
fn the_poll_of_a_kiss_is_rounded_up() {
    for (interval, poll) in [(1, 0), (1000, 0), (1001, 1), (8000, 3), (8001, 4), (64_000, 6)] {
        let client = Bucket {
            interval: Duration::from_millis(interval),
            ..limit().client
        };
        assert_eq!(RateLimit { client, ..limit() }.poll(), poll, "{interval} ms");
    }
}

#[test]
fn no_room_is_no_limit() {
    let mut table = TestClients::new(0);
    assert!((0..100).all(|_| table.ask(&limit(), "192.0.2.1", SECOND) == Limited::Within));
    assert_eq!(table.0.memory(), 0);
    assert_eq!(TestClients::new(65_536).0.memory(), 65_536 * 32);
}
