//! Enrolment, the device's part: a key made on the device, and a request that names it.
//!
//! **Here:** the key, in a file or in a TPM, and the request. The key never leaves the device and is never overwritten.
//! **Not here:** the way to the authority over the network ([`crate::est`]).
//! **Start** with [`request`].

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use didar_protocol::id::{DeviceId, Hash, sha256};
use rcgen::{
    CertificateParams, CertificateSigningRequest, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256,
    PublicKeyData, SanType, SigningKey,
};
use zeroize::Zeroizing;

use crate::identity::key::{self, DeviceKey, Holder, RequestKey};
use crate::identity::{IdentityError, KEY_FILE};

/// Name of the certificate request's file in the site folder.
pub const REQUEST_FILE: &str = "device.csr";

/// What an operator needs to sign the request for the right device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// The request (PKCS#10 PEM).
    pub request: PathBuf,
    /// SHA-256 of the public key (SubjectPublicKeyInfo DER): compare it by voice or QR code before signing.
    pub key_fingerprint: Hash,
}

/// Why no request was made.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// There is a key already.
    #[error(
        "{file} exists and is never overwritten: sign the {REQUEST_FILE} beside it, \
         or move the key away first if the device must get a new one"
    )]
    KeyExists {
        /// The key's file.
        file: PathBuf,
    },
    /// A file cannot be written.
    #[error("cannot write {file}: {cause}")]
    Write {
        /// The file.
        file: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The system gave no key; on a device this means that it has no entropy yet.
    #[error("cannot make a P-256 key: {0}")]
    Key(rcgen::Error),
    /// The chip made no key.
    #[error(
        "the TPM makes no key: {why}; see that the chip is there, that this user may use it, and that its owner \
         hierarchy has no password"
    )]
    Tpm {
        /// What the chip or its library said.
        why: String,
    },
    /// The key was made and cannot be used.
    #[error("the key was made: {cause}")]
    Kept {
        /// Why.
        #[source]
        cause: Box<IdentityError>,
    },
}

/// Makes the key of `device` in the folder `site` (created if absent) and the request to have it certified.
///
/// Writes `device.key` (mode 0600) first and `device.csr` after it, both flushed to the disk.
///
/// # Errors
/// There is a key, a file cannot be written, or the key's holder makes none.
pub fn request(device: &DeviceId, site: &Path, holder: Holder) -> Result<Enrolment, EnrolError> {
    std::fs::create_dir_all(site).map_err(|cause| EnrolError::Write { file: site.to_owned(), cause })?;
    let key_file = site.join(KEY_FILE);
    let pem = make_key(holder)?;
    write_new(&key_file, 0o600, pem.as_bytes(), OpenOptions::new().create_new(true)).map_err(|cause| {
        match cause.kind() {
            io::ErrorKind::AlreadyExists => EnrolError::KeyExists { file: key_file.clone() },
            _ => EnrolError::Write { file: key_file.clone(), cause },
        }
    })?;
    let key = key::read(&key_file, device).map_err(|cause| EnrolError::Kept { cause: Box::new(cause) })?;
    let csr = certificate_request(device, &RequestKey(key.as_ref()))
        .and_then(|request| request.pem())
        .map_err(EnrolError::Key)?;
    let request = site.join(REQUEST_FILE);
    write_new(&request, 0o644, csr.as_bytes(), OpenOptions::new().create(true).truncate(true))
        .map_err(|cause| EnrolError::Write { file: request.clone(), cause })?;
    Ok(Enrolment { request, key_fingerprint: fingerprint(key.as_ref()) })
}

/// A fresh key, as its file will hold it.
fn make_key(holder: Holder) -> Result<Zeroizing<String>, EnrolError> {
    match holder {
        Holder::File => {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(EnrolError::Key)?;
            Ok(Zeroizing::new(key.serialize_pem()))
        }
        #[cfg(feature = "tpm")]
        Holder::Tpm => {
            let made = crate::identity::tpm::TpmKey::make();
            let at = crate::identity::tpm::place();
            made.map(Zeroizing::new).map_err(|cause| EnrolError::Tpm { why: format!("{cause} (at {at})") })
        }
        #[cfg(not(feature = "tpm"))]
        Holder::Tpm => Err(EnrolError::Tpm { why: "this program was built without (`--features tpm`)".to_owned() }),
    }
}

/// The request of `device` for a certificate of this key, DER.
///
/// # Errors
/// When the key's holder does not sign.
pub fn request_der(device: &DeviceId, key: &dyn DeviceKey) -> Result<Vec<u8>, EnrolError> {
    certificate_request(device, &RequestKey(key)).map(|request| request.der().to_vec()).map_err(EnrolError::Key)
}

