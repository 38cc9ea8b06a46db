//! What runs in the guest: the camera's feeder, the lamps' trace, the relay of the local API, the host's orders.

mod camera;
mod capture;
mod lamps;
mod orders;
mod steady;

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};

use super::{API_PORT, API_SOCKET, CONTROL_PORT};
use camera::Cable;

/// Runs until the host says that it is over.
///
/// # Errors
/// A device of the rig is missing.
pub fn serve() -> Result<()> {
    let cable = Arc::new(Cable::default());
    let lamps = lamps::Watch::start()?;
    camera::start(Arc::clone(&cable), lamps.clone())?;
    let api = TcpListener::bind((Ipv4Addr::UNSPECIFIED, API_PORT)).context("the relay of the local API")?;
    thread::spawn(move || api.incoming().map_while(Result::ok).for_each(relay));
    let control = TcpListener::bind((Ipv4Addr::UNSPECIFIED, CONTROL_PORT)).context("the host's orders")?;
    orders::obey(&control, &cable, &lamps)
}

/// Joins a connection of the host with the agent's socket, both ways.
fn relay(host: TcpStream) {
    // Nobody there: the host sees its connection closed, as the kiosk's application would be refused.
    let Ok(agent) = UnixStream::connect(API_SOCKET) else { return };
    let (Ok(mut from_host), Ok(mut to_agent)) = (host.try_clone(), agent.try_clone()) else { return };
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_host, &mut to_agent);
        let _ = to_agent.shutdown(std::net::Shutdown::Write);
    });
    thread::spawn(move || {
        let (mut agent, mut host) = (agent, host);
        let _ = std::io::copy(&mut agent, &mut host);
        let _ = host.shutdown(std::net::Shutdown::Both);
    });
}

/// The guest's CLOCK_MONOTONIC, microseconds.
fn now_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1000
}

#[allow(clippy::disallowed_methods, reason = "the rig's camera is a place where real time passes")]
fn sleep_until(at_us: u64) {
    thread::sleep(std::time::Duration::from_micros(at_us.saturating_sub(now_us())));
}
