//! What must hold of NTS for any bytes: a server's replies, whole key establishments, and the ciphers.
//!
//! Called by the fuzz targets, and by `tests/pure/corpus.rs` with the corpus.

use std::io::{Read, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aes_gcm_siv::Aes128GcmSiv;
use aes_gcm_siv::aead::{Aead, KeyInit, Payload};
use aes_siv::siv::Aes128Siv;
use arrayvec::ArrayVec;
use ntpfront::clock::SystemVariables;
use ntpfront::host::tls;
use ntpfront::host::tls::certificate::CertificatePair;
use ntpfront::nts::aead::{Algorithm, BATCH, GcmSiv, Job, JobKey, SivCmac};
use ntpfront::nts::client::{self as nts_client, IDENTIFIER_LEN, LONGEST_QUESTION, NtsQuestion};
use ntpfront::nts::ke::server::{KeDecision, KeOffer, accept, decide, no_algorithm, no_protocol};
use ntpfront::nts::ke::{self, KeyExport};
use ntpfront::nts::keyring::{Keyring, Period, Secret, Time};
use ntpfront::nts::server::has_fields;
use ntpfront::nts::{AssociationKeys, Nonces, cookie};
use ntpfront::server::policy::Ruling;
use ntpfront::server::{NtsBatch, NtsPacket, Request, Verdict};
use ntpfront::time::{NtpShort, NtpTimestamp};
use ntpfront::wire::extension::{Authenticator, PacketPart, PacketParts, field_type};
use ntpfront::wire::{HEADER_LEN, Leap, ReferenceId};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

const IDENTIFIER: [u8; IDENTIFIER_LEN] = [6; IDENTIFIER_LEN];

fn keyring() -> &'static Keyring {
    static KEYRING: OnceLock<Keyring> = OnceLock::new();
    KEYRING.get_or_init(|| {
        let period = Period::at(Duration::from_secs(1_795_000_000), Duration::from_secs(86_400));
        Keyring::new(&[Secret::new([1; 32])], period, 1, Time::Unknown).unwrap()
    })
}

/// The server's whole answer to a batch: a genuine request, that request damaged as `bytes` say, and `bytes` themselves.
///
/// No reply is longer than its request, and only what is genuine gets the time.
pub(crate) fn nts_answer(bytes: &[u8]) {
    let Some(([algorithm, wanted, how], edits)) = bytes.split_first_chunk() else {
        return;
    };
    let algorithm = Algorithm::ALL[usize::from(algorithm % 2)];
    let keys = AssociationKeys::of(&vec![0xC5; 2 * algorithm.key_len()]).unwrap();
    let genuine = question(&keys, usize::from(wanted % 10));
    let damaged = damage(&genuine, edits);
    let packets = [&damaged[..], &genuine, edits, &damaged];
    let packets: ArrayVec<&[u8], BATCH> = packets.into_iter().filter(|one| has_fields(one)).collect();
    let is_cut = how & 1 > 0;
    let replies = answer(&packets, is_cut, how & 2 > 0);
    for (packet, (verdict, reply)) in packets.iter().zip(replies) {
        assert!(reply.len() <= packet.len(), "{verdict:?}");
        assert_eq!(verdict.has_reply(), !reply.is_empty(), "{verdict:?}");
        // What follows the authenticator is not authenticated.
        let is_genuine = packet.starts_with(&genuine);
        assert!(!is_cut || reply.is_empty());
        if is_genuine && !is_cut {
            assert!(
                matches!(verdict, Verdict::AnsweredNts | Verdict::KissedRate),
                "{verdict:?}"
            );
            assert_eq!(reply.len(), genuine.len());
            let cookies = nts_client::open_reply(&reply, &keys, &IDENTIFIER).unwrap();
            assert!(
                !cookies.is_empty()
                    && cookies
                        .iter()
                        .all(|one| one.len() == cookie::cookie_len(algorithm))
            );
            continue;
        }
        // The length of the authenticator's field is not authenticated, and padding may follow what it holds.
        if !is_cut && authenticated(packet) == authenticated(&genuine) {
            continue;
        }
        assert!(
            !verdict.has_reply() || verdict == Verdict::KissedNtsNak,
            "{verdict:?}"
        );
        if let Ok(believed) = nts_client::open_reply(&reply, &keys, &IDENTIFIER) {
            panic!("{verdict:?} is believed, with {} cookies", believed.len());
        }
    }
}

