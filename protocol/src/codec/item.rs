//! Bytes to CBOR data items and back: the part of CBOR (RFC 8949) that the protocol uses, and nothing else.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use zeroize::Zeroizing;

/// Deepest nesting of a message: attempt, transcript, frames, frame, pose; and one to spare.
const DEPTH_MAX: u8 = 6;

/// One data item. No floating point, no null, no tags; map keys are unsigned integers in ascending order.
/// Strings may be personal or biometric: they are wiped on drop.
pub(crate) enum Item {
    Integer(i128),
    Bool(bool),
    Bytes(Zeroizing<Vec<u8>>),
    Text(Zeroizing<String>),
    List(Vec<Item>),
    Map(Vec<(u64, Item)>),
}

impl Item {
    /// Reads exactly one item.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, serde_cbor::Error> {
        let mut reader = serde_cbor::Deserializer::from_slice(bytes);
        let item = ItemSeed { depth_left: DEPTH_MAX }.deserialize(&mut reader)?;
        reader.end()?;
        Ok(item)
    }

    /// Writes the item's deterministic bytes (RFC 8949, 4.2.1).
    pub(crate) fn write(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.size_hint()));
        serde_cbor::to_writer(&mut *bytes, self).expect("every item has bytes, and a Vec takes them");
        bytes
    }

    /// What the item is, for errors: never its content.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Integer(_) => "an integer",
            Self::Bool(_) => "a boolean",
            Self::Bytes(_) => "a byte string",
            Self::Text(_) => "a text",
            Self::List(_) => "an array",
            Self::Map(_) => "a map",
        }
    }

    /// At least as many bytes as the item needs, so that the buffer never grows and leaves no copy behind.
    fn size_hint(&self) -> usize {
        const HEAD: usize = 9;
        HEAD + match self {
            Self::Integer(_) | Self::Bool(_) => 0,
            Self::Bytes(bytes) => bytes.len(),
            Self::Text(text) => text.len(),
            Self::List(items) => items.iter().map(Self::size_hint).sum(),
            Self::Map(fields) => fields.iter().map(|(_, item)| HEAD + item.size_hint()).sum(),
        }
    }
}

impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Integer(number) => match u64::try_from(*number) {
                Ok(number) => serializer.serialize_u64(number),
                Err(_) => {
                    serializer.serialize_i64(i64::try_from(*number).expect("negative fields have at most 32 bits"))
                }
            },
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (key, item) in fields {
                    map.serialize_entry(key, item)?;
                }
                map.end()
            }
        }
    }
}

/// Reads one item that may hold `depth_left` levels below it.
#[derive(Clone, Copy)]
struct ItemSeed {
    depth_left: u8,
}

impl ItemSeed {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let too_deep = || E::custom(format_args!("nested deeper than {DEPTH_MAX} levels"));
        Ok(Self { depth_left: self.depth_left.checked_sub(1).ok_or_else(too_deep)? })
    }
}

impl<'de> DeserializeSeed<'de> for ItemSeed {
    type Value = Item;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Item, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ItemSeed {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer, a boolean, a string, an array or a map")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Item, E> {
        Ok(Item::Bool(value))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Item, E> {
        Ok(Item::Integer(number.into()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Item, E> {
        Ok(Item::Integer(number.into()))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Item, E> {
        Ok(Item::Bytes(Zeroizing::new(bytes.to_vec())))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Item, E> {
        Ok(Item::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Item, A::Error> {
        let below = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(below)? {
            items.push(item);
        }
        Ok(Item::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
        let below = self.deeper()?;
        let mut fields: Vec<(u64, Item)> = Vec::new();
        while let Some(key) = map.next_key_seed(KeySeed)? {
            if let Some((last, _)) = fields.last().filter(|(last, _)| *last >= key) {
                return Err(A::Error::custom(format_args!("map key {key} after {last}: keys ascend and never repeat")));
            }
            fields.push((key, map.next_value_seed(below)?));
        }
        Ok(Item::Map(fields))
    }
}

/// Reads a map key. Keys of other types are refused without being quoted: they may be anybody's data.
struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = u64;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an unsigned integer as map key")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<u64, E> {
        Err(E::custom("a text as map key, keys are unsigned integers"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refusal(bytes: &[u8]) -> String {
        Item::read(bytes).err().expect("must be refused").to_string()
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let nested = |levels: usize| [vec![0x81; levels], vec![0x00]].concat();
        assert!(Item::read(&nested(DEPTH_MAX.into())).is_ok());
        assert!(refusal(&nested(usize::from(DEPTH_MAX) + 1)).contains("deeper than 6"));
        // 90,000 open arrays must not eat the stack.
        assert!(refusal(&vec![0x81; 90_000]).contains("deeper than 6"));
    }

    #[test]
    fn what_the_protocol_does_not_use_is_refused() {
        for (bytes, why) in [
            (&[0xf6][..], "null"),                            // null
            (&[0xf9, 0x3c, 0x00], "floating point"),          // 1.0
            (&[0xa1, 0x20, 0x00], "integer `-1`"),            // key -1
            (&[0xa1, 0x61, 0x61, 0x00], "a text as map key"), // key "a"
            (&[0xa2, 0x01, 0x00, 0x01, 0x00], "key 1 after 1"),
            (&[0xa2, 0x02, 0x00, 0x01, 0x00], "key 1 after 2"),
            (&[0x00, 0x00], "trailing"),
            (&[0x42, 0x00], "EOF"),
            (&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "EOF"), // array of 2^64-1
            (&[0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "i128"), // -2^64
            (&[0x61, 0xff], "UTF-8"),
            (&[], "EOF"),
        ] {
            let said = refusal(bytes);
            assert!(said.contains(why), "{bytes:02x?}: {said:?} does not say {why:?}");
        }
    }

    #[test]
    fn writing_is_shortest_form() {
        let item = Item::Map(vec![(0, Item::Integer(1)), (24, Item::Integer(-500)), (25, Item::Bool(true))]);
        assert_eq!(item.write().as_slice(), [0xa3, 0x00, 0x01, 0x18, 0x18, 0x39, 0x01, 0xf3, 0x18, 0x19, 0xf5]);
    }
}
