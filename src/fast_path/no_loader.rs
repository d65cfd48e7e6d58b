//! Impure. In the place of `loader` where a build has no fast path: nothing of it can be had.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::mode::{AttachMode, Attachment};
use crate::host::sys::bpf::Shared;

/// Whether this build has the fast path.
pub const AVAILABLE: bool = false;

/// A program that can't exist.
#[derive(Debug)]
pub enum Program {}

/// A link that can't exist.
#[derive(Debug)]
pub enum Link {}

/// The reason why there is no program: the build has none.
#[derive(Debug)]
pub struct LoadError;

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this build has no fast path")
    }
}

impl std::error::Error for LoadError {}

#[expect(missing_docs, clippy::missing_errors_doc, reason = "see loader.rs")]
impl Program {
    pub fn load(_: u32) -> Result<Self, LoadError> {
        Err(LoadError)
    }

    pub fn attach(&self, _: u32, _: AttachMode) -> io::Result<(Link, Attachment)> {
        match *self {}
    }

    pub fn state(&self) -> &[AtomicU64] {
        match *self {}
    }

    pub fn shared_state(&self) -> Arc<Shared> {
        match *self {}
    }

    pub fn rules(&self) -> &[AtomicU64] {
        match *self {}
    }

    pub fn boundaries4(&self) -> &[AtomicU64] {
        match *self {}
    }

    pub fn boundaries6(&self) -> &[AtomicU64] {
        match *self {}
    }

    pub fn counters(&self) -> &[AtomicU64] {
        match *self {}
    }

    pub fn cpus(&self) -> &[AtomicU64] {
        match *self {}
    }

    pub fn try_on(&mut self, _: &[u8]) -> io::Result<(u32, Vec<u8>)> {
        match *self {}
    }
}
