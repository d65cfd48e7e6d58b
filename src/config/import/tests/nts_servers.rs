//! Pure. Tests of all lines about clients with NTS.

use super::*;

/// A whole pair of files in a chrony.conf.
const PAIR: &str = "ntsservercert /a/chain.pem\nntsserverkey /a/key.pem\n";
const OURS: &str = "[nts] certificate = \"/a/chain.pem\" key = \"/a/key.pem\"";

fn listeners(addresses: &[&str]) -> String {
    let listener = |address: &&str| format!("[[listener]] address = \"{address}\"");
    addresses.iter().map(listener).collect::<Vec<_>>().join(" ")
}

#[test]
fn chronyd_s_certificates_are_ours() {
    let elsewhere = "[nts] listen = [\"192.0.2.1:4460\", \"[::]:4460\"] certificate = \"/a/chain.pem\" key = \"/a/key.pem\"";
    let port = OURS.replace("[nts]", "[nts] listen = [\"0.0.0.0:4461\", \"[::]:4461\"]");
    for (lines, expected) in [
        ("", OURS.to_owned()),
        ("ntsport 4460", OURS.to_owned()),
        ("ntsport 4461", port),
        (
            "ntsservercert /b/chain.pem\nntsserverkey \"/b/key.pem\"",
            "[nts] certificate = [\"/a/chain.pem\", \"/b/chain.pem\"] key = [\"/a/key.pem\", \"/b/key.pem\"]"
                .to_owned(),
        ),
        ("ntsprocesses 0", format!("{OURS} threads = 1")),
        ("maxntsconnections 200", format!("{OURS} sessions = 200")),
        (
            "maxntsconnections 200\nntsprocesses 4",
            format!("{OURS} threads = 4 sessions = 800"),
        ),
        ("ntsrotate 86400", format!("{OURS} rotate = \"1d\" keep = 2")),
        ("ntsrotate 90000", format!("{OURS} rotate = \"25h\" keep = 2")),
        (
            "ntsrotate 0\nntsrotate 3600",
            format!("{OURS} rotate = \"1h\" keep = 2"),
        ),
        (
            "ntsntpserver ntp.example",
            format!("{OURS} ntp-server = \"ntp.example\""),
        ),
        (
            "ntsntpserver 2001:db8::1",
            format!("{OURS} ntp-server = \"2001:db8::1\""),
        ),
        (
            "ntsaeads 15",
            format!("{OURS} algorithms = [\"aes-siv-cmac-256\"]"),
        ),
        (
            "ntsaeads 30",
            format!("{OURS} algorithms = [\"aes-128-gcm-siv\"]"),
        ),
        ("ntsaeads 30 15", OURS.to_owned()),
        (
            "bindaddress 192.0.2.1",
            format!("{elsewhere} {}", listeners(&["192.0.2.1:123", "[::]:123"])),
        ),
        // Clients are told the port of the listeners; with a name only if it is said.
        (
            "port 1123\nntsntpserver ntp.example",
            format!(
                "{OURS} ntp-server = \"ntp.example\" ntp-port = 1123 {}",
                listeners(&["0.0.0.0:1123", "[::]:1123"])
            ),
        ),
    ] {
        whole(&chrony(&format!("{OPEN}{PAIR}{lines}")), &expected);
    }
    let report = chrony(&format!("{OPEN}{PAIR}"));
    assert!(report.configuration.contains("keys are given to all clients"));
}

#[test]
fn what_of_chronyd_is_not_the_same_is_told() {
    for (lines, expected, why) in [
        ("ntsdumpdir /var/lib/chrony", OURS.to_owned(), "nts-secret"),
        (
            "ntsratelimit interval 3 burst 1",
            OURS.to_owned(),
            "nts.client-burst",
        ),
        (
            "ntsrotate 100",
            format!("{OURS} rotate = \"1h\" keep = 2"),
            "after 1 h",
        ),
        (
            "ntsrotate 31536000",
            format!("{OURS} rotate = \"30d\" keep = 2"),
            "after 720 h",
        ),
        (
            "maxntsconnections 4",
            format!("{OURS} sessions = 16"),
            "16 to 65536",
        ),
        (
            "maxntsconnections 40000\nntsprocesses 2",
            format!("{OURS} threads = 2 sessions = 65536"),
            "16 to 65536",
        ),
        ("ntsprocesses 65", OURS.to_owned(), "no number from 0 to 64"),
        (
            "ntsaeads 17 15",
            format!("{OURS} algorithms = [\"aes-siv-cmac-256\"]"),
            "15 and 30",
        ),
        (
            "server a.example iburst nts\nntsaeads 15",
            format!(
                "{OURS} algorithms = [\"aes-siv-cmac-256\"] [[upstream]] address = \"a.example\" nts = true"
            ),
            "upstreams are asked for 15 and for 30",
        ),
    ] {
        in_part(&chrony(&format!("{OPEN}{PAIR}{lines}")), &expected, why);
    }
    in_part(
        &chrony(&format!("{PAIR}port 11123")),
        &format!("{OURS} [[upstream]] address = \"127.0.0.1:11123\""),
        "would listen on TCP port 4460, too",
    );
}

