//! Enrolment over Secure Transport (RFC 7030), the device's end: a certificate for its key, and later the next one.
//!
//! **Here:** the client, what it takes for an answer, and the whole of `didar-agent enrol` ([`enrol()`]). The server must
//! be certified by the CA pinned in the site folder: nothing is trusted on first use.
//! **Not here:** when to renew ([`crate::renew`]).

pub mod wire;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64ct::{Base64, Encoding as _};
use didar_protocol::id::{DeviceId, Hash};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::{CertificateError, ClientConfig};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use crate::config::Enrolment;
use crate::enrol::{self, EnrolError};
use crate::identity::key::DeviceKey;
use crate::identity::{CERTIFICATE_FILE, CertificateFacts, Identity, IdentityError, write_certificates};
use crate::uplink::trust::{TrustAnchor, TrustError};

/// Name of the one-time code's file in the site folder; mode 0600, deleted once it was spent.
pub const CODE_FILE: &str = "enrol.code";
/// Largest answer: a chain of ten certificates in base64.
const ANSWER_MAX: usize = 64 * 1024;
/// Longest wait for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Between two questions while the operator has not approved; a server's own wish counts within these bounds.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What the authority says.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The certificate; intermediates follow it.
    Issued(Vec<CertificateDer<'static>>),
    /// Not approved yet: ask again after this time.
    Held(Duration),
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EstError {
    /// The configured name is none.
    #[error("enrolment server name {0:?} is neither a host name nor an IP address")]
    Name(String),
    /// Not reachable.
    #[error("cannot reach the enrolment server {address}: {cause}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the system or TLS said.
        cause: io::Error,
    },
    /// Its certificate is not accepted.
    #[error("{why}; refusing to talk to {address}")]
    Server {
        /// What is wrong with it.
        why: String,
        /// Host and port.
        address: String,
    },
    /// Did not answer in time.
    #[error("the enrolment server {0} does not answer")]
    Silent(String),
    /// Not HTTP.
    #[error("the enrolment server broke off")]
    Http(#[source] hyper::Error),
    /// It refused.
    #[error("the enrolment server refused ({status}): {words}")]
    Refused {
        /// HTTP's status.
        status: StatusCode,
        /// What it said, at most 200 bytes without control characters.
        words: String,
    },
    /// Its answer is no certificate.
    #[error("the enrolment server's answer is no certs-only message: {0}")]
    Answer(&'static str),
    /// TLS settings, or a certificate of another authority.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Files.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The key.
    #[error(transparent)]
    Key(#[from] EnrolError),
    /// The one-time code's file.
    #[error("{file}: {why}")]
    Code {
        /// Which file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// What is sent.
pub struct Question<'a> {
    /// The request, DER.
    pub csr: &'a [u8],
    /// Id and one-time code, where there is one.
    pub code: Option<(&'a DeviceId, &'a str)>,
}

/// Asks for a first certificate.
///
/// # Errors
/// See [`EstError`].
pub async fn simple_enrol(at: &Enrolment, trust: &Arc<TrustAnchor>, what: Question<'_>) -> Result<Answer, EstError> {
    post(at, trust.tls_unnamed(name(at)?)?, "simpleenroll", what).await
}

/// Asks for the next certificate, showing the present one.
///
/// # Errors
/// See [`EstError`].
pub async fn simple_reenrol(
    at: &Enrolment,
    trust: &Arc<TrustAnchor>,
    identity: &Arc<Identity>,
) -> Result<Answer, EstError> {
    let csr = enrol::request_der(identity.device(), identity.key().as_ref())?;
    post(at, trust.tls(identity, name(at)?)?, "simplereenroll", Question { csr: &csr, code: None }).await
}

/// Gets a certificate for `key` and keeps it in the site folder. `held` is told once that the operator must approve.
///
/// # Errors
/// See [`EstError`]; whoever waits for approval waits for ever.
pub async fn enrol(
    (at, trust): (&Enrolment, &Arc<TrustAnchor>),
    site: &Path,
    device: &DeviceId,
    key: &dyn DeviceKey,
    held: impl Fn(&Hash),
) -> Result<(), EstError> {
    let csr = enrol::request_der(device, key)?;
    let code_file = site.join(CODE_FILE);
    let code = read_code(&code_file)?;
    let mut told = false;
    let chain = loop {
        let code = code.as_ref().map(|code| (device, code.as_str()));
        match simple_enrol(at, trust, Question { csr: &csr, code }).await? {
            Answer::Issued(chain) => break chain,
            Answer::Held(wait) => {
                if !std::mem::replace(&mut told, true) {
                    held(&enrol::fingerprint(key));
                }
                rest(wait).await;
            }
        }
    };
    check(&chain, trust, device, key)?;
    write_certificates(&site.join(CERTIFICATE_FILE), &chain)?;
    if code.is_some() {
        fs::remove_file(&code_file).map_err(|cause| EstError::Code { file: code_file, why: cause.to_string() })?;
    }
    Ok(())
}

/// An answer counts only if the pinned authority issued it, for this device and this key.
fn check(
    chain: &[CertificateDer<'_>],
    trust: &TrustAnchor,
    device: &DeviceId,
    key: &dyn DeviceKey,
) -> Result<(), EstError> {
    trust.check_client(chain)?;
    let facts = CertificateFacts::read(&chain[0]).map_err(|_| EstError::Answer("its certificate is unreadable"))?;
    if facts.public_key != key.public_point() || facts.didar_name("device") != Some(device.as_str()) {
        return Err(EstError::Answer("its certificate is for another device or key"));
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "waits for a person at another desk")]
async fn rest(wait: Duration) {
    tokio::time::sleep(wait).await;
}

fn read_code(file: &Path) -> Result<Option<Zeroizing<String>>, EstError> {
    let wrong = |why: String| EstError::Code { file: file.to_owned(), why };
    let found = match fs::metadata(file) {
        Ok(found) => found,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(wrong(cause.to_string())),
    };
    let mode = found.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(wrong(format!("mode {mode:04o} lets others read the code; run `chmod 600 {}`", file.display())));
    }
    if found.len() > 256 {
        return Err(wrong("longer than a code is".to_owned()));
    }
    let text = Zeroizing::new(fs::read_to_string(file).map_err(|cause| wrong(cause.to_string()))?);
    Ok(Some(Zeroizing::new(text.trim().to_owned())))
}

fn name(at: &Enrolment) -> Result<ServerName<'static>, EstError> {
    ServerName::try_from(at.server_name.clone()).map_err(|_| EstError::Name(at.server_name.clone()))
}

async fn post(at: &Enrolment, tls: ClientConfig, operation: &str, what: Question<'_>) -> Result<Answer, EstError> {
    let address = format!("{}:{}", at.host, at.port);
    let exchange = exchange(at, &address, tls, operation, what);
    match tokio::time::timeout(ANSWER_WITHIN, exchange).await {
        Ok(answer) => answer,
        Err(_) => Err(EstError::Silent(address)),
    }
}

async fn exchange(
    at: &Enrolment,
    address: &str,
    tls: ClientConfig,
    operation: &str,
    what: Question<'_>,
) -> Result<Answer, EstError> {
    let unreachable = |cause| match refused(&cause) {
        Some(why) => EstError::Server { why, address: address.to_owned() },
        None => EstError::Unreachable { address: address.to_owned(), cause },
    };
    let stream = TcpStream::connect((at.host.as_str(), at.port)).await.map_err(unreachable)?;
    let stream = TlsConnector::from(Arc::new(tls)).connect(name(at)?, stream).await.map_err(unreachable)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(EstError::Http)?;
    let driver = tokio::spawn(connection);
    let mut request = Request::post(format!("/.well-known/est/{operation}"))
        .header(HOST, address)
        .header(CONTENT_TYPE, "application/pkcs10")
        .header("content-transfer-encoding", "base64");
    if let Some((device, code)) = what.code {
        let pair = Zeroizing::new(format!("{device}:{code}"));
        let value = Zeroizing::new(format!("Basic {}", Base64::encode_string(pair.as_bytes())));
        request = request.header(AUTHORIZATION, value.as_str());
    }
    let body = Full::new(Bytes::from(Base64::encode_string(what.csr)));
    let request = request.body(body).expect("host, content type and base64 are lawful in a header");
    let response = sender.send_request(request).await.map_err(EstError::Http)?;
    let status = response.status();
    let retry = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
    driver.abort();
    let body = body.map_err(|_| EstError::Answer("it is too long, or broke off"))?.to_bytes();
    match status {
        StatusCode::OK => wire::certificates(&body).map(Answer::Issued).map_err(EstError::Answer),
        StatusCode::ACCEPTED => Ok(Answer::Held(Duration::from_secs(retry.unwrap_or(5)).clamp(RETRY.0, RETRY.1))),
        _ => {
            let words = String::from_utf8_lossy(&body[..body.len().min(200)]);
            let words = words.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            Err(EstError::Refused { status, words })
        }
    }
}

/// What our own check of the server's certificate found, where it was that which ended the handshake.
fn refused(cause: &io::Error) -> Option<String> {
    match cause.get_ref()?.downcast_ref()? {
        rustls::Error::InvalidCertificate(CertificateError::Other(found)) => Some(found.to_string()),
        _ => None,
    }
}
