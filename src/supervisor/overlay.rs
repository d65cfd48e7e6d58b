//! Pure. The changes of the upstreams by command: a layer over those of the configuration, which ends with the process.

use std::net::SocketAddr;

use crate::config::address;
use crate::config::effective::quoted;
use crate::observe::snapshot::UpstreamChange;
use crate::upstream::Upstream;
use crate::upstream::registry::Endpoint;

/// The most upstreams that commands may add.
const ADDED_MAX: usize = 32;

/// All changes of the upstreams by command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Overlay {
    /// Upstreams that are polled besides those of the configuration.
    added: Vec<Upstream>,
    /// Upstreams that are not polled, as if they were not configured.
    removed: Vec<Upstream>,
    /// Upstreams that are not polled for a while.
    paused: Vec<Upstream>,
}

impl Overlay {
    /// Returns the upstreams that are polled, of the `configured` ones and those that were added.
    pub(super) fn upstreams(&self, configured: &[Upstream]) -> Vec<Upstream> {
        let all = configured.iter().chain(&self.added);
        let is_polled = |one: &&Upstream| !has(&self.removed, one) && !has(&self.paused, one);
        all.filter(is_polled).cloned().collect()
    }

    /// Drops what has no meaning with these `configured` upstreams, after a reload.
    ///
    /// An upstream that was added and is configured now is the configured one. One that was removed or paused and is not
    /// configured any more is forgotten, so that it is polled if it is configured again later.
    pub(super) fn settle(&mut self, configured: &[Upstream]) {
        self.added.retain(|one| !has(configured, one));
        self.removed.retain(|one| has(configured, one));
        let added = &self.added;
        self.paused.retain(|one| has(configured, one) || has(added, one));
    }

    /// Adds an upstream, or one that was removed; returns what has changed.
    ///
    /// # Errors
    /// It is polled or paused already, or too many were added.
    pub(super) fn add(&mut self, upstream: Upstream, configured: &[Upstream]) -> Result<String, String> {
        let name = upstream.to_string();
        if has(&self.removed, &upstream) {
            drop_from(&mut self.removed, &upstream);
            return Ok(format!("upstream {name}: polled again, as it is configured"));
        }
        if has(&self.paused, &upstream) {
            return Err(format!(
                "upstream {name} is paused: `ntpfront upstream resume {name}`"
            ));
        }
        if has(configured, &upstream) || has(&self.added, &upstream) {
            return Err(format!("upstream {name} is polled already"));
        }
        if self.added.len() >= ADDED_MAX {
            return Err(format!("at most {ADDED_MAX} upstreams can be added by command"));
        }
        self.added.push(upstream);
        Ok(format!("upstream {name}: added"))
    }

    /// Removes the upstream of this name; returns what has changed.
    ///
    /// # Errors
    /// There is no such upstream.
    pub(super) fn remove(&mut self, name: &str, configured: &[Upstream]) -> Result<String, String> {
        let upstream = self.find(name, configured)?;
        if has(&self.removed, &upstream) {
            return Err(format!("upstream {upstream} is removed already"));
        }
        drop_from(&mut self.paused, &upstream);
        if has(configured, &upstream) {
            self.removed.push(upstream.clone());
        } else {
            drop_from(&mut self.added, &upstream);
        }
        Ok(format!("upstream {upstream}: removed"))
    }

    /// Pauses the upstream of this name; returns what has changed, or `None` if it is paused.
    ///
    /// # Errors
    /// There is no such upstream.
    pub(super) fn pause(&mut self, name: &str, configured: &[Upstream]) -> Result<Option<String>, String> {
        let upstream = self.find(name, configured)?;
        if has(&self.removed, &upstream) {
            return Err(format!("upstream {upstream} is removed"));
        }
        if has(&self.paused, &upstream) {
            return Ok(None);
        }
        let line = format!("upstream {upstream}: paused: it is not polled, and has no vote");
        self.paused.push(upstream);
        Ok(Some(line))
    }

    /// Ends the pause of the upstream of this name; returns what has changed, or `None` if it is not paused.
    ///
    /// # Errors
    /// There is no such upstream.
    pub(super) fn resume(&mut self, name: &str, configured: &[Upstream]) -> Result<Option<String>, String> {
        let upstream = self.find(name, configured)?;
        let is_paused = has(&self.paused, &upstream);
        drop_from(&mut self.paused, &upstream);
        Ok(is_paused.then(|| format!("upstream {upstream}: polled again")))
    }

