//! Fields of a protobuf message, read in place.
//!
//! ```text
//! message  field, field, ...                in any order; repeated ones need not be neighbours
//! field    tag, value                       tag = number << 3 | wire type
//! value    type 0   varint                  7 bits a byte, least significant first, 10 bytes at most
//!          type 1   8 bytes                 little endian
//!          type 2   varint n, n bytes       text, bytes, a message or packed numbers
//!          type 5   4 bytes                 little endian
//! ```
//!
//! (<https://protobuf.dev/programming-guides/encoding/>.) Nothing is copied and nothing is allocated:
//! a [`Field`] borrows the bytes. Types 3 and 4 (groups), which no message here ever had, are refused.

use thiserror::Error;

/// Why bytes are not a message.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum WireError {
    /// They end within a field.
    #[error("bytes end within a field")]
    Truncated,
    /// A number of more than 64 bits.
    #[error("a number has more than 64 bits")]
    Varint,
    /// A tag that no encoder writes.
    #[error("{0} is no tag of a field")]
    Tag(u64),
    /// A known field with a value of another type.
    #[error("field {0} has a value of another type")]
    Type(u32),
    /// Text that is not UTF-8.
    #[error("field {0} is not UTF-8")]
    Text(u32),
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field<'a> {
    /// Type 0.
    Varint(u64),
    /// Type 1, as bits.
    Fixed64(u64),
    /// Type 2.
    Bytes(&'a [u8]),
    /// Type 5, as bits.
    Fixed32(u32),
}

impl<'a> Field<'a> {
    /// Bytes, text or a message.
    pub(crate) fn bytes(self, number: u32) -> Result<&'a [u8], WireError> {
        match self {
            Field::Bytes(bytes) => Ok(bytes),
            _ => Err(WireError::Type(number)),
        }
    }

    /// Text.
    pub(crate) fn text(self, number: u32) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes(number)?).map_err(|_| WireError::Text(number))
    }

    /// An integer or enum.
    pub(crate) fn varint(self, number: u32) -> Result<u64, WireError> {
        match self {
            Field::Varint(value) => Ok(value),
            _ => Err(WireError::Type(number)),
        }
    }

    /// An `int64`: two's complement.
    pub(crate) fn int64(self, number: u32) -> Result<i64, WireError> {
        self.varint(number).map(u64::cast_signed)
    }

    /// A `double`, bit by bit.
    pub(crate) fn double(self, number: u32) -> Result<f64, WireError> {
        match self {
            Field::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(WireError::Type(number)),
        }
    }
}

/// What of a message has not been read yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    /// Whether everything is read.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next field and its number; `None` at the end.
    #[inline]
    pub(crate) fn field(&mut self) -> Result<Option<(u32, Field<'a>)>, WireError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| WireError::Tag(tag))?;
        if number == 0 {
            return Err(WireError::Tag(tag));
        }
        let field = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => Field::Bytes(self.bytes()?),
            5 => Field::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(WireError::Tag(tag)),
        };
        Ok(Some((number, field)))
    }

    /// A number: of a field, or the next of packed ones.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, WireError> {
        match self.0 {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.0 = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0;
        for (i, byte) in self.0.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if *byte < 0x80 {
                // The tenth byte has one bit of the 64.
                if i == 9 && *byte > 1 {
                    return Err(WireError::Varint);
                }
                self.0 = self.0.get(i + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        Err(if self.0.len() < 10 { WireError::Truncated } else { WireError::Varint })
    }

    /// A length and as many bytes.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let length = usize::try_from(self.varint()?).map_err(|_| WireError::Truncated)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(bytes)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(*array)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(message: &[u8]) -> Result<Vec<(u32, Field<'_>)>, WireError> {
        let mut reader = Reader::new(message);
        let mut fields = Vec::new();
        while let Some(field) = reader.field()? {
            fields.push(field);
        }
        Ok(fields)
    }

    #[test]
    fn every_wire_type_is_read_and_groups_are_not() {
        let message = b"\x08\x96\x01\x11\x01\0\0\0\0\0\0\0\x1a\x02hi\x25\x02\0\0\0";
        assert_eq!(
            fields(message).unwrap(),
            [
                (1, Field::Varint(150)),
                (2, Field::Fixed64(1)),
                (3, Field::Bytes(b"hi")),
                (4, Field::Fixed32(2)),
            ]
        );
        for (bytes, error) in [
            (&b"\x0b"[..], WireError::Tag(11)),
            (b"\x0c", WireError::Tag(12)),
            (b"\x00\x01", WireError::Tag(0)),
            (b"\x08", WireError::Truncated),
            (b"\x08\x80", WireError::Truncated),
            (b"\x1a\x05abcd", WireError::Truncated),
            (b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", WireError::Truncated),
            (b"\x11\0\0\0", WireError::Truncated),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", WireError::Varint),
            (b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", WireError::Varint),
        ] {
            assert_eq!(fields(bytes), Err(error), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn numbers_are_those_of_prost(value: u64) {
            let mut bytes = Vec::new();
            prost::encoding::encode_varint(value, &mut bytes);
            prop_assert_eq!(Reader::new(&bytes).varint(), Ok(value));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = fields(&bytes);
        }
    }
}
