//! Impure. System calls that are left: few for the process, very few for a worker.
//!
//! What happens to the others depends on what they mean. A call by which one takes over or damages a host (to execute a
//! program, to trace another process, to mount, to load kernel code, to set the clock …) is nothing that we or a library
//! could ever make by accident: it **kills** the process with SIGSYS, loudly, and systemd starts it anew. Any other call
//! that is not on the list only **fails with EPERM**: a harmless one that a new release of the C library has come to
//! make must not end a time server at night. And calls that libraries try first and do without have to fail with
//! **ENOSYS**, as on an old kernel, or they would not: `clone3` (whose flags a filter can't see) and all that are newer
//! than this list.
//!
//! The kernel asks all filters of a thread and takes the hardest answer; of equals, that of the filter put on last.
//! Calls that are always allowed cost nothing: since Linux 5.11 it knows them by heart.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

use super::calls;

/// Workers start at any time, and each puts its own filter on: that of the process, once this has one.
static OF_WORKERS: OnceLock<BpfProgram> = OnceLock::new();

/// A filter that could not be made or put on.
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

/// Puts the process's filters on the calling thread and those that it will start, and makes that of the workers ready.
/// `attaches`: a BPF program that is loaded already may be attached to an interface again. All else of BPF is deadly.
///
/// # Errors
/// This kernel has no filters, or the architecture is not known; what could be put on stays on.
pub fn limit_process(attaches: bool) -> Result<(), FilterError> {
    // All are made before the first is put on.
    let filters = match attaches {
        true => [of_deadly_but_attach()?, of_process_and_attach()?, of_future()?],
        false => [of_deadly()?, of_process()?, of_future()?],
    };
    let of_workers = of_workers()?;
    for filter in filters {
        apply_filter(&filter)?;
    }
    OF_WORKERS.get_or_init(|| of_workers);
    Ok(())
}

/// Puts the workers' filter on the calling thread, if the process has its own. Must be the last that a worker does
/// before it serves.
///
/// # Errors
/// The kernel refuses: the worker must not go on then.
pub fn limit_worker() -> Result<(), FilterError> {
    match OF_WORKERS.get() {
        Some(filter) => Ok(apply_filter(filter)?),
        None => Ok(()),
    }
}

fn of_deadly() -> Result<BpfProgram, FilterError> {
    compile(
        always(calls::DEADLY),
        SeccompAction::Allow,
        SeccompAction::KillProcess,
    )
}

fn of_deadly_but_attach() -> Result<BpfProgram, FilterError> {
    let mut rules = always(calls::DEADLY);
    let others = any_of([is(0, SeccompCmpOp::Ne, calls::BPF_LINK_CREATE)])?;
    rules.insert(libc::SYS_bpf, others);
    compile(rules, SeccompAction::Allow, SeccompAction::KillProcess)
}

fn of_process() -> Result<BpfProgram, FilterError> {
    compile(process_rules()?, PERMISSION_DENIED, SeccompAction::Allow)
}

fn of_process_and_attach() -> Result<BpfProgram, FilterError> {
    let mut rules = process_rules()?;
    let attach = any_of([is(0, SeccompCmpOp::Eq, calls::BPF_LINK_CREATE)])?;
    rules.insert(libc::SYS_bpf, attach);
    compile(rules, PERMISSION_DENIED, SeccompAction::Allow)
}

fn process_rules() -> Result<Rules, FilterError> {
    let mut rules = always(calls::OF_PROCESS);
    let families = calls::FAMILIES.map(|family| is(0, SeccompCmpOp::Eq, family));
    rules.insert(libc::SYS_socket, any_of(families)?);
    rules.insert(libc::SYS_clone, any_of([lacks(0, calls::NAMESPACES)])?);
    rules.extend(memory()?);
    Ok(rules)
}

