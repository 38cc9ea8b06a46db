//! Texture: do the lamps light the same surface that the room's light shows?
//!
//! Brows, lips, beards and eyes are dark under every light, so what the lamps add to a face or a print varies from cell to
//! cell as the picture without lamps does. A screen shines by itself: what the lamps add there is mirrored by its glass,
//! which knows nothing of the picture, whatever relief the mirrored spots happen to imitate.

use didar_protocol::transcript::{CELLS, GRID};

use crate::fit::{Cell, noise};
use crate::linear::solve;

/// What the room's picture and the lamps' have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Texture {
    /// Correlation of the logarithms of the room's and of the lamps' light over the cells, -1 to 1, after smooth
    /// differences (a polynomial of the second degree) are taken out of both.
    pub(crate) common: f64,
    /// How much the room's picture varies beyond its noise: standard deviation of its logarithm.
    pub(crate) shown: f64,
    /// Cells in which both lights are above the noise.
    pub(crate) cells: usize,
}

/// One cell in both pictures: the room's and the lamps'.
struct Point {
    smooth: [f64; SMOOTH],
    logs: [f64; 2],
    room_variance: f64,
    weight: f64,
}

/// Compares the two pictures of the face. `frames` is how many frames its light was fitted to.
pub(crate) fn texture(face: &[Option<Cell>], frames: usize) -> Texture {
    let frames = frames.max(4) as f64;
    let points: Vec<Point> = (0..CELLS).filter_map(|cell| point(cell, face.get(cell)?.as_ref()?, frames)).collect();
    let cells = points.len();
    if cells < 2 * SMOOTH {
        return Texture { cells, ..Texture::default() };
    }
    let (room, lamps) = (rests(&points, 0), rests(&points, 1));
    let mean = |of: &dyn Fn(usize) -> f64| {
        let (sum, weights) = points
            .iter()
            .enumerate()
            .fold((0.0, 0.0), |(sum, weights), (i, p)| (sum + p.weight * of(i), weights + p.weight));
        sum / weights
    };
    let (own, lit) = (mean(&|i| room[i] * room[i]), mean(&|i| lamps[i] * lamps[i]));
    let common = mean(&|i| room[i] * lamps[i]) / (own * lit).max(VARIANCE_MIN).sqrt();
    let shown = (own - mean(&|i| points[i].room_variance)).max(0.0).sqrt();
    Texture { common, shown, cells }
}

fn point(cell: usize, light: &Cell, frames: f64) -> Option<Point> {
    let place = |index: usize| (index as f64 + 0.5) * 2.0 / GRID as f64 - 1.0;
    let (x, y) = (place(cell % GRID), place(cell / GRID));
    if x.abs() > INNER || y.abs() > INNER {
        return None;
    }
    // Each light is compared with that of about half of the frames.
    let noise = noise(light.ambient.max(0.0)) * 2.0 / frames.sqrt();
    let (room, lamps) = (light.ambient, (light.left + light.right) / 2.0);
    if !(room > noise && lamps > noise) {
        return None;
    }
    let variance = |light: f64| (noise / light) * (noise / light);
    Some(Point {
        smooth: [1.0, x, y, x * x, x * y, y * y],
        logs: [libm::log(room), libm::log(lamps)],
        room_variance: variance(room),
        weight: 1.0 / (variance(room) + variance(lamps) + TEXTURE_VARIANCE),
    })
}

/// What smooth functions do not explain of one of the two pictures.
fn rests(points: &[Point], which: usize) -> Vec<f64> {
    let (mut a, mut b) = ([[0.0; SMOOTH]; SMOOTH], [0.0; SMOOTH]);
    for p in points {
        for (i, row) in a.iter_mut().enumerate() {
            let weighted = p.weight * p.smooth[i];
            row.iter_mut().zip(&p.smooth).for_each(|(sum, term)| *sum += weighted * term);
            b[i] += weighted * p.logs[which];
        }
    }
    let x = solve(a, b).unwrap_or_default();
    points.iter().map(|p| (0..SMOOTH).fold(p.logs[which], |left, i| left - x[i] * p.smooth[i])).collect()
}

/// Functions of a polynomial of the second degree.
const SMOOTH: usize = 6;
/// Cells nearer than this to the grid's rim (of its half side) may show hair or what is behind.
const INNER: f64 = 0.8;
/// Variance of texture that counts as much as noise: a tenth, squared.
const TEXTURE_VARIANCE: f64 = 0.01;
/// Pictures that vary less are without texture.
const VARIANCE_MIN: f64 = 1e-12;