/// All that counts of a request: the bytes before its authenticator, the nonce, and the ciphertext.
fn authenticated(packet: &[u8]) -> Option<(&[u8], Authenticator<'_>)> {
    let field = PacketParts::of_packet(packet).find_map(|part| match part {
        Ok(PacketPart::Field(field)) if field.kind == field_type::AUTHENTICATOR => Some(field),
        Ok(PacketPart::Field(_) | PacketPart::Mac(_)) | Err(_) => None,
    })?;
    let found = Authenticator::parse(field.value)?;
    let found = Authenticator {
        additional: 0,
        ..found
    };
    Some((&packet[..field.start], found))
}

/// A genuine request of a client of ours.
fn question(keys: &AssociationKeys, cookies: usize) -> Vec<u8> {
    let cookie = cookie::several(keyring(), keys, &mut Nonces::new([5; 16])).remove(0);
    let mut header = [0; HEADER_LEN];
    header[0] = 0x23;
    header[40..].copy_from_slice(&[0x5A; 8]);
    let question = NtsQuestion {
        header,
        keys,
        cookie: &cookie,
        cookies,
        identifier: &IDENTIFIER,
        nonce: &[7; 16],
    };
    let mut buffer = [0; LONGEST_QUESTION];
    let length = question.seal(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

/// Changes a packet as `edits` say, four bytes each: a kind, a place, a value.
fn damage(packet: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let (edits, _) = edits.as_chunks();
    for [kind, high, low, value] in edits {
        let place = usize::from(u16::from_be_bytes([*high, *low])) % packet.len().max(1);
        match kind % 5 {
            0 => packet
                .iter_mut()
                .skip(place)
                .take(1)
                .for_each(|byte| *byte ^= value),
            1 => packet.truncate(place),
            2 => packet.insert(place, *value),
            3 => {
                let copied = packet[place..]
                    .iter()
                    .take(usize::from(*value))
                    .copied()
                    .collect::<Vec<u8>>();
                packet.extend(copied);
            }
            _ => packet
                .iter_mut()
                .skip(place)
                .take(1)
                .for_each(|byte| *byte = *value),
        }
    }
    packet.truncate(1500);
    packet
}

/// The outcome of each packet, with its reply.
fn answer(packets: &[&[u8]], is_cut: bool, is_limited: bool) -> Vec<(Verdict, Vec<u8>)> {
    let received_at = NtpTimestamp::from_bits(0xEA00_0000_0000_0000);
    let variables = SystemVariables {
        leap: Leap::NoWarning,
        stratum: 2,
        precision: -24,
        root_delay: NtpShort::from_bits(1),
        root_dispersion: NtpShort::from_bits(2),
        reference_id: ReferenceId::from_bytes([192, 0, 2, 1]),
        reference_timestamp: received_at,
    };
    let mut buffers: Vec<Vec<u8>> = packets.iter().map(|packet| vec![0xA5; packet.len()]).collect();
    let mut batch = ArrayVec::new();
    for (packet, reply) in packets.iter().zip(&mut buffers) {
        let request = Request {
            payload: packet,
            source: std::net::Ipv4Addr::LOCALHOST.into(),
            source_port: 40_000,
            unicast: true,
            received_at,
        };
        batch.push(NtsPacket {
            request,
            is_cut,
            refusal: None,
            reply,
        });
    }
    let mut batch = NtsBatch::open(keyring(), batch);
    batch.rule(|_, _| match is_limited {
        false => Ruling::Answer,
        true => Ruling::Kiss {
            verdict: Verdict::KissedRate,
            code: ReferenceId::RATE,
            poll: 6,
        },
    });
    let sealed = batch.sealed_len();
    let outcomes = batch.seal(keyring(), &mut Nonces::new([2; 16]), &variables, |_| received_at);
    let all: usize = packets.iter().map(|packet| packet.len()).sum();
    assert!(sealed <= all && outcomes.len() == packets.len());
    let lengths: Vec<_> = outcomes
        .iter()
        .map(|outcome| (outcome.verdict, outcome.length))
        .collect();
    let replies = buffers.into_iter().zip(lengths);
    let reply = |(mut reply, (verdict, length)): (Vec<u8>, _)| {
        reply.truncate(length);
        (verdict, reply)
    };
    replies.map(reply).collect()
}

/// A whole key establishment of the server through TLS in memory, in pieces of any length.
///
/// `bytes` are what the client sends inside TLS, or instead of TLS, or how its TLS is damaged.
pub(crate) fn ke_session(bytes: &[u8]) {
    let Some(([mode, step], rest)) = bytes.split_first_chunk() else {
        return;
    };
    let step = usize::from(*step) + 1;
    let offer = KeOffer {
        algorithms: Algorithm::ALL.to_vec(),
        server: None,
        port: None,
    };
    let mut server = ServerConnection::new(Arc::clone(&settings().0)).unwrap();
    let mut client = ClientConnection::new(
        Arc::clone(&settings().1),
        ServerName::try_from("time.example").unwrap(),
    )
    .unwrap();
    let genuine = ke::client::request(&Algorithm::ALL);
    let message = match mode % 4 {
        0 => {
            // No TLS at all: nothing is read inside it.
            deliver(rest, step, |piece| server.read_tls(piece), |_| {});
            let mut request = Vec::new();
            let _ended = server
                .process_new_packets()
                .map(|_| server.reader().read_to_end(&mut request));
            assert!(request.is_empty());
            return;
        }
        1 => rest,
        _ => &genuine,
    };
    let edits = if mode % 4 == 3 { rest } else { &[] };
    client.writer().write_all(message).unwrap();
    let Some(request) = shake(&mut client, &mut server, edits, step) else {
        assert!(!edits.is_empty(), "an undamaged handshake succeeds");
        return;
    };
    assert!(message.starts_with(&request));
    // Each part of it, as it came.
    for length in (0..request.len()).step_by(step) {
        if message == genuine {
            assert_eq!(decide(&request[..length], &offer), KeDecision::Wait);
        } else {
            let _any = decide(&request[..length], &offer);
        }
    }
    let answer = match decide(&request, &offer) {
        KeDecision::Wait => return,
        KeDecision::NoProtocol => no_protocol(),
        KeDecision::NoAlgorithm => no_algorithm(),
        KeDecision::Refuse(code) => code.answer(),
        KeDecision::Accept(accepted) => {
            let theirs = exported(accepted.export, |context, key| {
                client
                    .export_keying_material(key, KeyExport::LABEL, Some(context))
                    .is_ok()
            });
            let ours = exported(accepted.export, |context, key| {
                server
                    .export_keying_material(key, KeyExport::LABEL, Some(context))
                    .is_ok()
            });
            assert_eq!(theirs.bytes(), ours.bytes());
            let cookies = cookie::several(keyring(), &ours, &mut Nonces::new([9; 16]));
            let answer = accept(accepted, &offer, cookies.iter().map(Vec::as_slice));
            let granted = ke::client::read(&answer, &Algorithm::ALL).unwrap().unwrap();
            assert_eq!((granted.export, &granted.cookies), (accepted.export, &cookies));
            let borrowed: Vec<&[u8]> = cookies.iter().map(Vec::as_slice).collect();
            for opened in cookie::open(keyring(), &borrowed) {
                assert_eq!(opened.unwrap().keys.bytes(), theirs.bytes());
            }
            answer
        }
    };
    server.writer().write_all(&answer).unwrap();
    server.send_close_notify();
    let mut sent = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut sent).unwrap();
    }
    deliver(&sent, step, |piece| client.read_tls(piece), |_| {});
    client.process_new_packets().unwrap();
    let mut received = Vec::new();
    client.reader().read_to_end(&mut received).unwrap();
    assert_eq!(received, answer);
}

