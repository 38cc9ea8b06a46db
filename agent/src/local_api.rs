//! The kiosk application's door: HTTP on a Unix socket.
//!
//! **Here:** `POST /v1/authentications`, `GET` and `DELETE /v1/authentications/ID`, its events as a stream, `GET /v1/state`.
//! Errors are problem documents (RFC 9457) that name the field, what is wrong and what to do. **Not here:** decisions (the
//! loop's); pictures never leave by this door, and persons never enter a log.
//!
//! **Start** with [`serve`].

mod body;
mod problem;
mod told;

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use didar_protocol::id::{DeviceId, RequestId};
use didar_protocol::reason::Reason;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

use crate::attempt::Language;
use crate::camera::meter::Meter;
use crate::journal::{Entry, Journal};
use crate::run::{Call, Refusal};
use crate::screen::Help;
use problem::Problem;

/// What the handlers share.
pub struct Door {
    /// This device.
    pub device: DeviceId,
    /// The way to the loop.
    pub calls: mpsc::Sender<Call>,
    /// What the loop tells.
    pub journal: Arc<Journal>,
    /// Where a person finds help.
    pub help: Help,
    /// Language of requests that name none.
    pub language: Language,
    /// What is counted of the camera's frames.
    pub meter: Arc<Meter>,
}

/// The door cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// Somebody serves there.
    #[error("{path} is in use: another didar-agent is running; stop it first")]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot open the local API at {path}: {cause}; its folder must exist and be writable")]
    Open {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// Largest request, bytes.
const BODY_MAX: usize = 8 * 1024;
/// Longest wait for a request's body.
const BODY_WAIT: Duration = Duration::from_secs(5);
/// Longest wait for a request's header, the next one on a connection too.
const HEADER_WAIT: Duration = Duration::from_secs(5);
/// Most bytes of a request's header.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Connections at once; who comes beyond waits in the system's queue.
const CONNECTIONS_MAX: usize = 64;
/// Before the next try where no connection could be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest wait for the loop.
const LOOP_WAIT: Duration = Duration::from_secs(5);
/// Streams of events at once.
const STREAMS_MAX: usize = 16;
/// Owner and group may connect: the kiosk's application runs in the agent's group.
const SOCKET_MODE: u32 = 0o660;

type Shared = State<Arc<Inner>>;

struct Inner {
    door: Door,
    streams: Arc<Semaphore>,
}

/// Opens the socket at `path` and serves until the returned future is dropped.
///
/// # Errors
/// The socket cannot be opened, or somebody serves there already.
pub fn serve(path: &FilePath, door: Door) -> Result<impl Future<Output = ()> + use<>, DoorError> {
    let listener = listen(path)?;
    let inner = Arc::new(Inner { door, streams: Arc::new(Semaphore::new(STREAMS_MAX)) });
    let router = Router::new()
        .route("/v1/authentications", post(begin))
        .route("/v1/authentications/{id}", get(read).delete(cancel))
        .route("/v1/authentications/{id}/events", get(follow))
        .route("/v1/state", get(state))
        .fallback(nowhere)
        .method_not_allowed_fallback(not_so)
        .layer(axum::middleware::map_response(guarded))
        .with_state(inner);
    Ok(answer_all(listener, router))
}

/// Serves for ever: a bound for everything that a client can use up.
async fn answer_all(listener: UnixListener, router: Router) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(cause) => {
                // No file descriptors left, most likely: those in use come back.
                tracing::warn!("no connection to the local API accepted: {cause}");
                drop(timeout(ACCEPT_PAUSE, std::future::pending::<()>()).await);
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_WAIT)
                .max_buf_size(HEADER_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(cause) = served {
                tracing::debug!("a connection to the local API ended early: {cause}");
            }
        });
    }
}

fn listen(path: &FilePath) -> Result<UnixListener, DoorError> {
    let failed = |cause| DoorError::Open { path: path.to_path_buf(), cause };
    if UnixStream::connect(path).is_ok() {
        return Err(DoorError::InUse { path: path.to_path_buf() });
    }
    // A socket that nobody listens on was left by an agent that was killed.
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(failed(cause)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
    Ok(listener)
}

async fn begin(State(inner): Shared, body: Body) -> Result<Response, Problem> {
    let bytes = timeout(BODY_WAIT, axum::body::to_bytes(body, BODY_MAX))
        .await
        .map_err(|_| {
            Problem::new(StatusCode::REQUEST_TIMEOUT, Reason::RequestMalformed, "the body did not come in time")
        })?
        .map_err(|_| {
            let detail = format!("the body is larger than {BODY_MAX} bytes, or broke off");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, Reason::RequestMalformed, detail)
        })?;
    let door = &inner.door;
    let draft = body::read(&bytes, door.language)?;
    let (answer, answered) = oneshot::channel();
    door.calls.try_send(Call::Begin { draft, answer }).map_err(|_| Problem::unavailable())?;
    let begun = timeout(LOOP_WAIT, answered).await.map_err(|_| Problem::unavailable())?;
    let id = begun.map_err(|_| Problem::unavailable())?.map_err(|refusal| refused(&refusal))?;
    let place = format!("/v1/authentications/{id}");
    let body = Json(json!({ "id": id.to_string(), "events": format!("{place}/events") }));
    Ok((StatusCode::CREATED, [("location", place)], body).into_response())
}

