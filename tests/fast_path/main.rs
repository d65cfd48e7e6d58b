//! The kernel's fast path by itself: the program runs in the kernel on frames that are made up here (`BPF_PROG_TEST_RUN`),
//! and gives the same answers as the socket path, by the same rules.
#![cfg(feature = "fast-path")]
#![cfg(test)]
#![allow(clippy::disallowed_methods, reason = "a test looks at the clock")]

#[path = "../common"]
mod common {
    mod basics;
    #[expect(dead_code, reason = "all of it is used by the program daemon")]
    pub(crate) mod chrony;
    #[expect(dead_code, reason = "all of it is used by the program daemon")]
    pub(crate) mod client;
    #[expect(dead_code, reason = "all of it is used by the program daemon")]
    pub(crate) mod daemon;
    pub(crate) mod neighbor;
    pub(crate) mod network;
    pub(crate) mod program;
    pub(crate) mod status;
    mod temp_dir;
    mod wait;

    pub(crate) use basics::*;
    pub(crate) use temp_dir::*;
    pub(crate) use wait::*;
}

mod comparison;
mod damage;
mod desk;
mod differential;
mod frames;
mod interfaces;
mod network;
mod policies;
mod refusal;
mod replies;
mod sources;
