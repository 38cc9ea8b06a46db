//! What a person should change to be seen well: one thing at a time, and no flicker between two.
//!
//! Pure: facts of one frame in, at most one word out.

use didar_vision::{Face, FrameView, LightGrid, light_grid, quality};

use crate::attempt::event::Hint;

/// Where and how a face must be before the code begins. From the configuration; units in the names.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// Least distance between the eyes, in thousandths of the picture's width.
    pub eyes_milli_min: u16,
    /// Largest distance between the eyes, in thousandths of the picture's width.
    pub eyes_milli_max: u16,
    /// Farthest that the face's middle may be from the picture's, in thousandths of its width and height.
    pub off_centre_milli_max: u16,
    /// Largest turn to a side, degrees.
    pub yaw_deg_max: u8,
    /// Largest nod, degrees.
    pub pitch_deg_max: u8,
    /// Largest tilt, degrees.
    pub roll_deg_max: u8,
    /// Largest suspicion that something covers the lower face, 0 to 100.
    pub occlusion_max: u8,
    /// Least mean code value of the face, 0 to 255.
    pub mean_min: u8,
    /// Largest mean code value of the face, 0 to 255.
    pub mean_max: u8,
    /// Least share of the face's surroundings inside the picture, percent.
    pub margin_min: u8,
    /// Fastest movement from one looked-at frame to the next, in thousandths of the distance between the eyes.
    pub sway_milli_max: u16,
    /// Frames in a row that must be good before the code begins.
    pub steady_frames: u8,
    /// Frames in a row that must ask for the same change before it is told.
    pub hint_frames: u8,
}

/// Facts of one face in one frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) eyes_milli: f32,
    pub(super) off_centre_milli: f32,
    pub(super) pose_deg: [f32; 3],
    pub(super) occlusion: u8,
    pub(super) mean: f32,
    pub(super) margin: u8,
    pub(super) centre_px: [f32; 2],
    pub(super) eyes_px: f32,
}

impl Seen {
    pub(super) fn of(view: &FrameView<'_>, face: &Face) -> Self {
        let quality = quality(view, face);
        let mut grid = LightGrid::default();
        light_grid(view, face, &mut grid);
        let centre_px = [face.bounding.x + face.bounding.width / 2.0, face.bounding.y + face.bounding.height / 2.0];
        let (width, height) = (view.width() as f32, view.height() as f32);
        let off = [(centre_px[0] / width - 0.5).abs(), (centre_px[1] / height - 0.5).abs()];
        Self {
            eyes_milli: face.interocular_px / width * 1_000.0,
            off_centre_milli: off[0].max(off[1]) * 1_000.0,
            pose_deg: [face.pose.yaw, face.pose.pitch, face.pose.roll],
            occlusion: quality.occlusion,
            mean: mean(&grid),
            margin: quality.margin,
            centre_px,
            eyes_px: face.interocular_px,
        }
    }
}

/// Mean code value of the middle of the face: forehead to mouth, without hair and background.
fn mean(grid: &LightGrid) -> f32 {
    let side = didar_vision::GRID_SIDE;
    let middle = side / 4..side - side / 4;
    let cells = middle.clone().flat_map(|row| middle.clone().map(move |column| row * side + column));
    let (sum, count) = cells.fold((0.0, 0.0), |(sum, count), cell| (sum + f32::from(grid.means[cell]), count + 1.0));
    sum / count / 256.0
}

/// What is to be said after a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    /// Change this.
    Change(Hint),
    /// Well placed for long enough.
    Steady,
}

/// Turns facts of frames into words.
pub(super) struct Guide {
    placement: Placement,
    /// What was told last.
    told: Hint,
    steady_told: bool,
    /// What the last frames ask for, and how many of them.
    run: (Hint, u8),
    last: Option<Seen>,
}

/// How much looser the limits are for a face that is well placed already: a tenth, so that noise at a limit does not
/// send a person to and fro.
const SLACK: f32 = 1.1;

/// Good frames in a row after which the camera's controls are held: two frames later they have taken effect.
const SETTLING: u8 = 2;

impl Guide {
    pub(super) fn new(placement: Placement) -> Self {
        let run = (Hint::LookForFace, 0);
        Self { placement, told: Hint::LookForFace, steady_told: false, run, last: None }
    }

    /// Whether the face is in place and only has to stay.
    pub(super) fn is_settling(&self) -> bool {
        self.run.0 == Hint::HoldStill && self.run.1 >= SETTLING
    }

    pub(super) fn step(&mut self, faces: usize, seen: Option<Seen>) -> Told {
        let slack = if self.run.0 == Hint::HoldStill { SLACK } else { 1.0 };
        let hint = self.placement.hint(faces, seen.as_ref(), slack);
        let swaying = match (&self.last, &seen) {
            (Some(last), Some(seen)) => seen.moved_milli(last) > f32::from(self.placement.sway_milli_max),
            _ => true,
        };
        self.last = seen;
        self.run = if self.run.0 == hint && !(hint == Hint::HoldStill && swaying) {
            (hint, self.run.1.saturating_add(1))
        } else {
            (hint, 1)
        };
        let (hint, frames) = self.run;
        if hint == Hint::HoldStill {
            if frames >= self.placement.steady_frames && !self.steady_told {
                (self.told, self.steady_told) = (hint, true);
                return Told::Steady;
            }
            return Told::Nothing;
        }
        if frames >= self.placement.hint_frames && self.told != hint {
            (self.told, self.steady_told) = (hint, false);
            return Told::Change(hint);
        }
        Told::Nothing
    }
}

