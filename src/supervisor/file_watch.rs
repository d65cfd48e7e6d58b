//! Pure. Whether the configuration file is still the one in effect: by its content, so that a new time of change is none.

use std::time::Duration;

/// Interval between two looks at the file.
const LOOK: Duration = Duration::from_secs(10);

/// The comparison of the file with the configuration in effect.
#[derive(Debug)]
pub(super) struct FileWatch {
    /// Time of the next look.
    due_at: Duration,
    /// Time at which the file was found to be another one, and its digest.
    other: Option<(Duration, Option<u64>)>,
}

impl FileWatch {
    /// Begins at `now`, when the file was read.
    pub(super) fn new(now: Duration) -> Self {
        Self {
            due_at: now.saturating_add(LOOK),
            other: None,
        }
    }

    /// Whether a look at the file is due; if so the next one is later.
    pub(super) fn is_due(&mut self, now: Duration) -> bool {
        let is_due = now >= self.due_at;
        if is_due {
            self.due_at = now.saturating_add(LOOK);
        }
        is_due
    }

    /// Compares the digest of the file with that of the configuration in effect; `None` is no file.
    ///
    /// Returns whether the file is another one, and it is news: each content is news once.
    pub(super) fn compare(&mut self, found: Option<u64>, running: Option<u64>, now: Duration) -> bool {
        if found == running {
            self.other = None;
            return false;
        }
        let is_news = self.other.is_none_or(|(_, known)| known != found);
        let since = self.other.map_or(now, |(since, _)| since);
        self.other = Some((since, found));
        is_news
    }

    /// Takes note that the file has been read and is in effect.
    pub(super) fn reset(&mut self) {
        self.other = None;
    }

    /// Returns the time since the file was found to be another one; `None` if it is in effect.
    pub(super) fn changed_for(&self, now: Duration) -> Option<Duration> {
        self.other.map(|(since, _)| now.saturating_sub(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    #[test]
    fn looks_are_ten_seconds_apart() {
        let mut watch = FileWatch::new(at(5));
        let due: Vec<u64> = (5..40).filter(|&second| watch.is_due(at(second))).collect();
        assert_eq!(due, [15, 25, 35]);
    }

    #[test]
    fn another_content_is_news_once_until_it_is_in_effect() {
        let mut watch = FileWatch::new(at(0));
        for (second, found, running, is_news, changed_for) in [
            (10, Some(1), Some(1), false, None),
            (20, Some(2), Some(1), true, Some(0)),
            (30, Some(2), Some(1), false, Some(10)),
            // Changed again: the first change counts.
            (40, Some(3), Some(1), true, Some(20)),
            // Removed.
            (50, None, Some(1), true, Some(30)),
            // As it was.
            (60, Some(1), Some(1), false, None),
            (70, None, None, false, None),
            (80, Some(1), None, true, Some(0)),
        ] {
            let now = at(second);
            assert_eq!(watch.compare(found, running, now), is_news, "{second}");
            assert_eq!(watch.changed_for(now), changed_for.map(at), "{second}");
        }
        watch.reset();
        assert_eq!(watch.changed_for(at(90)), None);
    }
}
