//! Pure. The keys that cookies are sealed with, derived from a secret and the number of a period.
//!
//! Servers with the same secret open each other's cookies without any exchange, and a restart needs no memory.

use std::fmt;
use std::time::Duration;

use arrayvec::ArrayVec;
use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::aead::{BATCH, Halves, ReadySivCmac};

/// Most secrets that are known at once: the newest, and the one before it.
pub const SECRETS: usize = 2;

/// The secret that all cookie keys are derived from: 32 random bytes, which servers may share.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 32]);

impl Secret {
    /// From the bytes, as they come from a file or from the system's randomness.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The source of the keys (RFC 5869).
    fn derivation(&self) -> Hkdf<Sha256> {
        Hkdf::new(None, &self.0)
    }
}

/// Takes the same time whichever bytes differ.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

/// Says nothing of the secret.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The number of a period, of 24 bits.
///
/// With periods of an hour the numbers begin again after 1900 years, with longer ones later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period(u32);

impl Period {
    const BITS: u32 = 24;

    /// The period at a time since 1970, if one lasts `rotate` (at least a second).
    pub fn at(unix_time: Duration, rotate: Duration) -> Self {
        let number = unix_time.as_secs() / rotate.as_secs().max(1);
        let [.., a, b, c] = number.to_be_bytes();
        Self(u32::from_be_bytes([0, a, b, c]))
    }

    /// Its number.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The number of periods by which `earlier` is before this one: negative if it is later.
    pub const fn age_of(self, earlier: Self) -> i32 {
        // The upper bits, so that the sign is right.
        let unused = u32::BITS - Self::BITS;
        (self.0.wrapping_sub(earlier.0) << unused).cast_signed() >> unused
    }
}

/// The name of a cookie key, as a cookie begins with: eight bits of the secret, 24 of the period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyName {
    secret: u8,
    period: Period,
}

impl KeyName {
    /// Length in bytes.
    pub const LEN: usize = 4;

    /// From a cookie's first bytes.
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        let [secret, a, b, c] = bytes;
        Self {
            secret,
            period: Period(u32::from_be_bytes([0, a, b, c])),
        }
    }

    /// A cookie's first bytes.
    pub const fn to_bytes(self) -> [u8; 4] {
        let [_, a, b, c] = self.period.0.to_be_bytes();
        [self.secret, a, b, c]
    }

    /// The period that it names.
    pub const fn period(self) -> Period {
        self.period
    }
}

/// A key of cookies and its name.
#[derive(Debug)]
pub struct CookieKey {
    name: KeyName,
    key: ReadySivCmac,
}

impl CookieKey {
    /// Its name.
    pub const fn name(&self) -> KeyName {
        self.name
    }

    /// The key itself: the name is authenticated with it.
    pub const fn key(&self) -> &ReadySivCmac {
        &self.key
    }
}

/// Whether the time that a period was counted by is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// Upstreams agree on it: cookies of other periods than the last ones and the next are not accepted.
    Vouched,
    /// Unknown: cookies of any period are accepted, so that a host with a wrong clock refuses no client.
    Unknown,
}

/// The reason why there is no keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyringFault {
    /// There is no secret.
    NoSecret,
    /// There are more than [`SECRETS`].
    TooMany,
    /// Two secrets can't be told apart by the eight bits in a cookie (or are the same): another one has to be made.
    Alike,
}

/// All keys that cookies are opened and sealed with in one period. A new one is made for the next.
pub struct Keyring {
    secrets: Vec<SecretKeys>,
    period: Period,
    keep: u32,
    time: Time,
}

struct SecretKeys {
    tag: u8,
    derivation: Hkdf<Sha256>,
    /// Of `keep` periods before this one, this one, and the next.
    ready: Vec<CookieKey>,
}

