//! Impure. The writing of words that the program reads, and the reading of its counts, while it runs.

use std::mem::offset_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::layout::{
    ANNOTATIONS, BUCKETS, Cells, CpuCells, INTERFACES, InMemory, KINDS, LISTENERS, PUBLICATIONS, Publication,
    PublishedState, SAMPLES, SPREAD, SampleEntry, VERDICTS, WORD,
};
use super::rules::Rules;
use crate::census::{PacketSample, Sampling};
use crate::server::{CountParts, Counts, Verdict};

/// Publishes the time, or that there is none. There is one writer, and numbers rise by one.
///
/// The program reads the number of the newest publication, then that publication, and whether it is still of that
/// number in the end: it would have to stand still for as long as all the others take to be written over.
pub fn publish(state: &[AtomicU64], publication: &Publication) {
    let words = publication.words();
    let at = place_of(publication.number);
    put(state, at, &[0]);
    fence(Ordering::Release);
    put(state, at + 1, words.get(1..).unwrap_or_default());
    let current = offset_of!(PublishedState, current) / WORD;
    if let (Some(place), Some(current)) = (state.get(at), state.get(current)) {
        place.store(publication.number, Ordering::Release);
        current.store(publication.number, Ordering::Release);
    }
}

// The program trusts a publication by its number, which is written last.
const _: () = assert!(offset_of!(Publication, number) == 0);

/// Returns the number of steps of the host's clock since the start, as the program knows it.
pub fn steps(state: &[AtomicU64]) -> u64 {
    state.get(STEPS).map_or(0, |steps| steps.load(Ordering::SeqCst))
}

/// Counts a step of the host's clock: all publications of the time before it end at once.
pub fn count_step(state: &[AtomicU64]) {
    if let Some(steps) = state.get(STEPS) {
        steps.fetch_add(1, Ordering::SeqCst);
    }
}

/// The word with the number of steps.
const STEPS: usize = offset_of!(PublishedState, steps) / WORD;

/// The word where the publication of this number begins.
fn place_of(number: u64) -> usize {
    let index = usize::try_from(number).unwrap_or(usize::MAX) % PUBLICATIONS;
    (offset_of!(PublishedState, publications) + index * size_of::<Publication>()) / WORD
}

/// Writes a copy of the rules into the maps `rules`, `boundaries4` and `boundaries6`.
///
/// No program may read it. It is in force with the next publication that names it, and the one before has to be out of
/// use for as long as a program runs at most.
pub fn write_copy(maps: [&[AtomicU64]; 3], copy: u32, rules: &Rules) {
    let copy = usize::try_from(copy).unwrap_or(0);
    let all = [&rules.words, &rules.boundaries4, &rules.boundaries6];
    for (map, words) in maps.into_iter().zip(all) {
        put(map, copy * (map.len() / 2), words);
    }
}

/// Returns the counts of the listener of this number, on all CPUs.
pub fn counts(counters: &[AtomicU64], listener: usize) -> Counts {
    const WORDS: usize = size_of::<Cells>() / WORD;
    let of_cpus = counters.chunks_exact(LISTENERS * WORDS);
    let cells = of_cpus.filter_map(|cpu| cpu.chunks_exact(WORDS).nth(listener));
    cells.map(of_cells).fold(Counts::default(), Counts::plus)
}

/// Returns the answers of each interface on all CPUs, by its number: over IPv4, and over IPv6.
pub fn answers(cpus: &[AtomicU64]) -> [[u64; 2]; INTERFACES] {
    let mut answers = [[0; 2]; INTERFACES];
    for cpu in cpus.chunks_exact(size_of::<CpuCells>() / WORD) {
        let of = |offset: usize| cpu.get(offset / WORD..).unwrap_or_default().iter();
        let families = of(offset_of!(CpuCells, ipv4)).zip(of(offset_of!(CpuCells, ipv6)));
        for ([sum4, sum6], (ipv4, ipv6)) in answers.iter_mut().zip(families) {
            *sum4 += ipv4.load(Ordering::Relaxed);
            *sum6 += ipv6.load(Ordering::Relaxed);
        }
    }
    answers
}

/// Returns the number of CPUs that had a request to a listener with a budget since this publication; all, if none had.
pub(super) fn counting_cpus(cpus: &[AtomicU64], publication: u64) -> usize {
    let all = || cpus.chunks_exact(size_of::<CpuCells>() / WORD);
    let counted_in = all().filter_map(|cpu| cpu.get(offset_of!(CpuCells, counted_in) / WORD));
    let active = counted_in.filter(|cell| cell.load(Ordering::Relaxed) > publication);
    match active.count() {
        0 => all().count(),
        active => active,
    }
}

/// Sets which packets the census gets (`layout`); nothing without one.
pub fn set_sampling(state: &[AtomicU64], sampling: Option<Sampling>) {
    let followed = sampling.map_or(0, Sampling::followed);
    let apart = sampling.map_or(0, Sampling::apart);
    let words = [
        (offset_of!(PublishedState, apart), apart),
        (offset_of!(PublishedState, followed), followed),
    ];
    for (offset, word) in words {
        if let Some(cell) = state.get(offset / WORD) {
            cell.store(word, Ordering::Relaxed);
        }
    }
}

