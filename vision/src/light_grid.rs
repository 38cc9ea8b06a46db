//! The light grid: how bright a face and its background are, cell by cell, while the lamps play their code.
//!
//! Nothing here is a picture: 144 means of a square around the face, and 16 of the background.

use crate::frame::{FrameView, Pixels};
use crate::mesh::Face;
use crate::warp::{Deep, Grey, Nv12, Rgb, Texels, Yuyv};

/// Cells a side of the grid on the face.
pub const GRID_SIDE: usize = 12;
/// Cells of the background.
pub const BACKGROUND_CELLS: usize = 16;
/// Bands of brightness in which noise is told.
pub const NOISE_BANDS: usize = 4;

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
    /// A hash of pixels in the middle of the picture, at the same places in every frame: two frames with the same one are
    /// the same picture, wherever the landmarks were found.
    pub print: [u8; 8],
    /// Upper and lower rim of the grid, thousandths of the frame's height.
    pub rows_milli: [u16; 2],
    /// Noise of the picture by brightness (means of 0 to 63, 64 to 127, 128 to 191, 192 to 249), code values times 256;
    /// [`LightGrid::NO_NOISE`] where too little of the picture is so bright.
    pub noise: [u16; NOISE_BANDS],
}

impl LightGrid {
    /// Stands for a background cell that shows the person.
    pub const COVERED: u16 = u16::MAX;
    /// Stands for the noise of a band that the frame hardly shows.
    pub const NO_NOISE: u16 = u16::MAX;
}

impl Default for LightGrid {
    fn default() -> LightGrid {
        LightGrid {
            means: [0; GRID_SIDE * GRID_SIDE],
            clipped: [u8::MAX; GRID_SIDE * GRID_SIDE],
            background: [LightGrid::COVERED; BACKGROUND_CELLS],
            print: [0; 8],
            rows_milli: [0; 2],
            noise: [LightGrid::NO_NOISE; NOISE_BANDS],
        }
    }
}

