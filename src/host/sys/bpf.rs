//! Impure. The part of `sys` for BPF: memory shared with a map, and a program's link to an interface.
//!
//! The library that loads programs would attach by netlink where a link is refused, and such a program stays
//! attached after the process ends.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::AtomicU64;

/// The memory of an array map that allows it (`BPF_F_MMAPABLE`), in words.
#[derive(Debug)]
pub struct Shared {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: it is memory of words that all threads may read and write, each as a whole.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// Maps the first `words` of `map`; at least one.
    ///
    /// # Errors
    /// As `mmap(2)`: the map is smaller, or does not allow it.
    pub fn of(map: BorrowedFd<'_>, words: usize) -> io::Result<Self> {
        let length = words
            .checked_mul(size_of::<u64>())
            .filter(|length| *length > 0)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let both = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses a free range of the address space; the descriptor is open while it is
        // borrowed.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                both,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { start, words })
    }

    /// All words. The kernel's side may write them at any time.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the range was mapped with this length (whole pages, so aligned), stays until `self` is
        // dropped, and is only ever used as words that are read and written as a whole; any bits are a
        // number.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: `self` owns the range, and no reference into it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.words * size_of::<u64>()) };
    }
}

/// The fields of `BPF_LINK_CREATE` that are used here (linux/bpf.h).
#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    kind: u32,
    flags: u32,
    /// The unused fields: the kernel wants zeros.
    rest: [u64; 4],
}

/// From linux/bpf.h: the command, and the attachment type of an XDP program.
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_XDP: u32 = 37;

/// Attaches an XDP program to the interface of this number, while the descriptor is open.
///
/// `flags` are as in linux/if_link.h (`XDP_FLAGS_*`).
///
/// # Errors
/// As `bpf(2)`: no such interface (ENODEV), another program is there (EBUSY, EEXIST), the driver can't do it
/// (EOPNOTSUPP), a kernel older than 5.9 (EINVAL).
pub fn attach_xdp(program: BorrowedFd<'_>, interface: u32, flags: u32) -> io::Result<OwnedFd> {
    let attributes = LinkCreate {
        program: u32::try_from(program.as_raw_fd()).unwrap_or(u32::MAX),
        interface,
        kind: BPF_XDP,
        flags,
        rest: [0; 4],
    };
    // SAFETY: the kernel reads as many bytes as the length says, which are all of a structure without
    // padding; those that it does not know have to be zero, and are.
    let link = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_LINK_CREATE,
            &raw const attributes,
            size_of::<LinkCreate>(),
        )
    };
    let link = i32::try_from(link).unwrap_or(-1);
    if link < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nothing else knows it. (It closes on exec by
    // itself.)
    Ok(unsafe { OwnedFd::from_raw_fd(link) })
}
