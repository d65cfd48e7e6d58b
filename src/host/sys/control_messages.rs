//! Impure. Control messages, which go with a datagram, and the headers of `recvmsg(2)` and its kin.

use std::mem::{MaybeUninit, size_of, zeroed};
use std::ptr;

use crate::time::NtpTimestamp;

/// Space for the control messages of one datagram.
///
/// With a request: timestamps (64 bytes) and packet info (up to 40). With a transmit timestamp: those and the error (up to 64).
const SPACE: usize = 144;

/// A buffer for control messages, aligned as the kernel wants it: as `cmsghdr` is.
#[repr(C, align(8))]
#[derive(Clone)]
pub(super) struct ControlBuffer {
    bytes: [u8; SPACE],
    length: usize,
}

/// A control message in a buffer.
#[derive(Clone, Copy)]
pub(super) struct ControlMessage(*const libc::cmsghdr);

impl ControlBuffer {
    pub(super) const fn new() -> Self {
        Self {
            bytes: [0; SPACE],
            length: 0,
        }
    }

    /// Has the kernel write into it, by `header`.
    pub(super) fn receive(&mut self, header: &mut libc::msghdr) {
        header.msg_control = self.bytes.as_mut_ptr().cast();
        set_control_len(header, SPACE);
    }

    /// Takes note of what the kernel wrote, by `header`.
    pub(super) fn received(&mut self, header: &libc::msghdr) {
        self.length = control_len(header).min(SPACE);
    }

    /// Has the kernel read it, by `header`.
    pub(super) fn send(&mut self, header: &mut libc::msghdr) {
        header.msg_control = match self.length {
            0 => ptr::null_mut(),
            _ => self.bytes.as_mut_ptr().cast(),
        };
        set_control_len(header, self.length);
    }

    /// Makes it empty.
    pub(super) fn clear(&mut self) {
        self.length = 0;
    }

    /// Adds a message of this `level` and `kind`, if there is room.
    pub(super) fn add<T: Copy>(&mut self, level: i32, kind: i32, data: T) {
        let data_len = u32::try_from(size_of::<T>()).unwrap_or(u32::MAX);
        // SAFETY: CMSG_SPACE and CMSG_LEN only calculate.
        let (space, whole) = unsafe { (libc::CMSG_SPACE(data_len), libc::CMSG_LEN(data_len)) };
        let (space, length) = (space as usize, whole as usize);
        let begin = self.length.next_multiple_of(size_of::<usize>());
        if begin + space > SPACE {
            return;
        }
        // SAFETY: cmsghdr is integers, for which all zeros is a value (musl pads it privately, and the kernel
        // reads the padding as a part of the length).
        let mut header: libc::cmsghdr = unsafe { zeroed() };
        header.cmsg_level = level;
        header.cmsg_type = kind;
        header.cmsg_len = whole as _;
        // SAFETY: the buffer is aligned for cmsghdr, `begin` is a multiple of that alignment, and behind it there are at
        // least `space` bytes, which is the header and the data behind it, all integers; the data may be unaligned, so
        // it is written as such.
        unsafe {
            let message: *mut libc::cmsghdr = self.bytes.as_mut_ptr().add(begin).cast();
            message.write(header);
            ptr::write_unaligned(libc::CMSG_DATA(message).cast::<T>(), data);
        }
        // Without the padding behind it: for more than IPv6's packet info the kernel allocates memory.
        self.length = begin + length;
    }

    /// Visits the messages, each with its level and kind.
    #[inline]
    pub(super) fn each(&self, mut visit: impl FnMut((i32, i32), ControlMessage)) {
        // SAFETY: msghdr is integers and pointers, for which all zeros is a value.
        let mut header: libc::msghdr = unsafe { zeroed() };
        header.msg_control = self.bytes.as_ptr().cast_mut().cast();
        set_control_len(&mut header, self.length);
        // SAFETY: `header` describes the first `length` bytes of this aligned buffer, which the kernel filled in (or
        // `add` did); the macros stay inside that length.
        let mut message = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
        while !message.is_null() {
            // SAFETY: not null, so it points to a whole, aligned cmsghdr inside the buffer.
            let kind = unsafe { ((*message).cmsg_level, (*message).cmsg_type) };
            visit(kind, ControlMessage(message));
            // SAFETY: `message` came from the macros for this very header.
            message = unsafe { libc::CMSG_NXTHDR(&raw const header, message) };
        }
    }
}

impl ControlMessage {
    /// Reads the data, if it is long enough to be a `T`.
    pub(super) fn read<T: Copy>(self) -> Option<T> {
        let wanted = u32::try_from(size_of::<T>()).ok()?;
        let mut data = MaybeUninit::<T>::uninit();
        // SAFETY: `each` got the message from CMSG_FIRSTHDR or CMSG_NXTHDR, and gives it to its visitor only while the
        // buffer is borrowed, so that its header and all of its `cmsg_len` bytes are inside the buffer; the length is
        // compared before as many bytes as `T` has are copied, which initializes it: `T` is only ever a C struct of
        // integers.
        unsafe {
            if cmsg_len(&*self.0) < libc::CMSG_LEN(wanted) as usize {
                return None;
            }
            ptr::copy_nonoverlapping(libc::CMSG_DATA(self.0), data.as_mut_ptr().cast(), size_of::<T>());
            Some(data.assume_init())
        }
    }

    /// Reads a timestamp by the host's clock, the first one in the data; `None` if it is zero, which is no timestamp.
    pub(super) fn read_time(self) -> Option<NtpTimestamp> {
        let time: libc::timespec = self.read()?;
        (time.tv_sec != 0)
            .then(|| NtpTimestamp::from_unix(time.tv_sec, u32::try_from(time.tv_nsec).unwrap_or(0)))
    }
}

/// Makes the header of a datagram with one vector and no control messages.
pub(super) fn message(
    name: *mut libc::sockaddr_storage,
    name_len: libc::socklen_t,
    vector: &mut libc::iovec,
) -> libc::mmsghdr {
    // SAFETY: mmsghdr is integers and pointers, for which all zeros is a value (musl pads it privately, so
    // that it can't be written out).
    let mut message: libc::mmsghdr = unsafe { zeroed() };
    message.msg_hdr.msg_name = name.cast();
    message.msg_hdr.msg_namelen = name_len;
    message.msg_hdr.msg_iov = vector;
    message.msg_hdr.msg_iovlen = 1;
    message
}

/// Sets the length of the control data: glibc counts it as `size_t`, musl as `socklen_t`.
#[allow(clippy::cast_possible_truncation, reason = "at most SPACE")]
fn set_control_len(header: &mut libc::msghdr, length: usize) {
    header.msg_controllen = length as _;
}

#[allow(clippy::unnecessary_cast, reason = "needed where musl's types are narrower")]
fn control_len(header: &libc::msghdr) -> usize {
    header.msg_controllen as usize
}

#[allow(clippy::unnecessary_cast, reason = "needed where musl's types are narrower")]
fn cmsg_len(message: &libc::cmsghdr) -> usize {
    message.cmsg_len as usize
}
