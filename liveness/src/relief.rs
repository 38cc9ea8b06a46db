//! Relief: do left and right light differ over the face as on a face, or as on a sheet?
//!
//! `q = ln(L/R)/2` of a cell hardly depends on the skin's colour or the lamps' strength, but on how the surface is
//! turned to the left or right. A flat, tilted or bent print changes it smoothly; nose, eye sockets and cheeks do not.
//! The mean face's `q` at the measured pose is the template `T`; what planes, cylinders and folds can imitate is taken
//! out of both, and what is left of `q` is measured in units of what is left of `T`: that is `beta`, about 1 for a face
//! and about 0 for a sheet. So is what a grid that follows the light does to `q` (`drawn.rs`).

use didar_protocol::transcript::{CELLS, FrameSample, GRID, LightTranscript};

use crate::drawn::drawn;
use crate::fit::{Cell, Fit, noise};
use crate::linear::{median, solve};
use crate::mean_face::MEAN_FACE;

/// What the relief test found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Relief {
    /// The smaller of the two below: what counts.
    pub beta: f64,
    /// Part of the mean face's relief, after planes and the best cylinder.
    pub beta_cylinder: f64,
    /// Part of the mean face's relief, after any function of the column, and y, xy and y squared.
    pub beta_fold: f64,
    /// Standard error of `beta`.
    pub deviation: f64,
    /// Cells that could be judged.
    pub cells: usize,
}

/// One cell's part in the fit.
#[derive(Clone, Copy)]
struct Point {
    x: f64,
    y: f64,
    column: usize,
    q: f64,
    t: f64,
    weight: f64,
    /// What `q` gains where the grid follows the light, to the right and down.
    drawn: [f64; 2],
}

/// Measures the relief of a transcript's face.
pub fn relief(transcript: &LightTranscript) -> Relief {
    let looks = crate::fit::looks(transcript);
    let fit = Fit::new(&looks, &transcript.code, None);
    relief_of(transcript, &fit, distance_mm(transcript))
}

/// From the lens to the face, millimetres: an adult's eyes are 63 mm apart, and a head that turns shows less of it.
pub fn distance_mm(transcript: &LightTranscript) -> f64 {
    let apart = |frame: &FrameSample| {
        let yaw = f64::from(frame.pose_cdeg[0]) / 100.0;
        let across = libm::cos(yaw.clamp(-POSE_MAX_DEG, POSE_MAX_DEG) * (std::f64::consts::PI / 180.0));
        f64::from(frame.eyes_px10.max(1)) / across
    };
    let eyes_px10 = median(transcript.frames.iter().map(apart).collect()).max(1.0);
    let distance = f64::from(transcript.camera.focal_px10) * INTEROCULAR_MM / eyes_px10;
    distance.clamp(DISTANCE_MM.0, DISTANCE_MM.1)
}

pub(crate) fn relief_of(transcript: &LightTranscript, fit: &Fit, distance_mm: f64) -> Relief {
    let template = template(mean_pose(transcript), f64::from(transcript.camera.baseline_mm), distance_mm);
    let frames = transcript.frames.len().max(4) as f64;
    let points: Vec<Point> = (0..CELLS)
        .filter_map(|cell| {
            let (light, Relieved { q: t, facing }) = (fit.face[cell]?, template[cell]?);
            let (q, variance) = log_ratio(&light, frames)?;
            let (column, row) = (cell % GRID, cell / GRID);
            Some(Point {
                x: place(column),
                y: place(row),
                column,
                q,
                t,
                weight: 1.0 / (variance + shape_variance(facing)),
                drawn: drawn(&fit.face, cell, &light),
            })
        })
        .collect();
    let cells = points.len();
    if cells < CELLS_MIN {
        return Relief { cells, ..Relief::default() };
    }
    let (beta_cylinder, by_cylinder) = beta(&points, best_cylinder(&points));
    let (beta_fold, by_fold) = beta(&points, fold);
    let (beta, deviation) = if beta_cylinder < beta_fold { (beta_cylinder, by_cylinder) } else { (beta_fold, by_fold) };
    Relief { beta, beta_cylinder, beta_fold, deviation, cells }
}

