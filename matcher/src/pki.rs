//! What a certificate of ours says: who, with which key, for how long, and whether the site's CA vouches for it.
//!
//! Names are URIs in the subject alternative name: `urn:didar:device:ID`, `urn:didar:matcher:ID`,
//! `urn:didar:operator:ID`. A device's CN is its id; the others' CN carries a prefix with a colon, which no device id
//! can contain, so that the broker's rules for devices never fit them.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use didar_protocol::id::{DeviceId, Hash, sha256};
use didar_protocol::seal::VerifyingKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Whose certificate it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A kiosk's device.
    Device(DeviceId),
    /// A matcher, by its id.
    Matcher(String),
    /// An operator, by name.
    Operator(String),
}

/// A certificate's facts, read from its bytes.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    holder: Holder,
    key: VerifyingKey,
    serial: Vec<u8>,
    not_before_s: u64,
    not_after_s: u64,
}

/// Why a certificate is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// No PEM certificate.
    #[error("no PEM certificate found")]
    NotPem,
    /// No X.509 certificate.
    #[error("not an X.509 certificate")]
    NotX509,
    /// Not issued to anybody that Didar knows.
    #[error(
        "the certificate names no device, matcher or operator: it needs one SAN URI urn:didar:device:ID, urn:didar:matcher:ID or urn:didar:operator:ID"
    )]
    NoHolder,
    /// A device's CN and SAN disagree.
    #[error("the certificate's CN is {common_name:?}, its SAN names device {device}")]
    Disagrees {
        /// The CN.
        common_name: String,
        /// The SAN's device.
        device: DeviceId,
    },
    /// Not a P-256 key.
    #[error("the certificate's key is not on P-256")]
    NotP256,
    /// The CA does not vouch for it now.
    #[error("the site's CA does not vouch for this certificate: {0}")]
    Untrusted(webpki::Error),
}

impl Certificate {
    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// See [`PkiError`]; the chain is not checked here.
    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| PkiError::NotPem)?;
        Self::from_der(&der)
    }

    /// Reads a DER certificate.
    ///
    /// # Errors
    /// See [`PkiError`]; the chain is not checked here.
    pub fn from_der(der: &[u8]) -> Result<Self, PkiError> {
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| PkiError::NotX509)?;
        if !rest.is_empty() {
            return Err(PkiError::NotX509);
        }
        let holder = holder(&parsed)?;
        let point = parsed.public_key().subject_public_key.data.as_ref();
        let key = VerifyingKey::from_sec1_bytes(point).map_err(|_| PkiError::NotP256)?;
        let valid_s = dates(&parsed);
        Ok(Self {
            der: der.to_vec(),
            holder,
            key,
            serial: parsed.raw_serial().to_vec(),
            not_before_s: *valid_s.start(),
            not_after_s: *valid_s.end(),
        })
    }

    /// The certificate's bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of the certificate's bytes: `kid` of what its key signs.
    pub fn thumbprint(&self) -> Hash {
        sha256(&self.der)
    }

    /// Whose it is.
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// The public key.
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Its number within its CA, big endian.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// First second of its life, Unix seconds.
    pub fn not_before_s(&self) -> u64 {
        self.not_before_s
    }

    /// Last second of its life, Unix seconds.
    pub fn not_after_s(&self) -> u64 {
        self.not_after_s
    }

    /// Whether `now_ms` lies between them.
    pub fn is_in_force(&self, now_ms: u64) -> bool {
        (self.not_before_s..=self.not_after_s).contains(&(now_ms / 1000))
    }

    /// Whether `ca` issued it for use by a client and it is in force at `now_ms`.
    ///
    /// # Errors
    /// [`PkiError::Untrusted`] says why not.
    pub fn check(&self, ca: &CertificateDer<'_>, now_ms: u64) -> Result<(), PkiError> {
        let anchor = webpki::anchor_from_trusted_cert(ca).map_err(PkiError::Untrusted)?;
        let der = CertificateDer::from(self.der.as_slice());
        let end = webpki::EndEntityCert::try_from(&der).map_err(PkiError::Untrusted)?;
        let now = UnixTime::since_unix_epoch(Duration::from_millis(now_ms));
        end.verify_for_usage(
            &[webpki::ring::ECDSA_P256_SHA256],
            &[anchor],
            &[],
            now,
            webpki::KeyUsage::client_auth(),
            None,
            None,
        )
        .map_err(PkiError::Untrusted)?;
        Ok(())
    }
}

/// Whether the certificate in this PEM text has lived two thirds of its life, or more: time to renew it. One that has not
/// begun was made by a clock that ran ahead: it is due too.
///
/// # Errors
/// When the text holds no certificate.
pub fn is_due(pem: &str, now_ms: u64) -> Result<bool, PkiError> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| PkiError::NotPem)?;
    let valid_s = validity(&der)?;
    let due_s = valid_s.start() + (valid_s.end() - valid_s.start()) / 3 * 2;
    Ok(!(*valid_s.start()..due_s).contains(&(now_ms / 1000)))
}

/// Whether the certificate in this PEM text has ended.
///
/// # Errors
/// When the text holds no certificate.
pub fn has_ended(pem: &str, now_ms: u64) -> Result<bool, PkiError> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| PkiError::NotPem)?;
    Ok(*validity(&der)?.end() < now_ms / 1000)
}

/// First and last second of a certificate, Unix.
///
/// # Errors
/// When it is none.
pub fn validity(der: &CertificateDer<'_>) -> Result<RangeInclusive<u64>, PkiError> {
    let (_, parsed) = X509Certificate::from_der(der).map_err(|_| PkiError::NotX509)?;
    Ok(dates(&parsed))
}

fn dates(parsed: &X509Certificate<'_>) -> RangeInclusive<u64> {
    let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
    seconds(parsed.validity().not_before)..=seconds(parsed.validity().not_after)
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(id) => write!(f, "device {id}"),
            Self::Matcher(id) => write!(f, "matcher {id}"),
            Self::Operator(name) => write!(f, "operator {name}"),
        }
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.holder)
    }
}

fn holder(certificate: &X509Certificate<'_>) -> Result<Holder, PkiError> {
    let names = certificate.subject_alternative_name().map_err(|_| PkiError::NotX509)?;
    let uris: Vec<&str> = names
        .iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None })
        .collect();
    let [uri] = uris.as_slice() else {
        return Err(PkiError::NoHolder);
    };
    if let Some(id) = uri.strip_prefix("urn:didar:device:") {
        let device: DeviceId = id.parse().map_err(|_| PkiError::NoHolder)?;
        let common_name = common_name(certificate.subject()).unwrap_or_default();
        if common_name != device.as_str() {
            return Err(PkiError::Disagrees { common_name, device });
        }
        return Ok(Holder::Device(device));
    }
    if let Some(id) = uri.strip_prefix("urn:didar:matcher:") {
        return Ok(Holder::Matcher(id.to_owned()));
    }
    if let Some(name) = uri.strip_prefix("urn:didar:operator:") {
        return Ok(Holder::Operator(name.to_owned()));
    }
    Err(PkiError::NoHolder)
}

/// The one CN of a name; `None` where there is none, or more than one.
pub(crate) fn common_name(name: &x509_parser::x509::X509Name<'_>) -> Option<String> {
    let mut names = name.iter_common_name();
    let first = names.next()?.as_str().ok()?.to_owned();
    names.next().is_none().then_some(first)
}
