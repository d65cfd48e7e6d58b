//! What we believe the time is: the system variables that every reply carries, the clock that is served, and how
//! both reach the workers.

pub mod handover;
mod model;
mod publish;
mod variables;

pub use model::ClockModel;
pub use publish::{ReferencePublisher, ReferenceReader, published};
pub use variables::{Reference, SystemVariables};