/// Variance of `q` by faces that differ from the mean one: a normal that leans a little more changes `q` by the square of
/// how steep the surface is.
fn shape_variance(facing: f64) -> f64 {
    let steep = facing * facing;
    SHAPE_VARIANCE / (steep * steep).max(STEEP_LEAST)
}

/// `q` of a cell and its variance; `None` where a lamp's light is not above the noise.
fn log_ratio(light: &Cell, frames: f64) -> Option<(f64, f64)> {
    // Each lamp is lit in about half of the frames, and compared with the other half.
    let noise = noise(light.ambient.max(0.0)) * 2.0 / frames.sqrt();
    let (left, right) = (light.left, light.right);
    if !(left > 2.0 * noise && right > 2.0 * noise) {
        return None;
    }
    let variance = noise * noise * (1.0 / (left * left) + 1.0 / (right * right)) / 4.0;
    Some((libm::log(left / right) / 2.0, variance))
}

/// Mean yaw, pitch and roll of the frames, radians.
fn mean_pose(transcript: &LightTranscript) -> [f64; 3] {
    let count = transcript.frames.len().max(1) as f64;
    std::array::from_fn(|axis| {
        let sum: i64 = transcript.frames.iter().map(|frame| i64::from(frame.pose_cdeg[axis])).sum();
        let degrees = sum as f64 / 100.0 / count;
        // The mesh's pose is good to about 30 degrees; beyond, the quality check has refused the frame.
        degrees.clamp(-POSE_MAX_DEG, POSE_MAX_DEG) * (std::f64::consts::PI / 180.0)
    })
}

/// The mean face in one cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relieved {
    /// Half the logarithm of left against right light.
    pub(crate) q: f64,
    /// Cosine between the surface's normal and the line of sight.
    facing: f64,
}

/// The mean face's `q` per cell, for a head at `pose` (yaw, pitch, roll, radians) straight before the lens; `None`
/// where the face does not cover the cell.
pub(crate) fn template(pose: [f64; 3], baseline_mm: f64, distance_mm: f64) -> [Option<Relieved>; CELLS] {
    let turn = Turn::new(pose);
    std::array::from_fn(|cell| {
        let (x, y) = (place(cell % GRID) * HALF_MM, place(cell / GRID) * HALF_MM);
        // Which point of the face shows here? The head's turn shifts points by their height.
        let (mut sx, mut sy) = (x, y);
        let mut shape = mean_face(sx, sy)?;
        for _ in 0..SHIFT_STEPS {
            let [px, py, _] = turn.head([sx, sy, shape.height]);
            sx += x - px;
            sy += y - py;
            shape = mean_face(sx, sy)?;
        }
        let point = turn.lean(turn.head([sx, sy, shape.height]));
        let normal = turn.lean(turn.head(shape.normal));
        let left = irradiance(point, normal, [-baseline_mm, 0.0, distance_mm]);
        let right = irradiance(point, normal, [baseline_mm, 0.0, distance_mm]);
        Some(Relieved { q: libm::log(left / right) / 2.0, facing: normal[2].max(0.0) })
    })
}

/// Light of a lamp at `lamp` on a piece of surface; the constant factor does not matter.
fn irradiance(point: [f64; 3], normal: [f64; 3], lamp: [f64; 3]) -> f64 {
    let to: [f64; 3] = std::array::from_fn(|k| lamp[k] - point[k]);
    let squared = to[0] * to[0] + to[1] * to[1] + to[2] * to[2];
    let cosine = (to[0] * normal[0] + to[1] * normal[1] + to[2] * normal[2]) / squared.sqrt();
    cosine.max(GRAZING) / squared
}

/// The head's turn, as vision measures it: positive yaw to the right of the picture, pitch down, roll clockwise.
struct Turn {
    yaw: (f64, f64),
    pitch: (f64, f64),
    roll: (f64, f64),
}

