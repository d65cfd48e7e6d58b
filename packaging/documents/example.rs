//! Pure. `config/ntpfront.toml` from the rows of the keys: every key with its default, commented out.
//!
//! In it a comment has a blank after its sign, and a setting, which is commented out, has none. What a comment says holds
//! for all the settings right below it.

use ntpfront::config::row::{Applied, Key, Table};

/// The longest line.
const WIDTH: usize = 126;

/// Where editors find the schema: beside the file. A package puts it elsewhere, and changes this line.
const SCHEMA: &str = "#:schema ./ntpfront.schema.json\n";

const HEAD: &str = "\
# ntpfront: the configuration with every key and its default.
#
{keys}
#
#   ntpfront check -c FILE    prints every error of a file: line, column, what was found, what is expected
#   ntpfront config -c FILE   prints what is in effect, and whether a flag, the file or the default set it
#
{reload}
#
#   ntpfront check --against-running   prints what a reload would change
";

const KEYS: &str = "A line that starts with \"#\" and no blank after it is a setting: remove the \"#\" to change it. Keys that \
                    are left out keep their default. So an empty file, or no file at all, means what is written here.";

/// Behind the keys of the first listener.
const SECOND_LISTENER: &str = r#"# A listener can also have its own keys of [access] and [limit]. What it does not set is as above. For an internal network:
#     access.default = "deny"
#     access.allow = ["10.0.0.0/8"]
#     limit.mode = "off"

#[[listener]]
#address = "[::]:123"
"#;

/// The file.
///
/// # Errors
/// A key without a value to show.
pub(crate) fn file(tables: &[Table]) -> Result<String, String> {
    let head = HEAD
        .replace("{keys}\n", &comment(KEYS))
        .replace("{reload}\n", &comment(&reload(tables)));
    let mut file = format!("{SCHEMA}{head}");
    for table in tables {
        file.push_str("\n\n");
        file.push_str(&comment(&table.about));
        let sign = if table.is_array() { "#" } else { "" };
        file.push_str(&format!("{sign}{}\n", table.head));
        for key in &table.keys {
            file.push_str(&comment(&key.doc));
            file.push_str(&setting(key)?);
        }
        if table.name() == "listener" {
            file.push_str(SECOND_LISTENER);
        }
    }
    Ok(file)
}

fn reload(tables: &[Table]) -> String {
    let restart = tables.iter().filter(|table| table.applied == Applied::Restart);
    let heads: Vec<&str> = restart.map(|table| table.head).collect();
    let (last, others) = heads.split_last().unwrap_or((&"none", &[]));
    format!(
        "A flag on the command line overrides its key here. The file is read at the start, and again on SIGHUP (`systemctl \
         reload ntpfront`). Changes then take effect at once, except those to the keys of {} and {last}, which need a restart.",
        others.join(", ")
    )
}

fn setting(key: &Key) -> Result<String, String> {
    let example = key.example.map(|text| format!("\"{text}\""));
    let value = key.default.clone().or(example);
    let value = value.ok_or_else(|| format!("{} has no default and no example", key.name))?;
    Ok(format!("#{} = {value}\n", key.name))
}

/// A paragraph as a comment.
fn comment(text: &str) -> String {
    let (mut lines, mut line) = (String::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + word.chars().count() + 1 > WIDTH {
            lines.push_str(&format!("{line}\n"));
            line.clear();
        }
        line.push_str(if line.is_empty() { "# " } else { " " });
        line.push_str(word);
    }
    match line.is_empty() {
        true => lines,
        false => format!("{lines}{line}\n"),
    }
}
