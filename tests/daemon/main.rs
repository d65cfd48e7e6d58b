//! ntpfront as built, started as an operator would, and asked as clients do: on loopback, or in network namespaces.
//!
//! Most tests wait for something to happen, so many of them run at once.
#![cfg(test)]
#![allow(clippy::disallowed_methods, reason = "a test looks at the clock")]

#[path = "../common"]
mod common {
    mod basics;
    pub(crate) mod chrony;
    pub(crate) mod client;
    pub(crate) mod daemon;
    pub(crate) mod example;
    pub(crate) mod front;
    pub(crate) mod ke;
    pub(crate) mod neighbor;
    pub(crate) mod network;
    pub(crate) mod page;
    pub(crate) mod port;
    pub(crate) mod program;
    pub(crate) mod random;
    pub(crate) mod relay;
    pub(crate) mod samples;
    pub(crate) mod scripted;
    pub(crate) mod status;
    mod temp_dir;
    mod wait;
    pub(crate) mod watch;

    pub(crate) use basics::*;
    pub(crate) use temp_dir::*;
    pub(crate) use wait::*;
}

mod anycast;
mod census;
mod client;
mod clock;
mod commands;
mod control_socket;
mod documents;
mod drop_ins;
mod handover;
mod health;
mod history;
mod import;
mod import_daemons;
mod interleaved;
mod lies;
mod limits;
mod listeners;
mod lists;
mod local_faults;
mod log;
mod metrics;
mod nts_ke;
mod nts_ke_faults;
mod nts_ke_restart;
mod nts_peers;
mod nts_rotation;
mod nts_upstreams;
mod peers;
mod policy;
mod poller;
mod pools;
mod privileges;
mod process;
mod reload;
mod reload_faults;
mod serving;
mod sight;
mod smear;
mod subcommands;
mod symmetric_keys;
mod top;
mod tracked;
mod upstreams;
