//! The announced time: the system variables in every reply, the served clock, and how both reach the workers.

pub mod handover;
mod model;
mod publish;
mod rehearsal;
mod smeared;
mod variables;

pub use model::ClockModel;
pub use publish::{ReferencePublisher, ReferenceReader, published};
pub use rehearsal::{Rehearsal, TEST_STRATUM};
pub use smeared::SmearedReference;
pub use variables::{Reference, SystemVariables};
