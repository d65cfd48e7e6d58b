//! Pure. Converts a chrony.conf, an ntp.conf or an ntp.toml, and lists each line that can't be converted.
//!
//! `chrony` and `ntp` know the words of each, `server` and `symmetric` the lines that both have, `ntpd_rs` the tables of
//! ntpd-rs, `nts` what all three say of clients with NTS. All fill a `draft`, which becomes TOML.
//!
//! A line is carried over with its meaning, or a remark gives the reason why it isn't: nothing is guessed, and nothing
//! is dropped in silence.

mod chrony;
mod draft;
mod draft_keys;
mod ntp;
mod ntpd_rs;
mod nts;
mod placed_table;
mod server;
mod symmetric;
mod toml_line;

use std::path::{Path, PathBuf};

use super::fault::{Place, excerpt};
use crate::cli::Dialect;
use draft::Draft;

/// The result of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportReport {
    /// The share of the lines that is carried over.
    pub result: ImportResult,
    /// Our configuration; empty if nothing is carried over.
    pub configuration: String,
    /// The parts that aren't carried over, each with the reason: lines with their ends.
    pub remarks: String,
}

/// The share of the lines that an import carries over, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImportResult {
    /// All.
    Whole,
    /// Not all.
    InPart,
    /// Nothing: then nothing is written.
    Nothing,
}

/// A line with at least one word.
#[derive(Clone, Debug)]
struct SourceLine<'a> {
    path: &'a Path,
    number: usize,
    /// The text of the line, as it was written.
    text: &'a str,
    /// The first word in lowercase: both daemons accept any case.
    keyword: String,
    words: Vec<&'a str>,
}

