//! Who sets exposure, gain, white balance and focus: the camera while a person finds the place, nobody while the light
//! code plays, so that only the lamps change the light.

use std::io;

/// A camera's controls, as V4L2 numbers them.
pub trait Knobs {
    /// A control's value; `None` where the camera has no such control.
    fn read(&self, id: u32) -> Option<i64>;

    /// Sets a control.
    ///
    /// # Errors
    /// The camera refuses, or is gone.
    fn write(&self, id: u32, value: i64) -> io::Result<()>;

    /// A control's least, largest and usual value; `None` where the driver does not say.
    fn range(&self, id: u32) -> Option<(i64, i64, i64)>;
}

/// `V4L2_CID_EXPOSURE_AUTO`: 0 automatic, 1 manual, 2 and 3 half automatic.
pub const EXPOSURE_AUTO: u32 = 0x009a_0901;
/// `V4L2_CID_EXPOSURE_ABSOLUTE`, in units of 100 microseconds.
pub const EXPOSURE_ABSOLUTE: u32 = 0x009a_0902;
/// `V4L2_CID_EXPOSURE_AUTO_PRIORITY`: whether the rate may fall for a longer exposure.
pub const EXPOSURE_AUTO_PRIORITY: u32 = 0x009a_0903;
/// `V4L2_CID_FOCUS_ABSOLUTE`.
pub const FOCUS_ABSOLUTE: u32 = 0x009a_090a;
/// `V4L2_CID_FOCUS_AUTO`.
pub const FOCUS_AUTO: u32 = 0x009a_090c;
/// `V4L2_CID_AUTO_WHITE_BALANCE`.
pub const WHITE_BALANCE_AUTO: u32 = 0x0098_090c;
/// `V4L2_CID_WHITE_BALANCE_TEMPERATURE`, kelvin.
pub const WHITE_BALANCE_TEMPERATURE: u32 = 0x0098_091a;
/// `V4L2_CID_AUTOGAIN`.
pub const GAIN_AUTO: u32 = 0x0098_0912;
/// `V4L2_CID_GAIN`.
pub const GAIN: u32 = 0x0098_0913;

/// Microseconds in one unit of [`EXPOSURE_ABSOLUTE`].
const EXPOSURE_UNIT_US: i64 = 100;

/// An automatic control, its value for "off", and the value that it steers.
struct Pair {
    auto: u32,
    off: i64,
    value: u32,
}

const PAIRS: [Pair; 4] = [
    Pair { auto: EXPOSURE_AUTO, off: 1, value: EXPOSURE_ABSOLUTE },
    Pair { auto: GAIN_AUTO, off: 0, value: GAIN },
    Pair { auto: WHITE_BALANCE_AUTO, off: 0, value: WHITE_BALANCE_TEMPERATURE },
    Pair { auto: FOCUS_AUTO, off: 0, value: FOCUS_ABSOLUTE },
];

/// What was changed, to be given back in reverse order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Held {
    before: Vec<(u32, i64)>,
}

impl Held {
    /// Holds every control as it is, with an exposure of at most `exposure_most_us`. Controls that the camera lacks or
    /// refuses are left as they are: a fixed lens has no focus.
    ///
    /// # Errors
    /// The camera is gone; what was changed is given back as far as possible.
    pub fn hold(knobs: &impl Knobs, exposure_most_us: u32) -> io::Result<Self> {
        let mut held = Self::default();
        held.change(knobs, EXPOSURE_AUTO_PRIORITY, 0)?;
        for Pair { auto, off, value } in PAIRS {
            // Read before the automatic is switched off: some cameras fall back to their usual value then.
            let now = knobs.read(value);
            let was_automatic = knobs.read(auto).is_some_and(|mode| mode != off);
            if was_automatic {
                held.change(knobs, auto, off)?;
            }
            let Some(now) = now else { continue };
            let wanted = match value {
                EXPOSURE_ABSOLUTE => now.min(i64::from(exposure_most_us) / EXPOSURE_UNIT_US).max(1),
                _ => now,
            };
            let wanted = knobs.range(value).map_or(wanted, |(least, most, _)| wanted.clamp(least, most.max(least)));
            if was_automatic {
                // The automatic gives the value back by itself.
                keep_going(knobs.write(value, wanted))?;
            } else if wanted != now {
                held.change(knobs, value, wanted)?;
            }
        }
        Ok(held)
    }

    /// Gives every control back.
    pub fn give_back(self, knobs: &impl Knobs) {
        for (id, value) in self.before.into_iter().rev() {
            // A camera that is gone has forgotten it by itself.
            let _ = knobs.write(id, value);
        }
    }

    fn change(&mut self, knobs: &impl Knobs, id: u32, value: i64) -> io::Result<()> {
        let Some(before) = knobs.read(id).filter(|before| *before != value) else { return Ok(()) };
        match knobs.write(id, value) {
            Ok(()) => self.before.push((id, before)),
            Err(error) => keep_going(Err(error))?,
        }
        Ok(())
    }
}

