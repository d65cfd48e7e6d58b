//! Impure. The writing of the record: lines are gathered, and become members of the file of their hour.
//!
//! Whatever fails is tried again with the next lines. The lines until then are lost, and a gap says so.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::chain;
use super::folder::{GrowingFile, HistoryFolder};
use super::line::{ChangeNote, EndNote, FORMAT, FileNote, GapNote, HistoryLine, Note, StandingNote};
use super::members;
use super::segment::{Retention, SegmentName};
use super::stamp::{Hour, Stamp};

/// The longest beginning of a member that is removed with its file, if that has nothing else, in bytes.
const LONGEST_TORN: usize = 1 << 16;

/// The settings of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSettings {
    /// The room that it may take.
    pub retention: Retention,
    /// Seconds from one served line to the next.
    pub every: u32,
    /// Time after which the disk must have what was written.
    pub sync: Duration,
    /// Name of the host.
    pub host: String,
}

/// The writer of the record.
#[derive(Debug)]
pub struct HistoryWriter {
    folder: HistoryFolder,
    settings: RecordSettings,
    /// The file that grows; `None` before the first one, and after a failure.
    open: Option<OpenSegment>,
    /// The lines that are not written yet, all of one hour, with the time of the first one.
    waiting: String,
    since: Option<Stamp>,
    count: u64,
    /// The time of the last line that was written; of this process, or of the one before.
    last: Option<Stamp>,
    lost: Option<LostRecords>,
    is_resumed: bool,
    standings: BTreeMap<String, StandingNote>,
    reason: Option<String>,
    /// Files and bytes of the record.
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Lines that were written, and that were not.
    pub(super) written: u64,
    pub(super) dropped: u64,
}

#[derive(Debug)]
struct OpenSegment {
    name: SegmentName,
    file: GrowingFile,
    is_synced: bool,
}

/// Records that were made and not written.
#[derive(Clone, Debug)]
struct LostRecords {
    records: u64,
    reason: String,
}

impl HistoryWriter {
    /// Makes a writer; nothing is opened before the first line is written.
    pub fn new(folder: HistoryFolder, settings: RecordSettings) -> Self {
        Self {
            folder,
            settings,
            open: None,
            waiting: String::new(),
            since: None,
            count: 0,
            last: None,
            lost: None,
            is_resumed: false,
            standings: BTreeMap::new(),
            reason: None,
            files: 0,
            bytes: 0,
            written: 0,
            dropped: 0,
        }
    }

    /// Takes a line. It is written with the next call of [`HistoryWriter::flush`], or now, if it is of another hour.
    ///
    /// # Errors
    /// As [`HistoryWriter::flush`].
    pub fn take(&mut self, line: &HistoryLine<'_>) -> io::Result<()> {
        let is_other_hour = self.since.is_some_and(|since| since.hour() != line.time.hour());
        let flushed = if is_other_hour { self.flush() } else { Ok(()) };
        self.note(line);
        self.waiting += &line.write();
        self.since.get_or_insert(line.time);
        self.count += 1;
        flushed
    }

    /// Keeps in mind what the next file begins with.
    fn note(&mut self, line: &HistoryLine<'_>) {
        match &line.note {
            Note::Standing(standing) => {
                self.standings.insert(standing.upstream.clone(), standing.clone());
            }
            Note::Start(_) => self.standings.clear(),
            Note::Change(ChangeNote {
                what,
                name: Some(name),
                to,
                ..
            }) if what == "standing" => match to {
                Some(to) => {
                    let standing = StandingNote {
                        upstream: name.clone(),
                        standing: to.clone(),
                        since: Some(line.time),
                    };
                    self.standings.insert(name.clone(), standing);
                }
                None => {
                    self.standings.remove(name);
                }
            },
            Note::Change(ChangeNote { what, reason, .. }) if what == "state" => {
                self.reason.clone_from(reason)
            }
            Note::File(_)
            | Note::Stop
            | Note::Served(_)
            | Note::Sample(_)
            | Note::Change(_)
            | Note::Gap(_)
            | Note::End(_) => {}
        }
    }

