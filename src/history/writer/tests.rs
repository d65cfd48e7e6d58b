//! Impure. Tests of the writer: hours, kills, gaps, and faults of the directory.

use super::*;
use crate::history::chain::{ChainCheck, ChainResult, FileCheck};
use crate::history::line::StartNote;
use crate::history::line::tests::{served, stamp};
use std::fs;
use std::path::PathBuf;

use nix::unistd::mkdtemp;

/// A directory that goes when the test ends.
struct TestFolder(PathBuf);

impl TestFolder {
    fn new() -> Self {
        Self(mkdtemp(&std::env::temp_dir().join("ntpfront-history-XXXXXX")).unwrap())
    }

    fn directory(&self) -> PathBuf {
        self.0.join("history")
    }

    fn writer(&self) -> HistoryWriter {
        self.writer_with(1 << 30)
    }

    fn writer_with(&self, size: u64) -> HistoryWriter {
        let settings = RecordSettings {
            retention: Retention { size, days: 0 },
            every: 1,
            sync: Duration::from_secs(60),
            host: "host".to_owned(),
        };
        HistoryWriter::new(HistoryFolder::at(&self.directory()).unwrap(), settings)
    }

    /// The names of all files.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn check(&self) -> ChainResult {
        let mut check = ChainCheck::default();
        let names = self.names();
        for (index, name) in names.iter().enumerate() {
            let bytes = fs::read(self.directory().join(name)).unwrap();
            let name = SegmentName::read(name).unwrap();
            check.add(FileCheck::read(name, &bytes, index + 1 == names.len(), |_| {}));
        }
        check.finish()
    }

    /// All lines as they would be read by others.
    fn lines(&self) -> Vec<String> {
        let files = self.names();
        let files = files
            .iter()
            .map(|name| fs::read(self.directory().join(name)).unwrap());
        files
            .flat_map(|bytes| {
                members::read(&bytes)
                    .text
                    .lines()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    fn gaps(&self) -> Vec<String> {
        self.lines()
            .into_iter()
            .filter(|line| line.contains("\"kind\":\"gap\""))
            .collect()
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

const BEGIN: &str = "2026-11-27T11:00:00Z";

/// Writes a line a second, from this second to that, in members of ten.
fn write(writer: &mut HistoryWriter, from: i64, to: i64) {
    for second in from..to {
        writer
            .take(&served(stamp(BEGIN).plus(second), "synchronized", Some(1e-4)))
            .unwrap();
        if second % 10 == 9 {
            writer.flush().unwrap();
        }
    }
}

fn standing(writer: &mut HistoryWriter, second: i64, standing: &str) {
    let note = Note::Change(ChangeNote {
        what: "standing".to_owned(),
        name: Some("time1".to_owned()),
        to: Some(standing.to_owned()),
        ..ChangeNote::default()
    });
    let time = stamp(BEGIN).plus(second);
    writer.take(&HistoryLine { time, note }).unwrap();
}

#[test]
fn hours_are_packed_and_chained_and_begin_with_the_standings() {
    let place = TestFolder::new();
    let mut writer = place.writer();
    standing(&mut writer, 0, "falseticker");
    write(&mut writer, 0, 2 * 3600 + 30);
    writer.sync().unwrap();
    let names: Vec<String> = (0..3)
        .map(|at| format!("{:06}-20261127T{}.jsonl.gz", at + 1, 11 + at))
        .collect();
    assert_eq!(place.names(), names);
    let result = place.check();
    assert_eq!(result.faults, [], "{result}");
    assert!(place.gaps().is_empty(), "{:?}", place.gaps());
    let lines = place.lines();
    let served = lines
        .iter()
        .filter(|line| line.contains("\"kind\":\"served\""))
        .count();
    assert_eq!(served, 2 * 3600 + 30);
    let expected = "\"kind\":\"standing\",\"upstream\":\"time1\",\"standing\":\"falseticker\",\"since\":\"2026-11-27T11:00:00.000Z\"}";
    assert_eq!(
        lines.iter().filter(|line| line.ends_with(expected)).count(),
        2,
        "in the second and the third file"
    );
    assert_eq!(
        (writer.files, writer.written, writer.dropped),
        (3, 2 * 3600 + 31, 0)
    );
}

/// As when the process is killed, at any byte, a thousand times.
#[test]
fn after_a_kill_at_any_byte_it_goes_on_and_at_most_ten_seconds_are_lost() {
    let whole = {
        let place = TestFolder::new();
        write(&mut place.writer(), 3540, 3640);
        let names = place.names();
        assert_eq!(names.len(), 2);
        names
            .iter()
            .map(|name| (name.clone(), fs::read(place.directory().join(name)).unwrap()))
            .collect::<Vec<_>>()
    };
    let mut tried = 0;
    // In the first file (its hour over, as if it had not been packed), and in the second one.
    for kept in 1..=2 {
        let bytes = &whole[kept - 1].1;
        let step = (bytes.len() / 500).max(1);
        for cut in (0..=bytes.len()).step_by(step) {
            tried += 1;
            let place = TestFolder::new();
            fs::create_dir(place.directory()).unwrap();
            for (index, (name, bytes)) in whole.iter().take(kept).enumerate() {
                let end = if index + 1 == kept { cut } else { bytes.len() };
                fs::write(place.directory().join(name), &bytes[..end]).unwrap();
            }
            let before = place.lines();
            let mut writer = place.writer();
            write(&mut writer, 3700, 3720);
            let result = place.check();
            assert_eq!(
                (result.faults.as_slice(), result.torn),
                ([].as_slice(), 0),
                "{kept} {cut}: {result}"
            );
            let after = place.lines();
            assert!(before.iter().all(|line| after.contains(line)), "{kept} {cut}");
            assert_eq!(
                place.gaps().len(),
                usize::from(!before.is_empty()),
                "{kept} {cut}: {:?}",
                place.gaps()
            );
        }
    }
    assert!(tried >= 1000, "{tried}");
}

#[test]
fn a_restart_within_the_hour_goes_on_in_the_same_file_and_tells_the_gap() {
    let place = TestFolder::new();
    let mut writer = place.writer();
    write(&mut writer, 0, 20);
    writer
        .take(&HistoryLine {
            time: stamp(BEGIN).plus(20),
            note: Note::Stop,
        })
        .unwrap();
    writer.flush().unwrap();
    drop(writer);
    let mut writer = place.writer();
    let start = HistoryLine {
        time: stamp(BEGIN).plus(50),
        note: Note::Start(StartNote::default()),
    };
    writer.take(&start).unwrap();
    write(&mut writer, 50, 60);
    assert_eq!(place.names().len(), 1);
    assert_eq!(place.check().faults, []);
    let [gap] = &place.gaps()[..] else {
        panic!("{:?}", place.gaps())
    };
    assert!(
        gap.contains(
            "\"from\":\"2026-11-27T11:00:20.000Z\",\"records\":0,\"reason\":\"the server was stopped\""
        ),
        "{gap}"
    );
    // Without that line it ended in another way.
    drop(writer);
    write(&mut place.writer(), 70, 80);
    assert!(place.gaps()[1].contains("without a word"), "{:?}", place.gaps());
}

#[test]
fn a_directory_that_is_gone_is_made_again_and_the_gap_is_told() {
    let place = TestFolder::new();
    let mut writer = place.writer();
    write(&mut writer, 0, 20);
    fs::remove_dir_all(place.directory()).unwrap();
    write(&mut writer, 20, 30);
    let [gap] = &place.gaps()[..] else {
        panic!("{:?}", place.gaps())
    };
    assert!(
        gap.contains("\"from\":\"2026-11-27T11:00:19.000Z\",\"records\":0,"),
        "{gap}"
    );
    assert!(gap.contains("was removed"), "{gap}");
    fs::remove_dir_all(place.directory()).unwrap();
    fs::write(place.directory(), "in the way").unwrap();
    for second in 30..40 {
        writer
            .take(&served(stamp(BEGIN).plus(second), "synchronized", None))
            .unwrap();
    }
    assert!(writer.flush().is_err() && !writer.is_writing());
    assert_eq!((writer.dropped, writer.written), (10, 30));
    fs::remove_file(place.directory()).unwrap();
    write(&mut writer, 40, 50);
    assert!(writer.is_writing());
    let [gap] = &place.gaps()[..] else {
        panic!("{:?}", place.gaps())
    };
    assert!(
        gap.contains("\"from\":\"2026-11-27T11:00:29.000Z\",\"records\":10,"),
        "{gap}"
    );
    assert_eq!(place.check().faults, []);
}

#[test]
fn the_oldest_files_go_when_there_is_no_room() {
    let place = TestFolder::new();
    let mut writer = place.writer_with(1);
    write(&mut writer, 0, 3 * 3600 + 10);
    // The last one that is complete goes when the next one begins.
    assert_eq!(place.names().len(), 1);
    assert_eq!(place.check().faults, []);
    assert_eq!(writer.files, 1);
}

#[test]
fn a_file_of_another_program_is_left_alone_and_an_unfinished_one_removed() {
    let place = TestFolder::new();
    fs::create_dir(place.directory()).unwrap();
    for name in ["notes.txt", "000001-20261127T10.jsonl.gz.new"] {
        fs::write(place.directory().join(name), "x").unwrap();
    }
    write(&mut place.writer(), 0, 10);
    assert_eq!(place.names(), ["000001-20261127T11.jsonl.gz", "notes.txt"]);
}

/// A damaged file is evidence: it stays, and the next one begins.
#[test]
fn a_damaged_file_is_not_touched() {
    let place = TestFolder::new();
    write(&mut place.writer(), 0, 30);
    let path = place.directory().join(&place.names()[0]);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    write(&mut place.writer(), 40, 50);
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(place.names().len(), 2);
    let result = place.check();
    assert_eq!(result.faults.first().unwrap().file.number, 1, "{result}");
}

#[test]
fn a_clock_that_is_stepped_back_begins_a_new_file() {
    let place = TestFolder::new();
    let mut writer = place.writer();
    write(&mut writer, 7200, 7230);
    write(&mut writer, 0, 10);
    let names = ["000001-20261127T13.jsonl.gz", "000002-20261127T11.jsonl.gz"];
    assert_eq!(place.names(), names);
    assert_eq!(place.check().faults, []);
}
