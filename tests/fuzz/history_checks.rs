//! What must hold for any bytes in a file of the record: called by the fuzz target, and by `tests/pure/corpus.rs` with the corpus.

use ntpfront::history::chain::{ChainCheck, ChainResult, FileCheck};
use ntpfront::history::curves::CurveMaker;
use ntpfront::history::line::{HistoryLine, Note};
use ntpfront::history::moment::MomentFinder;
use ntpfront::history::overview::overview;
use ntpfront::history::report::{HistoryLimit, HistoryReport, ReportPart};
use ntpfront::history::segment::SegmentName;
use ntpfront::history::stamp::Stamp;
use ntpfront::history::{csv, events, members};

/// `bytes` are a file, and the text of one.
pub(crate) fn history(bytes: &[u8]) {
    let _damaged = checked(bytes, &mut Vec::new());
    let text = String::from_utf8_lossy(bytes);
    let mut times = Vec::new();
    let chain = checked(&members::packed(&text), &mut times);
    // The whole time, from the first line to the last, whatever they say; and an hour.
    let (least, most) = (times.iter().min(), times.iter().max());
    if let (Some(&least), Some(&most)) = (least, most) {
        for until in [most.plus(1), least.plus(3600)] {
            shown(&text, least, until, &chain);
        }
    }
}

/// Checks a file as the last one and as one before, and each of its lines. Whatever is in it, a check of two is not good twice.
fn checked(file: &[u8], times: &mut Vec<Stamp>) -> ChainResult {
    let name = |number: u64| SegmentName::read(&format!("{number:06}-20261127T12.jsonl.gz")).unwrap();
    let mut chain = ChainCheck::default();
    chain.add(FileCheck::read(name(1), file, false, line_holds));
    chain.add(FileCheck::read(name(2), file, true, |line| times.push(line.time)));
    let result = chain.finish();
    is_printable(&result.to_string());
    // No file has its own sum in it.
    assert!(!result.faults.is_empty() || file.is_empty(), "{result:?}");
    result
}

/// What is written of a line is read as the same, and what people and programs read of it is one line.
fn line_holds(line: &HistoryLine<'_>) {
    let written = line.write();
    assert_eq!(written.matches('\n').count(), 1, "{written}");
    let again = HistoryLine::read(written.trim_end())
        .expect(&written)
        .expect(&written);
    assert_eq!(again.write(), written);
    if let Some(event) = events::event(line) {
        assert!(!event.contains(char::is_control), "{event:?}");
    }
    if let Note::Served(served) = &line.note {
        assert!(csv::row(line.time, served).ends_with('\n'));
    }
}

/// A terminal gets letters and the ends of lines.
fn is_printable(text: &str) {
    let order = text.find(|letter: char| letter.is_control() && letter != '\n');
    assert!(!text.is_empty() && order.is_none(), "{text:?}");
}

/// All that is made of lines.
fn shown(text: &str, since: Stamp, until: Stamp, chain: &ChainResult) {
    let mut curves = CurveMaker::new(since, until);
    let mut moments = [since, until].map(MomentFinder::new);
    let mut parts = [0.001, f64::NAN].map(|limit| ReportPart::new(since, until, limit));
    let mut said = Vec::new();
    for line in text.lines() {
        let Ok(Some(line)) = HistoryLine::read(line) else {
            continue;
        };
        curves.add(&line);
        moments.iter_mut().for_each(|finder| finder.add(&line));
        parts.iter_mut().for_each(|part| part.add(&line));
        said.extend(events::event(&line));
    }
    let curves = curves.finish();
    for width in [0, 60, 200] {
        let screen = overview(&curves, since, until, &said, width);
        is_printable(&screen);
    }
    assert!(curves.thinned(50, 1).points.len() <= curves.points.len());
    for finder in moments {
        is_printable(&finder.finish().to_string());
    }
    let [mut one, other] = parts;
    one.join(other);
    let report = HistoryReport {
        month: "2026-11".to_owned(),
        host: "host".to_owned(),
        limit: HistoryLimit {
            name: "limit".to_owned(),
            seconds: 0.001,
        },
        part: one,
        chain: chain.clone(),
    };
    is_printable(&report.markdown(until));
    assert!(!report.csv(until).is_empty());
}
