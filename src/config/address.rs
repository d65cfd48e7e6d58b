//! Pure. Addresses as operators write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use super::fault::printable;
use crate::upstream::Host;
use crate::wire::NTP_PORT;

/// The reason why a text is no usable address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of value that is expected there.
    pub expected: String,
    /// The remedy, if there is more to say.
    pub hint: Option<String>,
}

const LISTENER: &str = "an address and a port such as \"192.0.2.1:123\" or \"[2001:db8::1]:123\"";
const UPSTREAM: &str = "an address or a name, with or without a port";
const PREFIX: &str = "an address, or a prefix such as \"192.0.2.0/24\" or \"2001:db8::/32\"";
const PORT: &str = "a port from 1 to 65535";
const NAME: &str = "a name of letters, digits, '-', '_' and '.'";
const UNICAST: &str = "the address of one host";

impl Refusal {
    /// Returns the message that this was expected instead of `found`.
    pub fn expected_instead_of(&self, found: &str) -> String {
        let hint = self
            .hint
            .as_ref()
            .map_or_else(String::new, |hint| format!("; {hint}"));
        format!("found \"{}\", expected {}{hint}", printable(found), self.expected)
    }

    pub(super) fn new(expected: &str) -> Self {
        Self {
            expected: expected.to_owned(),
            hint: None,
        }
    }
}

fn refuse<T>(expected: &str, hint: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        hint: Some(hint.into()),
        ..Refusal::new(expected)
    })
}

/// Reads a prefix, the addresses that agree in their first bits: `192.0.2.0/24`.
///
/// An address alone is a prefix of all its bits.
///
/// # Errors
/// The text is no prefix, or has bits beyond its length: what is expected instead.
pub fn prefix(text: &str) -> Result<IpNet, Refusal> {
    let net = text.parse::<IpNet>();
    let net = net.or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let net = net.map_err(|_| Refusal::new(PREFIX))?;
    match net.trunc() {
        whole if whole == net => Ok(net),
        whole => refuse(
            "a prefix without bits beyond its length",
            format!("did you mean \"{whole}\"?"),
        ),
    }
}

/// Reads the address of an upstream: an IPv4 address, an IPv6 address with or without brackets, or a name.
///
/// The port is 123 if there is none.
///
/// # Errors
/// The text is no such address: what is expected instead.
pub fn host_and_port(text: &str) -> Result<(Host, u16), Refusal> {
    if is_ipv6(text.split('%').next().unwrap_or_default()) {
        return Ok((ipv6(text)?, NTP_PORT));
    }
    if text.contains('/') {
        return refuse(UPSTREAM, "write the name or address alone: no scheme, no path");
    }
    if let Some(rest) = text.strip_prefix('[') {
        let Some((inside, after)) = rest.split_once(']') else {
            return refuse(UPSTREAM, "the closing bracket is missing");
        };
        return Ok((ipv6(inside)?, port_after(after)?));
    }
    match text.split_once(':') {
        None => Ok((host(text)?, NTP_PORT)),
        Some((before, port)) if !port.contains(':') => Ok((host(before)?, port_number(port)?)),
        Some(_) => many_colons(text),
    }
}

fn many_colons<T>(text: &str) -> Result<T, Refusal> {
    match text {
        _ if text.contains(']') => refuse(UPSTREAM, "the opening bracket is missing"),
        _ => refuse(UPSTREAM, BRACKETS),
    }
}

const BRACKETS: &str = "an IPv6 address with a port is written \"[2001:db8::1]:123\"";

fn is_ipv6(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok()
}

/// Reads an IPv6 address without brackets; a link-local one has its scope (RFC 4007 §11): `fe80::1%eth0`.
fn ipv6(text: &str) -> Result<Host, Refusal> {
    let (bare, scope) = match text.split_once('%') {
        Some((bare, scope)) => (bare, Some(scope)),
        None => (text, None),
    };
    let Ok(bare) = bare.parse::<Ipv6Addr>() else {
        return refuse(
            "an IPv6 address between the brackets",
            "such as \"[2001:db8::1]:123\"",
        );
    };
    match (bare.is_unicast_link_local(), scope) {
        (false, None) => address(bare.into()),
        (false, Some(_)) => refuse(
            UPSTREAM,
            "only a link-local address (fe80::) has a scope, the part after '%'",
        ),
        (true, None) => refuse(
            UNICAST,
            format!("a link-local address needs its interface (from `ip link`): \"[{bare}%eth0]:123\""),
        ),
        (true, Some(scope)) if is_interface(scope) => Ok(Host::LinkLocal(bare, scope.to_owned())),
        (true, Some(_)) => refuse(
            UPSTREAM,
            "after '%' comes the name of an interface, or its number (see `ip link`)",
        ),
    }
}

