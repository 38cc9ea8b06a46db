//! The light grid: how bright a face and its background are, cell by cell, while the lamps play their code.
//!
//! Nothing here is a picture: 144 means of a square around the face, and 16 of the background.

use crate::frame::{FrameView, Pixels};
use crate::mesh::Face;
use crate::warp::{Grey, Nv12, Rgb, Texels, Yuyv};

/// Cells a side of the grid on the face.
pub const GRID_SIDE: usize = 12;
/// Cells of the background.
pub const BACKGROUND_CELLS: usize = 16;

/// Side of the square in millimetres.
const SQUARE_MM: f64 = 132.0;
/// Distance between the centres of the eyes in millimetres: the scale, an adult's mean.
const INTEROCULAR_MM: f64 = 63.0;
/// Samples a side of a cell: enough to average noise, few enough for every frame.
const SAMPLES_LEAST: usize = 4;
const SAMPLES_MOST: usize = 16;
/// Samples a side of a background cell.
const BACKGROUND_SAMPLES: usize = 12;
/// Code values from here on count as clipped.
const CLIPPED_FROM: u8 = 250;
/// The background is the outer ring of so many by so many cells over the frame.
const RING: usize = 5;

/// Brightness of a face and its background in one frame. Code values are full range, 0..=255, and not linear in light.
///
/// The grid is a square of 132 mm, drawn in the picture with the distance between the eyes as 63 mm, turned with the
/// line of the eyes, its middle halfway between the eyes and the corners of the mouth. Cells run row by row from the
/// corner above the eye that is left in the picture.
#[derive(Clone, PartialEq, Eq)]
pub struct LightGrid {
    /// Mean code value of a cell, times 256. A cell outside the frame has 0.
    pub means: [u16; GRID_SIDE * GRID_SIDE],
    /// Share of a cell that is clipped, times 255. A cell outside the frame has 255.
    pub clipped: [u8; GRID_SIDE * GRID_SIDE],
    /// Mean code value, times 256, of the cells around the rim of the frame, clockwise from the upper left; a cell that
    /// head or shoulders cover has [`LightGrid::COVERED`].
    pub background: [u16; BACKGROUND_CELLS],
    /// A hash of every sample on the face: two frames with the same one are the same picture.
    pub print: [u8; 8],
}

impl LightGrid {
    /// Stands for a background cell that shows the person.
    pub const COVERED: u16 = u16::MAX;
}

impl Default for LightGrid {
    fn default() -> LightGrid {
        LightGrid {
            means: [0; GRID_SIDE * GRID_SIDE],
            clipped: [u8::MAX; GRID_SIDE * GRID_SIDE],
            background: [LightGrid::COVERED; BACKGROUND_CELLS],
            print: [0; 8],
        }
    }
}

/// Measures `face`, which was found in this very `frame`. Allocates nothing.
pub fn light_grid(frame: &FrameView<'_>, face: &Face, out: &mut LightGrid) {
    match frame.pixels {
        Pixels::Grey(plane) => measure(&Grey(plane), frame, face, out),
        Pixels::Yuyv(plane) => measure(&Yuyv(plane), frame, face, out),
        Pixels::Nv12 { luma, chroma } => measure(&Nv12 { luma, chroma }, frame, face, out),
        Pixels::Rgb(plane) => measure(&Rgb(plane), frame, face, out),
    }
}

fn measure<S: Texels>(source: &S, frame: &FrameView<'_>, face: &Face, out: &mut LightGrid) {
    let (width, height) = (f64::from(frame.width()), f64::from(frame.height()));
    let [right, left, _, mouth_a, mouth_b] = face.five.map(|p| p.map(f64::from));
    let middle = |axis: usize| (right[axis] + left[axis] + mouth_a[axis] + mouth_b[axis]) / 4.0;
    let across = [left[0] - right[0], left[1] - right[1]];
    // Steps of one cell along the line of the eyes and across it.
    let step = SQUARE_MM / INTEROCULAR_MM / GRID_SIDE as f64;
    let (dx, dy) = (across[0] * step, across[1] * step);
    let samples = (dx.hypot(dy).ceil() as usize).clamp(SAMPLES_LEAST, SAMPLES_MOST);
    let mut print = FNV_OFFSET;
    for cell in 0..GRID_SIDE * GRID_SIDE {
        let mut sum = Sum::default();
        for j in 0..samples {
            let down = place(cell / GRID_SIDE, j, samples);
            for i in 0..samples {
                let along = place(cell % GRID_SIDE, i, samples);
                let x = middle(0) + along * dx - down * dy + 0.5;
                let y = middle(1) + along * dy + down * dx + 0.5;
                if x >= 0.0 && y >= 0.0 && x < width && y < height {
                    let luma = source.luma(x as usize, y as usize);
                    print = (print ^ u64::from(luma)).wrapping_mul(FNV_PRIME);
                    sum.add(luma);
                }
            }
        }
        out.means[cell] = sum.mean();
        out.clipped[cell] = sum.clipped();
    }
    out.print = print.to_le_bytes();
    background(source, frame, face, out);
}

/// Place of a sample in cells from the middle of the grid.
fn place(cell: usize, sample: usize, samples: usize) -> f64 {
    cell as f64 - GRID_SIDE as f64 / 2.0 + (sample as f64 + 0.5) / samples as f64
}

