//! Impure. In the place of `xdp` where a build has no fast path: nothing of it can be had.

use std::fmt;
use std::io;
use std::sync::atomic::AtomicU64;

pub use super::xdp_mode::Sizes;
use super::xdp_mode::{Attached, Mode};

/// There is none.
#[derive(Debug)]
pub enum Program {}

/// There is none.
#[derive(Debug)]
pub enum Link {}

/// There is no program.
#[derive(Debug)]
pub struct LoadError;

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this build has no fast path")
    }
}

impl std::error::Error for LoadError {}

#[expect(missing_docs, clippy::missing_errors_doc, reason = "see xdp.rs")]
impl Program {
    pub fn load(_: Sizes, _: u32) -> Result<Self, LoadError> {
        Err(LoadError)
    }

    pub fn attach(&self, _: u32, _: Mode) -> io::Result<(Link, Attached)> {
        match *self {}
    }

    pub fn state(&self) -> &[AtomicU64] {
        match *self {}
    }

    pub fn rules(&self) -> &[AtomicU64] {
        match *self {}
    }

    pub fn turns4(&self) -> &[AtomicU64] {
        match *self {}
    }

    pub fn turns6(&self) -> &[AtomicU64] {
        match *self {}
    }

    pub fn counters(&self) -> &[AtomicU64] {
        match *self {}
    }
}
