//! What must hold for any bytes: called by the fuzz targets, and by `tests/pure/corpus.rs` with the corpus.

use std::path::Path;
use std::time::Duration;

use ntpfront::cli::Flags;
use ntpfront::clock::SystemVariables;
use ntpfront::config;
use ntpfront::nts::aead::{Algorithm, Job, JobKey, SivCmac};
use ntpfront::nts::client as nts_client;
use ntpfront::nts::ke::{self, client, record::Message};
use ntpfront::nts::keyring::{Keyring, Period, Secret, Time};
use ntpfront::nts::server::{self as nts_server, NtsReply};
use ntpfront::nts::{AssociationKeys, Nonces, cookie};
use ntpfront::server::policy::Ruling;
use ntpfront::server::{ReplyBuffer, Request, respond};
use ntpfront::symmetric::{SymmetricKey, key_file};
use ntpfront::time::{ClockReadings, NtpDuration, NtpShort, NtpTimestamp, Timescale};
use ntpfront::upstream::mac;
use ntpfront::upstream::packet::{Exchange, authentic, measure, usable};
use ntpfront::wire::extension::{Authenticator, FieldWriter, PacketPart, PacketParts, field_type};
use ntpfront::wire::{HEADER_LEN, Header, Leap, Mode, ReferenceId};

/// `bytes` came to a listener, and as an answer to a question of ours.
pub(crate) fn packet(bytes: &[u8]) {
    for source_port in [0, 1, 123, 40_000] {
        for unicast in [true, false] {
            came_to_a_listener(bytes, source_port, unicast);
        }
    }
    came_as_an_answer(bytes);
}

/// It is answered with a whole header that is not longer than it, or not at all.
fn came_to_a_listener(bytes: &[u8], source_port: u16, unicast: bool) {
    const UNTOUCHED: [u8; HEADER_LEN] = [0xA5; HEADER_LEN];
    let received_at = NtpTimestamp::from_bits(0xFFFF_FFFF_0000_0000);
    let request = Request {
        payload: bytes,
        source: std::net::Ipv4Addr::LOCALHOST.into(),
        source_port,
        unicast,
        received_at,
    };
    let variables = SystemVariables {
        leap: Leap::NoWarning,
        stratum: 2,
        precision: -24,
        root_delay: NtpShort::from_bits(1),
        root_dispersion: NtpShort::from_bits(2),
        reference_id: ReferenceId::from_bytes([192, 0, 2, 1]),
        reference_timestamp: received_at,
    };
    let mut reply = UNTOUCHED;
    let verdict = respond(
        &request,
        received_at + NtpDuration::SECOND,
        || Ruling::Answer,
        &variables,
        &mut ReplyBuffer::new(&mut reply),
    );
    if !verdict.is_answered() {
        assert_eq!(reply, UNTOUCHED, "{}", verdict.name());
        return;
    }
    assert!(bytes.len() >= reply.len() && source_port != 0 && unicast);
    let (asked, answered) = (Header::parse(bytes).unwrap(), Header::parse(&reply).unwrap());
    assert_eq!(
        (answered.version, answered.poll, answered.origin_timestamp),
        (asked.version, asked.poll, asked.transmit_timestamp)
    );
    assert_eq!((answered.stratum, answered.leap), (2, Leap::NoWarning));
}

/// Nothing that is believed has a leap, a stratum or a distance that may not be, or another's origin.
fn came_as_an_answer(bytes: &[u8]) {
    // The nonce is read from the answer, so that one of two tries gets past that check.
    let echoed = bytes.get(24..32).and_then(|echoed| echoed.try_into().ok());
    let nonce = NtpTimestamp::from_bits(u64::from_be_bytes(echoed.unwrap_or_default()));
    let another = nonce + NtpDuration::from_units(1);
    assert!(authentic(bytes, another).is_err());
    let Ok(header) = authentic(bytes, nonce) else {
        return;
    };
    for sent_at in [header.receive_timestamp, NtpTimestamp::ZERO] {
        let asked = ClockReadings {
            realtime: sent_at,
            raw: Duration::from_secs(1000),
            boot: Duration::from_secs(1000),
        };
        let arrived = asked.raw + Duration::from_millis(20);
        let exchange = Exchange {
            nonce,
            sent: asked.raw,
            arrived,
        };
        let sample = measure(&header, &exchange, &Timescale::new(asked), -20);
        assert!(sample.delay > NtpDuration::ZERO && sample.dispersion > NtpDuration::ZERO);
        let limit = NtpDuration::SECOND;
        if usable(&header, &sample, &[], limit).is_ok() {
            assert!((1..16).contains(&header.stratum) && header.leap != Leap::Unsynchronized);
            assert!(header.root_dispersion.to_duration() <= limit);
            assert!(!header.transmit_timestamp.is_zero());
        }
    }
}

