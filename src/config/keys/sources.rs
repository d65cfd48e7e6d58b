//! Pure. The rows of `[sources]`.

use std::path::PathBuf;

use crate::config::address::Refusal;
use crate::config::effective::quoted;
use crate::config::kind::{Texts, texts};
use crate::config::row::table;

table! {
    /// Further upstreams, of files that other programs write: a DHCP client, for example.
    "[sources]": Reload, RawSources
    #[derive(Clone, Debug)]
    pub(in crate::config) struct SourcesKeys {
        /// The directories with such files: absolute paths. They need not exist.
        ///
        /// Files whose names end in ".sources" are read, in the order of their names, at the start and on reload. Each
        /// line is a server as chronyd has it in its sourcedir: "server 192.0.2.1 iburst", "pool ntp.example maxsources
        /// 3", or only an address or a name. A line with an error is left out, shown in the log and in the status, and no
        /// error of the configuration. At most 32 upstreams come from there; one that is an [[upstream]], too, is that
        /// one. If there is at least one, the default upstream no longer applies.
        directories: Vec<PathBuf> = Vec::new(), directories();
    }
}

fn directories() -> Texts<PathBuf> {
    texts(
        |text| match text.starts_with('/') && !text.contains(char::is_control) {
            true => Ok(text.into()),
            false => Err(Refusal::new("absolute paths without control characters")),
        },
        |path| quoted(&path.to_string_lossy()),
    )
}
