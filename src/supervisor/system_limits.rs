//! Impure. The limits of this process, read before the root directory changes, and those that are too low.

use std::thread::available_parallelism;

use tracing::warn;

use super::needs::{Needs, SystemLimits};
use crate::config::Loaded;
use crate::host::limits;

/// Returns the limits of this process, after raising that of descriptors as far as it goes.
pub fn raised() -> SystemLimits {
    let memory = limits::group_memory();
    SystemLimits {
        files: limits::raise_files(),
        memory: memory.map(|(most, whose)| (most, whose.display().to_string())),
        addresses: limits::address_space(),
        cpus: available_parallelism().map_or(1, |cpus| u64::try_from(cpus.get()).unwrap_or(u64::MAX)),
    }
}

/// Logs the `limits` that are too low for `loaded`, which is served from now on, with the fast path that the process has.
///
/// Errors that come from a lack of descriptors name the needed number.
pub(super) fn warn_if_low(loaded: &Loaded, has_fast_path: bool, limits: &SystemLimits) {
    let needs = Needs::of(&loaded.config, loaded.lists, has_fast_path);
    limits::expect_files(needs.files);
    for shortfall in needs.shortfalls(limits) {
        warn!("{shortfall}");
    }
}
