//! Impure. The system calls whose arguments decide, as tables.
//!
//! They are impure only for the numbers, which are the C library's and Linux'.
//!
//! A filter sees the arguments as numbers, not what a pointer points to. So `openat2`, `clone3` and the like
//! can't be checked here; the second is refused, and Landlock restricts the first.

use libc::{c_int, c_long};

use super::NeededCalls;

/// Command that attaches a loaded BPF program (linux/bpf.h).
const BPF_LINK_CREATE: c_int = 28;
/// Request of `ioctl` that makes a socket non-blocking (the C libraries disagree about its type).
const FIONBIO: c_int = 0x5421;
/// Operation that applies a filter (linux/seccomp.h; the C libraries disagree about its type).
const SECCOMP_SET_MODE_FILTER: c_int = 1;

/// Flags that a socket's type may have.
const TYPE_FLAGS: c_int = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
/// Flags of `clone` for new namespaces: it may make threads, but no processes or namespaces.
const NAMESPACES: c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// A condition on one argument, of which the kernel looks at 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Test {
    /// The argument's place, counted from 0.
    pub(super) index: u8,
    /// The bits that are compared.
    pub(super) mask: u32,
    /// The value of these bits.
    pub(super) value: u32,
}

/// A call that is permitted if all conditions of one of the alternatives hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    /// The call's number.
    pub(super) call: c_long,
    /// Alternatives, each a list of conditions.
    pub(super) any_of: Vec<Vec<Test>>,
}

const fn is(index: u8, value: c_int) -> Test {
    masked(index, -1, value)
}

const fn masked(index: u8, mask: c_int, value: c_int) -> Test {
    Test {
        index,
        mask: mask.cast_unsigned(),
        value: value.cast_unsigned(),
    }
}

/// A call that is permitted if the argument at `index` is one of `values`.
fn one_of(call: c_long, index: u8, values: &[c_int]) -> Judged {
    Judged {
        call,
        any_of: values.iter().map(|value| vec![is(index, *value)]).collect(),
    }
}

/// Returns the calls that the process with number `pid` needs, beside [`super::calls::OF_PROCESS`].
pub(super) fn of_process(needs: NeededCalls, pid: c_int) -> Vec<Judged> {
    let mut judged = vec![
        sockets(needs),
        Judged {
            call: libc::SYS_clone,
            any_of: vec![vec![masked(
                0,
                libc::CLONE_THREAD | NAMESPACES,
                libc::CLONE_THREAD,
            )]],
        },
        one_of(libc::SYS_ioctl, 1, &[FIONBIO]),
        // Close on exec, blocking, duplicates, and a seal for journald.
        one_of(
            libc::SYS_fcntl,
            1,
            &[
                libc::F_GETFD,
                libc::F_SETFD,
                libc::F_GETFL,
                libc::F_SETFL,
                libc::F_DUPFD_CLOEXEC,
                libc::F_ADD_SEALS,
            ],
        ),
        // A thread's name, and the call that must come before a filter.
        one_of(
            libc::SYS_prctl,
            0,
            &[libc::PR_SET_NAME, libc::PR_SET_NO_NEW_PRIVS],
        ),
        // Workers apply a filter.
        one_of(libc::SYS_seccomp, 0, &[SECCOMP_SET_MODE_FILTER]),
        // Its own threads and limits, no other process's.
        one_of(libc::SYS_tgkill, 0, &[pid]),
        one_of(libc::SYS_prlimit64, 0, &[0, pid]),
    ];
    if needs.journal {
        // A log record that is too long for a message is sent to journald as a piece of memory.
        judged.push(Judged {
            call: libc::SYS_memfd_create,
            any_of: vec![Vec::new()],
        });
    }
    if needs.attaches {
        judged.push(one_of(libc::SYS_bpf, 0, &[BPF_LINK_CREATE]));
    }
    judged.extend(of_memory());
    judged
}