/// SHA-256 of a key's SubjectPublicKeyInfo: what operator and device compare.
pub fn fingerprint(key: &dyn DeviceKey) -> Hash {
    sha256(&RequestKey(key).subject_public_key_info())
}

fn certificate_request(device: &DeviceId, key: &impl SigningKey) -> Result<CertificateSigningRequest, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, device.as_str());
    params.subject_alt_names = vec![SanType::URI(format!("urn:didar:device:{device}").as_str().try_into()?)];
    params.serialize_request(key)
}

fn write_new(file: &Path, mode: u32, bytes: &[u8], how: &mut OpenOptions) -> io::Result<()> {
    let mut open = how.write(true).mode(mode).open(file)?;
    open.write_all(bytes)?;
    open.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::identity::{CERTIFICATE_FILE, Identity};
    use rcgen::{CertificateSigningRequestParams, Issuer};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn kiosk() -> DeviceId {
        "kiosk-7".parse().unwrap()
    }

    /// Signs the request in `site` as an operator's authority would.
    fn sign_request(site: &Path) {
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::new(CertificateParams::default(), key);
        let text = fs::read_to_string(site.join(REQUEST_FILE)).unwrap();
        let certificate = CertificateSigningRequestParams::from_pem(&text).unwrap().signed_by(&issuer).unwrap();
        fs::write(site.join(CERTIFICATE_FILE), certificate.pem()).unwrap();
    }

    fn open_error(site: &Path, device: &DeviceId) -> IdentityError {
        Identity::open(site, device).err().unwrap()
    }

    #[test]
    fn a_signed_request_is_an_identity() {
        let site = tempfile::tempdir().unwrap();
        let made = request(&kiosk(), site.path(), Holder::File).unwrap();
        assert_eq!(made.request, site.path().join("device.csr"));
        assert!(matches!(open_error(site.path(), &kiosk()), IdentityError::Read { .. }));
        sign_request(site.path());
        let identity = Identity::open(site.path(), &kiosk()).unwrap();
        assert_eq!(identity.facts().didar_name("device"), Some("kiosk-7"));
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let site = tempfile::tempdir().unwrap();
        request(&kiosk(), site.path(), Holder::File).unwrap();
        let before = fs::read(site.path().join(KEY_FILE)).unwrap();
        let again = request(&kiosk(), site.path(), Holder::File).unwrap_err();
        assert!(matches!(again, EnrolError::KeyExists { .. }), "{again}");
        assert_eq!(fs::read(site.path().join(KEY_FILE)).unwrap(), before);
    }

    #[test]
    fn a_key_that_others_may_read_is_refused_with_the_cure() {
        let site = tempfile::tempdir().unwrap();
        request(&kiosk(), site.path(), Holder::File).unwrap();
        let key = site.path().join(KEY_FILE);
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        let text = open_error(site.path(), &kiosk()).to_string();
        assert!(text.contains("mode 0640") && text.contains("chmod 600"), "{text}");
    }

    #[test]
    fn the_certificate_must_name_the_configured_device_and_its_key() {
        let site = tempfile::tempdir().unwrap();
        request(&kiosk(), site.path(), Holder::File).unwrap();
        sign_request(site.path());
        let other: DeviceId = "kiosk-8".parse().unwrap();
        assert!(matches!(open_error(site.path(), &other), IdentityError::OtherDevice { .. }));

        let elsewhere = tempfile::tempdir().unwrap();
        request(&kiosk(), elsewhere.path(), Holder::File).unwrap();
        fs::copy(elsewhere.path().join(KEY_FILE), site.path().join(KEY_FILE)).unwrap();
        assert!(matches!(open_error(site.path(), &kiosk()), IdentityError::OtherKey { .. }));
    }

    #[test]
    fn damaged_files_are_named() {
        let site = tempfile::tempdir().unwrap();
        request(&kiosk(), site.path(), Holder::File).unwrap();
        sign_request(site.path());
        for (file, bytes) in [
            (CERTIFICATE_FILE, &b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"[..]),
            (CERTIFICATE_FILE, b""),
            (CERTIFICATE_FILE, &[0xff; 70_000]),
            (KEY_FILE, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            (KEY_FILE, b"\xff\xfe"),
        ] {
            let good = fs::read(site.path().join(file)).unwrap();
            fs::write(site.path().join(file), bytes).unwrap();
            let text = open_error(site.path(), &kiosk()).to_string();
            assert!(text.contains(file), "{text}");
            fs::write(site.path().join(file), good).unwrap();
        }
    }
}
