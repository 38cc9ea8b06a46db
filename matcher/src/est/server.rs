//! EST over HTTPS: TLS 1.3, HTTP/1.1, one request a connection, and a bound for everything that a stranger can use up.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::desk::{Answer, Credential, Desk, DeskError, Refusal};
use super::wire::{self, BODY_MAX};
use crate::ca::{Ca, CaError};
use crate::config::{Config, EnrolmentConfig};
use crate::files::FileError;
use crate::store::{Store, StoreError};
use crate::time;
use crate::tls::{self, TlsError};

/// Connections at once; who comes beyond waits in the system's queue.
const CONNECTIONS_MAX: usize = 64;
/// Longest TLS handshake: who says nothing makes room for the next soon.
const HANDSHAKE_MAX: Duration = Duration::from_secs(3);
/// Longest life of a connection, handshake, request and answer together.
const CONNECTION_MAX: Duration = Duration::from_secs(15);
/// Longest wait for a request's header.
const HEADER_MAX: Duration = Duration::from_secs(5);
/// Most bytes of a request's header.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// When a device whose key waits for approval asks again, seconds.
const RETRY_S: u64 = 5;
/// Where EST's operations are (RFC 7030, 3.2.2).
const ROOT: &str = "/.well-known/est/";

/// Why there is no enrolment server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address.
    #[error("cannot listen on {address} for enrolment: choose another with [enrolment] listen")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        #[source]
        cause: std::io::Error,
    },
    /// The authority.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The site's CA cannot be the anchor of clients' certificates.
    #[error("the site's CA cannot be used to check devices")]
    Anchor(#[source] rustls::server::VerifierBuilderError),
}

/// A server that listens.
pub struct EstServer {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    desk: Arc<Mutex<Desk>>,
}

impl EstServer {
    /// Opens authority, database and port as the configuration says.
    ///
    /// # Errors
    /// Names what cannot be used.
    pub async fn open(config: &Config, enrolment: &EnrolmentConfig) -> Result<Self, ServerError> {
        let ca = Ca::open(&enrolment.ca)?;
        let store = Store::open(&config.store.database, &config.keys.store, config.env)?;
        let desk = Desk::new(ca, store, config.id.clone(), config.broker.certificate.clone(), enrolment.days);
        let mut roots = RootCertStore::empty();
        roots.add(desk.authority().clone()).map_err(TlsError::Unusable)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(ServerError::Anchor)?;
        let (chain, key) = tls::read_pair(&enrolment.certificate, &enrolment.key)?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TlsError::Unusable)?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .map_err(TlsError::Unusable)?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        let address = enrolment.listen;
        let listener = TcpListener::bind(address).await.map_err(|cause| ServerError::Listen { address, cause })?;
        Ok(Self { listener, acceptor: TlsAcceptor::from(Arc::new(server)), desk: Arc::new(Mutex::new(desk)) })
    }

    /// Serves for ever.
    pub async fn serve(self) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(cause) => {
                    // No file descriptors left, most likely: those in use come back.
                    tracing::warn!(%cause, "no connection for enrolment accepted");
                    time::wait(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (acceptor, desk) = (self.acceptor.clone(), Arc::clone(&self.desk));
            tokio::spawn(async move {
                let _permit = permit;
                // A client that is slow, silent or gone is nobody's loss.
                let _ = tokio::time::timeout(CONNECTION_MAX, connection(stream, acceptor, desk)).await;
            });
        }
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, desk: Arc<Mutex<Desk>>) {
    let Ok(accepted) = tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await else { return };
    let stream = match accepted {
        Ok(stream) => stream,
        // Who only looks whether the port is open.
        Err(cause) if cause.kind() == std::io::ErrorKind::UnexpectedEof => return,
        Err(cause) => {
            tracing::info!(%cause, "enrolment: TLS refused");
            let told = tokio::task::spawn_blocking(move || {
                desk.lock().unwrap_or_else(PoisonError::into_inner).turned_away(time::now_ms())
            });
            if let Ok(Err(error)) = told.await {
                tracing::error!(error = &error as &dyn std::error::Error, "an alarm was not kept");
            }
            return;
        }
    };
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(|der| der.to_vec());
    let answer = service_fn(move |request| answer(request, shown.clone(), Arc::clone(&desk)));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
    if let Err(cause) = served {
        tracing::debug!(%cause, "enrolment: connection ended early");
    }
}

