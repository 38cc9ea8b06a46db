//! Sealing: HPKE in base mode (RFC 9180, 5.1.1) with DHKEM(P-256, HKDF-SHA256), HKDF-SHA256 and AES-256-GCM.
//!
//! Kind, key id, device and attempt are in clear for the broker's sake and bound as associated data: an envelope
//! with another address does not open.

use hpke::aead::AesGcm256;
use hpke::inout::InOutBuf;
use hpke::kdf::HkdfSha256;
use hpke::rand_core::{Infallible, TryCryptoRng, TryRng};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::keys::SealKem;
use super::{Entropy, SealError, SealKey, SealKeyId, SealKeyPair, check_size};
use crate::codec::{self, Blob, Optional, fields};
use crate::id::{AttemptId, DeviceId, sha256};
use crate::message::Kind;

/// HPKE's `info`: this protocol and its version.
const INFO: &[u8] = b"didar/1/seal";
/// Bytes of an AES-GCM tag, at the end of the ciphertext.
const TAG: usize = 16;

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
    let mut envelope = Envelope {
        key_id: key.id(),
        device: device.clone(),
        attempt: attempt.copied(),
        encapsulated: [0; 65],
        ciphertext: signed.to_vec(),
    };
    let address = address(kind, &envelope);
    let (encapsulated, tag) = hpke::single_shot_seal_inout_detached_with_rng::<AesGcm256, HkdfSha256, SealKem>(
        &OpModeS::Base,
        &key.to_kem(),
        INFO,
        InOutBuf::from(envelope.ciphertext.as_mut_slice()),
        &address,
        &mut Hedged::new(&entropy, &address, signed),
    )
    .expect("a checked point and less than 64 GiB can be sealed");
    envelope.encapsulated.copy_from_slice(&encapsulated.to_bytes());
    envelope.ciphertext.extend_from_slice(&tag.to_bytes());
    check_size("sealed", kind, envelope.ciphertext.len())?;
    let bytes = codec::encode(NAME, kind.max_size(), &envelope)
        .map_err(|codec::EncodeError(cause)| SealError::NotSealed { kind, cause })?;
    Ok(bytes.to_vec())
}

/// A sealed message, not opened yet.
pub struct Sealed {
    kind: Kind,
    envelope: Envelope,
}

impl Sealed {
    /// Reads the envelope of a sealed message of this kind.
    ///
    /// # Errors
    /// When the bytes are too many or no envelope of ours.
    pub fn parse(kind: Kind, bytes: &[u8]) -> Result<Self, SealError> {
        let envelope =
            codec::decode(NAME, kind.max_size(), bytes).map_err(|cause| SealError::NotSealed { kind, cause })?;
        Ok(Self { kind, envelope })
    }

    /// Which key it is sealed to.
    pub fn key_id(&self) -> &SealKeyId {
        &self.envelope.key_id
    }

    /// The device that claims to have sealed it: compare with topic, certificate and message.
    pub fn device(&self) -> &DeviceId {
        &self.envelope.device
    }

    /// The attempt it claims to belong to.
    pub fn attempt(&self) -> Option<&AttemptId> {
        self.envelope.attempt.as_ref()
    }

    /// The signed bytes inside; wiped on drop.
    ///
    /// # Errors
    /// When it is sealed to another key, or anything was changed.
    pub fn open(&self, pair: &SealKeyPair) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let kind = self.kind;
        let ours = pair.public().id();
        if self.envelope.key_id != ours {
            return Err(SealError::OtherKey { kind, found: self.envelope.key_id, ours });
        }
        self.open_with(pair).ok_or(SealError::DoesNotOpen { kind })
    }

    fn open_with(&self, pair: &SealKeyPair) -> Option<Zeroizing<Vec<u8>>> {
        let (ciphertext, tag) = self.envelope.ciphertext.split_last_chunk::<TAG>()?;
        let mut signed = Zeroizing::new(ciphertext.to_vec());
        hpke::single_shot_open_inout_detached::<AesGcm256, HkdfSha256, SealKem>(
            &OpModeR::Base,
            &pair.to_kem(),
            &<SealKem as Kem>::EncappedKey::from_bytes(&self.envelope.encapsulated).ok()?,
            INFO,
            InOutBuf::from(signed.as_mut_slice()),
            &address(self.kind, &self.envelope),
            &hpke::aead::AeadTag::from_bytes(tag).ok()?,
        )
        .ok()?;
        Some(signed)
    }
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed({} of {})", self.kind, self.envelope.device)
    }
}

const NAME: &str = "sealed-message";

/// The envelope as it travels.
struct Envelope {
    key_id: SealKeyId,
    device: DeviceId,
    attempt: Option<AttemptId>,
    encapsulated: [u8; 65],
    ciphertext: Vec<u8>,
}

fields! {
    Envelope {
        1 => key_id,
        2 => device,
        3 => attempt: Optional,
        4 => encapsulated,
        5 => ciphertext: Blob(TAG, Kind::Attempt.max_size()),
    }
}

/// What an envelope is bound to: kind, key, device (with its length) and attempt, as associated data.
fn address(kind: Kind, envelope: &Envelope) -> Vec<u8> {
    let device = envelope.device.as_str().as_bytes();
    let device_length = u8::try_from(device.len()).expect("a device id has at most 40 bytes");
    let attempt: &[u8] = envelope.attempt.as_ref().map_or(&[], |attempt| attempt.as_bytes());
    [kind.name().as_bytes(), &[0], &envelope.key_id, &[device_length], device, attempt].concat()
}

