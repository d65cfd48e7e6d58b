//! Pure. Tests of the handover: good and bad contents one by one, and properties of any content.

use super::*;
use crate::time::NtpDuration;
use proptest::prelude::*;

const BOOT: Option<&str> = Some("5a0e5f6c-0d1c-4a8e-9b4b-1f0c6f2a3d11");
const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

/// The instant at which the predecessor wrote, 90 minutes after the boot.
fn written() -> ClockReadings {
    ClockReadings::from_unix(
        1_800_000_000,
        0,
        Duration::from_secs(5400),
        Duration::from_secs(9000),
    )
}

/// Returns the readings after all clocks advanced by `by`.
fn later(start: ClockReadings, by: Duration) -> ClockReadings {
    ClockReadings {
        realtime: start.realtime + NtpDuration::from_std(by),
        raw: start.raw + by,
        boot: start.boot + by,
    }
}

fn now() -> ClockReadings {
    later(written(), Duration::from_millis(300))
}

/// A tracked clock, 0.25 s ahead of the host's, that follows three servers.
fn tracked() -> Reference {
    Reference {
        leap: Leap::NoWarning,
        stratum: 3,
        reference_id: ReferenceId::from_bytes([192, 0, 2, 1]),
        root_delay: NtpDuration::from_seconds(0.02),
        root_dispersion: NtpDuration::from_seconds(0.001),
        growth: 2e-6,
        reference_time: written().realtime - NtpDuration::from_seconds(20.0),
        precision: -24,
        clock: ClockModel::Tracked {
            epoch: written().raw - SECOND,
            time: written().realtime + NtpDuration::from_seconds(-0.75),
            rate: -30e-6,
            slew: 500e-6,
            slew_for: Duration::from_secs(20),
        },
        published: written(),
        answers: true,
        epoch: written().raw - SECOND,
        not_after: written().raw + HOUR,
    }
}

/// The host's clock, mirrored from its daemon (stratum 1 with a receiver).
fn mirrored() -> Reference {
    Reference {
        stratum: 1,
        reference_id: ReferenceId::from_bytes(*b"GPS\0"),
        root_delay: NtpDuration::ZERO,
        growth: 15e-6,
        clock: ClockModel::Host,
        ..tracked()
    }
}

/// The host's clock as a local reference.
fn local() -> Reference {
    Reference {
        stratum: 10,
        reference_id: ReferenceId::LOCAL,
        growth: 0.0,
        not_after: Duration::MAX,
        ..mirrored()
    }
}

fn taken(left: &Reference) -> Result<Option<Reference>, HandoverRefusal> {
    read(&write(left, BOOT), now(), BOOT)
}

#[test]
fn what_is_good_is_taken_unchanged() {
    for good in [tracked(), mirrored(), local()] {
        assert_eq!(taken(&good), Ok(Some(good)));
        for boot in [None, BOOT] {
            assert_eq!(read(&write(&good, boot), now(), None), Ok(Some(good)));
            assert_eq!(read(&write(&good, None), now(), boot), Ok(Some(good)));
        }
        let unknown = Reference {
            reference_time: NtpTimestamp::ZERO,
            ..good
        };
        let is_client = good == tracked();
        assert_eq!(
            taken(&unknown).is_err(),
            is_client,
            "an unknown reference time: {good:?}"
        );
    }
}

#[test]
fn no_time_is_nothing_to_hand_over() {
    let reference = Reference::unsynchronized(ReferenceId::INIT, -20, ClockModel::Host, written());
    assert_eq!(write(&reference, BOOT), b"");
    assert_eq!(read(b"", now(), BOOT), Ok(None));
}