async fn answer(
    request: Request<Incoming>,
    shown: Option<Vec<u8>>,
    desk: Arc<Mutex<Desk>>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let mut response = route(request, shown, desk).await;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(response)
}

async fn route(request: Request<Incoming>, shown: Option<Vec<u8>>, desk: Arc<Mutex<Desk>>) -> Response<Full<Bytes>> {
    let operation = request.uri().path().strip_prefix(ROOT).unwrap_or_default().to_owned();
    let post = request.method() == Method::POST;
    match (operation.as_str(), post) {
        ("cacerts", false) if request.method() == Method::GET => {
            let desk = desk.lock().unwrap_or_else(PoisonError::into_inner);
            certificate(desk.authority())
        }
        ("simpleenroll" | "simplereenroll", true) => {
            let renewing = operation == "simplereenroll";
            let authorization = request.headers().get(AUTHORIZATION).map(|value| wire::basic(value.as_bytes()));
            let credential = match authorization {
                None => Credential::None,
                Some(Ok((user, code))) => Credential::Code(user, code),
                Some(Err(why)) => return text(StatusCode::BAD_REQUEST, &why.to_string()),
            };
            let body = match Limited::new(request.into_body(), BODY_MAX).collect().await {
                Ok(body) => body.to_bytes(),
                Err(_) => return text(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long or was not sent"),
            };
            let csr = match wire::read_body(&body) {
                Ok(csr) => csr,
                Err(why) => return text(StatusCode::BAD_REQUEST, &why.to_string()),
            };
            // Signing and the database's transaction: not on the thread that moves the matcher's messages.
            let decided = tokio::task::spawn_blocking(move || {
                let mut desk = desk.lock().unwrap_or_else(PoisonError::into_inner);
                let now_ms = time::now_ms();
                if renewing {
                    desk.renew(&csr, shown.as_deref(), now_ms)
                } else {
                    desk.enrol(&csr, &credential, now_ms)
                }
            });
            match decided.await {
                Ok(decided) => respond(decided),
                Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the request was not worked on"),
            }
        }
        ("cacerts" | "simpleenroll" | "simplereenroll", _) => text(StatusCode::METHOD_NOT_ALLOWED, "wrong method"),
        _ => text(StatusCode::NOT_FOUND, "EST has cacerts, simpleenroll and simplereenroll here"),
    }
}

fn respond(decided: Result<Answer, DeskError>) -> Response<Full<Bytes>> {
    match decided {
        Ok(Answer::Issued(der)) => certificate(&der),
        Ok(Answer::Held) => {
            let mut response = text(StatusCode::ACCEPTED, "waiting for the operator's approval");
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_S));
            response
        }
        Ok(Answer::Refused(why)) => {
            tracing::warn!(%why, "enrolment refused");
            match why {
                Refusal::Request(_) => text(StatusCode::BAD_REQUEST, &why.to_string()),
                Refusal::Code => {
                    let mut response = text(StatusCode::UNAUTHORIZED, &why.to_string());
                    let realm = HeaderValue::from_static("Basic realm=\"didar enrolment\"");
                    response.headers_mut().insert(WWW_AUTHENTICATE, realm);
                    response
                }
                Refusal::Crowded | Refusal::Clock => text(StatusCode::SERVICE_UNAVAILABLE, &why.to_string()),
                Refusal::Shown(_) => text(StatusCode::FORBIDDEN, &why.to_string()),
            }
        }
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "enrolment failed");
            text(StatusCode::INTERNAL_SERVER_ERROR, "the matcher could not work; ask again later")
        }
    }
}

fn certificate(der: &[u8]) -> Response<Full<Bytes>> {
    match wire::certs_only(der) {
        Ok(body) => {
            let mut response = Response::new(Full::new(Bytes::from(body)));
            let kind = HeaderValue::from_static("application/pkcs7-mime; smime-type=certs-only");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response.headers_mut().insert("content-transfer-encoding", HeaderValue::from_static("base64"));
            response
        }
        Err(why) => {
            tracing::error!(%why, "own certificate cannot be told");
            text(StatusCode::INTERNAL_SERVER_ERROR, "own certificate cannot be told")
        }
    }
}

fn text(status: StatusCode, words: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{words}\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
