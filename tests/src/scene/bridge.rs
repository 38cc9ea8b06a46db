//! The bridge: the simulated kiosk over a Unix socket, in real time. The agent connects as it would open a camera.
//!
//! Towards the agent: frames, stamped with the start of exposure (CLOCK_MONOTONIC), while it asks for them. From the
//! agent: whether to capture, and lamp orders, which the light follows after the lamps' delay; over a socket of its own,
//! what changed on the kiosk's screen.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use didar_agent::bridge::screen_socket;
use didar_protocol::light_code::Light;
use image::RgbImage;

use super::camera::{HEIGHT, PixelOrder, Recipe, WIDTH};
use super::kiosk::Kiosk;
use super::lamps::LampLog;
use super::presentation::{Presentation, RecordedVideo};
use super::subject::Subject;

/// A kiosk that serves its frames until it is dropped.
pub struct Bridge {
    stage: Arc<Stage>,
    socket: PathBuf,
    threads: Vec<JoinHandle<()>>,
}

/// A picture of the kiosk's screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screen {
    /// Pixels a row.
    pub width: u16,
    /// Rows.
    pub height: u16,
    /// RGB565, row by row.
    pub pixels: Vec<u16>,
}

/// Why the bridge cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The socket cannot be bound.
    #[error("cannot listen on {path}; is its folder there, and the path shorter than 108 bytes?")]
    Listen {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// What the threads share.
struct Stage {
    kiosk: Mutex<Kiosk>,
    order: PixelOrder,
    lamps: Mutex<LampLog>,
    pulled: AtomicBool,
    capturing: AtomicBool,
    gone: AtomicBool,
    stopping: AtomicBool,
    last: Mutex<Option<Recipe>>,
    screen: Mutex<Option<Screen>>,
    /// The screen's connection, while there is one.
    screen_link: Mutex<Option<UnixStream>>,
}

/// Pictures of the screen that may wait for whoever looks at them; more are dropped.
const SCREENS_WAITING: usize = 32;

/// Longest side of a screen that is taken.
const SCREEN_MAX: u16 = 2048;

impl Screen {
    /// The picture in eight bits a colour.
    pub fn to_rgb(&self) -> RgbImage {
        let wide = |value: u16, bits: u32| (u32::from(value) * 255 / ((1 << bits) - 1)) as u8;
        RgbImage::from_fn(u32::from(self.width), u32::from(self.height), |x, y| {
            let pixel = self.pixels[(y * u32::from(self.width) + x) as usize];
            image::Rgb([wide(pixel >> 11, 5), wide(pixel >> 5 & 63, 6), wide(pixel & 31, 5)])
        })
    }
}

impl Bridge {
    /// Listens on `socket` and serves whoever connects, one agent at a time. `on_screen` gets every picture of the
    /// kiosk's screen, on a thread of the bridge.
    ///
    /// # Errors
    /// [`BridgeError::Listen`] where the socket cannot be bound.
    pub fn open(
        socket: &Path,
        kiosk: Kiosk,
        order: PixelOrder,
        on_screen: impl FnMut(&Screen) + Send + 'static,
    ) -> Result<Self, BridgeError> {
        let failed = |cause| BridgeError::Listen { path: socket.to_owned(), cause };
        let listener = listen_at(socket).map_err(failed)?;
        let panel = listen_at(&screen_socket(socket)).map_err(failed)?;
        let stage = Arc::new(Stage {
            kiosk: Mutex::new(kiosk),
            order,
            lamps: Mutex::default(),
            pulled: AtomicBool::new(false),
            capturing: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            last: Mutex::new(None),
            screen: Mutex::new(None),
            screen_link: Mutex::new(None),
        });
        let (shown, screens) = sync_channel(SCREENS_WAITING);
        let (served, looked_at) = (stage.clone(), stage.clone());
        let threads = vec![
            std::thread::spawn(move || serve(&served, &listener)),
            std::thread::spawn(move || serve_screen(&looked_at, &panel, &shown)),
            std::thread::spawn(move || view(&screens, on_screen)),
        ];
        Ok(Self { stage, socket: socket.to_owned(), threads })
    }

    /// Puts something else before the camera. What [`prepare`](Self::prepare) has not painted costs some frames.
    pub fn present(&self, presentation: Presentation) {
        hold(&self.stage.kiosk).present(presentation);
    }

    /// Paints what `presentation` needs ahead of time.
    pub fn prepare(&self, presentation: &Presentation) {
        hold(&self.stage.kiosk).prepare(presentation);
    }

    /// Another person steps before the camera.
    pub fn step_up(&self, subject: Arc<Subject>) {
        hold(&self.stage.kiosk).step_up(subject);
    }

    /// Nobody sends frames any more, as with a pulled cable.
    pub fn pull_camera(&self) {
        self.stage.pulled.store(true, Ordering::Relaxed);
    }

    /// Frames come again.
    pub fn plug_camera(&self) {
        self.stage.pulled.store(false, Ordering::Relaxed);
    }

    /// Begins to record what the camera sees.
    pub fn start_recording(&self) {
        hold(&self.stage.kiosk).start_recording();
    }

    /// Ends the recording: what [`Presentation::Recording`] plays back.
    pub fn stop_recording(&self) -> RecordedVideo {
        hold(&self.stage.kiosk).stop_recording()
    }

    /// What the camera saw last; `None` before the first frame.
    pub fn snapshot(&self) -> Option<RgbImage> {
        let recipe = (*hold(&self.stage.last))?;
        let mut bytes = Vec::new();
        hold(&self.stage.kiosk).render(&recipe, PixelOrder::Rgb, &mut bytes);
        RgbImage::from_raw(WIDTH as u32, HEIGHT as u32, bytes)
    }

    /// What the kiosk's screen shows; `None` before the first picture.
    pub fn screen(&self) -> Option<Screen> {
        hold(&self.stage.screen).clone()
    }

    /// What the lamps show.
    pub fn lamps(&self) -> Light {
        hold(&self.stage.lamps).now()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.stage.stopping.store(true, Ordering::Relaxed);
        if let Some(link) = &*hold(&self.stage.screen_link) {
            let _ = link.shutdown(std::net::Shutdown::Both);
        }
        // Wakes whoever waits for an agent; whether somebody is there to be woken does not matter.
        let sockets = [self.socket.clone(), screen_socket(&self.socket)];
        sockets.each_ref().map(UnixStream::connect).into_iter().for_each(drop);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        for socket in sockets {
            let _ = std::fs::remove_file(socket);
        }
    }
}

/// Listens on `socket`. One that was left by an earlier run is in the way, and removed.
fn listen_at(socket: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(socket) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
        _ => UnixListener::bind(socket),
    }
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked while holding it left nothing half done that matters to a simulation.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands the screen's pictures on, away from the thread that must not miss a lamp order.
fn view(screens: &Receiver<Screen>, mut on_screen: impl FnMut(&Screen)) {
    while let Ok(screen) = screens.recv() {
        on_screen(&screen);
    }
}

fn serve(stage: &Arc<Stage>, listener: &UnixListener) {
    while let Ok((agent, _)) = listener.accept() {
        if stage.stopping.load(Ordering::Relaxed) {
            return;
        }
        let Ok(orders) = agent.try_clone() else { continue };
        let heard = stage.clone();
        stage.gone.store(false, Ordering::Relaxed);
        let listening = std::thread::spawn(move || {
            listen(&heard, orders);
            heard.gone.store(true, Ordering::Relaxed);
        });
        // An agent that goes away ends this; the next one may come.
        let _ = send_frames(stage, &agent);
        let _ = agent.shutdown(std::net::Shutdown::Both);
        let _ = listening.join();
        hold(&stage.lamps).switched(now_us(), Light::Off);
        stage.capturing.store(false, Ordering::Relaxed);
        if stage.stopping.load(Ordering::Relaxed) {
            return;
        }
    }
}

fn send_frames(stage: &Stage, mut agent: &UnixStream) -> io::Result<()> {
    // An agent that stopped reading must not hold the bridge for ever.
    agent.set_write_timeout(Some(Duration::from_secs(2)))?;
    let camera = hold(&stage.kiosk).camera();
    let (frame_us, exposure_us) = (u64::from(camera.frame_us), u64::from(camera.exposure_us));
    let mut start_us = now_us();
    let mut sequence = 0u32;
    let mut pixels = Vec::new();
    loop {
        wait_until(start_us + exposure_us + u64::from(camera.readout_us));
        if stage.stopping.load(Ordering::Relaxed) || stage.gone.load(Ordering::Relaxed) {
            return Ok(());
        }
        if stage.capturing.load(Ordering::Relaxed) && !stage.pulled.load(Ordering::Relaxed) {
            {
                let mut kiosk = hold(&stage.kiosk);
                let lamps = hold(&stage.lamps).clone();
                let recipe = kiosk.expose(start_us, &lamps);
                kiosk.render(&recipe, stage.order, &mut pixels);
                *hold(&stage.last) = Some(recipe);
            }
            agent.write_all(&header(stage.order, pixels.len(), sequence, start_us * 1000))?;
            agent.write_all(&pixels)?;
        }
        sequence = sequence.wrapping_add(1);
        start_us += frame_us;
        // Where we were held up, the camera dropped frames: it never sends old ones in a hurry.
        while start_us + exposure_us + 2 * frame_us < now_us() {
            start_us += frame_us;
            sequence = sequence.wrapping_add(1);
        }
    }
}

fn header(order: PixelOrder, length: usize, sequence: u32, captured_ns: u64) -> Vec<u8> {
    let mut header = b"DFR1".to_vec();
    let numbers = [order.fourcc(), WIDTH as u32, HEIGHT as u32, length as u32, sequence];
    numbers.iter().for_each(|number| header.extend(number.to_le_bytes()));
    header.extend(captured_ns.to_le_bytes());
    header
}

/// Takes the agent's orders until it goes away or says what is no order.
fn listen(stage: &Stage, mut orders: UnixStream) {
    let delay_us = u64::from(hold(&stage.kiosk).camera().lamp_delay_us);
    let mut kind = [0];
    while orders.read_exact(&mut kind).is_ok() {
        let taken = match &kind {
            b"C" => take_capture(stage, &mut orders),
            b"L" => take_light(stage, &mut orders, delay_us),
            other => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} is no order", other[0]))),
        };
        if taken.is_err() {
            let _ = orders.shutdown(std::net::Shutdown::Both);
            return;
        }
    }
}

