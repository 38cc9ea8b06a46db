//! The kiosk's own application, as an integrator would write it: HTTP over the agent's Unix socket.
//!
//! Here: ask for an authentication, follow its events, cancel it. Not here: any knowledge of how the agent decides.
//! Start reading at [`KioskApp`].

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

/// A client of one agent's local API.
#[derive(Clone, Debug)]
pub struct KioskApp {
    socket: PathBuf,
}

/// A status line and the JSON that came with it (null where there was none).
#[derive(Debug)]
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// The body, parsed.
    pub body: Value,
}

impl KioskApp {
    /// A client for the socket at `socket`; nothing is connected yet.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_path_buf() }
    }

    /// Asks for an authentication; `request` is the body that the local API takes.
    pub async fn ask(&self, request: &Value) -> Result<Answer> {
        self.call(Method::POST, "/v1/authentications", Some(request)).await
    }

    /// What the authentication `id` has come to.
    pub async fn read(&self, id: &str) -> Result<Answer> {
        self.call(Method::GET, &format!("/v1/authentications/{id}"), None).await
    }

    /// Ends the authentication `id`.
    pub async fn cancel(&self, id: &str) -> Result<Answer> {
        self.call(Method::DELETE, &format!("/v1/authentications/{id}"), None).await
    }

    /// How the kiosk is.
    pub async fn state(&self) -> Result<Answer> {
        self.call(Method::GET, "/v1/state", None).await
    }

    /// Follows the authentication's server-sent events; `each` gets the event's name and data until the stream ends.
    pub async fn follow(&self, id: &str, mut each: impl FnMut(&str, &Value)) -> Result<()> {
        let response = self.send(Method::GET, &format!("/v1/authentications/{id}/events"), None).await?;
        if response.status() != 200 {
            bail!("events of {id}: {}", response.status());
        }
        let mut body = response.into_body();
        let mut text = String::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.context("the stream of events broke")?.into_data() else { continue };
            text.push_str(&String::from_utf8_lossy(&data));
            while let Some(end) = text.find("\n\n") {
                let block: String = text.drain(..end + 2).collect();
                if let Some((name, value)) = parse_event(&block) {
                    each(&name, &value);
                }
            }
        }
        Ok(())
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let response = self.send(method, path, body).await?;
        let status = response.status().as_u16();
        if response.headers().get("cache-control").is_none_or(|value| value != "no-store") {
            bail!("{path}: an answer about a person that somebody on the way may keep");
        }
        let bytes = response.into_body().collect().await.context("reading the answer")?.to_bytes();
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).context("the answer is not JSON")?
        };
        Ok(Answer { status, body })
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response<Incoming>> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .with_context(|| format!("connecting to {}", self.socket.display()))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let bytes = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "kiosk")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(bytes)))?;
        Ok(sender.send_request(request).await?)
    }
}

fn parse_event(block: &str) -> Option<(String, Value)> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name).map(|rest| rest.trim().to_owned()));
    let data = serde_json::from_str(&field("data:")?).ok()?;
    Some((field("event:").unwrap_or_else(|| "message".to_owned()), data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_its_name_and_its_data() {
        let (name, data) = parse_event("event: outcome\ndata: {\"outcome\":\"grant\"}\n\n").expect("an event");
        assert_eq!((name.as_str(), data["outcome"].as_str()), ("outcome", Some("grant")));
        assert!(parse_event(": keep-alive\n\n").is_none());
    }
}
