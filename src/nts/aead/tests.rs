//! Pure. Tests of the AEADs: the vectors of their RFCs, and that any batch agrees with the crates.

use aes::Aes128Enc;
use aes::cipher::KeyInit;
use aes_gcm_siv::aead::{Aead, Payload};
use aes_siv::siv::Aes128Siv;
use proptest::prelude::*;

use super::cmac::{Chain, MacKey, run};
use super::siv::add_stream;
use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn key(text: &str) -> [u8; 16] {
    hex(text).try_into().unwrap()
}

fn result(chain: Chain<'_>) -> [u8; 16] {
    let mut chain = [chain];
    run(&mut chain);
    chain[0].result()
}

#[test]
fn cmac_of_rfc_4493() {
    let cipher = [Aes128Enc::new(&key("2b7e151628aed2a6abf7158809cf4f3c").into())];
    let mac = MacKey::derive(&cipher)[0];
    assert_eq!(
        mac.words().k1.to_be_bytes(),
        key("fbeed618357133667c85e08f7236a8de")
    );
    let message = hex(
        "6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51 \
         30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710",
    );
    for (length, expected) in [
        (0, "bb1d6929e95937287fa37d129b756746"),
        (16, "070a16b46b4d4144f79bdd9dd04a287c"),
        (40, "dfa66747de9ae63030ca32611497c827"),
        (64, "51f0bebf7e3b9d92fc49741779363cfe"),
    ] {
        assert_eq!(
            result(mac.chain(&message[..length])),
            key(expected),
            "{length} bytes"
        );
        let mut nonce = mac.of_nonce(&message[..length]);
        mac.finish(&mut nonce);
        assert_eq!(nonce, key(expected), "{length} bytes of nonce");
    }
}

/// The tag and the ciphertext.
fn siv(key_text: &str, strings: &[&str], text: &str) -> Vec<u8> {
    let halves = hex(key_text);
    let cipher = |half: &[u8]| Aes128Enc::new_from_slice(half).unwrap();
    let ciphers = [cipher(&halves[..16])];
    let mac = MacKey::derive(&ciphers)[0];
    let sum = strings.iter().fold(mac.words().zero, |sum, string| {
        MacKey::sum(sum, result(mac.chain(&hex(string))))
    });
    let mut text = hex(text);
    let tag = result(mac.last_chain(sum, &text));
    add_stream(&cipher(&halves[16..]), tag, &mut text);
    [&tag[..], &text].concat()
}

#[test]
fn siv_of_rfc_5297() {
    // A.1
    assert_eq!(
        siv(
            "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0 f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
            &["101112131415161718191a1b1c1d1e1f 2021222324252627"],
            "112233445566778899aabbccddee"
        ),
        hex("85632d07c6e8f37f950acd320a2ecc93 40c02b9690c4dc04daef7f6afe5c")
    );
    // A.2
    assert_eq!(
        siv(
            "7f7e7d7c7b7a79787776757473727170 404142434445464748494a4b4c4d4e4f",
            &[
                "00112233445566778899aabbccddeeff deaddadadeaddadaffeeddccbbaa9988 7766554433221100",
                "102030405060708090a0",
                "09f911029d74e35bd84156c5635688c0"
            ],
            "7468697320697320736f6d6520706c61 696e7465787420746f20656e63727970 74207573696e67205349562d414553"
        ),
        hex(
            "7bdb6e3b432667eb06f4d14bff2fbd0f cb900f2fddbe404326601965c889bf17 \
             dba77ceb094fa663b7a3f748ba8af829 ea64ad544a272e9c485b62a3fd5c0d"
        )
    );
}

