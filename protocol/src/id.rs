//! Who is who: persons, organisations, devices, initiators, attempts.
//!
//! Every type here is built only through a door that checks it, so whoever holds one need not look again.

mod number;

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

pub use number::{Bin, Iin};

/// A SHA-256 hash (FIPS 180-4).
pub type Hash = [u8; 32];

/// SHA-256 of `bytes`: how requests, certificates, models and audit records are named.
pub fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// The name of a device: 1 to 40 of `a-z`, `0-9` and `-`; the subject CN of its certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(String);

/// The name of an initiating system, in the same alphabet as [`DeviceId`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InitiatorId(String);

/// One attempt, named by the matcher: the 16 bytes of a UUIDv7 (RFC 9562, 5.7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId([u8; 16]);

/// One request of a kiosk's application, named by the device: the 16 bytes of a UUID (RFC 9562).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId([u8; 16]);

/// Which of the two separate worlds (certificate authorities, topics, databases) something belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Env {
    /// Trials: may use simulated boards and self-made certificates.
    Test,
    /// Real persons.
    Production,
}

/// Why a text is not the identity it claims to be: what is wrong, where, and what to do. Never quotes the text, which
/// may be a person's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not 12 characters.
    #[error("{what} has 12 digits, found {found} characters; write it without spaces")]
    NumberLength {
        /// `IIN` or `BIN`.
        what: &'static str,
        /// Characters that came.
        found: usize,
    },
    /// Something else than a digit.
    #[error("{what} has digits only, character {position} of 12 is none")]
    NotDigit {
        /// `IIN` or `BIN`.
        what: &'static str,
        /// Where, from 1.
        position: usize,
    },
    /// The seventh digit of an IIN names no century.
    #[error("the seventh digit of an IIN (century and sex) is 1 to 6, found another; check it on the document")]
    Century,
    /// The first six digits of an IIN are no date.
    #[error(
        "the first six digits of an IIN are the birth date as YYMMDD, these are no date; check them on the document"
    )]
    BirthDate,
    /// The third and fourth digit of a BIN are no month.
    #[error("the first four digits of a BIN are the registration as YYMM, these name no month; check them")]
    RegistrationMonth,
    /// The fifth digit of a BIN is no type of organisation.
    #[error("the fifth digit of a BIN is 4, 5 or 6, found another; for a person's number use an IIN")]
    OrganisationType,
    /// The twelfth digit does not fit.
    #[error("the last digit of the {what} does not fit the others: a digit is wrong or two are swapped; read it again")]
    Checksum {
        /// `IIN` or `BIN`.
        what: &'static str,
    },
    /// A name of no or too many characters.
    #[error("{what} has 1 to {NAME_MAX} characters, found {found}")]
    NameLength {
        /// `device id` or `initiator id`.
        what: &'static str,
        /// Bytes that came.
        found: usize,
    },
    /// A character outside the alphabet of names.
    #[error("{what} is made of a-z, 0-9 and '-', byte {position} is none of them")]
    NameLetter {
        /// `device id` or `initiator id`.
        what: &'static str,
        /// Where, from 1.
        position: usize,
    },
    /// Not a UUID.
    #[error("{what} is a UUID like 01890a5d-ac96-774b-bcce-b302099a8057, found something else")]
    Uuid {
        /// `attempt id` or `request id`.
        what: &'static str,
    },
    /// Neither `test` nor `production`.
    #[error("the environment is `test` or `production`, found something else")]
    Env,
}

/// Longest device or initiator name: fits an X.509 common name (64, RFC 5280 ub-common-name) and a topic level.
const NAME_MAX: usize = 40;

fn check_name(what: &'static str, text: &str) -> Result<(), IdError> {
    if text.is_empty() || text.len() > NAME_MAX {
        return Err(IdError::NameLength { what, found: text.len() });
    }
    let lawful = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match text.bytes().position(|byte| !lawful(byte)) {
        Some(at) => Err(IdError::NameLetter { what, position: at + 1 }),
        None => Ok(()),
    }
}

macro_rules! names {
    ($($name:ident $what:literal)+) => { $(
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                check_name($what, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+ };
}
names!(DeviceId "device id" InitiatorId "initiator id");

macro_rules! uuids {
    ($($name:ident $what:literal)+) => { $(
        impl $name {
            /// Takes 16 bytes as they are; who makes them decides how (UUIDv7 from a clock and a random source).
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes, as on the wire.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(uuid::Uuid::from_bytes_ref(&self.0).as_hyphenated(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let id = uuid::Uuid::try_parse(text).map_err(|_| IdError::Uuid { what: $what })?;
                Ok(Self(id.into_bytes()))
            }
        }
    )+ };
}
uuids!(AttemptId "attempt id" RequestId "request id");

impl Env {
    /// `test` or `production`, as in topics and configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Production => "production",
        }
    }
}

impl fmt::Display for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Env {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        match text {
            "test" => Ok(Self::Test),
            "production" => Ok(Self::Production),
            _ => Err(IdError::Env),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_to_their_alphabet() {
        assert_eq!("kiosk-7".parse::<DeviceId>().unwrap().to_string(), "kiosk-7");
        assert!("a".repeat(40).parse::<DeviceId>().is_ok());
        let refused = |text: &str| text.parse::<DeviceId>().unwrap_err();
        assert_eq!(refused(""), IdError::NameLength { what: "device id", found: 0 });
        assert_eq!(refused(&"a".repeat(41)), IdError::NameLength { what: "device id", found: 41 });
        // A '+', '#' or '/' would widen a topic (MQTT 5.0, 4.7.1).
        for text in ["a+", "a#", "a/", "aB", "aé", "a_", "a\0"] {
            assert_eq!(refused(text), IdError::NameLetter { what: "device id", position: 2 }, "{text}");
        }
    }

    #[test]
    fn uuids_read_as_they_are_written() {
        let id = AttemptId::from_bytes([
            0x01, 0x89, 0x0a, 0x5d, 0xac, 0x96, 0x77, 0x4b, 0xbc, 0xce, 0xb3, 2, 9, 0x9a, 0x80, 0x57,
        ]);
        assert_eq!(id.to_string(), "01890a5d-ac96-774b-bcce-b302099a8057");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("01890a5d".parse::<RequestId>(), Err(IdError::Uuid { what: "request id" }));
    }
}
