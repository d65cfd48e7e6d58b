//! Pure. A client that is made of the crates' AEADs, for tests.

use std::time::Duration;

use aes_gcm_siv::Aes128GcmSiv;
use aes_gcm_siv::aead::{Aead, KeyInit, Payload};
use aes_siv::siv::Aes128Siv;

use super::aead::Algorithm;
use super::keyring::{Keyring, Period, Secret, Time};
use super::{AssociationKeys, Nonces, cookie};
use crate::wire::HEADER_LEN;
use crate::wire::extension::{Authenticator, PacketPart, PacketParts, field_type};

/// A keyring with keys of days.
pub(crate) fn keyring(day: u32, time: Time) -> Keyring {
    const DAY: Duration = Duration::from_secs(86_400);
    Keyring::new(&[Secret::new([1; 32])], Period::at(DAY * day, DAY), 7, time).unwrap()
}

/// A client's request, with its faults.
#[derive(Clone, Debug)]
pub(crate) struct NtsClient {
    pub(crate) keys: AssociationKeys,
    /// The header of its requests.
    pub(crate) header: [u8; HEADER_LEN],
    pub(crate) identifier: Vec<u8>,
    pub(crate) placeholders: usize,
    pub(crate) encrypted: usize,
    pub(crate) nonce: Vec<u8>,
    pub(crate) additional: usize,
    /// The length of an unknown field before the authenticator, if there is one.
    pub(crate) unknown: Option<u16>,
    pub(crate) behind: Vec<u8>,
}

impl NtsClient {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        Self {
            keys: AssociationKeys::of(&vec![0xC5; 2 * algorithm.key_len()]).unwrap(),
            header: [0x23; HEADER_LEN],
            identifier: (0..32).collect(),
            placeholders: 0,
            encrypted: 0,
            nonce: vec![9; algorithm.nonce_len()],
            additional: 0,
            unknown: None,
            behind: Vec::new(),
        }
    }

    pub(crate) fn cookie(&self, keyring: &Keyring) -> Vec<u8> {
        cookie::several(keyring, &self.keys, &mut Nonces::new([3; 16])).remove(0)
    }

    pub(crate) fn request(&self, cookie: &[u8]) -> Vec<u8> {
        let placeholder = field(field_type::COOKIE_PLACEHOLDER, &vec![0; cookie.len()]);
        let mut packet = self.header.to_vec();
        packet.extend(field(field_type::UNIQUE_IDENTIFIER, &self.identifier));
        packet.extend(field(field_type::COOKIE, cookie));
        packet.extend(placeholder.repeat(self.placeholders));
        if let Some(length) = self.unknown {
            packet.extend(field(0x9999, &vec![1; length.into()]));
        }
        let plaintext = placeholder.repeat(self.encrypted);
        let (c2s, _) = self.keys.bytes().split_at(self.keys.bytes().len() / 2);
        let sealed = sealed(c2s, &self.nonce, &packet, &plaintext);
        packet.extend(self.authenticator(&sealed));
        packet.extend(&self.behind);
        packet
    }

    pub(crate) fn authenticator(&self, sealed: &[u8]) -> Vec<u8> {
        let lengths =
            [self.nonce.len(), sealed.len()].map(|length| u16::try_from(length).unwrap().to_be_bytes());
        let mut value = lengths.concat();
        value.extend(padded(&self.nonce));
        value.extend(padded(sealed));
        value.extend(vec![0; self.additional]);
        field(field_type::AUTHENTICATOR, &value)
    }

    /// The cookies of a genuine reply; all else is as it should be.
    pub(crate) fn cookies(&self, reply: &[u8]) -> Vec<Vec<u8>> {
        let parts: Vec<_> = PacketParts::of_packet(reply).map(Result::unwrap).collect();
        let [PacketPart::Field(identifier), PacketPart::Field(authenticator)] = parts[..] else {
            panic!("{parts:?}");
        };
        assert_eq!(
            (identifier.kind, authenticator.kind),
            (field_type::UNIQUE_IDENTIFIER, field_type::AUTHENTICATOR)
        );
        assert_eq!(identifier.value, padded(&self.identifier));
        let sealed = Authenticator::parse(authenticator.value).unwrap();
        assert_eq!(sealed.nonce.len(), self.keys.algorithm().nonce_len());
        let (_, s2c) = self.keys.bytes().split_at(self.keys.bytes().len() / 2);
        let plaintext = opened(
            s2c,
            sealed.nonce,
            &reply[..authenticator.start],
            sealed.ciphertext,
        );
        let fields: Vec<_> = PacketParts::of_plaintext(&plaintext)
            .map(Result::unwrap)
            .collect();
        let cookie = |part| match part {
            PacketPart::Field(field) if field.kind == field_type::COOKIE => field.value.to_vec(),
            PacketPart::Field(_) | PacketPart::Mac(_) => panic!("{part:?}"),
        };
        fields.into_iter().map(cookie).collect()
    }
}

pub(crate) fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

pub(crate) fn field(kind: u16, value: &[u8]) -> Vec<u8> {
    let value = padded(value);
    let length = u16::try_from(value.len() + 4).unwrap();
    [&kind.to_be_bytes()[..], &length.to_be_bytes(), &value].concat()
}

pub(crate) fn sealed(key: &[u8], nonce: &[u8], associated: &[u8], text: &[u8]) -> Vec<u8> {
    if key.len() == 32 {
        let mut siv = Aes128Siv::new_from_slice(key).unwrap();
        return siv.encrypt([associated, nonce], text).unwrap();
    }
    let gcm = Aes128GcmSiv::new_from_slice(key).unwrap();
    let mut nonce = nonce.to_vec();
    nonce.resize(12, 0);
    let payload = Payload {
        msg: text,
        aad: associated,
    };
    gcm.encrypt(&aes_gcm_siv::Nonce::try_from(&nonce[..]).unwrap(), payload)
        .unwrap()
}

pub(crate) fn opened(key: &[u8], nonce: &[u8], associated: &[u8], sealed: &[u8]) -> Vec<u8> {
    if key.len() == 32 {
        let mut siv = Aes128Siv::new_from_slice(key).unwrap();
        return siv.decrypt([associated, nonce], sealed).unwrap();
    }
    let gcm = Aes128GcmSiv::new_from_slice(key).unwrap();
    let payload = Payload {
        msg: sealed,
        aad: associated,
    };
    gcm.decrypt(&aes_gcm_siv::Nonce::try_from(nonce).unwrap(), payload)
        .unwrap()
}
