//! Impure. The system calls that no library offers as we need them: `datagrams` (many a call), `bpf` (the fast path's memory
//! and link), a few options of sockets, what a signal does, and the kernel's view of its clock (`adjtimex`). The only unsafe code of the project.

#![expect(
    unsafe_code,
    reason = "the one file that may, with its parts; each block argues its soundness"
)]

pub mod bpf;
mod datagrams;

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{ForkResult, fork};

pub use datagrams::{Batch, Datagram, SendOutcome};

/// What the kernel says of leap seconds (`adjtimex(2)`), as whoever keeps its clock has told it.
///
/// Its flag STA_UNSYNC and its maximum error are no witnesses, so they are not here: chronyd clears the flag only with
/// `rtcsync`, so a well kept clock may have it, and what a keeper knows of its error it says to us, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelClock {
    /// A second is to be inserted at the end of the day (STA_INS).
    pub insert_second: bool,
    /// A second is to be deleted at the end of the day (STA_DEL).
    pub delete_second: bool,
    /// The inserted second is going on: the time of day runs through 23:59:59 again (TIME_OOP).
    pub in_leap_second: bool,
}

/// Reads the kernel's view; it changes nothing (no mode bit is set).
///
/// # Errors
/// Where a filter forbids even reading.
pub fn kernel_clock() -> io::Result<KernelClock> {
    // SAFETY: timex is plain integers, for which all zeros is a value.
    let mut state: libc::timex = unsafe { zeroed() };
    state.modes = 0;
    // SAFETY: the pointer is to a whole timex that is ours alone; with no mode bit set the kernel only writes to it.
    let phase = unsafe { libc::adjtimex(&raw mut state) };
    if phase < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(KernelClock {
        insert_second: state.status & libc::STA_INS != 0,
        delete_second: state.status & libc::STA_DEL != 0,
        in_leap_second: phase == libc::TIME_OOP,
    })
}

/// Takes the program that chooses a socket of the group of `member` away; there may be none.
///
/// # Errors
/// What `setsockopt(2)` gives: the socket is in no group.
pub fn detach_reuseport(member: BorrowedFd<'_>) -> io::Result<()> {
    /// linux/asm-generic/socket.h; libc doesn't have it.
    const SO_DETACH_REUSEPORT_BPF: libc::c_int = 68;
    // The kernel doesn't look at the value.
    match set_option(member, libc::SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

/// Has the kernel look for packets at the network card for so many microseconds before a receiver of `socket` sleeps; 0: not
/// at all.
///
/// # Errors
/// What `setsockopt(2)` gives: to raise it needs CAP_NET_ADMIN.
pub fn set_busy_poll(socket: BorrowedFd<'_>, microseconds: u16) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_BUSY_POLL, microseconds.into())
}

/// Spares the kernel what short replies don't need: to look up the path's MTU, which nobody can lower for us with forged
/// messages then, and a flow label for IPv6 (*measured*: 250 ns a reply on IPv4). A reply is shorter than any MTU (RFC 791
/// §3.2: 68 bytes without options pass anywhere unless the link is odd; RFC 8200 §5: 1280).
///
/// # Errors
/// What `setsockopt(2)` gives.
pub fn send_plainly(socket: BorrowedFd<'_>, is_ipv6: bool) -> io::Result<()> {
    if is_ipv6 {
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_AUTOFLOWLABEL, 0)?;
        set_option(
            socket,
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_PROBE,
        )
    } else {
        set_option(
            socket,
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_PROBE,
        )
    }
}

/// Options that nix doesn't have.
fn set_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the value is a readable int of the length that is said, and the kernel only reads it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            length_of::<libc::c_int>(),
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// How many packets the kernel dropped at `socket` since it was made: nearly always because its receive queue was full
/// (`SO_MEMINFO`, Linux 4.12). The count begins anew after 2^32.
///
/// # Errors
/// What `getsockopt(2)` gives: an older kernel.
pub fn dropped(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut counts = [0_u32; 16];
    let mut length = libc::socklen_t::try_from(size_of_val(&counts)).unwrap_or(0);
    // SAFETY: the kernel writes at most `length` bytes to `counts`, which are as many as it has, and any bits are a u32.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            counts.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let index = usize::try_from(libc::SK_MEMINFO_DROPS).unwrap_or(usize::MAX);
    match counts.get(index) {
        Some(drops) if result == 0 => Ok(*drops),
        Some(_) | None => Err(io::Error::last_os_error()),
    }
}

/// Waits until no core is in the middle of delivering a packet that it took up before (`membarrier(2)`: a grace period of
/// the kernel's). Takes some milliseconds.
///
/// # Errors
/// The kernel doesn't have it, or a filter forbids it.
pub fn wait_grace_period() -> io::Result<()> {
    // SAFETY: the call has no pointers; it takes a command, flags and a CPU, the last two unused by this command.
    match unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// From now on `signal` does nothing to this process but to interrupt what the thread that gets it waits for: no call is
/// restarted after it.
///
/// # Errors
/// What `sigaction(2)` gives.
pub fn interrupt_by(signal: Signal) -> io::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: a handler that does nothing is safe wherever a signal may come, and nobody else handles this signal.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

/// From now on memory that was got in one piece of a megabyte or more goes back to the system when it is freed. By itself glibc
/// keeps more and more of such pieces, up to 32 MB each.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    {
        const LARGE: libc::c_int = 1 << 20;
        // SAFETY: the call has no pointers, and may come at any time; where it fails all stays as it was.
        let _set = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
    }
}

/// Takes possession of the descriptors that the service manager gave us under these numbers (`sd_listen_fds(3)`), or that came with
/// a message.
pub fn inherited(numbers: impl IntoIterator<Item = RawFd>) -> Vec<OwnedFd> {
    let own = |number| {
        // SAFETY: they are open, ours and nobody else's: those of the manager by the protocol, since before the program began
        // (the caller asks once, and has seen that each is open); those of a message since the kernel made them for us.
        unsafe { OwnedFd::from_raw_fd(number) }
    };
    numbers.into_iter().map(own).collect()
}

/// Starts a copy of this process that does `job` and ends; nobody waits for it. Must run while the process has one thread: the
/// copy would have no other, and locks that the others hold would stay locked.
///
/// # Errors
/// What `fork(2)` gives.
pub fn start_copy(job: impl FnOnce()) -> io::Result<()> {
    // SAFETY: there is one thread, by the contract above, so the copy may do whatever this process may.
    match unsafe { fork() }? {
        ForkResult::Parent { .. } => Ok(()),
        ForkResult::Child => {
            job();
            // SAFETY: it doesn't return. What runs at the end of the process is for the one that we are a copy of.
            unsafe { libc::_exit(0) }
        }
    }
}

/// Closes all descriptors of this process but `kept`, whoever has them: whoever uses one of those gets an error or a file that was
/// opened since. So this is for a copy of a process that uses none of what it got.
///
/// # Errors
/// A kernel before 5.9, or a filter that forbids it.
pub fn close_all_but(kept: RawFd) -> io::Result<()> {
    let kept = kept.cast_unsigned();
    let close = |first: u32, last: u32| {
        // SAFETY: the call has no pointers. By the contract above nobody counts on what it closes.
        match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    if let Some(last) = kept.checked_sub(1) {
        close(0, last)?;
    }
    close(kept.saturating_add(1), u32::MAX)
}

fn length_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_its_clock() {
        let clock = kernel_clock().unwrap();
        assert!(!clock.in_leap_second, "{clock:?}");
    }
}