/// Keys that another server could not open, or half of a pair, are worse than none.
#[test]
fn without_whole_pairs_there_are_no_keys() {
    for (lines, why) in [
        ("ntsservercert /a/chain.pem", "lacks its key"),
        ("ntsserverkey /a/key.pem", "lacks its key"),
        (
            "ntsservercert /a/chain.pem\nntsservercert /b/chain.pem\nntsserverkey /a/key.pem",
            "lacks its key",
        ),
        (
            "ntsservercert chain.pem\nntsserverkey /a/key.pem",
            "absolute path",
        ),
        (
            "ntsservercert /a/chain.pem\nntsserverkey /a/key.pem\nntsrotate 0",
            "ntpfront nts-secret",
        ),
        (
            "ntsservercert /a/chain.pem\nntsserverkey /a/key.pem\nntsntpserver a..example",
            "no name or address",
        ),
        (
            "ntsservercert /a/chain.pem\nntsserverkey /a/key.pem\nntsaeads 17",
            "15 and 30",
        ),
        ("ntsport 4461", "chronyd establishes no keys"),
        (
            "ntsprocesses 2\nmaxntsconnections 7",
            "chronyd establishes no keys",
        ),
    ] {
        in_part(&chrony(&format!("{OPEN}{lines}")), "", why);
    }
    // Each line is told.
    let report = chrony(&format!("{OPEN}{PAIR}ntsrotate 0\nmaxntsconnections 7"));
    assert_eq!(report.remarks.lines().count(), 4, "{}", report.remarks);
}

#[test]
fn ntpsec_s_certificate_is_ours() {
    let ntp = |lines: &str| ntp(&format!("discard average 3\n{lines}"));
    let pair = "nts cert /a/chain.pem key /a/key.pem";
    for lines in [
        format!("{pair} enable"),
        format!("nts enable\n{pair}"),
        format!("nts disable cert /b\nnts enable mintls TLS1.2 aead AES_SIV_CMAC_256\n{pair}"),
    ] {
        whole(&ntp(&lines), OURS);
    }
    for (lines, expected, why) in [
        (pair.to_owned(), "", "ntpd establishes no keys"),
        (
            format!("{pair} enable\nnts disable"),
            "",
            "ntpd establishes no keys",
        ),
        ("nts enable".to_owned(), "", "ntpd establishes no keys"),
        ("nts enable cert /a/chain.pem".to_owned(), "", "lacks its key"),
        (format!("{pair} enable cert chain.pem"), "", "no absolute paths"),
        (format!("{pair} enable cookie /a/cookies"), OURS, "nts-secret"),
        (
            format!("{pair} enable aead AES_SIV_CMAC_512"),
            OURS,
            "AES_128_GCM_SIV",
        ),
        (format!("{pair} enable maxtls TLS1.2"), OURS, "TLS 1.3"),
        (
            format!("{pair} enable\nnts wings 2"),
            OURS,
            "wings: no such option",
        ),
        ("nts ca /a/ca.pem".to_owned(), "", "no server here uses it"),
        (
            "server a.example nts\nnts ca /a/certs/".to_owned(),
            "",
            "are not asked",
        ),
        (
            "server a.example nts aead AES_SIV_CMAC_512".to_owned(),
            "[[upstream]] address = \"a.example\" iburst = false nts = true",
            "aead: not carried",
        ),
    ] {
        in_part(&ntp(&lines), expected, why);
    }
    whole(
        &ntp("server a.example iburst nts\nserver b.example iburst nts ca /b.pem\nnts ca /a/ca.pem"),
        "[nts-client] roots = \"/a/ca.pem\" [[upstream]] address = \"a.example\" nts = true \
         [[upstream]] address = \"b.example\" nts = true ca = \"/b.pem\"",
    );
}

