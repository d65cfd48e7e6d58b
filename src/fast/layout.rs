//! Pure. Where each word stands: the numbers of `host/xdp/ntp.bpf.c`, which declares the same as structures. All sizes are
//! in words of 64 bits, in the host's byte order.

/// Publications that are kept before one is written over.
pub(super) const SLOTS: usize = 64;
/// A publication (`struct slot`).
pub const SLOT: usize = 16;
/// The number of the newest one, in front of all.
pub(super) const CURRENT: usize = 0;
/// What is served (`struct state`).
pub const STATE: usize = SLOT + SLOTS * SLOT;

/// Listeners that the program knows at most.
pub const LISTENERS: usize = 32;
/// Places for addresses of ours with a port, and how far from its own place one may stand.
pub(super) const DOORS: usize = 1024;
pub(super) const PROBES: usize = 8;
/// An address of ours with a port (`struct door`), a policy, an interface.
pub(super) const DOOR: usize = 4;
pub(super) const POLICY: usize = 16;
pub(super) const DEVICE: usize = 2;
/// Interfaces that the program knows at most.
pub(super) const DEVICES: usize = 16;
/// Who is answered (`struct rules`): it is there twice.
pub(super) const COPY: usize = DOORS * DOOR + LISTENERS * POLICY + DEVICES * DEVICE + 16;
/// Both of them.
pub const RULES: usize = 2 * COPY;

/// Where access lists may take turns in all, for IPv4 (a word each) and IPv6 (two words each).
pub(super) const MOST_TURNS4: usize = 65_536;
pub(super) const MOST_TURNS6: usize = 32_768;
/// These lists: they are there twice.
pub const TURNS4: usize = 2 * MOST_TURNS4;
/// The same for IPv6.
pub const TURNS6: usize = 2 * 2 * MOST_TURNS6;

/// What was done for a listener on a CPU (`struct cells`).
pub const CELLS: usize = 128;
/// Clients that may stand in one place (`struct place`).
pub const CLIENTS_A_PLACE: u32 = 4;

/// Where the publication of this number stands.
pub(super) fn slot_at(number: u64) -> usize {
    let index = usize::try_from(number).unwrap_or(usize::MAX) % SLOTS;
    SLOT + index * SLOT
}

/// Two halves of a word, the one that comes first in memory first.
pub(super) fn halves(first: u32, second: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}
