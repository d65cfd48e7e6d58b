//! Impure. The files of a record, as commands read them: whether a server runs or not.

use std::fs;
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;

use super::line::HistoryLine;
use super::members;
use super::segment::SegmentName;
use super::stamp::Stamp;

/// The most threads that read files.
const MOST_THREADS: usize = 8;

/// The files of a directory, in the order of their numbers.
#[derive(Clone, Debug)]
pub struct HistoryFiles {
    directory: PathBuf,
    names: Vec<SegmentName>,
}

impl HistoryFiles {
    /// Lists the files of the record in a directory.
    ///
    /// # Errors
    /// The directory can't be read.
    pub fn list(directory: &Path) -> io::Result<Self> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            names.extend(entry?.file_name().to_str().and_then(SegmentName::read));
        }
        names.sort_unstable();
        Ok(Self {
            directory: directory.to_owned(),
            names,
        })
    }

    /// Returns the names of all files.
    pub fn names(&self) -> &[SegmentName] {
        &self.names
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// It can't be read, or was removed meanwhile.
    pub fn bytes(&self, name: SegmentName) -> io::Result<Vec<u8>> {
        fs::read(self.directory.join(name.to_string()))
    }

    /// Returns the files that may have lines of this time: those of its hours, and the one before each.
    ///
    /// A file is of one hour; if the served clock is stepped back, there are more for the same hour.
    pub fn between(&self, since: Stamp, until: Stamp) -> Vec<SegmentName> {
        let hours = since.hour()..=until.hour();
        let is_of = |index: usize| {
            self.names
                .get(index)
                .is_some_and(|name| hours.contains(&name.hour))
        };
        let all = self.names.iter().enumerate();
        all.filter(|(index, _)| is_of(*index) || is_of(index + 1))
            .map(|(_, name)| *name)
            .collect()
    }

    /// Gives each line of these files to `take`, in order.
    ///
    /// Damaged lines are passed over, and so is a file that was removed meanwhile.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn each_line(
        &self,
        names: &[SegmentName],
        mut take: impl FnMut(&HistoryLine<'_>, &str),
    ) -> io::Result<()> {
        for name in names {
            let bytes = match self.bytes(*name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                read => read?,
            };
            for text in members::read(&bytes).text.lines() {
                if let Ok(Some(line)) = HistoryLine::read(text) {
                    take(&line, text);
                }
            }
        }
        Ok(())
    }

    /// Makes a part of each of these files, several at once, and returns the parts in order.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn parts<P: Send>(
        &self,
        names: &[SegmentName],
        make: impl Fn(&[SegmentName]) -> io::Result<P> + Sync,
    ) -> io::Result<Vec<P>> {
        let threads = thread::available_parallelism()
            .map_or(1, NonZero::get)
            .min(MOST_THREADS);
        // The parts of an hour are small: many of them keep all threads at work to the end.
        let share = names.len().div_ceil(threads * 4).max(1);
        let shares: Vec<&[SegmentName]> = names.chunks(share).collect();
        let make = &make;
        let mut parts = Vec::new();
        for batch in shares.chunks(threads) {
            let made: Vec<io::Result<P>> = thread::scope(|scope| {
                let running: Vec<_> = batch
                    .iter()
                    .map(|share| scope.spawn(move || make(share)))
                    .collect();
                let ended = running.into_iter().map(|one| {
                    let failed = || Err(io::Error::other("a thread that read files has ended"));
                    one.join().unwrap_or_else(|_| failed())
                });
                ended.collect()
            });
            for part in made {
                parts.push(part?);
            }
        }
        Ok(parts)
    }
}
