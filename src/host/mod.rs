//! What the operating system gives: sockets, clocks, randomness, privileges. It uses nothing of ours.

pub mod udp;
