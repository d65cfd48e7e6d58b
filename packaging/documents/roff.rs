//! Pure. Plain text as roff: nothing in it is taken for a request, and what stands in backquotes is bold.

/// Where lines of the source are broken; what is read is filled by the formatter.
const WIDTH: usize = 64;

/// One line as it is, with no sign of it meaning anything to roff.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for character in text.chars() {
        match character {
            '\\' => safe.push_str("\\e"),
            '-' => safe.push_str("\\-"),
            '\'' => safe.push_str("\\(aq"),
            '`' => safe.push_str("\\(ga"),
            '^' => safe.push_str("\\(ha"),
            '~' => safe.push_str("\\(ti"),
            '.' if safe.is_empty() => safe.push_str("\\&."),
            _ => safe.push(character),
        }
    }
    safe
}

/// A paragraph: a new line for each sentence, as roff wants it, and none too long.
pub(crate) fn filled(text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    let mut is_bold = false;
    for word in text.split_whitespace() {
        if !line.is_empty() && (line.len() + word.len() >= WIDTH || ends_sentence(&line, word)) {
            push_line(&mut lines, &line, &mut is_bold);
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    push_line(&mut lines, &line, &mut is_bold);
    lines
}

fn ends_sentence(line: &str, next: &str) -> bool {
    line.trim_end_matches(['"', ')']).ends_with(['.', '?', '!'])
        && next.starts_with(|first: char| !first.is_lowercase())
}

fn push_line(lines: &mut String, line: &str, is_bold: &mut bool) {
    for (index, part) in line.split('`').enumerate() {
        if index > 0 {
            *is_bold = !*is_bold;
            lines.push_str(if *is_bold { "\\fB" } else { "\\fR" });
        }
        lines.push_str(&escaped(part));
    }
    lines.push('\n');
}

/// With a capital and a full stop, where it has none.
pub(crate) fn sentence(text: &str) -> String {
    let mut letters = text.trim().chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    let text = first.unwrap_or_default() + letters.as_str();
    if text.ends_with(['.', '?', '!']) {
        text
    } else {
        text + "."
    }
}

/// A term with what it means; `terms` are roff already, the first line of an item each.
pub(crate) fn item(terms: &[String], text: &str) -> String {
    let mut lines = String::new();
    for (index, term) in terms.iter().enumerate() {
        lines.push_str(if index == 0 { ".TP\n" } else { ".TQ\n" });
        lines.push_str(term);
        lines.push('\n');
    }
    lines + &filled(text)
}

/// Settings as they are. The comment says what they are written in, for the test that tries them.
pub(crate) fn verbatim(lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| escaped(line) + "\n").collect();
    format!(".PP\n.RS 4\n.\\\" toml\n.EX\n{lines}.EE\n.RE\n")
}

/// Replaces the lines `@NAME@` of a page's source.
///
/// # Errors
/// A name that is not known, or not used.
pub(crate) fn fill_in(template: &str, parts: &[(&str, String)]) -> Result<String, String> {
    let mut page = String::new();
    let mut used = Vec::new();
    for line in template.lines() {
        match line.strip_prefix('@').and_then(|line| line.strip_suffix('@')) {
            None => {
                page.push_str(&line.replace("@VERSION@", env!("CARGO_PKG_VERSION")));
                page.push('\n');
            }
            Some(name) => {
                let part = parts.iter().find(|(known, _)| *known == name);
                let (_, text) = part.ok_or_else(|| format!("there is nothing to put in place of {line}"))?;
                page.push_str(text);
                used.push(name);
            }
        }
    }
    match parts.iter().find(|(name, _)| !used.contains(name)) {
        Some((name, _)) => Err(format!("the page has no line @{name}@")),
        None => Ok(page),
    }
}
