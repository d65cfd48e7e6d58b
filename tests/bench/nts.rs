//! What NTS costs a packet beside its plain answer: opening the cookie and the request, sealing cookies and reply. The cryptography
//! of the same is done with the crates `aes-siv` and `aes-gcm-siv`, in turn. Run it with `cargo bench --bench nts`; compare within one run only.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark reads the clock and prints"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use aes_gcm_siv::AesGcmSiv;
use aes_gcm_siv::aead::{AeadInOut, KeyInit};
use aes_siv::siv::Aes128Siv;
use arrayvec::ArrayVec;
use ntpfront::nts::aead::{Algorithm, BATCH, Halves};
use ntpfront::nts::cookie::several;
use ntpfront::nts::keyring::{Keyring, Period, Secret, Time};
use ntpfront::nts::server::{self, NtsReply, OpenedRequest};
use ntpfront::nts::{AssociationKeys, Nonces};
use ntpfront::wire::HEADER_LEN;

/// What the crates seal cookies with.
const HALVES: Halves = [[0x5A; 16], [0xA5; 16]];
/// Header and identifier.
const HEAD: usize = HEADER_LEN + 36;
/// The name, nonce and tag of a cookie.
const COOKIE_HEAD: usize = 36;
const ROUNDS: usize = 400;
const REPEATED: usize = 40;

fn main() {
    println!("AES by instructions: {}", aes::hardware_accelerated());
    println!(
        "{:>17} {:>8} {:>6} {:>9} {:>9} {:>9} {:>6}",
        "aead", "cookies", "batch", "open, ns", "seal, ns", "crates", "ratio"
    );
    for algorithm in Algorithm::ALL {
        for cookies in [1, 8] {
            for batch in [1, BATCH] {
                row(algorithm, cookies, batch);
            }
        }
    }
}

/// The best of many short rounds, as this is what other work on the machine disturbs least.
fn row(algorithm: Algorithm, cookies: usize, batch: usize) {
    let period = Period::at(Duration::from_secs(86_400), Duration::from_secs(3600));
    let keyring = Keyring::new(&[Secret::new([7; 32])], period, 7, Time::Vouched).unwrap();
    let mut nonces = Nonces::new([8; 16]);
    let keys: Vec<Vec<u8>> = (0..batch).map(|salt| keys(algorithm, salt)).collect();
    let ours: Vec<Request> = keys
        .iter()
        .map(|keys| {
            let cookie = several(&keyring, &AssociationKeys::of(keys).unwrap(), &mut nonces).remove(0);
            Request::new(algorithm, cookies, keys, &cookie)
        })
        .collect();
    let theirs: Vec<Request> = keys
        .iter()
        .map(|keys| Request::new(algorithm, cookies, keys, &cookie_of_crates(keys)))
        .collect();
    let mut buffers = vec![[0x11; 1024]; batch];
    let opened = open(&keyring, &ours);
    assert!(opened.iter().all(|opened| opened.cookies() == cookies));
    let mut figures: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        figures[0].push(nanoseconds(batch, || {
            black_box(open(&keyring, black_box(&ours)));
        }));
        figures[1].push(nanoseconds(batch, || {
            seal(&keyring, &mut nonces, &ours, black_box(&opened), &mut buffers)
        }));
        figures[2].push(nanoseconds(batch, || {
            for (request, reply) in black_box(&theirs).iter().zip(&mut buffers) {
                by_crates(request, cookies, reply);
            }
        }));
    }
    let [open, seal, crates] = figures.map(|figures| figures.into_iter().min_by(f64::total_cmp).unwrap());
    println!(
        "{:>17} {cookies:>8} {batch:>6} {open:>9.0} {seal:>9.0} {crates:>9.0} {:>6.2}",
        algorithm.name(),
        crates / (open + seal)
    );
}

/// From bytes to keys.
fn open(keyring: &Keyring, requests: &[Request]) -> ArrayVec<OpenedRequest, BATCH> {
    let mut parsed = ArrayVec::<_, BATCH>::new();
    for request in requests {
        parsed.push(server::NtsRequest::parse(&request.packet).unwrap().unwrap());
    }
    server::open(keyring, &parsed)
        .into_iter()
        .map(|opened| opened.unwrap())
        .collect()
}

/// From headers to replies. (Requests are parsed again: that is not what costs.)
fn seal(
    keyring: &Keyring,
    nonces: &mut Nonces,
    requests: &[Request],
    opened: &[OpenedRequest],
    buffers: &mut [[u8; 1024]],
) {
    let mut parsed = ArrayVec::<_, BATCH>::new();
    for request in requests {
        parsed.push(server::NtsRequest::parse(&request.packet).unwrap().unwrap());
    }
    let mut replies = ArrayVec::<_, BATCH>::new();
    for ((request, opened), buffer) in parsed.iter().zip(opened).zip(buffers) {
        replies.push(NtsReply {
            request,
            opened,
            header: [0x24; HEADER_LEN],
            buffer,
        });
    }
    let lengths = server::seal(keyring, nonces, &mut replies);
    assert!(lengths.iter().all(|length| length.is_some()));
}

/// A packet's share.
fn nanoseconds(batch: usize, mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..REPEATED).for_each(|_| work());
    start.elapsed().as_nanos() as f64 / (REPEATED * batch) as f64
}

