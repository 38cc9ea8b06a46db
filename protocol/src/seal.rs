//! Signatures (COSE_Sign1, RFC 9052, ES256) and sealing (HPKE, RFC 9180).

use zeroize::Zeroizing;

use crate::id::{AttemptId, DeviceId, Hash};
use crate::message::Kind;

pub use p256::ecdsa::VerifyingKey;

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

/// A P-256 key read from a file, in memory; wiped on drop.
pub struct SoftwareSigner {
    key: p256::ecdsa::SigningKey,
    kid: Hash,
}

impl SoftwareSigner {
    /// From a PKCS#8 PEM key and the DER certificate that it belongs to.
    ///
    /// # Errors
    /// When the PEM holds no P-256 key.
    pub fn from_pkcs8_pem(_pem: &str, _certificate_der: &[u8]) -> Result<Self, KeyError> {
        Err(KeyError::Unfinished)
    }

    /// The public key, as [`Signed::verify`] wants it.
    pub fn verifying_key(&self) -> VerifyingKey {
        *self.key.verifying_key()
    }
}

impl Signer for SoftwareSigner {
    fn kid(&self) -> Hash {
        self.kid
    }

    fn sign(&self, _to_be_signed: &[u8]) -> Result<[u8; 64], SignError> {
        Ok([0; 64])
    }
}

/// Why bytes are no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not implemented yet.
    #[error("not implemented")]
    Unfinished,
}

/// Why a signed or sealed message was not accepted, or not made.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Not implemented yet.
    #[error("not implemented")]
    Unfinished,
}

/// Signs an encoded message of this kind. The result names the signer by `kid` only.
///
/// # Errors
/// When the signer fails or the result exceeds the kind's size.
pub fn sign(kind: Kind, payload: &[u8], signer: &dyn Signer) -> Result<Vec<u8>, SealError> {
    let _ = (kind, payload, signer);
    Err(SealError::Unfinished)
}

/// The same with the signer's DER certificate in the unprotected header `x5chain` (RFC 9360): the matcher's messages.
///
/// # Errors
/// When the signer fails or the result exceeds the kind's size.
pub fn sign_with_certificate(
    kind: Kind,
    payload: &[u8],
    signer: &dyn Signer,
    certificate_der: &[u8],
) -> Result<Vec<u8>, SealError> {
    let _ = (kind, payload, signer, certificate_der);
    Err(SealError::Unfinished)
}

/// A signed message whose signature is not checked yet: it gives no payload before.
pub struct Signed {
    kid: Hash,
    certificate: Option<Vec<u8>>,
    payload: Zeroizing<Vec<u8>>,
}

impl Signed {
    /// Reads the outer form of a signed message of this kind.
    ///
    /// # Errors
    /// When the bytes are no COSE_Sign1 of ours.
    pub fn parse(_kind: Kind, _bytes: &[u8]) -> Result<Self, SealError> {
        Err(SealError::Unfinished)
    }

    /// Which certificate's key claims to have signed: SHA-256 of its DER.
    pub fn kid(&self) -> &Hash {
        &self.kid
    }

    /// The certificate that came along, if any; its hash is `kid`, but nobody has checked its chain yet.
    pub fn certificate(&self) -> Option<&[u8]> {
        self.certificate.as_deref()
    }

    /// The payload, if `key` signed it as this kind.
    ///
    /// # Errors
    /// When the signature is another's, of other bytes, or of another kind.
    pub fn verify(&self, _key: &VerifyingKey) -> Result<&[u8], SealError> {
        let _ = &self.payload;
        Err(SealError::Unfinished)
    }
}

/// 32 fresh random bytes for one use: neither `Clone` nor `Copy`, taken by value.
pub struct Entropy(#[expect(dead_code)] Zeroizing<[u8; 32]>);

impl Entropy {
    /// Bytes from the system's random source; in tests from a seed.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
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
    pub fn from_sec1(_bytes: &[u8]) -> Result<Self, KeyError> {
        Err(KeyError::Unfinished)
    }

    /// The uncompressed SEC1 bytes.
    pub fn as_sec1(&self) -> &[u8; 65] {
        &self.0
    }

    /// The key's short name in envelopes.
    pub fn id(&self) -> SealKeyId {
        [0; 8]
    }
}

/// Both halves of a sealing key: the matcher's. Wiped on drop.
pub struct SealKeyPair {
    public: SealKey,
}

impl SealKeyPair {
    /// A new key.
    pub fn generate(_entropy: Entropy) -> Self {
        Self { public: SealKey([0; 65]) }
    }

    /// From a PKCS#8 PEM key.
    ///
    /// # Errors
    /// When the PEM holds no P-256 key.
    pub fn from_pkcs8_pem(_pem: &str) -> Result<Self, KeyError> {
        Err(KeyError::Unfinished)
    }

    /// As PKCS#8 PEM, to be kept in a file of mode 0600.
    pub fn to_pkcs8_pem(&self) -> Zeroizing<String> {
        Zeroizing::default()
    }

    /// The public half.
    pub fn public(&self) -> &SealKey {
        &self.public
    }
}

/// Seals signed bytes to the matcher's key. Kind, device, attempt and key are bound as associated data.
///
/// # Errors
/// When the result exceeds the kind's size.
pub fn seal(
    key: &SealKey,
    kind: Kind,
    device: &DeviceId,
    attempt: Option<&AttemptId>,
    signed: &[u8],
    entropy: Entropy,
) -> Result<Vec<u8>, SealError> {
    let _ = (key, kind, device, attempt, signed, entropy);
    Err(SealError::Unfinished)
}

/// A sealed message, not opened yet.
pub struct Sealed {
    key_id: SealKeyId,
    device: DeviceId,
    attempt: Option<AttemptId>,
}

impl Sealed {
    /// Reads the envelope of a sealed message of this kind.
    ///
    /// # Errors
    /// When the bytes are no envelope of ours.
    pub fn parse(_kind: Kind, _bytes: &[u8]) -> Result<Self, SealError> {
        Err(SealError::Unfinished)
    }

    /// Which key it is sealed to.
    pub fn key_id(&self) -> &SealKeyId {
        &self.key_id
    }

    /// The device that claims to have sealed it: compare with topic, certificate and message.
    pub fn device(&self) -> &DeviceId {
        &self.device
    }

    /// The attempt it claims to belong to.
    pub fn attempt(&self) -> Option<&AttemptId> {
        self.attempt.as_ref()
    }

    /// The signed bytes inside.
    ///
    /// # Errors
    /// When it is sealed to another key, or anything was changed.
    pub fn open(&self, _pair: &SealKeyPair) -> Result<Zeroizing<Vec<u8>>, SealError> {
        Err(SealError::Unfinished)
    }
}
