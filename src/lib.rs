//! ntpfront (map: to be written)
pub mod cli;
pub mod config;
pub mod host;
pub mod observe;
pub mod reference;
pub mod serve;
pub mod supervisor;
pub mod upstream;
pub mod wire;
