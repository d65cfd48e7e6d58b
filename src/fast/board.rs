//! Impure. How words get into the memory that the program reads, and out of that in which it counts, while it runs.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::layout::{CELLS, CURRENT, LISTENERS, SLOT, slot_at};
use super::rules::Rules;
use crate::server::Counts;

/// Publishes these words of a line. There is one writer, and numbers rise by one.
///
/// The program reads the number of the newest publication, then that publication, and whether it is still of that number
/// in the end: it would have to stand still for as long as all the others take to be written over.
pub fn publish(state: &[AtomicU64], words: &[u64; SLOT]) {
    let [number, said @ ..] = words;
    let at = slot_at(*number);
    put(state, at, &[0]);
    fence(Ordering::Release);
    put(state, at + 1, said);
    if let (Some(slot), Some(current)) = (state.get(at), state.get(CURRENT)) {
        slot.store(*number, Ordering::Release);
        current.store(*number, Ordering::Release);
    }
}

/// Writes a copy of the rules. Nobody may read it: it is in force with the next publication that names it, and the one
/// before has to be out of use for as long as a program runs at most.
pub fn lay_down(maps: [&[AtomicU64]; 3], copy: u32, rules: &Rules) {
    let copy = usize::try_from(copy).unwrap_or(0);
    let all = [&rules.words, &rules.turns4, &rules.turns6];
    for (map, words) in maps.into_iter().zip(all) {
        put(map, copy * (map.len() / 2), words);
    }
}

/// What was counted for the listener of this number, on all CPUs.
pub fn counted(counters: &[AtomicU64], listener: usize) -> Counts {
    let of_cpus = counters.chunks_exact(LISTENERS * CELLS);
    let cells = of_cpus.filter_map(|cpu| cpu.chunks_exact(CELLS).nth(listener));
    cells
        .map(|cells| {
            let cells: Vec<u64> = cells.iter().map(|cell| cell.load(Ordering::Relaxed)).collect();
            Counts::of_cells(&cells)
        })
        .fold(Counts::default(), Counts::plus)
}

fn put(memory: &[AtomicU64], at: usize, words: &[u64]) {
    for (cell, word) in memory.iter().skip(at).zip(words) {
        cell.store(*word, Ordering::Relaxed);
    }
}
