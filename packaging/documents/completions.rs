//! Pure. What is better told to each shell than the generator tells it.

use std::collections::BTreeSet;

use clap::Command;

/// To zsh a colon in a value's name would be the end of it.
pub(crate) fn with_names(script: &str, definition: &Command) -> String {
    let commands = std::iter::once(definition).chain(definition.get_subcommands());
    let names = commands
        .flat_map(Command::get_arguments)
        .flat_map(|arg| arg.get_value_names().unwrap_or_default());
    let names: BTreeSet<&str> = names.map(|name| name.as_str()).collect();
    let names = names.into_iter().filter(|name| name.contains(':'));
    names.fold(script.to_owned(), |script, name| {
        script.replace(&format!(":{name}"), &format!(":{}", name.replace(':', "\\:")))
    })
}

/// The generator for bash offers files where users and hosts are wanted.
///
/// # Errors
/// It writes something else now.
pub(crate) fn with_users(script: &str) -> Result<String, String> {
    const FILES: &str = "compgen -f";
    let mut better = String::new();
    let mut wanted = None;
    let mut count = 0;
    for line in script.lines() {
        match (line.trim(), wanted.take()) {
            ("--user)" | "-u)", _) => wanted = Some("compgen -u"),
            ("--upstream)" | "-s)", _) => wanted = Some("compgen -A hostname"),
            (command, Some(wanted)) if command.contains(FILES) => {
                count += 1;
                better.push_str(&line.replace(FILES, wanted));
                better.push('\n');
                continue;
            }
            (_, _) => {}
        }
        better.push_str(line);
        better.push('\n');
    }
    // Two flags of two forms, for the server, `check` and `config`.
    match count {
        12 => Ok(better),
        _ => Err(format!(
            "bash would be offered users or hosts at {count} places, not 12"
        )),
    }
}

/// In fish the generated script offers nothing for the value of a flag of the server, since the words so far, with a flag
/// that lacks its value, are none that it takes. With any value they are.
///
/// # Errors
/// It writes something else now.
pub(crate) fn with_values(script: &str) -> Result<String, String> {
    const PARSED: &str = "    argparse -s (__fish_ntpfront_global_optspecs) -- $cmd 2>/dev/null\n";
    const ANYTHING: &str = "    or argparse -s (__fish_ntpfront_global_optspecs) -- $cmd x 2>/dev/null\n";
    match script.matches(PARSED).count() {
        1 => Ok(script.replace(PARSED, &format!("{PARSED}{ANYTHING}"))),
        _ => Err("fish would not be told of the values of flags".to_owned()),
    }
}
