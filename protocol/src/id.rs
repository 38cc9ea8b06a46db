//! Who is who: persons, organisations, devices, initiators, attempts.
//!
//! Every type here is built only through a door that checks it, so whoever holds one need not look again.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// A SHA-256 hash (FIPS 180-4).
pub type Hash = [u8; 32];

/// SHA-256 of `bytes`: how requests, certificates, models and audit records are named.
pub fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// A person's individual identification number (IIN, ЖСН): 12 digits whose checksum, date and century hold.
///
/// `Debug` never shows the digits.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Iin([u8; 12]);

/// An organisation's business identification number (BIN, БСН): 12 digits, type digit 4, 5 or 6, checksum.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Bin([u8; 12]);

/// The name of a device: 1 to 40 of `a-z`, `0-9` and `-`; the subject CN of its certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(String);

/// The name of an initiating system, in the same alphabet as [`DeviceId`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InitiatorId(String);

/// One attempt, named by the matcher: the 16 bytes of a UUIDv7 (RFC 9562).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId([u8; 16]);

/// One request of a kiosk's application, named by the device: the 16 bytes of a UUID.
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

/// Why a text is not the identity it claims to be. Says what is wrong and where, never the digits of a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not implemented yet.
    #[error("not implemented")]
    Unfinished,
}

impl Iin {
    /// The 12 digits. Personal data: never log it.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only ASCII digits are admitted")
    }
}

impl FromStr for Iin {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits: [u8; 12] = text.as_bytes().try_into().map_err(|_| IdError::Unfinished)?;
        Ok(Self(digits))
    }
}

impl fmt::Debug for Iin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Iin(…)")
    }
}

impl Bin {
    /// The 12 digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only ASCII digits are admitted")
    }
}

impl FromStr for Bin {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits: [u8; 12] = text.as_bytes().try_into().map_err(|_| IdError::Unfinished)?;
        Ok(Self(digits))
    }
}

impl fmt::Debug for Bin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bin({})", self.as_str())
    }
}

macro_rules! name_id {
    ($name:ident) => {
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
name_id!(DeviceId);
name_id!(InitiatorId);

macro_rules! uuid_id {
    ($name:ident) => {
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
                uuid::Uuid::try_parse(text).map(|id| Self(id.into_bytes())).map_err(|_| IdError::Unfinished)
            }
        }
    };
}
uuid_id!(AttemptId);
uuid_id!(RequestId);

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
            _ => Err(IdError::Unfinished),
        }
    }
}
