//! Pure. Tests of the clock filter: sample by sample, and as properties.

use super::*;
use proptest::prelude::*;

fn sample(at: f64, offset: f64, delay: f64) -> Sample {
    Sample {
        offset: NtpDuration::from_seconds(offset),
        delay: NtpDuration::from_seconds(delay),
        network_delay: NtpDuration::from_seconds(delay),
        dispersion: NtpDuration::from_seconds(1e-6),
        at: Duration::from_secs_f64(at),
    }
}

/// The sample of a reply that was held for these seconds as well, as the upstream says, and of no other offset.
fn held_for(held: f64, sample: Sample) -> Sample {
    Sample {
        delay: sample.delay + NtpDuration::from_seconds(held),
        ..sample
    }
}

fn filter(samples: impl IntoIterator<Item = (f64, f64, f64)>) -> ClockFilter {
    let mut filter = ClockFilter::default();
    for (at, offset, delay) in samples {
        filter.add(sample(at, offset, delay));
    }
    filter
}

fn estimate(filter: &ClockFilter) -> Estimate {
    filter.estimate(&View::default()).unwrap()
}

#[test]
fn one_sample_is_known_by_its_delay_and_fades_by_the_unknown_frequency() {
    let estimate = estimate(&filter([(100.0, 0.5, 0.020)]));
    assert_eq!(
        (estimate.offset, estimate.delay),
        (sample(0.0, 0.5, 0.020).offset, sample(0.0, 0.5, 0.020).delay)
    );
    assert!(estimate.error_at(Duration::from_secs(100)) < 1e-9 && estimate.frequency.abs() < 1e-9);
    let later = estimate.error_at(Duration::from_secs(110));
    assert!((later - 30.0 * FREQUENCY_SD_UNKNOWN).abs() < 1e-5, "{later}");
}

#[test]
fn a_line_without_noise_is_found() {
    let line = filter((0_u32..20).map(|step| {
        let at = f64::from(step) * 16.0;
        (at, 0.1 + 200e-6 * at, 0.010)
    }));
    let estimate = estimate(&line);
    assert!((estimate.frequency - 200e-6).abs() < 1e-7, "{estimate:?}");
    let later = estimate.offset_at(Duration::from_secs(400)).to_seconds();
    assert!((later - 0.18).abs() < 1e-5, "{later}");
}

#[test]
fn long_delays_count_little() {
    // Every second sample waited 30 ms in one direction: 15 ms of offset that is not there.
    let estimate = estimate(&filter((0_u32..20).map(|step| {
        let queue = f64::from(step % 2) * 0.030;
        (f64::from(step) * 16.0, queue / 2.0, 0.010 + queue)
    })));
    assert!(estimate.offset.abs().to_seconds() < 0.004, "{estimate:?}");
}

#[test]
fn one_contradiction_waits_and_a_second_one_is_a_step() {
    let mut filter = filter((0_u32..10).map(|step| (f64::from(step) * 16.0, 0.0, 0.001)));
    assert!(!filter.add(sample(160.0, 5.0, 0.001)));
    assert_eq!(estimate(&filter).offset, NtpDuration::ZERO);
    assert!(!filter.add(sample(176.0, 0.0, 0.001)));
    assert_eq!(filter.len(), 11);
    assert!(!filter.add(sample(192.0, 1.0, 0.001)));
    assert!(filter.add(sample(208.0, 1.0, 0.001)));
    assert!((estimate(&filter).offset.to_seconds() - 1.0).abs() < 1e-4);
    assert_eq!(filter.len(), 2);
}

#[test]
fn a_bend_lets_the_old_samples_go() {
    let bend = filter((0_u32..60).map(|step| {
        let at = f64::from(step) * 16.0;
        (at, if at > 480.0 { (at - 480.0) * 20e-6 } else { 0.0 }, 0.001)
    }));
    let estimate = estimate(&bend);
    assert!(estimate.samples < 40, "{estimate:?}");
    assert!((estimate.frequency - 20e-6).abs() < 3e-6, "{estimate:?}");
}

