//! Impure. The filters of system calls: few calls for the process, very few for a worker.
//!
//! What happens to the others depends on what they mean. A call that takes over or damages a host (to execute
//! a program, to trace another process, to mount, to load kernel code, to set the clock …) is never made by
//! accident, by this program or a library: it **kills** the process with SIGSYS, visibly, and systemd
//! restarts it. Any other call that is not on the list only **fails with EPERM**: a harmless one that a new
//! release of the C library makes must not end a time server at night. And calls that libraries try first and
//! can do without must fail with **ENOSYS**, as on an old kernel: `clone3` (whose flags a filter can't see)
//! and all that are newer than this list.
//!
//! The kernel runs all filters of a thread and takes the strictest answer; of equals, that of the filter
//! applied last. Calls that are always allowed cost nothing: since Linux 5.11 the kernel caches them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use nix::unistd::getpid;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

use super::arguments::{self, Judged, Test};
use super::{NeededCalls, calls};

/// The filter of the workers. They start at any time, and each applies it itself, once the process has its own.
static OF_WORKERS: OnceLock<BpfProgram> = OnceLock::new();

/// The filter of the threads of key establishment, in the same way.
static OF_KEY_ESTABLISHMENT: OnceLock<BpfProgram> = OnceLock::new();

/// The filter of the recorder, in the same way.
static OF_RECORDER: OnceLock<BpfProgram> = OnceLock::new();

/// A filter that could not be made or applied.
#[derive(Debug)]
pub struct FilterError(seccompiler::Error);

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for FilterError {}

impl From<seccompiler::Error> for FilterError {
    fn from(error: seccompiler::Error) -> Self {
        Self(error)
    }
}

impl From<BackendError> for FilterError {
    fn from(error: BackendError) -> Self {
        Self(error.into())
    }
}

/// Applies the process's filters to the calling thread and those that it starts, and prepares that of the workers.
///
/// All of them are for this process, not for a child of it.
///
/// # Errors
/// This kernel has no filters, or the architecture is not known; filters applied before the error stay.
pub fn limit_process(needs: NeededCalls) -> Result<(), FilterError> {
    // All are made before the first is applied.
    let filters = [of_deadly(needs)?, of_process(needs)?, of_future()?];
    let (of_workers, of_ke, of_recorder) = (of_workers()?, of_key_establishment()?, of_recorder()?);
    for filter in filters {
        apply_filter(&filter)?;
    }
    OF_WORKERS.get_or_init(|| of_workers);
    OF_KEY_ESTABLISHMENT.get_or_init(|| of_ke);
    OF_RECORDER.get_or_init(|| of_recorder);
    Ok(())
}

/// Applies the workers' filter to the calling thread, if the process has its own.
///
/// Must be the last action of a worker before it serves.
///
/// # Errors
/// The kernel refuses: the worker must not continue then.
pub fn limit_worker() -> Result<(), FilterError> {
    limit_by(&OF_WORKERS)
}

/// Applies the filter of key establishment to the calling thread, if the process has its own.
///
/// # Errors
/// As [`limit_worker`].
pub fn limit_key_establishment() -> Result<(), FilterError> {
    limit_by(&OF_KEY_ESTABLISHMENT)
}

/// Applies the filter of the recorder to the calling thread, if the process has its own.
///
/// # Errors
/// As [`limit_worker`].
pub fn limit_recorder() -> Result<(), FilterError> {
    limit_by(&OF_RECORDER)
}

fn limit_by(filter: &OnceLock<BpfProgram>) -> Result<(), FilterError> {
    filter.get().map_or(Ok(()), |filter| Ok(apply_filter(filter)?))
}

/// Applies the filters of the process that opens files to this one.
///
/// # Errors
/// As [`limit_process`].
pub fn limit_opener() -> Result<(), FilterError> {
    let needs = NeededCalls::default();
    // The last one forbids to apply more.
    for filter in [of_deadly(needs)?, of_future()?, of_opener()?] {
        apply_filter(&filter)?;
    }
    Ok(())
}

