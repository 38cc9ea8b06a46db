//! The screen's thread: paints the newest view, and is never waited for.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::{io, thread};

use crate::attempt::event::{Language, View};
use crate::edge::Screen;
use crate::screen::{Canvas, Help, Painter, SizeError};

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

#[derive(Default)]
struct Slot {
    next: Mutex<Next>,
    changed: Condvar,
}

#[derive(Default)]
struct Next {
    view: Option<(View, Language)>,
    closed: bool,
}

impl Display {
    /// Starts the thread.
    ///
    /// # Errors
    /// The screen is too small or too large to be laid out, or the system gave no thread.
    pub fn start(screen: Box<dyn Screen>, help: Help) -> Result<Self, DisplayError> {
        let (width, height) = screen.size();
        let canvas = Canvas::new(width, height)?;
        let slot = Arc::<Slot>::default();
        let shared = Arc::clone(&slot);
        let thread = thread::Builder::new()
            .name("screen".into())
            .spawn(move || paint(screen, canvas, &help, &shared))
            .map_err(DisplayError::Thread)?;
        Ok(Self { slot, thread: Some(thread) })
    }

    /// Shows `view` as soon as the screen is free; an older one that was not painted yet is dropped.
    pub fn show(&self, view: View, language: Language) {
        self.slot.lock().view = Some((view, language));
        self.slot.changed.notify_one();
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.slot.lock().closed = true;
        self.slot.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so on its own.
            let _ = thread.join();
        }
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Next> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest view; `None` at the end. What is left to show is shown first.
    fn take(&self) -> Option<(View, Language)> {
        let mut next = self
            .changed
            .wait_while(self.lock(), |next| next.view.is_none() && !next.closed)
            .unwrap_or_else(PoisonError::into_inner);
        next.view.take()
    }
}

fn paint(mut screen: Box<dyn Screen>, mut canvas: Canvas, help: &Help, slot: &Slot) {
    let mut painter = Painter::new();
    let mut broken = false;
    while let Some((view, language)) = slot.take() {
        let Ok(()) = painter.draw(&view, language, help, None, &mut canvas);
        match screen.show(canvas.pixels()) {
            Ok(()) => broken = false,
            Err(error) if !broken => {
                // Said once: without a screen the local API still serves.
                tracing::error!("{error}");
                broken = true;
            }
            Err(_) => {}
        }
    }
}