    /// Whether the last write succeeded.
    pub(super) fn is_writing(&self) -> bool {
        self.open.is_some() && self.lost.is_none()
    }

    /// Returns the directory.
    pub(super) fn directory(&self) -> &Path {
        self.folder.path()
    }

    /// Notes records that never came here.
    pub(super) fn lose(&mut self, records: u64, reason: &str) {
        self.dropped += records;
        let lost = self.lost.get_or_insert_with(|| LostRecords {
            records: 0,
            reason: reason.to_owned(),
        });
        lost.records += records;
    }

    /// Writes the lines that wait, as a member.
    ///
    /// # Errors
    /// The disk's: the lines are lost then.
    pub fn flush(&mut self) -> io::Result<()> {
        let Some(since) = self.since.take() else {
            return Ok(());
        };
        let text = std::mem::take(&mut self.waiting);
        let count = std::mem::take(&mut self.count);
        let last = text
            .lines()
            .next_back()
            .and_then(|line| HistoryLine::read(line).ok().flatten());
        let last = last.map(|line| line.time);
        let written = self.write(since, &text);
        match &written {
            Ok(()) => {
                self.written += count;
                self.lost = None;
                self.last = last.or(self.last);
            }
            Err(error) => {
                self.open = None;
                self.lose(count, &error.to_string());
            }
        }
        written
    }