/// A change that makes a reference inadmissible, and the part that the refusal names.
type Bad = (fn(&mut Reference), &'static str);

/// Changes for any reference.
const BAD: [Bad; 19] = [
    (|bad| bad.leap = Leap::Unsynchronized, "leap indicator"),
    (|bad| bad.answers = false, "leap indicator"),
    (|bad| bad.stratum = 0, "stratum"),
    (|bad| bad.stratum = 16, "stratum"),
    (|bad| bad.stratum = 255, "stratum"),
    (|bad| bad.precision = -128, "precision"),
    (|bad| bad.precision = 1, "precision"),
    (|bad| bad.growth = f64::NAN, "growth"),
    (|bad| bad.growth = -1.0, "growth"),
    (|bad| bad.growth = f64::INFINITY, "growth"),
    (|bad| bad.root_delay = NtpDuration::from_units(-1), "root delay"),
    (
        |bad| bad.root_dispersion = NtpDuration::from_units(-1),
        "root dispersion",
    ),
    (
        |bad| bad.root_dispersion = NtpDuration::from_units(-1 << 60),
        "root dispersion",
    ),
    (|bad| bad.root_dispersion = NtpDuration::from_seconds(16.1), "end"),
    (|bad| bad.root_delay = NtpDuration::MAX, "end"),
    (|bad| bad.epoch = now().raw + HOUR, "epoch"),
    (|bad| bad.epoch = Duration::MAX, "epoch"),
    (|bad| bad.not_after = now().raw - SECOND, "end"),
    (
        |bad| bad.reference_time = now().realtime + NtpDuration::from_seconds(3.0),
        "reference time",
    ),
];

/// Changes for a tracked clock.
const BAD_TRACKED: [Bad; 20] = [
    (|bad| bad.stratum = 1, "stratum"),
    (|bad| bad.growth = 0.0, "growth"),
    (|bad| bad.growth = 0.9e-6, "growth"),
    (|bad| bad.root_delay = NtpDuration::ZERO, "root delay"),
    (
        |bad| bad.root_dispersion = NtpDuration::from_units(1),
        "root dispersion",
    ),
    (|bad| bad.not_after = Duration::MAX, "end"),
    // 16 s of error are reached after 92 days.
    (
        |bad| bad.not_after = bad.epoch + Duration::from_secs(9_000_000),
        "end",
    ),
    (|bad| bad.epoch = Duration::ZERO, ""),
    (|bad| set(bad, |_, rate, _, _| *rate = f64::NAN), "clock's rate"),
    (
        |bad| set(bad, |_, rate, _, _| *rate = f64::INFINITY),
        "clock's rate",
    ),
    (|bad| set(bad, |_, rate, _, _| *rate = 1e300), "clock's rate"),
    (|bad| set(bad, |_, rate, _, _| *rate = -10.1e-3), "clock's rate"),
    (|bad| set(bad, |_, _, slew, _| *slew = f64::NAN), "clock's slew"),
    (|bad| set(bad, |_, _, slew, _| *slew = -501e-6), "clock's slew"),
    (
        |bad| {
            set(bad, |_, _, slew, length| {
                (*slew, *length) = (f64::NAN, 1000 * SECOND)
            })
        },
        "clock's slew",
    ),
    (
        |bad| set(bad, |_, _, _, length| *length = 258 * SECOND),
        "clock's slew",
    ),
    (
        |bad| set(bad, |_, _, _, length| *length = Duration::MAX),
        "clock's slew",
    ),
    (
        |bad| set(bad, |epoch, _, _, _| *epoch = now().raw + SECOND),
        "clock's epoch",
    ),
    (
        |bad| set(bad, |epoch, _, _, _| *epoch = Duration::MAX),
        "clock's epoch",
    ),
    (
        |bad| set(bad, |epoch, _, _, _| *epoch = now().raw),
        "clock's epoch",
    ),
];

/// Changes for the host's clock.
const BAD_HOST: [Bad; 3] = [
    (|bad| bad.growth = 0.0, "growth"),
    (|bad| bad.growth = 14e-6, "growth"),
    (|bad| bad.not_after = Duration::MAX, "end"),
];

/// Changes for a local reference.
const BAD_LOCAL: [Bad; 3] = [
    (|bad| bad.growth = 1e-6, "growth"),
    (|bad| bad.root_delay = NtpDuration::SECOND, "end"),
    (|bad| bad.reference_id = ReferenceId::INIT, "end"),
];

fn set(bad: &mut Reference, change: fn(&mut Duration, &mut f64, &mut f64, &mut Duration)) {
    let ClockModel::Tracked {
        epoch,
        rate,
        slew,
        slew_for,
        ..
    } = &mut bad.clock
    else {
        unreachable!("only asked of tracked clocks");
    };
    change(epoch, rate, slew, slew_for);
}

#[test]
fn what_no_ntpfront_announces_is_refused_with_its_name() {
    let cases: [(Reference, &[Bad]); 6] = [
        (tracked(), &BAD),
        (mirrored(), &BAD),
        (tracked(), &BAD_TRACKED),
        (mirrored(), &BAD_HOST),
        (local(), &BAD_LOCAL),
        (local(), &BAD[..10]),
    ];
    for (good, all) in cases {
        for (number, (spoil, what)) in all.iter().enumerate() {
            let mut bad = good;
            spoil(&mut bad);
            // `write` never writes a reference without a usable time: only another program does.
            let bytes = if bad.is_usable() {
                write(&bad, BOOT)
            } else {
                sealed(&content(&good).replace("\"leap\":0", "\"leap\":3"))
            };
            let found = read(&bytes, now(), BOOT);
            let wanted = if what.is_empty() {
                Ok(Some(bad))
            } else {
                Err(HandoverRefusal::OutOfRange(what))
            };
            assert_eq!(found, wanted, "number {number} of {good:?}");
        }
    }
}

/// The content after the first line.
fn content(reference: &Reference) -> String {
    let bytes = write(reference, BOOT);
    String::from_utf8(unsealed(&bytes).unwrap().to_vec()).unwrap()
}

#[test]
fn what_is_not_ours_or_not_whole_is_refused() {
    let good = write(&tracked(), BOOT);
    let text = content(&tracked());
    let without_end = text.strip_suffix('}').unwrap();
    for (bytes, wanted) in [
        (text.clone().into_bytes(), HandoverRefusal::Unknown),
        (b"junk".to_vec(), HandoverRefusal::Unknown),
        (vec![0; 5000], HandoverRefusal::Unknown),
        (vec![b'['; 4000], HandoverRefusal::Unknown),
        ([&good[..], &vec![0; 4000][..]].concat(), HandoverRefusal::Unknown),
        ([&good[..], b"\0"].concat(), HandoverRefusal::Torn),
        (good[..30].to_vec(), HandoverRefusal::Torn),
        (good[..good.len() - 1].to_vec(), HandoverRefusal::Torn),
        (sealed(""), HandoverRefusal::Unreadable),
        (sealed(&"[".repeat(3000)), HandoverRefusal::Unreadable),
        (
            sealed(&text.replace("stratum", "strata")),
            HandoverRefusal::Unreadable,
        ),
        (
            sealed(&text.replace("\"stratum\":3", "\"stratum\":256")),
            HandoverRefusal::Unreadable,
        ),
        (
            sealed(&text.replace("\"stratum\":3", "\"stratum\":-3")),
            HandoverRefusal::Unreadable,
        ),
        (
            sealed(&format!("{without_end},\"more\":1}}")),
            HandoverRefusal::Unreadable,
        ),
        (
            sealed(&text.replace("\"leap\":0", "\"leap\":7")),
            HandoverRefusal::OutOfRange("leap indicator"),
        ),
        (
            sealed(&text.replace("\"leap\":0", "\"leap\":4")),
            HandoverRefusal::OutOfRange("leap indicator"),
        ),
    ] {
        assert_eq!(
            read(&bytes, now(), BOOT),
            Err(wanted),
            "{:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
}

#[test]
fn another_boot_and_another_moment_are_refused() {
    let left = write(&tracked(), BOOT);
    assert_eq!(
        read(&left, now(), Some("another")),
        Err(HandoverRefusal::OtherBoot)
    );
    let away = |realtime: f64, raw: f64, boot: f64| {
        let by = |start: Duration, seconds: f64| Duration::from_secs_f64(start.as_secs_f64() + seconds);
        ClockReadings {
            realtime: written().realtime + NtpDuration::from_seconds(realtime),
            raw: by(written().raw, raw),
            boot: by(written().boot, boot),
        }
    };
    for (now, refusal) in [
        (away(0.0, 0.0, 0.0), None),
        (away(4.9, 4.9, 4.9), None),
        (away(1.05, 1.0, 1.05), None),
        (away(5.1, 5.1, 5.1), Some(HandoverRefusal::Unwatched)),
        (away(-1.0, -1.0, -1.0), Some(HandoverRefusal::Unwatched)),
        // The host slept.
        (away(61.0, 1.0, 61.0), Some(HandoverRefusal::Jumped)),
        // Its clock was stepped, or this is another boot at about the same age.
        (away(3601.0, 1.0, 1.0), Some(HandoverRefusal::Jumped)),
        (away(-9.0, 1.0, 1.0), Some(HandoverRefusal::Jumped)),
        (away(1.0, 1.0, 9.0), Some(HandoverRefusal::Jumped)),
        (away(1.0, 1.0, 0.0), Some(HandoverRefusal::Jumped)),
    ] {
        for good in [tracked(), mirrored(), local()] {
            let found = read(&write(&good, BOOT), now, BOOT);
            assert_eq!(found.err(), refusal, "{now:?}");
        }
    }
}

/// Readings of a counter: some near the present, some anywhere.
fn reading() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (-2000..2000_i64).prop_map(|millis| {
            let start = i64::try_from(written().raw.as_millis()).unwrap();
            Duration::from_millis(u64::try_from(start + millis).unwrap())
        }),
        (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos)),
        Just(Duration::MAX),
        Just(Duration::ZERO),
    ]
}

