//! What we believe the time is: the system variables that every reply carries, and how they reach the workers.

mod publish;
mod variables;

pub use publish::{Publisher, Reader, cell};
pub use variables::{Reference, SystemVariables};