fn keys(algorithm: Algorithm, salt: usize) -> Vec<u8> {
    (0..2 * algorithm.key_len())
        .map(|at| (at * 7 + salt) as u8)
        .collect()
}

fn cookie_of_crates(keys: &[u8]) -> Vec<u8> {
    let mut cookie = [&[0x11; COOKIE_HEAD][..], keys].concat();
    let (head, text) = cookie.split_at_mut(COOKIE_HEAD);
    let (head, tag) = head.split_at_mut(20);
    let mut siv = Aes128Siv::new_from_slice(HALVES.as_flattened()).unwrap();
    let made = siv.encrypt_inout_detached([&head[..4], &head[4..]], text.into());
    tag.copy_from_slice(&made.unwrap());
    cookie
}

/// What a client sends, and where its parts are.
struct Request {
    algorithm: Algorithm,
    packet: Vec<u8>,
    /// Length of what is authenticated.
    authenticated: usize,
    /// Where the cookie is, without the head of its field.
    cookie: std::ops::Range<usize>,
    nonce: Vec<u8>,
    tag: [u8; 16],
}

impl Request {
    fn new(algorithm: Algorithm, cookies: usize, keys: &[u8], cookie: &[u8]) -> Self {
        let mut packet = [0x23; HEADER_LEN].to_vec();
        packet.extend([1, 4, 0, 36]);
        packet.extend([7; 32]);
        let length = u8::try_from(4 + cookie.len()).unwrap();
        packet.extend([2, 4, 0, length]);
        let place = packet.len()..packet.len() + cookie.len();
        packet.extend(cookie);
        for _ in 1..cookies {
            packet.extend([3, 4, 0, length]);
            packet.extend(vec![0; cookie.len()]);
        }
        let nonce = vec![9; algorithm.nonce_len()];
        let (c2s, _) = keys.split_at(algorithm.key_len());
        let tag = tag_of_crates(algorithm, c2s, &nonce, &packet, &mut []);
        let authenticated = packet.len();
        let length = u8::try_from(8 + nonce.len() + 16).unwrap();
        packet.extend([4, 4, 0, length, 0, length - 24, 0, 16]);
        packet.extend(&nonce);
        packet.extend(tag);
        Self {
            algorithm,
            packet,
            authenticated,
            cookie: place,
            nonce,
            tag,
        }
    }
}

type Gcm = AesGcmSiv<aes::Aes128>;

fn tag_of_crates(
    algorithm: Algorithm,
    key: &[u8],
    nonce: &[u8],
    associated: &[u8],
    text: &mut [u8],
) -> [u8; 16] {
    let tag = match algorithm {
        Algorithm::SivCmac256 => {
            let mut siv = Aes128Siv::new_from_slice(key).unwrap();
            siv.encrypt_inout_detached([associated, nonce], text.into())
                .unwrap()
        }
        Algorithm::GcmSiv128 => Gcm::new_from_slice(key)
            .unwrap()
            .encrypt_inout_detached(&nonce.try_into().unwrap(), associated, text.into())
            .unwrap(),
    };
    tag.into()
}

/// The same with the crates: one packet.
fn by_crates(request: &Request, cookies: usize, reply: &mut [u8]) {
    let mut master = Aes128Siv::new_from_slice(HALVES.as_flattened()).unwrap();
    let cookie = &request.packet[request.cookie.clone()];
    let mut keys = [0; 64];
    let length = cookie.len() - COOKIE_HEAD;
    keys[..length].copy_from_slice(&cookie[COOKIE_HEAD..]);
    let tag: [u8; 16] = cookie[20..36].try_into().unwrap();
    let head: [&[u8]; 2] = [&cookie[..4], &cookie[4..20]];
    let text = &mut keys[..length];
    master
        .decrypt_inout_detached(head, text.into(), &tag.into())
        .unwrap();
    let (c2s, s2c) = keys[..length].split_at(length / 2);
    let (nonce, associated) = (&request.nonce[..], &request.packet[..request.authenticated]);
    match request.algorithm {
        Algorithm::SivCmac256 => Aes128Siv::new_from_slice(c2s)
            .unwrap()
            .decrypt_inout_detached([associated, nonce], (&mut [][..]).into(), &request.tag.into())
            .unwrap(),
        Algorithm::GcmSiv128 => Gcm::new_from_slice(c2s)
            .unwrap()
            .decrypt_inout_detached(
                &nonce.try_into().unwrap(),
                associated,
                (&mut [][..]).into(),
                &request.tag.into(),
            )
            .unwrap(),
    }
    let first = HEAD + 40;
    let field = 4 + cookie.len();
    for number in 0..cookies {
        let cookie = &mut reply[first + number * field + 4..][..field - 4];
        let (head, text) = cookie.split_at_mut(COOKIE_HEAD);
        text.copy_from_slice(&keys[..length]);
        let (head, tag) = head.split_at_mut(20);
        let made = master.encrypt_inout_detached([&head[..4], &head[4..]], text.into());
        tag.copy_from_slice(&made.unwrap());
    }
    let (head, rest) = reply.split_at_mut(first);
    let text = &mut rest[..cookies * field];
    let (associated, nonce) = (&head[..HEAD], &head[HEAD + 8..][..nonce.len()]);
    black_box(tag_of_crates(request.algorithm, s2c, nonce, associated, text));
}