/// Fractions: some that are in range, some from any bits.
fn fraction() -> impl Strategy<Value = f64> {
    prop_oneof![-2e-3..2e-3_f64, any::<u64>().prop_map(f64::from_bits), Just(0.0)]
}

/// Lengths: some that are in range, some from any bits.
fn units() -> impl Strategy<Value = NtpDuration> {
    prop_oneof![-(1_i64 << 30)..1 << 34, any::<i64>()].prop_map(NtpDuration::from_units)
}

fn instant() -> impl Strategy<Value = NtpTimestamp> {
    prop_oneof![
        (-5.0..5.0_f64).prop_map(|by| written().realtime + NtpDuration::from_seconds(by)),
        any::<u64>().prop_map(NtpTimestamp::from_bits),
    ]
}

fn clock() -> impl Strategy<Value = ClockModel> {
    let tracked = (reading(), instant(), fraction(), fraction(), reading()).prop_map(
        |(epoch, time, rate, slew, slew_for)| ClockModel::Tracked {
            epoch,
            time,
            rate,
            slew,
            slew_for,
        },
    );
    let short = (instant(), fraction(), -6e-4..6e-4, 0..300_u64).prop_map(|(time, rate, slew, seconds)| {
        ClockModel::Tracked {
            epoch: written().raw,
            time,
            rate,
            slew,
            slew_for: Duration::from_secs(seconds),
        }
    });
    prop_oneof![Just(ClockModel::Host), tracked, short]
}

