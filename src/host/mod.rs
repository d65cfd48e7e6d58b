//! The operating system's services: sockets, clocks, randomness, names, privileges.

pub mod addresses;
pub mod bind_fault;
pub mod changes;
pub mod clock;
pub mod cpus;
pub mod entropy;
pub mod limits;
pub mod names;
pub mod netlink;
mod opener;
pub mod opener_process;
pub mod privileges;
pub mod reach;
pub mod rooted_file;
pub mod runtime_directory;
pub mod sandbox;
pub mod shortage;
pub mod steering;
pub mod sys;
pub mod systemd;
pub mod tcp;
pub mod tls;
pub mod udp;
pub mod unix_socket;

pub use sys::{large_table, prefetch};