/// Returns the number of packets that the census would have had from each CPU.
pub fn census_packets(cpus: &[AtomicU64]) -> u64 {
    let of_cpus = cpus.chunks_exact(size_of::<CpuCells>() / WORD);
    let packets = of_cpus.filter_map(|cpu| cpu.get(offset_of!(CpuCells, packets) / WORD));
    packets.map(|cell| cell.load(Ordering::Relaxed)).sum()
}

/// Passes on the samples that a CPU wrote since the last time; `secret` is that of the rules.
///
/// Those of the last call's end are the newest that are read: what the program writes now is not there as a whole yet.
pub fn samples(
    cpu: &[AtomicU64],
    read: &mut ReadSamples,
    secret: [u64; 2],
    mut take: impl FnMut(PacketSample),
) {
    const ENTRY: usize = size_of::<SampleEntry>() / WORD;
    let word = |at: usize| cpu.get(at).map_or(0, |cell| cell.load(Ordering::Acquire));
    let written = word(offset_of!(CpuCells, written) / WORD);
    let room = u64::try_from(SAMPLES).unwrap_or(u64::MAX);
    // Some are lost if there are too many.
    let first = read.until.max(written.saturating_sub(room - 1)).min(read.known);
    for number in first..read.known {
        let at = usize::try_from(number % room).unwrap_or(0);
        let entry = offset_of!(CpuCells, samples) / WORD + at * ENTRY;
        let (high, low, why) = (word(entry), word(entry + 1), word(entry + 2));
        take(PacketSample {
            source: source(high, low),
            hash: followed_hash(secret, high, low),
            is_packet: why & 1 != 0,
            is_followed: why & 2 != 0,
        });
    }
    *read = ReadSamples {
        until: read.known,
        known: written,
    };
}

/// The place up to which the samples of a CPU have been read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadSamples {
    /// The number of the first one that has not been read.
    until: u64,
    /// The number of them that there were at the last reading.
    known: u64,
}

/// The words of the map `cpus`, by CPU.
pub fn cpus(cpus: &[AtomicU64]) -> impl Iterator<Item = &[AtomicU64]> {
    cpus.chunks_exact(size_of::<CpuCells>() / WORD)
}

/// The address of these two numbers, as the program has it.
fn source(high: u64, low: u64) -> IpAddr {
    match (high, u32::try_from(low)) {
        (0, Ok(ipv4)) => Ipv4Addr::from_bits(ipv4).into(),
        _ => Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)).into(),
    }
}

/// The hash by which the program chooses clients (`followed_hash` of `program/ntp.bpf.c`).
fn followed_hash([one, other]: [u64; 2], high: u64, low: u64) -> u64 {
    ((high ^ one).wrapping_mul(SPREAD) ^ low).wrapping_mul(other | 1)
}

/// Clears the counts of the listener of this number: the program may not count for it now.
pub fn clear_counts(counters: &[AtomicU64], listener: usize) {
    const WORDS: usize = size_of::<Cells>() / WORD;
    for cpu in counters.chunks_exact(LISTENERS * WORDS) {
        for cell in cpu.chunks_exact(WORDS).nth(listener).unwrap_or_default() {
            cell.store(0, Ordering::Relaxed);
        }
    }
}

/// Returns the counts of one CPU for one listener.
fn of_cells(cells: &[AtomicU64]) -> Counts {
    let words: Vec<u64> = cells.iter().map(|cell| cell.load(Ordering::Relaxed)).collect();
    let at = |offset: usize, count: usize| {
        words
            .get(offset / WORD..offset / WORD + count)
            .unwrap_or_default()
    };
    // One cell stands for the verdict, the version with mode 3, and a reply in no time.
    let [mut verdicts, mut kinds, mut residence] = [
        at(offset_of!(Cells, verdicts), VERDICTS).to_vec(),
        at(offset_of!(Cells, kinds), KINDS).to_vec(),
        at(offset_of!(Cells, residence), BUCKETS).to_vec(),
    ];
    let plain = at(offset_of!(Cells, plain), VERSIONS);
    for (version, count) in plain.iter().enumerate() {
        let cells = [
            verdicts.get_mut(Verdict::AnsweredClient.index()),
            kinds.get_mut(version << 3 | CLIENT),
            residence.first_mut(),
        ];
        cells.into_iter().flatten().for_each(|cell| *cell += count);
    }
    Counts::of_parts(&CountParts {
        verdicts: &verdicts,
        kinds: &kinds,
        residence: &residence,
        residence_sum: words
            .get(offset_of!(Cells, residence_sum) / WORD)
            .copied()
            .unwrap_or(0),
        annotations: at(offset_of!(Cells, annotations), ANNOTATIONS),
    })
}

/// The versions that a header can have, and the mode of a client.
const VERSIONS: usize = 8;
const CLIENT: usize = 3;

