//! Pure. Which upstreams are the same one, however they are written: nobody else says so.

use super::{Host, Upstream};

/// What tells one upstream from all others: whom the configuration names, in one of several ways to write it, and the port.
/// What its name resolves to has no part in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamId {
    host: Host,
    port: u16,
}

impl UpstreamId {
    /// Of the server at `port` of `host`.
    pub fn new(host: &Host, port: u16) -> Self {
        Self {
            host: canonical(host),
            port,
        }
    }
}

impl Upstream {
    /// What tells it from others.
    pub fn id(&self) -> UpstreamId {
        UpstreamId::new(&self.host, self.port)
    }
}

/// Names are the same in any case, and with or without the dot that ends them (RFC 4343); so are the numbers of an
/// interface with zeros in front. Addresses have been numbers since they were read.
fn canonical(host: &Host) -> Host {
    match host {
        Host::Name(name) => Host::Name(name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()),
        Host::Address(address) => Host::Address(*address),
        Host::LinkLocal(address, interface) => {
            let number = interface.parse::<u32>().map(|number| number.to_string());
            Host::LinkLocal(*address, number.unwrap_or_else(|_| interface.clone()))
        }
    }
}

/// For each of the `wanted` upstreams, which one `before` it was, if it was there: its samples stay. Each is one at most.
pub fn pair(before: &[UpstreamId], wanted: &[UpstreamId]) -> Vec<Option<usize>> {
    let mut left: Vec<Option<&UpstreamId>> = before.iter().map(Some).collect();
    let take = |wanted: &UpstreamId| {
        let place = left.iter().position(|one| *one == Some(wanted))?;
        left.get_mut(place)?.take();
        Some(place)
    };
    wanted.iter().map(take).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> UpstreamId {
        UpstreamId::new(&Host::Name(text.to_owned()), 123)
    }

    fn address(text: &str) -> UpstreamId {
        UpstreamId::new(&Host::Address(text.parse().unwrap()), 123)
    }

    fn scoped(interface: &str) -> UpstreamId {
        UpstreamId::new(
            &Host::LinkLocal("fe80::1".parse().unwrap(), interface.to_owned()),
            123,
        )
    }

    #[test]
    fn one_upstream_in_several_spellings_is_one() {
        assert_eq!(name("localhost"), name("LOCALHOST"));
        assert_eq!(name("Time.Example."), name("time.example"));
        assert_eq!(address("2001:db8:0::1"), address("2001:DB8::0001"));
        assert_eq!(scoped("2"), scoped("02"));
        // Two that are near each other, and not the same.
        assert_ne!(name("time.example"), name("time2.example"));
        assert_ne!(name("localhost"), address("127.0.0.1"));
        assert_ne!(scoped("eth0"), scoped("Eth0"));
        assert_ne!(scoped("2"), scoped("3"));
        let other_port = UpstreamId::new(&Host::Name("time.example".to_owned()), 124);
        assert_ne!(name("time.example"), other_port);
    }

    #[test]
    fn each_is_paired_once_whatever_the_order_and_the_spelling() {
        let before = [name("a"), name("b"), address("::1")];
        let wanted = [address("::0.0.0.1"), name("c"), name("B."), name("b")];
        assert_eq!(pair(&before, &wanted), [Some(2), None, Some(1), None]);
        assert_eq!(pair(&[], &before), [None; 3]);
    }
}
