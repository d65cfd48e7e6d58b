//! What takes a whole machine: full loads, counted instructions, packages, a booted systemd.
#![cfg(test)]
#![allow(clippy::disallowed_methods, reason = "a test looks at the clock")]

#[path = "../common"]
mod common {
    mod basics;
    #[expect(dead_code, reason = "all of it is used by the program daemon")]
    pub(crate) mod client;
    #[expect(dead_code, reason = "all of it is used by the program daemon")]
    pub(crate) mod daemon;
    pub(crate) mod example;
    pub(crate) mod load;
    #[expect(dead_code, reason = "all of it is used by the program daemon")]
    pub(crate) mod neighbor;
    pub(crate) mod network;
    pub(crate) mod package;
    pub(crate) mod port;
    pub(crate) mod program;
    #[expect(dead_code, reason = "all of it is used by the program daemon")]
    pub(crate) mod scripted;
    pub(crate) mod status;
    mod temp_dir;
    mod wait;

    pub(crate) use basics::*;
    pub(crate) use temp_dir::*;
    pub(crate) use wait::*;
}

mod absent;
mod instructions;
mod kubernetes;
mod loss;
mod machine;
mod packages;
mod recipes;
mod release;
mod systemd;