#[test]
fn the_past_in_another_light() {
    let filter = filter([(10.0, 0.0, 0.001), (20.0, 0.0, 0.001)]);
    let since = View {
        since: Duration::from_secs(15),
        ..View::default()
    };
    assert_eq!(filter.estimate(&since).unwrap().samples, 1);
    assert_eq!(
        filter.estimate(&View {
            since: Duration::from_secs(21),
            ..View::default()
        }),
        None
    );
    let leap = View {
        leap: Some((Duration::from_secs(25), -NtpDuration::SECOND)),
        ..View::default()
    };
    assert_eq!(filter.estimate(&leap).unwrap().offset, -NtpDuration::SECOND);
    // Once, whether the filter knows of it or not.
    let mut revised = filter.clone();
    (0..2).for_each(|_| revised.revise(&leap));
    assert_eq!(revised.estimate(&leap), filter.estimate(&leap));
}

#[test]
fn a_jump_between_the_hosts_clocks_widens_what_was_before_it() {
    let steady = (0_u32..30).map(|step| (f64::from(step) * 16.0, 0.0, 0.000_060));
    let mut filter = filter(steady);
    let jump = View {
        jump: Some((Duration::from_secs(470), NtpDuration::from_seconds(0.000_300))),
        ..View::default()
    };
    let error = |filter: &ClockFilter| {
        let estimate = filter.estimate(&jump).unwrap();
        estimate.delay.half().to_seconds() + estimate.error_at(Duration::from_secs(480))
    };
    assert!(error(&filter) > 0.000_300);
    filter.revise(&jump);
    assert!(error(&filter) > 0.000_300);
    // The raw counter jumped: the older samples still contribute to the frequency.
    assert!(!filter.add(sample(480.0, 0.000_290, 0.000_060)));
    let estimate = filter.estimate(&jump).unwrap();
    assert!(estimate.samples >= 8, "{estimate:?}");
    let off = (estimate.offset.to_seconds() - 0.000_290).abs();
    assert!(off < error(&filter), "{off}: {estimate:?}");
    assert!(estimate.frequency.abs() < 2e-6, "{estimate:?}");
    assert!(error(&filter) < 0.000_100, "{estimate:?}");
}

proptest! {
    #[test]
    fn the_truth_is_inside(
        frequency in -300e-6..300e-6_f64,
        queues in prop::collection::vec((0.0..0.010_f64, 0.0..0.010_f64, 0.0..0.010_f64), 1..80),
        interval in 2.0..128.0_f64,
    ) {
        // A symmetric path of 10 ms, queues in both directions, and a time at the upstream.
        let mut filter = ClockFilter::default();
        for (step, (out, back, held)) in queues.iter().enumerate() {
            let at = f64::from(u32::try_from(step).unwrap()) * interval;
            let offset = frequency * at + (out - back) / 2.0;
            filter.add(held_for(*held, sample(at, offset, 0.010 + out + back)));
            let estimate = estimate(&filter);
            let later = at + interval;
            let error = estimate.offset_at(Duration::from_secs_f64(later)).to_seconds() - frequency * later;
            let later = Duration::from_secs_f64(later);
            let bound = estimate.delay.half().to_seconds() + estimate.error_at(later);
            prop_assert!(error.abs() <= bound, "{error} > {bound} after {step}: {estimate:?}");
        }
    }
}

/// Returns how often the true frequency and the true offset are outside of their error bounds.
///
/// The path has 10 ms, with queues of this mean in both directions, and the server reads its clock with this error
/// (uniform). It is polled four times in a row, and then every 16 s. All are parts of the path.
fn how_often_wrong(queues: f64, noise: f64) -> [f64; 2] {
    const PATH: f64 = 0.010;
    let mut random = uniform(7);
    let (mut all, mut frequency_wrong, mut offset_wrong) = (0.0, 0.0, 0.0);
    for _ in 0..600 {
        let mut filter = ClockFilter::default();
        let frequency = (random() - 0.5) * 200e-6;
        let mut at = 0.0;
        for step in 0..24 {
            at += random() + if step < 4 { 2.0 } else { 16.0 };
            let mut queue = || -queues * PATH * random().ln();
            let (out, back) = (queue(), queue());
            let read = noise * PATH * (2.0 * random() - 1.0);
            filter.add(sample(
                at,
                frequency * at + (out - back) / 2.0 + read,
                PATH + out + back,
            ));
            let estimate = estimate(&filter);
            let now = Duration::from_secs_f64(at);
            let off = (estimate.offset_at(now).to_seconds() - frequency * at).abs();
            all += 1.0;
            frequency_wrong += f64::from((estimate.frequency - frequency).abs() > estimate.frequency_error());
            offset_wrong += f64::from(off > estimate.error_at(now) + estimate.delay.half().to_seconds());
        }
    }
    [frequency_wrong / all, offset_wrong / all]
}

