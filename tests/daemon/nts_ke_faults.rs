//! Key establishment with clients that do it wrong, that are slow, or that are many.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use ntpfront::nts::aead::Algorithm;
use ntpfront::nts::ke::client::{AnswerFault, read, request};
use ntpfront::nts::ke::record::{MessageWriter, record_type};
use rustls::AlertDescription;
use std::os::fd::AsRawFd;

use super::nts_ke::KeDaemon;
use crate::common::client::v4;
use crate::common::daemon::Daemon;
use crate::common::ke::{self, KeClient, drain, error_code, install};
use crate::common::port::free_port;
use crate::common::{SOON, TempDir, wait_until};

const BOTH: [Algorithm; 2] = [Algorithm::SivCmac256, Algorithm::GcmSiv128];

/// The alert that ended a handshake.
fn alert(client: &KeClient, server: SocketAddr) -> AlertDescription {
    let error = client.exchange(server, &request(&BOTH)).map(|_| ()).unwrap_err();
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        other => panic!("{error}: {other:?}"),
    }
}

//= RFC 8915 §4 alpn
#[test]
fn only_the_protocol_of_nts_is_spoken() {
    let server = KeDaemon::start("");
    let other = KeClient {
        alpn: vec![b"http/1.1".to_vec()],
        ..KeClient::default()
    };
    let several = KeClient {
        alpn: vec![b"h2".to_vec(), b"ntske/1".to_vec()],
        ..KeClient::default()
    };
    let without = KeClient {
        alpn: Vec::new(),
        ..KeClient::default()
    };
    several.establish(server.ke, &BOTH).unwrap();
    assert_eq!(alert(&other, server.ke), AlertDescription::NoApplicationProtocol);
    assert!(without.exchange(server.ke, &request(&BOTH)).is_err());
    wait_until("both are counted", SOON, || {
        (server.sessions("tls-failed") == 2).then_some(())
    });
}

/// A ClientHello of TLS 1.2, as OpenSSL sends it, without the extension for later versions.
//= RFC 8915 §3 tls13
#[test]
fn an_older_tls_is_refused_with_its_alert() {
    let server = KeDaemon::start("");
    let mut hello = KeClient::default().hello();
    // The extension supported_versions (43) becomes one that nobody knows.
    let versions = [0, 43, 0, 3, 2, 3, 4];
    let at = hello
        .windows(versions.len())
        .position(|part| part == versions)
        .unwrap();
    hello[at..at + 2].copy_from_slice(&[0x7F, 0x7F]);
    let mut stream = ke::connect(server.ke).unwrap();
    stream.write_all(&hello).unwrap();
    let mut answer = Vec::new();
    let _ended = stream.read_to_end(&mut answer);
    // An alert (21): fatal (2), protocol_version (70).
    assert_eq!((answer[0], &answer[5..]), (21, &[2, 70][..]));
}

#[test]
fn a_client_in_pieces_of_one_byte_is_served() {
    let server = KeDaemon::start("timeout = 30.0");
    // A relay that passes the client's bytes on one by one.
    let front = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = front.local_addr().unwrap();
    let ke = server.ke;
    thread::spawn(move || {
        let (client, _) = front.accept().unwrap();
        let server = ke::connect(ke).unwrap();
        server.set_nodelay(true).unwrap();
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || {
            let mut byte = [0];
            while let Ok(1) = from.read(&mut byte) {
                if to.write_all(&byte).is_err() {
                    return;
                }
                thread::sleep(Duration::from_micros(200));
            }
        });
        let _ended = std::io::copy(&mut &server, &mut &client);
        let _closed = client.shutdown(std::net::Shutdown::Write);
    });
    KeClient::default().establish(address, &BOTH).unwrap();
}

fn message(records: &[(bool, u16, &[u8])]) -> Vec<u8> {
    let mut message = MessageWriter::default();
    for (is_critical, kind, body) in records {
        message.push(*is_critical, *kind, body);
    }
    message.end()
}

const PROTOCOL: (bool, u16, &[u8]) = (true, record_type::NEXT_PROTOCOL, &[0, 0]);
const AEAD: (bool, u16, &[u8]) = (true, record_type::AEAD, &[0, 15]);

/// Whether a request is granted, or the code of the error.
type Granting = Result<(), Option<u16>>;

