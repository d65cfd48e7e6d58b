//! Impure. The timestamps at which datagrams left, as the kernel tells them in a socket's error queue.
//!
//! They are asked for datagram by datagram (`Batch::stamp`): one costs the kernel half a microsecond, and most replies need
//! none. The kernel numbers those datagrams of a socket that it stamps, from 0 on.

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use arrayvec::ArrayVec;

use super::control_messages::ControlBuffer;
use super::set_option;
use crate::time::NtpTimestamp;

/// The most that are taken with one call.
const TAKEN: usize = 32;

/// Makes the kernel stamp the datagrams that come to `socket`, and tell when those left that are sent to be stamped.
///
/// Their numbers begin at 0 again. (The timestamps of arrivals come in this form, too: in two forms they would cost twice.)
///
/// # Errors
/// As `setsockopt(2)`: a kernel that can't.
pub fn stamp_datagrams(socket: BorrowedFd<'_>) -> io::Result<()> {
    let flags = libc::SOF_TIMESTAMPING_SOFTWARE
        | libc::SOF_TIMESTAMPING_RX_SOFTWARE
        | libc::SOF_TIMESTAMPING_OPT_ID
        | libc::SOF_TIMESTAMPING_OPT_TSONLY;
    // The numbers begin anew when they are turned on.
    set_option(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, 0)?;
    set_option(
        socket,
        libc::SOL_SOCKET,
        libc::SO_TIMESTAMPING,
        flags.cast_signed(),
    )
}

/// A datagram's number among those that were stamped, and when it left, by the host's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransmitTimestamp {
    /// The number: it wraps at 2^32.
    pub number: u32,
    /// The time when the datagram was given to the network card.
    pub time: NtpTimestamp,
}

/// Buffers to take transmit timestamps.
#[expect(missing_debug_implementations, reason = "the raw buffers would be printed")]
pub struct TransmitTimestamps {
    controls: Vec<ControlBuffer>,
    taken: usize,
}

impl Default for TransmitTimestamps {
    fn default() -> Self {
        Self {
            controls: vec![ControlBuffer::new(); TAKEN],
            taken: 0,
        }
    }
}

impl TransmitTimestamps {
    /// Takes those that `socket` has, up to 32, without waiting; the previous ones are lost. Returns whether there may be more.
    ///
    /// # Errors
    /// As `recvmmsg(2)`; `WouldBlock` if there is none.
    pub fn take(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        self.taken = 0;
        let mut headers = ArrayVec::<libc::mmsghdr, TAKEN>::new();
        for control in &mut self.controls {
            // SAFETY: mmsghdr is integers and pointers, for which all zeros is a value: no name, no vectors.
            let mut header: libc::mmsghdr = unsafe { zeroed() };
            control.receive(&mut header.msg_hdr);
            headers.push(header);
        }
        let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
        // SAFETY: there are exactly `headers.len()` headers; each points to a control buffer of the length it says and to
        // nothing else, owned by `self`, exclusively borrowed and not moved until the call is over. A null timeout
        // means none.
        #[allow(clippy::cast_sign_loss, reason = "bits: glibc has them signed, musl doesn't")]
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                u32::try_from(headers.len()).unwrap_or(u32::MAX),
                flags as _,
                ptr::null_mut(),
            )
        };
        self.taken = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for (control, header) in self.controls.iter_mut().zip(&headers).take(self.taken) {
            control.received(&header.msg_hdr);
        }
        Ok(self.taken == TAKEN)
    }

    /// Those that were taken last.
    pub fn iter(&self) -> impl Iterator<Item = TransmitTimestamp> {
        self.controls.iter().take(self.taken).filter_map(read)
    }
}

/// Reads a message of an error queue; `None` if it is none about a transmit timestamp.
fn read(control: &ControlBuffer) -> Option<TransmitTimestamp> {
    let (mut time, mut number) = (None, None);
    control.each(|kind, message| match kind {
        (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING) => time = message.read_time(),
        (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) => {
            number = message
                .read::<libc::sock_extended_err>()
                .filter(|error| error.ee_origin == libc::SO_EE_ORIGIN_TIMESTAMPING)
                .map(|error| error.ee_data);
        }
        _ => {}
    });
    Some(TransmitTimestamp {
        number: number?,
        time: time?,
    })
}
