//! Impure. The program: arguments in, exit status out.

use std::process::ExitCode;

use ntpfront::{cli, commands};

fn main() -> ExitCode {
    match cli::read(std::env::args_os()) {
        Ok(invocation) => commands::run(&invocation.in_environment(|name| std::env::var_os(name))),
        Err(error) => error.exit(),
    }
}
