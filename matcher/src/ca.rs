//! The site's certificate authority: P-256, one level, for a one-machine site and for trials.
//!
//! Here: making the CA, signing a device's request after checking it, and issuing the certificates of broker, matcher
//! and operators, and the list of revoked ones. Not here: EST. Start with [`Ca::init`] and [`Ca::sign_device`].

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use didar_protocol::id::{DeviceId, Hash, sha256};
use rcgen::RevokedCertParams;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertificateSigningRequestParams,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PublicKey, SanType, SerialNumber, date_time_ymd,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;
use zeroize::Zeroizing;

use crate::files::{self, FileError};
use crate::pki::{self, common_name};

/// Certificate of the CA within its folder.
pub const CERTIFICATE_FILE: &str = "ca.pem";
/// Key of the CA within its folder.
pub const KEY_FILE: &str = "ca.key";
/// How long a device's certificate lives unless told otherwise, days.
pub const DEVICE_DAYS: u32 = 365;
/// How long the CA itself lives, days.
const CA_DAYS: u32 = 3650;
/// How far before its issue a certificate begins, so that a clock a little behind accepts it.
const BACKDATED: Duration = Duration::from_secs(300);

/// The certificate authority of one site.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// How long a certificate lives.
#[derive(Clone, Copy, Debug)]
pub struct Validity {
    /// When it is issued, Unix milliseconds; it begins five minutes earlier.
    pub issued_ms: u64,
    /// Days from then on.
    pub days: u32,
}

/// Whom a certificate with a key of ours is for.
#[derive(Clone, Debug)]
pub enum Subject {
    /// The broker, by the names and addresses under which it is reached.
    Broker(Vec<String>),
    /// A matcher.
    Matcher(String),
    /// An operator.
    Operator(String),
}

/// A certificate that no longer counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Its number within the CA, big endian.
    pub serial: Vec<u8>,
    /// Since when, Unix milliseconds.
    pub revoked_ms: u64,
}

/// A device's request that proves its key.
pub struct DeviceRequest {
    /// Which device.
    pub device: DeviceId,
    /// SHA-256 of its public key (SubjectPublicKeyInfo, DER): what operator and device compare.
    pub fingerprint: Hash,
    key: PublicKey,
}

/// A new certificate with its key.
pub struct Issued {
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// The key, PKCS#8 PEM; wiped on drop.
    pub key_pem: Zeroizing<String>,
}

