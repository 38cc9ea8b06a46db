//! The keys: who signs, what is sealed to, and the randomness for it. No key is ever shown by `Debug`.

use std::fmt;

use hpke::{Deserializable, Kem, Serializable};
use p256::SecretKey;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};
use zeroize::Zeroizing;

use crate::id::{Hash, sha256};

/// The key encapsulation of all sealing: DHKEM(P-256, HKDF-SHA256), 0x0010 in RFC 9180, 7.1.
pub(super) type SealKem = hpke::kem::DhP256HkdfSha256;

/// Who signs: a key file, or a chip that never gives its key away.
pub trait Signer: Send + Sync {
    /// SHA-256 of the signer's certificate (DER).
    fn kid(&self) -> Hash;

    /// ES256 over `to_be_signed` (the signer hashes it): `r || s`, 64 bytes (RFC 9053, 2.1).
    ///
    /// # Errors
    /// When the key cannot be used now.
    fn sign(&self, to_be_signed: &[u8]) -> Result<[u8; 64], SignError>;
}

/// The key could not sign.
#[derive(Debug, thiserror::Error)]
#[error("the signing key did not sign")]
pub struct SignError {
    /// What its keeper says.
    #[source]
    pub cause: Box<dyn std::error::Error + Send + Sync>,
}

/// Why bytes are no key. Never quotes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a private key file.
    #[error("this is no PKCS#8 PEM file with a P-256 key (it begins with `-----BEGIN PRIVATE KEY-----`)")]
    Pkcs8,
    /// Not a public key.
    #[error("these {found} bytes are no point of P-256 in 65 uncompressed bytes (SEC 1, 2.3.3)")]
    Point {
        /// Bytes that came.
        found: usize,
    },
}

/// A P-256 key read from a file, in memory; wiped on drop.
pub struct SoftwareSigner {
    key: SigningKey,
    kid: Hash,
}

impl SoftwareSigner {
    /// From a PKCS#8 PEM key and the DER certificate that it belongs to (nobody checks here that it does).
    ///
    /// # Errors
    /// When the PEM holds no P-256 key.
    pub fn from_pkcs8_pem(pem: &str, certificate_der: &[u8]) -> Result<Self, KeyError> {
        let key = SigningKey::from_pkcs8_pem(pem).map_err(|_| KeyError::Pkcs8)?;
        Ok(Self { key, kid: sha256(certificate_der) })
    }

    /// The public key, as [`super::Signed::verify`] wants it.
    pub fn verifying_key(&self) -> VerifyingKey {
        *self.key.verifying_key()
    }
}

impl Signer for SoftwareSigner {
    fn kid(&self) -> Hash {
        self.kid
    }

    /// Deterministic (RFC 6979): the same bytes get the same signature.
    fn sign(&self, to_be_signed: &[u8]) -> Result<[u8; 64], SignError> {
        let signature: Signature =
            self.key.try_sign(to_be_signed).map_err(|cause| SignError { cause: Box::new(cause) })?;
        Ok(signature.to_bytes().into())
    }
}

impl fmt::Debug for SoftwareSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SoftwareSigner(…)")
    }
}

/// 32 fresh random bytes for one use: neither `Clone` nor `Copy`, taken by value, wiped on drop.
pub struct Entropy(Zeroizing<[u8; 32]>);

impl Entropy {
    /// Bytes from the system's random source; in tests from a seed.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy(…)")
    }
}

/// First 8 bytes of SHA-256 of a sealing key's public bytes.
pub type SealKeyId = [u8; 8];

/// The public half of a sealing key: a point of P-256, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealKey([u8; 65]);

impl SealKey {
    /// From the uncompressed SEC1 bytes (SEC 1, 2.3.3).
    ///
    /// # Errors
    /// When they are no point of P-256.
    pub fn from_sec1(bytes: &[u8]) -> Result<Self, KeyError> {
        let wrong = KeyError::Point { found: bytes.len() };
        let sec1: [u8; 65] = bytes.try_into().map_err(|_| wrong)?;
        <SealKem as Kem>::PublicKey::from_bytes(&sec1).map_err(|_| wrong)?;
        Ok(Self(sec1))
    }

    /// The uncompressed SEC1 bytes.
    pub fn as_sec1(&self) -> &[u8; 65] {
        &self.0
    }

    /// The key's short name in envelopes.
    pub fn id(&self) -> SealKeyId {
        let [a, b, c, d, e, f, g, h, ..] = sha256(&self.0);
        [a, b, c, d, e, f, g, h]
    }

    pub(super) fn to_kem(&self) -> <SealKem as Kem>::PublicKey {
        <SealKem as Kem>::PublicKey::from_bytes(&self.0).expect("checked when it was made")
    }
}

/// Both halves of a sealing key: the matcher's. Wiped on drop.
pub struct SealKeyPair {
    secret: SecretKey,
    public: SealKey,
}

impl SealKeyPair {
    /// A new key, by DeriveKeyPair of RFC 9180, 7.1.3.
    pub fn generate(entropy: Entropy) -> Self {
        let (secret, _) = SealKem::derive_keypair(entropy.as_bytes());
        let bytes = Zeroizing::new(<[u8; 32]>::from(secret.to_bytes()));
        Self::of(SecretKey::from_slice(bytes.as_slice()).expect("a derived key is a P-256 key"))
    }

    /// From a PKCS#8 PEM key.
    ///
    /// # Errors
    /// When the PEM holds no P-256 key.
    pub fn from_pkcs8_pem(pem: &str) -> Result<Self, KeyError> {
        SecretKey::from_pkcs8_pem(pem).map(Self::of).map_err(|_| KeyError::Pkcs8)
    }

    /// As PKCS#8 PEM, to be kept in a file of mode 0600.
    pub fn to_pkcs8_pem(&self) -> Zeroizing<String> {
        self.secret.to_pkcs8_pem(LineEnding::LF).expect("a P-256 key has a PKCS#8 form")
    }

    /// The public half.
    pub fn public(&self) -> &SealKey {
        &self.public
    }

    fn of(secret: SecretKey) -> Self {
        let point = secret.public_key().to_sec1_point(false);
        let public = SealKey(point.as_bytes().try_into().expect("an uncompressed point has 65 bytes"));
        Self { secret, public }
    }

    pub(super) fn to_kem(&self) -> <SealKem as Kem>::PrivateKey {
        let bytes = Zeroizing::new(<[u8; 32]>::from(self.secret.to_bytes()));
        <SealKem as Kem>::PrivateKey::from_bytes(bytes.as_slice()).expect("a P-256 key is a key of this KEM")
    }
}

impl fmt::Debug for SealKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKeyPair({:02x?})", self.public.id())
    }
}
