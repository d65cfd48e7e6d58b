//! Pure. The reply to one request, which is never longer than it.

use crate::wire::{HEADER_LEN, Header};

/// The room for a reply, and the count of its bytes that are written.
///
/// Its capacity is the length of the request, so this server can't be used to amplify.
#[derive(Debug)]
pub struct ReplyBuffer<'a> {
    bytes: &'a mut [u8],
    length: usize,
}

impl<'a> ReplyBuffer<'a> {
    /// An empty one that may be written up to the end of `bytes`: as many as the request has, or fewer.
    pub const fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, length: 0 }
    }

    /// The most bytes that the whole reply may have.
    pub const fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// The count of bytes that are written.
    pub const fn length(&self) -> usize {
        self.length
    }

    /// The reply, as far as it is written.
    pub fn written(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Makes it empty.
    pub const fn clear(&mut self) {
        self.length = 0;
    }

    /// Adds `bytes` behind what is written, and returns whether there was room for them.
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        let end = self.length + bytes.len();
        let place = self.bytes.get_mut(self.length..end);
        let has_room = place.is_some();
        place.into_iter().for_each(|place| place.copy_from_slice(bytes));
        if has_room {
            self.length = end;
        }
        has_room
    }

    /// Begins the reply with `header`, in the place of all that was written before.
    ///
    /// Without room for it nothing is written.
    pub fn begin(&mut self, header: &Header) {
        self.length = 0;
        if let Some(place) = self.bytes.first_chunk_mut::<HEADER_LEN>() {
            *place = header.to_bytes();
            self.length = HEADER_LEN;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_was_begun_and_nothing_without_room() {
        for room in [0, 1, HEADER_LEN - 1, HEADER_LEN, HEADER_LEN + 1, 1024] {
            let header = Header::parse(&[0x24; HEADER_LEN]).unwrap();
            let mut bytes = vec![0xAA; room];
            let mut reply = ReplyBuffer::new(&mut bytes);
            assert_eq!((reply.capacity(), reply.written()), (room, &[][..]));
            reply.begin(&header);
            let written = if room < HEADER_LEN { 0 } else { HEADER_LEN };
            assert_eq!(reply.length(), written, "{room}");
            assert_eq!(reply.written(), &[0x24; HEADER_LEN][..written], "{room}");
            assert!(bytes.iter().skip(written).all(|byte| *byte == 0xAA), "{room}");
        }
    }

    #[test]
    fn what_has_no_room_is_not_added_at_all() {
        for (room, added) in [(47, true), (48, false), (57, false), (58, true), (59, true)] {
            let mut bytes = vec![0xAA; room];
            let mut reply = ReplyBuffer::new(&mut bytes);
            reply.begin(&Header::parse(&[0x24; HEADER_LEN]).unwrap());
            let before = reply.length();
            assert_eq!(reply.append(&[1; 10]), added, "{room}");
            let length = if added { before + 10 } else { before };
            assert_eq!(reply.length(), length, "{room}");
        }
    }
}