fn put(memory: &[AtomicU64], at: usize, words: &[u64]) {
    for (cell, word) in memory.iter().skip(at).zip(words) {
        cell.store(*word, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Verdict;
    use crate::server::policy::Annotation;

    fn memory(words: usize) -> Vec<AtomicU64> {
        std::iter::repeat_with(AtomicU64::default).take(words).collect()
    }

    #[test]
    fn what_the_program_counts_has_the_names_of_the_workers() {
        let counters = memory(2 * LISTENERS * size_of::<Cells>() / WORD);
        let mut cells = Cells::ZERO;
        cells.verdicts[Verdict::RefusedRate.index()] = 3;
        cells.kinds[4 << 3 | 3] = 5;
        cells.residence[21] = 7;
        cells.residence_sum = 1 << 32;
        cells.annotations[Annotation::WouldLimit.index()] = 11;
        cells.plain[4] = 13;
        for cpu in 0..2 {
            put(
                &counters,
                (cpu * LISTENERS + 4) * size_of::<Cells>() / WORD,
                &cells.words(),
            );
        }
        let counted = counts(&counters, 4);
        assert_eq!(counted.of(Verdict::RefusedRate), 6);
        assert_eq!((counted.versions()[4], counted.modes()[3]), (36, 36));
        assert_eq!(counted.of(Verdict::AnsweredClient), 26);
        assert_eq!(
            (counted.residence.count(), counted.residence.seconds()),
            (40, 2.0)
        );
        assert_eq!(counted.annotated(Annotation::WouldLimit), 22);
        assert_eq!(counts(&counters, 5), Counts::default());
        clear_counts(&counters, 4);
        assert_eq!(counts(&counters, 4), Counts::default());
    }

    #[test]
    fn samples_are_read_once_and_not_while_they_are_written() {
        let cpu = memory(size_of::<CpuCells>() / WORD);
        let write = |cells: &CpuCells| put(&cpu, 0, &cells.words());
        let mut read = ReadSamples::default();
        let mut take = || {
            let mut all = Vec::new();
            samples(&cpu, &mut read, [1, 2], |sample| {
                all.push((sample.source, sample.is_packet, sample.is_followed))
            });
            all
        };
        let mut cells = CpuCells::ZERO;
        let entry = |low, why| SampleEntry { high: 0, low, why };
        (cells.samples[0], cells.samples[1], cells.written) =
            (entry(0xC000_0201, 1), entry(0xC000_0202, 3), 2);
        write(&cells);
        assert_eq!(take(), []);
        let expected = [("192.0.2.1", true, false), ("192.0.2.2", true, true)];
        assert_eq!(
            take(),
            expected.map(|(ip, one, other)| (ip.parse().unwrap(), one, other))
        );
        assert_eq!(take(), []);
        // Too many: the oldest are lost.
        cells.written = 2 + 3000;
        write(&cells);
        assert_eq!((take().len(), take().len(), take().len()), (0, SAMPLES - 1, 0));
        assert_eq!(
            source(0x2001_0db8 << 32, 1),
            "2001:db8::1".parse::<IpAddr>().unwrap()
        );
    }

    #[test]
    fn answers_are_counted_by_interface_and_family() {
        let cpus = memory(2 * size_of::<CpuCells>() / WORD);
        for cpu in 0..2 {
            let mut cells = CpuCells::ZERO;
            (cells.ipv4[3], cells.ipv6[3], cells.ipv6[15]) = (5, 7, 11);
            put(&cpus, cpu * size_of::<CpuCells>() / WORD, &cells.words());
        }
        let answers = answers(&cpus);
        assert_eq!((answers[3], answers[15], answers[0]), ([10, 14], [0, 22], [0, 0]));
    }

    #[test]
    fn cpus_without_requests_have_no_part() {
        let cpus = memory(3 * size_of::<CpuCells>() / WORD);
        for (cpu, counted_in) in [0, 7, 9].into_iter().enumerate() {
            let cells = CpuCells {
                counted_in,
                ..CpuCells::ZERO
            };
            put(&cpus, cpu * size_of::<CpuCells>() / WORD, &cells.words());
        }
        let active = [0, 6, 7, 8, 9].map(|publication| counting_cpus(&cpus, publication));
        assert_eq!(active, [2, 2, 1, 1, 3]);
    }

    #[test]
    fn a_publication_is_at_its_place_before_it_is_told() {
        let state = memory(size_of::<PublishedState>() / WORD);
        for number in [1, 63, 64, 1000] {
            let publication = Publication {
                number,
                growth: number + 1,
                ..Publication::ZERO
            };
            publish(&state, &publication);
            let at = 16 + usize::try_from(number % 64).unwrap() * 16;
            let found: Vec<u64> = state[at..at + 16]
                .iter()
                .map(|word| word.load(Ordering::Relaxed))
                .collect();
            assert_eq!(found, publication.words());
            assert_eq!(state[0].load(Ordering::Relaxed), number);
        }
    }
}