    fn write(&mut self, since: Stamp, text: &str) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|open| open.file.is_gone()) {
            self.open = None;
            self.lose(0, "the file of this hour was removed");
        }
        let mut first = String::new();
        if self
            .open
            .as_ref()
            .is_none_or(|open| open.name.hour != since.hour())
        {
            first = self.open_segment(since)?;
        }
        let gap = self.lost.as_ref().map(|lost| {
            let note = GapNote {
                from: self.last,
                records: lost.records,
                reason: lost.reason.clone(),
            };
            HistoryLine {
                time: since,
                note: Note::Gap(note),
            }
            .write()
        });
        let text = first + &gap.unwrap_or_default() + text;
        let bytes = members::member(text.as_bytes());
        if let Some(open) = &mut self.open {
            open.file.add(&bytes)?;
            open.is_synced = false;
        }
        self.bytes += u64::try_from(bytes.len()).unwrap_or(0);
        Ok(())
    }

    /// Has the disk take what was written.
    ///
    /// # Errors
    /// The disk's: what was written since the last time may be lost.
    pub fn sync(&mut self) -> io::Result<()> {
        let Some(open) = self.open.as_mut().filter(|open| !open.is_synced) else {
            return Ok(());
        };
        let synced = open.file.sync();
        open.is_synced = true;
        if synced.is_err() {
            self.open = None;
        }
        synced
    }

    /// Opens the file of this hour, and returns the lines that come first there.
    fn open_segment(&mut self, now: Stamp) -> io::Result<String> {
        match self.open.take() {
            Some(open) => {
                open.file.sync()?;
                drop(open.file);
            }
            None => self.folder.reopen()?,
        }
        let mut files = self.folder.files()?;
        let (previous, is_same) = self.end_last(&mut files, now.hour())?;
        let mut first = String::new();
        let name = match (files.last(), is_same) {
            (Some((last, _)), true) => *last,
            (Some((last, _)), false) => last.next(now.hour()),
            (None, _) => SegmentName {
                number: 1,
                hour: now.hour(),
            },
        };
        if !is_same {
            first = self.first_lines(name, now, previous);
            files.push((name, 0));
        }
        let file = self.folder.append(name, !is_same)?;
        for gone in self.settings.retention.surplus(&files, now.hour()) {
            self.folder.remove(gone)?;
            files.retain(|(name, _)| *name != gone);
        }
        self.files = u64::try_from(files.len()).unwrap_or(0);
        self.bytes = files.iter().map(|(_, length)| length).sum();
        self.open = Some(OpenSegment {
            name,
            file,
            is_synced: true,
        });
        Ok(first + &self.resumption(now))
    }

    /// Ends the last file, unless it is of the same hour: then it goes on. Returns the sum of it, and whether it goes on.
    fn end_last(
        &mut self,
        files: &mut Vec<(SegmentName, u64)>,
        hour: Hour,
    ) -> io::Result<(Option<String>, bool)> {
        while let Some((name, length)) = files.last().copied() {
            let bytes = self.folder.read(name)?;
            let content = members::read(&bytes);
            let rest = bytes.get(content.whole..).unwrap_or_default();
            let is_torn = !rest.is_empty() && members::ends_early(rest);
            if content.whole == 0 && bytes.len() < LONGEST_TORN && (is_torn || bytes.is_empty()) {
                self.folder.remove(name)?;
                files.pop();
                continue;
            }
            if is_torn {
                self.folder.append(name, false)?.cut(content.whole)?;
            }
            let lines = || {
                content
                    .text
                    .lines()
                    .filter_map(|line| HistoryLine::read(line).ok().flatten())
            };
            let last = lines().next_back();
            if self.last.is_none() {
                self.last = last.as_ref().map(|line| line.time);
                self.learn_end(last.as_ref());
            }
            let is_ended = matches!(
                last,
                Some(HistoryLine {
                    note: Note::End(_),
                    ..
                })
            );
            let is_damaged = !rest.is_empty() && !is_torn;
            if name.hour == hour && !is_ended && !is_damaged {
                return Ok((None, true));
            }
            if is_ended || is_damaged {
                return Ok((Some(chain::sum(&bytes)), false));
            }
            let packed = packed(&content.text, last.map_or_else(|| hour.start(), |line| line.time));
            let length_now = u64::try_from(packed.len()).unwrap_or(length);
            self.folder.replace(name, &packed)?;
            if let Some(slot) = files.last_mut() {
                slot.1 = length_now;
            }
            return Ok((Some(chain::sum(&packed)), false));
        }
        Ok((None, false))
    }

    /// Learns from the last line of the process before how that ended.
    fn learn_end(&mut self, last: Option<&HistoryLine<'_>>) {
        let Some(last) = last.filter(|_| !self.is_resumed) else {
            return;
        };
        let reason = match last.note {
            Note::Stop => "the server was stopped",
            Note::File(_)
            | Note::Start(_)
            | Note::Served(_)
            | Note::Sample(_)
            | Note::Standing(_)
            | Note::Change(_)
            | Note::Gap(_)
            | Note::End(_) => "the server ended without a word",
        };
        self.lost.get_or_insert_with(|| LostRecords {
            records: 0,
            reason: reason.to_owned(),
        });
    }

    /// Returns the lines with the standings, which are needed in each file.
    fn first_lines(&self, name: SegmentName, now: Stamp, previous: Option<String>) -> String {
        let note = FileNote {
            format: FORMAT,
            number: name.number,
            previous,
            host: self.settings.host.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            every: self.settings.every,
            reason: self.reason.clone(),
        };
        HistoryLine {
            time: now,
            note: Note::File(note),
        }
        .write()
    }

    /// Returns the standings as they were before the lines that wait now.
    fn resumption(&mut self, now: Stamp) -> String {
        self.is_resumed = true;
        let earlier = self
            .standings
            .values()
            .filter(|one| one.since.is_none_or(|since| since < now));
        let lines = earlier.map(|one| {
            let note = Note::Standing(one.clone());
            HistoryLine { time: now, note }.write()
        });
        lines.collect()
    }
}

/// Returns all lines of a file that is complete, with a line that says so.
fn packed(text: &str, last: Stamp) -> Vec<u8> {
    let lines = u64::try_from(text.lines().count()).unwrap_or(0);
    let end = HistoryLine {
        time: last,
        note: Note::End(EndNote { lines }),
    };
    members::packed(&(text.to_owned() + &end.write()))
}

#[cfg(test)]
mod tests;
