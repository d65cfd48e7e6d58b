//! Pure. The smear against its formula.

use proptest::prelude::*;

use super::*;
use crate::leap::LeapKind;

/// 2027-01-01 00:00 UTC.
const MIDNIGHT: i64 = 1_798_761_600;
const NANOSECOND: f64 = 1e-9;

fn event(kind: LeapKind) -> LeapEvent {
    LeapEvent {
        midnight: MIDNIGHT,
        kind,
    }
}

fn smear(kind: SmearKind, hours: u8, window: SmearWindow) -> Smear {
    Smear {
        kind,
        hours,
        window,
        mark: Mark::None,
    }
}

fn smears() -> impl Strategy<Value = (LeapEvent, Smear)> {
    let kinds = prop_oneof![Just(SmearKind::Linear), Just(SmearKind::Cosine)];
    let windows = prop_oneof![
        Just(SmearWindow::Around),
        Just(SmearWindow::After),
        Just(SmearWindow::Before)
    ];
    let events = prop_oneof![Just(LeapKind::Insert), Just(LeapKind::Delete)];
    (events, kinds, 1..=48_u8, windows)
        .prop_map(|(of, kind, hours, window)| (event(of), smear(kind, hours, window)))
}

fn at(seconds: f64) -> NtpTimestamp {
    NtpTimestamp::from_unix(MIDNIGHT, 0) + NtpDuration::from_seconds(seconds)
}

/// The formula in a second form: by hand, in seconds from midnight, without the types of this file.
fn formula(kind: LeapKind, smear: &Smear, seconds: f64) -> f64 {
    let (length, sign) = (
        f64::from(smear.hours) * 3600.0,
        if kind == LeapKind::Insert { -1.0 } else { 1.0 },
    );
    let begin = match smear.window {
        SmearWindow::Around => -length / 2.0,
        SmearWindow::After => 0.0,
        SmearWindow::Before => -length,
    };
    let part = ((seconds - begin) / (length - sign)).clamp(0.0, 1.0);
    sign * match smear.kind {
        SmearKind::Linear => part,
        SmearKind::Cosine => (std::f64::consts::FRAC_PI_2 * part).sin().powi(2),
    }
}

#[test]
fn a_million_points_are_within_a_nanosecond_of_the_formula() {
    let all = [
        (
            LeapKind::Insert,
            smear(SmearKind::Linear, 24, SmearWindow::Around),
        ),
        (
            LeapKind::Delete,
            smear(SmearKind::Linear, 24, SmearWindow::Around),
        ),
        (
            LeapKind::Insert,
            smear(SmearKind::Cosine, 20, SmearWindow::Before),
        ),
        (LeapKind::Delete, smear(SmearKind::Cosine, 18, SmearWindow::After)),
    ];
    let mut worst: f64 = 0.0;
    for (kind, smear) in all {
        let event = event(kind);
        for number in 0..250_000_u32 {
            let count = at(f64::from(number) * 0.73 - 91_000.0 + 1e-4 / f64::from(number + 1));
            let seconds = (count - event.midnight()).to_seconds();
            let offset = smear.offset(&event, count).to_seconds();
            worst = worst.max((offset - formula(kind, &smear, seconds)).abs());
        }
    }
    assert!(worst <= NANOSECOND, "{worst:e}");
}

#[test]
fn the_ends_are_exact() {
    for kind in [LeapKind::Insert, LeapKind::Delete] {
        for shape in SmearKind::VARIANTS {
            for window in SmearWindow::VARIANTS {
                for hours in [1, 18, 20, 24, 48] {
                    let (event, smear) = (event(kind), smear(*shape, hours, *window));
                    let (begin, end) = smear.bounds(&event);
                    assert_eq!(smear.offset(&event, begin), NtpDuration::ZERO);
                    assert_eq!(smear.offset(&event, end), kind.shift());
                    assert!(!smear.is_running(&event, begin) && !smear.is_running(&event, end));
                    // The smeared time itself takes as many hours as it says, to the last bit.
                    let length = end + kind.shift() - begin;
                    assert_eq!(length.to_units(), (i64::from(hours) * 3600) << 32);
                }
            }
        }
    }
}

