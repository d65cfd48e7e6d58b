//! Pure. The keys of the configuration: each is a row, with its type, default, range and text.
//!
//! The reading of each key by itself (`row`), `config/ntpfront.toml`, ntpfront.toml(5) and the schema for editors are
//! made of these rows. `validate` and the files beside it check the keys together.

mod clock;
mod fast_path;
mod history;
mod interleaved;
mod listener;
mod nts;
mod nts_client;
mod observe;
mod policy;
mod process;
mod smear;
mod sources;
mod spans;
mod symmetric;
mod texts;
mod upstream;

pub use self::fast_path::FastPath;
pub use self::history::HistoryKeys;
pub use self::nts::NtsKeys;
pub use nts_client::NtsClientKeys;
pub use observe::{CensusKeys, CommandAccess, Control, Metrics};
pub use process::{Process, Ready};

pub(super) use self::fast_path::RawFastPath;
pub(super) use self::history::RawHistory;
pub(super) use self::interleaved::{InterleavedKeys, RawInterleaved};
pub(super) use self::nts::RawNts;
pub(super) use clock::{ClockKeys, LocalKeys, RawClock, RawLocal};
pub(super) use listener::{ListenerKeys, MOST_WORKERS, RawListener};
pub(super) use nts_client::RawNtsClient;
pub(super) use observe::{MetricsKeys, RawCensus, RawControl, RawMetrics};
pub(super) use policy::{AccessKeys, BudgetKeys, LimitKeys, RawAccess, RawBudget, RawLimit};
pub(super) use process::{LogKeys, RawLog, RawProcess};
pub(super) use smear::{RawSmear, SmearKeys};
pub(super) use sources::{RawSources, SourcesKeys};
pub(super) use symmetric::{RawSymmetricKeys, SymmetricKeys};
pub(super) use upstream::{COUNT, COUNTS, LOOPBACK_POLLS, POLLS, REMOTE_POLLS, RawUpstream, UpstreamKeys};

use super::row::{Keys, Table};

/// Describes all tables, in the order of the example file.
pub fn tables() -> Vec<Table> {
    vec![
        Process::table(),
        LogKeys::table(),
        ClockKeys::table(),
        LocalKeys::table(),
        Control::table(),
        CensusKeys::table(),
        MetricsKeys::table(),
        HistoryKeys::table(),
        FastPath::table(),
        NtsClientKeys::table(),
        AccessKeys::table(),
        LimitKeys::table(),
        BudgetKeys::table(),
        SmearKeys::table(),
        InterleavedKeys::table(),
        SymmetricKeys::table(),
        ListenerKeys::table(),
        NtsKeys::table(),
        SourcesKeys::table(),
        UpstreamKeys::table(),
    ]
}
