//! Small configurations, made of the rows of the keys: for each key values that it takes, at both ends of its range, and
//! values that it does not take, just beyond.

use ntpfront::config::keys::tables;
use ntpfront::config::kind::KeyType;
use ntpfront::config::row::{Key, Table};

/// A configuration that sets one key.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// The key, as in `listener.limit.burst`.
    pub(crate) key: String,
    /// The value as TOML.
    pub(crate) value: String,
    /// The whole text.
    pub(crate) text: String,
    /// Does the key take the value?
    pub(crate) is_good: bool,
}

/// Texts that keys take, and that are not their default.
const TEXTS: [(&str, &str); 32] = [
    ("sources.directories", "[\"/somewhere\"]"),
    ("process.user", "\"somebody\""),
    ("process.chroot", "\"/somewhere\""),
    ("clock.leap-seconds", "\"/somewhere\""),
    ("history.directory", "\"/srv/history\""),
    ("history.size", "\"128M\""),
    ("history.limits", "[\"mifid-1ms=0.001\"]"),
    ("control.socket", "\"/somewhere\""),
    ("metrics.listen", "\"unix:/somewhere\""),
    ("fast-path.interfaces", "[\"eth0\"]"),
    ("nts-client.roots", "\"/roots.pem\""),
    ("nts-client.refresh", "\"2d\""),
    ("access.allow", "[\"192.0.2.0/24\"]"),
    ("access.deny", "[\"192.0.2.0/24\"]"),
    ("access.allow-files", "[\"a-list\"]"),
    ("access.deny-files", "[\"a-list\"]"),
    ("listener.access.allow", "[\"192.0.2.0/24\"]"),
    ("listener.access.deny", "[\"192.0.2.0/24\"]"),
    ("listener.access.allow-files", "[\"a-list\"]"),
    ("listener.access.deny-files", "[\"a-list\"]"),
    ("listener.address", "\"192.0.2.1:123\""),
    ("symmetric-keys.file", "\"/somewhere\""),
    ("symmetric-keys.trusted", "[\"7\"]"),
    ("nts.listen", "[\"192.0.2.1:4460\"]"),
    ("nts.certificate", "\"/somewhere\""),
    ("nts.key", "\"/somewhere\""),
    ("nts.secret", "\"/somewhere\""),
    ("nts.rotate", "\"2d\""),
    ("nts.algorithms", "[\"aes-128-gcm-siv\"]"),
    ("nts.ntp-server", "\"ntp.example\""),
    ("upstream.address", "\"192.0.2.1\""),
    ("upstream.ca", "\"/ca.pem\""),
];

/// What else has to be set before these keys (all that begin so) mean anything, in the same table.
const NEEDS: [(&str, &str); 14] = [
    ("symmetric-keys.trusted", "file = \"/somewhere\""),
    ("local.stratum", "enabled = true"),
    ("local.wait", "enabled = true"),
    ("local.distance", "enabled = true"),
    ("limit.wide-", "wide = true"),
    ("access.allow", "default = \"deny\""),
    ("listener.limit.wide-", "wide = true"),
    ("listener.access.allow", "default = \"deny\""),
    // Such a server may be asked every second.
    ("upstream.minpoll", "address = \"127.0.0.1:11123\""),
    ("upstream.maxpoll", "address = \"127.0.0.1:11123\""),
    ("upstream.pool", "address = \"n.example\""),
    ("upstream.count", "address = \"n.example\""),
    ("upstream.ke-port", "address = \"n.example\"\nnts = true"),
    ("upstream.ca", "address = \"n.example\"\nnts = true"),
];

/// One for each value of each key.
pub(crate) fn samples() -> Vec<Sample> {
    let mut all = Vec::new();
    for table in tables() {
        of_table(&table, table.name(), table.head, &mut all);
        for inner in &table.tables {
            let name = format!("{}.{}", table.name(), inner.name());
            of_table(
                inner,
                &name,
                &format!("[[listener]]\naddress = \"192.0.2.1:123\"\n[{name}]"),
                &mut all,
            );
        }
    }
    all
}

fn of_table(table: &Table, name: &str, head: &str, all: &mut Vec<Sample>) {
    for key in &table.keys {
        let path = format!("{name}.{}", key.name);
        let need = NEEDS.iter().find(|(start, _)| path.starts_with(start));
        let address = table
            .keys
            .iter()
            .find(|other| other.is_required && other.name != key.name);
        let address = address.map(|_| format!("address = {}", text_of(&format!("{name}.address"))));
        let before = need
            .map(|(_, need)| (*need).to_owned())
            .or(address)
            .unwrap_or_default();
        // As many upstreams as may be asked to agree, as much distance as may be announced, and keys for NTS.
        let after = match path.as_str() {
            "clock.min-sources" => (0..255)
                .map(|number| format!("[[upstream]]\naddress = \"n{number}.example\"\n"))
                .collect(),
            smear if smear.starts_with("smear.") => {
                "[[listener]]\naddress = \"192.0.2.1:123\"\nleap = \"smear\"\n".to_owned()
            }
            "clock.authenticated" => "[[upstream]]\naddress = \"n.example\"\nnts = true\n".to_owned(),
            "local.distance" => "[clock]\nmax-distance = 16.0\n".to_owned(),
            "listener.authentication" | "upstream.key" => {
                "[symmetric-keys]\nfile = \"/somewhere\"\n".to_owned()
            }
            "listener.nts" => "[nts]\nsecret = \"/somewhere\"\n".to_owned(),
            _ => String::new(),
        };
        let (good, bad) = values(key, &path);
        let values = good.into_iter().map(|value| (value, true));
        for (value, is_good) in values.chain(bad.into_iter().map(|value| (value, false))) {
            let text = format!("{head}\n{before}\n{} = {value}\n{after}", key.name);
            all.push(Sample {
                key: path.clone(),
                value,
                text,
                is_good,
            });
        }
    }
}

fn text_of(path: &str) -> String {
    let known = TEXTS.iter().find(|(key, _)| *key == path);
    let (_, text) =
        known.unwrap_or_else(|| panic!("{path}: put a value that it takes into tests/common/samples.rs"));
    (*text).to_owned()
}

/// What a key takes, and what it does not.
fn values(key: &Key, path: &str) -> (Vec<String>, Vec<String>) {
    let all = |values: &[&str]| values.iter().map(ToString::to_string).collect::<Vec<_>>();
    match &key.key_type {
        KeyType::Bool => (all(&["true", "false"]), all(&["1", "\"true\""])),
        KeyType::Integer { least, most } => (
            vec![least.to_string(), most.to_string()],
            vec![
                (least - 1).to_string(),
                (most + 1).to_string(),
                format!("{least}.5"),
                "\"1\"".to_owned(),
            ],
        ),
        KeyType::Number { least, most } => (
            vec![format!("{least:?}"), format!("{most:?}")],
            vec![
                format!("{:?}", least - 0.000_01),
                format!("{:?}", most + 0.01),
                "\"1\"".to_owned(),
            ],
        ),
        KeyType::Word(words) => (
            words.iter().map(|word| format!("\"{word}\"")).collect(),
            all(&["\"another\"", "true", "1"]),
        ),
        KeyType::Text => (vec![text_of(path)], all(&["1", "[\"a\"]"])),
        KeyType::TextOrTexts => (
            vec![text_of(path), format!("[{}, \"/somewhere/else\"]", text_of(path))],
            all(&["1", "[1]"]),
        ),
        KeyType::Texts => (vec!["[]".to_owned(), text_of(path)], all(&["\"a\"", "[1]"])),
    }
}