const SERVER: &str = "[[server]]\nlisten = \"192.0.2.1:123\"\n";
const AGREE: &str = "[synchronization]\nminimum-agreeing-sources = 1\n";
const ONE: &str = "[clock] min-sources = 1";
const LISTENS: &str = "[[listener]] address = \"192.0.2.1:123\"";
const KE: &str = "[[nts-ke-server]]\nlisten = \"[::]:4460\"\ncertificate-chain-path = \"/a/chain.pem\"\n\
                  private-key-path = \"/a/key.pem\"\n";

fn toml(text: &str) -> ImportReport {
    imported(None, &format!("{AGREE}{text}"))
}

#[test]
fn ntpd_rs_s_certificates_are_ours() {
    let another = KE.replace("4460", "4461");
    for (more, expected) in [
        (String::new(), OURS.to_owned()),
        (
            "key-exchange-timeout-ms = 2500\nconcurrent-connections = 100\n".to_owned(),
            format!("{OURS} sessions = 100 timeout = 2.5"),
        ),
        (
            "ntp-server = \"ntp.example\"\nntp-port = 1123\naccept-ntp-versions = [4]\n".to_owned(),
            format!("{OURS} ntp-server = \"ntp.example\" ntp-port = 1123"),
        ),
        (
            "[keyset]\nstale-key-count = 3\nkey-rotation-interval = 7200\n".to_owned(),
            format!("{OURS} rotate = \"2h\" keep = 3"),
        ),
        (
            another.clone(),
            OURS.replace(
                "[nts]",
                "[nts] listen = [\"0.0.0.0:4460\", \"[::]:4460\", \"0.0.0.0:4461\", \"[::]:4461\"]",
            ),
        ),
    ] {
        whole(
            &toml(&format!("{SERVER}{KE}{more}")),
            &format!("{ONE} {expected} {LISTENS}"),
        );
    }
    for (more, expected, why) in [
        (
            "key-exchange-timeout-ms = 100\n".to_owned(),
            format!("{OURS} timeout = 0.5"),
            "0.5 to 60 s",
        ),
        (
            "concurrent-connections = 4\n".to_owned(),
            format!("{OURS} sessions = 16"),
            "16 to 65536",
        ),
        (
            "longlived-connections = 4\n".to_owned(),
            OURS.to_owned(),
            "NTS pools",
        ),
        (
            "accept-ntp-versions = [4, 5]\n".to_owned(),
            OURS.to_owned(),
            "version 4",
        ),
        (
            "[keyset]\nkey-storage-path = \"/var/lib/a\"\n".to_owned(),
            OURS.to_owned(),
            "nts-secret",
        ),
        (
            "[keyset]\nstale-key-count = 0\n".to_owned(),
            format!("{OURS} keep = 1"),
            "1 to 64 old keys",
        ),
        (another.replace("/a/", "/b/"), OURS.to_owned(), "beside the first"),
        (another.replace("[::]", "ntp"), OURS.to_owned(), "is not"),
    ] {
        in_part(
            &toml(&format!("{SERVER}{KE}{more}")),
            &format!("{ONE} {expected} {LISTENS}"),
            why,
        );
    }
}

/// A listener that requires NTS has keys, wherever its table stands, or answers no client.
#[test]
fn no_listener_requires_nts_without_keys() {
    let open = format!("{ONE} {OURS} {LISTENS} nts = \"require\"");
    for required in ["true", "\"ignore\""] {
        let server = format!("{SERVER}require-nts = {required}\n");
        whole(&toml(&format!("{server}{KE}")), &open);
        whole(&toml(&format!("{KE}{server}")), &open);
        in_part(
            &toml(&server),
            &format!("{ONE} {LISTENS} access.default = \"deny\""),
            "no client is answered",
        );
    }
    let denying = format!("{SERVER}require-nts = \"deny\"\n");
    in_part(&toml(&format!("{denying}{KE}")), &open, "no DENY");
    let filtered = format!(
        "{SERVER}require-nts = true\nallowlist = {{ filter = [\"10.0.0.0/8\"], action = \"ignore\" }}\n"
    );
    whole(
        &toml(&format!("{filtered}{KE}")),
        &format!("{open} access.default = \"deny\" access.allow = [\"10.0.0.0/8\"]"),
    );
}