/// `bytes` are a packet, and the plaintext of an authenticator: fields side by side, which come out as they went in.
pub(crate) fn extension(bytes: &[u8]) {
    for (parts, start) in [
        (PacketParts::of_packet(bytes), HEADER_LEN),
        (PacketParts::of_plaintext(bytes), 0),
    ] {
        let mut again = vec![0xA5; bytes.len() + 16];
        let mut writer = FieldWriter::new(&mut again, start);
        let (mut at, mut ended) = (start, false);
        for part in parts {
            assert!(!ended, "nothing follows a MAC or a fault");
            match part {
                Ok(PacketPart::Field(field)) => {
                    assert_eq!((field.start, field.end() % 4), (at, 0));
                    at = field.end();
                    // An empty one of a plaintext would be longer.
                    if field.value.len() >= 12 {
                        writer.push(field.kind, field.value).unwrap();
                        let written = writer.length();
                        let length = field.end() - field.start;
                        assert_eq!(bytes[field.start..field.end()], again[written - length..written]);
                        writer = FieldWriter::new(&mut again, written);
                    }
                    if field.kind == field_type::AUTHENTICATOR {
                        authenticator(field.value);
                    }
                }
                Ok(PacketPart::Mac(mac)) => {
                    assert_eq!(mac.digest, &bytes[at + 4..]);
                    (at, ended) = (bytes.len(), true);
                }
                Err(_) => ended = true,
            }
        }
        assert!(ended || at == bytes.len() || bytes.len() < start);
    }
    authenticator(bytes);
}

fn authenticator(value: &[u8]) {
    let Some(found) = Authenticator::parse(value) else {
        return;
    };
    let padded = |part: &[u8]| part.len().next_multiple_of(4);
    let all = 4 + padded(found.nonce) + padded(found.ciphertext) + found.additional;
    assert_eq!(all, value.len());
    assert!(found.has_room(0) && !found.has_room(value.len()));
}

/// `bytes` came as a request with NTS, and what a genuine client encrypted: no reply is longer, and a NAK is shorter.
pub(crate) fn nts(bytes: &[u8]) {
    let period = Period::at(Duration::from_secs(1_795_000_000), Duration::from_secs(86_400));
    let keyring = Keyring::new(&[Secret::new([1; 32])], period, 1, Time::Unknown).unwrap();
    came_with_nts(&keyring, bytes);
    let (plaintext, _) = bytes.split_at(bytes.len().min(700));
    let packet = encrypting(&keyring, plaintext);
    assert!(came_with_nts(&keyring, &packet), "it is genuine");
}

/// Whether it was answered.
fn came_with_nts(keyring: &Keyring, packet: &[u8]) -> bool {
    const HEADER: [u8; HEADER_LEN] = [0x24; HEADER_LEN];
    let Ok(Some(request)) = nts_server::NtsRequest::parse(packet) else {
        return false;
    };
    assert!(request.length() <= packet.len() && request.length() % 4 == 0);
    let mut buffer = vec![0xA5; packet.len()];
    let length = nts_server::nak(&request, &HEADER, &mut buffer).unwrap();
    assert!(length < request.length());
    let Ok(opened) = nts_server::open(keyring, &[request]).pop().unwrap() else {
        return false;
    };
    assert!((1..=8).contains(&opened.cookies()));
    let mut replies = [NtsReply {
        request: &request,
        opened: &opened,
        header: HEADER,
        buffer: &mut buffer,
    }];
    let lengths = nts_server::seal(keyring, &mut Nonces::new([2; 16]), &mut replies);
    assert_eq!(lengths[..], [Some(request.length())]);
    let fields: Vec<_> = PacketParts::of_packet(&buffer[..request.length()])
        .map(Result::unwrap)
        .collect();
    assert_eq!(fields.len(), 2, "an identifier and an authenticator");
    true
}

