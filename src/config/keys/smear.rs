//! Pure. The rows of `[smear]`.

use crate::config::kind::{whole, word};
use crate::config::row::table;
use crate::leap::{Mark, Smear, SmearKind, SmearWindow};

table! {
    /// The smear of leap seconds, for all listeners with leap = "smear": two can't differ.
    ///
    /// All servers that a client asks must smear in the same way, or none of them. The defaults are those of Google,
    /// Amazon and others: linear, 24 hours, from noon to noon (UTC).
    "[smear]": Reload, RawSmear
    #[derive(Clone, Debug)]
    pub(in crate::config) struct SmearKeys {
        /// The shape: "linear" or "cosine".
        ///
        /// "linear": the rate is the same all the time, 11.6 ppm over 24 hours. "cosine": the rate changes slowly, and
        /// is 1.57 times as large in the middle.
        kind: SmearKind = Smear::default().kind, word();
        /// The length in hours: {range}.
        ///
        /// The shorter it is, the faster clients must follow: 278 ppm over one hour, which is too much for some.
        hours: u8 = Smear::default().hours, whole(1..=48);
        /// The place relative to midnight (UTC), the end of the day with the leap second: "around", "after" or "before".
        ///
        /// "around": half of it before midnight, half after, and at most 0.5 s from UTC. "after" and "before": all of it,
        /// and up to 1 s from UTC.
        window: SmearWindow = Smear::default().window, word();
        /// The mark in responses during a smear: "none" or "reference-id".
        ///
        /// "reference-id": 254.a.b.c with the offset from UTC, as ntpd has it. Clients then do not see which server
        /// is followed.
        mark: Mark = Smear::default().mark, word();
    }
}

impl SmearKeys {
    /// Returns the settings of the smear.
    pub(in crate::config) fn smear(&self) -> Smear {
        Smear {
            kind: self.kind,
            hours: self.hours,
            window: self.window,
            mark: self.mark,
        }
    }
}