impl Seen {
    fn moved_milli(&self, last: &Self) -> f32 {
        let along = |k: usize| self.centre_px[k] - last.centre_px[k];
        along(0).hypot(along(1)) / self.eyes_px.max(1.0) * 1_000.0
    }
}

impl Placement {
    /// The most useful change first: size and place before pose, pose before light.
    fn hint(&self, faces: usize, seen: Option<&Seen>, slack: f32) -> Hint {
        let Some(seen) = seen else { return Hint::LookForFace };
        let most = |limit: u16| f32::from(limit) * slack;
        let least = |limit: u16| f32::from(limit) / slack;
        let turned = [self.yaw_deg_max, self.pitch_deg_max, self.roll_deg_max]
            .iter()
            .zip(seen.pose_deg)
            .any(|(&limit, angle)| angle.abs() > most(limit.into()));
        if faces > 1 {
            Hint::OnePersonOnly
        } else if seen.eyes_milli < least(self.eyes_milli_min) {
            Hint::Closer
        } else if seen.eyes_milli > most(self.eyes_milli_max) {
            Hint::Farther
        } else if seen.off_centre_milli > most(self.off_centre_milli_max) {
            Hint::ToTheMiddle
        } else if f32::from(seen.margin) < least(self.margin_min.into()) {
            Hint::StepBack
        } else if turned {
            Hint::LookStraight
        } else if f32::from(seen.occlusion) > most(self.occlusion_max.into()) {
            Hint::TakeOffMask
        } else if seen.mean < least(self.mean_min.into()) {
            Hint::TooDark
        } else if seen.mean > most(self.mean_max.into()) {
            Hint::TooBright
        } else {
            Hint::HoldStill
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placement() -> Placement {
        Placement {
            eyes_milli_min: 100,
            eyes_milli_max: 250,
            off_centre_milli_max: 150,
            yaw_deg_max: 15,
            pitch_deg_max: 15,
            roll_deg_max: 15,
            occlusion_max: 60,
            mean_min: 40,
            mean_max: 220,
            margin_min: 60,
            sway_milli_max: 100,
            steady_frames: 3,
            hint_frames: 2,
        }
    }

    const GOOD: Seen = Seen {
        eyes_milli: 150.0,
        off_centre_milli: 20.0,
        pose_deg: [0.0; 3],
        occlusion: 5,
        mean: 120.0,
        margin: 100,
        centre_px: [320.0, 240.0],
        eyes_px: 96.0,
    };

    fn told(frames: &[(usize, Option<Seen>)]) -> Vec<Told> {
        let mut guide = Guide::new(placement());
        let said = frames.iter().map(|(faces, seen)| guide.step(*faces, *seen));
        said.filter(|said| *said != Told::Nothing).collect()
    }

    #[test]
    fn each_fault_has_its_word() {
        let turned = |angle: usize| {
            let mut pose_deg = [0.0; 3];
            pose_deg[angle] = -20.0;
            Seen { pose_deg, ..GOOD }
        };
        for (seen, hint) in [
            (Seen { eyes_milli: 80.0, ..GOOD }, Hint::Closer),
            (Seen { eyes_milli: 300.0, ..GOOD }, Hint::Farther),
            (Seen { off_centre_milli: 200.0, ..GOOD }, Hint::ToTheMiddle),
            (Seen { margin: 40, ..GOOD }, Hint::StepBack),
            (turned(0), Hint::LookStraight),
            (turned(1), Hint::LookStraight),
            (turned(2), Hint::LookStraight),
            (Seen { occlusion: 80, ..GOOD }, Hint::TakeOffMask),
            (Seen { mean: 20.0, ..GOOD }, Hint::TooDark),
            (Seen { mean: 240.0, ..GOOD }, Hint::TooBright),
        ] {
            assert_eq!(told(&[(1, Some(seen)), (1, Some(seen))]), [Told::Change(hint)]);
        }
        assert_eq!(told(&[(2, Some(GOOD)), (2, Some(GOOD))]), [Told::Change(Hint::OnePersonOnly)]);
    }

    #[test]
    fn a_face_is_steady_once_after_enough_good_frames() {
        assert_eq!(told(&[(1, Some(GOOD)); 4][..2]), []);
        assert_eq!(told(&[(1, Some(GOOD)); 20]), [Told::Steady]);
    }

    #[test]
    fn one_bad_frame_is_not_told_but_begins_the_count_anew() {
        let (good, none) = ((1, Some(GOOD)), (0, None));
        assert_eq!(told(&[good, good, none, good, good]), []);
        assert_eq!(told(&[good, good, none, good, good, good, good]), [Told::Steady]);
        assert_eq!(told(&[good, good, good, good, none, none]), [Told::Steady, Told::Change(Hint::LookForFace)]);
    }

    #[test]
    fn a_face_at_a_limit_does_not_flicker() {
        let at = |eyes_milli| (1, Some(Seen { eyes_milli, ..GOOD }));
        let frames: Vec<_> = (0..20).map(|n| at(if n % 2 == 0 { 101.0 } else { 97.0 })).collect();
        assert_eq!(told(&frames), [Told::Steady]);
    }

    #[test]
    fn a_walking_face_is_not_steady() {
        let at = |n: u16| (1, Some(Seen { centre_px: [f32::from(n) * 12.0, 240.0], ..GOOD }));
        let frames: Vec<_> = (0..20).map(at).collect();
        assert_eq!(told(&frames), []);
    }
}
