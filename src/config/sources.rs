//! Pure. Upstreams that other programs name: the lines of the files in `sources.directories`.
//!
//! What they say is a claim, and no fault of the configuration: a line that can't be used is left out, with the reason.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

use super::address;
use super::fault::{Place, excerpt, printable};
use super::keys::{RawSources, RawUpstream};
use super::raw_value::{Origin, RawValue, Section, Value};
use crate::upstream::registry::Endpoint;

/// Maximum number of upstreams from there.
pub(super) const MOST: usize = 32;

/// Maximum number of lines that are shown as left out; further ones are left out silently.
const MOST_LEFT_OUT: usize = 32;

/// The upstreams that were found, and why others were not taken.
#[derive(Debug, Default)]
pub(super) struct FoundSources {
    /// The upstreams, before they are validated. None is there twice, or is a configured one.
    pub(super) upstreams: Vec<Section<RawUpstream>>,
    /// Lines that are left out, each with its place and the reason.
    pub(super) left_out: Vec<String>,
}

/// A file of other programs: its path, and its text or the reason why it can't be read.
pub type SourcesText = (PathBuf, Result<String, String>);

/// A function that gives the files of a directory in the order of their names, or the reason why it can't.
pub type ReadSources<'a> = &'a dyn Fn(&Path) -> Result<Vec<SourcesText>, String>;

/// Finds the upstreams of all directories that the table names, without those that are `configured`.
pub(super) fn find(
    said: &RawSources,
    configured: &[Section<RawUpstream>],
    read: ReadSources<'_>,
) -> FoundSources {
    let mut found = FoundSources::default();
    let mut known: HashSet<Endpoint> = configured.iter().filter_map(endpoint).collect();
    let directories = said.directories.as_ref().and_then(RawValue::as_list);
    let directories = directories.into_iter().flatten().filter_map(RawValue::as_text);
    for directory in directories.filter(|directory| directory.starts_with('/')) {
        match read(directory.as_ref()) {
            Ok(files) => files.iter().for_each(|file| found.add(file, &mut known)),
            Err(why) => found.leave_out(format!("{}: {why}", printable(directory))),
        }
    }
    found
}

impl FoundSources {
    /// Keeps the reason why a line or a file is not used, if there is room: bad lines take no room from good ones.
    fn leave_out(&mut self, why: String) {
        if self.left_out.len() < MOST_LEFT_OUT {
            self.left_out.push(why);
        }
    }

    fn add(&mut self, (path, text): &SourcesText, known: &mut HashSet<Endpoint>) {
        let text = match text {
            Ok(text) => text,
            Err(why) => {
                let path = printable(&path.to_string_lossy());
                return self.leave_out(format!("{path}: {why}"));
            }
        };
        for (index, line) in text.lines().enumerate() {
            let place = Place::File {
                path: path.clone(),
                line: index + 1,
                column: 1 + line.chars().take_while(|one| one.is_whitespace()).count(),
            };
            match upstream(line, &place) {
                Ok(None) => {}
                Ok(Some(_)) if self.upstreams.len() >= MOST => {
                    self.leave_out(format!("{place}: there are {MOST} already"));
                    return;
                }
                Ok(Some(upstream)) => match endpoint(&upstream) {
                    Some(endpoint) => {
                        // Another one is polled already: as configured, or by an earlier line.
                        if known.insert(endpoint) {
                            self.upstreams.push(upstream);
                        }
                    }
                    None => {
                        let host = upstream.said.address.as_ref().and_then(RawValue::as_text);
                        let host = excerpt(host.unwrap_or_default());
                        self.leave_out(format!(
                            "{place}: \"{host}\" is no address and no name of a server"
                        ));
                    }
                },
                Err(why) => self.leave_out(format!("{place}: {why}")),
            }
        }
    }
}

/// Returns what is polled, if the address of the table is one.
fn endpoint(section: &Section<RawUpstream>) -> Option<Endpoint> {
    let text = section.said.address.as_ref()?.as_text()?;
    let (host, port) = address::host_and_port(text).ok()?;
    Some(Endpoint::new(&host, port))
}

/// Returns the upstream that a line names; `None` if it names none.
fn upstream(line: &str, place: &Place) -> Result<Option<Section<RawUpstream>>, String> {
    let mut words = line.split_whitespace();
    let Some(first) = words
        .next()
        .filter(|word| !word.starts_with(['#', '!', ';', '%']))
    else {
        return Ok(None);
    };
    let value = |value| {
        Some(RawValue {
            value,
            origin: Origin::Line(place.clone()),
        })
    };
    let (is_pool, host) = match first {
        "server" | "peer" | "pool" => (first == "pool", words.next().ok_or("the address is missing")?),
        host => (false, host),
    };
    // A pool of one address is a server.
    let is_pool = is_pool && !is_address(host);
    let mut said = RawUpstream {
        pool: value(Value::Bool(is_pool)),
        ..RawUpstream::default()
    };
    let mut port = None;
    while let Some(option) = words.next() {
        let mut number = || {
            let word = words.next().ok_or_else(|| format!("{option} lacks its number"))?;
            let number = word.parse::<i64>();
            number.map_err(|_| format!("{option}: \"{}\" is no whole number", excerpt(word)))
        };
        match option {
            "iburst" => said.iburst = value(Value::Bool(true)),
            // What the mode of the questions is by default.
            "xleave" => {}
            "prefer" => said.prefer = value(Value::Bool(true)),
            "require" => said.require = value(Value::Bool(true)),
            "trust" => said.trust = value(Value::Bool(true)),
            "noselect" => said.noselect = value(Value::Bool(true)),
            "nts" => said.nts = value(Value::Bool(true)),
            "minpoll" => said.minpoll = value(Value::Integer(number()?)),
            "maxpoll" => said.maxpoll = value(Value::Integer(number()?)),
            "maxsources" => {
                let count = number()?;
                said.count = value(Value::Integer(count)).filter(|_| is_pool);
            }
            "ntsport" => said.ke_port = value(Value::Integer(number()?)),
            "key" => said.key = value(Value::Integer(number()?)),
            "port" => port = Some(number()?),
            // Left out, it would be another server than the one that is meant: without its key, for example.
            other => return Err(format!("\"{}\" is no option that is known here", excerpt(other))),
        }
    }
    said.address = value(Value::Text(with_port(host, port)));
    Ok(Some(Section {
        said,
        origin: Origin::Line(place.clone()),
        ..Section::default()
    }))
}

