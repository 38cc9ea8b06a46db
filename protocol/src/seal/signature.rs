//! COSE_Sign1 (RFC 9052, 4.2) with ES256 (RFC 9053, 2.1).
//!
//! Protected header: algorithm and `kid`. Unprotected: nothing, or `x5chain` (33, RFC 9360) with one certificate.
//! External data: `didar/1/KIND`. S is the lower of its two values, so that a signature has one form only.

use coset::cbor::value::Value;
use coset::iana::{Algorithm, EnumI64, HeaderParameter};
use coset::{CborSerializable, CoseSign1, CoseSign1Builder, Header, HeaderBuilder, Label};
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use zeroize::{Zeroize, Zeroizing};

use super::{SealError, SignError, Signer, check_size};
use crate::VERSION;
use crate::id::{Hash, sha256};
use crate::message::Kind;

/// Signs an encoded message of this kind. The result names the signer by `kid` only: the devices' messages.
///
/// # Errors
/// When the signer fails or the result exceeds the kind's size.
pub fn sign(kind: Kind, payload: &[u8], signer: &dyn Signer) -> Result<Vec<u8>, SealError> {
    sign_under(kind, payload, signer, Header::default())
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
    sign_under(kind, payload, signer, along(certificate_der))
}

fn sign_under(kind: Kind, payload: &[u8], signer: &dyn Signer, unprotected: Header) -> Result<Vec<u8>, SealError> {
    let protected = HeaderBuilder::new().algorithm(Algorithm::ES256).key_id(signer.kid().to_vec()).build();
    let sign = |to_be_signed: &[u8]| {
        let signature = Signature::from_slice(&signer.sign(to_be_signed)?);
        let signature = signature.map_err(|cause| SignError { cause: Box::new(cause) })?;
        Ok(signature.normalize_s().to_bytes().to_vec())
    };
    let message = CoseSign1Builder::new()
        .protected(protected)
        .unprotected(unprotected)
        .payload(payload.to_vec())
        .try_create_signature(&external(kind), sign)
        .map_err(|cause| SealError::Signer { kind, cause })?
        .build();
    let bytes = to_bytes(message);
    check_size("signed", kind, bytes.len())?;
    Ok(bytes)
}

/// A signed message whose signature is not checked yet: it gives no payload before.
pub struct Signed {
    kind: Kind,
    message: CoseSign1,
    kid: Hash,
    certificate: Option<Vec<u8>>,
}

impl Signed {
    /// Reads the outer form of a signed message of this kind.
    ///
    /// # Errors
    /// When the bytes are too many, no COSE_Sign1, or one that we would not have written so.
    pub fn parse(kind: Kind, bytes: &[u8]) -> Result<Self, SealError> {
        check_size("signed", kind, bytes.len())?;
        let wrong = |cause| SealError::NotSigned { kind, cause };
        let message = CoseSign1::from_slice(bytes).map_err(|_| wrong("this is no COSE_Sign1 (RFC 9052, 4.2)"))?;
        // `Signed` wipes the payload on drop, from here on also when the message is refused.
        let mut signed = Self { kind, message, kid: Hash::default(), certificate: None };
        signed.kid = kid(&signed.message).ok_or(wrong("the protected header is not ES256 with a kid of 32 bytes"))?;
        signed.certificate = certificate(&signed.message).map_err(wrong)?;
        // What nobody signed must not change the bytes either: their hash is a link of the chain of records.
        if signed.certificate.is_some() && by_device(kind) {
            return Err(wrong("a certificate came along: devices send none"));
        }
        if signed.certificate.as_ref().is_some_and(|der| sha256(der) != signed.kid) {
            return Err(wrong("kid is not the hash of the certificate that came along"));
        }
        if signed.message.payload.is_none() {
            return Err(wrong("the payload is detached"));
        }
        if Zeroizing::new(to_bytes(signed.message.clone())).as_slice() != bytes {
            return Err(wrong("not in the only encoding of its content (RFC 8949, 4.2.1)"));
        }
        Ok(signed)
    }

    /// Which certificate's key claims to have signed: SHA-256 of its DER.
    pub fn kid(&self) -> &Hash {
        &self.kid
    }

    /// The certificate that came along, if any; its hash is `kid`, but nobody has checked its chain yet.
    pub fn certificate(&self) -> Option<&[u8]> {
        self.certificate.as_deref()
    }

