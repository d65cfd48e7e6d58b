//! Pure. Questions and replies of one association in interleaved mode, one after another.

use super::*;
use crate::time::ClockReadings;
use crate::wire::Mode;
use proptest::prelude::*;
use std::time::Duration;

/// A made-up upstream: how long it says that it holds replies, and how long it does.
#[derive(Clone, Copy)]
struct ServerModel {
    interleaves: bool,
    /// The receive timestamp and the true transmit timestamp of its last reply.
    last: Option<(NtpTimestamp, NtpTimestamp)>,
}

const SAID: i64 = 1000;
const TRUE: i64 = 9000;
/// The time from the question to the server, and from there to the answer.
const PATH: i64 = 50_000;

fn at(units: i64) -> NtpTimestamp {
    NtpTimestamp::from_bits(units.cast_unsigned())
}

fn raw(units: i64) -> Duration {
    NtpDuration::from_units(units).to_std().unwrap()
}

impl ServerModel {
    /// The reply to a question that comes at `now`.
    fn reply(&mut self, question: &Header, now: i64) -> Header {
        let known = self
            .last
            .filter(|(received, _)| self.interleaves && *received == question.origin_timestamp);
        let basic = Header {
            mode: Mode::Server,
            stratum: 1,
            origin_timestamp: question.transmit_timestamp,
            receive_timestamp: at(now),
            transmit_timestamp: at(now + SAID),
            ..*question
        };
        self.last = Some((at(now), at(now + TRUE)));
        match known {
            Some((_, sent)) if question.receive_timestamp != question.transmit_timestamp => Header {
                origin_timestamp: question.receive_timestamp,
                transmit_timestamp: sent,
                ..basic
            },
            Some(_) | None => basic,
        }
    }
}

/// Asks once, at `now`; `accepts` says whether the reply is a good one. Returns the question and what was read.
fn ask(
    association: &mut InterleavedAssociation,
    server: &mut ServerModel,
    mode: InterleavedQuestions,
    now: i64,
    accepts: bool,
) -> (Header, ReplyReading) {
    let (question, nonces) = association.question(mode, [at(now + 7), at(now + 8)]);
    let reply = server.reply(&question, now + PATH);
    assert!(nonces.have(reply.origin_timestamp));
    let exchange = Exchange {
        nonce: nonces.transmit,
        sent: raw(now),
        arrived: raw(now + 2 * PATH + TRUE),
    };
    let read = association.read(reply, &exchange);
    if accepts {
        association.accept(&read, &exchange);
    } else {
        association.unanswered();
    }
    (question, read)
}

const STEP: i64 = 1 << 36;

//= RFC 9769 §2 client-times
//= RFC 9769 §6 leak
#[test]
fn a_reply_corrects_the_one_before_it() {
    let mut association = InterleavedAssociation::default();
    let mut server = ServerModel {
        interleaves: true,
        last: None,
    };
    let (question, read) = ask(
        &mut association,
        &mut server,
        InterleavedQuestions::Auto,
        STEP,
        true,
    );
    assert_eq!(question, Header::request(at(STEP + 7)));
    assert_eq!(read.corrected, None);
    for number in 2..20 {
        let now = number * STEP;
        let (question, read) = ask(
            &mut association,
            &mut server,
            InterleavedQuestions::Auto,
            now,
            true,
        );
        // No other of our timestamps is in it.
        let expected = Header {
            origin_timestamp: at(now - STEP + PATH),
            receive_timestamp: at(now + 8),
            ..Header::request(at(now + 7))
        };
        assert_eq!(question, expected);
        assert_eq!(read.header.receive_timestamp, at(now + PATH));
        assert_eq!(read.header.transmit_timestamp, at(now + PATH + TRUE));
        let (header, exchange) = read.corrected.unwrap();
        assert_eq!(header.receive_timestamp, at(now - STEP + PATH));
        assert_eq!(header.transmit_timestamp, at(now - STEP + PATH + TRUE));
        assert_eq!(exchange.sent, raw(now - STEP));
        assert!(association.status().is_interleaved);
    }
}