fn refused(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::Busy => Problem::new(StatusCode::CONFLICT, Reason::None, refusal.to_string()),
        Refusal::Stopping => Problem::new(StatusCode::SERVICE_UNAVAILABLE, Reason::Stopping, refusal.to_string()),
        Refusal::Unrecorded => Problem::new(StatusCode::SERVICE_UNAVAILABLE, Reason::StorageFault, refusal.to_string()),
        Refusal::Field(error) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, Reason::RequestMalformed, error.to_string())
        }
    }
}

async fn read(State(inner): Shared, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = parse(&id)?;
    let entries = inner.door.journal.entries(id, 0).ok_or_else(|| Problem::unknown(id))?;
    let last = entries.last().map(|entry| told::data(entry, &inner.door.help));
    let (status, body) = match (entries.last(), last) {
        (Some(entry @ Entry::Outcome(_)), Some(data)) => (told::name(entry), data),
        (Some(entry), Some(data)) => (told::name(entry), data),
        _ => ("positioning", json!({})),
    };
    let mut body = body;
    body["id"] = id.to_string().into();
    body["status"] = status.into();
    Ok(Json(body).into_response())
}

async fn cancel(State(inner): Shared, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = parse(&id)?;
    if inner.door.journal.entries(id, 0).is_none() {
        return Err(Problem::unknown(id));
    }
    inner.door.calls.try_send(Call::Cancel(id)).map_err(|_| Problem::unavailable())?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn follow(State(inner): Shared, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = parse(&id)?;
    if inner.door.journal.entries(id, 0).is_none() {
        return Err(Problem::unknown(id));
    }
    let permit = Arc::clone(&inner.streams).try_acquire_owned().map_err(|_| Problem::unavailable())?;
    let (send, receive) = mpsc::channel::<Result<Sent, Infallible>>(8);
    tokio::spawn(async move {
        let _permit = permit;
        tell(&inner.door, id, &send).await;
    });
    Ok(Sse::new(ReceiverStream::new(receive)).keep_alive(KeepAlive::default()).into_response())
}

/// Sends every entry of the authentication in order, until its outcome or until nobody listens.
async fn tell(door: &Door, id: RequestId, send: &mpsc::Sender<Result<Sent, Infallible>>) {
    let mut changes = door.journal.watch();
    let mut from = 0;
    while let Some(entries) = door.journal.entries(id, from) {
        from += entries.len();
        for entry in entries {
            let sent = Sent::default().event(told::name(&entry)).data(told::data(&entry, &door.help).to_string());
            if send.send(Ok(sent)).await.is_err() || matches!(entry, Entry::Outcome(_)) {
                return;
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

async fn state(State(inner): Shared) -> Response {
    let door = &inner.door;
    let standing = door.journal.standing();
    let faults: Vec<_> = standing.faults.iter().map(|reason| told::reason(*reason)).collect();
    Json(json!({
        "device": door.device.to_string(),
        "version": env!("CARGO_PKG_VERSION"),
        "connected": !standing.faults.contains(&Reason::NoConnection),
        "serving": standing.serving.map(|id| id.to_string()),
        "faults": faults,
        "unconfirmed_records": standing.unconfirmed,
        "camera": told::camera(&door.meter.counts()),
        "help": told::help(&door.help),
    }))
    .into_response()
}

/// What is said of a person is kept by nobody on the way, and taken for nothing but what it is.
async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn nowhere(uri: Uri) -> Problem {
    let detail = format!("there is nothing at {}; see /v1/authentications and /v1/state", uri.path());
    Problem::new(StatusCode::NOT_FOUND, Reason::None, detail)
}

async fn not_so(method: Method, uri: Uri) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, Reason::None, format!("{method} is not for {}", uri.path()))
}

fn parse(id: &str) -> Result<RequestId, Problem> {
    id.parse().map_err(|_| Problem::new(StatusCode::NOT_FOUND, Reason::None, "that is no id of an authentication"))
}

#[cfg(test)]
mod tests;
