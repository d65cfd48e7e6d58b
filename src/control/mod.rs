//! Access to the running server's state.
//!
//! Through its control socket (`protocol` with its `command`s, its two ends `client` and `server`, the places where it can be:
//! `socket`, what to do if it can't be reached: `obstacle`), and over HTTP (`http`).

pub mod client;
pub mod command;
mod failure;
pub mod http;
mod obstacle;
pub mod protocol;
pub mod server;
pub mod socket;