/// What the CA refuses or could not do.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is a CA already.
    #[error("{0} holds a CA already: a second one would cut off every device of the first")]
    Exists(PathBuf),
    /// The CA's own files are no CA.
    #[error("{folder} holds no usable CA")]
    Unusable {
        /// Where.
        folder: PathBuf,
        /// What is wrong.
        #[source]
        cause: rcgen::Error,
    },
    /// A name that would not be safe in a certificate.
    #[error("name {0:?}: 1 to 40 of a-z, 0-9 and - are lawful")]
    Name(String),
    /// Not a request, or its signature does not hold.
    #[error("not a certificate request that proves possession of its key: make one with didar-agent enrol-request")]
    Request(#[source] rcgen::Error),
    /// The request's key is of another kind.
    #[error("the request's key is not on P-256")]
    NotP256,
    /// The request names somebody else.
    #[error("the request is for {found:?}, you ask to sign it for {asked}")]
    AnotherDevice {
        /// What the request says.
        found: String,
        /// Which device was asked for.
        asked: DeviceId,
    },
    /// Signing failed.
    #[error("the certificate could not be made")]
    Sign(#[source] rcgen::Error),
    /// No random bytes.
    #[error("the system gives no random bytes")]
    Random(getrandom::Error),
}

impl Ca {
    /// Makes a new CA in `folder`: `ca.pem` and `ca.key` (mode 0600).
    ///
    /// # Errors
    /// When there is one already, or the files cannot be written.
    pub fn init(folder: &Path, issued_ms: u64) -> Result<Self, CaError> {
        let (certificate_path, key_path) = (folder.join(CERTIFICATE_FILE), folder.join(KEY_FILE));
        if certificate_path.exists() || key_path.exists() {
            return Err(CaError::Exists(folder.to_owned()));
        }
        files::make_folder(folder)?;
        let mut params = blank(Validity { issued_ms, days: CA_DAYS })?;
        params.distinguished_name.push(DnType::CommonName, "Didar site CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CaError::Sign)?;
        let certificate = params.self_signed(&key).map_err(CaError::Sign)?;
        files::write_secret(&key_path, &Zeroizing::new(key.serialize_pem()))?;
        files::write_public(&certificate_path, &certificate.pem())?;
        Self::open(folder)
    }

    /// Opens the CA in `folder`.
    ///
    /// # Errors
    /// When a file is missing, the key may be read by others, or the two are no CA.
    pub fn open(folder: &Path) -> Result<Self, CaError> {
        let unusable = |cause| CaError::Unusable { folder: folder.to_owned(), cause };
        let pem = files::read_text(&folder.join(CERTIFICATE_FILE))?;
        let key_pem = files::read_secret(&folder.join(KEY_FILE))?;
        let key = KeyPair::from_pem(&key_pem).map_err(unusable)?;
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| unusable(rcgen::Error::CouldNotParseCertificate))?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(unusable)?;
        Ok(Self { issuer, certificate })
    }

    fn valid_s(&self) -> Result<RangeInclusive<u64>, CaError> {
        pki::validity(&self.certificate).map_err(|_| CaError::Sign(rcgen::Error::CouldNotParseCertificate))
    }

    /// The CA's certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Signs a device's request (PEM). Takes nothing from the request but its key and, to be compared, its name.
    ///
    /// # Errors
    /// When the request does not prove its key, is not P-256, or names anybody but `device`.
    pub fn sign_device(&self, csr_pem: &str, device: &DeviceId, validity: Validity) -> Result<String, CaError> {
        let der = CertificateSigningRequestDer::from_pem_slice(csr_pem.as_bytes())
            .map_err(|_| CaError::Request(rcgen::Error::CouldNotParseCertificationRequest))?;
        let request = Self::read_request(&der)?;
        if &request.device != device {
            return Err(CaError::AnotherDevice { found: request.device.to_string(), asked: device.clone() });
        }
        Ok(self.certify(request, validity)?.pem())
    }

    /// Reads a device's request (DER): nobody is a device but by CN, and by nothing else in the request.
    ///
    /// # Errors
    /// When the request does not prove its key, is not P-256, or names no one device.
    pub fn read_request(der: &[u8]) -> Result<DeviceRequest, CaError> {
        let malformed = || CaError::Request(rcgen::Error::CouldNotParseCertificationRequest);
        let (rest, parsed) = X509CertificationRequest::from_der(der).map_err(|_| malformed())?;
        if !rest.is_empty() {
            return Err(malformed());
        }
        let info = &parsed.certification_request_info;
        let found = common_name(&info.subject).unwrap_or_default();
        let device: DeviceId = found.parse().map_err(|_| CaError::Name(found))?;
        let fingerprint = sha256(info.subject_pki.raw);
        check_names(&parsed, &device)?;
        // Checks the request's own signature: whoever made it holds the key.
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(der))
            .map_err(CaError::Request)?;
        if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(CaError::NotP256);
        }
        Ok(DeviceRequest { device, fingerprint, key: request.public_key })
    }

    /// Signs a request that was read; gives the certificate, DER.
    ///
    /// # Errors
    /// When signing fails.
    pub fn sign(&self, request: DeviceRequest, validity: Validity) -> Result<Vec<u8>, CaError> {
        Ok(self.certify(request, validity)?.der().to_vec())
    }

    /// A device's certificate reaches back as far as it reaches forward, but not behind the authority: where this clock runs
    /// ahead it counts all the same once that is set right. A device has but one.
    fn certify(&self, request: DeviceRequest, validity: Validity) -> Result<rcgen::Certificate, CaError> {
        let DeviceRequest { device, key, .. } = request;
        let mut params = client(device.as_str(), &format!("urn:didar:device:{device}"), validity)?;
        let own_s = *self.valid_s()?.start();
        let begins_s = (validity.issued_ms / 1000).saturating_sub(u64::from(validity.days) * 86_400).max(own_s);
        params.not_before = params.not_before.min(date_time_ymd(1970, 1, 1) + Duration::from_secs(begins_s));
        let ours = CertificateSigningRequestParams { params, public_key: key };
        ours.signed_by(&self.issuer).map_err(CaError::Sign)
    }

    /// The list of revoked certificates, PEM, for the broker.
    ///
    /// It counts as long as the CA does, whatever the clock says that makes it: one that has not begun, or has ended, would
    /// lock everybody out.
    ///
    /// # Errors
    /// When signing fails.
    pub fn revocation_list(&self, revoked: &[Revocation], issued_ms: u64) -> Result<String, CaError> {
        let own = self.valid_s()?;
        let at = |seconds: u64| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        let params = CertificateRevocationListParams {
            this_update: at(*own.start()),
            next_update: at(*own.end()),
            crl_number: SerialNumber::from_slice(&issued_ms.to_be_bytes()),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .iter()
                .map(|revocation| RevokedCertParams {
                    serial_number: SerialNumber::from_slice(&revocation.serial),
                    revocation_time: at(revocation.revoked_ms / 1000),
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).and_then(|list| list.pem()).map_err(CaError::Sign)
    }

    /// Makes a key and a certificate for the broker, a matcher or an operator.
    ///
    /// # Errors
    /// When a name is not lawful or signing fails.
    pub fn issue(&self, subject: &Subject, validity: Validity) -> Result<Issued, CaError> {
        let params = match subject {
            Subject::Broker(names) => server(names, validity)?,
            Subject::Matcher(id) => named("matcher", id, validity)?,
            Subject::Operator(name) => named("operator", name, validity)?,
        };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CaError::Sign)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(CaError::Sign)?;
        Ok(Issued { certificate_pem: certificate.pem(), key_pem: Zeroizing::new(key.serialize_pem()) })
    }
}