/// Returns the usual error of an upstream's estimate that holds its replies for up to `held` seconds, on a quiet path.
fn error_of_one_that_holds(held: f64, seed: u64) -> f64 {
    let mut random = uniform(seed);
    let mut filter = ClockFilter::default();
    let mut errors: Vec<f64> = (1..40)
        .map(|step| {
            let (out, back) = (5e-6 * random(), 5e-6 * random());
            let at = 64.0 * f64::from(step);
            let path = sample(at, 10e-6 * at + (out - back) / 2.0, 50e-6 + out + back);
            filter.add(held_for(held * random(), path));
            (estimate(&filter).offset.to_seconds() - 10e-6 * at).abs()
        })
        .collect();
    errors.sort_by(f64::total_cmp);
    errors[errors.len() / 2]
}

#[test]
fn who_holds_replies_for_long_and_says_so_is_worth_as_much() {
    let mut ratios: Vec<f64> = (1..=21)
        .map(|seed| error_of_one_that_holds(0.002, seed) / error_of_one_that_holds(0.0, seed))
        .collect();
    ratios.sort_by(f64::total_cmp);
    assert!(ratios[10] < 1.5, "{ratios:?}");
}

/// Whatever an upstream says of its turnarounds, it is at most as certain as one whose delay is always its shortest one.
#[test]
fn no_claimed_turnaround_makes_an_estimate_more_certain() {
    let delays = [
        0.010, 0.011, 0.030, 0.012, 0.010, 0.025, 0.014, 0.011, 0.018, 0.010,
    ];
    for number in 1..=delays.len() {
        let at = |step: usize| 16.0 * count(0..step);
        let best = estimate(&filter((0..number).map(|step| (at(step), 0.1, 0.010))));
        for claimed in [1e-6, 0.001, 0.010] {
            let mut filter = ClockFilter::default();
            for (step, delay) in delays.iter().take(number).enumerate() {
                filter.add(Sample {
                    network_delay: NtpDuration::from_seconds(claimed),
                    ..sample(at(step), 0.1, *delay)
                });
            }
            let says = estimate(&filter);
            assert_eq!(says.delay, best.delay);
            for later in [0.0, 60.0, 1000.0] {
                let later = Duration::from_secs_f64(at(number) + later);
                let (says, best) = (says.error_at(later), best.error_at(later));
                assert!(
                    says > best - 1e-9,
                    "{number}, {claimed}, {later:?}: {says} {best}"
                );
            }
        }
    }
}

/// Xorshift, from 0 to 1 and neither.
fn uniform(seed: u64) -> impl FnMut() -> f64 {
    let mut bits = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed);
    move || {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        (f64::from(u32::try_from(bits >> 32).unwrap()) + 0.5) / 4_294_967_296.0
    }
}

#[test]
fn what_is_said_of_the_errors_is_true_whatever_they_come_from() {
    for (queues, noise) in [(0.06, 0.0), (0.3, 0.0), (0.3, 0.02), (0.0005, 0.2), (0.06, 0.2)] {
        let [frequency, offset] = how_often_wrong(queues, noise);
        println!(
            "queues {queues}, noise {noise}: {:.2} %, {:.2} %",
            100.0 * frequency,
            100.0 * offset
        );
        // Three deviations are 0.3 %; errors that are not from queues are recognized only after some samples.
        assert!(
            frequency < 0.01 && offset == 0.0,
            "{queues} {noise}: {frequency} {offset}"
        );
    }
}