fn background<S: Texels>(source: &S, frame: &FrameView<'_>, face: &Face, out: &mut LightGrid) {
    let (wide, tall) = (frame.width() as f32 / RING as f32, frame.height() as f32 / RING as f32);
    for (cell, mean) in out.background.iter_mut().enumerate() {
        let (column, row) = ring(cell);
        let (x, y) = (column as f32 * wide, row as f32 * tall);
        if covers(face, [x, y, x + wide, y + tall]) {
            *mean = LightGrid::COVERED;
            continue;
        }
        let mut sum = Sum::default();
        for j in 0..BACKGROUND_SAMPLES {
            for i in 0..BACKGROUND_SAMPLES {
                let along = |k: usize| (k as f32 + 0.5) / BACKGROUND_SAMPLES as f32;
                sum.add(source.luma((x + wide * along(i)) as usize, (y + tall * along(j)) as usize));
            }
        }
        *mean = sum.mean();
    }
}

/// Column and row of a cell of the ring, clockwise from the upper left.
fn ring(cell: usize) -> (usize, usize) {
    let last = RING - 1;
    let along = cell % last;
    match cell / last {
        0 => (along, 0),
        1 => (last, along),
        2 => (last - along, last),
        _ => (0, last - along),
    }
}

/// Whether head or shoulders reach into the box (left, top, right, bottom).
fn covers(face: &Face, [left, top, right, bottom]: [f32; 4]) -> bool {
    let b = &face.bounding;
    let middle = b.x + b.width / 2.0;
    let meets = |half: f32, from: f32, to: f32| {
        left < middle + half * b.width && right > middle - half * b.width && top < to && bottom > from
    };
    let chin = b.y + b.height;
    meets(0.8, b.y - 0.7 * b.height, chin + 0.3 * b.height) || meets(1.8, chin + 0.3 * b.height, f32::MAX)
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

#[derive(Default)]
struct Sum {
    total: u32,
    clipped: u32,
    count: u32,
}

impl Sum {
    fn add(&mut self, luma: u8) {
        self.total += u32::from(luma);
        self.clipped += u32::from(luma >= CLIPPED_FROM);
        self.count += 1;
    }

    /// Times 256.
    fn mean(&self) -> u16 {
        (self.total * 256).checked_div(self.count).unwrap_or(0) as u16
    }

    /// Times 255.
    fn clipped(&self) -> u8 {
        (self.clipped * 255).checked_div(self.count).unwrap_or(255) as u8
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::frame::PixelFormat;
    use crate::mesh::{LANDMARKS, Rect};
    use crate::pose::Pose;

    fn face(five: [[f32; 2]; 5], bounding: Rect) -> Face {
        Face {
            bounding,
            landmarks: [[0.0; 3]; LANDMARKS],
            score: 1.0,
            five,
            pose: Pose::default(),
            interocular_px: 63.0,
            track: 1,
        }
    }

    /// One pixel a millimetre, the middle of the face at (200, 150).
    fn upright() -> Face {
        let five = [[168.5, 120.0], [231.5, 120.0], [200.0, 150.0], [175.0, 180.0], [225.0, 180.0]];
        face(five, Rect { x: 140.0, y: 80.0, width: 120.0, height: 120.0 })
    }

    fn grid(paint: impl Fn(usize, usize) -> u8, face: &Face) -> LightGrid {
        let bytes: Vec<u8> = (0..400 * 300).map(|i| paint(i % 400, i / 400)).collect();
        let frame = FrameView::new(PixelFormat::Grey8, 400, 300, 400, &bytes).unwrap();
        let mut out = LightGrid::default();
        light_grid(&frame, face, &mut out);
        out
    }

    #[test]
    fn cells_run_row_by_row_over_132_millimetres() {
        // One cell is 11 pixels; light up the one in column 2, row 5.
        let out = grid(
            |x, y| {
                if (156..167).contains(&x) && (139..150).contains(&y) { 200 } else { 50 }
            },
            &upright(),
        );
        let lit: Vec<usize> = (0..144).filter(|c| out.means[*c] > 150 * 256).collect();
        assert_eq!(lit, [5 * 12 + 2]);
        assert!(out.means[0].abs_diff(50 * 256) < 300 && out.clipped.iter().all(|c| *c == 0));
    }

    #[test]
    fn clipping_and_the_rim_of_the_frame_are_told() {
        let mut shifted = upright();
        for point in &mut shifted.five {
            point[0] -= 180.0;
        }
        let out = grid(|_, y| if y < 150 { 255 } else { 40 }, &shifted);
        assert_eq!((out.means[11], out.clipped[11]), (255 * 256, 255));
        assert_eq!((out.means[11 * 12], out.clipped[11 * 12]), (0, 255), "a cell outside");
        assert_eq!(out.clipped[11 * 12 + 11], 0);
    }

    #[test]
    fn background_leaves_the_person_out() {
        let out = grid(|_, _| 100, &upright());
        assert_eq!(out.background[0], 100 * 256);
        assert_eq!(out.background[2], LightGrid::COVERED, "above the head");
        assert_eq!(out.background[10], LightGrid::COVERED, "the chest");
    }

    #[test]
    fn one_changed_pixel_changes_the_print() {
        let before = grid(|_, _| 100, &upright());
        let after = grid(|x, y| if (x, y) == (200, 150) { 101 } else { 100 }, &upright());
        assert_ne!(before.print, after.print);
        assert_eq!(before.print, grid(|_, _| 100, &upright()).print);
    }
}
