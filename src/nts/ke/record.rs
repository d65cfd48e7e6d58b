//! Pure. The records that a message of key establishment is made of (RFC 8915 §4.1).

/// Longest message that is read, in bytes. (TLS gives it in pieces; what comes after its end is not waited for.)
pub const LONGEST_MESSAGE: usize = 4096;

/// Most records of a message that is read.
pub const MOST_RECORDS: usize = 64;

/// Length of a record's head, in bytes.
const HEAD_LEN: usize = 4;

/// The types of records, without the critical bit, as IANA numbers them.
pub mod record_type {
    /// Nothing follows (§4.1.1).
    pub const END: u16 = 0;
    /// The protocols that are protected with the keys (§4.1.2).
    pub const NEXT_PROTOCOL: u16 = 1;
    /// The server refuses (§4.1.3).
    pub const ERROR: u16 = 2;
    /// The server has doubts (§4.1.4).
    pub const WARNING: u16 = 3;
    /// Of which AEAD the keys are (§4.1.5).
    pub const AEAD: u16 = 4;
    /// A cookie for NTPv4 (§4.1.6).
    pub const COOKIE: u16 = 5;
    /// The name or address of the NTP server (§4.1.7).
    pub const SERVER: u16 = 6;
    /// Its port (§4.1.8).
    pub const PORT: u16 = 7;
    /// Both sides export the keys of AEAD 30 as the RFC has it (chrony's; not of the RFC).
    pub const COMPLIANT_GCM_SIV: u16 = 1024;
}

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Whether a receiver that does not know its type must not go on.
    pub is_critical: bool,
    /// The type: one of [`record_type`], or unknown: 0 to 32,767.
    pub kind: u16,
    /// Its content.
    pub body: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads the first record of `bytes`, and gives what follows it; `None` if it is not whole.
    //= RFC 8915 §4.1 format
    pub fn parse(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (head, rest) = bytes.split_first_chunk::<HEAD_LEN>()?;
        let [kind_high, kind_low, length_high, length_low] = *head;
        let kind = u16::from_be_bytes([kind_high, kind_low]);
        let length = u16::from_be_bytes([length_high, length_low]);
        let (body, rest) = rest.split_at_checked(length.into())?;
        let record = Self {
            is_critical: kind & CRITICAL != 0,
            kind: kind & !CRITICAL,
            body,
        };
        Some((record, rest))
    }

    /// The body as numbers of 16 bits; `None` if it has an odd length.
    pub fn numbers(&self) -> Option<impl Iterator<Item = u16> + use<'a>> {
        let (numbers, rest) = self.body.as_chunks();
        rest.is_empty()
            .then(|| numbers.iter().map(|number| u16::from_be_bytes(*number)))
    }

    /// The body as one number of 16 bits.
    pub fn number(&self) -> Option<u16> {
        self.body.try_into().ok().map(u16::from_be_bytes)
    }
}

const CRITICAL: u16 = 0x8000;

/// The reason why bytes will never be a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageFault {
    /// The bytes are more than [`LONGEST_MESSAGE`], or more records than [`MOST_RECORDS`].
    TooLong,
    /// Its end is not critical, or says something.
    End,
    /// Something follows its end.
    Behind,
}

/// The records of a whole message, without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a>(&'a [u8]);

impl<'a> Message<'a> {
    /// Reads what has come so far; `None` if it is good, and more has to come.
    ///
    /// # Errors
    /// See [`MessageFault`].
    //= RFC 8915 §4.1.1 end
    pub fn read(bytes: &'a [u8]) -> Result<Option<Self>, MessageFault> {
        if bytes.len() > LONGEST_MESSAGE {
            return Err(MessageFault::TooLong);
        }
        let mut rest = bytes;
        for _ in 0..MOST_RECORDS {
            let Some((record, behind)) = Record::parse(rest) else {
                return announced(rest, bytes.len());
            };
            if record.kind == record_type::END {
                return match (record.is_critical, record.body, behind) {
                    (true, [], []) => {
                        let (records, _) = bytes.split_at(bytes.len() - rest.len());
                        Ok(Some(Self(records)))
                    }
                    (true, [], _) => Err(MessageFault::Behind),
                    _ => Err(MessageFault::End),
                };
            }
            rest = behind;
        }
        Err(MessageFault::TooLong)
    }

    /// The records.
    pub fn records(self) -> impl Iterator<Item = Record<'a>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (record, behind) = Record::parse(rest)?;
            rest = behind;
            Some(record)
        })
    }
}

/// More has to come, unless what is announced is too much.
fn announced(rest: &[u8], length: usize) -> Result<Option<Message<'_>>, MessageFault> {
    let body = match rest {
        [_, _, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
        _ => 0,
    };
    if length - rest.len() + HEAD_LEN + body > LONGEST_MESSAGE {
        return Err(MessageFault::TooLong);
    }
    Ok(None)
}

/// Writes messages.
#[derive(Debug, Default)]
pub struct MessageWriter(Vec<u8>);

impl MessageWriter {
    /// Adds a record. A body of more than 65,535 bytes is cut: we make none.
    //= RFC 8915 §4.1 format
    pub fn push(&mut self, is_critical: bool, kind: u16, body: &[u8]) {
        let kind = if is_critical { kind | CRITICAL } else { kind };
        let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
        self.0.extend(kind.to_be_bytes());
        self.0.extend(length.to_be_bytes());
        self.0.extend(body.iter().take(length.into()));
    }

    /// Adds a record of numbers.
    pub fn push_numbers(&mut self, is_critical: bool, kind: u16, numbers: impl IntoIterator<Item = u16>) {
        let body: Vec<u8> = numbers.into_iter().flat_map(u16::to_be_bytes).collect();
        self.push(is_critical, kind, &body);
    }

    /// Ends the message.
    //= RFC 8915 §4.1.1 end
    pub fn end(mut self) -> Vec<u8> {
        self.push(true, record_type::END, &[]);
        self.0
    }
}
