//! The detector: where faces are in a frame, roughly.
//!
//! BlazeFace looks at the whole frame, made square and small. Its boxes and points are good enough to place the mesh,
//! never to align a face.

use crate::affine::Affine;
use crate::frame::FrameView;
use crate::manifest::{Entry, Meaning};
use crate::model::{Model, ModelError};
use crate::tflite::{Engine, EngineError};

/// Numbers of one box: centre, size, six points; x before y.
const NUMBERS: usize = 16;
/// Anchors with a score above the threshold that are looked at: a face raises a dozen.
const CANDIDATES_MOST: usize = 128;
/// Faces that are told apart.
const FACES_MOST: usize = 16;

/// A face as the detector sees it, in pixels of the frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Detection {
    /// 0 to 1.
    pub(crate) score: f32,
    pub(crate) centre: [f64; 2],
    pub(crate) size: [f64; 2],
    /// Right eye, left eye, nose, mouth, right ear, left ear.
    pub(crate) points: [[f64; 2]; 6],
}

/// One pair of outputs: the scores and the boxes of a grid of anchors.
struct Head {
    scores: usize,
    scores_range: f32,
    points: usize,
    points_range: f32,
    grid: usize,
    anchors: usize,
}

/// The detector with its buffers.
pub(crate) struct Detector {
    engine: Engine,
    heads: Vec<Head>,
    score_least: f32,
    overlap_most: f32,
    candidates: Vec<Detection>,
    faces: Vec<Detection>,
}

impl Detector {
    pub(crate) fn new(model: &Model) -> Result<Detector, ModelError> {
        Ok(Detector {
            engine: model.engine()?,
            heads: heads(&model.entry)?,
            score_least: model.entry.threshold("score")?,
            overlap_most: model.entry.threshold("overlap")?,
            candidates: Vec::with_capacity(CANDIDATES_MOST),
            faces: Vec::with_capacity(FACES_MOST),
        })
    }

    /// All faces, the best score first; at most [`FACES_MOST`].
    pub(crate) fn detect(&mut self, frame: &FrameView<'_>) -> Result<&[Detection], EngineError> {
        let (side, _) = self.engine.size();
        let inverse = letterbox(frame, side);
        self.engine.see(frame, &inverse);
        self.engine.run()?;
        self.collect(side as f64);
        self.candidates.sort_unstable_by(|a, b| b.score.total_cmp(&a.score));
        merge(&mut self.candidates, self.overlap_most, &mut self.faces);
        for face in &mut self.faces {
            face.centre = inverse.apply(face.centre);
            face.size = face.size.map(|v| v * inverse.0[0][0]);
            face.points = face.points.map(|p| inverse.apply(p));
        }
        Ok(&self.faces)
    }

    /// Boxes above the threshold, in input pixels.
    fn collect(&mut self, side: f64) {
        self.candidates.clear();
        for head in &self.heads {
            let (scores, points) = (self.engine.output(head.scores), self.engine.output(head.points));
            let raw = |value: f32, range: f32| (value - 3.0) * range / 3.0;
            for index in 0..scores.len() {
                let score = 1.0 / (1.0 + (-raw(scores.at(index), head.scores_range)).exp());
                if score <= self.score_least || self.candidates.len() == CANDIDATES_MOST {
                    continue;
                }
                let cell = index / head.anchors;
                let step = side / head.grid as f64;
                let anchor = [(cell % head.grid) as f64 + 0.5, (cell / head.grid) as f64 + 0.5].map(|v| v * step);
                // The network counts from the corner of the first pixel, the rest of the program from its centre.
                let place = |k: usize| {
                    let number = |axis| f64::from(raw(points.at(index * NUMBERS + 2 * k + axis), head.points_range));
                    [number(0), number(1)]
                };
                let moved = |p: [f64; 2]| [p[0] + anchor[0] - 0.5, p[1] + anchor[1] - 0.5];
                self.candidates.push(Detection {
                    score,
                    centre: moved(place(0)),
                    size: place(1),
                    points: std::array::from_fn(|k| moved(place(k + 2))),
                });
            }
        }
    }
}

fn heads(entry: &Entry) -> Result<Vec<Head>, ModelError> {
    let mut heads = Vec::new();
    for output in &entry.outputs {
        let Meaning::Scores { grid, anchors, range } = output.meaning else {
            continue;
        };
        let partner = entry.outputs.iter().find_map(|o| match o.meaning {
            Meaning::Points { grid: g, anchors: a, range } if g == grid && a == anchors => Some((o, range)),
            _ => None,
        });
        let cells = grid * grid * anchors;
        let fits = |found: usize, each: usize| found == cells * each && cells > 0;
        match partner {
            Some((points, points_range))
                if fits(output.shape.iter().product(), 1) && fits(points.shape.iter().product(), NUMBERS) =>
            {
                heads.push(Head {
                    scores: output.index,
                    scores_range: range,
                    points: points.index,
                    points_range,
                    grid,
                    anchors,
                });
            }
            _ => {
                return Err(ModelError::Entry {
                    model: entry.name.clone(),
                    reason: format!("scores of grid {grid} need points of {cells} anchors with {NUMBERS} numbers each"),
                });
            }
        }
    }
    Ok(heads)
}

