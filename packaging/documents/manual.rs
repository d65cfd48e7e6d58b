//! Pure. ntpfront(8) from the definitions of `--help` and what is said at the end of it.

use clap::{Arg, ArgAction, Command};

use crate::roff::{escaped, fill_in, filled, item, sentence};

/// The page.
///
/// # Errors
/// A part of the help that is no longer there.
pub(crate) fn page(template: &str, definition: &Command) -> Result<String, String> {
    let mut definition = definition.clone();
    definition.build();
    let more = definition
        .get_after_long_help()
        .ok_or("--help has no words at its end")?
        .to_string();
    fill_in(
        template,
        &[
            ("SYNOPSIS", synopsis(&definition)),
            ("ABOUT", filled(&more_prose(&more))),
            ("OPTIONS", flags(&definition)),
            ("COMMANDS", commands(&definition)),
            ("EXIT STATUS", section(&more, "Exit status")?),
            ("SIGNALS", section(&more, "Signals")?),
            ("FILES", section(&more, "Files")?),
            ("EXAMPLES", section(&more, "Examples")?),
        ],
    )
}

fn synopsis(definition: &Command) -> String {
    let whole = ".B ntpfront\n.RI [ FLAGS ]\n".to_owned();
    let commands = definition.get_subcommands();
    commands.fold(whole, |page, command| {
        page + ".br\n" + &usage(definition, command)
    })
}

/// The flags of the server stand for themselves: they are told once.
fn usage(definition: &Command, command: &Command) -> String {
    let mut words = vec![format!("\\fB{}\\fR", escaped(&full_name(command)))];
    if takes_flags(definition, command) {
        words.push("[\\fIFLAGS\\fR]".to_owned());
    }
    for arg in own(definition, command) {
        let is_list = matches!(arg.get_action(), ArgAction::Append);
        words.push(match (arg.is_positional(), arg.is_required_set()) {
            (true, true) if is_list => value(arg) + " ...",
            (true, true) => value(arg),
            (true, false) => format!("[{}]", value(arg)),
            (false, _) => format!("[{}]", spelled(arg).pop().unwrap_or_default()),
        });
    }
    words.join(" ") + "\n"
}

fn full_name(command: &Command) -> String {
    command.get_bin_name().unwrap_or(command.get_name()).to_owned()
}

/// All that can be given, by the headings of `--help`.
fn flags(definition: &Command) -> String {
    let mut headings: Vec<Option<&str>> = Vec::new();
    for arg in definition.get_arguments() {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    // Those without a heading, help and version, come last.
    headings.sort_by_key(Option::is_none);
    let mut page = String::new();
    for heading in headings {
        page.push_str(&format!(".SS {}\n", heading.unwrap_or("Others")));
        let args = definition.get_arguments();
        page.extend(args.filter(|arg| arg.get_help_heading() == heading).map(told));
    }
    page
}

fn commands(definition: &Command) -> String {
    let mut page = String::new();
    for command in definition.get_subcommands() {
        page.push_str(&format!(".SS {}\n", escaped(&full_name(command))));
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let more = command
            .get_long_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        // The long one begins with the short one.
        let more = more.strip_prefix(&about).unwrap_or_default();
        page.push_str(&filled(&format!("{} {more}", sentence(&about))));
        if takes_flags(definition, command) {
            page.push_str("It also takes the flags above.\n");
        }
        page.extend(own(definition, command).map(told));
    }
    page
}

/// Does it take the flags of the server?
fn takes_flags(definition: &Command, command: &Command) -> bool {
    let flags = definition.get_arguments().filter(|arg| !is_common(arg));
    let mut flags = flags.map(Arg::get_id);
    flags.all(|id| command.get_arguments().any(|arg| arg.get_id() == id))
}

/// What a subcommand takes beside the flags of the server.
fn own<'a>(definition: &'a Command, command: &'a Command) -> impl Iterator<Item = &'a Arg> {
    let takes_flags = takes_flags(definition, command);
    let is_flag = move |arg: &Arg| {
        takes_flags
            && definition
                .get_arguments()
                .any(|flag| flag.get_id() == arg.get_id())
    };
    let args = command.get_arguments();
    args.filter(move |arg| !is_common(arg) && !is_flag(arg))
}

/// Help and version are the same everywhere.
fn is_common(arg: &Arg) -> bool {
    matches!(arg.get_id().as_str(), "help" | "version")
}

fn told(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    // To the page, that there is more to see by --help is no news.
    let help = help.replace(" (see more with '--help')", "; --help prints more than -h");
    // "default: x" stands at the end, in brackets.
    let text = match help
        .strip_suffix(']')
        .and_then(|help| help.rsplit_once(" [default: "))
    {
        Some((text, default)) => format!("{text}. Default: {default}."),
        None => sentence(&help),
    };
    item(&[spelled(arg).join(", ")], &(text + &choices(arg)))
}

/// The words that it takes, where it takes no others.
fn choices(arg: &Arg) -> String {
    let values = arg.get_possible_values();
    let told = values.iter().map(|value| {
        let help = value.get_help().map(ToString::to_string).unwrap_or_default();
        format!("`{}` ({help})", value.get_name())
    });
    match arg.get_action().takes_values() && !values.is_empty() {
        true => format!(" One of: {}.", told.collect::<Vec<_>>().join(", ")),
        false => String::new(),
    }
}

/// Its short and its long form, each with its value; or the value alone.
fn spelled(arg: &Arg) -> Vec<String> {
    let takes = arg.get_action().takes_values();
    let with_value = |name: String| match takes {
        true => format!("\\fB{}\\fR {}", escaped(&name), value(arg)),
        false => format!("\\fB{}\\fR", escaped(&name)),
    };
    let short = arg.get_short().map(|short| with_value(format!("-{short}")));
    let long = arg.get_long().map(|long| with_value(format!("--{long}")));
    let forms: Vec<String> = short.into_iter().chain(long).collect();
    if forms.is_empty() { vec![value(arg)] } else { forms }
}

fn value(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let names: Vec<String> = names.iter().map(|name| escaped(name)).collect();
    format!("\\fI{}\\fR", names.join(" "))
}

/// What stands before the first title.
fn more_prose(more: &str) -> String {
    more.lines()
        .take_while(|line| !is_title(line))
        .collect::<Vec<_>>()
        .join(" ")
}

fn is_title(line: &str) -> bool {
    line.ends_with(':') && !line.starts_with(' ')
}

/// The list below a title: `  term  text`, and what is further in goes on with the text.
fn section(more: &str, title: &str) -> Result<String, String> {
    let mut lines = more.lines().skip_while(|line| *line != format!("{title}:"));
    lines
        .next()
        .ok_or_else(|| format!("--help has no list \"{title}:\" at its end"))?;
    let mut items: Vec<(String, String)> = Vec::new();
    for line in lines.take_while(|line| line.starts_with("  ")) {
        let text = line.trim();
        match items.last_mut() {
            Some((_, meaning)) if line.starts_with("    ") => {
                meaning.push(' ');
                meaning.push_str(text);
            }
            Some(_) | None => items.push(split(text)),
        }
    }
    let items = items.iter();
    Ok(items
        .map(|(term, text)| item(&[format!("\\fB{}\\fR", escaped(term))], &sentence(text)))
        .collect())
}

fn split(text: &str) -> (String, String) {
    match text.split_once("  ").or_else(|| text.split_once(": ")) {
        Some((term, meaning)) => (term.to_owned(), meaning.trim().to_owned()),
        None => (text.to_owned(), String::new()),
    }
}
