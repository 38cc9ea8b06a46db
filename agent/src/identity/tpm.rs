//! The device's key in a TPM 2.0 (ISO/IEC 11889): made by the chip, and of use in this chip only.
//!
//! **Here:** [`TpmKey`]. The file `device.key` then holds what only the chip can open, as a `TSS2 PRIVATE KEY`
//! (draft-bottomley-tpm2-keys, 3.1; its parent is the owner hierarchy's standard storage key, section 3.1.8), the form
//! of OpenSSL's TPM provider. **Not here:** reading the file ([`super::key::open`]).
//!
//! Which TPM: the environment's `TPM2TOOLS_TCTI` or `TCTI`, as for the TPM's own tools; without it the kernel's
//! resource manager, `device:/dev/tpmrm0`.

use std::str::FromStr as _;
use std::sync::{Mutex, PoisonError};

use der::asn1::{ObjectIdentifier, OctetString};
use der::pem::LineEnding;
use der::{Decode as _, Encode as _, Sequence};
use didar_protocol::id::sha256;
use didar_protocol::seal::SignError;
use p256::ecdsa::Signature;
use tss_esapi::attributes::ObjectAttributesBuilder;
use tss_esapi::constants::tss::{TPM2_RH_NULL, TPM2_ST_HASHCHECK};
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{
    CreateKeyResult, Digest, EccParameter, EccPoint, EccScheme, HashScheme, Private, Public, PublicBuilder,
    PublicEccParametersBuilder, SignatureScheme, SymmetricDefinitionObject,
};
use tss_esapi::tcti_ldr::TctiNameConf;
use tss_esapi::traits::{Marshall as _, UnMarshall as _};
use tss_esapi::tss2_esys::TPMT_TK_HASHCHECK;
use tss_esapi::utils::create_unrestricted_signing_ecc_public;
use tss_esapi::{Context, Error, Result, WrapperErrorKind};

use super::key::{DeviceKey, TPM_LABEL};

/// `id-loadablekey` of the TCG.
const LOADABLE_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.10.1.3");
/// `TPM_RH_OWNER`: the parent is made anew from this hierarchy's seed, nothing is kept in the chip.
const OWNER: u32 = 0x4000_0001;

/// `TPMKey` of the draft, without what no key of ours has.
#[derive(Sequence)]
struct KeyFile {
    kind: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    empty_auth: Option<bool>,
    parent: u32,
    /// `TPM2B_PUBLIC`.
    public: OctetString,
    /// `TPM2B_PRIVATE`: encrypted by the chip.
    private: OctetString,
}

/// A P-256 key that a TPM made and holds. No `Debug`, no `Clone`.
pub(crate) struct TpmKey {
    public: Public,
    private: Private,
    point: Vec<u8>,
    /// The chip with the key loaded; `None` after a failure, until it is loaded again.
    loaded: Mutex<Option<Loaded>>,
}

struct Loaded {
    context: Context,
    key: KeyHandle,
}

impl TpmKey {
    /// Has the chip make a key; its file, PEM.
    ///
    /// # Errors
    /// When there is no TPM, or it refuses.
    pub(crate) fn make() -> Result<String> {
        let mut context = connect()?;
        let signing = create_unrestricted_signing_ecc_public(
            EccScheme::EcDsa(HashScheme::new(HashingAlgorithm::Sha256)),
            EccCurve::NistP256,
        )?;
        let CreateKeyResult { out_private, out_public, .. } =
            context.execute_with_session(Some(AuthSession::Password), |context| {
                let parent = context.create_primary(Hierarchy::Owner, storage()?, None, None, None, None)?.key_handle;
                let made = context.create(parent, signing, None, None, None, None);
                context.execute_without_session(|context| context.flush_context(parent.into()))?;
                made
            })?;
        let file = KeyFile {
            kind: LOADABLE_KEY,
            empty_auth: Some(true),
            parent: OWNER,
            public: sized(&out_public.marshall()?)?,
            private: sized(out_private.value())?,
        };
        let der = file.to_der().map_err(|_| malformed())?;
        der::pem::encode_string(TPM_LABEL, LineEnding::LF, &der).map_err(|_| malformed())
    }

    /// Loads the key of a file's DER into the chip.
    ///
    /// # Errors
    /// When this is no such key, it belongs to another chip, or there is no TPM.
    pub(crate) fn load(der: &[u8]) -> Result<Self> {
        let file = KeyFile::from_der(der).map_err(|_| malformed())?;
        if (file.kind, file.parent) != (LOADABLE_KEY, OWNER) {
            return Err(Error::WrapperError(WrapperErrorKind::UnsupportedParam));
        }
        let public = Public::unmarshall(unsized_of(&file.public)?)?;
        let private = Private::try_from(unsized_of(&file.private)?.to_vec())?;
        let point = point(&public)?;
        let loaded = Loaded::new(&public, &private)?;
        Ok(Self { public, private, point, loaded: Mutex::new(Some(loaded)) })
    }