fn take_capture(stage: &Stage, orders: &mut UnixStream) -> io::Result<()> {
    let mut on = [0];
    orders.read_exact(&mut on)?;
    stage.capturing.store(on[0] != 0, Ordering::Relaxed);
    Ok(())
}

fn take_light(stage: &Stage, orders: &mut UnixStream, delay_us: u64) -> io::Result<()> {
    let mut light = [0];
    orders.read_exact(&mut light)?;
    let light = Light::try_from(light[0])
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("{} is no light", light[0])))?;
    hold(&stage.lamps).switched(now_us() + delay_us, light);
    Ok(())
}

/// Takes the screen's pictures, one agent's at a time.
fn serve_screen(stage: &Stage, listener: &UnixListener, shown: &SyncSender<Screen>) {
    while let Ok((mut agent, _)) = listener.accept() {
        *hold(&stage.screen_link) = agent.try_clone().ok();
        if stage.stopping.load(Ordering::Relaxed) {
            return;
        }
        // Until the agent goes away or says what is no picture; the next one may come.
        while take_screen(stage, &mut agent, shown).is_ok() {}
    }
}

fn take_screen(stage: &Stage, agent: &mut UnixStream, shown: &SyncSender<Screen>) -> io::Result<()> {
    let mut header = [0; 13];
    agent.read_exact(&mut header)?;
    let number = |index: usize| u16::from_le_bytes([header[2 * index + 1], header[2 * index + 2]]);
    let [width, height, left, top, across, down] = [0, 1, 2, 3, 4, 5].map(number);
    let inside = |from: u16, length: u16, whole: u16| {
        length > 0 && whole <= SCREEN_MAX && u32::from(from) + u32::from(length) <= u32::from(whole)
    };
    if header[0] != b'S' || !inside(left, across, width) || !inside(top, down, height) {
        let said = format!("{across}x{down} at {left},{top} of a screen of {width}x{height}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, said));
    }
    let mut bytes = vec![0; usize::from(across) * usize::from(down) * 2];
    agent.read_exact(&mut bytes)?;
    let pixels = usize::from(width) * usize::from(height);
    let mut held = hold(&stage.screen);
    let screen = held.get_or_insert_with(|| Screen { width, height, pixels: Vec::new() });
    (screen.width, screen.height) = (width, height);
    screen.pixels.resize(pixels, 0);
    for (row, sent) in bytes.chunks_exact(usize::from(across) * 2).enumerate() {
        let start = (usize::from(top) + row) * usize::from(width) + usize::from(left);
        for (pixel, pair) in screen.pixels[start..].iter_mut().zip(sent.chunks_exact(2)) {
            *pixel = u16::from_le_bytes([pair[0], pair[1]]);
        }
    }
    // A viewer that is slow misses pictures; the latest one is always here.
    let _ = shown.try_send(screen.clone());
    Ok(())
}

fn now_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1000
}

