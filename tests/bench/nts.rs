//! What NTS costs a packet beside its plain answer: opening the cookie and the request, sealing cookies and reply. The same is done
//! with the crates `aes-siv` and `aes-gcm-siv`, in turn. Run it with `cargo bench --bench nts`; compare within one run only.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark reads the clock and prints"
)]

use std::hint::black_box;
use std::time::Instant;

use aes_gcm_siv::AesGcmSiv;
use aes_gcm_siv::aead::{AeadInOut, KeyInit};
use aes_siv::siv::Aes128Siv;
use arrayvec::ArrayVec;
use ntpfront::nts::aead::{Algorithm, BATCH, GcmSiv, Halves, Job, JobKey, ReadySivCmac, SivCmac};

const HALVES: Halves = [[0x5A; 16], [0xA5; 16]];
/// What a cookie begins with.
const NAME: [u8; 4] = [7, 0, 0, 9];
/// Header and identifier.
const HEAD: usize = 48 + 36;
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

fn row(algorithm: Algorithm, cookies: usize, batch: usize) {
    let requests: Vec<Request> = (0..batch)
        .map(|salt| Request::new(algorithm, cookies, salt))
        .collect();
    let mut replies = vec![[0x11; 1024]; batch];
    let ready = ReadySivCmac::new(&HALVES, &NAME);
    let keys = opened_by_ours(&ready, &requests);
    let mut figures: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        figures[0].push(nanoseconds(batch, || {
            black_box(opened_by_ours(&ready, black_box(&requests)));
        }));
        figures[1].push(nanoseconds(batch, || {
            sealed_by_ours(&ready, cookies, black_box(&keys), &mut replies)
        }));
        figures[2].push(nanoseconds(batch, || {
            for (request, reply) in black_box(&requests).iter().zip(&mut replies) {
                by_crates(request, cookies, reply);
            }
        }));
    }
    let [open, seal, crates] = figures.map(median);
    println!(
        "{:>17} {cookies:>8} {batch:>6} {open:>9.0} {seal:>9.0} {crates:>9.0} {:>6.2}",
        algorithm.name(),
        crates / (open + seal)
    );
}

/// A packet's share.
fn nanoseconds(batch: usize, mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..REPEATED).for_each(|_| work());
    start.elapsed().as_nanos() as f64 / (REPEATED * batch) as f64
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[0]
}

/// What a client sends, and where its parts are.
struct Request {
    algorithm: Algorithm,
    packet: Vec<u8>,
    /// Where the cookie is, without the head of its field.
    cookie: std::ops::Range<usize>,
    nonce: [u8; 16],
    tag: [u8; 16],
}

/// Both keys of an association.
#[derive(Clone, Copy)]
enum Keys {
    Siv([Halves; 2]),
    Gcm([[u8; 16]; 2]),
}

impl Keys {
    fn of(bytes: &[u8]) -> Self {
        match bytes.as_chunks::<16>().0 {
            [a, b, c, d] => Self::Siv([[*a, *b], [*c, *d]]),
            [a, b] => Self::Gcm([*a, *b]),
            _ => panic!("no keys"),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Siv(keys) => keys.as_flattened().as_flattened(),
            Self::Gcm(keys) => keys.as_flattened(),
        }
    }
}

impl Request {
    fn new(algorithm: Algorithm, cookies: usize, salt: usize) -> Self {
        let keys: Vec<u8> = (0..2 * algorithm.key_len())
            .map(|at| (at * 7 + salt) as u8)
            .collect();
        let mut packet = vec![0x23; HEAD];
        let mut cookie = [&NAME[..], &[0; COOKIE_HEAD - 4], &keys].concat();
        seal_cookie(&ReadySivCmac::new(&HALVES, &NAME), &mut cookie);
        let field = [2, 4, 0, 0];
        packet.extend(field);
        let place = packet.len()..packet.len() + cookie.len();
        packet.extend(&cookie);
        for _ in 1..cookies {
            packet.extend(field);
            packet.extend(vec![0; cookie.len()]);
        }
        let nonce = [9; 16];
        let tag = match Keys::of(&keys) {
            Keys::Siv([key, _]) => sealed(
                SivCmac {
                    key: &key,
                    associated: &packet,
                },
                &nonce,
            ),
            Keys::Gcm([key, _]) => sealed(
                GcmSiv {
                    key: &key,
                    associated: &packet,
                },
                &nonce[..12],
            ),
        };
        Self {
            algorithm,
            packet,
            cookie: place,
            nonce,
            tag,
        }
    }
}

fn sealed<K: JobKey>(key: K, nonce: &[u8]) -> [u8; 16] {
    let mut job = [Job {
        key,
        nonce,
        text: &mut [],
        tag: [0; 16],
    }];
    assert!(K::seal(&mut job));
    let [Job { tag, .. }] = job;
    tag
}

fn seal_cookie(key: &ReadySivCmac, cookie: &mut [u8]) {
    let (head, text) = cookie.split_at_mut(COOKIE_HEAD);
    let mut job = [Job {
        key,
        nonce: &head[4..20],
        text,
        tag: [0; 16],
    }];
    assert!(JobKey::seal(&mut job));
    let [Job { tag, .. }] = job;
    head[20..].copy_from_slice(&tag);
}