/// An assumed time of leaving is never later than the true one, unless none of the last nine was held as shortly.
#[test]
fn until_it_is_corrected_a_reply_counts_as_held_shortly() {
    let mut association = InterleavedAssociation::default();
    let mut server = ServerModel {
        interleaves: true,
        last: None,
    };
    let times = [
        900, 4000, 300, 8000, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 700,
    ];
    for (number, time) in times.into_iter().enumerate() {
        let now = (i64::try_from(number).unwrap() + 1) * STEP;
        let (_, read) = ask(
            &mut association,
            &mut server,
            InterleavedQuestions::Auto,
            now,
            true,
        );
        server.last = server
            .last
            .map(|(received, _)| (received, received + NtpDuration::from_units(time)));
        let held = (read.header.transmit_timestamp - read.header.receive_timestamp).to_units();
        let known = &times[number.saturating_sub(9)..number];
        assert_eq!(held, known.iter().copied().min().unwrap_or(SAID), "{number}");
        let beyond =
            known.iter().map(|time| time - held).sum::<i64>() / i64::try_from(known.len().max(1)).unwrap();
        let assumed = read
            .assumed
            .map(|assumed| (assumed.time.to_units(), assumed.beyond.to_units()));
        assert_eq!(assumed, (number > 0).then_some((held, beyond)), "{number}");
    }
}

//= RFC 9769 §2 client-limit
#[test]
fn an_upstream_without_the_mode_is_asked_in_basic_mode_and_tried_again_much_later() {
    for (mode, expected) in [
        (InterleavedQuestions::Auto, 24),
        (InterleavedQuestions::On, 199),
        (InterleavedQuestions::Off, 0),
    ] {
        let mut association = InterleavedAssociation::default();
        let mut server = ServerModel {
            interleaves: false,
            last: None,
        };
        let questions = (1..=200).map(|number| {
            let (question, read) = ask(&mut association, &mut server, mode, number * STEP, true);
            assert_eq!(read.corrected, None);
            question
        });
        let interleaved = questions.filter(|question| !question.origin_timestamp.is_zero());
        assert_eq!(interleaved.count(), expected, "{mode:?}");
        assert!(!association.status().is_interleaved);
    }
}

//= RFC 9769 §2 client-invalid
//= RFC 9769 §2 client-limit
#[test]
fn what_is_not_good_changes_nothing_and_is_not_echoed_for_ever() {
    let mut association = InterleavedAssociation::default();
    let mut server = ServerModel {
        interleaves: true,
        last: None,
    };
    ask(
        &mut association,
        &mut server,
        InterleavedQuestions::Auto,
        STEP,
        true,
    );
    let good = server.last.unwrap().0;
    for number in 2..=5 {
        let (question, _) = ask(
            &mut association,
            &mut server,
            InterleavedQuestions::Auto,
            number * STEP,
            false,
        );
        assert_eq!(question.origin_timestamp, good, "{number}");
    }
    let (question, _) = ask(
        &mut association,
        &mut server,
        InterleavedQuestions::Auto,
        6 * STEP,
        true,
    );
    assert!(question.origin_timestamp.is_zero());
    let (_, read) = ask(
        &mut association,
        &mut server,
        InterleavedQuestions::Auto,
        7 * STEP,
        true,
    );
    assert!(read.corrected.is_some());
}

#[test]
fn a_time_at_which_the_reply_can_not_have_left_corrects_nothing() {
    for (sent, is_possible) in [
        (STEP + PATH - 1, false),
        (STEP + PATH, true),
        (STEP + 4 * PATH, false),
        (STEP + 3 * PATH, true),
        (3 * STEP, false),
        (0, false),
    ] {
        let mut association = InterleavedAssociation::default();
        let mut server = ServerModel {
            interleaves: true,
            last: None,
        };
        ask(
            &mut association,
            &mut server,
            InterleavedQuestions::Auto,
            STEP,
            true,
        );
        server.last = server.last.map(|(received, _)| (received, at(sent)));
        let (_, read) = ask(
            &mut association,
            &mut server,
            InterleavedQuestions::Auto,
            2 * STEP,
            true,
        );
        assert_eq!(read.corrected.is_some(), is_possible, "{sent}");
        let held = read.header.transmit_timestamp - read.header.receive_timestamp;
        assert!((0..=2 * PATH + TRUE).contains(&held.to_units()), "{held:?}");
    }
}