    /// Returns all changes, for displays.
    pub(super) fn changes(&self) -> Vec<UpstreamChange> {
        let lists = [
            ("added", &self.added),
            ("removed", &self.removed),
            ("paused", &self.paused),
        ];
        let of = |(change, list): (&'static str, &Vec<Upstream>)| {
            let change = move |one: &Upstream| UpstreamChange {
                upstream: one.to_string(),
                change,
            };
            list.iter().map(change).collect::<Vec<_>>()
        };
        lists.into_iter().flat_map(of).collect()
    }

    /// Finds an upstream by its address or name, with or without its port.
    fn find(&self, name: &str, configured: &[Upstream]) -> Result<Upstream, String> {
        let (host, port) =
            address::host_and_port(name).map_err(|refusal| refusal.expected_instead_of(name))?;
        let wanted = Endpoint::new(&host, port);
        let mut all = configured.iter().chain(&self.added);
        let found = all.find(|one| plain(one) == wanted);
        found.cloned().ok_or_else(|| {
            let all = configured.iter().chain(&self.added);
            let names: Vec<String> = all.map(ToString::to_string).collect();
            match names.as_slice() {
                [] => format!("there is no upstream {name}, and no other"),
                names => format!("there is no upstream {name}: there are {}", names.join(", ")),
            }
        })
    }
}

/// Returns a warning if fewer of these upstreams have a vote than have to agree.
pub(super) fn shortage(upstreams: &[Upstream], min_sources: usize) -> Option<String> {
    let votes = upstreams.iter().filter(|one| !one.role.noselect).count();
    (votes < min_sources).then(|| {
        format!("warning: {votes} upstreams have a vote, and clock.min-sources is {min_sources}: soon there is no time")
    })
}

/// Returns the configuration of an upstream and of these listeners, for a check as that of a file.
///
/// Each of `options` is a key and its value, as in TOML.
///
/// # Errors
/// An option can't be one line of a configuration, or is not possible here.
pub(super) fn configuration(
    address: &str,
    options: &[(String, String)],
    listeners: impl Iterator<Item = SocketAddr>,
) -> Result<String, String> {
    let mut text = format!("[[upstream]]\naddress = {}\n", quoted(address));
    for (key, value) in options {
        let is_key = key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        if !is_key || key.is_empty() || value.contains(char::is_control) {
            return Err(format!(
                "found {:?}, expected KEY=VALUE as in [[upstream]]",
                format!("{key}={value}")
            ));
        }
        if ["nts", "ke-port", "ca", "key"].contains(&key.as_str()) {
            return Err(format!(
                "{key}: an upstream that is authenticated needs the configuration file: add it there, then `ntpfront reload`"
            ));
        }
        text += &format!("{key} = {value}\n");
    }
    let listeners = listeners.map(|one| format!("[[listener]]\naddress = \"{one}\"\n"));
    Ok(text + &listeners.collect::<String>())
}

/// Returns the endpoint without the way to its keys: no command names that.
fn plain(upstream: &Upstream) -> Endpoint {
    Endpoint::new(&upstream.host, upstream.port)
}

fn has(list: &[Upstream], upstream: &Upstream) -> bool {
    list.iter().any(|one| plain(one) == plain(upstream))
}

