//! Two sensors side by side as one camera: infrared frames for the light code, and beside each the colour frame of its time.
//!
//! Both stay where their drivers put them: the colour frame is lent while the infrared one is. Which belong together is told
//! by when they were exposed, on the one clock that stamps both.

use std::time::Duration;

use crate::edge::{Camera, CameraError, Controls, Frame, Got, Pick};
use crate::time::Moment;

/// An infrared sensor and the colour sensor beside it.
pub struct PairCamera {
    infrared: Sensor,
    colour: Sensor,
    pairing: Pairing,
}

/// One of the two, and what errors call it.
pub struct Sensor {
    /// The camera.
    pub camera: Box<dyn Camera>,
    /// Its device.
    pub name: String,
}

/// So many infrared frames in a row without a colour frame are a broken camera: half a second at 30 frames a second.
const ALONE_MAX: u32 = 15;
/// At most twice around a driver's ring for one colour frame.
const STEPS_MAX: u32 = 64;

/// Which colour frame belongs to an infrared one.
struct Pairing {
    /// How far two frames of a pair may be apart.
    apart: Duration,
    /// Time between two frames: a colour frame of the same moment has come by then.
    frame: Duration,
    /// When the last colour frame that was taken from the driver was exposed.
    taken: Option<Moment>,
    /// Infrared frames in a row without a colour frame.
    alone: u32,
    /// The least distance of any colour frame in that row.
    nearest: Option<Duration>,
    /// Whether there was a pair since the start: before, an infrared frame alone tells nothing good.
    paired: bool,
}

impl PairCamera {
    /// Two sensors that take a frame every `frame`, those of a pair at most `apart` from each other.
    pub fn new(infrared: Sensor, colour: Sensor, frame: Duration, apart: Duration) -> Self {
        Self { infrared, colour, pairing: Pairing::new(frame, apart) }
    }

    /// The named fault where too many infrared frames in a row had no colour frame.
    fn check(&self) -> Result<(), CameraError> {
        if self.pairing.alone < ALONE_MAX {
            return Ok(());
        }
        let (infrared, colour) = (self.infrared.name.clone(), self.colour.name.clone());
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Err(match self.pairing.nearest {
            Some(nearest) => CameraError::Apart {
                infrared,
                colour,
                apart_us: micros(nearest),
                allowed_us: micros(self.pairing.apart),
            },
            None => CameraError::Alone { path: colour, other: infrared },
        })
    }
}

impl Camera for PairCamera {
    fn next(&mut self, pick: Pick, within: Duration, look: &mut dyn FnMut(&Frame<'_>)) -> Result<Got, CameraError> {
        let Self { infrared, colour, pairing } = self;
        let mut lent = Ok(Got::Nothing);
        infrared.camera.next(pick, within, &mut |frame| lent = pairing.lend(frame, &mut *colour.camera, look))?;
        let lent = lent?;
        self.check()?;
        Ok(lent)
    }

    fn control(&mut self, controls: Controls) -> Result<(), CameraError> {
        self.infrared.camera.control(controls)?;
        self.colour.camera.control(controls)
    }

    fn rest(&mut self) {
        self.infrared.camera.rest();
        self.colour.camera.rest();
        self.pairing = Pairing::new(self.pairing.frame, self.pairing.apart);
    }
}

impl Pairing {
    const fn new(frame: Duration, apart: Duration) -> Self {
        Self { apart, frame, taken: None, alone: 0, nearest: None, paired: false }
    }

