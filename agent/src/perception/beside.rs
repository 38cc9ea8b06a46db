//! The colour sensor beside an infrared one: whether both show the same face.
//!
//! The two see the face from places some millimetres apart, so it stands elsewhere in each picture, by as much as lenses and
//! distance say. A face that stands anywhere else is another one.

use didar_vision::{Face, FrameView, ModelError, Models, Perceiver, Unpacker};

/// Where the colour sensor's lens is, and how it sees. From the board's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lens {
    /// Its focal length, pixels x 10.
    pub focal_px10: u32,
    /// From the infrared sensor's lens to this one, to the right as the pictures show it, millimetres.
    pub right_mm: i16,
    /// The same, downwards.
    pub down_mm: i16,
}

/// A face, in the frame that shows it.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) view: &'a FrameView<'a>,
    pub(super) face: &'a Face,
}

/// The one who looks at colour frames.
pub(super) struct Second {
    pub(super) perceiver: Perceiver,
    pub(super) unpacker: Unpacker,
    pub(super) lens: Lens,
    pub(super) strange: Strange,
}

impl Second {
    pub(super) fn new(models: &Models, lens: Lens) -> Result<Self, ModelError> {
        Ok(Self { perceiver: Perceiver::new(models)?, unpacker: Unpacker::new(), lens, strange: Strange::default() })
    }

    /// Forgets the face that was followed.
    pub(super) fn reset(&mut self) {
        self.perceiver.reset();
        self.strange = Strange::default();
    }
}

/// Frames in a row that show a face on one side only, or another one on each: said once.
#[derive(Default)]
pub(super) struct Strange(u32);

/// A second at 30 frames a second: long enough for one who walks in.
const STRANGE_MAX: u32 = 30;

impl Strange {
    pub(super) fn note(&mut self, infrared: bool, colour: bool, same: bool) {
        if same || !(infrared || colour) {
            self.0 = 0;
            return;
        }
        self.0 += 1;
        if self.0 == STRANGE_MAX {
            let what = match (infrared, colour) {
                (true, true) => {
                    "see a face each, and not at the same place: are colour.right_mm, down_mm and both focal_px right?"
                }
                (true, false) => {
                    "differ: only the infrared one sees a face; is it too dark for the colour one, or covered?"
                }
                _ => {
                    "differ: only the colour one sees a face; does the infrared one see the room's own light, or is it covered?"
                }
            };
            tracing::warn!("the two sensors {what}");
        }
    }
}

/// Mean distance between the eyes of people, millimetres; 54 to 74 are found (adults).
const EYES_MM: f32 = 63.0;
/// The angle between the eyes may differ by this share: half the landmarks' jitter at the least face that guidance takes,
/// and a face that is 30 mm nearer to one lens than to the other.
const SIZE_SLACK: f32 = 0.15;
/// The face's middle may stand so far from where it is expected, in distances between the eyes: 22 mm. People whose eyes
/// are 54 or 74 mm apart make up a third of it where the lenses are 45 mm apart.
const PLACE_SLACK: f32 = 0.35;
/// How far the measured turns of one head may differ, degrees: 45 mm seen from half a metre are five.
const TURN_SLACK_DEG: f32 = 15.0;

/// Whether `colour` is the face that `infrared` is, seen from the other lens. `focal_px10` is the infrared sensor's.
pub(super) fn is_same_face(infrared: Shown<'_>, focal_px10: u32, colour: Shown<'_>, lens: Lens) -> bool {
    is_same_place(Place::of(infrared, focal_px10), Place::of(colour, lens.focal_px10), lens)
}

/// Where a face is, free of pixels.
#[derive(Clone, Copy)]
struct Place {
    /// The angle between the eyes, as a tangent.
    eyes: f32,
    /// The middle of the eyes, nose and mouth from the picture's middle, in distances between the eyes.
    middle: [f32; 2],
    turn_deg: [f32; 3],
}

impl Place {
    fn of(shown: Shown<'_>, focal_px10: u32) -> Self {
        let Shown { view, face } = shown;
        let eyes_px = face.interocular_px.max(1.0);
        let [x, y] = super::sample::centre(face);
        let from_middle = [x - view.width() as f32 / 2.0, y - view.height() as f32 / 2.0];
        Self {
            eyes: eyes_px / (focal_px10.max(1) as f32 / 10.0),
            middle: from_middle.map(|px| px / eyes_px),
            turn_deg: [face.pose.yaw, face.pose.pitch, face.pose.roll],
        }
    }
}

fn is_same_place(infrared: Place, colour: Place, lens: Lens) -> bool {
    let aside = [lens.right_mm, lens.down_mm].map(|mm| f32::from(mm) / EYES_MM);
    let alike = (colour.eyes / infrared.eyes - 1.0).abs() <= SIZE_SLACK;
    let there = (0..2).all(|k| (infrared.middle[k] - aside[k] - colour.middle[k]).abs() <= PLACE_SLACK);
    let turned =
        infrared.turn_deg.iter().zip(colour.turn_deg).all(|(one, other)| (one - other).abs() <= TURN_SLACK_DEG);
    alike && there && turned
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A face 500 mm before the infrared lens, `right_mm` to the right of it, as a lens `aside_mm` to the right sees it.
    fn seen(right_mm: f32, eyes_mm: f32, aside_mm: f32, turn: f32) -> Place {
        let middle = [(right_mm - aside_mm) / eyes_mm, 0.2];
        Place { eyes: eyes_mm / 500.0, middle, turn_deg: [turn, 0.0, 0.0] }
    }

    const LENS: Lens = Lens { focal_px10: 6_200, right_mm: 40, down_mm: 0 };

    #[test]
    fn one_face_seen_from_two_lenses_is_the_same_for_every_distance_between_the_eyes() {
        for eyes_mm in [54.0, 63.0, 74.0] {
            for right_mm in [-60.0, 0.0, 60.0] {
                let infrared = seen(right_mm, eyes_mm, 0.0, 3.0);
                assert!(is_same_place(infrared, seen(right_mm, eyes_mm, 40.0, -2.0), LENS), "{eyes_mm} at {right_mm}");
            }
        }
    }

    #[test]
    fn a_face_elsewhere_of_another_size_or_turned_otherwise_is_another_one() {
        let infrared = seen(0.0, 63.0, 0.0, 0.0);
        assert!(is_same_place(infrared, seen(0.0, 63.0, 40.0, 0.0), LENS));
        assert!(!is_same_place(infrared, seen(0.0, 63.0, 0.0, 0.0), LENS), "as if both were one lens");
        assert!(!is_same_place(infrared, seen(60.0, 63.0, 40.0, 0.0), LENS), "a face beside it");
        assert!(!is_same_place(infrared, seen(0.0, 80.0, 40.0, 0.0), LENS), "a larger one");
        assert!(!is_same_place(infrared, seen(0.0, 63.0, 40.0, 20.0), LENS), "one that looks aside");
    }
}
