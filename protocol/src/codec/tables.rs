//! The tables that messages are written in ([`fields!`], [`choice!`], [`numbered!`]), and the items of plain types.

use zeroize::Zeroizing;

use super::{Fault, Item, Refused, Wire, bytes_of, in_range, integer_of, length, list_of, text_of, wrong_type};
use crate::id::{AttemptId, DeviceId, Iin, InitiatorId, RequestId};
use crate::reason::Reason;
use crate::seal::SealKey;

/// The keys of a struct: `1 => field` or `1 => field: Form`, and rules across fields.
macro_rules! fields {
    ($name:ident { $($key:literal => $field:ident $(: $form:expr)?,)+ } $(rule $rule:literal: |$it:ident| $holds:expr;)*) => {
        impl $crate::codec::Wire for $name {
            fn to_item(&self) -> $crate::codec::Item {
                let fields = [$(($key, $crate::codec::Form::write(&$crate::codec::form!($($form)?), &self.$field))),+];
                let present = fields.into_iter().filter_map(|(key, item)| Some((key, item?)));
                $crate::codec::Item::Map(present.collect())
            }

            fn from_item(item: $crate::codec::Item) -> Result<Self, $crate::codec::Refused> {
                let mut fields = $crate::codec::Fields::of(item)?;
                let value = Self {
                    $($field: fields.read($key, stringify!($field), $crate::codec::form!($($form)?))?,)+
                };
                fields.end()?;
                $({
                    let $it = &value;
                    if !$holds {
                        return Err($crate::codec::Fault::Rule($rule).into());
                    }
                })*
                Ok(value)
            }
        }
    };
}

/// An enum whose variants have fields of their own: `[number, {fields}]`.
macro_rules! choice {
    ($name:ident { $($number:literal => $variant:ident { $($key:literal => $field:ident $(: $form:expr)?,)+ })+ }) => {
        impl $crate::codec::Wire for $name {
            fn to_item(&self) -> $crate::codec::Item {
                let (number, fields) = match self {
                    $(Self::$variant { $($field),+ } => (
                        $number,
                        vec![$(($key, $crate::codec::Form::write(&$crate::codec::form!($($form)?), $field))),+],
                    ),)+
                };
                let present = fields.into_iter().filter_map(|(key, item)| Some((key, item?)));
                let map = $crate::codec::Item::Map(present.collect());
                $crate::codec::Item::List(vec![$crate::codec::Item::Integer(number), map])
            }

            fn from_item(item: $crate::codec::Item) -> Result<Self, $crate::codec::Refused> {
                let (number, mut fields) = $crate::codec::variant_of(item)?;
                match number {
                    $($number => {
                        let value = Self::$variant {
                            $($field: fields.read($key, stringify!($field), $crate::codec::form!($($form)?))?,)+
                        };
                        fields.end()?;
                        Ok(value)
                    })+
                    found => Err($crate::codec::Fault::Number { needed: stringify!($name), found }.into()),
                }
            }
        }
    };
}

/// The form of a field: its type's own, where none is named.
macro_rules! form {
    () => {
        $crate::codec::Plain
    };
    ($form:expr) => {
        $form
    };
}

