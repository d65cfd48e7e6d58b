//! Impure. What the system allows this process, looked at before the root directory changes, and what of it is too low.

use std::thread::available_parallelism;

use tracing::warn;

use super::needs::{Limits, Needs};
use crate::config::Loaded;
use crate::host::limits;

/// Has as many descriptors allowed as can be, and tells what there is.
pub fn limits() -> Limits {
    let memory = limits::group_memory();
    Limits {
        files: limits::raise_files(),
        memory: memory.map(|(most, whose)| (most, whose.display().to_string())),
        addresses: limits::address_space(),
        cpus: available_parallelism().map_or(1, |cpus| u64::try_from(cpus.get()).unwrap_or(u64::MAX)),
    }
}

/// From now on `loaded` is served: what of the `limits` is too low for it is told, and what it needs is known to whoever meets
/// the end of it.
pub(super) fn expect(loaded: &Loaded, limits: &Limits) {
    let needs = Needs::of(&loaded.config, loaded.lists);
    limits::expect_files(needs.files);
    for shortfall in needs.shortfalls(limits) {
        warn!("{shortfall}");
    }
}