/// The treatment of a line with a certain keyword.
#[derive(Clone, Copy)]
enum Meaning {
    /// This function carries over as much as it can.
    Carried(fn(&mut Draft, &SourceLine<'_>) -> Result<(), String>),
    /// The line asks for a thing that always holds here.
    Given,
    /// The line isn't carried over, for this reason.
    Left(&'static str),
}

/// The keywords of chronyd or of ntpd, none twice.
type Keywords = [(&'static [&'static str], Meaning)];

/// Imports these files, one after the other.
///
/// Without a `dialect`, their words must tell it. A file that does not exist has no text: it is told and passed over.
/// Then the import counts as partial, unless its name is a pattern of the shell that matched nothing.
///
/// If nothing is carried over, nothing is written: an empty configuration would answer all clients.
pub fn import(dialect: Option<Dialect>, given: &[(PathBuf, Option<String>)]) -> ImportReport {
    let absent = given.iter().filter(|(_, text)| text.is_none());
    let absent: String = absent
        .map(|(path, _)| {
            format!(
                "{}: there is no such file: passed over\n",
                Place::WholeFile(path.clone())
            )
        })
        .collect();
    let there = given
        .iter()
        .filter_map(|(path, text)| Some((path.clone(), text.clone()?)));
    let files: Vec<(PathBuf, String)> = there.collect();
    let refused = |why: &str| ImportReport {
        result: ImportResult::Nothing,
        configuration: String::new(),
        remarks: format!("{absent}ntpfront import: {why}: nothing is written\n"),
    };
    if lines_of(Dialect::Chrony, &files).next().is_none() {
        return refused("no file says anything");
    }
    if let Some(why) = mistaken(dialect, &files) {
        return refused(&why);
    }
    match dialect.or_else(|| guess(&files)) {
        Some(dialect) => {
            let named = |(path, text): &(PathBuf, Option<String>)| text.is_none() && !is_pattern(path);
            let mut report = made(dialect, &files, &absent, refused);
            if given.iter().any(named) {
                report.result = report.result.max(ImportResult::InPart);
            }
            report
        }
        None => refused("this could be either: say --from chrony or --from ntp"),
    }
}

/// The heads of tables that only our configuration has.
const OURS: [&str; 2] = ["[[upstream]]", "[[listener]]"];

/// Returns the reason if the files are not of the `dialect`, or not all of one daemon.
fn mistaken(dialect: Option<Dialect>, files: &[(PathBuf, String)]) -> Option<String> {
    let says = |text: &str, is_such: fn(&str) -> bool| text.lines().any(is_such);
    let name = |(path, _): &(PathBuf, String)| Place::WholeFile(path.clone());
    let ours = files
        .iter()
        .find(|(_, text)| says(text, |line| OURS.contains(&line.trim())));
    if let Some(file) = ours {
        return Some(format!("{} is a configuration of ntpfront's own", name(file)));
    }
    let (theirs, others): (Vec<_>, Vec<_>) = files
        .iter()
        .filter(|(_, text)| !text.trim().is_empty())
        .partition(|(_, text)| says(text, ntpd_rs::begins_table));
    match (dialect, theirs.first(), others.first()) {
        (Some(Dialect::Chrony | Dialect::Ntp), Some(file), _) => {
            Some(format!("{} is a file of ntpd-rs: leave out --from", name(file)))
        }
        (None, Some(file), Some(other)) => Some(format!(
            "{} is a file of ntpd-rs, and {} is none: import them one by one",
            name(file),
            name(other)
        )),
        (Some(Dialect::NtpdRs), None, Some(file)) => {
            Some(format!("{} has no table that ntpd-rs knows", name(file)))
        }
        (_, _, _) => None,
    }
}

/// Whether the path is a pattern of the shell that matched nothing.
fn is_pattern(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?', '['])
}

fn made(
    dialect: Dialect,
    files: &[(PathBuf, String)],
    absent: &str,
    refused: impl Fn(&str) -> ImportReport,
) -> ImportReport {
    let mut draft = match dialect {
        Dialect::Chrony => Draft::denying(),
        Dialect::Ntp | Dialect::NtpdRs => Draft::allowing(),
    };
    let mut carried = 0;
    for line in lines_of(dialect, files) {
        carried += u32::from(take(&mut draft, dialect, &line));
    }
    match dialect {
        Dialect::Chrony => chrony::finish(&mut draft),
        Dialect::Ntp => ntp::finish(&mut draft),
        Dialect::NtpdRs => {
            for (path, text) in files {
                match ntpd_rs::carry(&mut draft, path, text) {
                    Ok(is_carried) => carried += u32::from(is_carried),
                    Err(why) => return refused(&why),
                }
            }
            ntpd_rs::finish(&mut draft);
        }
    }
    carried -= draft.taken_back.min(carried);
    let body = draft.written();
    let names: Vec<String> = files
        .iter()
        .map(|(path, _)| Place::WholeFile(path.clone()).to_string())
        .collect();
    let left = draft.remarks;
    let remarks: String = left.iter().map(|remark| format!("{remark}\n")).collect();
    if carried == 0 {
        let nothing = refused("nothing of it is for ntpfront");
        return ImportReport {
            remarks: remarks + &nothing.remarks,
            ..nothing
        };
    }
    ImportReport {
        result: if left.is_empty() {
            ImportResult::Whole
        } else {
            ImportResult::InPart
        },
        configuration: format!("# Made by `ntpfront import` from {}.\n{body}", names.join(", ")),
        remarks: absent.to_owned() + &remarks,
    }
}

/// Takes a line, and returns whether anything of it is carried over.
fn take(draft: &mut Draft, dialect: Dialect, line: &SourceLine<'_>) -> bool {
    let meaning = keywords(dialect)
        .iter()
        .find(|(names, _)| names.contains(&line.keyword.as_str()));
    let outcome = match meaning {
        Some((_, Meaning::Carried(carry))) => carry(draft, line),
        Some((_, Meaning::Given)) => Ok(()),
        Some((_, Meaning::Left(why))) => Err((*why).to_owned()),
        None => Err(not_known(dialect, line)),
    };
    outcome.inspect_err(|why| draft.leave(line, why)).is_ok()
}

/// Returns the reason for an unknown keyword.
///
/// It may be one of the other daemon: then the guess was wrong, or the file is.
fn not_known(dialect: Dialect, line: &SourceLine<'_>) -> String {
    let others = [
        (Dialect::Chrony, "chronyd's (--from chrony)"),
        (Dialect::Ntp, "ntpd's (--from ntp)"),
    ];
    let mut others = others
        .into_iter()
        .filter(|(other, _)| *other != dialect && knows(*other, line));
    match others.next() {
        Some((_, whose)) => format!("no such directive is known here: it is one of {whose}"),
        None => "no such directive is known here".to_owned(),
    }
}

fn knows(dialect: Dialect, line: &SourceLine<'_>) -> bool {
    let mut names = keywords(dialect).iter().flat_map(|(names, _)| names.iter());
    names.any(|name| *name == line.keyword)
}

fn lines_of(dialect: Dialect, files: &[(PathBuf, String)]) -> impl Iterator<Item = SourceLine<'_>> {
    files
        .iter()
        .flat_map(move |(path, text)| lines(dialect, path, text))
}

fn keywords(dialect: Dialect) -> &'static Keywords {
    match dialect {
        Dialect::Chrony => chrony::KEYWORDS,
        Dialect::Ntp => ntp::KEYWORDS,
        // Its files are no lines of words.
        Dialect::NtpdRs => &[],
    }
}

/// Returns the dialect of the tables, or the one with more of its keywords, as some keywords are of both.
fn guess(files: &[(PathBuf, String)]) -> Option<Dialect> {
    if files
        .iter()
        .flat_map(|(_, text)| text.lines())
        .any(ntpd_rs::begins_table)
    {
        return Some(Dialect::NtpdRs);
    }
    let count = |dialect| {
        lines_of(dialect, files)
            .filter(|line| knows(dialect, line))
            .count()
    };
    let (chrony, ntp) = (count(Dialect::Chrony), count(Dialect::Ntp));
    match chrony.cmp(&ntp) {
        std::cmp::Ordering::Greater => Some(Dialect::Chrony),
        std::cmp::Ordering::Less => Some(Dialect::Ntp),
        std::cmp::Ordering::Equal => None,
    }
}

/// Returns the lines with words, without comments.
///
/// In chrony.conf a comment is a line that starts with one of four signs, in ntp.conf it is all text after `#`.
fn lines<'a>(dialect: Dialect, path: &'a Path, text: &'a str) -> impl Iterator<Item = SourceLine<'a>> {
    text.lines().enumerate().filter_map(move |(index, text)| {
        let said = match dialect {
            Dialect::Chrony if text.trim_start().starts_with(['#', '%', '!', ';']) => "",
            Dialect::Chrony => text,
            Dialect::Ntp => text.split('#').next().unwrap_or_default(),
            Dialect::NtpdRs => "",
        };
        let mut words = said.split_whitespace();
        Some(SourceLine {
            path,
            number: index + 1,
            text: said.trim(),
            keyword: words.next()?.to_ascii_lowercase(),
            words: words.collect(),
        })
    })
}

impl SourceLine<'_> {
    /// Returns the place and the text of the line, safe to print.
    fn shown(&self) -> String {
        let path = Place::WholeFile(self.path.to_owned());
        format!("{path}:{}: {}", self.number, excerpt(self.text))
    }

