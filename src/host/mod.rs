//! What the operating system gives: sockets, clocks, randomness, privileges. It uses nothing of ours.

pub mod clock;
pub mod entropy;
pub mod mmsg;
pub mod udp;
