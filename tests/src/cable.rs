//! A network cable that can be pulled: a TCP relay between the kiosk and the broker.
//!
//! Here: one listener on loopback that copies bytes both ways. Not here: slow or lossy links (they need network
//! namespaces). Start reading at [`Cable`].

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A relay from a port of its own to the broker's port.
pub struct Cable {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    broker: SocketAddr,
    pulled: AtomicBool,
    ended: AtomicBool,
    ends: Mutex<Vec<TcpStream>>,
}

impl Cable {
    /// Lays a cable to `broker` and plugs it in.
    pub fn lay(broker: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            broker,
            pulled: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            ends: Mutex::new(Vec::new()),
        });
        let relay = Arc::clone(&shared);
        thread::spawn(move || relay.serve(&listener));
        Ok(Self { port, shared })
    }

    /// The port on 127.0.0.1 that the kiosk connects to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Pulls the plug: open connections are reset, new ones are closed at once.
    pub fn pull(&self) {
        self.shared.pulled.store(true, Ordering::SeqCst);
        self.shared.cut();
    }

    /// Puts the plug back in.
    pub fn plug(&self) {
        self.shared.pulled.store(false, Ordering::SeqCst);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.shared.cut();
        // Wakes the listener so that its thread sees the end.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn serve(&self, listener: &TcpListener) {
        for near in listener.incoming().map_while(Result::ok) {
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            if !self.pulled.load(Ordering::SeqCst) {
                // A connection that cannot be relayed is closed by its drop: the kiosk sees a broken link.
                let _ = self.join(&near);
            }
        }
    }

    fn join(&self, near: &TcpStream) -> io::Result<()> {
        let far = TcpStream::connect(self.broker)?;
        {
            let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
            ends.push(near.try_clone()?);
            ends.push(far.try_clone()?);
        }
        copy_in_background(near.try_clone()?, far.try_clone()?);
        copy_in_background(far, near.try_clone()?);
        Ok(())
    }

    fn cut(&self) {
        for end in self.ends.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

fn copy_in_background(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}