/// Random bytes for one encapsulation, drawn from the caller's entropy, the address and the content: even a broken
/// random source that repeats itself never makes the same key for two different messages.
struct Hedged {
    source: hkdf::Hkdf<Sha256>,
    drawn: u32,
}

impl Hedged {
    fn new(entropy: &Entropy, address: &[u8], content: &[u8]) -> Self {
        let salt = sha256(&[sha256(address), sha256(content)].concat());
        Self { source: hkdf::Hkdf::new(Some(&salt), entropy.as_bytes()), drawn: 0 }
    }
}

impl TryRng for Hedged {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.source.expand(&self.drawn.to_be_bytes(), bytes).expect("an encapsulation draws 32 bytes");
        self.drawn += 1;
        Ok(())
    }
}

impl TryCryptoRng for Hedged {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pair(seed: u8) -> SealKeyPair {
        SealKeyPair::generate(Entropy::new([seed; 32]))
    }

    fn attempt() -> AttemptId {
        AttemptId::from_bytes([7; 16])
    }

    fn sealed(kind: Kind, content: &[u8]) -> Vec<u8> {
        let device = "kiosk-1".parse().unwrap();
        seal(pair(1).public(), kind, &device, Some(&attempt()), content, Entropy::new([9; 32])).unwrap()
    }

    type Bend = (&'static str, fn(&mut Sealed));

    /// Opens an envelope after it was changed on the way.
    fn open_bent(bend: impl FnOnce(&mut Sealed)) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let mut sealed = Sealed::parse(Kind::Attempt, &sealed(Kind::Attempt, b"signed")).unwrap();
        bend(&mut sealed);
        sealed.open(&pair(1))
    }

    #[test]
    fn what_is_sealed_opens_with_its_address() {
        let bytes = sealed(Kind::Attempt, b"signed");
        let sealed = Sealed::parse(Kind::Attempt, &bytes).unwrap();
        assert_eq!((sealed.device().as_str(), sealed.attempt()), ("kiosk-1", Some(&attempt())));
        assert_eq!(*sealed.key_id(), pair(1).public().id());
        assert_eq!(sealed.open(&pair(1)).unwrap().as_slice(), b"signed");
        assert!(!bytes.windows(6).any(|window| window == b"signed"), "the content shows");
    }

    #[test]
    fn another_key_is_named() {
        let bytes = sealed(Kind::Attempt, b"signed");
        let error = Sealed::parse(Kind::Attempt, &bytes).unwrap().open(&pair(2)).unwrap_err();
        assert!(matches!(error, SealError::OtherKey { .. }), "{error}");
    }

    #[test]
    fn nothing_can_be_changed_on_the_way() {
        assert!(open_bent(|_| {}).is_ok());
        let bends: [Bend; 6] = [
            ("kind", |sealed| sealed.kind = Kind::ChallengeRequest),
            ("device", |sealed| sealed.envelope.device = "kiosk-2".parse().unwrap()),
            ("attempt", |sealed| sealed.envelope.attempt = None),
            ("content", |sealed| sealed.envelope.ciphertext[0] ^= 1),
            ("tag", |sealed| *sealed.envelope.ciphertext.last_mut().unwrap() ^= 1),
            ("encapsulated key", |sealed| sealed.envelope.encapsulated = *pair(3).public().as_sec1()),
        ];
        for (what, bend) in bends {
            assert!(matches!(open_bent(bend), Err(SealError::DoesNotOpen { .. })), "{what} was changed");
        }
    }

    #[test]
    fn repeated_entropy_makes_no_repeated_key() {
        let encapsulated =
            |content| Sealed::parse(Kind::Attempt, &sealed(Kind::Attempt, content)).unwrap().envelope.encapsulated;
        assert_eq!(encapsulated(b"one"), encapsulated(b"one"));
        assert_ne!(encapsulated(b"one"), encapsulated(b"two"));
    }

    #[test]
    fn a_sealed_message_has_the_size_limit_of_its_kind() {
        let device = "kiosk-1".parse().unwrap();
        let seal = |kind, size| seal(pair(1).public(), kind, &device, None, &vec![0; size], Entropy::new([9; 32]));
        assert!(seal(Kind::ChallengeRequest, 8_000).is_ok());
        assert!(seal(Kind::ChallengeRequest, 8_192).is_err());
        assert!(seal(Kind::Attempt, 98_000).is_ok());
        let parse = |kind: Kind| Sealed::parse(kind, &vec![0; kind.max_size() + 1]).unwrap_err().to_string();
        assert!(parse(Kind::ChallengeRequest).contains("sealed challenge-request"));
    }

    #[test]
    fn keys_live_in_pem_files() {
        let pem = pair(1).to_pkcs8_pem();
        assert_eq!(SealKeyPair::from_pkcs8_pem(&pem).unwrap().public(), pair(1).public());
        assert!(SealKeyPair::from_pkcs8_pem("-----BEGIN PRIVATE KEY-----").is_err());
        assert!(SealKey::from_sec1(&[4; 65]).is_err(), "a point beside the curve");
        assert!(SealKey::from_sec1(&[0; 1]).is_err(), "the point at infinity");
    }
}
