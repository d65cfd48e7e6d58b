//! The kernel's fast path: what the program `host/xdp/ntp.bpf.c` has to know so that it answers as `serve` would, as words
//! in memory that both share. `line` is the time, `rules` is who is answered (`doors`: where), `layout` is where each word stands,
//! `board` how it gets there.

mod board;
mod doors;
mod layout;
mod line;
mod rules;

pub use board::{counted, lay_down, publish};
pub use layout::{CELLS, CLIENTS_A_PLACE, LISTENERS, RULES, SLOT, STATE, TURNS4, TURNS6};
pub use line::{Line, line, raw_faster, silence};
pub use rules::{Device, LeftOut, Own, Rules, Seat, Site, rules};
