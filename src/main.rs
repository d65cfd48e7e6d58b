//! The thin shell: arguments in, exit status out.

use std::io::{self, Write};
use std::process::ExitCode;

use ntpfront::cli::{self, Command, Flags, Query};
use ntpfront::config::{Fault, Loaded, address, commands, file};
use ntpfront::supervisor;
use ntpfront::upstream::Upstream;
use ntpfront::upstream::query::query;

/// A failure while running; faults of the configuration have [`commands::STATUS_FAULT`].
const STATUS_FAILURE: u8 = 1;

fn main() -> ExitCode {
    let invocation = match cli::read(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(error) => error.exit(),
    };
    match invocation.command {
        Command::Serve => serve(&invocation.flags),
        Command::Check => answer(commands::check, &invocation.flags),
        Command::Config => answer(commands::show, &invocation.flags),
        Command::Query(asked) => ask(&asked),
    }
}

fn serve(flags: &Flags) -> ExitCode {
    let loaded = match file::load(flags) {
        Ok(loaded) => loaded,
        Err(faults) => {
            say(io::stderr(), &commands::report(&faults));
            return commands::STATUS_FAULT.into();
        }
    };
    match supervisor::run(loaded) {
        Ok(()) => ExitCode::SUCCESS,
        // The log has said why.
        Err(_) => STATUS_FAILURE.into(),
    }
}

fn answer(command: impl Fn(&Result<Loaded, Vec<Fault>>) -> commands::Answer, flags: &Flags) -> ExitCode {
    let answer = command(&file::load(flags));
    say(io::stdout(), &answer.out);
    say(io::stderr(), &answer.err);
    answer.status.into()
}

fn ask(asked: &Query) -> ExitCode {
    let (host, port) = match address::host_and_port(&asked.server) {
        Ok(server) => server,
        Err(refusal) => {
            let hint = refusal.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            let fault = format!(
                "ntpfront query: {:?} is not {}{hint}",
                asked.server, refusal.expected
            );
            say(io::stderr(), &(fault + "\n"));
            return commands::STATUS_FAULT.into();
        }
    };
    let server = Upstream {
        host,
        port,
        iburst: false,
        minpoll: 1,
        maxpoll: 1,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(io::stderr(), &format!("ntpfront query: cannot start: {error}\n"));
            return STATUS_FAILURE.into();
        }
    };
    let findings = runtime.block_on(query(&server));
    let text = if asked.json {
        serde_json::to_string(&findings)
            .map(|json| json + "\n")
            .unwrap_or_default()
    } else {
        findings.to_string()
    };
    say(io::stdout(), &text);
    if findings.usable {
        ExitCode::SUCCESS
    } else {
        STATUS_FAILURE.into()
    }
}

/// Writes a whole answer. Who closes the pipe before (as `head` does) has read enough.
fn say(mut to: impl Write, text: &str) {
    let _written = to.write_all(text.as_bytes());
}