fn exported(export: KeyExport, from: impl FnMut(&[u8; 5], &mut [u8]) -> bool) -> AssociationKeys {
    export.keys(from).unwrap()
}

/// Gives `bytes` to one side of TLS, at most `step` at once.
fn deliver(
    mut bytes: &[u8],
    step: usize,
    mut read: impl FnMut(&mut dyn Read) -> std::io::Result<usize>,
    mut after: impl FnMut(usize),
) {
    while !bytes.is_empty() {
        let mut piece = &bytes[..step.min(bytes.len())];
        let Ok(count @ 1..) = read(&mut piece) else { return };
        bytes = &bytes[count..];
        after(count);
    }
}

/// Carries the bytes of both sides until the server has what the client said; `None` if TLS refuses.
///
/// `edits` damage what the client sends.
fn shake(
    client: &mut ClientConnection,
    server: &mut ServerConnection,
    edits: &[u8],
    step: usize,
) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    let (edits, _) = edits.as_chunks();
    let mut edits = edits.iter();
    loop {
        let mut sent = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut sent).ok()?;
        }
        if let Some([high, low, value]) = edits.next() {
            let place = usize::from(u16::from_be_bytes([*high, *low])) % sent.len().max(1);
            sent.iter_mut()
                .skip(place)
                .take(1)
                .for_each(|byte| *byte ^= value);
        }
        let mut rest = &sent[..];
        while !rest.is_empty() {
            let (mut piece, more) = rest.split_at(step.min(rest.len()));
            let length = piece.len();
            assert_eq!(server.read_tls(&mut piece).ok()?, length);
            rest = more;
            server.process_new_packets().ok()?;
            let mut part = [0; 512];
            while let Ok(count @ 1..) = server.reader().read(&mut part) {
                request.extend(&part[..count]);
            }
        }
        let mut answered = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut answered).ok()?;
        }
        if sent.is_empty() && answered.is_empty() {
            return (!server.is_handshaking()).then_some(request);
        }
        let mut answered = &answered[..];
        while !answered.is_empty() {
            client.read_tls(&mut answered).ok()?;
            client.process_new_packets().ok()?;
        }
    }
}