/// Returns an address as a key has it: in such a line an IPv6 address has no brackets, and the port is an option.
fn with_port(host: &str, port: Option<i64>) -> String {
    let host = match without_zone(host).parse::<Ipv6Addr>() {
        Ok(_) => format!("[{host}]"),
        Err(_) => host.to_owned(),
    };
    match port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}

fn is_address(host: &str) -> bool {
    without_zone(host).parse::<IpAddr>().is_ok()
}

fn without_zone(host: &str) -> &str {
    host.split('%').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use crate::cli::Flags;
    use crate::config::{Loaded, NamedFiles, load_with};

    fn load(main: &str, lines: &str) -> Loaded {
        let main = format!("{main}\n[sources]\ndirectories = [\"/run/x\"]\n");
        let read = |directory: &Path| {
            assert_eq!(directory, Path::new("/run/x"));
            Ok(vec![(PathBuf::from("/run/x/dhcp.sources"), Ok(lines.to_owned()))])
        };
        let files = NamedFiles {
            sources: Some(&read),
            lists: &|_| Err("none".to_owned()),
            private: None,
            asked: &[],
        };
        let text = Some((Path::new("/etc/x/ntpfront.toml"), main.as_str()));
        load_with(&Flags::default(), text, &[], files).unwrap()
    }

    fn upstreams(loaded: &Loaded) -> Vec<String> {
        let all = loaded.config.upstreams.iter();
        all.map(ToString::to_string).collect()
    }

    #[test]
    fn lines_are_upstreams_as_in_a_sourcedir_of_chronyd() {
        let loaded = load(
            "",
            "# of the DHCP server\n\nserver 192.0.2.1 iburst\n  2001:db8::1\npeer a.example port 1123 minpoll 7 maxpoll 8 prefer\npool p.example maxsources 3 iburst\npool 192.0.2.9 maxsources 3\n",
        );
        assert_eq!(loaded.left_out, [""; 0]);
        assert_eq!(
            upstreams(&loaded),
            [
                "192.0.2.1:123",
                "[2001:db8::1]:123",
                "a.example:1123",
                "p.example:123",
                "192.0.2.9:123"
            ]
        );
        let named = &loaded.config.upstreams[2];
        assert_eq!((named.minpoll, named.maxpoll, named.role.prefer), (7, 8, true));
        let shown = loaded.effective.to_string();
        assert!(shown.contains("# /run/x/dhcp.sources:3:1"), "{shown}");
        assert!(shown.contains("count = 3"), "{shown}");
        // Seven upstreams, as the pool counts as its members: two have to agree.
        assert_eq!(loaded.config.clock.min_sources, 2);
    }

    #[test]
    fn a_line_that_cannot_be_used_is_left_out_with_its_place() {
        let lines = "server\nserver 192.0.2.1 key\nserver 192.0.2.2 minpoll x\nserver 192.0.2.3 burst\n\
            server $(reboot)\nserver 192.0.2.4 minpoll 9 maxpoll 8\nserver 192.0.2.5 key 7\nserver 127.0.0.1\n\
            server 192.0.2.6\n";
        let loaded = load("[[listener]]\naddress = \"127.0.0.1:123\"\n", lines);
        assert_eq!(upstreams(&loaded), ["192.0.2.6:123"]);
        let places: Vec<&str> = loaded.left_out.iter().map(|one| &one[..24]).collect();
        let expected =
            [1, 2, 3, 4, 5, 6, 7, 8].map(|line| format!("/run/x/dhcp.sources:{line}:1:")[..24].to_owned());
        let mut sorted = places.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected, "{:#?}", loaded.left_out);
    }

    #[test]
    fn what_is_configured_already_is_one_upstream_and_the_number_is_bounded() {
        let main =
            "[[upstream]]\naddress = \"a.example\"\nminpoll = 8\n[[upstream]]\naddress = \"192.0.2.1\"\n";
        let loaded = load(main, "server 192.0.2.1\nserver a.example:123\nserver A.example\n");
        assert_eq!(upstreams(&loaded), ["a.example:123", "192.0.2.1:123"]);
        assert_eq!((loaded.config.clock.min_sources, loaded.left_out.len()), (1, 0));
        let many: String = (0..100)
            .map(|last| format!("server 198.51.100.{last}\n"))
            .collect();
        let loaded = load(main, &many);
        assert_eq!(
            (loaded.config.upstreams.len(), loaded.left_out.len()),
            (2 + super::MOST, 1)
        );
        // Lines that can't be used keep none of the others out.
        let bad = "server ;\n".repeat(1000) + "server 192.0.2.9\n";
        let loaded = load(main, &bad);
        assert_eq!((loaded.config.upstreams.len(), loaded.left_out.len()), (3, 32));
        // Nothing that can be used is as nothing.
        let loaded = load("", "server ;\n");
        assert_eq!(upstreams(&loaded), ["127.0.0.1:11123"]);
        let loaded = load("upstream = []\n[local]\nenabled = true", "server 192.0.2.1");
        assert_eq!(upstreams(&loaded).len(), 1);
    }
}