fn of_workers() -> Result<BpfProgram, FilterError> {
    let mut rules = always(calls::OF_WORKERS);
    rules.insert(
        libc::SYS_ioctl,
        any_of([is(1, SeccompCmpOp::Eq, calls::FIONBIO)])?,
    );
    rules.extend(memory()?);
    compile(rules, PERMISSION_DENIED, SeccompAction::Allow)
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

/// Memory, but none with code in it that was not there at the start.
fn memory() -> Result<Rules, BackendError> {
    let data_only = || any_of([lacks(2, libc::PROT_EXEC)]);
    Ok(Rules::from([
        (libc::SYS_mmap, data_only()?),
        (libc::SYS_mprotect, data_only()?),
    ]))
}

/// The argument at `index` (counted from 0), of which the kernel looks at 32 bits, compared with `value`.
fn is(index: u8, how: SeccompCmpOp, value: libc::c_int) -> Result<SeccompRule, BackendError> {
    let value = u64::from(value.cast_unsigned());
    let condition = SeccompCondition::new(index, SeccompCmpArgLen::Dword, how, value)?;
    SeccompRule::new(vec![condition])
}

/// The argument at `index` has none of `bits`.
fn lacks(index: u8, bits: libc::c_int) -> Result<SeccompRule, BackendError> {
    is(index, SeccompCmpOp::MaskedEq(u64::from(bits.cast_unsigned())), 0)
}

fn any_of(
    rules: impl IntoIterator<Item = Result<SeccompRule, BackendError>>,
) -> Result<Vec<SeccompRule>, BackendError> {
    rules.into_iter().collect()
}

fn compile(rules: Rules, others: SeccompAction, these: SeccompAction) -> Result<BpfProgram, FilterError> {
    let architecture = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, others, these, architecture)?;
    Ok(filter.try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sys::{Batch, REPLY_LEN};
    use std::fs::File;
    use std::io;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;
    use std::thread;
    use std::time::Duration;

    use nix::sys::signal::Signal;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    use nix::unistd::execv;

    #[track_caller]
    fn denied<T>(result: io::Result<T>) {
        assert_eq!(
            result.err().and_then(|error| error.raw_os_error()),
            Some(libc::EPERM)
        );
    }

    /// Filters belong to a thread, so that they can be tried here.
    fn in_a_thread_with(
        filters: &'static [fn() -> Result<BpfProgram, FilterError>],
        job: impl FnOnce() + Send + 'static,
    ) {
        let thread = thread::spawn(move || {
            filters
                .iter()
                .for_each(|filter| apply_filter(&filter().unwrap()).unwrap());
            job();
        });
        thread.join().unwrap();
    }

    #[test]
    fn a_worker_serves_waits_and_panics_and_does_nothing_else() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        client.send_to(&[1; 48], server.local_addr().unwrap()).unwrap();
        in_a_thread_with(&[of_deadly, of_process, of_future, of_workers], move || {
            let mut batch = Batch::new(4);
            assert_eq!(batch.receive(server.as_fd(), 4).unwrap(), 1);
            *batch.datagram(0).unwrap().reply = [2; REPLY_LEN];
            batch.reply(0);
            assert_eq!(batch.send(server.as_fd()).sent, 1);
            thread::sleep(Duration::from_millis(1));
            server.set_nonblocking(true).unwrap();
            // Large enough to be mapped, and given back.
            drop(vec![1_u8; 1 << 24]);
            denied(File::open("/etc/hosts"));
            denied(UdpSocket::bind("127.0.0.1:0"));
            denied(
                server
                    .try_clone()
                    .and_then(|socket| socket.connect("127.0.0.1:1")),
            );
            // musl tells of no other reason why there is no thread.
            let no_thread = if cfg!(target_env = "musl") {
                libc::EAGAIN
            } else {
                libc::EPERM
            };
            let error = thread::Builder::new().spawn(|| ()).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(no_thread));
            assert!(std::panic::catch_unwind(|| panic!("a worker can still say why")).is_err());
        });
        assert_eq!(client.recv(&mut [0; 100]).unwrap(), REPLY_LEN);
    }

    #[test]
    fn the_process_can_do_what_it_needs_and_not_more() {
        in_a_thread_with(&[of_deadly, of_process, of_future], || {
            File::open("/etc/hosts").unwrap();
            UdpSocket::bind("127.0.0.1:0").unwrap();
            thread::spawn(|| ()).join().unwrap();
            denied(std::fs::create_dir("/tmp/ntpfront-must-not-be"));
            denied(std::os::unix::fs::symlink("/a", "/tmp/ntpfront-must-not-be"));
            let packet = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None);
            denied(packet.map_err(io::Error::from));
        });
    }

    /// Plays the child of itself, as the whole process is killed.
    #[test]
    fn to_execute_a_program_is_deadly() {
        const CHILD: &str = "NTPFRONT_DEADLY";
        if std::env::var_os(CHILD).is_some() {
            limit_process(false).unwrap();
            println!("limited");
            let error = execv(c"/bin/true", &[c"/bin/true"]).unwrap_err();
            panic!("it lives on: {error}");
        }
        let name = thread::current().name().unwrap().to_owned();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name, "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(said.contains("limited"), "{said}");
        assert_eq!(child.status.signal(), Some(Signal::SIGSYS as i32), "{child:?}");
    }

    #[test]
    fn no_call_is_deadly_and_needed() {
        for call in calls::OF_PROCESS.iter().chain(calls::OF_WORKERS) {
            assert!(!calls::DEADLY.contains(call), "{call}");
            assert!(*call <= calls::NEWEST, "{call}");
        }
        // A worker's filter stands behind that of the process.
        let process = calls::OF_PROCESS;
        let useless: Vec<_> = calls::OF_WORKERS
            .iter()
            .filter(|call| !process.contains(call))
            .collect();
        assert!(useless.is_empty(), "{useless:?}");
    }
}
