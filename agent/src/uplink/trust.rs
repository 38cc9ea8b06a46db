//! Whom this device believes: the certificate authority pinned in its site folder, and nobody else.
//!
//! **Here:** [`TrustAnchor`], which judges the broker's certificate in the TLS handshake and the matcher's certificate
//! on every message, by the corrected clock; the TLS settings of the uplink.
//! **Not here:** trust on first use, the system's root store, revocation lists (a device is told by its broker).
//! **Start** with [`TrustAnchor::matcher`].

use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use didar_protocol::seal::VerifyingKey;
use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor as Root, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use crate::edge::Clock;
use crate::identity::{ANCHOR_FILE, CertificateFacts, Identity, IdentityError, day, read_certificates};

/// Certificates whose start may be waited for in one chain: the end's own and its intermediates.
const CHAIN_MAX: usize = 6;

/// The pinned authority and the clock by which its certificates are judged.
pub struct TrustAnchor {
    roots: Vec<Root<'static>>,
    clock: Arc<dyn Clock>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// A matcher of this site.
#[derive(Debug)]
pub struct Speaker {
    /// The key that it signs with.
    pub key: VerifyingKey,
    /// First and last second of its certificate, since 1970.
    pub valid_s: RangeInclusive<i64>,
}

/// Why a certificate or a TLS setting is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The chain does not lead to the pinned authority, or not now.
    #[error("{} certificate {}", .whose, in_words(.why))]
    Chain {
        /// Whose certificate.
        whose: &'static str,
        /// What the check found.
        why: webpki::Error,
    },
    /// It is no certificate that can be read.
    #[error("certificate cannot be read: {0}")]
    Unreadable(String),
    /// Issued by our authority, but not to a matcher.
    #[error("certificate of {found:?} is no matcher's: it has no single URI urn:didar:matcher:ID")]
    NoMatcher {
        /// The URIs found.
        found: Vec<String>,
    },
    /// Not a key that signs messages.
    #[error("matcher's certificate holds no P-256 key")]
    Key,
    /// The TLS library refuses the settings.
    #[error("TLS 1.3 cannot be used: {0}")]
    Client(#[source] rustls::Error),
}

impl TrustError {
    /// Whether the certificate is good, but not on the day that this clock says.
    pub(super) fn is_of_dates(&self) -> bool {
        let dates = |why: &webpki::Error| {
            matches!(why, webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. })
        };
        matches!(self, Self::Chain { why, .. } if dates(why))
    }
}

