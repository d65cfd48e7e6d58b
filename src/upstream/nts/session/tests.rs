//! Pure. Tests of a session, against a server that is played with the pure server's side.

use super::*;

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::nts::keyring::{Keyring, Period, Secret, Time};
use crate::nts::server::{self, NtsReply, NtsRequest};
use crate::nts::{MOST_COOKIES, Nonces, cookie};

const HEADER: [u8; HEADER_LEN] = [0x23; HEADER_LEN];
const DAY: Duration = Duration::from_secs(86_400);

fn keyring(secret: u8) -> Keyring {
    let period = Period::at(DAY * 20_000, DAY);
    Keyring::new(&[Secret::new([secret; 32])], period, 7, Time::Vouched).unwrap()
}

fn keys(algorithm: Algorithm, fill: u8) -> AssociationKeys {
    AssociationKeys::of(&vec![fill; 2 * algorithm.key_len()]).unwrap()
}

fn session(algorithm: Algorithm, ring: &Keyring, other: Option<AssociationKeys>) -> NtsSession {
    let keys = keys(algorithm, 1);
    // The cookies have the right keys: those of the other way, if there are two.
    let right = other.as_ref().unwrap_or(&keys);
    let established = EstablishedKeys {
        cookies: cookie::several(ring, right, &mut Nonces::new([2; 16])),
        keys,
        other,
        unchecked: None,
        not_after: 0,
    };
    NtsSession::new(established, Duration::ZERO, 28 * DAY, 0)
}

fn entropy(number: u64) -> QuestionEntropy {
    let mut identifier = [0; IDENTIFIER_LEN];
    identifier[..8].copy_from_slice(&number.to_be_bytes());
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&number.to_be_bytes());
    QuestionEntropy { identifier, nonce }
}

/// A question of a session, and the packet.
fn asked(session: &mut NtsSession, number: u64) -> Option<(PendingQuestion, Vec<u8>)> {
    let mut buffer = [0; LONGEST_QUESTION];
    let (pending, length) = session.ask(HEADER, &entropy(number), &mut buffer)?;
    Some((pending, buffer[..length].to_vec()))
}

/// Returns the answer of a server with this keyring: a reply, or a NAK.
fn answer(ring: &Keyring, question: &[u8]) -> Vec<u8> {
    let request = NtsRequest::parse(question).unwrap().unwrap();
    // Another one for each question.
    let seed = *request.identifier().first_chunk().unwrap();
    let mut buffer = vec![0; question.len()];
    let mut header = [0x24; HEADER_LEN];
    let length = match server::open(ring, &[request]).pop().unwrap() {
        Ok(opened) => {
            let mut replies = [NtsReply {
                request: &request,
                opened: &opened,
                header,
                buffer: &mut buffer,
            }];
            server::seal(ring, &mut Nonces::new(seed), &mut replies)[0].unwrap()
        }
        Err(_) => {
            header[1] = 0;
            header[12..16].copy_from_slice(b"NTSN");
            server::nak(&request, &header, &mut buffer).unwrap()
        }
    };
    buffer.truncate(length);
    buffer
}

/// Makes an exchange with a server: whether a genuine reply came, and whether the keys are still good.
fn exchange(session: &mut NtsSession, ring: &Keyring, number: u64) -> (bool, Result<(), KeFault>) {
    let (mut pending, question) = asked(session, number).unwrap();
    match session.open(&mut pending, &answer(ring, &question)) {
        Ok(()) => (true, Ok(())),
        Err(_) => (false, session.lost(&pending)),
    }
}

fn lose(session: &mut NtsSession, number: u64) -> bool {
    let (pending, question) = asked(session, number).unwrap();
    session.lost(&pending).unwrap();
    question.len() > 300
}

#[test]
fn the_jar_is_filled_up_by_one_exchange() {
    for algorithm in Algorithm::ALL {
        let ring = keyring(1);
        let mut session = session(algorithm, &ring, None);
        for lost in [0, 1, 2, 5] {
            (0..lost).for_each(|number| {
                lose(&mut session, number);
                session.long_losses = 0;
            });
            assert_eq!(session.cookies(), MOST_COOKIES - usize::try_from(lost).unwrap());
            assert_eq!(exchange(&mut session, &ring, 99), (true, Ok(())));
            assert_eq!(session.cookies(), MOST_COOKIES);
        }
    }
}

#[test]
fn after_eight_losses_there_is_nothing_to_ask_with() {
    let ring = keyring(1);
    let mut session = session(Algorithm::SivCmac256, &ring, None);
    let lengths: Vec<bool> = (0..8).map(|number| lose(&mut session, number)).collect();
    // The first asks for one cookie; the next two for more, and the rest for one again.
    assert_eq!(lengths, [false, true, true, false, false, false, false, false]);
    assert!(asked(&mut session, 9).is_none());
}

//= RFC 8915 §5.7 nak-wait
#[test]
fn two_naks_in_a_row_end_the_keys() {
    let (ring, another) = (keyring(1), keyring(2));
    let mut session = session(Algorithm::SivCmac256, &ring, None);
    assert_eq!(exchange(&mut session, &another, 1), (false, Ok(())));
    // A genuine reply between them.
    assert_eq!(exchange(&mut session, &ring, 2), (true, Ok(())));
    assert_eq!(exchange(&mut session, &another, 3), (false, Ok(())));
    // A loss between them.
    lose(&mut session, 4);
    assert_eq!(exchange(&mut session, &another, 5), (false, Ok(())));
    assert_eq!(exchange(&mut session, &another, 6), (false, Err(KeFault::Nak)));
}

