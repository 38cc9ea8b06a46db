//! The mesh: 468 landmarks on a face whose region is roughly known.

use std::fmt;

use zeroize::Zeroize;

use crate::affine::{Affine, mean};
use crate::detect::Detection;
use crate::frame::FrameView;
use crate::manifest::Meaning;
use crate::model::{Model, ModelError};
use crate::pose::{Pose, pose};
use crate::tflite::{Engine, EngineError};

/// Number of landmarks.
pub const LANDMARKS: usize = 468;
/// Side of the mesh's region in longer sides of the box.
const MARGIN: f64 = 1.5;
/// Corners and lids of the right eye (left in the picture), and of the left one.
const RIGHT_EYE: [usize; 6] = [33, 133, 159, 145, 158, 153];
const LEFT_EYE: [usize; 6] = [263, 362, 386, 374, 385, 380];
const NOSE_TIP: usize = 4;
const RIGHT_MOUTH: usize = 61;
const LEFT_MOUTH: usize = 291;
/// Between the eyes and the chin's tip: the axis from which the box of a tracked face is drawn.
const FOREHEAD: usize = 10;
const CHIN: usize = 152;

/// A box in pixels of the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Left to right.
    pub width: f32,
    /// Top to bottom.
    pub height: f32,
}

impl Rect {
    pub(crate) fn around(centre: [f64; 2], size: [f64; 2]) -> Rect {
        Rect {
            x: (centre[0] - size[0] / 2.0) as f32,
            y: (centre[1] - size[1] / 2.0) as f32,
            width: size[0] as f32,
            height: size[1] as f32,
        }
    }

    pub(crate) fn centre(&self) -> [f64; 2] {
        [f64::from(self.x + self.width / 2.0), f64::from(self.y + self.height / 2.0)]
    }
}

/// A face in a frame. Wiped on drop; `Debug` shows where it is, never its shape.
#[derive(Clone)]
pub struct Face {
    /// Brow to chin, ear to ear, in pixels.
    pub bounding: Rect,
    /// The landmarks of MediaPipe's face mesh: x and y in pixels of the frame, z (away from the camera) in the same unit.
    pub landmarks: [[f32; 3]; LANDMARKS],
    /// Probability that the region holds a face, 0 to 1.
    pub score: f32,
    /// Right eye (left in the picture), left eye, tip of the nose, right and left corner of the mouth.
    pub five: [[f32; 2]; 5],
    /// Where the head is turned.
    pub pose: Pose,
    /// Distance between the centres of the eyes, as seen, in pixels.
    pub interocular_px: f32,
    /// The same number as long as the face was followed without a gap; a new one whenever it was found again.
    pub track: u64,
}

impl fmt::Debug for Face {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Face").field("bounding", &self.bounding).field("track", &self.track).finish_non_exhaustive()
    }
}

impl Drop for Face {
    fn drop(&mut self) {
        self.landmarks.zeroize();
        self.five.zeroize();
    }
}

/// Where the mesh looks: a turned square.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Region {
    centre: [f64; 2],
    size: [f64; 2],
    angle: f64,
}

impl Region {
    pub(crate) fn of_detection(found: &Detection) -> Region {
        let [right, left] = [found.points[0], found.points[1]];
        Region { centre: found.centre, size: found.size, angle: (left[1] - right[1]).atan2(left[0] - right[0]) }
    }

    /// The region in which to look for a face in the next frame. Drawn from its landmarks so that it lies as the
    /// detector's would: the constants are means over faces that both saw.
    pub(crate) fn of_face(face: &Face) -> Region {
        let [right, left] = [face.five[0], face.five[1]].map(|p| p.map(f64::from));
        let point = |i: usize| [f64::from(face.landmarks[i][0]), f64::from(face.landmarks[i][1])];
        let (top, chin) = (point(FOREHEAD), point(CHIN));
        let down = [chin[0] - top[0], chin[1] - top[1]];
        let (turned, bent) =
            (f64::from(face.pose.yaw).to_radians().sin(), f64::from(face.pose.pitch).to_radians().sin());
        let (along, across) = (BOX_ALONG.0 + BOX_ALONG.1 * bent, BOX_ACROSS * turned);
        Region {
            centre: [top[0] + along * down[0] + across * down[1], top[1] + along * down[1] - across * down[0]],
            size: [(BOX_SIDE.0 + BOX_SIDE.1 * bent) * down[0].hypot(down[1]); 2],
            angle: (left[1] - right[1]).atan2(left[0] - right[0]),
        }
    }