/// Lets the camera set everything by itself: what an agent that was killed in the middle of a code left held.
///
/// # Errors
/// The camera is gone.
pub fn set_free(knobs: &impl Knobs) -> io::Result<()> {
    for Pair { auto, off, .. } in PAIRS {
        let usual = knobs.range(auto).map(|(_, _, usual)| usual).filter(|usual| *usual != off);
        if let (Some(mode), Some(usual)) = (knobs.read(auto), usual)
            && mode == off
        {
            keep_going(knobs.write(auto, usual))?;
        }
    }
    Ok(())
}

/// A refusal is the camera's right; a camera that is gone is an error.
fn keep_going(result: io::Result<()>) -> io::Result<()> {
    /// `ENODEV`
    const NO_DEVICE: i32 = 19;
    match result {
        Err(error) if error.raw_os_error() == Some(NO_DEVICE) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use super::*;

    /// A camera with some controls: value, and (least, most, usual).
    struct Panel {
        values: RefCell<BTreeMap<u32, i64>>,
        ranges: BTreeMap<u32, (i64, i64, i64)>,
        gone: bool,
    }

    impl Panel {
        fn new(controls: &[(u32, i64, (i64, i64, i64))]) -> Self {
            let values = RefCell::new(controls.iter().map(|&(id, value, _)| (id, value)).collect());
            Self { values, ranges: controls.iter().map(|&(id, _, range)| (id, range)).collect(), gone: false }
        }

        fn all(&self) -> BTreeMap<u32, i64> {
            self.values.borrow().clone()
        }
    }

    impl Knobs for Panel {
        fn read(&self, id: u32) -> Option<i64> {
            self.values.borrow().get(&id).copied()
        }

        fn write(&self, id: u32, value: i64) -> io::Result<()> {
            if self.gone {
                return Err(io::Error::from_raw_os_error(19));
            }
            let steered = PAIRS.iter().any(|pair| pair.value == id && self.read(pair.auto) != Some(pair.off));
            let (least, most, _) = self.ranges[&id];
            if !(least..=most).contains(&value) || steered {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            self.values.borrow_mut().insert(id, value);
            Ok(())
        }

        fn range(&self, id: u32) -> Option<(i64, i64, i64)> {
            self.ranges.get(&id).copied()
        }
    }

    const WEBCAM: [(u32, i64, (i64, i64, i64)); 5] = [
        (EXPOSURE_AUTO, 3, (0, 3, 3)),
        (EXPOSURE_ABSOLUTE, 333, (3, 2047, 250)),
        (EXPOSURE_AUTO_PRIORITY, 1, (0, 1, 0)),
        (WHITE_BALANCE_AUTO, 1, (0, 1, 1)),
        (WHITE_BALANCE_TEMPERATURE, 4_100, (2_000, 6_500, 4_000)),
    ];

    #[test]
    fn held_as_it_is_with_an_exposure_within_bounds_and_given_back() {
        let panel = Panel::new(&WEBCAM);
        let before = panel.all();
        let held = Held::hold(&panel, 12_000).unwrap();
        let during = panel.all();
        assert_eq!((during[&EXPOSURE_AUTO], during[&EXPOSURE_ABSOLUTE], during[&EXPOSURE_AUTO_PRIORITY]), (1, 120, 0));
        assert_eq!((during[&WHITE_BALANCE_AUTO], during[&WHITE_BALANCE_TEMPERATURE]), (0, 4_100));
        held.give_back(&panel);
        let mut after = panel.all();
        // The automatic steers this one; the camera, not we, sets it again.
        after.insert(EXPOSURE_ABSOLUTE, before[&EXPOSURE_ABSOLUTE]);
        assert_eq!(after, before);
    }

    #[test]
    fn a_manual_exposure_that_is_too_long_is_shortened_and_given_back() {
        let panel = Panel::new(&[(EXPOSURE_AUTO, 1, (0, 3, 1)), (EXPOSURE_ABSOLUTE, 300, (1, 500, 300))]);
        let held = Held::hold(&panel, 12_000).unwrap();
        assert_eq!(panel.read(EXPOSURE_ABSOLUTE), Some(120));
        held.give_back(&panel);
        assert_eq!(panel.read(EXPOSURE_ABSOLUTE), Some(300));
    }

    #[test]
    fn a_camera_without_controls_has_nothing_to_hold() {
        let panel = Panel::new(&[]);
        assert_eq!(Held::hold(&panel, 12_000).unwrap(), Held::default());
        set_free(&panel).unwrap();
    }

    #[test]
    fn what_a_killed_agent_left_held_is_set_free() {
        let panel = Panel::new(&WEBCAM);
        Held::hold(&panel, 12_000).unwrap();
        set_free(&panel).unwrap();
        assert_eq!((panel.read(EXPOSURE_AUTO), panel.read(WHITE_BALANCE_AUTO)), (Some(3), Some(1)));
    }

    #[test]
    fn a_camera_that_is_gone_is_an_error() {
        let panel = Panel { gone: true, ..Panel::new(&WEBCAM) };
        assert!(Held::hold(&panel, 12_000).is_err());
    }
}
