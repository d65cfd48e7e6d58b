//! Pure. A draft of `[symmetric-keys]`, and the draft as TOML.

use crate::config::effective::quoted;
use crate::symmetric::KeyId;

/// The lines about keys so far.
#[derive(Debug, Default)]
pub(super) struct DraftKeys {
    /// The path of the file, and the line that names it.
    pub(super) file: Option<(String, String)>,
    /// The trusted keys, each from the first to the last identifier; `None` if no line names some.
    pub(super) trusted: Option<Vec<(KeyId, KeyId)>>,
}

impl DraftKeys {
    /// Returns the table.
    ///
    /// Without a server or a line that needs it, it is a comment: the file may be that of a package, which the user of
    /// ntpfront can't read.
    pub(super) fn to_toml(&self, is_used: bool) -> String {
        let Some((file, _)) = &self.file else {
            return String::new();
        };
        let trusted = self.trusted.as_deref().unwrap_or_default();
        let shown = trusted.iter().map(|(first, last)| {
            let range = if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            };
            quoted(&range)
        });
        let shown: Vec<String> = shown.collect();
        let lines = match shown.is_empty() {
            true => format!("file = {}\n", quoted(file)),
            false => format!("file = {}\ntrusted = [{}]\n", quoted(file), shown.join(", ")),
        };
        let remark = "# The user of ntpfront has to read it. Keys of type MD5 need allow-md5 = true.\n";
        match is_used || !trusted.is_empty() {
            true => format!("\n[symmetric-keys]\n{remark}{lines}"),
            false => format!("\n#[symmetric-keys]\n{remark}#{lines}"),
        }
    }
}