fn drop_from(list: &mut Vec<Upstream>, upstream: &Upstream) {
    list.retain(|one| plain(one) != plain(upstream));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Flags;

    /// The upstreams with these addresses, as configured.
    fn upstreams(addresses: &[&str]) -> Vec<Upstream> {
        let table = |address: &&str| format!("[[upstream]]\naddress = \"{address}\"\n");
        let text: String = addresses.iter().map(table).collect();
        crate::config::load(&Flags::default(), Some((std::path::Path::new("f"), &text)))
            .unwrap()
            .config
            .upstreams
    }

    fn names(overlay: &Overlay, configured: &[Upstream]) -> Vec<String> {
        overlay
            .upstreams(configured)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn what_is_removed_added_or_paused_is_polled_accordingly() {
        let configured = upstreams(&["192.0.2.1", "time.example"]);
        let [other] = <[Upstream; 1]>::try_from(upstreams(&["192.0.2.3"])).unwrap();
        let mut overlay = Overlay::default();
        let (one, name, third) = ("192.0.2.1:123", "time.example:123", "192.0.2.3:123");
        assert_eq!(names(&overlay, &configured), [one, name]);
        overlay.add(other.clone(), &configured).unwrap();
        assert!(
            overlay
                .add(other.clone(), &configured)
                .unwrap_err()
                .contains("already")
        );
        assert_eq!(names(&overlay, &configured), [one, name, third]);
        // Any spelling of its name.
        assert!(overlay.pause("Time.Example.", &configured).unwrap().is_some());
        assert!(overlay.pause("time.example:123", &configured).unwrap().is_none());
        assert_eq!(names(&overlay, &configured), [one, third]);
        overlay.remove("192.0.2.1", &configured).unwrap();
        assert!(overlay.remove("192.0.2.1", &configured).is_err());
        assert!(
            overlay
                .pause("192.0.2.1", &configured)
                .unwrap_err()
                .contains("is removed")
        );
        assert_eq!(names(&overlay, &configured), [third]);
        let change = |upstream: &str, change| UpstreamChange {
            upstream: upstream.to_owned(),
            change,
        };
        let changes = [
            change(third, "added"),
            change(one, "removed"),
            change(name, "paused"),
        ];
        assert_eq!(overlay.changes(), changes);
        // Back again.
        overlay.remove("192.0.2.3", &configured).unwrap();
        assert!(overlay.resume("time.example", &configured).unwrap().is_some());
        assert!(overlay.resume("time.example", &configured).unwrap().is_none());
        overlay.add(configured[0].clone(), &configured).unwrap();
        assert_eq!(overlay, Overlay::default());
        for (text, expected) in [
            (
                "192.0.2.9",
                "there is no upstream 192.0.2.9: there are 192.0.2.1:123, time.example:123",
            ),
            ("192.0.2.1:99", "there is no upstream 192.0.2.1:99"),
            ("a b", "expected"),
        ] {
            let said = overlay.pause(text, &configured).unwrap_err();
            assert!(said.contains(expected), "{text}: {said}");
        }
    }

    #[test]
    fn a_paused_upstream_is_resumed_and_not_added() {
        let configured = upstreams(&["192.0.2.1"]);
        let mut overlay = Overlay::default();
        overlay.pause("192.0.2.1", &configured).unwrap();
        let said = overlay.add(configured[0].clone(), &configured).unwrap_err();
        assert!(said.contains("ntpfront upstream resume 192.0.2.1:123"), "{said}");
    }

    #[test]
    fn a_reload_keeps_the_changes_that_still_mean_something() {
        let before = upstreams(&["192.0.2.1", "192.0.2.2"]);
        let mut overlay = Overlay::default();
        overlay
            .add(upstreams(&["192.0.2.3"])[0].clone(), &before)
            .unwrap();
        overlay
            .add(upstreams(&["192.0.2.4"])[0].clone(), &before)
            .unwrap();
        overlay.remove("192.0.2.1", &before).unwrap();
        overlay.pause("192.0.2.2", &before).unwrap();
        overlay.pause("192.0.2.4", &before).unwrap();
        overlay.settle(&before);
        assert_eq!(names(&overlay, &before), ["192.0.2.3:123"]);
        // The one that was added is configured, and those that were removed and paused are not.
        let after = upstreams(&["192.0.2.3", "192.0.2.5"]);
        overlay.settle(&after);
        assert_eq!(names(&overlay, &after), ["192.0.2.3:123", "192.0.2.5:123"]);
        assert_eq!(overlay.changes().len(), 2, "192.0.2.4 is added and paused");
        // They do not come back as removed.
        overlay.settle(&before);
        assert_eq!(names(&overlay, &before), ["192.0.2.1:123", "192.0.2.2:123"]);
    }

    #[test]
    fn commands_add_only_some() {
        let mut overlay = Overlay::default();
        for number in 0..ADDED_MAX {
            let one = &upstreams(&[&format!("192.0.2.{number}")])[0];
            overlay.add(one.clone(), &[]).unwrap();
        }
        assert!(overlay.add(upstreams(&["198.51.100.1"])[0].clone(), &[]).is_err());
    }

    #[test]
    fn too_few_votes_are_warned_of() {
        let mut all = upstreams(&["192.0.2.1", "192.0.2.2"]);
        assert_eq!(shortage(&all, 2), None);
        all[1].role.noselect = true;
        assert!(
            shortage(&all, 2)
                .unwrap()
                .starts_with("warning: 1 upstreams have a vote")
        );
        assert!(shortage(&[], 1).is_some());
    }

    #[test]
    fn options_are_lines_of_a_configuration_and_nothing_else() {
        let listeners = || ["127.0.0.1:123".parse().unwrap()].into_iter();
        let options = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
        assert_eq!(
            configuration("a\"b", &options("minpoll", "4"), listeners()).unwrap(),
            "[[upstream]]\naddress = 'a\"b'\nminpoll = 4\n[[listener]]\naddress = \"127.0.0.1:123\"\n"
        );
        for (key, value) in [
            ("", "1"),
            ("a b", "1"),
            ("minpoll", "4\n[process]"),
            ("[x]\na", "1"),
            ("nts", "true"),
            ("ca", "\"/etc/shadow\""),
            ("key", "1"),
            ("ke-port", "1"),
        ] {
            assert!(
                configuration("a", &options(key, value), listeners()).is_err(),
                "{key}={value}"
            );
        }
    }
}
