//! Pure. Structures that the program and user space share: declared once, for Rust and for C.

/// A value as it is in memory that both sides share, in the host's byte order.
pub(in super::super) trait InMemory: Copy {
    /// All bytes 0.
    const ZERO: Self;

    /// Appends its bytes.
    fn put(&self, bytes: &mut Vec<u8>);

    /// Returns its words. A structure is made of whole ones.
    fn words(&self) -> Vec<u64> {
        let mut bytes = Vec::with_capacity(size_of::<Self>());
        self.put(&mut bytes);
        let (words, _) = bytes.as_chunks();
        words.iter().map(|word| u64::from_ne_bytes(*word)).collect()
    }
}

macro_rules! integers {
    ($($integer:ty)+) => {$(
        impl InMemory for $integer {
            const ZERO: Self = 0;

            fn put(&self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_ne_bytes());
            }
        }
    )+};
}

integers!(u8 u16 u32 u64);

impl<T: InMemory, const COUNT: usize> InMemory for [T; COUNT] {
    const ZERO: Self = [T::ZERO; COUNT];

    fn put(&self, bytes: &mut Vec<u8>) {
        self.iter().for_each(|one| one.put(bytes));
    }
}

/// A structure, as `layout.h` declares it.
#[cfg(test)]
pub(super) struct Declaration {
    pub(super) name: &'static str,
    pub(super) lines: &'static [&'static str],
    pub(super) fields: &'static [Field],
    pub(super) size: usize,
}

/// A field of a structure: its type is the text of the Rust type.
#[cfg(test)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) lines: &'static [&'static str],
}

/// Declares a structure for Rust and, by its name in C, for `layout.h`.
macro_rules! shared {
    (
        $(#[doc = $line:literal])+
        $public:vis struct $name:ident as $name_in_c:literal {
            $($(#[doc = $field_line:literal])+ $field:ident: $kind:ty,)+
        }
    ) => {
        $(#[doc = $line])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(C)]
        $public struct $name {
            $($(#[doc = $field_line])+ pub(super) $field: $kind,)+
        }

        // Without gaps C has the same offsets: it aligns as we do.
        const _: () = assert!(size_of::<$name>() == 0 $(+ size_of::<$kind>())+);
        const _: () = assert!(size_of::<$name>() % WORD == 0);

        impl InMemory for $name {
            const ZERO: Self = Self { $($field: InMemory::ZERO,)+ };

            fn put(&self, bytes: &mut Vec<u8>) {
                $(self.$field.put(bytes);)+
            }
        }

        #[cfg(test)]
        impl $name {
            const DECLARATION: structure::Declaration = structure::Declaration {
                name: $name_in_c,
                lines: &[$($line,)+],
                fields: &[$(structure::Field {
                    name: stringify!($field),
                    kind: stringify!($kind),
                    lines: &[$($field_line,)+],
                },)+],
                size: size_of::<Self>(),
            };
        }
    };
}

pub(super) use shared;