#[test]
fn gcm_siv_of_rfc_8452() {
    let (secret, nonce) = (
        key("01000000000000000000000000000000"),
        hex("030000000000000000000000"),
    );
    for (associated, text, expected) in [
        ("", "", "dc20e2d83f25705bb49e439eca56de25"),
        (
            "",
            "0100000000000000",
            "b5d839330ac7b786 578782fff6013b815b287c22493a364c",
        ),
        (
            "",
            "01000000000000000000000000000000",
            "743f7c8077ab25f8624e2e948579cf77 303aaf90f6fe21199c6068577437a0c4",
        ),
        (
            "",
            "0100000000000000000000000000000002000000000000000000000000000000",
            "84e07e62ba83a6585417245d7ec413a9fe427d6315c09b57ce45f2e3936a9445 1a8e45dcd4578c667cd86847bf6155ff",
        ),
        (
            "01",
            "0200000000000000",
            "1e6daba35669f427 3b0a1a2560969cdf790d99759abd1508",
        ),
        (
            "010000000000000000000000",
            "02000000",
            "a8fe3e87 07eb1f84fb28f8cb73de8e99e2f48a14",
        ),
        (
            "010000000000000000000000000000000200",
            "0300000000000000000000000000000004000000",
            "6bb0fecf5ded9b77f902c7d5da236a4391dd0297 24afc9805e976f451e6d87f6fe106514",
        ),
        (
            "0100000000000000000000000000000002000000",
            "030000000000000000000000000000000400",
            "44d0aaf6fb2f1f34add5e8064e83e12a2ada bff9b2ef00fb47920cc72a0c0f13b9fd",
        ),
    ] {
        let (associated, mut text) = (hex(associated), hex(text));
        let key = GcmSiv {
            key: &secret,
            associated: &associated,
        };
        let mut job = [Job {
            key,
            nonce: &nonce,
            text: &mut text,
            tag: [0; 16],
        }];
        assert!(JobKey::seal(&mut job));
        let tag = job[0].tag;
        assert_eq!([&text[..], &tag].concat(), hex(expected));
    }
}

//= RFC 8915 §5.1 mandatory
#[test]
fn algorithms_are_those_of_iana() {
    for id in 0..=u16::MAX {
        let known = Algorithm::from_id(id);
        assert_eq!(known.is_some(), matches!(id, 15 | 30));
        assert!(known.is_none_or(|known| known.id() == id));
    }
}

/// A text that is sealed and opened under one key.
#[derive(Clone, Debug)]
struct Case {
    key: [[u8; 16]; 2],
    associated: Vec<u8>,
    nonce: Vec<u8>,
    text: Vec<u8>,
    /// Which bit is turned before it is opened, if any.
    turned: Option<usize>,
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..most)
}

fn cases() -> impl Strategy<Value = Vec<Case>> {
    let nonce = prop_oneof![
        prop::collection::vec(any::<u8>(), 16),
        prop::collection::vec(any::<u8>(), 12),
        bytes(40),
    ];
    let turned = prop::option::weighted(0.3, 0_usize..1000);
    let case = (any::<[[u8; 16]; 2]>(), bytes(300), nonce, bytes(300), turned);
    let case = case.prop_map(|(key, associated, nonce, text, turned)| Case {
        key,
        associated,
        nonce,
        text,
        turned,
    });
    prop::collection::vec(case, 1..=BATCH)
}

/// Seals all of `cases` with ours, compares with `expected`, turns bits, and opens them again.
fn agrees<'a, K: JobKey>(
    cases: &'a [Case],
    key: impl Fn(&'a Case) -> K,
    expected: impl Fn(&Case) -> Vec<u8>,
    is_behind: bool,
) {
    let mut texts: Vec<Vec<u8>> = cases.iter().map(|case| case.text.clone()).collect();
    let mut tags = sealed(cases, &key, &mut texts);
    for ((case, text), tag) in cases.iter().zip(&texts).zip(&tags) {
        let ours = if is_behind {
            [text, &tag[..]].concat()
        } else {
            [&tag[..], text].concat()
        };
        assert_eq!(ours, expected(case));
    }
    for ((case, text), tag) in cases.iter().zip(&mut texts).zip(&mut tags) {
        if let Some(bit) = case.turned {
            let bit = bit % (8 * (text.len() + 16));
            let byte = text.iter_mut().chain(tag).nth(bit / 8).unwrap();
            *byte ^= 1 << (bit % 8);
        }
    }
    let parts = cases.iter().zip(&mut texts).zip(tags);
    let mut jobs: Vec<_> = parts
        .map(|((case, text), tag)| Job {
            key: key(case),
            nonce: &case.nonce,
            text,
            tag,
        })
        .collect();
    let genuine = JobKey::open(&mut jobs);
    drop(jobs);
    for (number, (case, text)) in cases.iter().zip(&texts).enumerate() {
        assert_eq!(genuine[number], case.turned.is_none());
        let kept = if case.turned.is_none() {
            case.text.clone()
        } else {
            vec![0; case.text.len()]
        };
        assert_eq!(*text, kept);
    }
    assert!(genuine[cases.len()..].iter().all(|&genuine| !genuine));
}

