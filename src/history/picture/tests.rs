//! Impure. Tests of the picture, against one that was looked at.

use super::*;
use crate::history::curves::CurveMaker;
use crate::history::line::tests::{served, stamp};
use crate::history::line::{HistoryLine, Note, SampleNote};

/// An hour with a dispute, a pause, and an upstream that lies.
fn hour() -> (Curves, (Stamp, Stamp)) {
    let start = stamp("2026-11-27T12:00:00Z");
    let mut maker = CurveMaker::new(start, start.plus(3600));
    for second in 0..3600 {
        let time = start.plus(second);
        let wave = (second as f64 / 300.0).sin();
        match second {
            1200..1500 => maker.add(&served(time, "disputed", None)),
            2400..2700 => continue,
            3000..3200 => maker.add(&served(
                time,
                "holdover",
                Some(4e-4 + 1e-6 * (second - 3000) as f64),
            )),
            _ => maker.add(&served(time, "synchronized", Some(3e-4 + 5e-5 * wave))),
        }
        for (index, name) in [
            "time1.example:123",
            "time2.example:123",
            "[2001:db8::f]:123 <&>\u{1}",
        ]
        .iter()
        .enumerate()
        {
            if second % 64 == 7 * i64::try_from(index).unwrap() {
                let lie = if index == 1 && second > 2800 { 2.0 } else { 0.0 };
                let note = SampleNote {
                    upstream: (*name).to_owned(),
                    offset: Some(lie + 1e-4 * (index as f64 - 1.0) + 2e-5 * wave),
                    ..SampleNote::default()
                };
                maker.add(&HistoryLine {
                    time,
                    note: Note::Sample(note),
                });
            }
        }
    }
    (maker.finish(), (start, start.plus(3600)))
}

#[test]
fn the_svg_is_as_it_was_looked_at() {
    let (curves, span) = hour();
    let text = svg(&curves, span, &PictureStyle::file("What host served".to_owned())).unwrap();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/history.svg");
    if std::env::var("NTPFRONT_EXPECT").is_ok_and(|word| word == "write") {
        std::fs::write(&path, &text).unwrap();
        panic!("written");
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert!(
        text == golden,
        "is that meant? NTPFRONT_EXPECT=write writes tests/golden/history.svg; look at it"
    );
}

#[test]
fn names_can_not_break_out_of_the_svg() {
    let (curves, span) = hour();
    let text = svg(&curves, span, &PictureStyle::file("<script>".to_owned())).unwrap();
    assert!(
        !text.contains("<script") && !text.contains("<&>") && !text.contains('\u{1}'),
        "{text}"
    );
    assert!(text.contains("&lt;script&gt;"), "{text}");
    for word in ["disputed", "holdover", "answered", "12:30"] {
        assert!(text.contains(word), "{word}");
    }
}

#[test]
fn the_png_is_one() {
    let (curves, span) = hour();
    let bytes = png(&curves, span, &PictureStyle::file("What host served".to_owned())).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes))
        .read_info()
        .unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height), (1200, 720));
    let has = |color: RGBColor| {
        pixels
            .chunks(3)
            .filter(|pixel| *pixel == [color.0, color.1, color.2])
            .count()
    };
    assert!(has(INK) > 500, "{} pixels of text", has(INK));
    assert!(PALETTE[..3].iter().all(|color| has(*color) > 50));
    if let Ok(path) = std::env::var("NTPFRONT_PICTURE") {
        std::fs::write(path, bytes).unwrap();
    }
}

