//! Impure. `ntpfront nts-secret`: a new secret for the cookies of NTS.

use std::process::ExitCode;

use zeroize::Zeroizing;

use super::output::{FAILURE, fail, print};
use crate::host::{entropy, limits};
use crate::nts::secret_file;

pub(super) fn run() -> ExitCode {
    match entropy::bytes() {
        Ok(bytes) => {
            print(&Zeroizing::new(secret_file::line(bytes)));
            ExitCode::SUCCESS
        }
        Err(error) => {
            let why = format!("the system gives no randomness: {}", limits::explain(&error));
            fail("nts-secret", &why, FAILURE)
        }
    }
}
