//! The thin shell: arguments in, exit status out.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use serde::Serialize;
use terminal_size::{Height, terminal_size};

use ntpfront::cli::{self, About, Ask, Command, Flags, Import, Query};
use ntpfront::config::commands::Answer;
use ntpfront::config::file::Loader;
use ntpfront::config::{Fault, Loaded, address, commands, file, import};
use ntpfront::host::{control, limits, xdp_needs};
use ntpfront::observe::pool::{PoolCheck, SAMPLES};
use ntpfront::supervisor::needs::Needs;
use ntpfront::supervisor::{self, allowed};
use ntpfront::upstream::query::{query, samples};
use ntpfront::upstream::{Role, Upstream};

/// A failure while running; faults of the configuration have [`commands::STATUS_FAULT`].
const STATUS_FAILURE: u8 = 1;
/// How often `top` shows anew.
const REDRAW: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let invocation = match cli::read(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(error) => error.exit(),
    };
    match invocation.command {
        Command::Serve => serve(&invocation.flags),
        Command::Check {
            against_running: true,
        } => check_against_running(&invocation.flags),
        Command::Check {
            against_running: false,
        } => answer(check, &invocation.flags),
        Command::Config => answer(commands::show, &invocation.flags),
        Command::Query(asked) => ask(&asked),
        Command::Ask(asked) => ask_about(&asked, &invocation.flags),
        Command::Import(asked) => import(&asked),
    }
}

fn serve(flags: &Flags) -> ExitCode {
    let mut loader = Loader::new(flags);
    let loaded = match loader.load() {
        Ok(loaded) => loaded,
        Err(faults) => {
            say(io::stderr(), &commands::report(&faults));
            return commands::STATUS_FAULT.into();
        }
    };
    match supervisor::run(loader, loaded) {
        Ok(()) => ExitCode::SUCCESS,
        // The log has said why.
        Err(_) => STATUS_FAILURE.into(),
    }
}

fn answer(command: impl Fn(&Result<Loaded, Vec<Fault>>) -> Answer, flags: &Flags) -> ExitCode {
    tell(&command(&file::load(flags)))
}

/// The file, and what it wants of this host.
fn check(loaded: &Result<Loaded, Vec<Fault>>) -> Answer {
    let mut answer = commands::check(loaded);
    if let Ok(loaded) = loaded {
        let wanted = &loaded.config.fast_path;
        let (impossible, absent) = (xdp_needs::impossible(), xdp_needs::absent(&wanted.interfaces));
        if let Some(path) = &loaded.path
            && file::read(path).is_ok_and(|text| text.trim().is_empty())
        {
            commands::check_empty(&mut answer, path);
        }
        commands::check_fast_path(&mut answer, wanted, impossible.as_deref(), &absent);
        let needs = Needs::of(&loaded.config, loaded.lists);
        commands::check_limits(&mut answer, &needs.shortfalls(&allowed::limits()));
    }
    answer
}

fn tell(answer: &Answer) -> ExitCode {
    say(io::stdout(), &answer.out);
    say(io::stderr(), &answer.err);
    answer.status.into()
}

/// The file is judged here first: then the server can't be blamed for its faults, nor asked for nothing.
fn check_against_running(flags: &Flags) -> ExitCode {
    let loaded = match file::load(flags) {
        Ok(loaded) => loaded,
        Err(faults) => return tell(&commands::check(&Err(faults))),
    };
    let path = loaded.path.as_deref().unwrap_or(Path::new(""));
    let text = loaded.path.as_deref().map(file::read).transpose();
    let asked = match (&loaded.config.control.socket, text) {
        (Some(socket), Ok(text)) => {
            let text = text.unwrap_or_default();
            ask_running(socket, &format!("check {}\n{text}", path.display()))
        }
        (None, _) => Err("there is no control.socket to ask through".to_owned()),
        (_, Err(faults)) => Err(commands::report(&faults)),
    };
    match asked {
        Ok(answer) => tell(&answer),
        Err(why) => {
            say(
                io::stderr(),
                &format!("ntpfront check: cannot ask the running server: {why}\n"),
            );
            STATUS_FAILURE.into()
        }
    }
}

fn import(asked: &Import) -> ExitCode {
    let read = |path: &PathBuf| Ok((path.clone(), file::read_foreign(path)?));
    let files: Result<Vec<_>, Vec<Fault>> = asked.files.iter().map(read).collect();
    match files {
        Ok(files) => tell(&import::import(asked.from, &files)),
        Err(mut faults) => {
            // They would be about the file that is served.
            faults.iter_mut().for_each(|fault| fault.hint = None);
            say(io::stderr(), &commands::report(&faults));
            commands::STATUS_FAULT.into()
        }
    }
}

