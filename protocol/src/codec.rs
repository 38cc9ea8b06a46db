//! The one codec, both directions: deterministic CBOR (RFC 8949, 4.2.1) with integer keys and bounds.
//!
//! The table at the end of each message's file says once which key, field and bound belong together; reading and
//! writing both follow it. Writing also reads back, so that nobody sends what the peer would refuse.
//!
//! Reading, in this order: size, well-formed CBOR of our subset, version, keys and bounds, rules across fields, and
//! last the bytes must be the value's only encoding.

mod form;
mod item;
mod tables;

use std::fmt;

use zeroize::Zeroizing;

use crate::VERSION;
use crate::id::IdError;
pub(crate) use form::{Blob, List, Optional, Packed16, Plain, Text, Within};
pub(crate) use item::Item;
pub(crate) use tables::{choice, fields, form, numbered, variant_of};

/// Why outside bytes are not a message. Names message, field, limit and finding; never a person's data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Longer than any lawful message of this kind; nothing was parsed.
    #[error("{message}: {found} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Which message.
        message: &'static str,
        /// Most bytes.
        limit: usize,
        /// Bytes that came.
        found: usize,
    },
    /// Not one item of the CBOR that we use.
    #[error("{message}: not the CBOR of this protocol: {cause}")]
    Malformed {
        /// Which message.
        message: &'static str,
        /// What the parser says, with the byte's position.
        cause: String,
    },
    /// Another version of the protocol.
    #[error("{message}: version {found}, this program speaks version {VERSION}; bring the older side up to date")]
    Version {
        /// Which message.
        message: &'static str,
        /// The version that came.
        found: i128,
    },
    /// One field is missing, unknown or out of its bounds.
    #[error("{message}: {field}: {fault}")]
    Field {
        /// Which message.
        message: &'static str,
        /// Path of the field, e.g. `transcript.frames[3].slot`.
        field: String,
        /// What is wrong.
        fault: Fault,
    },
    /// The same value has other bytes: longer integers, indefinite lengths.
    #[error("{message}: byte {at} differs from the only encoding of this value (RFC 8949, 4.2.1)")]
    NotDeterministic {
        /// Which message.
        message: &'static str,
        /// Position of the first byte that differs.
        at: usize,
    },
}

/// Why a value of ours has no bytes: the peer would refuse them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("our own message would be refused: {0}")]
pub struct EncodeError(
    /// What the peer would say.
    #[from]
    pub DecodeError,
);

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A required key is absent.
    #[error("missing")]
    Missing,
    /// A key that this version does not know.
    #[error("key {key} is unknown")]
    UnknownKey {
        /// The key.
        key: u64,
    },
    /// Another type of item.
    #[error("needs {needed}, found {found}")]
    Type {
        /// What belongs here.
        needed: &'static str,
        /// What came.
        found: &'static str,
    },
    /// Too short or too long.
    #[error("needs {} {unit}, found {found}", span(*least, *most))]
    Length {
        /// Fewest.
        least: usize,
        /// Most.
        most: usize,
        /// Of what.
        unit: &'static str,
        /// How many came.
        found: usize,
    },
    /// A number outside its range.
    #[error("needs {least} to {most}, found {found}")]
    Range {
        /// Smallest.
        least: i128,
        /// Largest.
        most: i128,
        /// What came.
        found: i128,
    },
    /// A number that stands for nothing.
    #[error("{found} is no {needed}")]
    Number {
        /// Of which list.
        needed: &'static str,
        /// What came.
        found: i128,
    },
    /// A text that is not the identity that belongs here.
    #[error("{0}")]
    Identity(IdError),
    /// Fields that contradict each other.
    #[error("{0}")]
    Rule(&'static str),
}

fn span(least: usize, most: usize) -> String {
    if least == most { least.to_string() } else { format!("{least} to {most}") }
}

/// A fault with the path to it, which grows on the way out.
#[derive(Debug)]
pub(crate) struct Refused {
    path: String,
    fault: Fault,
}

impl Refused {
    fn within(mut self, outer: impl fmt::Display) -> Self {
        let joint = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{outer}{joint}{}", self.path);
        self
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self { path: String::new(), fault }
    }
}

/// A value that is one CBOR item.
pub(crate) trait Wire: Sized {
    fn to_item(&self) -> Item;
    fn from_item(item: Item) -> Result<Self, Refused>;
}

/// How one field of a map is written and bounded, where its type alone does not say it.
pub(crate) trait Form<T> {
    /// `None` leaves the key out.
    fn write(&self, value: &T) -> Option<Item>;
    fn read(&self, item: Option<Item>) -> Result<T, Refused>;
}

