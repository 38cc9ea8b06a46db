//! The screen's thread: paints the newest view and the camera's newest picture, and is never waited for.
//!
//! Only what changed is sent. A screen that fails is told as a fault, once, and tried again with the whole picture
//! until it works: meanwhile the kiosk serves on by its local API.

mod slot;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use didar_protocol::reason::Reason;
use tokio::sync::mpsc::Sender;
use zeroize::Zeroize;

use crate::attempt::event::{Event, Language, View};
use crate::edge::Screen;
use crate::screen::{Canvas, Help, Painter, SizeError, Window};
use slot::{Slot, Work};
pub use slot::{Snapshot, Viewfinder};

/// How often a screen that failed is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// The screen's thread. Dropping it ends the thread.
pub struct Display {
    slot: Arc<Slot>,
    thread: Option<JoinHandle<()>>,
}

/// The screen cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DisplayError {
    /// Too small or too large.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// The system gave no thread.
    #[error("cannot start the screen's thread: {0}")]
    Thread(io::Error),
}

impl Display {
    /// Starts the thread. A screen that fails, or works again, is told over `events`.
    ///
    /// # Errors
    /// The screen is too small or too large to be laid out, or the system gave no thread. A screen that is not there is
    /// no error: it is a fault.
    pub fn start(screen: Box<dyn Screen>, help: Help, events: Sender<Event>) -> Result<Self, DisplayError> {
        let (width, height) = screen.size();
        let easel = Easel {
            screen,
            canvas: Canvas::new(width, height)?,
            shown: Vec::new(),
            painter: Painter::new(),
            help,
            window: None,
            snapshot: Snapshot::default(),
            health: Health::Unknown,
            events,
        };
        let slot = Arc::<Slot>::default();
        let shared = Arc::clone(&slot);
        let thread = thread::Builder::new()
            .name("screen".into())
            .spawn(move || easel.run(&shared))
            .map_err(DisplayError::Thread)?;
        Ok(Self { slot, thread: Some(thread) })
    }

    /// Shows `view` as soon as the screen is free; an older one that was not painted yet is dropped.
    pub fn show(&self, view: View, language: Language) {
        self.slot.show(view, language);
    }

    /// Where the camera's pictures for the oval are handed in.
    pub fn viewfinder(&self) -> Viewfinder {
        Viewfinder(Arc::clone(&self.slot))
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.slot.close();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so on its own.
            let _ = thread.join();
        }
    }
}

/// Whether the screen works, as far as known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Unknown,
    Good,
    Broken,
}

/// What the screen's thread owns.
struct Easel {
    screen: Box<dyn Screen>,
    canvas: Canvas,
    /// What the screen shows, as far as known; empty when it is not.
    shown: Vec<u16>,
    painter: Painter,
    help: Help,
    /// The oval's inside, while the view has one.
    window: Option<Window>,
    /// The camera's last picture, while there is a window.
    snapshot: Snapshot,
    health: Health,
    events: Sender<Event>,
}

impl Easel {
    fn run(mut self, slot: &Slot) {
        loop {
            let patience = (self.health == Health::Broken).then_some(RETRY);
            match slot.take(&mut self.snapshot, patience) {
                Work::View(view, language) => {
                    let preview = self.window.as_ref().and_then(|_| self.snapshot.preview().ok());
                    let Ok(window) = self.painter.draw(&view, language, &self.help, preview, &mut self.canvas);
                    self.window = window;
                    slot.watch(self.window.is_some());
                    if self.window.is_none() {
                        self.snapshot.wipe();
                    }
                }
                Work::Snapshot => {
                    self.paint_snapshot();
                    // A broken screen is tried again now and then, not for every picture.
                    if self.health == Health::Broken {
                        continue;
                    }
                }
                Work::Nothing => {}
                Work::Closed => return,
            }
            self.send();
        }
    }

    fn paint_snapshot(&mut self) {
        // One that came with a view's end, or is no picture, is not shown.
        if let (Some(window), Ok(preview)) = (&mut self.window, self.snapshot.preview()) {
            let Ok(()) = window.paint(preview, &mut self.canvas);
        }
    }

    /// Sends what changed since the last picture that arrived.
    fn send(&mut self) {
        let Some(area) = self.canvas.changed(&self.shown) else { return };
        match self.screen.show(self.canvas.pixels(), area) {
            Ok(()) => {
                self.shown.resize(self.canvas.pixels().len(), 0);
                self.shown.copy_from_slice(self.canvas.pixels());
                if self.health == Health::Broken {
                    tracing::info!("the screen works again");
                    let _ = self.events.blocking_send(Event::Mended(Reason::ScreenFault));
                }
                self.health = Health::Good;
            }
            Err(error) => {
                self.shown.zeroize();
                if self.health != Health::Broken {
                    tracing::error!("{error}");
                    let _ = self.events.blocking_send(Event::Fault(Reason::ScreenFault));
                }
                self.health = Health::Broken;
            }
        }
    }
}

impl Drop for Easel {
    /// The last picture may show a person.
    fn drop(&mut self) {
        self.shown.zeroize();
    }
}

#[cfg(test)]
mod tests;