/// Returns the calls that a worker of the process with number `pid` needs, beside [`super::calls::OF_WORKERS`].
pub(super) fn of_workers(pid: c_int) -> Vec<Judged> {
    let mut judged = vec![
        // The standard library's check before it closes a descriptor, in builds that look for mistakes.
        one_of(libc::SYS_fcntl, 1, &[libc::F_GETFD]),
        // The message of a panic before there is a log, on standard error.
        one_of(libc::SYS_write, 0, &[libc::STDERR_FILENO]),
        one_of(libc::SYS_writev, 0, &[libc::STDERR_FILENO]),
        one_of(libc::SYS_tgkill, 0, &[pid]),
    ];
    judged.extend(of_memory());
    judged
}

/// Returns the calls that a thread of key establishment needs, beside [`super::calls::OF_KEY_ESTABLISHMENT`].
pub(super) fn of_key_establishment(pid: c_int) -> Vec<Judged> {
    let mut judged = of_workers(pid);
    // One thread wakes another by eight bytes (eventfd(2)).
    for write in judged.iter_mut().filter(|judged| judged.call == libc::SYS_write) {
        write.any_of.push(vec![is(2, 8)]);
    }
    // A handle of its own on a listening socket; a connection that is refused is reset (SO_LINGER).
    // (Answers are written from several pieces: `writev` is open.)
    judged.retain(|judged| !matches!(judged.call, libc::SYS_fcntl | libc::SYS_writev));
    judged.push(one_of(
        libc::SYS_fcntl,
        1,
        &[libc::F_GETFD, libc::F_GETFL, libc::F_DUPFD_CLOEXEC],
    ));
    judged.push(Judged {
        call: libc::SYS_setsockopt,
        any_of: vec![vec![is(1, libc::SOL_SOCKET), is(2, libc::SO_LINGER)]],
    });
    judged
}

/// Returns the calls that the recorder needs, beside [`super::calls::OF_RECORDER`].
pub(super) fn of_recorder(pid: c_int) -> Vec<Judged> {
    let mut judged = of_workers(pid);
    // It writes to files, too: `write` is open. A directory is read by a handle of its own.
    judged.retain(|judged| !matches!(judged.call, libc::SYS_fcntl | libc::SYS_write));
    judged.push(one_of(
        libc::SYS_fcntl,
        1,
        &[libc::F_GETFD, libc::F_SETFD, libc::F_GETFL],
    ));
    judged
}

/// Returns the permitted use of a call that else kills: [`of_process`] has it, too.
pub(super) fn of_deadly(needs: NeededCalls) -> Option<(c_long, Test)> {
    needs.attaches.then(|| (libc::SYS_bpf, is(0, BPF_LINK_CREATE)))
}

/// Returns the permitted sockets.
///
/// UDP and TCP, by protocol: Landlock's rules for TCP know nothing of MPTCP. The kernel's notices of
/// interfaces and addresses, which the C library uses, too. And the way to journald.
fn sockets(needs: NeededCalls) -> Judged {
    let mut any_of = Vec::new();
    let mut may = |family, kind, protocol| {
        any_of.push(vec![is(0, family), masked(1, !TYPE_FLAGS, kind), is(2, protocol)]);
    };
    for family in [libc::AF_INET, libc::AF_INET6] {
        // 0 is the default protocol: one of the two that are named beside it.
        for protocol in [0, libc::IPPROTO_UDP] {
            may(family, libc::SOCK_DGRAM, protocol);
        }
        for protocol in [0, libc::IPPROTO_TCP] {
            may(family, libc::SOCK_STREAM, protocol);
        }
    }
    may(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE);
    if needs.journal {
        may(libc::AF_UNIX, libc::SOCK_DGRAM, 0);
    }
    Judged {
        call: libc::SYS_socket,
        any_of,
    }
}

/// Returns the permitted uses of memory: no new memory may have code in it.
pub(super) fn of_memory() -> [Judged; 2] {
    [libc::SYS_mmap, libc::SYS_mprotect].map(|call| Judged {
        call,
        any_of: vec![vec![masked(2, libc::PROT_EXEC, 0)]],
    })
}