/// Each case of RFC 8915 §4.1 that a client can get wrong, or that a server has to take.
//= RFC 8915 §4 close
//= RFC 8915 §4.1 unknown
//= RFC 8915 §4.1.2 none
//= RFC 8915 §4.1.3 error
//= RFC 8915 §4.1.5 none
#[test]
fn each_request_gets_its_answer() {
    let server = KeDaemon::start("");
    let good = Ok(());
    let [unrecognized, bad] = [0, 1].map(|code| Err(Some(code)));
    let cases: [(&str, Vec<u8>, Granting); 14] = [
        ("a good one", message(&[PROTOCOL, AEAD]), good),
        ("another order", message(&[AEAD, PROTOCOL]), good),
        (
            "unknown, not critical",
            message(&[PROTOCOL, (false, 0x4000, b"x"), AEAD]),
            good,
        ),
        (
            "unknown, critical",
            message(&[PROTOCOL, (true, 0x4000, b"x"), AEAD]),
            unrecognized,
        ),
        (
            "other AEADs, too",
            message(&[PROTOCOL, (true, 4, &[0, 17, 0, 15])]),
            good,
        ),
        (
            "a wish for a server",
            message(&[PROTOCOL, AEAD, (false, 6, b"ntp.example")]),
            good,
        ),
        ("empty", message(&[]), bad),
        ("without AEAD", message(&[PROTOCOL]), bad),
        ("twice", message(&[PROTOCOL, PROTOCOL, AEAD]), bad),
        ("odd", message(&[(true, 1, &[0]), AEAD]), bad),
        (
            "an error of a client",
            message(&[PROTOCOL, AEAD, (true, 2, &[0, 0])]),
            bad,
        ),
        (
            "a cookie of a client",
            message(&[PROTOCOL, AEAD, (false, 5, &[0; 100])]),
            bad,
        ),
        (
            "behind the end",
            [message(&[PROTOCOL, AEAD]), vec![0; 4]].concat(),
            bad,
        ),
        ("too long", vec![0x40, 0, 0xFF, 0xFF], bad),
    ];
    for (name, request, expected) in cases {
        let (answer, _) = KeClient::default().exchange(server.ke, &request).unwrap();
        let found = match read(&answer, &BOTH) {
            Ok(Some(granted)) => {
                assert_eq!(granted.cookies.len(), 8, "{name}");
                Ok(())
            }
            Ok(None) => panic!("{name}: {answer:?}"),
            Err(_) => Err(error_code(&answer)),
        };
        assert_eq!(found, expected, "{name}");
    }
    for (records, is_protocol) in [
        ([(true, 1, &[0x80, 1][..]), AEAD], true),
        ([PROTOCOL, (true, 4, &[0, 17][..])], false),
    ] {
        let (answer, _) = KeClient::default()
            .exchange(server.ke, &message(&records))
            .unwrap();
        let fault = read(&answer, &BOTH).unwrap_err();
        let expected = if is_protocol {
            AnswerFault::NoProtocol
        } else {
            AnswerFault::NoAlgorithm
        };
        assert_eq!(fault, expected);
    }
    server.has_sessions("established", 5);
    server.has_sessions("bad-request", 9);
    server.has_sessions("no-protocol", 1);
    server.has_sessions("no-algorithm", 1);
}

#[test]
fn what_is_no_tls_is_refused_and_the_slow_are_timed_out() {
    let server = KeDaemon::start("timeout = 2.0");
    let mut plain = ke::connect(server.ke).unwrap();
    plain.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    drain(&mut plain);
    let hello = KeClient::default().hello();
    let start = Instant::now();
    let mut half = ke::connect(server.ke).unwrap();
    half.write_all(&hello[..hello.len() / 2]).unwrap();
    assert_eq!(drain(&mut half), 0);
    // One second for a ClientHello.
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let start = Instant::now();
    let mut whole = ke::connect(server.ke).unwrap();
    whole.write_all(&hello).unwrap();
    assert!(drain(&mut whole) > 500, "it had the server's first messages");
    assert!(
        start.elapsed() > Duration::from_millis(1500),
        "{:?}",
        start.elapsed()
    );
    wait_until("all are counted", SOON, || {
        (server.sessions("timed-out") == 2 && server.sessions("tls-failed") == 1).then_some(())
    });
}

/// What is left of a first message keeps no thread busy.
#[test]
fn a_client_that_goes_in_the_middle_of_its_first_message_is_forgotten() {
    let server = KeDaemon::start("");
    let hello = KeClient::default().hello();
    let mut gone = 0;
    for length in [1, 4, 5, 6, hello.len() / 2, hello.len() - 1] {
        for is_reset in [false, true] {
            let mut stream = ke::connect(server.ke).unwrap();
            stream.write_all(&hello[..length]).unwrap();
            // It has to be a session first.
            thread::sleep(Duration::from_millis(20));
            if is_reset {
                ntpfront::host::tcp::reset(&stream);
            }
            drop(stream);
            gone += 1;
        }
    }
    wait_until("all are gone", SOON, || {
        let open = &server.status()["nts"]["key_establishment"]["open"];
        (server.sessions("closed") == gone && open == 0).then_some(())
    });
    KeClient::default().establish(server.ke, &BOTH).unwrap();
}

