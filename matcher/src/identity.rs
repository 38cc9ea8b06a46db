//! Who this matcher is: its certificate with the signing key, and its sealing keys; both may be replaced while it serves.

pub mod seal_keys;

use std::path::PathBuf;
use std::time::SystemTime;

use didar_protocol::id::Hash;
use didar_protocol::message::Message;
use didar_protocol::seal::{self, KeyError, SealError, SealKey, SealKeyId, SealKeyPair, SoftwareSigner};

use crate::config::Config;
use crate::files::{self, FileError};
use crate::pki::{Certificate, Holder, PkiError};
use crate::time;

/// The matcher's certificate and keys.
pub struct Identity {
    id: String,
    certificate: Certificate,
    signer: SoftwareSigner,
    seal_keys: Vec<SealKeyPair>,
    places: Places,
    /// What the files were like when they were read.
    read: Fingerprint,
}

/// Where the keys are.
#[derive(Clone)]
struct Places {
    certificate: PathBuf,
    key: PathBuf,
    seal: PathBuf,
    overlap_hours: u32,
}

/// The certificate's last change and the sealing keys that count.
type Fingerprint = (Option<SystemTime>, Vec<PathBuf>);

/// Why the matcher has no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The certificate is not usable.
    #[error("matcher's certificate {path}")]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        cause: PkiError,
    },
    /// The certificate is somebody else's.
    #[error("certificate {path} is of {found}, the configuration says matcher {id}")]
    Another {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        found: Holder,
        /// What the configuration says.
        id: String,
    },
    /// A key file holds no key.
    #[error("key file {path}")]
    Key {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        cause: KeyError,
    },
    /// Certificate and key do not belong together.
    #[error("key {key} does not belong to certificate {certificate}")]
    Mismatch {
        /// The key file.
        key: PathBuf,
        /// The certificate file.
        certificate: PathBuf,
    },
    /// No key to seal to.
    #[error("{0} holds no sealing key: make one with didar-matcher keys rotate")]
    NoKeys(PathBuf),
    /// More keys than a message tells.
    #[error("{folder} holds as many keys as may count at once: wait for the overlap of {overlap_hours} hours to end")]
    TooManyKeys {
        /// Which folder.
        folder: PathBuf,
        /// How long a replaced key counts.
        overlap_hours: u32,
    },
    /// A message could not be made.
    #[error("no random bytes from the system")]
    Random(getrandom::Error),
}

/// Why the matcher could not say something.
#[derive(Debug, thiserror::Error)]
pub enum SpeakError {
    /// A field is out of bounds: a bug of ours.
    #[error("own message cannot be encoded")]
    Encode(#[from] Box<didar_protocol::codec::EncodeError>),
    /// Signing failed.
    #[error("own message cannot be signed")]
    Sign(#[from] Box<SealError>),
}

impl Identity {
    /// Reads certificate and keys as the configuration names them.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn load(config: &Config) -> Result<Self, IdentityError> {
        let places = Places {
            certificate: config.broker.certificate.clone(),
            key: config.broker.key.clone(),
            seal: config.keys.seal.clone(),
            overlap_hours: config.keys.overlap_hours,
        };
        Self::read(config.id.clone(), places, time::now_ms())
    }

    /// Reads the keys again where their files changed, or where one's time is over; true when anything is new.
    ///
    /// # Errors
    /// Names what cannot be used; the keys in use stay in use.
    pub fn refresh(&mut self, now_ms: u64) -> Result<bool, IdentityError> {
        if self.places.fingerprint(now_ms)? == self.read {
            return Ok(false);
        }
        *self = Self::read(self.id.clone(), self.places.clone(), now_ms)?;
        Ok(true)
    }

    fn read(id: String, places: Places, now_ms: u64) -> Result<Self, IdentityError> {
        let read = places.fingerprint(now_ms)?;
        let path = &places.certificate;
        let certificate = Certificate::from_pem(&files::read_text(path)?)
            .map_err(|cause| IdentityError::Certificate { path: path.clone(), cause })?;
        if certificate.holder() != &Holder::Matcher(id.clone()) {
            let found = certificate.holder().clone();
            return Err(IdentityError::Another { path: path.clone(), found, id });
        }
        let key = &places.key;
        let signer = SoftwareSigner::from_pkcs8_pem(&files::read_secret(key)?, certificate.der())
            .map_err(|cause| IdentityError::Key { path: key.clone(), cause })?;
        if &signer.verifying_key() != certificate.key() {
            return Err(IdentityError::Mismatch { key: key.clone(), certificate: path.clone() });
        }
        let mut seal_keys = Vec::new();
        for path in &read.1 {
            let pair = SealKeyPair::from_pkcs8_pem(&files::read_secret(path)?)
                .map_err(|cause| IdentityError::Key { path: path.clone(), cause })?;
            seal_keys.push(pair);
        }
        if seal_keys.is_empty() {
            return Err(IdentityError::NoKeys(places.seal));
        }
        Ok(Self { id, certificate, signer, seal_keys, places, read })
    }

    /// This matcher's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its certificate's thumbprint.
    pub fn thumbprint(&self) -> Hash {
        self.certificate.thumbprint()
    }

    /// Whether its certificate counts at `now_ms`: by a clock for which it does not, nothing that it says would be believed.
    pub fn is_in_force(&self, now_ms: u64) -> bool {
        self.certificate.is_in_force(now_ms)
    }

    /// The pair that a message was sealed to; `None` where the key is not ours, or no longer.
    pub fn seal_pair(&self, id: &SealKeyId) -> Option<&SealKeyPair> {
        self.seal_keys.iter().find(|pair| pair.public().id() == *id)
    }

    /// The current sealing key's public half first, then those that still open.
    pub fn seal_public(&self) -> Vec<SealKey> {
        self.seal_keys.iter().map(|pair| pair.public().clone()).collect()
    }

    /// Encodes and signs a message, with the certificate along.
    ///
    /// # Errors
    /// When a field is out of its bounds or the key fails.
    pub fn speak<M: Message>(&self, message: &M) -> Result<Vec<u8>, SpeakError> {
        let payload = message.encode().map_err(Box::new)?;
        Ok(seal::sign_with_certificate(M::KIND, &payload, &self.signer, self.certificate.der()).map_err(Box::new)?)
    }
}

impl Places {
    fn fingerprint(&self, now_ms: u64) -> Result<Fingerprint, IdentityError> {
        let changed = std::fs::metadata(&self.certificate).and_then(|found| found.modified()).ok();
        let files = seal_keys::list(&self.seal, self.overlap_hours)?;
        let good = files.into_iter().filter(|file| file.opens(now_ms / 1000)).take(seal_keys::KEYS_MAX);
        Ok((changed, good.map(|file| file.path).collect()))
    }
}

/// Fresh bytes from the system's random source.
///
/// # Errors
/// When the system gives none.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
