//! Who this device is: its key, its certificate, and the signatures that it makes.
//!
//! **Here:** the files of the site folder (`device.key`, `device.pem`, `ca.pem`), what the certificate says, and
//! [`Identity`] as the signer of everything that leaves the device. The key is used through [`key::DeviceKey`] only.
//! **Not here:** making a key ([`crate::enrol`]), the next certificate ([`crate::renew`]), judging the other side's certificates ([`crate::uplink::trust`]).
//! **Start** with [`Identity::open`].

pub mod key;
#[cfg(feature = "tpm")]
pub(crate) mod tpm;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use base64ct::{Base64, Encoding as _};
use didar_protocol::id::{DeviceId, Hash, sha256};
use didar_protocol::seal::{SignError, Signer};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

use key::{DeviceKey, TlsKey};

/// Name of the private key's file in the site folder: PKCS#8 PEM or, of a key in a TPM, TSS2 PEM; readable by its owner only.
pub const KEY_FILE: &str = "device.key";
/// Name of the certificate's file: the device's own first, then any intermediates.
pub const CERTIFICATE_FILE: &str = "device.pem";
/// Name of the file with the pinned certificate authority.
pub const ANCHOR_FILE: &str = "ca.pem";

/// A certificate that is good for fewer whole days is told of: the agent renews one of a year long before.
pub const DAYS_FEW: i64 = 30;

/// Largest file that is read as key or certificate: a chain of ten with room to spare.
const FILE_MAX: u64 = 64 * 1024;

/// The device's key and certificate, found to belong together and to this device. No `Debug`, no `Clone`.
pub struct Identity {
    device: DeviceId,
    key: Arc<dyn DeviceKey>,
    /// Where the certificate is kept.
    file: PathBuf,
    held: RwLock<Held>,
}

/// The certificate in use.
#[derive(Clone)]
struct Held {
    chain: Vec<CertificateDer<'static>>,
    facts: Arc<CertificateFacts>,
}

/// What a certificate says of itself; nothing here is trusted by having been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// SHA-256 of the DER: the `kid` of the device's signatures.
    pub thumbprint: Hash,
    /// Start of validity, seconds since 1970.
    pub not_before_s: i64,
    /// End of validity, seconds since 1970.
    pub not_after_s: i64,
    /// Common name of the subject, if it has exactly one that is text.
    pub common_name: Option<String>,
    /// Every URI among the subject's alternative names.
    pub uris: Vec<String>,
    /// The subject's public key as an uncompressed SEC1 point, when the key is on P-256.
    pub public_key: Vec<u8>,
}

/// Why the device's identity cannot be used. Each says which file and what mends it.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file of the site folder cannot be read.
    #[error("cannot read {file}: {cause}; {cure}")]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        cause: io::Error,
        /// What to do about it.
        cure: String,
    },
    /// A file of the site folder cannot be written.
    #[error("cannot write {file}: {cause}")]
    Write {
        /// The file.
        file: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The private key's file may be read by others.
    #[error("{file} has mode {mode:04o}, so others may read the device's key; run `chmod 600 {file}`")]
    KeyMode {
        /// The file.
        file: PathBuf,
        /// Permission bits found.
        mode: u32,
    },
    /// The file holds no P-256 key.
    #[error("{file} holds no P-256 private key in PKCS#8 PEM; move it away and run `didar-agent enrol-request`")]
    KeyFormat {
        /// The file.
        file: PathBuf,
    },
    /// The chip that holds the key cannot be had, is another one, or refuses.
    #[error(
        "the key in {file} cannot be loaded into the TPM at {place}: {why}; it works only in the chip that made it: see \
         that the chip is there and this user may use it, or enrol the device again"
    )]
    Tpm {
        /// The file.
        file: PathBuf,
        /// Where the chip is, as TPM2TOOLS_TCTI names it.
        place: String,
        /// What the chip or its library said.
        why: String,
    },
    /// The key is in a TPM, the program knows none.
    #[error("{file} is a key in a TPM, and this program was built without: build it with `--features tpm`")]
    NoTpm {
        /// The file.
        file: PathBuf,
    },
    /// The file holds no certificate that can be read.
    #[error("{file} holds no readable X.509 certificate in PEM: {why}")]
    CertificateFormat {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The certificate names another device than the configuration.
    #[error(
        "{file} is the certificate of {found:?}, the configuration says device {device:?}; \
         its common name and a URI urn:didar:device:{device} must both name the device"
    )]
    OtherDevice {
        /// The file.
        file: PathBuf,
        /// The names found.
        found: Vec<String>,
        /// The configured device.
        device: String,
    },
    /// The certificate was issued for another key.
    #[error("{certificate} was issued for another key than {key}; have {key}'s request signed again")]
    OtherKey {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
}