fn of_opener() -> Result<BpfProgram, FilterError> {
    only(calls::OF_OPENER, &arguments::of_memory())
}

fn of_deadly(needs: NeededCalls) -> Result<BpfProgram, FilterError> {
    let mut rules = always(calls::DEADLY);
    if let Some((call, open)) = arguments::of_deadly(needs) {
        let other = condition(&open, SeccompCmpOp::Ne)?;
        rules.insert(call, vec![SeccompRule::new(vec![other])?]);
    }
    compile(rules, SeccompAction::Allow, SeccompAction::KillProcess)
}

fn of_process(needs: NeededCalls) -> Result<BpfProgram, FilterError> {
    let record = if needs.records { calls::OF_RECORD } else { &[] };
    let open = [calls::OF_PROCESS, record].concat();
    only(&open, &arguments::of_process(needs, own_number()))
}

fn of_recorder() -> Result<BpfProgram, FilterError> {
    let open = [calls::OF_THREADS, calls::OF_RECORDER, calls::OF_RECORD].concat();
    only(&open, &arguments::of_recorder(own_number()))
}

fn of_workers() -> Result<BpfProgram, FilterError> {
    let open = [calls::OF_THREADS, calls::OF_WORKERS].concat();
    only(&open, &arguments::of_workers(own_number()))
}

fn of_key_establishment() -> Result<BpfProgram, FilterError> {
    let open = [calls::OF_THREADS, calls::OF_KEY_ESTABLISHMENT].concat();
    only(&open, &arguments::of_key_establishment(own_number()))
}

/// Makes a filter that permits these calls, and those with these arguments; no other.
fn only(always_open: &[libc::c_long], judged: &[Judged]) -> Result<BpfProgram, FilterError> {
    let mut rules = always(always_open);
    for judged in judged {
        rules.insert(judged.call, alternatives(judged)?);
    }
    compile(rules, PERMISSION_DENIED, SeccompAction::Allow)
}

fn own_number() -> libc::c_int {
    getpid().as_raw()
}

fn of_future() -> Result<BpfProgram, FilterError> {
    let newer: Vec<_> = (calls::NEWEST + 1..=calls::NEWEST + 64).collect();
    let mut rules = always(&newer);
    rules.insert(libc::SYS_clone3, Vec::new());
    let no_such_call = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    compile(rules, SeccompAction::Allow, no_such_call)
}

const PERMISSION_DENIED: SeccompAction = SeccompAction::Errno(libc::EPERM.unsigned_abs());

type Rules = BTreeMap<libc::c_long, Vec<SeccompRule>>;

fn always(calls: &[libc::c_long]) -> Rules {
    calls.iter().map(|call| (*call, Vec::new())).collect()
}

/// Makes the rules for a call's alternatives. An empty list permits any arguments.
fn alternatives(judged: &Judged) -> Result<Vec<SeccompRule>, BackendError> {
    let tests = judged.any_of.iter().filter(|tests| !tests.is_empty());
    let rule = |tests: &Vec<Test>| {
        let conditions = tests.iter().map(|test| condition(test, SeccompCmpOp::Eq));
        SeccompRule::new(conditions.collect::<Result<_, _>>()?)
    };
    tests.map(rule).collect()
}

/// Makes the condition for a test. `how` counts where all bits are compared.
fn condition(test: &Test, how: SeccompCmpOp) -> Result<SeccompCondition, BackendError> {
    let how = match test.mask {
        u32::MAX => how,
        some => SeccompCmpOp::MaskedEq(some.into()),
    };
    SeccompCondition::new(test.index, SeccompCmpArgLen::Dword, how, test.value.into())
}

fn compile(rules: Rules, others: SeccompAction, these: SeccompAction) -> Result<BpfProgram, FilterError> {
    let architecture = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, others, these, architecture)?;
    Ok(filter.try_into()?)
}

#[cfg(test)]
mod tests;