/// Measures `face`, which was found in this very `frame`. Allocates nothing.
pub fn light_grid(frame: &FrameView<'_>, face: &Face, out: &mut LightGrid) {
    match frame.pixels {
        Pixels::Grey(plane) => measure(&Grey(plane), frame, face, out),
        Pixels::Deep { plane, shift } => measure(&Deep { plane, shift }, frame, face, out),
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
    for cell in 0..GRID_SIDE * GRID_SIDE {
        let mut sum = Sum::default();
        for j in 0..samples {
            let down = place(cell / GRID_SIDE, j, samples);
            for i in 0..samples {
                let along = place(cell % GRID_SIDE, i, samples);
                let x = middle(0) + along * dx - down * dy + 0.5;
                let y = middle(1) + along * dy + down * dx + 0.5;
                if x >= 0.0 && y >= 0.0 && x < width && y < height {
                    sum.add(source.luma(x as usize, y as usize));
                }
            }
        }
        out.means[cell] = sum.mean();
        out.clipped[cell] = sum.clipped();
    }
    // Half the grid's height along the columns of a head that leans: its corners reach furthest.
    let half = GRID_SIDE as f64 / 2.0 * (dx.abs() + dy.abs());
    out.rows_milli = [middle(1) - half, middle(1) + half].map(|y| (y / height * 1000.0).clamp(0.0, 1000.0) as u16);
    out.print = middle_print(source, frame).to_le_bytes();
    out.noise = noise(source, frame);
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

/// Every fourth pixel of every fourth row in the middle half of the picture's width and the middle three quarters of its
/// height, where the face stands.
fn middle_print<S: Texels>(source: &S, frame: &FrameView<'_>) -> u64 {
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let mut print = FNV_OFFSET;
    for y in (height / 8..height * 7 / 8).step_by(4) {
        for x in (width / 4..width * 3 / 4).step_by(4) {
            print = (print ^ u64::from(source.luma(x, y))).wrapping_mul(FNV_PRIME);
        }
    }
    print
}

/// Noise by brightness: mean response of a kernel that plain and sloping surfaces leave at 0 (Immerkaer, Fast Noise
/// Variance Estimation, 1996), in small blocks all over the picture; of each band's blocks the lower quartile, because
/// texture only adds.
fn noise<S: Texels>(source: &S, frame: &FrameView<'_>) -> [u16; NOISE_BANDS] {
    let mut found = [[0u16; NOISE_BLOCKS * NOISE_BLOCKS]; NOISE_BANDS];
    let mut counts = [0; NOISE_BANDS];
    let (wide, tall) = (frame.width() as usize / NOISE_BLOCKS, frame.height() as usize / NOISE_BLOCKS);
    if wide < NOISE_BLOCK + 2 || tall < NOISE_BLOCK + 2 {
        return [LightGrid::NO_NOISE; NOISE_BANDS];
    }
    for block in 0..NOISE_BLOCKS * NOISE_BLOCKS {
        let (left, top) = (block % NOISE_BLOCKS * wide, block / NOISE_BLOCKS * tall);
        let (mut sum, mut edges) = (0u32, 0u32);
        for y in top + 1..=top + NOISE_BLOCK {
            for x in left + 1..=left + NOISE_BLOCK {
                let row = |y: usize| [x - 1, x, x + 1].map(|x| i32::from(source.luma(x, y)));
                let ([a, b, c], [d, e, f], [g, h, i]) = (row(y - 1), row(y), row(y + 1));
                edges += (a + c + g + i - 2 * (b + d + f + h) + 4 * e).unsigned_abs();
                sum += e as u32;
            }
        }
        let (pixels, mean) = ((NOISE_BLOCK * NOISE_BLOCK) as u32, sum / (NOISE_BLOCK * NOISE_BLOCK) as u32);
        if mean >= u32::from(CLIPPED_FROM) {
            continue;
        }
        let band = (mean / 64) as usize;
        // Standard deviation = sqrt(pi / 2) / 6 of the mean response; 53.477 is that times 256.
        found[band][counts[band]] = (f64::from(edges) * 53.477 / f64::from(pixels)).min(65_534.0) as u16;
        counts[band] += 1;
    }
    std::array::from_fn(|band| {
        let blocks = &mut found[band][..counts[band]];
        blocks.sort_unstable();
        if blocks.len() < NOISE_LEAST { LightGrid::NO_NOISE } else { blocks[blocks.len() / 4] }
    })
}

/// Blocks along each side of the picture in which noise is measured, and pixels along a block's side.
const NOISE_BLOCKS: usize = 16;
const NOISE_BLOCK: usize = 8;
/// Fewer blocks tell nothing of a band.
const NOISE_LEAST: usize = 8;

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
        let after = grid(|x, y| if (x, y) == (200, 149) { 101 } else { 100 }, &upright());
        assert_ne!(before.print, after.print);
        assert_eq!(before.print, grid(|_, _| 100, &upright()).print);
    }

    #[test]
    fn the_print_stays_where_the_landmarks_move() {
        let paint = |x: usize, y: usize| (x * 7 + y * 13) as u8;
        let mut shifted = upright();
        shifted.five.iter_mut().for_each(|point| point[0] += 0.7);
        let (before, after) = (grid(paint, &upright()), grid(paint, &shifted));
        assert!(before.print == after.print && before.means != after.means);
    }

    #[test]
    fn noise_is_told_by_brightness_and_texture_adds_little() {
        // A triangular noise of standard deviation 2.04 on a slope from dark to bright; half of the rows are striped.
        let mut state = 1u32;
        let bytes: Vec<u8> = (0..400usize * 300)
            .map(|i| {
                let mut next = || {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as i32 * 6 / 256
                };
                let grain = next() + next() - 5;
                let stripes = if i / 400 % 38 < 16 && i % 400 % 2 == 0 { 30 } else { 0 };
                (20 + (i % 400) as i32 / 2 + stripes + grain) as u8
            })
            .collect();
        let frame = FrameView::new(PixelFormat::Grey8, 400, 300, 400, &bytes).unwrap();
        let mut out = LightGrid::default();
        light_grid(&frame, &upright(), &mut out);
        for band in 0..NOISE_BANDS {
            let noise = f64::from(out.noise[band]) / 256.0;
            assert!((1.5..3.2).contains(&noise), "band {band}: {noise}");
        }
        assert_eq!(
            grid(|_, _| 100, &upright()).noise,
            [LightGrid::NO_NOISE, 0, LightGrid::NO_NOISE, LightGrid::NO_NOISE]
        );
    }

    #[test]
    fn the_rows_of_the_grid_are_told() {
        // 132 mm of 300 rows around row 150 at one pixel a millimetre.
        let [top, bottom] = grid(|_, _| 100, &upright()).rows_milli;
        assert!(top.abs_diff(280) <= 1 && bottom.abs_diff(720) <= 1, "{top} {bottom}");
    }
}
