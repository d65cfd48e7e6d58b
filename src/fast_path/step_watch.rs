//! Impure. The thread that tells the program each step of the host's clock, as soon as the kernel reports it.
//!
//! The program can't see a step, and the supervisor publishes the time only every few milliseconds. This thread does
//! nothing else, so that it can count a step within some microseconds, whatever the supervisor does meanwhile.

use std::io;
use std::sync::Arc;

use super::loader::Program;
use super::maps::count_step;
use crate::host::clock::StepTimer;
use crate::host::sys::bpf::Shared;

/// A wait for steps of the host's clock, from its creation on, and the memory where they are counted.
#[derive(Debug)]
pub struct StepWatch {
    timer: StepTimer,
    state: Arc<Shared>,
}

impl StepWatch {
    /// Begins to watch, for this program.
    ///
    /// # Errors
    /// As `timerfd_create(2)`.
    pub(super) fn new(program: &Program) -> io::Result<Self> {
        Ok(Self {
            timer: StepTimer::new()?,
            state: program.shared_state(),
        })
    }

    /// Counts steps, and returns only if none can be noticed any more.
    pub fn run(self) -> io::Error {
        loop {
            if let Err(error) = self.timer.wait() {
                return error;
            }
            count_step(self.state.words());
        }
    }
}
