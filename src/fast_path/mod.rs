//! Impure. The kernel's fast path: a program in the kernel that answers as `server` would.
//!
//! The program (`program/ntp.bpf.c`) gets the time and the rules by words in memory that both sides share.
//! `time_segment` is the time that is served for a while, `rules` decides about requests (`destinations`: by address;
//! `devices`: by interface, whose names may be `pattern`s; `budget_share`: how many), `layout` defines each word,
//! `bypass` is what requests go past; all pure. `maps` writes and reads the words, `loader` brings the program into the
//! kernel, `driver` keeps it up to date and attached (`interfaces`), and takes its census (`fast_census`); `step_watch`
//! tells it steps of the host's clock. `requirements` is what a host must have, and what it has, `mode` what the operator
//! chooses.

pub mod budget_share;
mod bypass;
mod destinations;
mod devices;
pub mod driver;
mod fast_census;
mod interfaces;
mod layout;
#[cfg_attr(
    not(all(feature = "fast-path", target_endian = "little")),
    path = "no_loader.rs"
)]
pub mod loader;
mod maps;
mod mode;
mod pattern;
pub mod requirements;
mod rules;
pub mod step_watch;
mod time_segment;

pub use devices::{Device, LocalAddress};
pub use layout::{CLIENTS_PER_PLACE, INTERFACES as MOST_INTERFACES, LISTENERS, Publication};
pub use loader::AVAILABLE;
pub use maps::{
    ReadSamples, answers, census_packets, clear_counts, count_step, counts, cpus, publish, samples,
    set_sampling, steps, write_copy,
};
pub use mode::{AttachMode, Attachment};
pub use rules::{Exclusion, HostNetwork, ListenerSlot, Rules, client_capacity, rules};
pub use time_segment::{Answering, TimeSegment, raw_faster, stop};