//= RFC 8915 §5.7 nak-wait
#[test]
fn a_nak_before_the_genuine_reply_counts_for_nothing() {
    let (ring, another) = (keyring(1), keyring(2));
    let mut session = session(Algorithm::SivCmac256, &ring, None);
    for number in 0..10 {
        let (mut pending, question) = asked(&mut session, number).unwrap();
        assert_eq!(
            session.open(&mut pending, &answer(&another, &question)),
            Err(ReplyFault::Nak)
        );
        assert_eq!(session.open(&mut pending, &answer(&ring, &question)), Ok(()));
    }
    assert_eq!(session.naks, 0);
}

#[test]
fn a_nak_to_another_question_counts_for_nothing() {
    let (ring, another) = (keyring(1), keyring(2));
    let mut session = session(Algorithm::SivCmac256, &ring, None);
    let (_, old) = asked(&mut session, 1).unwrap();
    for number in 2..6 {
        let (mut pending, _) = asked(&mut session, number).unwrap();
        assert_eq!(
            session.open(&mut pending, &answer(&another, &old)),
            Err(ReplyFault::Identifier)
        );
        assert_eq!(session.lost(&pending), Ok(()));
    }
}

#[test]
fn keys_of_the_other_way_are_tried_once() {
    let ring = keyring(1);
    let right = keys(Algorithm::GcmSiv128, 2);
    let mut session = self::session(Algorithm::GcmSiv128, &ring, Some(right));
    // The server finds the authenticator wrong, then right.
    assert_eq!(exchange(&mut session, &ring, 1), (false, Ok(())));
    assert_eq!(exchange(&mut session, &ring, 2), (true, Ok(())));
    // After a genuine reply, or after the other way was tried, only two NAKs are left.
    let another = keyring(2);
    assert_eq!(exchange(&mut session, &another, 3), (false, Ok(())));
    assert_eq!(exchange(&mut session, &another, 4), (false, Err(KeFault::Nak)));
    let mut session = self::session(Algorithm::GcmSiv128, &ring, Some(keys(Algorithm::GcmSiv128, 3)));
    let ends: Vec<_> = (0..3)
        .map(|number| exchange(&mut session, &another, number).1)
        .collect();
    assert_eq!(ends, [Ok(()), Ok(()), Err(KeFault::Nak)]);
}

/// A way that drops long packets: chrony users met it, and providers filter port 123 by size.
#[test]
fn long_questions_that_are_lost_give_way_to_short_ones_and_are_tried_again() {
    let ring = keyring(1);
    let mut session = session(Algorithm::SivCmac256, &ring, None);
    let (mut long, mut genuine) = (Vec::new(), 0);
    for number in 0..60 {
        let (mut pending, question) = asked(&mut session, number).unwrap();
        if question.len() > 300 || number == 0 {
            long.push(number);
            session.lost(&pending).unwrap();
        } else {
            assert_eq!(session.open(&mut pending, &answer(&ring, &question)), Ok(()));
            genuine += 1;
        }
    }
    // Two at first, then one after each 16 replies.
    assert_eq!((long, genuine), (vec![0, 1, 2, 19, 36, 53], 54));
}

#[test]
fn new_keys_are_due_in_time() {
    let ring = keyring(1);
    let session = session(Algorithm::SivCmac256, &ring, None);
    assert!(!session.is_old(28 * DAY - Duration::from_secs(1)) && session.is_old(28 * DAY));
    let established = |random| {
        let established = EstablishedKeys {
            keys: keys(Algorithm::SivCmac256, 1),
            other: None,
            cookies: Vec::new(),
            unchecked: None,
            not_after: 0,
        };
        NtsSession::new(established, DAY, 8 * DAY, random).refresh_at
    };
    assert_eq!((established(0), established(1024)), (9 * DAY, 9 * DAY));
    assert!((8 * DAY..9 * DAY).contains(&established(1023)));
}

proptest! {
    /// No cookie is sent twice, and keys end only by two NAKs without a genuine reply between them.
    #[test]
    fn any_history(steps in prop::collection::vec(0_u8..4, 0..60), short: bool) {
        let (ring, another) = (keyring(1), keyring(2));
        let algorithm = if short { Algorithm::GcmSiv128 } else { Algorithm::SivCmac256 };
        let mut session = session(algorithm, &ring, None);
        let (mut sent, mut naks) = (BTreeSet::new(), 0);
        for (number, step) in (0..).zip(steps) {
            let before = session.cookies();
            let Some((mut pending, question)) = asked(&mut session, number) else {
                prop_assert_eq!(before, 0);
                break;
            };
            prop_assert!(question.len() <= LONGEST_QUESTION);
            prop_assert!(sent.insert(NtsRequest::parse(&question).unwrap().unwrap().cookie().to_vec()));
            if step & 1 != 0 {
                let _ = session.open(&mut pending, &answer(&another, &question));
            }
            if step & 2 != 0 {
                prop_assert_eq!(session.open(&mut pending, &answer(&ring, &question)), Ok(()));
                prop_assert!(session.cookies() >= before);
                naks = 0;
                continue;
            }
            naks = if step & 1 != 0 { naks + 1 } else { 0 };
            let ended = session.lost(&pending);
            prop_assert_eq!(ended.is_err(), naks == 2);
            if naks == 2 {
                break;
            }
        }
    }
}