/// The frame in the middle of a square of its longer side, black around.
fn letterbox(frame: &FrameView<'_>, side: usize) -> Affine {
    let (width, height) = (i64::from(frame.width()), i64::from(frame.height()));
    let longer = width.max(height);
    let left = -((longer - width) / 2) as f64 - 0.5;
    let top = -((longer - height) / 2) as f64 - 0.5;
    Affine::of_box(left, top, left + longer as f64, top + longer as f64, side, side)
}

/// Each best face becomes the mean, weighted by score, of all candidates that overlap it.
fn merge(candidates: &mut Vec<Detection>, overlap: f32, faces: &mut Vec<Detection>) {
    faces.clear();
    while let Some(&best) = candidates.first()
        && faces.len() < FACES_MOST
    {
        let mut sum = Detection { score: 0.0, centre: [0.0; 2], size: [0.0; 2], points: [[0.0; 2]; 6] };
        let mut first = true;
        candidates.retain(|other| {
            let same = std::mem::take(&mut first) || shared(&best, other) > f64::from(overlap);
            if same {
                add(&mut sum, other);
            }
            !same
        });
        let share = |v: f64| v / f64::from(sum.score);
        faces.push(Detection {
            score: best.score,
            centre: sum.centre.map(share),
            size: sum.size.map(share),
            points: sum.points.map(|p| p.map(share)),
        });
    }
}

fn add(sum: &mut Detection, other: &Detection) {
    let weight = f64::from(other.score);
    sum.score += other.score;
    for axis in 0..2 {
        sum.centre[axis] += other.centre[axis] * weight;
        sum.size[axis] += other.size[axis] * weight;
        for (s, o) in sum.points.iter_mut().zip(&other.points) {
            s[axis] += o[axis] * weight;
        }
    }
}

/// Intersection over union.
fn shared(a: &Detection, b: &Detection) -> f64 {
    let common: f64 = (0..2)
        .map(|axis| {
            let low = (a.centre[axis] - a.size[axis] / 2.0).max(b.centre[axis] - b.size[axis] / 2.0);
            let high = (a.centre[axis] + a.size[axis] / 2.0).min(b.centre[axis] + b.size[axis] / 2.0);
            (high - low).max(0.0)
        })
        .product();
    common / (a.size[0] * a.size[1] + b.size[0] * b.size[1] - common + 1e-9)
}

/// The face that is meant: large and near the middle (area less twice the squared distance from the middle).
pub(crate) fn main_face(faces: &[Detection], frame: &FrameView<'_>) -> Option<Detection> {
    let middle = [f64::from(frame.width()) / 2.0, f64::from(frame.height()) / 2.0];
    let weight = |face: &Detection| {
        let (dx, dy) = (face.centre[0] - middle[0], face.centre[1] - middle[1]);
        face.size[0] * face.size[1] - 2.0 * (dx * dx + dy * dy)
    };
    faces.iter().copied().max_by(|a, b| weight(a).total_cmp(&weight(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f64, side: f64, score: f32) -> Detection {
        Detection { score, centre: [x, 50.0], size: [side; 2], points: [[x, 50.0]; 6] }
    }

    #[test]
    fn overlapping_boxes_become_one_weighted_by_score() {
        let mut candidates = vec![at(50.0, 40.0, 0.9), at(54.0, 40.0, 0.3), at(150.0, 40.0, 0.6)];
        let mut faces = Vec::new();
        merge(&mut candidates, 0.3, &mut faces);
        assert_eq!(faces.len(), 2);
        assert!((faces[0].centre[0] - 51.0).abs() < 1e-4, "{faces:?}");
        assert!((faces[0].score - 0.9).abs() < 1e-6);
    }

    #[test]
    fn boxes_of_no_size_end_too() {
        let mut candidates = vec![at(50.0, 0.0, 0.9), at(50.0, f64::NAN, 0.8)];
        let mut faces = Vec::new();
        merge(&mut candidates, 0.3, &mut faces);
        assert_eq!(faces.len(), 2);
    }

    #[test]
    fn a_large_face_in_the_middle_is_the_one_meant() {
        let bytes = vec![0; 200 * 100];
        let frame = FrameView::new(crate::PixelFormat::Grey8, 200, 100, 200, &bytes).expect("a lawful frame");
        let chosen = main_face(&[at(20.0, 45.0, 0.9), at(100.0, 40.0, 0.6)], &frame).map(|f| f.centre[0]);
        assert_eq!(chosen, Some(100.0));
        assert!(main_face(&[], &frame).is_none());
    }
}