    /// From input pixels to the frame.
    fn inverse(&self, side: usize) -> Affine {
        let scale = side as f64 / (self.size[0].max(self.size[1]) * MARGIN);
        let (sin, cos) = self.angle.sin_cos();
        let linear = [[cos * scale, sin * scale], [-sin * scale, cos * scale]];
        let half = side as f64 / 2.0;
        let shift = linear.map(|row| half - row[0] * self.centre[0] - row[1] * self.centre[1]);
        Affine([[linear[0][0], linear[0][1], shift[0]], [linear[1][0], linear[1][1], shift[1]]]).inverse()
    }

    /// Whether the two mean the same face: the middle of one lies well within the other.
    pub(crate) fn meets(&self, other: &Region) -> bool {
        let apart = (self.centre[0] - other.centre[0]).hypot(self.centre[1] - other.centre[1]);
        apart < self.size[0].max(self.size[1]) / 2.0
    }
}

/// Centre of the detector's box: along the line from forehead to chin, in its lengths, and what each unit of the sine of
/// the pitch adds. These three were fitted on 600 faces that detector and mesh both saw (correlation with the pose .98
/// across, .67 along, .70 of the side).
const BOX_ALONG: (f64, f64) = (0.548, -0.134);
/// The same to the right of that line, for each unit of the sine of the yaw.
const BOX_ACROSS: f64 = -0.422;
/// Side of the detector's box in lengths of that line, and what each unit of the sine of the pitch adds.
const BOX_SIDE: (f64, f64) = (1.007, 0.191);

/// The mesh network with its buffers.
pub(crate) struct Mesh {
    engine: Engine,
    landmarks: usize,
    presence: usize,
    presence_least: f32,
}

impl Mesh {
    pub(crate) fn new(model: &Model) -> Result<Mesh, ModelError> {
        let landmarks = model.entry.output(&Meaning::Landmarks)?;
        let presence = model.entry.output(&Meaning::Presence)?;
        if landmarks.shape.iter().product::<usize>() != LANDMARKS * 3 || presence.shape.iter().product::<usize>() != 1 {
            let reason = format!("landmarks need {} numbers and presence one", LANDMARKS * 3);
            return Err(ModelError::Entry { model: model.entry.name.clone(), reason });
        }
        Ok(Mesh {
            engine: model.engine()?,
            landmarks: landmarks.index,
            presence: presence.index,
            presence_least: model.entry.threshold("presence")?,
        })
    }

    /// The face in `region`, if the network sees one there. `bounding` is the detector's box where there is one.
    pub(crate) fn find(
        &mut self,
        frame: &FrameView<'_>,
        region: &Region,
        bounding: Option<Rect>,
        track: u64,
    ) -> Result<Option<Face>, EngineError> {
        let (side, _) = self.engine.size();
        let inverse = region.inverse(side);
        self.engine.see(frame, &inverse);
        self.engine.run()?;
        let score = 1.0 / (1.0 + (-self.engine.output(self.presence).at(0)).exp());
        // NaN is no face either.
        if score.is_nan() || score < self.presence_least {
            return Ok(None);
        }
        let numbers = self.engine.output(self.landmarks);
        let scale = inverse.scale();
        let landmarks = std::array::from_fn(|i| {
            let [x, y, z] = [0, 1, 2].map(|axis| f64::from(numbers.at(3 * i + axis)));
            let [x, y] = inverse.apply([x, y]);
            [x as f32, y as f32, (z * scale) as f32]
        });
        let five = five(&landmarks);
        let interocular_px = (five[1][0] - five[0][0]).hypot(five[1][1] - five[0][1]);
        if !(interocular_px.is_finite() && interocular_px >= INTEROCULAR_LEAST_PX) {
            return Ok(None);
        }
        let pose = pose(&landmarks);
        let mut face = Face { bounding: Rect::default(), landmarks, score, five, pose, interocular_px, track };
        face.bounding = bounding.unwrap_or_else(|| {
            let own = Region::of_face(&face);
            Rect::around(own.centre, own.size)
        });
        Ok(Some(face))
    }
}

/// Eyes nearer to each other than this are no face that anything could be told of.
const INTEROCULAR_LEAST_PX: f32 = 4.0;

/// Centres of the eyes, tip of the nose, corners of the mouth.
fn five(landmarks: &[[f32; 3]; LANDMARKS]) -> [[f32; 2]; 5] {
    let point = |i: usize| [f64::from(landmarks[i][0]), f64::from(landmarks[i][1])];
    [mean(&RIGHT_EYE.map(point)), mean(&LEFT_EYE.map(point)), point(NOSE_TIP), point(RIGHT_MOUTH), point(LEFT_MOUTH)]
        .map(|p| p.map(|v| v as f32))
}