    /// Lends `infrared` with its colour frame, or alone where that did not come.
    fn lend(
        &mut self,
        infrared: &Frame<'_>,
        colour: &mut dyn Camera,
        look: &mut dyn FnMut(&Frame<'_>),
    ) -> Result<Got, CameraError> {
        let at = infrared.captured_at;
        let mut fits = false;
        for _ in 0..STEPS_MAX {
            // A colour frame that is late for this one was taken with the last: the next one is later still.
            if fits || self.taken.is_some_and(|taken| taken.after(self.apart) >= at) {
                break;
            }
            let got = colour.next(Pick::Next, self.frame, &mut |frame| {
                fits = self.fits(frame.captured_at, at);
                if fits {
                    look(&Frame { beside: Some(frame), ..*infrared });
                }
            })?;
            if got == Got::Nothing {
                break;
            }
        }
        if fits {
            (self.alone, self.nearest, self.paired) = (0, None, true);
            return Ok(Got::Frame);
        }
        self.alone += 1;
        if !self.paired {
            return Ok(Got::Nothing);
        }
        look(infrared);
        Ok(Got::Frame)
    }

    fn fits(&mut self, colour: Moment, infrared: Moment) -> bool {
        self.taken = Some(colour);
        let apart = colour.since(infrared).max(infrared.since(colour));
        self.nearest = Some(self.nearest.map_or(apart, |nearest| nearest.min(apart)));
        apart <= self.apart
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::VecDeque;
    use std::io;
    use std::sync::{Arc, Mutex};

    use didar_vision::PixelFormat;

    use super::*;

    /// A camera that gives frames exposed at these milliseconds, then nothing; `u64::MAX` is a pulled cable.
    struct Scripted {
        at_ms: VecDeque<u64>,
        told: Arc<Mutex<Vec<String>>>,
    }

    const PULLED: u64 = u64::MAX;

    impl Camera for Scripted {
        fn next(&mut self, _: Pick, _: Duration, look: &mut dyn FnMut(&Frame<'_>)) -> Result<Got, CameraError> {
            let Some(at_ms) = self.at_ms.pop_front() else { return Ok(Got::Nothing) };
            if at_ms == PULLED {
                return Err(CameraError::Gone { path: "script".to_owned(), cause: io::ErrorKind::NotFound.into() });
            }
            look(&Frame {
                format: PixelFormat::Grey8,
                width: 1,
                height: 1,
                stride: 1,
                sequence: 0,
                captured_at: Moment::from_nanos(at_ms * 1_000_000),
                pixels: &[0],
                beside: None,
            });
            Ok(Got::Frame)
        }

        fn control(&mut self, controls: Controls) -> Result<(), CameraError> {
            self.told.lock().unwrap().push(format!("{controls:?}"));
            Ok(())
        }

        fn rest(&mut self) {
            self.told.lock().unwrap().push("rest".to_owned());
        }
    }

    fn pair(infrared: &[u64], colour: &[u64]) -> (PairCamera, Arc<Mutex<Vec<String>>>) {
        let told = Arc::<Mutex<Vec<String>>>::default();
        let sensor = |at_ms: &[u64], name: &str| {
            let camera = Scripted { at_ms: at_ms.iter().copied().collect(), told: Arc::clone(&told) };
            Sensor { camera: Box::new(camera), name: name.to_owned() }
        };
        let (infrared, colour) = (sensor(infrared, "/dev/infrared"), sensor(colour, "/dev/colour"));
        (PairCamera::new(infrared, colour, Duration::from_millis(33), Duration::from_millis(4)), told)
    }

    const fn ms(moment: Moment) -> u64 {
        moment.as_nanos() / 1_000_000
    }

    /// Asks `times` times: the pairs that were lent, and the first error.
    fn ask(camera: &mut PairCamera, times: usize) -> (Vec<(u64, Option<u64>)>, Option<String>) {
        let mut lent = Vec::new();
        for _ in 0..times {
            let got = camera.next(Pick::Next, Duration::ZERO, &mut |frame| {
                lent.push((ms(frame.captured_at), frame.beside.map(|beside| ms(beside.captured_at))));
            });
            if let Err(error) = got {
                return (lent, Some(error.to_string()));
            }
        }
        (lent, None)
    }

    #[test]
    fn frames_of_one_time_are_lent_together() {
        let (mut camera, _) = pair(&[100, 133, 166], &[34, 67, 101, 134, 163]);
        assert_eq!(ask(&mut camera, 3), (vec![(100, Some(101)), (133, Some(134)), (166, Some(163))], None));
    }

    #[test]
    fn a_frame_that_one_of_them_lost_leaves_a_gap_and_the_pairs_come_again() {
        let (mut camera, _) = pair(&[100, 133, 166, 199, 232], &[101, 167, 200, 233]);
        let pairs = vec![(100, Some(101)), (133, None), (166, None), (199, Some(200)), (232, Some(233))];
        assert_eq!(ask(&mut camera, 5), (pairs, None));
        let (mut camera, _) = pair(&[100, 166, 199], &[101, 134, 167, 200]);
        assert_eq!(ask(&mut camera, 3), (vec![(100, Some(101)), (166, Some(167)), (199, Some(200))], None));
    }

    #[test]
    fn clocks_that_drift_apart_are_named_and_nothing_is_lent_until_they_agree() {
        let infrared: Vec<u64> = (0..40).map(|n| 1_000 + 33 * n).collect();
        let colour: Vec<u64> = infrared.iter().map(|at| at + 12).collect();
        let (mut camera, _) = pair(&infrared, &colour);
        let (lent, error) = ask(&mut camera, 40);
        assert!(lent.is_empty(), "{lent:?}");
        let error = error.unwrap();
        assert!(
            error.contains("/dev/infrared and /dev/colour expose 12000 us apart") && error.contains("4000"),
            "{error}"
        );

        // Drifting: a millisecond more with each frame, until four are too many.
        let colour: Vec<u64> = infrared.iter().enumerate().map(|(n, at)| at + n as u64).collect();
        let (mut camera, _) = pair(&infrared, &colour);
        let (lent, error) = ask(&mut camera, 40);
        assert_eq!(lent.iter().filter(|(_, beside)| beside.is_some()).count(), 5);
        assert!(error.unwrap().contains("colour.apart_us"));
        camera.rest();
        assert!(!camera.pairing.paired, "after a rest it begins anew");
    }

    #[test]
    fn either_cable_that_is_pulled_and_one_that_is_silent_are_named() {
        let (mut camera, _) = pair(&[100, 133], &[100, PULLED]);
        let (lent, error) = ask(&mut camera, 2);
        assert_eq!(lent, [(100, Some(100))]);
        assert!(error.unwrap().contains("is gone"));
        let (mut camera, _) = pair(&[100, PULLED], &[100, 133]);
        assert!(ask(&mut camera, 2).1.unwrap().contains("is gone"));

        let infrared: Vec<u64> = (0..20).map(|n| 100 + 33 * n).collect();
        let (mut camera, _) = pair(&infrared, &[]);
        let (lent, error) = ask(&mut camera, 20);
        assert!(lent.is_empty(), "a sensor alone is no working camera: {lent:?}");
        assert!(error.unwrap().contains("camera /dev/colour beside it none"));
    }

    #[test]
    fn both_are_held_and_both_rest() {
        let (mut camera, told) = pair(&[], &[]);
        camera.control(Controls::Held).unwrap();
        camera.rest();
        assert_eq!(*told.lock().unwrap(), ["Held", "Held", "rest", "rest"]);
    }
}