/// Whether `text` can be the name of an interface, or its number.
fn is_interface(text: &str) -> bool {
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '%' | '[' | ']');
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    match text {
        "" | "." | ".." => false,
        _ if is_number => text.parse::<u32>().is_ok_and(|number| number > 0),
        _ => text.len() <= 15 && !text.contains(is_odd),
    }
}

fn port_after(bracket: &str) -> Result<u16, Refusal> {
    match (bracket, bracket.strip_prefix(':')) {
        ("", _) => Ok(NTP_PORT),
        (_, Some(port)) => port_number(port),
        (_, None) => refuse(UPSTREAM, "after the closing bracket comes nothing or \":PORT\""),
    }
}

fn port_number(text: &str) -> Result<u16, Refusal> {
    let only_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if port > 0 && only_digits => Ok(port),
        _ => Err(Refusal::new(PORT)),
    }
}

fn host(text: &str) -> Result<Host, Refusal> {
    match text.parse::<Ipv4Addr>() {
        Ok(literal) => address(literal.into()),
        Err(_) if looks_like_ipv4(text) => refuse("an IPv4 address", "four numbers from 0 to 255 with dots"),
        Err(_) => name(text),
    }
}

/// Whether the last part of `text` is a number: no name ends so (RFC 1123 §2.1 tells names from addresses by it).
fn looks_like_ipv4(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or_default();
    !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit())
}

/// Reads a name: letters, digits, hyphens (RFC 1123 §2.1), and the underscore of private zones; a final dot is fine.
fn name(text: &str) -> Result<Host, Refusal> {
    let bare = text.strip_suffix('.').unwrap_or(text);
    let foreign = bare
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.'));
    match foreign {
        _ if text.is_empty() => Err(Refusal::new(UPSTREAM)),
        Some(c) if c.is_alphabetic() => refuse(NAME, "write other letters in their ASCII form (\"xn--…\")"),
        Some(_) => Err(Refusal::new(NAME)),
        None if bare.len() > 253 => refuse(NAME, "a name has at most 253 characters"),
        None => match bare.split('.').find_map(bad_label) {
            Some(hint) => refuse(NAME, hint),
            None => Ok(Host::Name(text.to_owned())),
        },
    }
}

fn bad_label(label: &str) -> Option<&'static str> {
    match label.len() {
        0 => Some("there is nothing between two of its dots"),
        1..=63 if label.starts_with('-') || label.ends_with('-') => {
            Some("no part of a name starts or ends with a hyphen")
        }
        1..=63 => None,
        64.. => Some("a part of a name between dots has at most 63 characters"),
    }
}

fn address(address: IpAddr) -> Result<Host, Refusal> {
    match address {
        _ if address.is_unspecified() => refuse(UNICAST, "the unspecified address is no host's"),
        _ if is_for_many(address) => refuse(
            UNICAST,
            "one host is polled at a time: no multicast, no broadcast",
        ),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => refuse(UNICAST, mapped(v6)),
        IpAddr::V4(_) | IpAddr::V6(_) => Ok(Host::Address(address)),
    }
}