impl Identity {
    /// Reads key and certificate from the folder `site` and checks that they are `device`'s.
    ///
    /// An expired certificate is no error here: the broker's refusal and [`CertificateFacts::days_left`] tell, and the
    /// kiosk must still start to say so.
    pub fn open(site: &Path, device: &DeviceId) -> Result<Self, IdentityError> {
        Self::with_key(site, device, key::open(site, device)?)
    }

    /// The same with a key that was opened already.
    pub fn with_key(site: &Path, device: &DeviceId, key: Arc<dyn DeviceKey>) -> Result<Self, IdentityError> {
        let file = site.join(CERTIFICATE_FILE);
        let cure = format!("have device.csr signed for {device} and put the certificate there");
        let chain = read_certificates(&file, &cure)?;
        let held = Held::new(chain, device, key.as_ref(), &file)?;
        Ok(Self { device: device.clone(), key, file, held: RwLock::new(held) })
    }

    /// The device that this is.
    pub fn device(&self) -> &DeviceId {
        &self.device
    }

    /// What the device's certificate says.
    pub fn facts(&self) -> Arc<CertificateFacts> {
        self.held().facts
    }

    /// The device's key.
    pub fn key(&self) -> &Arc<dyn DeviceKey> {
        &self.key
    }

    /// Uses this certificate from now on, and after a restart: signatures at once, TLS with the next connection.
    ///
    /// # Errors
    /// When it is not this device's and key's, or cannot be kept; then the old one stays in use.
    pub fn adopt(&self, chain: Vec<CertificateDer<'static>>) -> Result<(), IdentityError> {
        let held = Held::new(chain, &self.device, self.key.as_ref(), &self.file)?;
        write_certificates(&self.file, &held.chain)?;
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = held;
        Ok(())
    }

    /// Whether the next certificate could be kept: writes the present one anew.
    ///
    /// # Errors
    /// The site's folder takes no file.
    pub fn check_room(&self) -> Result<(), IdentityError> {
        write_certificates(&self.file, &self.held().chain)
    }