impl Turn {
    fn new([yaw, pitch, roll]: [f64; 3]) -> Self {
        let both = |angle: f64| (libm::sin(angle), libm::cos(angle));
        Self { yaw: both(yaw), pitch: both(pitch), roll: both(roll) }
    }

    fn head(&self, [x, y, z]: [f64; 3]) -> [f64; 3] {
        let (x, z) = (x * self.yaw.1 + z * self.yaw.0, z * self.yaw.1 - x * self.yaw.0);
        [x, y * self.pitch.1 + z * self.pitch.0, z * self.pitch.1 - y * self.pitch.0]
    }

    /// The grid leans with the head, the lamps do not.
    fn lean(&self, [x, y, z]: [f64; 3]) -> [f64; 3] {
        [x * self.roll.1 - y * self.roll.0, x * self.roll.0 + y * self.roll.1, z]
    }
}

struct Shape {
    height: f64,
    normal: [f64; 3],
}

/// The mean face at a place of the grid (millimetres from its centre), between the cells' centres; `None` off the face.
fn mean_face(x: f64, y: f64) -> Option<Shape> {
    let side = GRID as f64;
    let at = |v: f64| ((v / HALF_MM + 1.0) * side / 2.0 - 0.5).clamp(0.0, side - 1.0);
    let (column, row) = (at(x), at(y));
    let (c, r) = ((column as usize).min(GRID - 2), (row as usize).min(GRID - 2));
    let (u, v) = (column - c as f64, row - r as f64);
    let mut sum = [0.0; 5];
    for (dr, dc, share) in [(0, 0, (1.0 - u) * (1.0 - v)), (0, 1, u * (1.0 - v)), (1, 0, (1.0 - u) * v), (1, 1, u * v)]
    {
        let entry = MEAN_FACE[(r + dr) * GRID + c + dc];
        for k in 0..5 {
            sum[k] += share * f64::from(entry[k]);
        }
    }
    let [cover, height, nx, ny, nz] = sum;
    let length = (nx * nx + ny * ny + nz * nz).sqrt();
    (cover >= COVER_MIN && length > 1.0)
        .then(|| Shape { height: height / 10.0, normal: [nx / length, ny / length, nz / length] })
}

/// Most functions that are taken out.
const TERMS: usize = GRID + 6;

/// Those of a plane and one cylinder, and the template.
const SEARCHED: usize = 7;

/// The functions that a plane makes, and one cylinder's.
fn best_cylinder(points: &[Point]) -> impl Fn(&Point) -> [f64; TERMS] + use<> {
    let mut best = (f64::INFINITY, sheet(0.0, 0.0, RADII_MM[0]));
    for step in 0..AXES {
        let angle = std::f64::consts::PI * step as f64 / AXES as f64;
        for offset in OFFSETS_MM {
            for radius in RADII_MM {
                let bend = sheet(angle, offset, radius);
                let left = residue(points, |p| [1.0, p.x, p.y, bend.slope(p), p.drawn[0], p.drawn[1], p.t]);
                if left < best.0 {
                    best = (left, bend);
                }
            }
        }
    }
    let bend = best.1;
    move |p| {
        let mut terms = [0.0; TERMS];
        terms[..6].copy_from_slice(&[1.0, p.x, p.y, bend.slope(p), p.drawn[0], p.drawn[1]]);
        terms
    }
}

/// Any function of the column (a vertical fold has one), and what a tilt or bend the other way adds.
fn fold(p: &Point) -> [f64; TERMS] {
    let mut terms = [0.0; TERMS];
    terms[p.column] = 1.0;
    terms[GRID..GRID + 5].copy_from_slice(&[p.y, p.x * p.y, p.y * p.y, p.drawn[0], p.drawn[1]]);
    terms
}

/// A sheet bent round an axis in its plane.
#[derive(Clone, Copy)]
struct Sheet {
    across: (f64, f64),
    offset: f64,
    radius: f64,
}

