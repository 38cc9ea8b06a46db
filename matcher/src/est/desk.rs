//! Who gets a certificate: with a one-time code, with an operator's approval of the key's fingerprint, or with the
//! certificate that the device has. Knows no network and no clock.

use std::path::PathBuf;

use didar_protocol::id::{DeviceId, Hash, sha256};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::ca::{Ca, CaError, Validity};
use crate::files;
use crate::ledger::{Entry, LedgerError, What};
use crate::pki::{Certificate, Holder, PkiError};
use crate::quiet::Quiet;
use crate::store::{DeviceState, Grant, Notice, Store, StoreError, Work};

/// The enrolment desk of a site.
pub struct Desk {
    ca: Ca,
    store: Store,
    /// The matcher's id, for the ledger.
    matcher: String,
    /// Its certificate, which is renewed while it serves.
    own: PathBuf,
    /// How long a device's certificate lives, days.
    days: u32,
    quiet: Quiet<&'static str>,
}

/// What a device shows beside its request.
pub enum Credential {
    /// Nothing: the request waits for the operator.
    None,
    /// Its id and a one-time code.
    Code(String, Zeroizing<String>),
}

/// What the desk says.
#[derive(Debug)]
pub enum Answer {
    /// A certificate, DER.
    Issued(Vec<u8>),
    /// The operator has not approved the key yet.
    Held,
    /// No, and why; the sender hears no more than that.
    Refused(Refusal),
}