/// A genuine request that encrypts `plaintext`.
fn encrypting(keyring: &Keyring, plaintext: &[u8]) -> Vec<u8> {
    let halves = [[3; 16], [4; 16]];
    let keys = AssociationKeys::of([halves, halves].as_flattened().as_flattened()).unwrap();
    let cookie = cookie::several(keyring, &keys, &mut Nonces::new([5; 16])).remove(0);
    let mut packet = vec![0x23; 1100];
    let mut writer = FieldWriter::new(&mut packet, HEADER_LEN);
    writer.push(field_type::UNIQUE_IDENTIFIER, &[6; 32]).unwrap();
    writer.push(field_type::COOKIE, &cookie).unwrap();
    let start = writer.length();
    let length = start + seal_into(&mut packet, start, &halves, plaintext);
    packet.truncate(length);
    packet
}

/// Writes an authenticator that encrypts `plaintext` behind the first `start` bytes, and gives its length.
fn seal_into(packet: &mut [u8], start: usize, halves: &[[u8; 16]; 2], plaintext: &[u8]) -> usize {
    let mut text = plaintext.to_vec();
    let mut job = [Job {
        key: SivCmac {
            key: halves,
            associated: &packet[..start],
        },
        nonce: &[7; 16],
        text: &mut text,
        tag: [0; 16],
    }];
    assert!(JobKey::seal(&mut job));
    let tag = job[0].tag;
    let sealed_len = u16::try_from(16 + text.len()).unwrap().to_be_bytes();
    let value = [&[0, 16], &sealed_len[..], &[7; 16], &tag, &text].concat();
    let mut writer = FieldWriter::new(packet, start);
    writer.push(field_type::AUTHENTICATOR, &value).unwrap();
    writer.length() - start
}

/// `bytes` came as a reply to a question with NTS, behind its identifier or not, and as what a genuine server encrypted:
/// only the last is believed, and no cookie of an impossible length comes of it.
pub(crate) fn nts_reply(bytes: &[u8]) {
    const IDENTIFIER: [u8; nts_client::IDENTIFIER_LEN] = [6; nts_client::IDENTIFIER_LEN];
    let halves = [[3; 16], [4; 16]];
    let keys = AssociationKeys::of([halves, halves].as_flattened().as_flattened()).unwrap();
    let short = AssociationKeys::of(&[5; 32]).unwrap();
    let mut behind = vec![0x24; 1100];
    let mut writer = FieldWriter::new(&mut behind, HEADER_LEN);
    writer.push(field_type::UNIQUE_IDENTIFIER, &IDENTIFIER).unwrap();
    let start = writer.length();
    let all = [&behind[..start], bytes].concat();
    for packet in [bytes, &all] {
        for keys in [&keys, &short] {
            assert!(nts_client::open_reply(packet, keys, &IDENTIFIER).is_err());
        }
    }
    let (plaintext, _) = bytes.split_at(bytes.len().min(700));
    let length = start + seal_into(&mut behind, start, &halves, plaintext);
    let cookies = nts_client::open_reply(&behind[..length], &keys, &IDENTIFIER).unwrap();
    assert!(cookies.len() <= 8);
    for cookie in cookies {
        assert!(
            (4..=512).contains(&cookie.len()) && plaintext.windows(cookie.len()).any(|part| part == cookie)
        );
    }
    assert!(nts_client::open_reply(&behind[..length - 1], &keys, &IDENTIFIER).is_err());
}