/// A good reference in which some parts, or all, are replaced by any values.
fn any_reference() -> impl Strategy<Value = Reference> {
    let good = prop_oneof![Just(tracked()), Just(mirrored()), Just(local())];
    let header = (prop_oneof![1..16_u8, any::<u8>()], any::<[u8; 4]>(), -40..3_i8);
    let errors = (units(), units(), fraction(), instant());
    let times = (instant(), reading(), reading(), reading(), reading());
    let replaced = (any::<[bool; 12]>(), any::<[bool; 12]>(), any::<bool>());
    (good, header, errors, clock(), times, replaced).prop_map(
        |(good, header, errors, clock, times, replaced)| {
            let (one, other, all) = replaced;
            let mut parts = one
                .into_iter()
                .zip(other)
                .map(|(one, other)| all || (one && other));
            let mut is_replaced = || parts.next().unwrap();
            let mut reference = good;
            let fields: [&mut dyn FnMut(&mut Reference); 12] = [
                &mut |reference| reference.stratum = header.0,
                &mut |reference| reference.reference_id = ReferenceId::from_bytes(header.1),
                &mut |reference| reference.precision = header.2,
                &mut |reference| reference.root_delay = errors.0,
                &mut |reference| reference.root_dispersion = errors.1,
                &mut |reference| reference.growth = errors.2,
                &mut |reference| reference.reference_time = errors.3,
                &mut |reference| reference.clock = clock,
                &mut |reference| reference.published.realtime = times.0,
                &mut |reference| reference.published.raw = times.1,
                &mut |reference| reference.epoch = times.3,
                &mut |reference| reference.not_after = times.4,
            ];
            for field in fields {
                if is_replaced() {
                    field(&mut reference);
                }
            }
            reference
        },
    )
}