/// Why no certificate was given.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Not a request, or not one that a device may make.
    #[error(transparent)]
    Request(#[from] CaError),
    /// The code is wrong, used, ended, or another device's.
    #[error("the one-time code does not count for this device and key")]
    Code,
    /// Too many requests wait for an operator.
    #[error("too many requests wait for approval")]
    Crowded,
    /// By the clock the matcher's own certificate does not count: what is signed now would not either.
    #[error("the centre's clock is wrong, or its certificate has ended: ask again later")]
    Clock,
    /// Renewal without a certificate that counts.
    #[error("the certificate shown gives no right to renew: {0}")]
    Shown(&'static str),
}

/// Why the desk could not work: our fault.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// What we signed cannot be read: a bug of ours.
    #[error(transparent)]
    Certificate(#[from] PkiError),
}

impl Desk {
    /// A desk that signs with this authority and writes into this database, for a matcher with the certificate `own`, by
    /// which it sees whether its clock can be right.
    pub fn new(ca: Ca, store: Store, matcher: String, own: PathBuf, days: u32) -> Self {
        Self { ca, store, matcher, own, days, quiet: Quiet::new() }
    }

    /// Whether anything may be signed now. Where the certificate cannot be read the matcher itself says so.
    fn is_in_time(&self, now_ms: u64) -> bool {
        let own = files::read_text(&self.own).ok().and_then(|pem| Certificate::from_pem(&pem).ok());
        own.is_none_or(|own| own.is_in_force(now_ms))
    }

    /// The site's CA certificate.
    pub fn authority(&self) -> &CertificateDer<'static> {
        self.ca.certificate()
    }

    /// `simpleenroll`: a first certificate, or one after the last has ended.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn enrol(&mut self, csr: &[u8], credential: &Credential, now_ms: u64) -> Result<Answer, DeskError> {
        if !self.is_in_time(now_ms) {
            return Ok(Answer::Refused(Refusal::Clock));
        }
        let request = match Ca::read_request(csr) {
            Ok(request) => request,
            Err(cause) => return Ok(Answer::Refused(cause.into())),
        };
        let fingerprint = request.fingerprint;
        let device = request.device.clone();
        let work = self.store.begin()?;
        let grant = match credential {
            Credential::Code(user, code) => {
                let named = *user == device.as_str();
                let grant = work.redeem(&device, &code_hash(code), &fingerprint, now_ms)?;
                match grant.filter(|_| named) {
                    Some(grant) => grant,
                    None => {
                        drop(work);
                        return self.refuse(Some(&device), Refusal::Code, now_ms);
                    }
                }
            }
            Credential::None => match work.ask_approval(&device, &fingerprint, now_ms)? {
                Grant::Given(initiators) => initiators,
                Grant::Waiting => {
                    work.commit()?;
                    return Ok(Answer::Held);
                }
                Grant::Crowded => return Ok(Answer::Refused(Refusal::Crowded)),
            },
        };
        let signed = match self.ca.sign(request, Validity { issued_ms: now_ms, days: self.days }) {
            Ok(signed) => signed,
            Err(cause) => return Ok(Answer::Refused(cause.into())),
        };
        let certificate = Certificate::from_der(&signed)?;
        if work.add_device(&device, &certificate, &grant, now_ms)? > 0 {
            let note =
                "out of quarantine with a new key: a broker of your own needs the list of didar-matcher ca revoked";
            work.raise(&Notice { at_ms: now_ms, device: Some(device.clone()), note: note.into() })?;
        }
        enter(&work, &self.matcher, &device, &certificate, now_ms)?;
        work.commit()?;
        Ok(Answer::Issued(signed))
    }

    /// `simplereenroll`: the next certificate of a device that shows one that counts. `shown` has passed TLS: this
    /// authority issued it and it is in force.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn renew(&mut self, csr: &[u8], shown: Option<&[u8]>, now_ms: u64) -> Result<Answer, DeskError> {
        if !self.is_in_time(now_ms) {
            return Ok(Answer::Refused(Refusal::Clock));
        }
        let Some(shown) = shown.and_then(|der| Certificate::from_der(der).ok()) else {
            return Ok(Answer::Refused(Refusal::Shown("there is none")));
        };
        let Holder::Device(device) = shown.holder().clone() else {
            return self.refuse(None, Refusal::Shown("it is no device's"), now_ms);
        };
        let request = match Ca::read_request(csr) {
            Ok(request) => request,
            Err(cause) => return self.refuse(Some(&device), cause.into(), now_ms),
        };
        if request.device != device {
            return self.refuse(Some(&device), Refusal::Shown("the request names another device"), now_ms);
        }
        let work = self.store.begin()?;
        let known = work.device_by_certificate(&shown.thumbprint())?;
        let why = match known.map(|device| device.state) {
            Some(DeviceState::Active) => None,
            Some(state) => Some(state.name()),
            None => Some("it is not registered"),
        };
        if let Some(why) = why {
            drop(work);
            return self.refuse(Some(&device), Refusal::Shown(why), now_ms);
        }
        let signed = match self.ca.sign(request, Validity { issued_ms: now_ms, days: self.days }) {
            Ok(signed) => signed,
            Err(cause) => return Ok(Answer::Refused(cause.into())),
        };
        let certificate = Certificate::from_der(&signed)?;
        work.add_certificate(&device, &certificate)?;
        enter(&work, &self.matcher, &device, &certificate, now_ms)?;
        work.commit()?;
        Ok(Answer::Issued(signed))
    }

    /// Somebody showed a certificate or a TLS that is not accepted here.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn turned_away(&mut self, now_ms: u64) -> Result<(), DeskError> {
        self.raise("tls", None, "the enrolment server refused a TLS client: its certificate or its version", now_ms)
    }

    fn refuse(&mut self, device: Option<&DeviceId>, why: Refusal, now_ms: u64) -> Result<Answer, DeskError> {
        let kind = match why {
            Refusal::Request(_) => "request",
            Refusal::Code => "code",
            Refusal::Crowded => "crowded",
            Refusal::Clock => "clock",
            Refusal::Shown(_) => "shown",
        };
        self.raise(kind, device, &format!("enrolment refused: {why}"), now_ms)?;
        Ok(Answer::Refused(why))
    }

    fn raise(
        &mut self,
        kind: &'static str,
        device: Option<&DeviceId>,
        note: &str,
        now_ms: u64,
    ) -> Result<(), DeskError> {
        let Some(note) = self.quiet.due(kind, note, now_ms) else { return Ok(()) };
        let work = self.store.begin()?;
        work.raise(&Notice { at_ms: now_ms, device: device.cloned(), note })?;
        Ok(work.commit()?)
    }
}

/// What is kept of a one-time code.
pub fn code_hash(code: &str) -> Hash {
    sha256(code.trim().as_bytes())
}

fn enter(
    work: &Work<'_>,
    matcher: &str,
    device: &DeviceId,
    certificate: &Certificate,
    now_ms: u64,
) -> Result<(), DeskError> {
    work.append(&Entry {
        at_ms: now_ms,
        what: What::DeviceAdded,
        matcher: matcher.to_owned(),
        device: Some(device.to_string()),
        hash: Some(hex::encode(certificate.thumbprint())),
        note: Some("enrolled by EST".into()),
        ..Entry::default()
    })?;
    Ok(())
}