impl TrustAnchor {
    /// Pins the authorities of `ca.pem` in the folder `site`.
    pub fn open(site: &Path, clock: Arc<dyn Clock>) -> Result<Self, IdentityError> {
        let file = site.join(ANCHOR_FILE);
        let authorities = read_certificates(&file, "put the site's certificate authority there")?;
        let roots = authorities
            .iter()
            .map(|der| webpki::anchor_from_trusted_cert(der).map(|root| root.to_owned()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|why| IdentityError::CertificateFormat { file, why: why.to_string() })?;
        let algorithms = ring::default_provider().signature_verification_algorithms;
        Ok(Self { roots, clock, algorithms })
    }

    /// The matcher whose certificate this is, if the pinned authority issued it to a matcher and it is valid now.
    pub fn matcher(&self, certificate: &[u8]) -> Result<Speaker, TrustError> {
        let der = CertificateDer::from(certificate);
        // A matcher's certificate is a client's: with it the matcher meets the broker too.
        self.check(&der, &[], self.now(), KeyUsage::client_auth())
            .map_err(|why| TrustError::Chain { whose: "matcher's", why })?;
        let facts = CertificateFacts::read(certificate).map_err(TrustError::Unreadable)?;
        if facts.didar_name("matcher").is_none_or(str::is_empty) {
            return Err(TrustError::NoMatcher { found: facts.uris });
        }
        let key = VerifyingKey::from_sec1_bytes(&facts.public_key).map_err(|_| TrustError::Key)?;
        Ok(Speaker { key, valid_s: facts.not_before_s..=facts.not_after_s })
    }

    /// TLS 1.3 only, with the device's certificate, to a server named `name` that the pinned authority certifies.
    ///
    /// Make it once per start: sessions are resumed only between connections that share it.
    pub fn tls(
        self: &Arc<Self>,
        identity: &Arc<Identity>,
        name: ServerName<'static>,
    ) -> Result<ClientConfig, TrustError> {
        Ok(self.server(name)?.with_client_cert_resolver(Arc::<Identity>::clone(identity)))
    }

    /// The same without a certificate: for a device that has none yet.
    pub fn tls_unnamed(self: &Arc<Self>, name: ServerName<'static>) -> Result<ClientConfig, TrustError> {
        Ok(self.server(name)?.with_no_client_auth())
    }

    /// Whether the pinned authority issued this certificate to a client and it is valid now.
    pub fn check_client(&self, chain: &[CertificateDer<'_>]) -> Result<(), TrustError> {
        let (end, intermediates) = chain.split_first().ok_or(TrustError::Unreadable("there is none".to_owned()))?;
        self.check(end, intermediates, self.now(), KeyUsage::client_auth())
            .map_err(|why| TrustError::Chain { whose: "new", why })
    }

    fn server(
        self: &Arc<Self>,
        name: ServerName<'static>,
    ) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TrustError> {
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let broker = Arc::new(PinnedBroker { anchor: Arc::clone(self), name });
        ClientConfig::builder_with_details(provider, Arc::new(Now(Arc::clone(self))))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TrustError::Client)
            .map(|builder| builder.dangerous().with_custom_certificate_verifier(broker))
    }

    fn now(&self) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_millis(self.clock.unix_ms(self.clock.now())))
    }

    /// Until a matcher has told the time, a certificate that seems to start in the future is judged at its start:
    /// this clock may be years behind. Nothing else is relaxed; time only moves forward, so nothing expired passes.
    fn check(
        &self,
        end: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), webpki::Error> {
        let end = EndEntityCert::try_from(end)?;
        let all = self.algorithms.all;
        let verify =
            |time| end.verify_for_usage(all, &self.roots, intermediates, time, usage, None, None).map(|_path| ());
        let mut time = now;
        let mut refused = None;
        for _ in 0..CHAIN_MAX {
            match verify(time) {
                Ok(()) => return refused.map_or(Ok(()), Err),
                Err(webpki::Error::CertNotValidYet { not_before, .. })
                    if refused.is_none() && !self.clock.calendar().is_told() =>
                {
                    time = not_before;
                }
                // The dates are looked at first: only a certificate that counts at some time is refused for them.
                Err(
                    why @ (webpki::Error::CertExpired { not_after: counts, .. }
                    | webpki::Error::CertNotValidYet { not_before: counts, .. }),
                ) => {
                    refused.get_or_insert(why);
                    time = counts;
                }
                Err(why) => return Err(why),
            }
        }
        Err(webpki::Error::MaximumPathDepthExceeded)
    }
}

/// What is wrong with a certificate, for the sentence "… certificate …".
pub(crate) fn in_words(why: &webpki::Error) -> String {
    match why {
        webpki::Error::CertExpired { time, not_after } => {
            format!("expired {} (now it is {})", date(*not_after), date(*time))
        }
        webpki::Error::CertNotValidYet { time, not_before } => {
            format!("is valid from {} only (now it is {})", date(*not_before), date(*time))
        }
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
            format!("not issued by the pinned CA ({ANCHOR_FILE} in the site folder)")
        }
        webpki::Error::CertNotValidForName(_) => "is for another name than the configured broker".to_owned(),
        webpki::Error::RequiredEkuNotFoundContext(_) => "was issued for another use".to_owned(),
        other => format!("not accepted: {other}"),
    }
}

fn date(time: UnixTime) -> String {
    day(time.as_secs().try_into().unwrap_or(i64::MAX))
}

impl fmt::Debug for TrustAnchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustAnchor({} roots)", self.roots.len())
    }
}

#[derive(Debug)]
struct Now(Arc<TrustAnchor>);

impl rustls::time_provider::TimeProvider for Now {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0.now())
    }
}

/// Checks the broker in the handshake: chain, use and the configured name, whatever name the connection went to.
#[derive(Debug)]
struct PinnedBroker {
    anchor: Arc<TrustAnchor>,
    name: ServerName<'static>,
}

impl ServerCertVerifier for PinnedBroker {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.anchor
            .check(end, intermediates, now, KeyUsage::server_auth())
            .and_then(|()| EndEntityCert::try_from(end)?.verify_is_valid_for_subject_name(&self.name))
            .map(|()| ServerCertVerified::assertion())
            .map_err(|why| {
                let cause = TrustError::Chain { whose: "server", why };
                rustls::Error::InvalidCertificate(CertificateError::Other(rustls::OtherError(Arc::new(cause))))
            })
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.anchor.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.anchor.algorithms.supported_schemes()
    }
}
