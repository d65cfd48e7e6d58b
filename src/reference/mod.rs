//! What we believe the time is: the system variables that every reply carries, the clock that is served, and how
//! both reach the workers.

mod clock;
pub mod heritage;
mod publish;
mod variables;

pub use clock::{ClockModel, Moment, Timescale, length, since};
pub use publish::{Publisher, Reader, cell};
pub use variables::{Reference, SystemVariables};
