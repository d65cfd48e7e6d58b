//! Pure. The rows of `[interleaved]`.

use crate::config::kind::whole;
use crate::config::row::table;

table! {
    /// Interleaved mode (RFC 9769) as a server: responses that say exactly when the client's previous response left.
    ///
    /// Clients that ask for it (chronyd with "xleave") then see no more of this host's queues. Others hardly cost more.
    "[interleaved]": Reload, RawInterleaved
    #[derive(Clone, Debug)]
    pub(in crate::config) struct InterleavedKeys {
        /// The number of clients in this mode that each listener can have at once: {range}.
        ///
        /// Each takes 48 bytes, a third of them for clients that just begin. Beyond it the clients that were
        /// silent longest get a response in basic mode. A reload that changes it forgets all: each client gets one or two
        /// responses in basic mode.
        clients: u32 = 65_536, whole(1024..=16_777_216);
    }
}
