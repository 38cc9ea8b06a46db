//! How a field is written and bounded, where its type alone does not say it.

use zeroize::Zeroizing;

use super::{Fault, Form, Item, Refused, Wire, bytes_of, in_range, length, list_of, text_of};

/// The field of a map, required, bounded by its type.
pub(crate) struct Plain;

impl<T: Wire> Form<T> for Plain {
    fn write(&self, value: &T) -> Option<Item> {
        Some(value.to_item())
    }

    fn read(&self, item: Option<Item>) -> Result<T, Refused> {
        T::from_item(item.ok_or(Fault::Missing)?)
    }
}

/// A field whose key is left out where there is nothing to say.
pub(crate) struct Optional;

impl<T: Wire> Form<Option<T>> for Optional {
    fn write(&self, value: &Option<T>) -> Option<Item> {
        value.as_ref().map(Wire::to_item)
    }

    fn read(&self, item: Option<Item>) -> Result<Option<T>, Refused> {
        item.map(T::from_item).transpose()
    }
}

/// A text of so many bytes of UTF-8.
pub(crate) struct Text(pub(crate) usize, pub(crate) usize);

impl Form<String> for Text {
    fn write(&self, value: &String) -> Option<Item> {
        Some(Item::Text(Zeroizing::new(value.clone())))
    }

    fn read(&self, item: Option<Item>) -> Result<String, Refused> {
        let text = text_of(item.ok_or(Fault::Missing)?)?;
        length(self.0, self.1, "bytes of UTF-8", text.len())?;
        if text.chars().any(char::is_control) {
            return Err(Fault::Rule("a text has no control characters").into());
        }
        Ok(text.to_string())
    }
}

/// A byte string of so many bytes.
pub(crate) struct Blob(pub(crate) usize, pub(crate) usize);

impl Form<Vec<u8>> for Blob {
    fn write(&self, value: &Vec<u8>) -> Option<Item> {
        Some(Item::Bytes(Zeroizing::new(value.clone())))
    }

    fn read(&self, item: Option<Item>) -> Result<Vec<u8>, Refused> {
        let bytes = bytes_of(item.ok_or(Fault::Missing)?)?;
        length(self.0, self.1, "bytes", bytes.len())?;
        Ok(bytes.to_vec())
    }
}

/// An array of so many items.
pub(crate) struct List(pub(crate) usize, pub(crate) usize);

impl<T: Wire> Form<Vec<T>> for List {
    fn write(&self, value: &Vec<T>) -> Option<Item> {
        Some(Item::List(value.iter().map(Wire::to_item).collect()))
    }

    fn read(&self, item: Option<Item>) -> Result<Vec<T>, Refused> {
        let items = list_of(item.ok_or(Fault::Missing)?)?;
        length(self.0, self.1, "entries", items.len())?;
        let numbered = items.into_iter().enumerate();
        numbered
            .map(|(at, item)| T::from_item(item).map_err(|refused| refused.within(format_args!("[{at}]"))))
            .collect()
    }
}

/// A number within a range that is narrower than its type.
pub(crate) struct Within(pub(crate) i128, pub(crate) i128);

impl<T: Wire + Copy + Into<i128>> Form<T> for Within {
    fn write(&self, value: &T) -> Option<Item> {
        Some(value.to_item())
    }

    fn read(&self, item: Option<Item>) -> Result<T, Refused> {
        let value = T::from_item(item.ok_or(Fault::Missing)?)?;
        in_range(self.0, self.1, value.into())?;
        Ok(value)
    }
}

/// So many 16-bit numbers as one byte string, big-endian: half the size of an array.
pub(crate) struct Packed16(pub(crate) usize, pub(crate) usize);

impl Form<Vec<u16>> for Packed16 {
    fn write(&self, value: &Vec<u16>) -> Option<Item> {
        Some(Item::Bytes(Zeroizing::new(value.iter().flat_map(|number| number.to_be_bytes()).collect())))
    }

    fn read(&self, item: Option<Item>) -> Result<Vec<u16>, Refused> {
        let bytes = bytes_of(item.ok_or(Fault::Missing)?)?;
        let (pairs, odd) = bytes.as_chunks::<2>();
        if !odd.is_empty() {
            return Err(Fault::Rule("16-bit numbers need an even number of bytes").into());
        }
        length(self.0, self.1, "16-bit numbers", pairs.len())?;
        Ok(pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect())
    }
}

impl<const N: usize> Form<[u16; N]> for Packed16 {
    fn write(&self, value: &[u16; N]) -> Option<Item> {
        self.write(&value.to_vec())
    }

    fn read(&self, item: Option<Item>) -> Result<[u16; N], Refused> {
        let numbers: Vec<u16> = self.read(item)?;
        Ok(numbers.try_into().expect("the form's length is the array's"))
    }
}

/// Signed numbers in two's complement.
impl<const N: usize> Form<[i16; N]> for Packed16 {
    fn write(&self, value: &[i16; N]) -> Option<Item> {
        self.write(&value.map(i16::cast_unsigned))
    }

    fn read(&self, item: Option<Item>) -> Result<[i16; N], Refused> {
        let numbers: [u16; N] = self.read(item)?;
        Ok(numbers.map(u16::cast_signed))
    }
}