fn opened_by_ours(key: &ReadySivCmac, requests: &[Request]) -> ArrayVec<Keys, BATCH> {
    let mut texts = [[0; 64]; BATCH];
    let length = requests[0].cookie.len() - COOKIE_HEAD;
    let mut jobs = ArrayVec::<_, BATCH>::new();
    for (request, text) in requests.iter().zip(&mut texts) {
        let cookie = &request.packet[request.cookie.clone()];
        let text = &mut text[..length];
        text.copy_from_slice(&cookie[COOKIE_HEAD..]);
        let tag = cookie[20..36].try_into().unwrap();
        jobs.push(Job {
            key,
            nonce: &cookie[4..20],
            text,
            tag,
        });
    }
    let genuine = JobKey::open(&mut jobs);
    assert!(genuine[..requests.len()].iter().all(|&genuine| genuine));
    let mut keys = ArrayVec::<_, BATCH>::new();
    for job in &jobs {
        keys.push(Keys::of(job.text));
    }
    let mut nothing = [[0; 0]; BATCH];
    let (mut siv, mut gcm) = (ArrayVec::<_, BATCH>::new(), ArrayVec::<_, BATCH>::new());
    for ((request, keys), text) in requests.iter().zip(&keys).zip(&mut nothing) {
        let (associated, tag) = (&request.packet[..], request.tag);
        match keys {
            Keys::Siv([key, _]) => {
                let key = SivCmac { key, associated };
                siv.push(Job {
                    key,
                    nonce: &request.nonce,
                    text,
                    tag,
                });
            }
            Keys::Gcm([key, _]) => {
                let key = GcmSiv { key, associated };
                gcm.push(Job {
                    key,
                    nonce: &request.nonce[..12],
                    text,
                    tag,
                });
            }
        }
    }
    let genuine = JobKey::open(&mut siv).into_iter().chain(JobKey::open(&mut gcm));
    assert_eq!(genuine.filter(|&genuine| genuine).count(), requests.len());
    drop((siv, gcm));
    keys
}

fn sealed_by_ours(key: &ReadySivCmac, cookies: usize, keys: &[Keys], replies: &mut [[u8; 1024]]) {
    let first = HEAD + 40;
    let field = 4 + COOKIE_HEAD + keys[0].bytes().len();
    for number in 0..cookies {
        // One cookie of each packet.
        let mut jobs = ArrayVec::<_, BATCH>::new();
        let mut tags = ArrayVec::<&mut [u8], BATCH>::new();
        for (reply, keys) in replies.iter_mut().zip(keys) {
            let cookie = &mut reply[first + number * field + 4..][..field - 4];
            let (head, text) = cookie.split_at_mut(COOKIE_HEAD);
            text.copy_from_slice(keys.bytes());
            let (head, tag) = head.split_at_mut(20);
            tags.push(tag);
            jobs.push(Job {
                key,
                nonce: &head[4..],
                text,
                tag: [0; 16],
            });
        }
        assert!(JobKey::seal(&mut jobs));
        for (tag, job) in tags.into_iter().zip(&jobs) {
            tag.copy_from_slice(&job.tag);
        }
    }
    let (mut siv, mut gcm) = (ArrayVec::<_, BATCH>::new(), ArrayVec::<_, BATCH>::new());
    for (reply, keys) in replies.iter_mut().zip(keys) {
        let (head, rest) = reply.split_at_mut(first);
        let (associated, nonce) = (&head[..HEAD], &head[HEAD + 8..][..16]);
        let (text, tag) = (&mut rest[..cookies * field], [0; 16]);
        match keys {
            Keys::Siv([_, key]) => {
                let key = SivCmac { key, associated };
                siv.push(Job {
                    key,
                    nonce,
                    text,
                    tag,
                });
            }
            Keys::Gcm([_, key]) => {
                let key = GcmSiv { key, associated };
                gcm.push(Job {
                    key,
                    nonce: &nonce[..12],
                    text,
                    tag,
                });
            }
        }
    }
    assert!(JobKey::seal(&mut siv) && JobKey::seal(&mut gcm));
    black_box(
        siv.iter()
            .map(|job| job.tag[0])
            .chain(gcm.iter().map(|job| job.tag[0]))
            .max(),
    );
}

type Gcm = AesGcmSiv<aes::Aes128>;

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
    let nonce = &request.nonce[..request.algorithm.nonce_len()];
    match request.algorithm {
        Algorithm::SivCmac256 => Aes128Siv::new_from_slice(c2s)
            .unwrap()
            .decrypt_inout_detached(
                [&request.packet[..], nonce],
                (&mut [][..]).into(),
                &request.tag.into(),
            )
            .unwrap(),
        Algorithm::GcmSiv128 => Gcm::new_from_slice(c2s)
            .unwrap()
            .decrypt_inout_detached(
                &nonce.try_into().unwrap(),
                &request.packet,
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
    let tag = match request.algorithm {
        Algorithm::SivCmac256 => {
            let mut siv = Aes128Siv::new_from_slice(s2c).unwrap();
            siv.encrypt_inout_detached([associated, nonce], text.into())
                .unwrap()
        }
        Algorithm::GcmSiv128 => Gcm::new_from_slice(s2c)
            .unwrap()
            .encrypt_inout_detached(&nonce.try_into().unwrap(), associated, text.into())
            .unwrap(),
    };
    black_box(tag);
}
