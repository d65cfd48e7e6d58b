//! Access to the running server's state.
//!
//! Through its control socket (`protocol` with its `command`s, its two ends `client` and `server`), and over HTTP (`http`).

pub mod client;
pub mod command;
mod failure;
pub mod http;
pub mod protocol;
pub mod server;