/// Returns whether a reference that was read keeps the ranges, checked independently of `admissible`.
fn is_in_range(taken: &Reference, now: ClockReadings) -> bool {
    let distance = taken.root_distance_at(now.raw).to_seconds();
    let sane = taken.is_usable()
        && taken.answers
        && (1..=15).contains(&taken.stratum)
        && (-32..=0).contains(&taken.precision)
        && (0.0..=16.0).contains(&distance)
        && taken.root_delay.to_seconds() >= 0.0
        && taken.root_dispersion.to_seconds() >= 0.0
        && (0.0..=1.0).contains(&taken.growth)
        && taken.epoch <= now.raw
        && taken.not_after >= now.raw;
    let steady = |seconds: u64| {
        // A second later the clock reads a second more, within 1.05 %.
        let [one, two] = [seconds, seconds + 1].map(|seconds| later(now, Duration::from_secs(seconds)));
        let passed = (taken.clock.served(two) - taken.clock.served(one)).to_seconds();
        (passed - 1.0).abs() <= 10.51e-3
    };
    sane && steady(0) && steady(100)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn whatever_is_given_is_refused_or_in_range(reference in any_reference()) {
        if let Ok(Some(taken)) = read(&write(&reference, BOOT), now(), BOOT) {
            prop_assert_eq!(taken, reference);
            prop_assert!(is_in_range(&taken, now()), "{:?}", taken);
        }
    }

    #[test]
    fn what_is_changed_by_accident_is_not_taken(at in 0..600_usize, bit in 0..8_u8, cut in 1..600_usize, bytes in proptest::collection::vec(any::<u8>(), 1..100)) {
        let left = write(&tracked(), BOOT);
        let mut changed = left.clone();
        let at = at % changed.len();
        changed[at] ^= 1 << bit;
        prop_assert!(read(&changed, now(), BOOT).is_err());
        let cut = left.len() - 1 - cut % (left.len() - 1);
        prop_assert!(read(&left[..cut], now(), BOOT).is_err());
        prop_assert!(read(&bytes, now(), BOOT).is_err());
        // Any content in the right form.
        prop_assert!(read(&sealed(&String::from_utf8_lossy(&bytes)), now(), BOOT).is_err());
    }
}

/// The property is meaningful only if enough of the generated references are admissible.
#[test]
fn some_of_any_references_are_taken() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let strategy = any_reference();
    let taken = (0..3000).filter(|_| {
        let reference = strategy.new_tree(&mut runner).unwrap().current();
        taken(&reference).is_ok()
    });
    let taken = taken.count();
    assert!((20..2900).contains(&taken), "{taken} of 3000");
}