#[allow(clippy::disallowed_methods, reason = "the simulated camera is the place where real time passes")]
fn wait_until(at_us: u64) {
    std::thread::sleep(Duration::from_micros(at_us.saturating_sub(now_us())));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{CameraModel, Room};
    use super::*;

    /// A subject without a network: the same grey everywhere.
    fn subject() -> Arc<Subject> {
        Arc::new(Subject::plain())
    }

    fn open(folder: &Path) -> (Bridge, UnixStream, Receiver<Screen>) {
        let kiosk = Kiosk::new(subject(), Room::default(), CameraModel::default(), 1);
        let (shown, screens) = sync_channel(4);
        let on_screen = move |screen: &Screen| shown.send(screen.clone()).unwrap();
        let bridge = Bridge::open(&folder.join("bridge"), kiosk, PixelOrder::Grey, on_screen).unwrap();
        (bridge, connect(folder), screens)
    }

    /// An agent that wants frames, and does not wait for ever.
    fn connect(folder: &Path) -> UnixStream {
        let mut agent = UnixStream::connect(folder.join("bridge")).unwrap();
        agent.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        agent.write_all(b"C\x01").unwrap();
        agent
    }

    /// Start of exposure and mean code value of the next frame.
    fn frame(agent: &mut UnixStream) -> (u64, f64) {
        let mut header = [0; 32];
        agent.read_exact(&mut header).unwrap();
        let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        assert_eq!((&header[..8], word(8), word(12), word(16)), (&b"DFR1GREY"[..], 640, 480, 640 * 480));
        let mut pixels = vec![0; 640 * 480];
        agent.read_exact(&mut pixels).unwrap();
        let captured = u64::from_le_bytes(header[24..32].try_into().unwrap());
        (captured, pixels.iter().map(|&pixel| f64::from(pixel)).sum::<f64>() / pixels.len() as f64)
    }

    #[test]
    fn the_light_follows_the_lamps() {
        let folder = tempfile::tempdir().unwrap();
        let (bridge, mut agent, _screens) = open(folder.path());
        let (first, dark) = frame(&mut agent);
        agent.write_all(&[b'L', Light::Both as u8]).unwrap();
        let lit = (0..10).map(|_| frame(&mut agent)).find(|(_, mean)| *mean > dark + 10.0);
        assert!(lit.is_some_and(|(at, _)| at > first), "still as dark as {dark}");
        assert_eq!(bridge.lamps(), Light::Both);
        assert!(bridge.snapshot().is_some());
    }

    #[test]
    fn the_screen_arrives_as_it_was_sent() {
        let folder = tempfile::tempdir().unwrap();
        let (bridge, _agent, screens) = open(folder.path());
        let mut panel = UnixStream::connect(screen_socket(&folder.path().join("bridge"))).unwrap();
        panel.write_all(&[b'S', 2, 0, 1, 0, 0, 0, 0, 0, 2, 0, 1, 0, 0x00, 0xf8, 0x1f, 0x00]).unwrap();
        let screen = screens.recv().unwrap();
        assert_eq!(screen, Screen { width: 2, height: 1, pixels: vec![0xf800, 0x001f] });
        assert_eq!(screen.to_rgb().into_raw(), [255, 0, 0, 0, 0, 255]);
        panel.write_all(&[b'S', 2, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0xe0, 0x07]).unwrap();
        assert_eq!(screens.recv().unwrap().pixels, [0xf800, 0x07e0], "only the second pixel changed");
        // The bridge can be closed while the agent is connected.
        drop(bridge);
    }

    #[test]
    fn an_agent_that_talks_nonsense_is_cut_off_and_the_next_one_served() {
        let folder = tempfile::tempdir().unwrap();
        let (bridge, mut agent, _screens) = open(folder.path());
        agent.write_all(b"GET / HTTP/1.1").unwrap();
        let mut rest = Vec::new();
        let _ = agent.read_to_end(&mut rest);
        let mut next = connect(folder.path());
        frame(&mut next);
        drop(bridge);
    }
}