    /// Signs; a chip that lost the key (it was reset, or its resource manager started again) gets it once more.
    fn signed(&self, digest: &[u8; 32]) -> Result<Signature> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chip) = loaded.as_mut()
            && let Ok(signature) = chip.sign(digest)
        {
            return Ok(signature);
        }
        // The old connection ends before the new one begins: a TPM without a resource manager takes one.
        *loaded = None;
        loaded.insert(Loaded::new(&self.public, &self.private)?).sign(digest)
    }
}

impl DeviceKey for TpmKey {
    fn public_point(&self) -> &[u8] {
        &self.point
    }

    fn sign(&self, message: &[u8]) -> std::result::Result<Signature, SignError> {
        self.signed(&sha256(message)).map_err(|cause| SignError { cause: Box::new(cause) })
    }
}

impl Loaded {
    fn new(public: &Public, private: &Private) -> Result<Self> {
        let mut context = connect()?;
        let key = context.execute_with_session(Some(AuthSession::Password), |context| {
            let parent = context.create_primary(Hierarchy::Owner, storage()?, None, None, None, None)?.key_handle;
            let key = context.load(parent, private.clone(), public.clone());
            context.execute_without_session(|context| context.flush_context(parent.into()))?;
            key
        })?;
        Ok(Self { context, key })
    }

    fn sign(&mut self, digest: &[u8; 32]) -> Result<Signature> {
        // The digest is ours, not the chip's: there is no ticket, and the key is not a restricted one.
        let ticket = TPMT_TK_HASHCHECK { tag: TPM2_ST_HASHCHECK, hierarchy: TPM2_RH_NULL, digest: Default::default() };
        let (key, digest) = (self.key, Digest::try_from(digest.to_vec())?);
        let signed = self.context.execute_with_session(Some(AuthSession::Password), |context| {
            context.sign(key, digest, SignatureScheme::Null, ticket.try_into()?)
        })?;
        let tss_esapi::structures::Signature::EcDsa(signature) = signed else { return Err(malformed()) };
        let (r, s) = (padded(signature.signature_r())?, padded(signature.signature_s())?);
        Signature::from_scalars(r, s).map_err(|_| malformed())
    }
}

/// Where the TPM is, as its tools write it.
pub(crate) fn place() -> String {
    let named = ["TPM2TOOLS_TCTI", "TCTI"].iter().find_map(|name| std::env::var(name).ok());
    named.unwrap_or_else(|| "device:/dev/tpmrm0".to_owned())
}

fn connect() -> Result<Context> {
    Context::new(TctiNameConf::from_str(&place())?)
}

/// The standard storage key (TCG TPM v2.0 Provisioning Guidance, 7.5.1; the draft's section 3.1.8): P-256, AES-128-CFB.
fn storage() -> Result<Public> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
        .with_restricted(true)
        .with_decrypt(true)
        .build()?;
    let parameters = PublicEccParametersBuilder::new_restricted_decryption_key(
        SymmetricDefinitionObject::AES_128_CFB,
        EccCurve::NistP256,
    );
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_ecc_parameters(parameters.build()?)
        .with_ecc_unique_identifier(EccPoint::default())
        .build()
}

/// The uncompressed SEC1 point of a P-256 key.
fn point(public: &Public) -> Result<Vec<u8>> {
    let Public::Ecc { parameters, unique, .. } = public else { return Err(malformed()) };
    if parameters.ecc_curve() != EccCurve::NistP256 {
        return Err(Error::WrapperError(WrapperErrorKind::UnsupportedParam));
    }
    Ok([&[4][..], &padded(unique.x())?, &padded(unique.y())?].concat())
}

/// A number of the curve in its 32 bytes: the chip may leave leading zeros out.
fn padded(number: &EccParameter) -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    let first = 32_usize.checked_sub(number.value().len()).ok_or_else(malformed)?;
    bytes[first..].copy_from_slice(number.value());
    Ok(bytes)
}

/// With its length before it, as a TPM2B structure.
fn sized(bytes: &[u8]) -> Result<OctetString> {
    let length = u16::try_from(bytes.len()).map_err(|_| malformed())?;
    OctetString::new([&length.to_be_bytes()[..], bytes].concat()).map_err(|_| malformed())
}

fn unsized_of(structure: &OctetString) -> Result<&[u8]> {
    let (length, bytes) = structure.as_bytes().split_first_chunk().ok_or_else(malformed)?;
    if usize::from(u16::from_be_bytes(*length)) == bytes.len() { Ok(bytes) } else { Err(malformed()) }
}

fn malformed() -> Error {
    Error::WrapperError(WrapperErrorKind::InvalidParam)
}
