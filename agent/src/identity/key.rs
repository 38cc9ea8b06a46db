//! The device's private key behind one interface: whatever holds it signs, and nothing gives it away.
//!
//! **Here:** [`DeviceKey`], who holds one ([`open`], [`Holder`]), the key in a file ([`FileKey`]), and what TLS and certificate
//! requests need to use one. **Not here:** the key in a TPM 2.0 (`tpm`, with the cargo feature of that name).

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use didar_protocol::id::DeviceId;
use didar_protocol::seal::SignError;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use p256::pkcs8::DecodePrivateKey as _;
use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls::{SignatureAlgorithm, SignatureScheme};
use zeroize::Zeroizing;

use super::{IdentityError, KEY_FILE, parent, read_bounded};

/// A P-256 key that signs for the device and never leaves its holder.
pub trait DeviceKey: Send + Sync {
    /// The public key: an uncompressed SEC1 point, 65 bytes.
    fn public_point(&self) -> &[u8];

    /// ES256 over `message`, which the key's holder hashes.
    ///
    /// # Errors
    /// When the holder can't sign now.
    fn sign(&self, message: &[u8]) -> Result<Signature, SignError>;
}

/// A key in a file that only its owner reads. No `Debug`, no `Clone`; wiped on drop.
pub struct FileKey {
    key: SigningKey,
    point: Vec<u8>,
}

/// Who keeps a key that is yet to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The file itself, PKCS#8.
    File,
    /// The machine's TPM 2.0; the file holds what only this chip can open.
    Tpm,
}

/// How the file of a key that a TPM holds begins: `-----BEGIN TSS2 PRIVATE KEY-----`.
pub(super) const TPM_LABEL: &str = "TSS2 PRIVATE KEY";

/// Opens the device's key: systemd's credential `device.key` where the unit has one, else the site folder's file. The file
/// says who holds it.
///
/// # Errors
/// When it is absent, others may read it, it is no P-256 key, or the chip that holds it cannot be had.
pub fn open(site: &Path, device: &DeviceId) -> Result<Arc<dyn DeviceKey>, IdentityError> {
    read(&key_file(site, std::env::var_os("CREDENTIALS_DIRECTORY").as_deref().map(Path::new)), device)
}

/// Opens the key of this file.
pub(crate) fn read(file: &Path, device: &DeviceId) -> Result<Arc<dyn DeviceKey>, IdentityError> {
    let unreadable = |cause| IdentityError::Read {
        file: file.to_owned(),
        cause,
        cure: format!("run `didar-agent enrol-request --device {device} --site {}`", parent(file).display()),
    };
    // Mode 0400 (a systemd credential) is as good as 0600: what counts is that nobody else reads it.
    let mode = fs::metadata(file).map_err(unreadable)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::KeyMode { file: file.to_owned(), mode });
    }
    let text = Zeroizing::new(read_bounded(file).map_err(unreadable)?);
    let malformed = || IdentityError::KeyFormat { file: file.to_owned() };
    if der::pem::decode_label(&text).map_err(|_| malformed())? == TPM_LABEL {
        return in_the_chip(file, &text);
    }
    let text = std::str::from_utf8(&text).map_err(|_| malformed())?;
    let key = SigningKey::from_pkcs8_pem(text).map_err(|_| malformed())?;
    let point = key.verifying_key().to_sec1_point(false).as_bytes().to_vec();
    Ok(Arc::new(FileKey { key, point }))
}

#[cfg(feature = "tpm")]
fn in_the_chip(file: &Path, text: &[u8]) -> Result<Arc<dyn DeviceKey>, IdentityError> {
    let (_, der) = der::pem::decode_vec(text).map_err(|_| IdentityError::KeyFormat { file: file.to_owned() })?;
    let key = super::tpm::TpmKey::load(&der).map_err(|cause| IdentityError::Tpm {
        file: file.to_owned(),
        place: super::tpm::place(),
        why: cause.to_string(),
    })?;
    Ok(Arc::new(key))
}

#[cfg(not(feature = "tpm"))]
fn in_the_chip(file: &Path, _: &[u8]) -> Result<Arc<dyn DeviceKey>, IdentityError> {
    Err(IdentityError::NoTpm { file: file.to_owned() })
}

impl DeviceKey for FileKey {
    fn public_point(&self) -> &[u8] {
        &self.point
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, SignError> {
        Ok(self.key.sign(message))
    }
}

/// Where the key's file is.
pub(super) fn key_file(site: &Path, credentials: Option<&Path>) -> PathBuf {
    let credential = credentials.map(|folder| folder.join(KEY_FILE)).filter(|file| file.exists());
    credential.unwrap_or_else(|| site.join(KEY_FILE))
}

/// The key as TLS uses it.
#[derive(Clone)]
pub(crate) struct TlsKey(pub(crate) Arc<dyn DeviceKey>);

impl fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsKey")
    }
}

impl rustls::sign::SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        let ours = SignatureScheme::ECDSA_NISTP256_SHA256;
        offered.contains(&ours).then(|| Box::new(self.clone()) as Box<dyn rustls::sign::Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl rustls::sign::Signer for TlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let signature = self.0.sign(message).map_err(|why| rustls::Error::General(why.to_string()))?;
        Ok(signature.to_der().as_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

/// The key as a certificate request uses it.
pub(crate) struct RequestKey<'a>(pub(crate) &'a dyn DeviceKey);

impl PublicKeyData for RequestKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_point()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for RequestKey<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.0.sign(message).map_err(|_| rcgen::Error::RemoteKeyError)?;
        Ok(signature.to_der().as_bytes().to_vec())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_of_systemd_goes_before_the_file() {
        let (site, credentials) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let device: DeviceId = "kiosk-7".parse().unwrap();
        crate::enrol::request(&device, site.path(), Holder::File).unwrap();
        assert_eq!(key_file(site.path(), Some(credentials.path())), site.path().join(KEY_FILE));
        let credential = credentials.path().join(KEY_FILE);
        fs::copy(site.path().join(KEY_FILE), &credential).unwrap();
        fs::set_permissions(&credential, fs::Permissions::from_mode(0o400)).unwrap();
        assert_eq!(key_file(site.path(), Some(credentials.path())), credential);
        assert!(read(&credential, &device).is_ok());
    }
}
