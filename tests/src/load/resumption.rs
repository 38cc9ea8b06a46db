//! What a reconnect costs in TLS: a whole handshake with both certificates, or a session that is resumed.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use didar_agent::edge::Clock;
use didar_agent::identity::Identity;
use didar_agent::time::SystemClock;
use didar_agent::uplink::trust::TrustAnchor;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};

use crate::site::{KioskSite, Site};

/// What was measured.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Resumption {
    /// Connections of each kind.
    pub connections: usize,
    /// Of the later ones, how many resumed the session of the one before.
    pub resumed: usize,
    /// Median time of a whole handshake until the broker's tickets are there, milliseconds.
    pub full_ms: f64,
    /// Median of those that were resumed; zero where none was.
    pub resumed_ms: f64,
}

const CONNECTIONS: usize = 100;
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Connects to the site's broker as `kiosk`, with settings made anew each time, then with the same ones.
///
/// # Errors
/// The broker does not answer.
pub fn run(site: &Site, kiosk: &KioskSite) -> Result<Resumption> {
    let folder = kiosk.folder().join("site");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(0));
    let trust = Arc::new(TrustAnchor::open(&folder, Arc::clone(&clock))?);
    let identity = Arc::new(Identity::open(&folder, &kiosk.id().parse()?)?);
    let settings = || anyhow::Ok(Arc::new(trust.tls(&identity, "localhost".try_into()?)?));
    let (mut full, mut resumed) = (Vec::new(), Vec::new());
    let shared = settings()?;
    for _ in 0..CONNECTIONS {
        full.push(handshake(site, settings()?, clock.as_ref())?.1);
        let (kind, took) = handshake(site, Arc::clone(&shared), clock.as_ref())?;
        if kind == Some(HandshakeKind::Resumed) {
            resumed.push(took);
        }
    }
    Ok(Resumption {
        connections: CONNECTIONS,
        resumed: resumed.len(),
        full_ms: median_ms(&mut full),
        resumed_ms: median_ms(&mut resumed),
    })
}

/// A connection from its first byte until the broker has answered a word of MQTT on it.
fn handshake(site: &Site, settings: Arc<ClientConfig>, clock: &dyn Clock) -> Result<(Option<HandshakeKind>, Duration)> {
    let mut socket = TcpStream::connect(site.broker()).context("connecting to the broker")?;
    socket.set_read_timeout(Some(ANSWER_MAX))?;
    socket.set_nodelay(true)?;
    let mut connection = ClientConnection::new(settings, "localhost".try_into()?)?;
    let began = clock.now();
    let mut stream = rustls::Stream::new(&mut connection, &mut socket);
    // CONNECT of MQTT 5, clean start, no name, keep-alive 10 s: the broker answers with CONNACK, behind its tickets.
    stream.write_all(b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x0a\x00\x00\x00")?;
    stream.flush()?;
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).context("the broker's answer")?;
    let took = clock.now().since(began);
    anyhow::ensure!(answer[0] == 0x20, "the broker answers {answer:02x?} to CONNECT");
    Ok((connection.handshake_kind(), took))
}

fn median_ms(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
}