/// Writes a message: its version first, then its fields. Read back before it goes out.
pub(crate) fn encode<T: Wire>(
    message: &'static str,
    limit: usize,
    value: &T,
) -> Result<Zeroizing<Vec<u8>>, EncodeError> {
    let bytes = write(value);
    read::<T>(message, limit, &bytes)?;
    Ok(bytes)
}

/// Reads a message: exactly the bytes that [`encode`] would write, or an error.
pub(crate) fn decode<T: Wire>(message: &'static str, limit: usize, bytes: &[u8]) -> Result<T, DecodeError> {
    let value = read(message, limit, bytes)?;
    let ours = write(&value);
    if ours.as_slice() != bytes {
        let at = ours.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        return Err(DecodeError::NotDeterministic { message, at });
    }
    Ok(value)
}

fn write<T: Wire>(value: &T) -> Zeroizing<Vec<u8>> {
    let mut item = value.to_item();
    if let Item::Map(fields) = &mut item {
        fields.insert(0, (0, Item::Integer(VERSION.into())));
    }
    item.write()
}

fn read<T: Wire>(message: &'static str, limit: usize, bytes: &[u8]) -> Result<T, DecodeError> {
    if bytes.len() > limit {
        return Err(DecodeError::TooLarge { message, limit, found: bytes.len() });
    }
    let item = Item::read(bytes).map_err(|cause| DecodeError::Malformed { message, cause: cause.to_string() })?;
    let refuse = |Refused { path, fault }| {
        let field = if path.is_empty() { "message".to_owned() } else { path };
        DecodeError::Field { message, field, fault }
    };
    let mut fields = Fields::of(item).map_err(refuse)?;
    match fields.take(0) {
        Some(Item::Integer(found)) if found == VERSION.into() => {}
        Some(Item::Integer(found)) => return Err(DecodeError::Version { message, found }),
        Some(other) => return Err(refuse(wrong_type("an integer", &other).within("version"))),
        None => return Err(refuse(Refused::from(Fault::Missing).within("version"))),
    }
    T::from_item(Item::Map(fields.0)).map_err(refuse)
}

pub(crate) fn wrong_type(needed: &'static str, found: &Item) -> Refused {
    Fault::Type { needed, found: found.name() }.into()
}

/// The fields of a map that nobody has taken yet.
pub(crate) struct Fields(Vec<(u64, Item)>);

impl Fields {
    pub(crate) fn of(item: Item) -> Result<Self, Refused> {
        match item {
            Item::Map(fields) => Ok(Self(fields)),
            other => Err(wrong_type("a map", &other)),
        }
    }

    fn take(&mut self, key: u64) -> Option<Item> {
        let at = self.0.iter().position(|(found, _)| *found == key)?;
        Some(self.0.remove(at).1)
    }

    pub(crate) fn read<T>(&mut self, key: u64, name: &str, form: impl Form<T>) -> Result<T, Refused> {
        form.read(self.take(key)).map_err(|refused| refused.within(name))
    }

    pub(crate) fn end(self) -> Result<(), Refused> {
        match self.0.first() {
            Some((key, _)) => Err(Fault::UnknownKey { key: *key }.into()),
            None => Ok(()),
        }
    }
}

pub(crate) fn length(least: usize, most: usize, unit: &'static str, found: usize) -> Result<(), Fault> {
    if (least..=most).contains(&found) { Ok(()) } else { Err(Fault::Length { least, most, unit, found }) }
}

pub(crate) fn in_range(least: i128, most: i128, found: i128) -> Result<(), Fault> {
    if (least..=most).contains(&found) { Ok(()) } else { Err(Fault::Range { least, most, found }) }
}

pub(crate) fn text_of(item: Item) -> Result<Zeroizing<String>, Refused> {
    match item {
        Item::Text(text) => Ok(text),
        other => Err(wrong_type("a text", &other)),
    }
}

pub(crate) fn bytes_of(item: Item) -> Result<Zeroizing<Vec<u8>>, Refused> {
    match item {
        Item::Bytes(bytes) => Ok(bytes),
        other => Err(wrong_type("a byte string", &other)),
    }
}

pub(crate) fn list_of(item: Item) -> Result<Vec<Item>, Refused> {
    match item {
        Item::List(items) => Ok(items),
        other => Err(wrong_type("an array", &other)),
    }
}

pub(crate) fn integer_of(item: Item) -> Result<i128, Refused> {
    match item {
        Item::Integer(number) => Ok(number),
        other => Err(wrong_type("an integer", &other)),
    }
}