/// One answer of the running server, or one a second for as long as somebody reads them.
fn ask_about(asked: &Ask, flags: &Flags) -> ExitCode {
    let (verb, limit, failure) = match asked.about {
        About::Status => ("status", None, STATUS_FAILURE),
        About::Upstreams => ("upstreams", None, STATUS_FAILURE),
        About::Clients => ("clients", None, STATUS_FAILURE),
        About::Top => return top(asked, flags),
        About::Health(limit) => ("health", limit, commands::STATUS_FAULT),
    };
    let limit = limit.map_or_else(String::new, |limit| format!(" {limit}"));
    match control_socket(asked, flags)
        .and_then(|socket| ask_running(&socket, &(request(verb, asked) + &limit)))
    {
        Ok(answer) => tell(&answer),
        Err(why) => {
            let fault = format!("ntpfront {verb}: cannot ask the running server: {why}\n");
            say(io::stderr(), &fault);
            failure.into()
        }
    }
}

fn request(verb: &str, asked: &Ask) -> String {
    format!("{verb}{}", if asked.json { " json" } else { "" })
}

fn control_socket(asked: &Ask, flags: &Flags) -> Result<PathBuf, String> {
    if let Some(socket) = &asked.socket {
        return Ok(socket.clone());
    }
    let loaded = file::load(flags).map_err(|faults| commands::report(&faults))?;
    let socket = loaded.config.control.socket;
    socket.ok_or_else(|| "there is no control.socket to ask through".to_owned())
}

/// The status again and again: on a terminal in place, else one after the other.
fn top(asked: &Ask, flags: &Flags) -> ExitCode {
    let socket = match control_socket(asked, flags) {
        Ok(socket) => socket,
        Err(why) => {
            say(io::stderr(), &format!("ntpfront top: {why}\n"));
            return STATUS_FAILURE.into();
        }
    };
    let is_screen = io::stdout().is_terminal() && !asked.json;
    loop {
        // While the server is started again, the screen says so and goes on.
        let text = match ask_running(&socket, &request("status", asked)) {
            Ok(answer) => answer.out,
            Err(why) if is_screen => why,
            Err(why) => {
                say(
                    io::stderr(),
                    &format!("ntpfront top: cannot ask the running server: {why}\n"),
                );
                return STATUS_FAILURE.into();
            }
        };
        let text = if is_screen { redrawn(&text) } else { text };
        if io::stdout()
            .write_all(text.as_bytes())
            .and_then(|()| io::stdout().flush())
            .is_err()
        {
            return ExitCode::SUCCESS;
        }
        sleep(REDRAW);
    }
}

/// Each line over the old one, and nothing below; what doesn't fit on the screen is left out.
fn redrawn(text: &str) -> String {
    let rows = terminal_size().map_or(usize::MAX, |(_, Height(rows))| {
        usize::from(rows).saturating_sub(1)
    });
    let lines: String = text
        .lines()
        .take(rows)
        .map(|line| format!("{line}\x1b[K\n"))
        .collect();
    format!("\x1b[H{lines}\x1b[J")
}

fn ask_running(socket: &Path, request: &str) -> Result<Answer, String> {
    let said = control::ask(socket, request).map_err(|error| match limits::shortage(&error) {
        Some(shortage) => format!("{}: {shortage}", socket.display()),
        None => format!("{}: {error}: is it running, and may we ask it?", socket.display()),
    })?;
    serde_json::from_str(&said)
        .map_err(|error| format!("{}: no answer that makes sense: {error}", socket.display()))
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
        role: Role::default(),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(
                io::stderr(),
                &format!("ntpfront query: cannot start: {}\n", limits::explain(&error)),
            );
            return STATUS_FAILURE.into();
        }
    };
    if asked.pool {
        let check = PoolCheck::of(runtime.block_on(samples(&server, SAMPLES)));
        found(asked, &check, check.handed_out)
    } else {
        let findings = runtime.block_on(query(&server));
        found(asked, &findings, findings.usable)
    }
}

fn found(asked: &Query, findings: &(impl Serialize + Display), is_good: bool) -> ExitCode {
    let text = if asked.json {
        serde_json::to_string(findings)
            .map(|json| json + "\n")
            .unwrap_or_default()
    } else {
        findings.to_string()
    };
    say(io::stdout(), &text);
    if is_good {
        ExitCode::SUCCESS
    } else {
        STATUS_FAILURE.into()
    }
}

/// Writes a whole answer. Who closes the pipe before (as `head` does) has read enough.
fn say(mut to: impl Write, text: &str) {
    let _written = to.write_all(text.as_bytes());
}
