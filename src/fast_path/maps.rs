//! Impure. The writing of words that the program reads, and the reading of its counts, while it runs.

use std::mem::offset_of;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::layout::{
    ANNOTATIONS, BUCKETS, Cells, INTERFACES, InMemory, InterfaceCells, KINDS, LISTENERS, PUBLICATIONS,
    Publication, PublishedState, VERDICTS, WORD,
};
use super::rules::Rules;
use crate::server::{CountParts, Counts};

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
pub fn answers(interfaces: &[AtomicU64]) -> [[u64; 2]; INTERFACES] {
    let mut answers = [[0; 2]; INTERFACES];
    for cpu in interfaces.chunks_exact(size_of::<InterfaceCells>() / WORD) {
        let (ipv4, ipv6) = cpu.split_at(INTERFACES);
        for (sums, cells) in answers.iter_mut().zip(ipv4.iter().zip(ipv6)) {
            let [sum4, sum6] = sums;
            *sum4 += cells.0.load(Ordering::Relaxed);
            *sum6 += cells.1.load(Ordering::Relaxed);
        }
    }
    answers
}

/// Returns the counts of one CPU for one listener.
fn of_cells(cells: &[AtomicU64]) -> Counts {
    let words: Vec<u64> = cells.iter().map(|cell| cell.load(Ordering::Relaxed)).collect();
    let at = |offset: usize, count: usize| {
        words
            .get(offset / WORD..offset / WORD + count)
            .unwrap_or_default()
    };
    Counts::of_parts(&CountParts {
        verdicts: at(offset_of!(Cells, verdicts), VERDICTS),
        kinds: at(offset_of!(Cells, kinds), KINDS),
        residence: at(offset_of!(Cells, residence), BUCKETS),
        residence_sum: words
            .get(offset_of!(Cells, residence_sum) / WORD)
            .copied()
            .unwrap_or(0),
        annotations: at(offset_of!(Cells, annotations), ANNOTATIONS),
    })
}

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
        for cpu in 0..2 {
            put(
                &counters,
                (cpu * LISTENERS + 4) * size_of::<Cells>() / WORD,
                &cells.words(),
            );
        }
        let counted = counts(&counters, 4);
        assert_eq!(counted.of(Verdict::RefusedRate), 6);
        assert_eq!((counted.versions()[4], counted.modes()[3]), (10, 10));
        assert_eq!(
            (counted.residence.count(), counted.residence.seconds()),
            (14, 2.0)
        );
        assert_eq!(counted.annotated(Annotation::WouldLimit), 22);
        assert_eq!(counts(&counters, 5), Counts::default());
    }

    #[test]
    fn answers_are_counted_by_interface_and_family() {
        let interfaces = memory(2 * size_of::<InterfaceCells>() / WORD);
        for cpu in 0..2 {
            let mut cells = InterfaceCells::ZERO;
            (cells.ipv4[3], cells.ipv6[3], cells.ipv6[15]) = (5, 7, 11);
            put(
                &interfaces,
                cpu * size_of::<InterfaceCells>() / WORD,
                &cells.words(),
            );
        }
        let answers = answers(&interfaces);
        assert_eq!((answers[3], answers[15], answers[0]), ([10, 14], [0, 22], [0, 0]));
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