/// Offsets that jump from one end to the other, as those of noise do.
#[test]
fn lines_stay_in_their_chart() {
    let start = stamp("2026-11-27T12:00:00Z");
    let mut maker = CurveMaker::new(start, start.plus(1200));
    for second in 0..1200 {
        maker.add(&served(start.plus(second), "synchronized", Some(1e-3)));
        maker.add(&HistoryLine {
            time: start.plus(second),
            note: Note::Sample(SampleNote {
                upstream: "noisy".to_owned(),
                offset: Some(if second % 2 == 0 { 9e-4 } else { -9e-4 }),
                ..SampleNote::default()
            }),
        });
    }
    let style = PictureStyle::file("Title".to_owned());
    let bytes = png(&maker.finish(), (start, start.plus(1200)), &style).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
        .read_info()
        .unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    let RGBColor(red, green, blue) = PALETTE[0];
    let rows = pixels.chunks(1200 * 3);
    let count = |row: &[u8]| row.chunks(3).filter(|pixel| *pixel == [red, green, blue]).count();
    let counts: Vec<usize> = rows.map(count).collect();
    // The title, and between the charts.
    assert_eq!(counts[..34].iter().sum::<usize>(), 0, "{counts:?}");
    assert!(counts[100..400].iter().sum::<usize>() > 1000, "{counts:?}");
    assert_eq!(counts[460..].iter().sum::<usize>(), 0, "{counts:?}");
}

/// The state that began a moment ago is the one that is read.
#[test]
fn words_of_states_have_room_or_are_left_out() {
    let start = stamp("2026-11-27T12:00:00Z");
    let mut maker = CurveMaker::new(start, start.plus(3600));
    for second in 3540..3600 {
        let state = if second < 3550 { "init" } else { "disputed" };
        maker.add(&served(start.plus(second), state, None));
    }
    let style = PictureStyle {
        size: (960, 520),
        title: None,
        paper: false,
        dots: false,
    };
    let text = svg(&maker.finish(), (start, start.plus(3600)), &style).unwrap();
    assert!(!text.contains("init"), "{text}");
    let (before, _) = text.split_once("\ndisputed").unwrap();
    let (_, element) = before.rsplit_once("<text x=\"").unwrap();
    let (x, _) = element.split_once('"').unwrap();
    let end = x.parse::<u32>().unwrap() + 8 * 7;
    assert!((930..=941).contains(&end), "{end}");
}

#[test]
fn any_curves_are_drawn() {
    let start = stamp("2026-11-27T12:00:00Z");
    let empty = (Curves::default(), (start, start));
    let one = {
        let mut maker = CurveMaker::new(start, start.plus(1));
        maker.add(&served(start, "synchronized", Some(0.0)));
        (maker.finish(), (start, start.plus(1)))
    };
    let mut odd = hour();
    odd.0.points[5].bound = Some(f32::INFINITY);
    odd.0.points[6].offsets = vec![Some(f32::NAN)];
    odd.0.points[7].answered = u64::MAX / 8;
    for (curves, span) in [empty, one, odd] {
        let style = PictureStyle {
            size: (320, 300),
            title: None,
            paper: false,
            dots: false,
        };
        svg(&curves, span, &style).unwrap();
        png(&curves, span, &style).unwrap();
    }
}

#[test]
fn labels_are_at_full_times() {
    let labels = |start: &str, length: i64, most| {
        let start = stamp(start).seconds();
        let ticks = ticks(&(start..start + length), most);
        let step = ticks[1] - ticks[0];
        ticks
            .iter()
            .map(|tick| time_label(*tick, step))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        labels("2026-11-27T12:03:07Z", 3600, 6),
        ["12:10", "12:20", "12:30", "12:40", "12:50", "13:00"]
    );
    assert_eq!(
        labels("2026-11-27T12:03:07Z", 86_400, 5),
        ["18:00", "00:00", "06:00", "12:00"]
    );
    assert_eq!(
        labels("2026-11-01T00:00:00Z", 30 * 86_400, 5),
        ["11-05", "11-12", "11-19", "11-26"]
    );
    assert_eq!(
        labels("2026-11-27T12:03:07Z", 30, 5),
        ["12:03:10", "12:03:20", "12:03:30"]
    );
}
