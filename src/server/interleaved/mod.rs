//! Pure. Interleaved mode (RFC 9769 §2) as a server: a reply tells when the client's previous reply really left.
//!
//! `request`: the requests that can be in this mode, and their replies. `saved_timestamps`: when earlier replies left,
//! found by the receive timestamp in them; `place`: a place in it. `expected`: replies of which the kernel has yet to tell
//! when they left. `steps`: steps of the served time, which make saved timestamps worthless.
//!
//! A client's first request can't be in this mode. The reply to it has the lowest bit set in its receive timestamp, and
//! clear in its transmit timestamp. A client in this mode echoes the former, any other client the latter or nothing: so
//! only the replies to candidates have to be stamped by the kernel, and remembered. The third reply is the first
//! interleaved one.

mod expected;
mod place;
mod request;
mod saved_timestamps;
mod steps;

#[cfg(test)]
mod place_model;

/// The atomic numbers; the model check compiles the same code with those of the model checker.
mod sync {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
}

pub use expected::{
    Expected, ExpectedEntry, ExpectedTimestamps, Pending, PredictedTransmit, ReplyKind, SampleKind,
};
pub use request::{InterleavedRequest, receive_mark, transmit_mark};
pub use saved_timestamps::{SavedCounts, SavedTimestamps, Tag, Timestamps};
pub use steps::AnnouncedSteps;

use strum::{IntoStaticStr, VariantArray};

/// Whether a listener answers in interleaved mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum InterleavedMode {
    /// Clients that ask for it are answered in it.
    #[default]
    Auto,
    /// All clients are answered in basic mode.
    Off,
}