/// An enum of stable numbers and names.
macro_rules! numbered {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])+ $number:literal $variant:ident $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name {
            $($(#[doc = $doc])+ $variant = $number,)+
        }

        impl $name {
            /// Every value, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The number on the wire; its meaning never changes.
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// The stable short name for logs, stores and interfaces.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl TryFrom<u8> for $name {
            type Error = $crate::codec::Fault;
            fn try_from(number: u8) -> Result<Self, $crate::codec::Fault> {
                match number {
                    $($number => Ok(Self::$variant),)+
                    other => Err($crate::codec::Fault::Number { needed: stringify!($name), found: other.into() }),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl $crate::codec::Wire for $name {
            fn to_item(&self) -> $crate::codec::Item {
                $crate::codec::Item::Integer(self.number().into())
            }

            fn from_item(item: $crate::codec::Item) -> Result<Self, $crate::codec::Refused> {
                let found = $crate::codec::integer_of(item)?;
                let none = $crate::codec::Fault::Number { needed: stringify!($name), found };
                Ok(u8::try_from(found).ok().and_then(|number| Self::try_from(number).ok()).ok_or(none)?)
            }
        }
    };
}

pub(crate) use {choice, fields, form, numbered};

/// Splits the item of a [`choice!`] into its number and its fields.
pub(crate) fn variant_of(item: Item) -> Result<(i128, super::Fields), Refused> {
    let parts = list_of(item)?;
    let found = parts.len();
    let [number, fields] =
        <[Item; 2]>::try_from(parts).map_err(|_| Fault::Length { least: 2, most: 2, unit: "entries", found })?;
    Ok((integer_of(number)?, super::Fields::of(fields)?))
}

macro_rules! integers {
    ($($type:ty)+) => { $(impl Wire for $type {
        fn to_item(&self) -> Item {
            Item::Integer((*self).into())
        }

        fn from_item(item: Item) -> Result<Self, Refused> {
            let found = integer_of(item)?;
            in_range(<$type>::MIN.into(), <$type>::MAX.into(), found)?;
            Ok(Self::try_from(found).expect("just found in range"))
        }
    })+ };
}
integers!(u8 u16 u32 u64 i8 i16 i32);

impl Wire for bool {
    fn to_item(&self) -> Item {
        Item::Bool(*self)
    }

    fn from_item(item: Item) -> Result<Self, Refused> {
        match item {
            Item::Bool(value) => Ok(value),
            other => Err(wrong_type("a boolean", &other)),
        }
    }
}

impl<const N: usize> Wire for [u8; N] {
    fn to_item(&self) -> Item {
        Item::Bytes(Zeroizing::new(self.to_vec()))
    }

    fn from_item(item: Item) -> Result<Self, Refused> {
        let bytes = bytes_of(item)?;
        length(N, N, "bytes", bytes.len())?;
        Ok(bytes.as_slice().try_into().expect("just found of this length"))
    }
}

macro_rules! small_arrays {
    ($($type:ty)+) => { $(impl<const N: usize> Wire for [$type; N] {
        fn to_item(&self) -> Item {
            Item::List(self.iter().map(Wire::to_item).collect())
        }

        fn from_item(item: Item) -> Result<Self, Refused> {
            let items = list_of(item)?;
            length(N, N, "entries", items.len())?;
            let mut values = [0; N];
            for (at, (value, item)) in values.iter_mut().zip(items).enumerate() {
                *value = Wire::from_item(item).map_err(|refused: Refused| refused.within(format_args!("[{at}]")))?;
            }
            Ok(values)
        }
    })+ };
}
small_arrays!(i8 i16 i32);

macro_rules! texts {
    ($($type:ty)+) => { $(impl Wire for $type {
        fn to_item(&self) -> Item {
            Item::Text(Zeroizing::new(self.as_str().to_owned()))
        }

        fn from_item(item: Item) -> Result<Self, Refused> {
            Ok(text_of(item)?.parse().map_err(Fault::Identity)?)
        }
    })+ };
}
texts!(Iin DeviceId InitiatorId);

macro_rules! uuids {
    ($($type:ty)+) => { $(impl Wire for $type {
        fn to_item(&self) -> Item {
            self.as_bytes().to_item()
        }

        fn from_item(item: Item) -> Result<Self, Refused> {
            Ok(Self::from_bytes(Wire::from_item(item)?))
        }
    })+ };
}
uuids!(AttemptId RequestId);

impl Wire for Reason {
    fn to_item(&self) -> Item {
        Item::Integer(self.number().into())
    }

    fn from_item(item: Item) -> Result<Self, Refused> {
        let found = integer_of(item)?;
        let none = Fault::Number { needed: "Reason", found };
        Ok(u16::try_from(found).ok().and_then(|number| Self::try_from(number).ok()).ok_or(none)?)
    }
}

impl Wire for SealKey {
    fn to_item(&self) -> Item {
        self.as_sec1().to_item()
    }

    fn from_item(item: Item) -> Result<Self, Refused> {
        let sec1: [u8; 65] = Wire::from_item(item)?;
        Ok(Self::from_sec1(&sec1).map_err(|_| Fault::Rule("a sealing key is a point of P-256"))?)
    }
}