/// The settings of the server as it has them, and of a client.
fn settings() -> &'static (Arc<ServerConfig>, Arc<ClientConfig>) {
    static SETTINGS: OnceLock<(Arc<ServerConfig>, Arc<ClientConfig>)> = OnceLock::new();
    SETTINGS.get_or_init(|| {
        let pair = CertificatePair::read(
            include_bytes!("../common/certificates/time.pem"),
            include_bytes!("../common/certificates/time.key"),
        );
        let server = tls::server::settings(&[Arc::new(pair.unwrap())], ke::ALPN).unwrap();
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(include_bytes!("../common/certificates/ca.pem")).unwrap();
        roots.add(ca).unwrap();
        let mut client = ClientConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![ke::ALPN.to_vec()];
        (server, Arc::new(client))
    })
}

/// Both ciphers agree with the crates' about any batch, and nothing that is damaged is genuine.
pub(crate) fn ciphers(bytes: &[u8]) {
    let Some((head, rest)) = bytes.split_first_chunk::<8>() else {
        return;
    };
    let count = 1 + usize::from(head[0]) % BATCH;
    let take = |at: usize, length: usize| -> Vec<u8> {
        rest.iter()
            .copied()
            .cycle()
            .skip(at)
            .take(if rest.is_empty() { 0 } else { length })
            .collect()
    };
    let cases: Vec<Case> = (0..count)
        .map(|number| {
            let at = number * usize::from(head[1]);
            let mut key = take(at, 32);
            key.resize(32, head[2]);
            Case {
                key: key.try_into().unwrap(),
                nonce: take(at + 32, 1 + usize::from(head[3]) % 40),
                associated: take(at + 1, usize::from(head[4]).wrapping_mul(number + 1) % 300),
                text: take(at + 2, usize::from(head[5]).wrapping_mul(number + 1) % 900),
            }
        })
        .collect();
    let place = usize::from(u16::from_be_bytes([head[6], head[7]]));
    siv(&cases, place);
    gcm_siv(&cases, place);
}