impl Keyring {
    /// The keys in `period`, of `secrets`, the newest first.
    ///
    /// Cookies of the last `keep` periods are accepted, and of the next: another server's clock may be ahead.
    ///
    /// # Errors
    /// See [`KeyringFault`].
    pub fn new(secrets: &[Secret], period: Period, keep: u32, time: Time) -> Result<Self, KeyringFault> {
        if secrets.is_empty() {
            return Err(KeyringFault::NoSecret);
        }
        if secrets.len() > SECRETS {
            return Err(KeyringFault::TooMany);
        }
        let secrets: Vec<_> = secrets
            .iter()
            .map(|secret| SecretKeys::new(secret, period, keep))
            .collect();
        match secrets.as_slice() {
            [one, other] if one.tag == other.tag => Err(KeyringFault::Alike),
            _ => Ok(Self {
                secrets,
                period,
                keep,
                time,
            }),
        }
    }

    /// The period that it was made in.
    pub const fn period(&self) -> Period {
        self.period
    }

    /// The key that new cookies are sealed with: of the newest secret, in this period.
    pub fn current(&self) -> Option<&CookieKey> {
        self.secrets.first()?.ready.get(usize::try_from(self.keep).ok()?)
    }

    /// The key of a name, if it is of the last periods, this one or the next; or among `derived`.
    pub fn find<'a>(&'a self, name: KeyName, derived: &'a [CookieKey]) -> Option<&'a CookieKey> {
        let ready = self.ready(name);
        ready.or_else(|| derived.iter().find(|key| key.name == name))
    }

    /// Derives into `derived` the keys of `names` that are accepted, and that [`Self::find`] would not find.
    ///
    /// These are, while the time is unknown, the keys of all periods of a known secret. At most as many are derived as
    /// there is room for.
    pub fn derive(&self, names: impl IntoIterator<Item = KeyName>, derived: &mut ArrayVec<CookieKey, BATCH>) {
        if self.time == Time::Vouched {
            return;
        }
        for name in names {
            let secret = self.secrets.iter().find(|secret| secret.tag == name.secret);
            if let Some(secret) = secret
                && self.find(name, derived).is_none()
                && !derived.is_full()
            {
                derived.push(secret.derive(name.period));
            }
        }
    }

    /// The name of the key that the cookies of a reply are sealed with, if those of the request were with `opened`.
    ///
    /// It is the current one; and while the time is unknown that of the same period, as other servers know that one. The
    /// secret is the first one in any case, so that a secret that is replaced comes to an end.
    pub fn renewed(&self, opened: KeyName) -> KeyName {
        match (self.time, self.current()) {
            (Time::Vouched, Some(current)) => current.name,
            (Time::Unknown, Some(current)) => KeyName {
                secret: current.name.secret,
                period: opened.period,
            },
            (Time::Vouched | Time::Unknown, None) => opened,
        }
    }

    fn ready(&self, name: KeyName) -> Option<&CookieKey> {
        let secret = self.secrets.iter().find(|secret| secret.tag == name.secret)?;
        let place = i64::from(self.keep) - i64::from(self.period.age_of(name.period));
        secret.ready.get(usize::try_from(place).ok()?)
    }
}

/// Says nothing of the keys.
impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("secrets", &self.secrets.len())
            .field("period", &self.period)
            .field("time", &self.time)
            .finish_non_exhaustive()
    }
}

impl SecretKeys {
    fn new(secret: &Secret, now: Period, keep: u32) -> Self {
        let derivation = secret.derivation();
        let mut tag = [0];
        expand(&derivation, &[b"ntpfront tag"], &mut tag);
        let [tag] = tag;
        let mut keys = Self {
            tag,
            derivation,
            ready: Vec::new(),
        };
        let first = now.0.wrapping_sub(keep);
        let periods = (0..keep.saturating_add(2)).map(|number| {
            let [_, a, b, c] = first.wrapping_add(number).to_be_bytes();
            Period(u32::from_be_bytes([0, a, b, c]))
        });
        keys.ready = periods.map(|period| keys.derive(period)).collect();
        keys
    }