fn sheet(angle: f64, offset_mm: f64, radius_mm: f64) -> Sheet {
    Sheet { across: (libm::cos(angle), libm::sin(angle)), offset: offset_mm / HALF_MM, radius: radius_mm / HALF_MM }
}

impl Sheet {
    /// How steep the sheet is here, across its axis.
    fn slope(&self, p: &Point) -> f64 {
        let s = (p.x * self.across.0 + p.y * self.across.1 - self.offset) / self.radius;
        let s = s.clamp(-STEEPEST, STEEPEST);
        s / (1.0 - s * s).sqrt()
    }
}

/// Weighted sum of squares of `q` that `terms` cannot explain.
fn residue(points: &[Point], terms: impl Fn(&Point) -> [f64; SEARCHED]) -> f64 {
    let (mut a, mut b, mut total) = ([[0.0; SEARCHED]; SEARCHED], [0.0; SEARCHED], 0.0);
    for p in points {
        let f = terms(p);
        for i in 0..SEARCHED {
            let weighted = p.weight * f[i];
            for j in i..SEARCHED {
                a[i][j] += weighted * f[j];
            }
            b[i] += weighted * p.q;
        }
        total += p.weight * p.q * p.q;
    }
    mirror(&mut a);
    let Some(x) = solve(a, b) else { return f64::INFINITY };
    (0..SEARCHED).fold(total, |left, i| left - x[i] * b[i])
}

#[allow(clippy::needless_range_loop, reason = "rows and columns of a matrix read best by their numbers")]
fn mirror<const N: usize>(a: &mut [[f64; N]; N]) {
    for i in 0..N {
        for j in 0..i {
            a[i][j] = a[j][i];
        }
    }
}

/// The part of `T` in `q` beside `terms`, and its standard error; cells that do not fit count less (glints of glasses,
/// strands of hair). 0 with an endless error where it cannot be told.
fn beta(points: &[Point], terms: impl Fn(&Point) -> [f64; TERMS]) -> (f64, f64) {
    const ALL: usize = TERMS + 1;
    let rows: Vec<[f64; ALL]> = points
        .iter()
        .map(|p| {
            let mut row = [0.0; ALL];
            row[..TERMS].copy_from_slice(&terms(p));
            row[TERMS] = p.t;
            row
        })
        .collect();
    let mut trust = vec![1.0; points.len()];
    let mut found = (0.0, f64::INFINITY);
    for _ in 0..ROUNDS {
        let (mut a, mut b) = ([[0.0; ALL]; ALL], [0.0; ALL]);
        for ((p, row), trust) in points.iter().zip(&rows).zip(&trust) {
            let weight = p.weight * trust;
            for i in (0..ALL).filter(|&i| row[i] != 0.0) {
                for j in i..ALL {
                    a[i][j] += weight * row[i] * row[j];
                }
                b[i] += weight * row[i] * p.q;
            }
        }
        // A little of each unknown itself: columns without cells, and terms that are not used, stay at 0.
        (0..ALL).for_each(|i| a[i][i] += RIDGE);
        mirror(&mut a);
        let mut unit = [0.0; ALL];
        unit[TERMS] = 1.0;
        let (Some(x), Some(variance)) = (solve(a, b), solve(a, unit)) else { return found };
        let residuals: Vec<f64> = points
            .iter()
            .zip(&rows)
            .map(|(p, row)| (p.q - (0..ALL).fold(0.0, |sum, i| sum + row[i] * x[i])) * p.weight.sqrt())
            .collect();
        let spread = (1.4826 * median(residuals.iter().map(|r| r.abs()).collect())).max(1e-6);
        for (trust, residual) in trust.iter_mut().zip(&residuals) {
            *trust = (HUBER * spread / residual.abs().max(1e-12)).min(1.0);
        }
        found = (x[TERMS], (variance[TERMS].max(0.0)).sqrt() * spread);
    }
    found
}

/// Centre of a row or column, -1 to 1 over the grid.
fn place(index: usize) -> f64 {
    (index as f64 + 0.5) * 2.0 / GRID as f64 - 1.0
}

