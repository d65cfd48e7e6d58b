//! A client's packet: from the socket to the reply. `respond` decides (pure), by the listener's `policy` (`access`,
//! `limit`, `budget`) whether this client is answered; `worker` moves bytes.

use std::net::SocketAddr;

pub mod access;
pub mod budget;
pub mod census;
mod counters;
mod gate;
pub mod limit;
pub mod policy;
pub mod random;
mod residence;
mod respond;
mod worker;

pub use crate::host::steering::Steering;
pub use counters::{Counters, Counts};
pub use gate::Bearable;
pub use residence::Residence;
pub use respond::{Request, Verdict, respond};
pub use worker::{INTERRUPT, Worker};

/// One address that clients ask, and who answers there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Address and port; a wildcard address (`0.0.0.0`, `[::]`) means every address of that family.
    pub address: SocketAddr,
    /// Threads, each with a socket of its own: 1 to 1024.
    pub workers: u16,
    /// How the kernel spreads the packets over the workers.
    pub steering: Steering,
}