/// As Google has it: from noon to noon, half a second off at midnight, 11.6 ppm.
#[test]
fn the_default_is_that_of_the_large_providers() {
    let (insert, smear) = (event(LeapKind::Insert), Smear::default());
    let off = |seconds| smear.offset_from_utc(&insert, at(seconds)).to_seconds();
    for (seconds, expected) in [
        (-43_201.0, 0.0),
        (-43_200.0, 0.0),
        (-21_600.0, -21_600.0 / 86_401.0),
        (-0.001, -43_199.999 / 86_401.0),
        // 23:59:60, which NTP numbers as 23:59:59 again.
        (0.0, 1.0 - 43_200.0 / 86_401.0),
        (1.0, 1.0 - 43_201.0 / 86_401.0),
        (43_201.0, 0.0),
        (43_202.0, 0.0),
    ] {
        assert!(
            (off(seconds) - expected).abs() < NANOSECOND,
            "{seconds}: {}",
            off(seconds)
        );
    }
    let noon = insert.midnight() - NtpDuration::from_seconds(43_200.0);
    assert_eq!(smear.bounds(&insert).0, noon);
}

#[test]
fn the_mark_is_that_of_ntpd() {
    for (seconds, bytes) in [
        (0.5, [254, 0x20, 0, 0]),
        (-0.5, [254, 0xE0, 0, 0]),
        (0.0, [254, 0, 0, 0]),
        (-1.0 / 4_194_304.0, [254, 0xFF, 0xFF, 0xFF]),
    ] {
        let marked = reference_id(NtpDuration::from_seconds(seconds));
        assert_eq!(marked.to_bytes(), bytes, "{seconds}");
    }
    let time = SmearedTime {
        smear: Smear {
            mark: Mark::ReferenceId,
            ..Smear::default()
        },
        event: event(LeapKind::Insert),
        leapt: false,
    };
    assert_eq!(time.mark(at(-43_200.0)), None);
    assert_eq!(time.mark(at(-43_199.0)).map(|id| id.to_bytes()[0]), Some(254));
    let silent = SmearedTime {
        smear: Smear::default(),
        ..time
    };
    assert_eq!(silent.mark(at(-1.0)), None);
}

#[test]
fn a_served_time_on_either_side_of_the_leap_second_is_the_same_count() {
    for kind in [LeapKind::Insert, LeapKind::Delete] {
        let (event, smear) = (event(kind), Smear::default());
        let [before, after] = [false, true].map(|leapt| SmearedTime { smear, event, leapt });
        let count = at(0.25);
        assert_eq!(before.of(count), after.of(count + kind.shift()));
        assert_eq!(event.count(event.utc(count), true), count);
    }
}

proptest! {
    /// Also over the smallest steps of the count, where only rounding could make it go back.
    #[test]
    fn it_is_monotone_and_continuous(
        (event, smear) in smears(),
        seconds in -180_000.0..180_000.0_f64,
        step in 1_i64..1 << 34,
    ) {
        let (begin, end) = smear.bounds(&event);
        for count in [at(seconds), begin, end, event.happens_at()] {
            for step in [1, 2, 3, step] {
                let step = NtpDuration::from_units(step);
                let [before, after] = [count, count + step]
                    .map(|count| count + smear.offset(&event, count));
                let moved = after - before;
                prop_assert!(moved >= NtpDuration::ZERO);
                // At most 437 ppm, in the middle of a cosine over an hour; and the rounding of both.
                let apart = (moved - step).abs().to_units() as f64;
                prop_assert!(apart <= step.to_units() as f64 * 437e-6 + 2.0, "{apart}");
            }
        }
    }

    /// Two servers that are wrong by no more than their bounds differ by no more than both together.
    ///
    /// It is as much more as the smear's rate is: 12 ppm of them in 24 hours, 440 ppm in the steepest smear.
    #[test]
    fn two_servers_differ_by_no_more_than_their_bounds(
        (event, smear) in smears(),
        seconds in -180_000.0..180_000.0_f64,
        bounds in (0.0..0.5_f64, 0.0..0.5_f64),
        errors in (-1.0..=1.0_f64, -1.0..=1.0_f64),
    ) {
        let served = |bound: f64, error: f64| {
            let count = at(seconds + bound * error);
            count + smear.offset(&event, count)
        };
        let apart = (served(bounds.0, errors.0) - served(bounds.1, errors.1)).abs().to_seconds();
        let steepest = match smear.kind {
            SmearKind::Linear => 1.0,
            SmearKind::Cosine => std::f64::consts::FRAC_PI_2,
        } / (f64::from(smear.hours) * 3600.0 - 1.0);
        let allowed = (bounds.0 + bounds.1) * (1.0 + steepest);
        prop_assert!(apart <= allowed + NANOSECOND, "{apart} {allowed}");
    }

    #[test]
    fn it_stays_between_nothing_and_a_second((event, smear) in smears(), seconds in -180_000.0..180_000.0_f64) {
        let offset = smear.offset(&event, at(seconds)).to_seconds() * event.kind.shift().to_seconds();
        prop_assert!((0.0..=1.0).contains(&offset));
        let from_utc = smear.offset_from_utc(&event, at(seconds)).abs();
        prop_assert!(from_utc <= NtpDuration::SECOND);
    }
}