//= RFC 9769 §2 client-bogus
#[test]
fn only_a_nonce_of_the_question_makes_a_reply() {
    let both = QuestionNonces {
        transmit: at(7),
        receive: Some(at(8)),
    };
    for (origin, of_both, of_basic) in [
        (7, true, true),
        (8, true, false),
        (9, false, false),
        (0, false, false),
    ] {
        assert_eq!(both.have(at(origin)), of_both, "{origin}");
        assert_eq!(QuestionNonces::from(at(7)).have(at(origin)), of_basic, "{origin}");
    }
}

#[test]
fn the_usual_correction_follows_the_newest() {
    let mut association = InterleavedAssociation::default();
    association.corrected(NtpDuration::from_units(-800));
    assert_eq!(association.status().correction, NtpDuration::from_units(800));
    association.corrected(NtpDuration::from_units(1600));
    assert_eq!(association.status().correction, NtpDuration::from_units(900));
    assert_eq!(association.status().corrected, 2);
}

proptest! {
    /// Half of the delay bounds the error, however long a reply was held, and however the ways differ.
    ///
    /// It does so as long as the holding time is assumed, and afterwards.
    #[test]
    fn an_uncorrected_sample_is_no_more_certain_than_it_is_true(
        times in prop::collection::vec((0..100_000_000_i64, 0..50_000_000_i64, 0..50_000_000_i64), 2..20),
    ) {
        let mut association = InterleavedAssociation::default();
        let scale = Timescale::new(ClockReadings { realtime: at(0), raw: Duration::ZERO, boot: Duration::ZERO });
        let mut last: Option<(i64, i64)> = None;
        for (number, (held, out, back)) in (1..).zip(times) {
            let now = number * STEP;
            let (_, nonces) = association.question(InterleavedQuestions::Auto, [at(now + 7), at(now + 8)]);
            let received = now + out;
            let header = Header {
                mode: Mode::Server,
                stratum: 1,
                precision: -32,
                origin_timestamp: nonces.receive.unwrap_or(nonces.transmit),
                receive_timestamp: at(received),
                transmit_timestamp: last.map_or(at(received + held), |(received, held)| at(received + held)),
                ..Header::request(nonces.transmit)
            };
            let exchange = Exchange { nonce: nonces.transmit, sent: raw(now), arrived: raw(received + held + back) };
            let read = association.read(header, &exchange);
            for (what, sample) in [
                ("new", read.sample(&exchange, &scale, -32)),
                ("corrected", read.corrected.map_or(read.sample(&exchange, &scale, -32), |(header, exchange)| measure(&header, &exchange, &scale, -32))),
            ] {
                // Rounding to nanoseconds, of both times.
                let bound = sample.delay.half() + NtpDuration::from_seconds(3e-9);
                prop_assert!(sample.offset.abs() <= bound, "{what}, {number}: {sample:?}");
            }
            association.accept(&read, &exchange);
            last = Some((received, held));
        }
    }

    //= RFC 9769 §6 random
    #[test]
    fn nonces_are_random_in_all_bits_and_differ(first: u64, second: u64) {
        let mut association = InterleavedAssociation::default();
        let mut server = ServerModel { interleaves: true, last: None };
        ask(&mut association, &mut server, InterleavedQuestions::Auto, STEP, true);
        let random = [first, second].map(NtpTimestamp::from_bits);
        let (question, nonces) = association.question(InterleavedQuestions::Auto, random);
        prop_assert_eq!(question.transmit_timestamp, random[0]);
        prop_assert_eq!(nonces.transmit, random[0]);
        match nonces.receive {
            Some(receive) => {
                prop_assert_eq!((receive, question.receive_timestamp), (random[1], random[1]));
                prop_assert_ne!(receive, nonces.transmit);
            }
            None => prop_assert!(first == second || second == 0),
        }
    }
}