    /// Returns the only value of the line.
    fn value(&self) -> Result<&str, String> {
        match self.words.as_slice() {
            [value] => Ok(value),
            _ => Err("one value is expected".to_owned()),
        }
    }
}

/// Reads a number from `least` to `most`, the range that is possible here.
fn number<T>(text: &str, least: T, most: T) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let number: Option<T> = text.parse().ok();
    let fits = number.filter(|number| (&least..=&most).contains(&number));
    fits.ok_or_else(|| format!("\"{}\" is no number from {least} to {most}", excerpt(text)))
}

/// Reads an interval, which both daemons write as a power of 2 in seconds.
///
/// If the power can't be read, it is 3, the default of both. If it is out of our range (0.0001 to 64 s), it is the
/// nearest power: another limit, with a remark, is better than none.
fn nearest_interval(draft: &mut Draft, line: &SourceLine<'_>, text: &str) -> f64 {
    let power = number(text, -13, 6).unwrap_or_else(|why| {
        draft.leave(line, &format!("{why}: the nearest is taken"));
        text.parse().unwrap_or(3).clamp(-13, 6)
    });
    f64::from(power).exp2()
}

/// Reads the path of a directive that has only a path.
fn path(line: &SourceLine<'_>) -> Result<String, String> {
    let path = line.value()?.trim_matches('"');
    match is_absolute(path) {
        true => Ok(path.to_owned()),
        false => Err("no absolute path".to_owned()),
    }
}

/// Whether a path is absolute and safe to print.
fn is_absolute(path: &str) -> bool {
    Path::new(path).is_absolute() && !path.contains(char::is_control)
}

#[cfg(test)]
mod tests;