struct Case {
    key: [u8; 32],
    nonce: Vec<u8>,
    associated: Vec<u8>,
    text: Vec<u8>,
}

fn siv(cases: &[Case], damaged: usize) {
    let halves: Vec<[[u8; 16]; 2]> = cases
        .iter()
        .map(|case| {
            [
                case.key[..16].try_into().unwrap(),
                case.key[16..].try_into().unwrap(),
            ]
        })
        .collect();
    let expected = cases.iter().map(|case| {
        let mut siv = Aes128Siv::new_from_slice(&case.key).unwrap();
        let sealed = siv
            .encrypt([&case.associated[..], &case.nonce], &case.text)
            .unwrap();
        let (tag, text) = sealed.split_at(16);
        (tag.try_into().unwrap(), text.to_vec())
    });
    let key = |number: usize| SivCmac {
        key: &halves[number],
        associated: &cases[number].associated,
    };
    agree(
        cases,
        &expected.collect::<Vec<_>>(),
        key,
        |case| &case.nonce,
        damaged,
    );
}

fn gcm_siv(cases: &[Case], damaged: usize) {
    let keys: Vec<[u8; 16]> = cases
        .iter()
        .map(|case| case.key[..16].try_into().unwrap())
        .collect();
    let nonces: Vec<[u8; 12]> = cases
        .iter()
        .map(|case| case.key[20..].try_into().unwrap())
        .collect();
    let expected = cases.iter().zip(&nonces).map(|(case, nonce)| {
        let gcm = Aes128GcmSiv::new_from_slice(&case.key[..16]).unwrap();
        let payload = Payload {
            msg: &case.text,
            aad: &case.associated,
        };
        let sealed = gcm.encrypt(&(*nonce).into(), payload).unwrap();
        let (text, tag) = sealed.split_at(sealed.len() - 16);
        (tag.try_into().unwrap(), text.to_vec())
    });
    let key = |number: usize| GcmSiv {
        key: &keys[number],
        associated: &cases[number].associated,
    };
    agree(
        cases,
        &expected.collect::<Vec<_>>(),
        key,
        |case| &case.key[20..],
        damaged,
    );
}

fn agree<'a, K: JobKey>(
    cases: &'a [Case],
    expected: &[([u8; 16], Vec<u8>)],
    key: impl Fn(usize) -> K,
    nonce: impl Fn(&'a Case) -> &'a [u8],
    damaged: usize,
) {
    let mut texts: Vec<Vec<u8>> = cases.iter().map(|case| case.text.clone()).collect();
    let numbered = texts.iter_mut().zip(cases).enumerate();
    let mut jobs: Vec<Job<'_, K>> = numbered
        .map(|(number, (text, case))| Job {
            key: key(number),
            nonce: nonce(case),
            text,
            tag: [0; 16],
        })
        .collect();
    assert!(JobKey::seal(&mut jobs));
    for (job, (tag, text)) in jobs.iter().zip(expected) {
        assert_eq!((&job.tag, &*job.text), (tag, &text[..]));
    }
    assert_eq!(JobKey::open(&mut jobs)[..cases.len()], vec![true; cases.len()]);
    for (job, case) in jobs.iter().zip(cases) {
        assert_eq!(*job.text, case.text);
    }
    assert!(JobKey::seal(&mut jobs));
    // One of them, in its tag or in its text.
    let chosen = damaged % jobs.len();
    let bit = 1 << (damaged % 8);
    let length = jobs[chosen].text.len();
    match (damaged / 8) % (16 + length) {
        place @ ..16 => jobs[chosen].tag[place] ^= bit,
        place => jobs[chosen].text[place - 16] ^= bit,
    }
    for (number, genuine) in JobKey::open(&mut jobs).into_iter().enumerate().take(cases.len()) {
        assert_eq!(genuine, number != chosen);
    }
    assert!(jobs[chosen].text.iter().all(|byte| *byte == 0));
}