    /// The payload, if `key` signed it as the kind that was parsed.
    ///
    /// # Errors
    /// When the signature is another's, of other bytes, or of another kind.
    pub fn verify(&self, key: &VerifyingKey) -> Result<&[u8], SealError> {
        let kind = self.kind;
        let check = |signature: &[u8], to_be_signed: &[u8]| {
            let signature = Signature::from_slice(signature)?;
            if signature.normalize_s() != signature {
                return Err(p256::ecdsa::Error::new());
            }
            key.verify(to_be_signed, &signature)
        };
        self.message.verify_signature(&external(kind), check).map_err(|_| SealError::WrongSignature { kind })?;
        Ok(self.message.payload.as_deref().expect("parse refuses a detached payload"))
    }
}

impl std::fmt::Debug for Signed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signed").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Drop for Signed {
    fn drop(&mut self) {
        self.message.payload.zeroize();
    }
}

/// What a signature covers beside the payload: version and kind of the message.
fn external(kind: Kind) -> Vec<u8> {
    format!("didar/{VERSION}/{kind}").into_bytes()
}

/// The `kid` of a protected header that is exactly ours: ES256, 32 bytes, nothing else.
fn kid(message: &CoseSign1) -> Option<Hash> {
    let kid: Hash = message.protected.header.key_id.as_slice().try_into().ok()?;
    let ours = HeaderBuilder::new().algorithm(Algorithm::ES256).key_id(kid.to_vec()).build();
    let exact = message.protected.original_data.as_ref() == ours.to_vec().ok().as_ref();
    exact.then_some(kid)
}

/// The one certificate of an unprotected header that is empty or exactly ours.
fn certificate(message: &CoseSign1) -> Result<Option<Vec<u8>>, &'static str> {
    let unprotected = &message.unprotected;
    match unprotected.rest.as_slice() {
        _ if unprotected.is_empty() => Ok(None),
        [(Label::Int(33), Value::Bytes(der))] if *unprotected == along(der) => Ok(Some(der.clone())),
        _ => Err("the unprotected header holds something else than one certificate (x5chain)"),
    }
}

/// The unprotected header of a message with which a certificate goes: `x5chain` (RFC 9360) and nothing else.
fn along(der: &[u8]) -> Header {
    HeaderBuilder::new().value(HeaderParameter::X5Chain.to_i64(), Value::Bytes(der.to_vec())).build()
}

/// Whether devices send messages of this kind.
const fn by_device(kind: Kind) -> bool {
    match kind {
        Kind::ChallengeRequest | Kind::Attempt | Kind::AuditRecord | Kind::State => true,
        Kind::Challenge | Kind::Verdict | Kind::Receipt | Kind::Event | Kind::MatcherKeys => false,
    }
}