    fn derive(&self, period: Period) -> CookieKey {
        let mut key: Zeroizing<Halves> = Zeroizing::default();
        let number = period.0.to_be_bytes();
        expand(
            &self.derivation,
            &[b"ntpfront cookie 1", &number],
            key.as_flattened_mut(),
        );
        let name = KeyName {
            secret: self.tag,
            period,
        };
        CookieKey {
            name,
            key: ReadySivCmac::new(&key, &name.to_bytes()),
        }
    }
}

fn expand(derivation: &Hkdf<Sha256>, info: &[&[u8]], key: &mut [u8]) {
    let expanded = derivation.expand_multi_info(info, key);
    debug_assert!(expanded.is_ok(), "only more than 8160 bytes would be too many");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn secret(number: u8) -> Secret {
        Secret::new([number; 32])
    }

    fn keyring(secrets: &[Secret], period: u32, time: Time) -> Keyring {
        Keyring::new(secrets, Period(period), 7, time).unwrap()
    }

    fn name_in(keyring: &Keyring, period: u32) -> KeyName {
        let name = keyring.current().unwrap().name();
        KeyName {
            period: Period(period),
            ..name
        }
    }

    #[test]
    fn periods() {
        let at = |seconds, rotate| Period::at(Duration::from_secs(seconds), rotate);
        assert_eq!(at(0, DAY), Period(0));
        assert_eq!(at(86_399, DAY), Period(0));
        assert_eq!(at(86_400, DAY), Period(1));
        assert_eq!(at(1_795_000_000, DAY), Period(20_775));
        assert_eq!(at(5, Duration::ZERO), Period(5));
        // After 2^24 they begin again.
        assert_eq!(at((1 << 24) * 86_400, DAY), Period(0));
        assert_eq!(at(u64::MAX, Duration::from_secs(1)), Period(0xFF_FFFF));
        for (now, earlier, age) in [
            (5, 5, 0),
            (5, 3, 2),
            (3, 5, -2),
            (0, 0xFF_FFFF, 1),
            (0xFF_FFFF, 0, -1),
            (0x80_0000, 0, -0x80_0000),
        ] {
            assert_eq!(Period(now).age_of(Period(earlier)), age, "{now} - {earlier}");
        }
    }

    #[test]
    fn names_survive_and_say_the_period_in_the_clear() {
        let name = KeyName::from_bytes([7, 0, 0x51, 0x27]);
        assert_eq!(name.period(), Period(20_775));
        assert_eq!(name.to_bytes(), [7, 0, 0x51, 0x27]);
    }

    /// The window, by hand, with the end of the numbers in it, too.
    #[test]
    fn the_last_periods_and_the_next_are_accepted() {
        for now in [0, 1, 7, 20_775, 0xFF_FFFE, 0xFF_FFFF] {
            let ring = keyring(&[secret(1)], now, Time::Vouched);
            for (offset, accepted) in [
                (-8, false),
                (-7, true),
                (-1, true),
                (0, true),
                (1, true),
                (2, false),
            ] {
                let period = now.wrapping_add_signed(offset) & 0xFF_FFFF;
                let name = name_in(&ring, period);
                let mut derived = ArrayVec::new();
                ring.derive([name], &mut derived);
                let found = ring.find(name, &derived).map(CookieKey::name);
                assert_eq!(found, accepted.then_some(name), "{now} {offset}");
            }
            assert_eq!(ring.current().unwrap().name().period(), Period(now));
        }
    }

    #[test]
    fn while_the_time_is_unknown_any_period_of_a_known_secret_is_accepted() {
        let ring = keyring(&[secret(1)], 0, Time::Unknown);
        let right = keyring(&[secret(1)], 20_775, Time::Vouched);
        let name = right.current().unwrap().name();
        let stranger = keyring(&[secret(2)], 20_775, Time::Vouched);
        let alien = stranger.current().unwrap().name();
        let mut derived = ArrayVec::new();
        ring.derive([name, alien, name, name_in(&ring, 1)], &mut derived);
        assert_eq!(derived.iter().map(CookieKey::name).collect::<Vec<_>>(), [name]);
        assert_eq!(ring.find(name, &derived).map(CookieKey::name), Some(name));
        assert!(ring.find(alien, &derived).is_none());
        // What it seals, the others know.
        assert_eq!(ring.renewed(name), name);
        assert_eq!(right.renewed(name_in(&right, 20_774)), name);
        // A secret that is replaced comes to an end all the same: the newest one seals, in the period of the cookie.
        let rolled = keyring(&[secret(2), secret(1)], 0, Time::Unknown);
        let renewed = rolled.renewed(name);
        assert_eq!(renewed, alien);
        let mut of_rolled = ArrayVec::new();
        rolled.derive([renewed], &mut of_rolled);
        assert!(rolled.find(renewed, &of_rolled).is_some());
        // Nobody makes it derive more than a batch.
        ring.derive((100..200).map(|period| name_in(&ring, period)), &mut derived);
        assert_eq!(derived.len(), BATCH);
    }

    #[test]
    fn two_secrets_and_no_more() {
        let ring = |secrets: &[Secret]| Keyring::new(secrets, Period(9), 7, Time::Vouched).map(|_| ());
        assert_eq!(ring(&[]), Err(KeyringFault::NoSecret));
        assert_eq!(ring(&[secret(1)]), Ok(()));
        assert_eq!(ring(&[secret(1), secret(2)]), Ok(()));
        assert_eq!(ring(&[secret(1), secret(1)]), Err(KeyringFault::Alike));
        assert_eq!(
            ring(&[secret(1), secret(2), secret(3)]),
            Err(KeyringFault::TooMany)
        );
        let both = keyring(&[secret(2), secret(1)], 9, Time::Vouched);
        let old = keyring(&[secret(1)], 9, Time::Vouched);
        let new = keyring(&[secret(2)], 9, Time::Vouched);
        assert_eq!(both.current().unwrap().name(), new.current().unwrap().name());
        assert!(both.find(old.current().unwrap().name(), &[]).is_some());
        assert!(new.find(old.current().unwrap().name(), &[]).is_none());
    }

    #[test]
    fn printed_nothing_says_a_secret() {
        let ring = keyring(&[secret(0xAB)], 9, Time::Vouched);
        let printed = format!("{:?} {:?} {:?}", secret(0xAB), ring, ring.current());
        assert!(
            !printed.contains("171") && !printed.to_lowercase().contains("ab,"),
            "{printed}"
        );
    }

    /// The derivation never changes: an update must not refuse the cookies of the version before.
    #[test]
    fn derivation_is_for_ever() {
        let ring = keyring(&[secret(1)], 20_775, Time::Vouched);
        let key = ring.current().unwrap();
        assert_eq!(key.name().to_bytes(), NAME_FOR_EVER);
        let mut text = [0; 4];
        let mut job = [crate::nts::aead::Job {
            key: key.key(),
            nonce: &[0; 16],
            text: &mut text,
            tag: [0; 16],
        }];
        assert!(crate::nts::aead::JobKey::seal(&mut job));
        assert_eq!(
            (job[0].tag[..4].to_vec(), text),
            (TAG_FOR_EVER.to_vec(), TEXT_FOR_EVER)
        );
    }

    /// Also what other implementations of HKDF and of AES-SIV make of it.
    const NAME_FOR_EVER: [u8; 4] = [131, 0, 0x51, 0x27];
    const TAG_FOR_EVER: [u8; 4] = [189, 33, 95, 103];
    const TEXT_FOR_EVER: [u8; 4] = [47, 149, 208, 219];

    proptest! {
        /// Servers with the same secret whose clocks differ by less than a period.
        #[test]
        fn servers_understand_each_other(seconds in 0_u64..4_000_000_000, ahead in 0_u64..86_400) {
            let at = |seconds| {
                let period = Period::at(Duration::from_secs(seconds), DAY);
                Keyring::new(&[secret(3)], period, 1, Time::Vouched).unwrap()
            };
            let (one, other) = (at(seconds), at(seconds + ahead));
            prop_assert!(one.find(other.current().unwrap().name(), &[]).is_some());
            prop_assert!(other.find(one.current().unwrap().name(), &[]).is_some());
        }
    }
}
