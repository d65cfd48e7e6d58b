//! Pure. README and the documents of `packaging/doc` as a package installs them: in one directory, with links to where the
//! package puts things.

/// Where a package puts what the documents link to: the path in this tree, and the one from the directory of documents.
/// Documents themselves are beside each other, and other files of `packaging/doc` are examples.
const INSTALLED: [(&str, &str); 15] = [
    ("README.md", "README.md"),
    ("packaging/CHANGELOG.md", "CHANGELOG.md"),
    ("config/ntpfront.toml", "/etc/ntpfront/ntpfront.toml"),
    (
        "config/ntpfront.schema.json",
        "/usr/share/ntpfront/ntpfront.schema.json",
    ),
    ("config/try.toml", "examples/try.toml"),
    (
        "packaging/grafana/ntpfront.json",
        "examples/grafana-ntpfront.json",
    ),
    (
        "packaging/prometheus/ntpfront.rules.yml",
        "examples/prometheus-ntpfront.rules.yml",
    ),
    ("packaging/compose.yaml", "examples/compose.yaml"),
    (
        "packaging/kubernetes/deployment.yaml",
        "examples/kubernetes-deployment.yaml",
    ),
    (
        "packaging/kubernetes/host-network.yaml",
        "examples/kubernetes-host-network.yaml",
    ),
    (
        "systemd/ntpfront.service",
        "/usr/lib/systemd/system/ntpfront.service",
    ),
    (
        "systemd/ntpfront.socket",
        "/usr/lib/systemd/system/ntpfront.socket",
    ),
    (
        "systemd/ntpfront.service.d/10-notify-reload.conf",
        "examples/10-notify-reload.conf",
    ),
    ("systemd/20-fast-path.conf", "examples/20-fast-path.conf"),
    ("systemd/30-pin.conf", "examples/30-pin.conf"),
];
/// What only the source tree has: such links become plain text.
const SOURCE_ONLY: [&str; 4] = ["src/", "tests/", "packaging/Dockerfile", "LICENSE"];

/// The document at `path` of this tree, as it is installed.
///
/// # Errors
/// A link to something that a package neither has nor is known to lack.
pub(crate) fn installed(path: &str, text: &str) -> Result<String, String> {
    let mut page = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("](") {
        let (before, after) = rest.split_at(at);
        let (link, more) = after
            .strip_prefix("](")
            .and_then(|link| link.split_once(')'))
            .ok_or_else(|| format!("{path}: a link without an end: {after}"))?;
        match target(path, link)? {
            Some(link) => page.push_str(&format!("{before}]({link})")),
            None => {
                let (before, label) = before
                    .rsplit_once('[')
                    .ok_or_else(|| format!("{path}: a link without a text: {link}"))?;
                page.push_str(before);
                page.push_str(label);
            }
        }
        rest = more;
    }
    Ok(page + rest)
}

/// What a link becomes; `None` where a package lacks what it leads to.
fn target(path: &str, link: &str) -> Result<Option<String>, String> {
    if link.contains("://") || link.starts_with('#') {
        return Ok(Some(link.to_owned()));
    }
    let (file, anchor) = link.split_at(link.find('#').unwrap_or(link.len()));
    let file = resolved(path, file);
    if SOURCE_ONLY.iter().any(|start| file.starts_with(start)) {
        return Ok(None);
    }
    let known = INSTALLED.iter().find(|(from, _)| *from == file);
    match (known, file.strip_prefix("packaging/doc/")) {
        (Some((_, to)), _) => Ok(Some(format!("{to}{anchor}"))),
        (None, Some(name)) if name.ends_with(".md") => Ok(Some(format!("{name}{anchor}"))),
        (None, Some(name)) => Ok(Some(format!("examples/{name}"))),
        (None, None) => Err(format!(
            "{path}: {file} has no place in a package: see packaging/documents/reading.rs"
        )),
    }
}

/// A relative link of the document at `path`, from the root of this tree.
fn resolved(path: &str, link: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            ".." => {
                parts.pop();
            }
            "." => {}
            _ => parts.push(part),
        }
    }
    parts.join("/")
}
