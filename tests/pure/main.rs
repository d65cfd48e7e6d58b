//! What needs no running ntpfront: its sources, documents and configurations, and what is pure in virtual time.
#![cfg(test)]

#[path = "../common"]
mod common {
    pub(crate) mod samples;
    mod temp_dir;

    pub(crate) use temp_dir::*;
}

mod circles;
mod config;
mod corpus;
mod keys;
mod layers;
mod names;
mod oldest_rust;
mod policy_flood;
mod programs;
#[path = "../rfc/mod.rs"]
mod rfc;
mod top_level;
mod words;