fn sealed<'a, K: JobKey>(
    cases: &'a [Case],
    key: impl Fn(&'a Case) -> K,
    texts: &mut [Vec<u8>],
) -> Vec<[u8; 16]> {
    let mut jobs: Vec<_> = cases
        .iter()
        .zip(texts)
        .map(|(case, text)| Job {
            key: key(case),
            nonce: &case.nonce,
            text,
            tag: [0; 16],
        })
        .collect();
    assert!(JobKey::seal(&mut jobs));
    jobs.iter().map(|job| job.tag).collect()
}

fn siv_of_the_crate(case: &Case) -> Vec<u8> {
    let mut siv = Aes128Siv::new_from_slice(case.key.as_flattened()).unwrap();
    siv.encrypt([&case.associated, &case.nonce], &case.text).unwrap()
}

proptest! {
    #[test]
    fn a_batch_of_siv_agrees_with_the_crate(cases in cases()) {
        agrees(&cases, |case| SivCmac { key: &case.key, associated: &case.associated }, siv_of_the_crate, false);
    }

    #[test]
    fn ready_keys_agree_with_the_crate(cases in cases()) {
        let ready: Vec<_> = cases.iter().map(|case| ReadySivCmac::new(&case.key, &case.associated)).collect();
        let place = |case: &Case| cases.iter().position(|other| std::ptr::eq(case, other)).unwrap();
        agrees(&cases, |case| &ready[place(case)], siv_of_the_crate, false);
    }

    #[test]
    fn a_batch_of_gcm_siv_agrees_with_the_crate(mut cases in cases()) {
        cases.iter_mut().for_each(|case| case.nonce.resize(12, 7));
        let expected = |case: &Case| {
            let gcm = aes_gcm_siv::Aes128GcmSiv::new_from_slice(&case.key[0]).unwrap();
            let payload = Payload { msg: &case.text, aad: &case.associated };
            gcm.encrypt(&aes_gcm_siv::Nonce::try_from(&case.nonce[..]).unwrap(), payload).unwrap()
        };
        agrees(&cases, |case| GcmSiv { key: &case.key[0], associated: &case.associated }, expected, true);
    }

    #[test]
    fn gcm_siv_takes_no_nonce_of_another_length(length in (0_usize..40).prop_filter("twelve is right", |length| *length != 12)) {
        let (secret, nonce, mut text) = ([7; 16], vec![7; length], [7; 5]);
        let key = GcmSiv { key: &secret, associated: &[] };
        let mut job = [Job { key, nonce: &nonce, text: &mut text, tag: [0; 16] }];
        prop_assert!(!JobKey::seal(&mut job));
        prop_assert_eq!(JobKey::open(&mut job), [false; BATCH]);
        prop_assert_eq!(text, [0; 5]);
    }
}

#[test]
fn more_than_a_batch_is_sealed_and_not_opened() {
    let keys: Vec<[[u8; 16]; 2]> = (0..20).map(|number| [[number; 16], [99; 16]]).collect();
    let mut texts = vec![[1_u8; 40]; 20];
    let mut jobs: Vec<_> = keys
        .iter()
        .zip(&mut texts)
        .map(|(key, text)| Job {
            key: SivCmac {
                key,
                associated: b"a",
            },
            nonce: b"0123456789abcdef",
            text,
            tag: [0; 16],
        })
        .collect();
    assert!(JobKey::seal(&mut jobs));
    let tags: Vec<_> = jobs.iter().map(|job| job.tag).collect();
    for (key, tag) in keys.iter().zip(tags) {
        let mut siv = Aes128Siv::new_from_slice(key.as_flattened()).unwrap();
        let expected = siv.encrypt([&b"a"[..], b"0123456789abcdef"], &[1; 40]).unwrap();
        assert_eq!(tag, expected[..16]);
    }
    assert_eq!(JobKey::open(&mut jobs), [true; BATCH]);
    drop(jobs);
    assert!(texts[..BATCH].iter().all(|text| *text == [1; 40]));
    assert!(
        texts[BATCH..]
            .iter()
            .all(|text| *text != [1; 40] && *text != [0; 40])
    );
}

#[test]
fn a_ready_key_says_nothing_when_printed() {
    let key = ReadySivCmac::new(&[[0xAB; 16]; 2], b"name");
    assert_eq!(format!("{key:?}"), "ReadySivCmac");
}