fn to_bytes(message: CoseSign1) -> Vec<u8> {
    message.to_vec().expect("headers without repeated labels have bytes")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::seal::{Entropy, SealKeyPair, SoftwareSigner};

    const CERTIFICATE: &[u8] = b"certificate";

    fn signer(seed: u8) -> SoftwareSigner {
        let pem = SealKeyPair::generate(Entropy::new([seed; 32])).to_pkcs8_pem();
        SoftwareSigner::from_pkcs8_pem(&pem, CERTIFICATE).unwrap()
    }

    fn refusal(bytes: &[u8]) -> String {
        Signed::parse(Kind::State, bytes).unwrap_err().to_string()
    }

    /// A signed state, changed before it is written.
    fn bent(bend: impl FnOnce(&mut CoseSign1)) -> Vec<u8> {
        let mut message = CoseSign1::from_slice(&sign(Kind::State, b"payload", &signer(1)).unwrap()).unwrap();
        bend(&mut message);
        to_bytes(message)
    }

    #[test]
    fn what_is_signed_is_verified() {
        let signer = signer(1);
        let signed = Signed::parse(Kind::State, &sign(Kind::State, b"payload", &signer).unwrap()).unwrap();
        assert_eq!(signed.verify(&signer.verifying_key()).unwrap(), b"payload");
        assert_eq!(*signed.kid(), sha256(CERTIFICATE));
        assert_eq!(signed.certificate(), None);
    }

    #[test]
    fn a_certificate_travels_along_and_must_be_the_kid_s() {
        let signer = signer(1);
        let with = |kind, der: &[u8]| sign_with_certificate(kind, b"payload", &signer, der).unwrap();
        let bytes = with(Kind::Receipt, CERTIFICATE);
        assert_eq!(Signed::parse(Kind::Receipt, &bytes).unwrap().certificate(), Some(CERTIFICATE));
        let refusal = |kind, bytes: &[u8]| Signed::parse(kind, bytes).unwrap_err().to_string();
        assert!(refusal(Kind::Receipt, &with(Kind::Receipt, b"another")).contains("kid is not the hash"));
        let mut message = CoseSign1::from_slice(&bytes).unwrap();
        message.unprotected.key_id = vec![1];
        assert!(refusal(Kind::Receipt, &to_bytes(message)).contains("something else than one certificate"));
        // Whoever passes a device's message on cannot make other bytes of it.
        assert!(refusal(Kind::AuditRecord, &with(Kind::AuditRecord, CERTIFICATE)).contains("devices send none"));
    }

    #[test]
    fn another_key_kind_or_payload_does_not_verify() {
        let bytes = sign(Kind::State, b"payload", &signer(1)).unwrap();
        let verify = |kind, bytes: &[u8], key: &VerifyingKey| {
            Signed::parse(kind, bytes).unwrap().verify(key).map(<[u8]>::to_vec)
        };
        let key = signer(1).verifying_key();
        assert!(verify(Kind::State, &bytes, &key).is_ok());
        assert!(verify(Kind::State, &bytes, &signer(2).verifying_key()).is_err(), "another key");
        assert!(verify(Kind::Receipt, &bytes, &key).is_err(), "another kind");
        assert!(verify(Kind::State, &bent(|m| m.payload = Some(b"Payload".to_vec())), &key).is_err(), "other content");
    }

    #[test]
    fn a_signature_has_one_form_only() {
        let high = |m: &mut CoseSign1| {
            let signature = Signature::from_slice(&m.signature).unwrap();
            m.signature = Signature::from_scalars(signature.r(), -signature.s()).unwrap().to_bytes().to_vec();
        };
        let signed = Signed::parse(Kind::State, &bent(high)).unwrap();
        assert!(signed.verify(&signer(1).verifying_key()).is_err());
    }

    #[test]
    fn a_signer_of_high_s_is_brought_into_form() {
        struct High(SoftwareSigner);
        impl Signer for High {
            fn kid(&self) -> Hash {
                self.0.kid()
            }
            fn sign(&self, bytes: &[u8]) -> Result<[u8; 64], SignError> {
                let low = Signature::from_slice(&self.0.sign(bytes)?).unwrap().normalize_s();
                Ok(Signature::from_scalars(low.r(), -low.s()).unwrap().to_bytes().into())
            }
        }
        let bytes = sign(Kind::State, b"payload", &High(signer(1))).unwrap();
        assert!(Signed::parse(Kind::State, &bytes).unwrap().verify(&signer(1).verifying_key()).is_ok());
    }

    #[test]
    fn headers_other_than_ours_are_refused() {
        let another_algorithm = bent(|m| {
            m.protected.original_data = None;
            m.protected.header.alg = Some(coset::RegisteredLabelWithPrivate::Assigned(Algorithm::ES384));
        });
        assert!(refusal(&another_algorithm).contains("not ES256"));
        let critical = bent(|m| {
            m.protected.original_data = None;
            m.protected.header.content_type = Some(coset::ContentType::Text("a/b".to_owned()));
        });
        assert!(refusal(&critical).contains("not ES256 with a kid"));
        assert!(refusal(&bent(|m| m.unprotected.key_id = vec![1])).contains("something else than one certificate"));
        assert!(refusal(&bent(|m| m.payload = None)).contains("detached"));
    }

    #[test]
    fn other_encodings_and_trailing_bytes_are_refused() {
        let bytes = sign(Kind::State, b"payload", &signer(1)).unwrap();
        assert!(refusal(&[bytes.as_slice(), &[0]].concat()).contains("no COSE_Sign1"));
        assert_eq!(bytes[0], 0x84);
        let longer = [&[0x98, 0x04], &bytes[1..]].concat();
        assert!(refusal(&longer).contains("only encoding"));
        let tagged = [&[0xd2], bytes.as_slice()].concat();
        assert!(refusal(&tagged).contains("no COSE_Sign1"));
    }

    #[test]
    fn size_is_checked_on_both_sides() {
        let big = vec![0; Kind::State.max_size()];
        assert!(matches!(sign(Kind::State, &big, &signer(1)), Err(SealError::TooLarge { found: 8300.., .. })));
        assert!(refusal(&[big.as_slice(), &[0]].concat()).contains("8193 bytes, at most 8192"));
    }
}