/// Distance between an adult's eyes.
const INTEROCULAR_MM: f64 = 63.0;
/// Distances from lens to face that are believed, millimetres.
const DISTANCE_MM: (f64, f64) = (250.0, 1200.0);
/// Half the grid's side.
const HALF_MM: f64 = 66.0;
/// Least share of a cell that the face must cover, thousandths.
const COVER_MIN: f64 = 900.0;
/// Steps that find the point of a turned head behind a cell; the shift shrinks by about three each step.
const SHIFT_STEPS: usize = 3;
/// Least cosine between light and normal: skin scatters, so grazing light still gives something.
const GRAZING: f64 = 0.05;
/// Poses beyond are not believed.
const POSE_MAX_DEG: f64 = 45.0;
/// Variance of `q` by faces that differ from the mean one: 0.05 squared, about a third of the relief's own spread.
const SHAPE_VARIANCE: f64 = 0.0025;
/// Surfaces steeper than this (the fourth power of the cosine) count no less.
const STEEP_LEAST: f64 = 0.01;
/// With fewer cells than functions and some to spare there is nothing to fit.
const CELLS_MIN: usize = 2 * TERMS;
/// Axes tried for the cylinder, over half a turn.
const AXES: usize = 12;
/// Places of the cylinder's axis beside the grid's centre.
const OFFSETS_MM: [f64; 3] = [-30.0, 0.0, 30.0];
/// Radii of the cylinder; what is wider differs from these by less than noise, once planes are out.
const RADII_MM: [f64; 3] = [80.0, 130.0, 250.0];
/// Where a sheet turns away from the camera altogether.
const STEEPEST: f64 = 0.95;
/// Rounds of the robust fit.
const ROUNDS: usize = 5;
/// Huber's constant: 95 % efficient for normal errors.
const HUBER: f64 = 1.345;
/// See its use; small against the weights (some 400 per cell).
const RIDGE: f64 = 1e-6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Surface, World, code};

    fn beta_of(surface: Surface, seed: u64) -> Relief {
        let mut world = World::face(seed);
        world.surface = surface;
        relief(&world.play(&code(seed)))
    }

    #[test]
    fn a_face_has_the_mean_faces_relief() {
        for seed in 0..30 {
            let found = beta_of(Surface::Face, seed);
            assert!((0.7..1.3).contains(&found.beta), "seed {seed}: {found:?}");
        }
    }

    #[test]
    fn sheets_have_none() {
        for seed in 0..30 {
            for surface in [
                Surface::Plane { tilt: [0.0, 0.0] },
                Surface::Plane { tilt: [0.4, -0.2] },
                Surface::Cylinder { axis: 0.0, radius_mm: 80.0 },
                Surface::Cylinder { axis: 1.57, radius_mm: 120.0 },
                Surface::Cylinder { axis: 0.7, radius_mm: -100.0 },
                Surface::Fold { slope: 0.5 },
            ] {
                let found = beta_of(surface, seed);
                assert!(found.beta < 0.2, "seed {seed}, {surface:?}: {found:?}");
            }
        }
    }

    #[test]
    fn the_template_is_the_mirror_of_itself() {
        let flat = template([0.0; 3], 90.0, 500.0);
        for cell in 0..CELLS {
            let mirrored = cell / GRID * GRID + GRID - 1 - cell % GRID;
            let (Some(a), Some(b)) = (flat[cell], flat[mirrored]) else { continue };
            let (a, b) = (a.q, b.q);
            assert!((a + b).abs() < 0.01, "cell {cell}: {a} and {b}");
        }
    }

    #[test]
    fn the_left_of_the_nose_is_brighter_under_the_left_lamp() {
        let flat = template([0.0; 3], 90.0, 500.0);
        let (left, right) = (flat[5 * GRID + 4].unwrap().q, flat[5 * GRID + 7].unwrap().q);
        assert!(left > 0.05 && right < -0.05, "{left} {right}");
    }
}
