//! The kernel's fast path: a program in the kernel (`program/ntp.bpf.c`) that answers as `server` would, told the time and
//! the rules by words in memory that both sides share.
//!
//! `time_segment` is the time that is served for a while, `rules` is who is answered (`destinations`: where), `layout` is
//! what each word is; all pure. `maps` writes and reads the words, `loader` brings the program into the kernel, `driver`
//! keeps it attached and told. `requirements` is what a host must have, `mode` what an operator may ask for.

mod destinations;
pub mod driver;
mod layout;
#[cfg_attr(
    not(all(feature = "fast-path", target_endian = "little")),
    path = "no_loader.rs"
)]
pub mod loader;
mod maps;
mod mode;
pub mod requirements;
mod rules;
mod time_segment;

pub use layout::{CLIENTS_PER_PLACE, DEVICES as MOST_INTERFACES, LISTENERS, Publication};
pub use loader::AVAILABLE;
pub use maps::{counts, publish, write_copy};
pub use mode::{AttachMode, Attachment};
pub use rules::{Device, Exclusion, HostNetwork, ListenerSlot, LocalAddress, Rules, client_capacity, rules};
pub use time_segment::{TimeSegment, raw_faster, stop};