#[test]
fn the_name_that_is_asked_for_chooses_the_certificate() {
    let directory = TempDir::new();
    install(&directory, "wild");
    for file in ["tls.pem", "tls.key"] {
        std::fs::rename(
            directory.path().join(file),
            directory.path().join(format!("wild-{file}")),
        )
        .unwrap();
    }
    install(&directory, "time");
    let path = directory.path().display();
    let (ntp, ke) = (v4(free_port()), v4(free_port()));
    let text = format!(
        "{}[[listener]]\naddress = \"{ntp}\"\n[nts]\nlisten = [\"{ke}\"]\ncertificate = [\"{path}/tls.pem\", \"{path}/wild-tls.pem\"]\nkey = [\"{path}/tls.key\", \"{path}/wild-tls.key\"]\n",
        crate::common::daemon::LOCAL
    );
    let _daemon = Daemon::configured(&text).answering(ntp);
    let of = |name| {
        KeClient {
            name,
            ..KeClient::default()
        }
        .establish(ke, &BOTH)
    };
    let (time, wild) = (of("time.example").unwrap(), of("a.wild.example").unwrap());
    assert_ne!(time.certificate, wild.certificate);
    // An address is no name in TLS: the first one.
    assert_eq!(of("127.0.0.1").unwrap().certificate, time.certificate);
    // The client says what is wrong with the first one.
    assert!(of("other.example").is_err());
}

/// A connection from another address of this host.
fn connect_from(local: [u8; 4], to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let [a, b, c, d] = local;
    bind(socket.as_raw_fd(), &SockaddrIn::new(a, b, c, d, 0))?;
    let SocketAddr::V4(to) = to else { unreachable!() };
    connect(socket.as_raw_fd(), &SockaddrIn::from(to))?;
    Ok(TcpStream::from(socket))
}

/// Ends the flood, whether or not the test fails.
struct EndOfFlood<'a>(&'a AtomicBool);

impl Drop for EndOfFlood<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// 1,200 half ClientHellos that come back at once from 127.0.0.2, while honest clients come from 127.0.0.1.
#[test]
fn a_flood_from_one_address_keeps_no_other_out() {
    const HELD: usize = 1200;
    let server = KeDaemon::start("");
    let hello = KeClient::default().hello();
    let half = &hello[..hello.len() / 2];
    let (is_over, tries) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut waits = Vec::new();
    thread::scope(|scope| {
        let _ended = EndOfFlood(&is_over);
        for _ in 0..4 {
            scope.spawn(|| {
                let mut held: Vec<TcpStream> = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    held.retain(|stream| {
                        // Closed ones come back below.
                        stream.set_nonblocking(true).unwrap();
                        let is_open = matches!((&mut &*stream).read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
                        is_open
                    });
                    while held.len() < HELD / 4 && !is_over.load(Ordering::Relaxed) {
                        let Ok(mut stream) = connect_from([127, 0, 0, 2], server.ke) else {
                            break;
                        };
                        let _sent = stream.write_all(half);
                        held.push(stream);
                        tries.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        // The flood has to be there first.
        wait_until("the flood", SOON, || {
            (tries.load(Ordering::Relaxed) > HELD).then_some(())
        });
        for _ in 0..40 {
            let start = Instant::now();
            let got = KeClient::default().establish(server.ke, &BOTH);
            waits.push(start.elapsed());
            assert_eq!(got.unwrap().granted.cookies.len(), 8);
        }
    });
    waits.sort_unstable();
    println!(
        "honest sessions: median {:?}, longest {:?}; tries of the flood: {}",
        waits[20],
        waits[39],
        tries.load(Ordering::Relaxed)
    );
    // Generous: the machine of the test has other work. The figures are in packaging/doc/benchmark.md.
    assert!(waits[39] < Duration::from_secs(5), "{waits:?}");
    server.has_sessions("established", 40);
    // The flood is kept for a second, not sent back to come again.
    assert!(server.sessions("timed-out") > 100);
}

#[test]
fn a_port_that_is_taken_ends_the_start_with_its_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let ke = taken.local_addr().unwrap();
    let directory = TempDir::new();
    install(&directory, "time");
    let (ntp, path) = (v4(free_port()), directory.path().display());
    let text = format!(
        "{}[[listener]]\naddress = \"{ntp}\"\n[nts]\nlisten = [\"{ke}\"]\ncertificate = \"{path}/tls.pem\"\nkey = \"{path}/tls.key\"\n",
        crate::common::daemon::LOCAL
    );
    let mut daemon = Daemon::configured(&text);
    let (status, _) = daemon.wait();
    assert_eq!(status.code(), Some(1));
    let expected = format!(
        "cannot listen on {ke}: another program has this TCP port (`ss -tlpn 'sport = :{}'` names it)",
        ke.port()
    );
    assert!(daemon.log().contains(&expected), "{}", daemon.log());
}