fn is_for_many(address: IpAddr) -> bool {
    address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

fn mapped(address: Ipv6Addr) -> String {
    let address = address.to_canonical();
    format!("write the IPv4 address itself: {address}")
}

/// Reads the address of a listener: an address and a port; a link-local IPv6 address has its interface's number.
///
/// # Errors
/// The text is no such address: what is expected instead.
pub fn listener(text: &str) -> Result<SocketAddr, Refusal> {
    match text.parse::<SocketAddr>() {
        Ok(address) => usable(address),
        Err(_) => Err(why_no_socket_address(text)),
    }
}

fn usable(address: SocketAddr) -> Result<SocketAddr, Refusal> {
    match address {
        _ if address.port() == 0 => Err(Refusal::new(PORT)),
        _ if is_for_many(address.ip()) => refuse(
            LISTENER,
            "replies can't be sent from a multicast or broadcast address",
        ),
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => refuse(LISTENER, mapped(*v6.ip())),
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() && v6.scope_id() == 0 => refuse(
            LISTENER,
            "a link-local address needs the number of its interface (from `ip link`): \"[fe80::1%2]:123\"",
        ),
        SocketAddr::V4(_) | SocketAddr::V6(_) => Ok(address),
    }
}

fn why_no_socket_address(text: &str) -> Refusal {
    let hint = match text {
        "" => {
            return Refusal::new(LISTENER);
        }
        _ if text.parse::<Ipv4Addr>().is_ok() => format!("add the port: \"{text}:123\""),
        _ if text.parse::<Ipv6Addr>().is_ok() => format!("add brackets and the port: \"[{text}]:123\""),
        _ if text.contains('/') => "write one address: no prefix length, no scheme".to_owned(),
        _ if text.starts_with('[') && !text.contains(']') => "the closing bracket is missing".to_owned(),
        _ if text.starts_with('[') && text.ends_with(']') => "add the port".to_owned(),
        _ if text.contains('%') => "a scope is the number of an interface: see `ip link`".to_owned(),
        _ if text.contains("]:") && !text.starts_with('[') => "the opening bracket is missing".to_owned(),
        _ if text.starts_with(':') || text.starts_with('*') => {
            "every address is \"0.0.0.0\" or \"[::]\"".to_owned()
        }
        _ if text.matches(':').count() > 1 && !text.starts_with('[') => BRACKETS.to_owned(),
        _ => return why_not_both(text),
    };
    Refusal {
        expected: LISTENER.to_owned(),
        hint: Some(hint),
    }
}

/// Returns the refusal for a wrong address, a wrong port, or both.
fn why_not_both(text: &str) -> Refusal {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let hint = match host {
        _ if host.parse::<Ipv4Addr>().is_ok() || is_bracketed_ipv6(host) => None,
        _ if looks_like_ipv4(host) => Some("an IPv4 address has four numbers from 0 to 255"),
        _ if host.starts_with('[') => Some("between the brackets stands an IPv6 address"),
        _ => Some("a listener needs an address, not a name"),
    };
    match (hint, port_number(port)) {
        (None, Err(refusal)) => refusal,
        (hint, _) => Refusal {
            expected: LISTENER.to_owned(),
            hint: hint.map(str::to_owned),
        },
    }
}

fn is_bracketed_ipv6(host: &str) -> bool {
    let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inside.is_some_and(|inside| inside.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn upstream(text: &str) -> String {
        match host_and_port(text) {
            Ok((Host::Address(address), port)) => format!("{address} {port}"),
            Ok((host @ Host::LinkLocal(..), port)) => format!("on a link {host} {port}"),
            Ok((Host::Name(name), port)) => format!("name {name} {port}"),
            Err(Refusal { expected, hint }) => format!("{expected}; {}", hint.unwrap_or_default()),
        }
    }

    #[test]
    fn upstreams_that_are_fine() {
        for (text, expected) in [
            ("127.0.0.1:11123", "127.0.0.1 11123"),
            ("192.0.2.1", "192.0.2.1 123"),
            ("::1", "::1 123"),
            ("[::1]", "::1 123"),
            ("[::1]:1", "::1 1"),
            ("2001:db8::1:123", "2001:db8::1:123 123"),
            ("time.example", "name time.example 123"),
            ("time.example.:65535", "name time.example. 65535"),
            ("_ntp.Xn--p1ai:123", "name _ntp.Xn--p1ai 123"),
            ("localhost", "name localhost 123"),
            ("0.pool.example", "name 0.pool.example 123"),
            ("[fe80::1%eth0]:123", "on a link fe80::1%eth0 123"),
            ("[FE80::1%2]:5", "on a link fe80::1%2 5"),
            ("fe80::1%br-lan.7", "on a link fe80::1%br-lan.7 123"),
        ] {
            assert_eq!(upstream(text), expected, "{text}");
        }
    }

    #[test]
    fn upstreams_that_are_not() {
        let long_label = "a".repeat(64);
        let long_name = ["a".repeat(50).as_str(); 6].join(".");
        for (text, part) in [
            ("", UPSTREAM),
            (":123", UPSTREAM),
            ("[::1", "closing bracket is missing"),
            ("::1]:123", "opening bracket is missing"),
            ("[::1]123", "after the closing bracket"),
            ("[::1]:0", PORT),
            ("[1.2.3.4]:5", "between the brackets"),
            ("[2001:db8::1%eth0]:123", "only a link-local address"),
            ("::1%lo", "only a link-local address"),
            ("fe80::1", "needs its interface"),
            ("[fe80::1]:123", "[fe80::1%eth0]:123"),
            ("fe80::1%", "name of an interface"),
            ("[fe80::1%a b]:123", "name of an interface"),
            ("[fe80::1%0]:123", "name of an interface"),
            ("[fe80::1%4294967296]:123", "name of an interface"),
            ("[fe80::1%a-name-too-long-]:123", "name of an interface"),
            ("fe80::1%eth0:123", "name of an interface"),
            ("192.0.2.1%eth0", NAME),
            ("1:2:3", BRACKETS),
            ("host:0", PORT),
            ("host:70000", PORT),
            ("host:-1", PORT),
            ("host:+1", PORT),
            ("host:", PORT),
            ("256.1.1.1", "four numbers"),
            ("1.2.3", "four numbers"),
            ("123", "four numbers"),
            ("0.0.0.0", "unspecified"),
            ("::", "unspecified"),
            ("224.0.1.1", "no multicast"),
            ("[ff02::101]", "no multicast"),
            ("255.255.255.255", "no broadcast"),
            ("::ffff:192.0.2.1", "write the IPv4 address itself: 192.0.2.1"),
            ("ntp://time.example", "no scheme"),
            ("ntp://time.example:123", "no scheme"),
            ("time.example/x", "no path"),
            ("time example", NAME),
            ("zeit.münchen.example", "ASCII form"),
            ("a..b", "between two of its dots"),
            (".", "between two of its dots"),
            ("-s", "hyphen"),
            (&long_label, "at most 63"),
            (&long_name, "at most 253"),
        ] {
            assert!(upstream(text).contains(part), "{text}: {}", upstream(text));
        }
    }

    #[test]
    fn listeners_that_are_fine() {
        for text in [
            "0.0.0.0:123",
            "[::]:123",
            "127.0.0.7:12300",
            "[fe80::1%2]:123",
            "[2001:db8::1]:1",
        ] {
            assert_eq!(listener(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn listeners_that_are_not() {
        for (text, part) in [
            ("", LISTENER),
            ("0.0.0.0", "add the port: \"0.0.0.0:123\""),
            ("::", "add brackets and the port: \"[::]:123\""),
            ("[::]", "add the port"),
            ("[::1:123", "closing bracket is missing"),
            ("::1]:123", "opening bracket is missing"),
            (":::123", "every address is"),
            ("*:123", "every address is"),
            (":123", "every address is"),
            ("2001:db8::1/64", "no prefix length"),
            ("1:2:3:4", BRACKETS),
            ("300.0.0.1:123", "four numbers"),
            ("[zz]:123", "between the brackets"),
            ("localhost:123", "not a name"),
            ("localhost", "not a name"),
            ("0.0.0.0:0", PORT),
            ("0.0.0.0:70000", "from 1 to 65535"),
            ("[::]:70000", "from 1 to 65535"),
            ("0.0.0.0:-1", "from 1 to 65535"),
            ("[fe80::1%eth0]:123", "`ip link`"),
            ("[fe80::1]:123", "`ip link`"),
            ("[::ffff:1.2.3.4]:123", "write the IPv4 address itself: 1.2.3.4"),
            ("224.0.1.1:123", "multicast"),
            ("255.255.255.255:123", "broadcast"),
        ] {
            let refusal = listener(text).unwrap_err();
            let all = format!("{}; {}", refusal.expected, refusal.hint.unwrap_or_default());
            assert!(all.contains(part), "{text}: {all}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "[\\[\\]:%.0-9a-fx/é -]{0,30}") {
            let _ = listener(&text);
            let _ = host_and_port(&text);
        }

        #[test]
        fn what_is_printed_is_read_again(bits: u128, v4: u32, port: u16) {
            for ip in [IpAddr::V6(bits.into()), IpAddr::V4(v4.into())] {
                let address = SocketAddr::new(ip, port);
                if let Ok(read) = listener(&address.to_string()) {
                    prop_assert_eq!(read, address);
                }
                if let Ok(read) = host_and_port(&address.to_string()) {
                    prop_assert_eq!(read, (Host::Address(ip), port));
                }
            }
        }
    }
}
