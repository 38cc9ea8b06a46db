//! Encryption at rest: AES-256-GCM, a key for every row, wrapped under the store's key.
//!
//! Whoever deletes a row's key has destroyed the row, in every copy of the database too that lacks the store's key.

use std::path::Path;

use didar_protocol::id::Iin;
use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::files::{self, FileError};
use crate::identity::random;

/// A secret of 32 bytes, wiped on drop.
pub(crate) type Key = Zeroizing<[u8; 32]>;

/// The store's key and what is derived from it.
pub(crate) struct Vault {
    wrapping: Key,
    index: Key,
}

/// Why something could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The key file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key file's content is no key.
    #[error("store key file: 64 hexadecimal digits expected; restore it from its backup")]
    Key,
    /// The bytes were made under another key, or changed.
    #[error("a record cannot be decrypted: the store key is another one, or the database was changed")]
    Sealed,
    /// No random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

/// Makes a new store key file.
///
/// # Errors
/// When there is one already, or no random bytes.
pub fn make_store_key(path: &Path) -> Result<(), VaultError> {
    let key: Key = Zeroizing::new(random().map_err(|_| VaultError::Random)?);
    let text = Zeroizing::new(hex::encode(key.as_slice()));
    Ok(files::write_secret(path, &text)?)
}

impl Vault {
    pub(crate) fn open(path: &Path) -> Result<Self, VaultError> {
        let text = files::read_secret(path)?;
        let mut key: Key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), key.as_mut_slice()).map_err(|_| VaultError::Key)?;
        let derive = |purpose: &[u8]| keyed_hash(&key, &[purpose]);
        Ok(Self { wrapping: derive(b"didar store: wrapping"), index: derive(b"didar store: subjects") })
    }

    /// The row name of a person: worthless without the store's key.
    pub(crate) fn tag(&self, subject: &Iin) -> [u8; 32] {
        *keyed_hash(&self.index, &[subject.as_str().as_bytes()])
    }

    pub(super) fn share(&self) -> String {
        hex::encode(&keyed_hash(&self.index, &[b"didar matchers' share"])[..8])
    }

    /// A fresh key for a row.
    pub(crate) fn fresh() -> Result<Key, VaultError> {
        random().map(Zeroizing::new).map_err(|_| VaultError::Random)
    }

    pub(crate) fn wrap(&self, key: &Key, label: &[u8]) -> Result<Vec<u8>, VaultError> {
        encrypt(&self.wrapping, key.as_slice(), label)
    }

    pub(crate) fn unwrap(&self, wrapped: &[u8], label: &[u8]) -> Result<Key, VaultError> {
        let bytes = decrypt(&self.wrapping, wrapped, label)?;
        bytes.as_slice().try_into().map(Zeroizing::new).map_err(|_| VaultError::Sealed)
    }
}

/// A person's name in the ledger, under a key of that person alone.
pub(crate) fn person_name(key: &Key, subject: &Iin) -> [u8; 32] {
    *keyed_hash(key, &[b"didar ledger", subject.as_str().as_bytes()])
}

pub(crate) fn encrypt(key: &Key, plain: &[u8], label: &[u8]) -> Result<Vec<u8>, VaultError> {
    let nonce: [u8; NONCE_LEN] = random().map_err(|_| VaultError::Random)?;
    let mut body = Zeroizing::new(plain.to_vec());
    let tag = cipher(key)
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(label), &mut body)
        .map_err(|_| VaultError::Sealed)?;
    Ok([&nonce[..], &body, tag.as_ref()].concat())
}

pub(crate) fn decrypt(key: &Key, sealed: &[u8], label: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(VaultError::Sealed)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| VaultError::Sealed)?;
    let mut body = Zeroizing::new(body.to_vec());
    let length = cipher(key).open_in_place(nonce, Aad::from(label), &mut body).map_err(|_| VaultError::Sealed)?.len();
    body.truncate(length);
    Ok(body)
}

fn cipher(key: &Key) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_slice()).expect("the key has 32 bytes"))
}

fn keyed_hash(key: &Key, parts: &[&[u8]]) -> Key {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_slice()).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrapped_opens_under_its_own_key_and_label_only() {
        let folder = tempfile::tempdir().unwrap();
        let vault = |name: &str| {
            let path = folder.path().join(name);
            make_store_key(&path).unwrap();
            Vault::open(&path).unwrap()
        };
        let (ours, other) = (vault("a"), vault("b"));
        let key = Vault::fresh().unwrap();
        let wrapped = ours.wrap(&key, b"label").unwrap();
        assert_eq!(ours.unwrap(&wrapped, b"label").unwrap(), key);
        assert!(ours.unwrap(&wrapped, b"other").is_err());
        assert!(other.unwrap(&wrapped, b"label").is_err());
        for length in [0, 5, NONCE_LEN, wrapped.len() - 1] {
            assert!(ours.unwrap(&wrapped[..length], b"label").is_err());
        }
    }
}