    fn held(&self) -> Held {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Held {
    fn new(
        chain: Vec<CertificateDer<'static>>,
        device: &DeviceId,
        key: &dyn DeviceKey,
        file: &Path,
    ) -> Result<Self, IdentityError> {
        let malformed = |why| IdentityError::CertificateFormat { file: file.to_owned(), why };
        let first = chain.first().ok_or_else(|| malformed("no certificate".to_owned()))?;
        let facts = CertificateFacts::read(first).map_err(malformed)?;
        if !facts.names_device(device) {
            let found = facts.common_name.iter().chain(&facts.uris).cloned().collect();
            return Err(IdentityError::OtherDevice { file: file.to_owned(), found, device: device.to_string() });
        }
        if facts.public_key != key.public_point() {
            return Err(IdentityError::OtherKey { certificate: file.to_owned(), key: parent(file).join(KEY_FILE) });
        }
        Ok(Self { chain, facts: Arc::new(facts) })
    }
}

impl Signer for Identity {
    fn kid(&self) -> Hash {
        self.facts().thumbprint
    }

    fn sign(&self, to_be_signed: &[u8]) -> Result<[u8; 64], SignError> {
        Ok(self.key.sign(to_be_signed)?.to_bytes().into())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.device)
    }
}

/// Every handshake shows the certificate that is in use then.
impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let ours = schemes.contains(&SignatureScheme::ECDSA_NISTP256_SHA256);
        ours.then(|| Arc::new(CertifiedKey::new(self.held().chain, Arc::new(TlsKey(Arc::clone(&self.key))))))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl CertificateFacts {
    /// Reads what the certificate `der` says; the error is a short text for the reader of a file name.
    pub fn read(der: &[u8]) -> Result<Self, String> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| "not valid DER".to_owned())?;
        if !rest.is_empty() {
            return Err("bytes follow the certificate".to_owned());
        }
        let mut names = certificate.subject().iter_common_name();
        let common_name = match (names.next(), names.next()) {
            (Some(one), None) => one.as_str().ok().map(str::to_owned),
            _ => None,
        };
        let alternatives = certificate.subject_alternative_name().map_err(|_| "its alternative names are malformed")?;
        let uris = alternatives
            .map(|names| names.value.general_names.iter())
            .into_iter()
            .flatten()
            .filter_map(|name| if let GeneralName::URI(uri) = name { Some((*uri).to_owned()) } else { None })
            .collect();
        Ok(Self {
            thumbprint: sha256(der),
            not_before_s: certificate.validity().not_before.timestamp(),
            not_after_s: certificate.validity().not_after.timestamp(),
            common_name,
            uris,
            public_key: certificate.public_key().subject_public_key.data.to_vec(),
        })
    }

    /// Whole days until the certificate expires at the time `now_s` (seconds since 1970); negative after that.
    pub fn days_left(&self, now_s: i64) -> i64 {
        self.not_after_s.saturating_sub(now_s).div_euclid(86_400)
    }

    /// The id after `urn:didar:KIND:` of the only such URI; `None` with no or several.
    pub fn didar_name(&self, kind: &str) -> Option<&str> {
        let prefix = format!("urn:didar:{kind}:");
        let mut names = self.uris.iter().filter_map(|uri| uri.strip_prefix(&prefix));
        match (names.next(), names.next()) {
            (Some(one), None) => Some(one),
            _ => None,
        }
    }

    /// Whether two thirds of the certificate's life are over at `now_s`: time for the next one.
    pub fn is_due(&self, now_s: i64) -> bool {
        let life_s = self.not_after_s.saturating_sub(self.not_before_s);
        now_s >= self.not_before_s.saturating_add(life_s / 3 * 2)
    }

    fn names_device(&self, device: &DeviceId) -> bool {
        self.common_name.as_deref() == Some(device.as_str()) && self.didar_name("device") == Some(device.as_str())
    }
}

/// Reads every certificate of a PEM file, at least one; `cure` ends the error about a file that cannot be read.
pub(crate) fn read_certificates(file: &Path, cure: &str) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let text = read_bounded(file).map_err(|cause| IdentityError::Read {
        file: file.to_owned(),
        cause,
        cure: cure.to_owned(),
    })?;
    let malformed = |why: String| IdentityError::CertificateFormat { file: file.to_owned(), why };
    let chain = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|cause| malformed(cause.to_string()))?;
    if chain.is_empty() { Err(malformed("no CERTIFICATE block".to_owned())) } else { Ok(chain) }
}

/// The day of a time in seconds since 1970, as `2026-11-23`, for messages to people.
pub fn day(seconds: i64) -> String {
    ASN1Time::from_timestamp(seconds)
        .map_or_else(|_| format!("second {seconds}"), |time| time.to_datetime().date().to_string())
}

/// Keeps certificates, the device's own first, in one step.
pub(crate) fn write_certificates(file: &Path, chain: &[CertificateDer<'_>]) -> Result<(), IdentityError> {
    let mut text = String::new();
    for der in chain {
        let body = Base64::encode_string(der);
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in body.as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    crate::file::replace(file, text.as_bytes()).map_err(|cause| IdentityError::Write { file: file.to_owned(), cause })
}

fn read_bounded(file: &Path) -> io::Result<Vec<u8>> {
    let length = fs::metadata(file)?.len();
    if length > FILE_MAX {
        let why = format!("it has {length} bytes, at most {FILE_MAX} are read");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    fs::read(file)
}

fn parent(file: &Path) -> &Path {
    file.parent().unwrap_or(file)
}
