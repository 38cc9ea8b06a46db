//! The camera as its thread uses it: broken, mended, resting, held.

use std::time::Duration;

use didar_protocol::reason::Reason;
use didar_vision::FrameError;
use tokio::sync::mpsc::Sender;

use crate::attempt::event::Event;
use crate::edge::{Camera, Controls, Frame, Got, Pick};

/// How often a broken camera is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(500);
/// Longest wait for a frame before orders are looked at again.
const STEP: Duration = Duration::from_millis(50);
/// So many frames in a row that cannot be read are a broken camera and not a bad cable's single hiccup.
const SPOILED_MAX: u32 = 15;

/// A camera, and what is known of it.
pub(super) struct Feed {
    camera: Box<dyn Camera>,
    events: Sender<Event>,
    /// The longest silence of a camera that works.
    stall: Duration,
    health: Health,
    silent: Duration,
    /// Frames in a row that were no pictures.
    spoiled: u32,
    controls: Controls,
    running: bool,
}

/// Whether the camera works, as far as known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Unknown,
    Good,
    Broken,
}

impl Feed {
    pub(super) fn new(camera: Box<dyn Camera>, events: Sender<Event>, stall: Duration) -> Self {
        Self {
            camera,
            events,
            stall,
            health: Health::Unknown,
            silent: Duration::ZERO,
            spoiled: 0,
            controls: Controls::Automatic,
            running: false,
        }
    }

    pub(super) const fn health(&self) -> Health {
        self.health
    }

    /// How long there was no frame.
    pub(super) const fn silent(&self) -> Duration {
        self.silent
    }