/// `bytes` came to either side of a key establishment, at once or in pieces.
pub(crate) fn ke(bytes: &[u8]) {
    let offer = ke::server::KeOffer {
        algorithms: Algorithm::ALL.to_vec(),
        server: None,
        port: None,
    };
    match ke::server::decide(bytes, &offer) {
        ke::server::KeDecision::Accept(accepted) => {
            let answer = ke::server::accept(accepted, &offer, [&[8; 100][..]; 8]);
            let granted = client::read(&answer, &Algorithm::ALL).unwrap().unwrap();
            assert_eq!((granted.export, granted.cookies.len()), (accepted.export, 8));
        }
        ke::server::KeDecision::Wait => assert_eq!(client::read(bytes, &Algorithm::ALL), Ok(None)),
        ke::server::KeDecision::NoProtocol
        | ke::server::KeDecision::NoAlgorithm
        | ke::server::KeDecision::Refuse(_) => {}
    }
    for wanted in [&Algorithm::ALL[..], &Algorithm::ALL[..1]] {
        if let Ok(Some(granted)) = client::read(bytes, wanted) {
            assert!(wanted.contains(&granted.export.algorithm));
            assert!((1..=8).contains(&granted.cookies.len()));
            assert!(granted.server.is_none_or(|name| !name.contains(char::is_control)));
        }
    }
    if let Ok(Some(message)) = Message::read(bytes) {
        let all: usize = message.records().map(|record| 4 + record.body.len()).sum();
        assert_eq!(all + 4, bytes.len());
        for length in 0..bytes.len() {
            assert_eq!(Message::read(&bytes[..length]), Ok(None), "{length}");
        }
    }
}

/// `bytes` are the text of a configuration file. Whatever they are: a configuration, or faults that can be shown.
pub(crate) fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let path = Path::new("fuzz.toml");
    match config::load(&Flags::default(), Some((path, text))) {
        Ok(loaded) => {
            assert!(!loaded.config.listeners.is_empty());
            let said = loaded.effective.to_string();
            let again = config::load(&Flags::default(), Some((path, &said)));
            assert_eq!(again.map(|again| again.config), Ok(loaded.config), "{said}");
        }
        Err(faults) => {
            assert!(!faults.is_empty());
            for fault in faults {
                let line = fault.to_string();
                assert!(line.len() < 1000 && !line.contains(char::is_control), "{line:?}");
            }
        }
    }
}

/// `bytes` are the rest of a reply to a question with a MAC, and the text of a key file.
///
/// Nothing forged is believed, and what is signed is; a key file gives keys in order or errors, never both.
pub(crate) fn mac(bytes: &[u8]) {
    const NONCE: NtpTimestamp = NtpTimestamp::from_bits(0x0123_4567_89AB_CDEF);
    let table = key_file::parse(SYMMETRIC_KEYS, true).unwrap();
    let header = Header {
        mode: Mode::Server,
        origin_timestamp: NONCE,
        ..Header::request(NONCE)
    };
    let forged = [&header.to_bytes()[..], bytes].concat();
    for key in table.keys() {
        // A MAC of so many bits is not guessed.
        assert!(mac::authentic(&forged, NONCE, key).is_err());
        assert!(mac::authentic(bytes, NONCE, key).is_err());
        let ours = key.mac(&forged);
        let signed = [&forged[..], &ours].concat();
        let last = PacketParts::of_packet(&signed).last();
        // A field that says that it is longer takes the MAC along.
        let is_found = matches!(last, Some(Ok(PacketPart::Mac(mac))) if mac.digest == &ours[4..]);
        assert_eq!(mac::authentic(&signed, NONCE, key).is_ok(), is_found);
    }
    let text = String::from_utf8_lossy(bytes);
    match key_file::parse(&text, true) {
        Ok(table) => assert!(table.keys().is_sorted_by_key(SymmetricKey::id)),
        Err(errors) => assert!(errors.is_sorted_by_key(|error| error.line) && !errors.is_empty()),
    }
}

/// A key of each type.
const SYMMETRIC_KEYS: &str = "\
1 MD5 secret
2 SHA1 secret
3 SHA256 secret
4 SHA384 secret
5 SHA512 secret
6 AES128 HEX:000102030405060708090a0b0c0d0e0f
7 AES256 HEX:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
";
