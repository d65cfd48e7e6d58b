//! Pure. Texts that are sealed or opened together, each under the keys of an association.

use arrayvec::ArrayVec;

use super::AssociationKeys;
use super::aead::{Algorithm, BATCH, GcmSiv, Job, JobKey, SivCmac, TAG_LEN};

/// Whose key of an association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    Server,
}

impl Sender {
    const fn key<K>(self, [client, server]: &[K; 2]) -> &K {
        match self {
            Self::Client => client,
            Self::Server => server,
        }
    }
}

/// A text, and what goes with it. Not to be printed: the text may be keys.
pub(super) struct JobText<'a> {
    /// The bytes that are authenticated beside the text.
    pub(super) associated: &'a [u8],
    pub(super) nonce: &'a [u8],
    /// As in [`Job`].
    pub(super) text: &'a mut [u8],
    pub(super) tag: [u8; TAG_LEN],
}

/// At most [`BATCH`] texts for both AEADs, each with the place of its result.
pub(super) struct Jobs<'a, P> {
    siv: ArrayVec<Job<'a, SivCmac<'a>>, BATCH>,
    siv_places: ArrayVec<P, BATCH>,
    gcm_siv: ArrayVec<Job<'a, GcmSiv<'a>>, BATCH>,
    gcm_siv_places: ArrayVec<P, BATCH>,
}

impl<'a, P> Jobs<'a, P> {
    #[inline]
    pub(super) fn new() -> Self {
        Self {
            siv: ArrayVec::new(),
            siv_places: ArrayVec::new(),
            gcm_siv: ArrayVec::new(),
            gcm_siv_places: ArrayVec::new(),
        }
    }

    /// Adds a text under the key of its sender.
    #[inline]
    pub(super) fn push(&mut self, keys: &'a AssociationKeys, sender: Sender, text: JobText<'a>, place: P) {
        let JobText {
            associated,
            nonce,
            text,
            tag,
        } = text;
        match keys {
            AssociationKeys::SivCmac256(keys) => {
                let key = SivCmac {
                    key: sender.key(keys),
                    associated,
                };
                self.siv.push(Job {
                    key,
                    nonce,
                    text,
                    tag,
                });
                self.siv_places.push(place);
            }
            AssociationKeys::GcmSiv128(keys) => {
                let key = GcmSiv {
                    key: sender.key(keys),
                    associated,
                };
                self.gcm_siv.push(Job {
                    key,
                    nonce,
                    text,
                    tag,
                });
                self.gcm_siv_places.push(place);
            }
        }
    }

    /// Opens all, and tells of each place whether its text is genuine.
    #[inline]
    pub(super) fn open(mut self, mut put: impl FnMut(P, bool)) {
        let siv = JobKey::open(&mut self.siv);
        let gcm_siv = JobKey::open(&mut self.gcm_siv);
        let siv = self.siv_places.into_iter().zip(siv);
        let gcm_siv = self.gcm_siv_places.into_iter().zip(gcm_siv);
        siv.chain(gcm_siv)
            .for_each(|(place, genuine)| put(place, genuine));
    }

    /// Seals all, and gives each place its tag; false if a nonce was of an impossible length.
    #[inline]
    pub(super) fn seal(mut self, mut put: impl FnMut(P, [u8; TAG_LEN])) -> bool {
        let done = JobKey::seal(&mut self.siv) && JobKey::seal(&mut self.gcm_siv);
        let siv = self.siv_places.into_iter().zip(&self.siv);
        siv.for_each(|(place, job)| put(place, job.tag));
        let gcm_siv = self.gcm_siv_places.into_iter().zip(&self.gcm_siv);
        gcm_siv.for_each(|(place, job)| put(place, job.tag));
        done
    }
}

/// Splits what an AEAD made into the tag and the encrypted text; `None` if it is shorter than a tag.
pub(super) fn split(algorithm: Algorithm, sealed: &[u8]) -> Option<([u8; TAG_LEN], &[u8])> {
    let (tag, text) = match algorithm {
        Algorithm::SivCmac256 => sealed.split_first_chunk()?,
        Algorithm::GcmSiv128 => {
            let (text, tag) = sealed.split_last_chunk()?;
            (tag, text)
        }
    };
    Some((*tag, text))
}