    /// Lends a frame to `look`, if one comes soon, and hears whether it could be read. A camera that breaks, or works
    /// again, is told as an event; one whose frames cannot be read is broken.
    pub(super) fn next(&mut self, pick: Pick, look: &mut dyn FnMut(&Frame<'_>) -> Result<(), FrameError>) -> Got {
        let mut read = Ok(());
        let mut show = |frame: &Frame<'_>| read = look(frame);
        let mut got = self.camera.next(pick, STEP, &mut show);
        if got.is_err() && !self.running {
            // What broke while nobody looked may have come back long ago: opening it anew tells.
            got = self.camera.next(pick, STEP, &mut show);
        }
        self.running = true;
        match got {
            Ok(Got::Frame) => {
                self.silent = Duration::ZERO;
                match read {
                    Ok(()) => self.works(),
                    Err(error) => self.spoilt(&error),
                }
                Got::Frame
            }
            Ok(Got::Nothing) => {
                self.silent += STEP;
                if self.silent >= self.stall {
                    self.broke(&format!("the camera gave no frame within {:?}; it is opened anew", self.stall));
                }
                Got::Nothing
            }
            Err(error) => {
                self.broke(&error.to_string());
                Got::Nothing
            }
        }
    }

    /// Who sets exposure, gain, white balance and focus.
    pub(super) fn control(&mut self, controls: Controls) {
        if self.controls == controls {
            return;
        }
        self.controls = controls;
        if let Err(error) = self.camera.control(controls) {
            self.broke(&error.to_string());
        }
    }

    /// Nobody is served: no frame is taken until the next call of [`Feed::next`].
    pub(super) fn rest(&mut self) {
        if self.running {
            self.camera.rest();
        }
        (self.running, self.silent, self.spoiled) = (false, Duration::ZERO, 0);
        self.controls = Controls::Automatic;
    }

    fn works(&mut self) {
        self.spoiled = 0;
        if self.health == Health::Broken {
            tracing::info!("the camera works again");
            self.tell(Event::Mended(Reason::CameraFault));
        }
        self.health = Health::Good;
    }

    /// A camera that was just opened may begin with a spoilt frame: that one is waited past, mended or not.
    fn spoilt(&mut self, error: &FrameError) {
        self.spoiled += 1;
        if self.spoiled >= SPOILED_MAX {
            self.broke(&format!(
                "{SPOILED_MAX} frames of the camera in a row cannot be read: {error}; it is opened anew"
            ));
        }
    }

    fn broke(&mut self, why: &str) {
        if self.health != Health::Broken {
            tracing::error!("{why}");
            self.tell(Event::Fault(Reason::CameraFault));
        }
        self.health = Health::Broken;
        self.rest();
    }

    fn tell(&self, event: Event) {
        // The loop's end closes the channel; then nobody needs to be told anything.
        let _ = self.events.blocking_send(event);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::VecDeque;
    use std::io;
    use std::sync::{Arc, Mutex};

    use didar_vision::PixelFormat;
    use tokio::sync::mpsc::{Receiver, channel};

    use super::*;
    use crate::edge::CameraError;
    use crate::time::Moment;

    /// What a camera does when asked for a frame.
    #[derive(Clone, Copy)]
    enum Does {
        Gives,
        GivesBroken,
        Nothing,
        Fails,
    }

    /// A camera that follows a script, and writes down what else it is told.
    struct ScriptedCamera {
        script: VecDeque<Does>,
        told: Arc<Mutex<Vec<String>>>,
    }

    impl Camera for ScriptedCamera {
        fn next(&mut self, _: Pick, _: Duration, look: &mut dyn FnMut(&Frame<'_>)) -> Result<Got, CameraError> {
            let does = self.script.pop_front().unwrap();
            match does {
                Does::Gives | Does::GivesBroken => {
                    look(&Frame {
                        format: PixelFormat::Grey8,
                        width: 1,
                        height: 1,
                        stride: 1,
                        sequence: 0,
                        captured_at: Moment::ZERO,
                        pixels: if matches!(does, Does::Gives) { &[0] } else { &[] },
                        beside: None,
                    });
                    Ok(Got::Frame)
                }
                Does::Nothing => Ok(Got::Nothing),
                Does::Fails => {
                    Err(CameraError::Gone { path: "script".to_owned(), cause: io::ErrorKind::NotFound.into() })
                }
            }
        }

        fn control(&mut self, controls: Controls) -> Result<(), CameraError> {
            self.told.lock().unwrap().push(format!("{controls:?}"));
            Ok(())
        }

        fn rest(&mut self) {
            self.told.lock().unwrap().push("rest".to_owned());
        }
    }

    fn feed(script: &[Does]) -> (Feed, Receiver<Event>, Arc<Mutex<Vec<String>>>) {
        let (events, heard) = channel(16);
        let told = Arc::<Mutex<Vec<String>>>::default();
        let camera = ScriptedCamera { script: script.iter().copied().collect(), told: Arc::clone(&told) };
        (Feed::new(Box::new(camera), events, STEP * 2), heard, told)
    }

    /// Takes the next frame; one without pixels cannot be read.
    fn take(feed: &mut Feed, pick: Pick) -> Got {
        feed.next(pick, &mut |frame| if frame.pixels.is_empty() { Err(FrameError::Compressed) } else { Ok(()) })
    }

    fn heard(events: &mut Receiver<Event>) -> Vec<&'static str> {
        std::iter::from_fn(|| events.try_recv().ok())
            .map(|event| match event {
                Event::Fault(Reason::CameraFault) => "fault",
                Event::Mended(Reason::CameraFault) => "mended",
                _ => "other",
            })
            .collect()
    }

    #[test]
    fn pulled_out_and_put_back_is_told_once_each() {
        use Does::{Fails, Gives};
        // After a break the camera is at rest, and is asked twice.
        let (mut feed, mut events, _) = feed(&[Gives, Fails, Fails, Fails, Fails, Fails, Gives, Gives]);
        for _ in 0..4 {
            take(&mut feed, Pick::Next);
        }
        assert_eq!(heard(&mut events), ["fault"]);
        assert!(feed.health() == Health::Broken);
        take(&mut feed, Pick::Next);
        take(&mut feed, Pick::Next);
        assert_eq!(heard(&mut events), ["mended"]);
    }

    #[test]
    fn what_broke_at_rest_and_came_back_is_not_told() {
        let (mut feed, mut events, _) = feed(&[Does::Gives, Does::Fails, Does::Gives]);
        take(&mut feed, Pick::Newest);
        feed.rest();
        assert_eq!(take(&mut feed, Pick::Newest), Got::Frame);
        assert!(heard(&mut events).is_empty());
    }

    #[test]
    fn one_whose_frames_cannot_be_read_is_opened_anew_and_mended_by_one_that_can() {
        use Does::{Gives, GivesBroken};
        let many = SPOILED_MAX as usize;
        let mut script = vec![GivesBroken; many - 1];
        script.push(Gives);
        script.extend(vec![GivesBroken; many + 1]);
        script.push(Gives);
        let (mut feed, mut events, told) = feed(&script);
        for _ in 0..many + many - 1 {
            take(&mut feed, Pick::Next);
        }
        assert!(heard(&mut events).is_empty() && feed.health() == Health::Good, "one whole frame forgives");
        take(&mut feed, Pick::Next);
        assert_eq!(heard(&mut events), ["fault"]);
        assert_eq!(*told.lock().unwrap(), ["rest"]);
        take(&mut feed, Pick::Next);
        assert!(heard(&mut events).is_empty(), "another broken one mends nothing");
        take(&mut feed, Pick::Next);
        assert_eq!(heard(&mut events), ["mended"]);
        assert_eq!(*told.lock().unwrap(), ["rest"], "the frame before it did not close the camera again");
    }

    #[test]
    fn a_silent_camera_is_opened_anew() {
        let (mut feed, mut events, told) = feed(&[Does::Gives, Does::Nothing, Does::Nothing, Does::Gives]);
        for _ in 0..3 {
            take(&mut feed, Pick::Next);
        }
        assert_eq!(heard(&mut events), ["fault"]);
        assert_eq!(*told.lock().unwrap(), ["rest"]);
        take(&mut feed, Pick::Next);
        assert_eq!(heard(&mut events), ["mended"]);
    }

    #[test]
    fn controls_are_told_when_they_change_and_given_back_at_rest() {
        let (mut feed, _events, told) = feed(&[Does::Gives, Does::Gives]);
        take(&mut feed, Pick::Next);
        feed.control(Controls::Automatic);
        feed.control(Controls::Held);
        feed.control(Controls::Held);
        feed.rest();
        feed.rest();
        take(&mut feed, Pick::Next);
        feed.control(Controls::Held);
        assert_eq!(*told.lock().unwrap(), ["Held", "rest", "Held"]);
    }
}
