//! Pure. The record as CSV (RFC 4180), for spreadsheets and databases.

use super::line::ServedNote;
use super::stamp::Stamp;

/// The names of the columns.
pub const HEADER: &str = "time,unix,state,clock,stratum,leap,reference_id,frequency,root_delay,root_dispersion,bound,host_offset,\
                          answered,refused,lost\n";

/// Returns a served line as a row.
pub fn row(time: Stamp, served: &ServedNote<'_>) -> String {
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let millis = time.millis();
    let unix = format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000));
    format!(
        "{time},{unix},{},{},{},{},{},{},{},{},{},{},{},{},{}\n",
        field(&served.state),
        field(&served.clock),
        served.stratum,
        served.leap,
        field(&served.reference_id),
        number(served.frequency),
        served.root_delay,
        served.root_dispersion,
        number(served.bound),
        served.host_offset,
        served.answered,
        served.refused,
        served.lost
    )
}

/// Returns a text as a field: in quotes if it needs them, and never as a formula of a spreadsheet.
pub fn field(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err();
    let safe = if is_formula {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    if safe.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", safe.replace('"', "\"\""))
    } else {
        safe
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::line::Note;
    use crate::history::line::tests::{served, stamp};

    #[test]
    fn a_row_has_a_field_for_each_column() {
        let time = stamp("2026-11-27T12:03:07.123Z");
        let Note::Served(note) = served(time, "synchronized", Some(1.75e-5)).note else {
            panic!()
        };
        let row = row(time, &note);
        assert_eq!(
            row,
            "2026-11-27T12:03:07.123Z,1795780987.123,synchronized,tracked,2,0,C000020C,-0.000012345,0.00003,0.0000025,0.0000175,\
             -0.000015,20114,3,0\n"
        );
        assert_eq!(row.split(',').count(), HEADER.split(',').count());
    }

    #[test]
    fn fields_stay_what_they_are() {
        for (text, expected) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("=1+1", "'=1+1"),
            ("@x,y", "\"'@x,y\""),
            ("-0.5", "-0.5"),
            ("-x", "'-x"),
        ] {
            assert_eq!(field(text), expected);
        }
    }
}