fn named(role: &str, name: &str, validity: Validity) -> Result<CertificateParams, CaError> {
    // The same alphabet as a device's: no name can smuggle in a wildcard or a second name.
    if name.parse::<DeviceId>().is_err() {
        return Err(CaError::Name(name.to_owned()));
    }
    client(&format!("{role}:{name}"), &format!("urn:didar:{role}:{name}"), validity)
}

fn client(common_name: &str, uri: &str, validity: Validity) -> Result<CertificateParams, CaError> {
    let mut params = blank(validity)?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    let uri = uri.try_into().map_err(CaError::Sign)?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

fn server(names: &[String], validity: Validity) -> Result<CertificateParams, CaError> {
    let mut params = blank(validity)?;
    params.distinguished_name.push(DnType::CommonName, "Didar broker");
    for name in names {
        params.subject_alt_names.push(match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.as_str().try_into().map_err(CaError::Sign)?),
        });
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn blank(validity: Validity) -> Result<CertificateParams, CaError> {
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(CaError::Random)?;
    serial[0] &= 0x7f; // RFC 5280, 4.1.2.2: positive
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.use_authority_key_identifier_extension = true;
    let issued = date_time_ymd(1970, 1, 1) + Duration::from_millis(validity.issued_ms);
    params.not_before = issued - BACKDATED;
    params.not_after = issued + Duration::from_secs(u64::from(validity.days) * 86_400);
    Ok(params)
}

/// Every SAN that the request asks for must be the device.
fn check_names(request: &X509CertificationRequest<'_>, device: &DeviceId) -> Result<(), CaError> {
    let another = |found: String| CaError::AnotherDevice { found, asked: device.clone() };
    let uri = format!("urn:didar:device:{device}");
    for extension in request.requested_extensions().into_iter().flatten() {
        if let ParsedExtension::SubjectAlternativeName(names) = extension {
            for name in &names.general_names {
                if !matches!(name, GeneralName::URI(found) if *found == uri) {
                    return Err(another(name.to_string()));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{Certificate, Holder};

    const NOW: u64 = 1_800_000_000_000;
    const YEAR: Validity = Validity { issued_ms: NOW, days: 365 };

    fn ca() -> (tempfile::TempDir, Ca) {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::init(&folder.path().join("ca"), NOW).unwrap();
        (folder, ca)
    }

    fn request(common_name: &str, uri: Option<&str>) -> String {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = uri.map(|uri| SanType::URI(uri.try_into().unwrap())).into_iter().collect();
        params.serialize_request(&key).unwrap().pem().unwrap()
    }

    fn device() -> DeviceId {
        "kiosk-1".parse().unwrap()
    }

    #[test]
    fn a_device_gets_a_certificate_that_names_it_and_ends() {
        let (_folder, ca) = ca();
        let pem = ca.sign_device(&request("kiosk-1", Some("urn:didar:device:kiosk-1")), &device(), YEAR).unwrap();
        let certificate = Certificate::from_pem(&pem).unwrap();
        assert_eq!(certificate.holder(), &Holder::Device(device()));
        certificate.check(ca.certificate(), NOW).unwrap();
        assert!(certificate.check(ca.certificate(), NOW + 366 * 86_400_000).is_err());
        assert!(certificate.check(ca.certificate(), NOW - 3_600_000).is_err());
    }

    #[test]
    fn a_request_for_another_device_is_refused() {
        let (_folder, ca) = ca();
        for (common_name, uri) in [
            ("kiosk-2", None),
            ("kiosk-1", Some("urn:didar:device:kiosk-2")),
            ("kiosk-1", Some("urn:didar:matcher:kiosk-1")),
        ] {
            let refused = ca.sign_device(&request(common_name, uri), &device(), YEAR);
            assert!(matches!(refused, Err(CaError::AnotherDevice { .. })), "{common_name} {uri:?}");
        }
    }

    #[test]
    fn a_request_whose_signature_was_changed_is_refused() {
        let (_folder, ca) = ca();
        let pem = request("kiosk-1", None);
        let mut der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec();
        let last = der.len() - 1;
        der[last] ^= 1;
        let forged = rcgen_pem(&der);
        assert!(matches!(ca.sign_device(&forged, &device(), YEAR), Err(CaError::Request(_))));
        assert!(matches!(ca.sign_device("no request", &device(), YEAR), Err(CaError::Request(_))));
    }

    fn rcgen_pem(der: &[u8]) -> String {
        use p256::pkcs8::der::pem::{LineEnding, encode_string};
        encode_string("CERTIFICATE REQUEST", LineEnding::LF, der).unwrap()
    }

    #[test]
    fn a_foreign_ca_is_not_believed_and_a_ca_is_never_replaced() {
        let (folder, ours) = ca();
        let (_other, foreign) = ca();
        let issued = foreign.issue(&Subject::Operator("aliya".into()), YEAR).unwrap();
        let certificate = Certificate::from_pem(&issued.certificate_pem).unwrap();
        assert_eq!(certificate.holder(), &Holder::Operator("aliya".into()));
        certificate.check(foreign.certificate(), NOW).unwrap();
        assert!(certificate.check(ours.certificate(), NOW).is_err());
        assert!(matches!(Ca::init(&folder.path().join("ca"), NOW), Err(CaError::Exists(_))));
    }

    #[test]
    fn an_operator_cannot_be_named_with_wildcards() {
        let (_folder, ca) = ca();
        for name in ["+", "#", "a b", "", "a:b"] {
            assert!(matches!(ca.issue(&Subject::Operator(name.into()), YEAR), Err(CaError::Name(_))), "{name}");
        }
    }
}
