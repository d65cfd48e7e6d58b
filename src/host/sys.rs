//! Impure. The system calls that no library offers in the form needed here: the only unsafe code of the project.
//!
//! They are `datagrams` (many per call) and their `transmit_timestamps`, `bpf` (the fast path's memory and link),
//! `huge_pages`, `prefetch` (a hint to the CPU), a few options of sockets, the action of a signal, and the kernel's view of
//! its clock (`adjtimex`).

#![expect(
    unsafe_code,
    reason = "the only file with unsafe code, with its parts; each block argues its soundness"
)]

pub mod bpf;
mod control_messages;
mod datagrams;
mod huge_pages;
mod prefetch;
mod transmit_timestamps;

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{ForkResult, fork};

pub use datagrams::{Batch, Datagram, SendOutcome};
pub use huge_pages::large_table;
pub use prefetch::prefetch;
pub use transmit_timestamps::{TransmitTimestamp, TransmitTimestamps, stamp_datagrams};

/// The kernel's view of leap seconds (`adjtimex(2)`), as the daemon that keeps its clock has set it.
///
/// Its flag STA_UNSYNC and its maximum error prove nothing, so they are not here: chronyd clears the flag
/// only with `rtcsync`, so a well kept clock may have it, and a daemon announces its maximum error over NTP,
/// too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelClock {
    /// A second is to be inserted at the end of the day (STA_INS).
    pub insert_second: bool,
    /// A second is to be deleted at the end of the day (STA_DEL).
    pub delete_second: bool,
    /// The inserted second is in progress: the time of day runs through 23:59:59 again (TIME_OOP).
    pub in_leap_second: bool,
}

/// Reads the kernel's view; it changes nothing (no mode bit is set).
///
/// # Errors
/// A filter forbids even reading.
pub fn kernel_clock() -> io::Result<KernelClock> {
    // SAFETY: timex is plain integers, for which all zeros is a value.
    let mut state: libc::timex = unsafe { zeroed() };
    state.modes = 0;
    // SAFETY: the pointer is to a whole, exclusively borrowed timex; with no mode bit set the kernel only
    // writes to it.
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

/// Detaches the program that chooses a socket of the group of `member`; there may be none.
///
/// # Errors
/// As `setsockopt(2)`: the socket is in no group.
pub fn detach_reuseport(member: BorrowedFd<'_>) -> io::Result<()> {
    /// From linux/asm-generic/socket.h; libc doesn't have it.
    const SO_DETACH_REUSEPORT_BPF: libc::c_int = 68;
    // The kernel doesn't look at the value.
    match set_option(member, libc::SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

/// Makes the kernel poll the network card for this many microseconds before a receiver of `socket` sleeps.
///
/// 0 turns it off.
///
/// # Errors
/// As `setsockopt(2)`: to raise it needs CAP_NET_ADMIN.
pub fn set_busy_poll(socket: BorrowedFd<'_>, microseconds: u16) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_BUSY_POLL, microseconds.into())
}

/// Makes connections to a listening `socket` wait in the kernel until their client sends something, or this many seconds.
///
/// # Errors
/// As `setsockopt(2)`.
pub fn defer_accept(socket: BorrowedFd<'_>, seconds: u16) -> io::Result<()> {
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds.into())
}

/// Spares the kernel work that short replies don't need: to look up the path's MTU, and a flow label for IPv6.
///
/// *Measured*: 250 ns per reply on IPv4. Then forged messages can't lower the MTU either. A reply is shorter
/// than any MTU (RFC 791 §3.2: 68 bytes without options pass anywhere unless the link is odd; RFC 8200 §5:
/// 1280).
///
/// # Errors
/// As `setsockopt(2)`.
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

/// Sets an option that nix doesn't have.
fn set_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the value is a readable int of the given length, and the kernel only reads it.
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

/// Returns the number of packets that the kernel dropped at `socket` since it was made.
///
/// The reason is nearly always that its receive queue was full (`SO_MEMINFO`, Linux 4.12). The count wraps at
/// 2^32.
///
/// # Errors
/// As `getsockopt(2)`: an older kernel.
pub fn dropped(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut counts = [0_u32; 16];
    let mut length = libc::socklen_t::try_from(size_of_val(&counts)).unwrap_or(0);
    // SAFETY: the kernel writes at most `length` bytes to `counts`, which has as many, and any bits are a
    // u32.
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

/// Waits until no core is delivering a packet that it took up before.
///
/// It is a grace period of the kernel (`membarrier(2)`), and takes some milliseconds.
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

/// Makes `signal` do nothing to this process except interrupt the call that the thread getting it waits in.
///
/// No call is restarted after it.
///
/// # Errors
/// As `sigaction(2)`.
pub fn interrupt_by(signal: Signal) -> io::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: a handler that does nothing is safe wherever a signal may come, and no other code handles this
    // signal.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

/// Makes the allocator return memory of a megabyte or more in one piece to the system when it is freed.
///
/// By default glibc keeps more and more of such pieces, up to 32 MB each.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    {
        const LARGE: libc::c_int = 1 << 20;
        // SAFETY: the call has no pointers, and may come at any time; if it fails, all stays as it was.
        let _set = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
    }
}

/// Takes ownership of descriptors from the service manager (`sd_listen_fds(3)`), or from a message.
pub fn inherited(numbers: impl IntoIterator<Item = RawFd>) -> Vec<OwnedFd> {
    let own = |number| {
        // SAFETY: they are open and owned by nothing else: those of the manager by the protocol, since before
        // the program began (the caller asks once, and has seen that each is open); those of a message since
        // the kernel made them for this process.
        unsafe { OwnedFd::from_raw_fd(number) }
    };
    numbers.into_iter().map(own).collect()
}

/// Starts a copy of this process that does `job` and ends; nothing waits for it.
///
/// Must run while the process has one thread: the copy would have no other, and locks that the others hold
/// would stay locked.
///
/// # Errors
/// As `fork(2)`.
pub fn start_copy(job: impl FnOnce()) -> io::Result<()> {
    // SAFETY: there is one thread, by the contract above, so the copy may do all that this process may.
    match unsafe { fork() }? {
        ForkResult::Parent { .. } => Ok(()),
        ForkResult::Child => {
            job();
            // SAFETY: it doesn't return. Handlers for the end of the process are for the original.
            unsafe { libc::_exit(0) }
        }
    }
}

/// Closes all descriptors of this process except `kept`, whichever code owns them.
///
/// Code that uses one of those afterwards gets an error, or a file that was opened since. So this is for a
/// copy of a process that uses none of what it inherited.
///
/// # Errors
/// A kernel before 5.9, or a filter that forbids it.
pub fn close_all_but(kept: RawFd) -> io::Result<()> {
    let kept = kept.cast_unsigned();
    let close = |first: u32, last: u32| {
        // SAFETY: the call has no pointers. By the contract above nothing relies on what it closes.
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
