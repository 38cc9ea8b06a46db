//! The camera: a recipe for a frame, and the pixels that follow from it.

use didar_vision::PixelFormat;

use super::random::Random;

/// Pixels a row of a frame.
pub const WIDTH: usize = 640;
/// Rows of a frame.
pub const HEIGHT: usize = 480;
/// The canvas' rim around a frame: sway goes no further.
const RIM: usize = 32;
pub(crate) const CANVAS_WIDTH: usize = WIDTH + 2 * RIM;
pub(crate) const CANVAS_HEIGHT: usize = HEIGHT + 2 * RIM;
/// Full scale of linear light.
pub(crate) const ONE: u32 = 65_535;

/// Linear light of one pixel: ambient red, green, blue, left lamp, right lamp. Eight numbers fill one register.
pub(crate) type Pixel = [u16; 8];

/// What the light does on every pixel of the canvas.
pub(crate) struct Maps {
    pub(crate) pixels: Vec<Pixel>,
}

/// Everything that makes one frame, but for the maps. The same recipe makes the same bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// Which maps: an index that the kiosk knows.
    pub(crate) view: usize,
    /// How the subject has moved.
    pub(crate) pose: Pose,
    /// Ambient light against the room's.
    pub(crate) ambient: f32,
    /// Share of the exposure in which each lamp was lit.
    pub(crate) lit: [f32; 2],
    /// The sensor's noise.
    pub(crate) noise: u64,
}

/// How the subject stands in the frame, against the portrait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pose {
    pub(crate) shift_px: [f32; 2],
    pub(crate) turn: f32,
    pub(crate) scale: f32,
}

/// How a frame's pixels lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PixelOrder {
    /// YUYV 4:2:2, BT.601 limited range.
    Yuyv,
    /// Brightness only.
    Grey,
    /// Red, green, blue.
    Rgb,
}

impl PixelOrder {
    /// V4L2's number of the format.
    pub fn fourcc(self) -> u32 {
        u32::from_le_bytes(match self {
            Self::Yuyv => *b"YUYV",
            Self::Grey => *b"GREY",
            Self::Rgb => *b"RGB3",
        })
    }

    /// Bytes of one pixel.
    pub fn bytes(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Yuyv => 2,
            Self::Rgb => 3,
        }
    }

    /// The same for the product's vision.
    pub fn format(self) -> PixelFormat {
        match self {
            Self::Yuyv => PixelFormat::Yuyv,
            Self::Grey => PixelFormat::Grey8,
            Self::Rgb => PixelFormat::Rgb8,
        }
    }
}

/// The sensor: from linear light to code values.
pub(crate) struct Sensor {
    codes: Box<[u8; 1 << 16]>,
    noise: Vec<i8>,
}

/// Length of the noise table; a power of two.
const NOISE: usize = 8192;

impl Sensor {
    pub(crate) fn new(gamma: f32, noise_codes: f32) -> Self {
        let code = |linear: u32| (linear as f32 / ONE as f32).powf(1.0 / gamma) * 255.0 + 0.5;
        let mut random = Random::new(1);
        Self {
            codes: Box::new(std::array::from_fn(|linear| code(linear as u32) as u8)),
            // Shot noise grows with the root of the light; after a gamma of about 2 it is the same everywhere.
            noise: (0..NOISE + WIDTH).map(|_| (random.normal() * noise_codes).round() as i8).collect(),
        }
    }

    /// Renders a frame into `out`, which gets the frame's length.
    pub(crate) fn render(&self, maps: &Maps, recipe: &Recipe, order: PixelOrder, out: &mut Vec<u8>) {
        out.resize(WIDTH * HEIGHT * order.bytes(), 0);
        let mut random = Random::new(recipe.noise);
        let mix = Mix::of(recipe);
        let walk = Walk::of(&recipe.pose);
        for (y, row) in out.chunks_exact_mut(WIDTH * order.bytes()).enumerate() {
            let noise = &self.noise[random.next() as usize % NOISE..][..WIDTH];
            let mut at = walk.row(y);
            let mut next = |x: usize| {
                let linear = mix.light(sample(maps, at));
                at = [at[0].wrapping_add(walk.along[0]), at[1].wrapping_add(walk.along[1])];
                let grain = i32::from(noise[x]);
                linear.map(|v| i32::from(self.codes[usize::from(v)]).wrapping_add(grain).clamp(0, 255))
            };
            match order {
                PixelOrder::Yuyv => {
                    for (pair, bytes) in row.chunks_exact_mut(4).enumerate() {
                        let (a, b) = (next(2 * pair), next(2 * pair + 1));
                        bytes.copy_from_slice(&yuyv(a, b));
                    }
                }
                PixelOrder::Grey => row.iter_mut().enumerate().for_each(|(x, byte)| *byte = grey(next(x))),
                PixelOrder::Rgb => {
                    for (x, bytes) in row.chunks_exact_mut(3).enumerate() {
                        bytes.copy_from_slice(&next(x).map(|v| v as u8));
                    }
                }
            }
        }
    }
}

/// How much of each part of the light, 256 is all.
struct Mix {
    ambient: u32,
    left: u32,
    right: u32,
}

impl Mix {
    fn of(recipe: &Recipe) -> Self {
        let share = |v: f32| (v.clamp(0.0, 4.0) * 256.0) as u32;
        Self { ambient: share(recipe.ambient), left: share(recipe.lit[0]), right: share(recipe.lit[1]) }
    }

    /// Never overflows: each factor is at most 1,024, each part at most 65,535.
    #[inline(always)]
    fn light(&self, pixel: Pixel) -> [u16; 3] {
        let part = |factor: u32, k: usize| factor.wrapping_mul(u32::from(pixel[k]));
        let lamps = part(self.left, 3).wrapping_add(part(self.right, 4));
        [0, 1, 2].map(|k| (part(self.ambient, k).wrapping_add(lamps) >> 8).min(ONE) as u16)
    }
}

/// The way over the canvas, 16 bits of fraction.
struct Walk {
    start: [i32; 2],
    along: [i32; 2],
}

impl Walk {
    fn of(pose: &Pose) -> Self {
        let fixed = |v: f32| (v * 65_536.0) as i32;
        let (cos, sin) = (pose.turn.cos() / pose.scale, pose.turn.sin() / pose.scale);
        let (cx, cy) = (WIDTH as f32 / 2.0, HEIGHT as f32 / 2.0);
        let start = [
            CANVAS_WIDTH as f32 / 2.0 - pose.shift_px[0] - cos * cx + sin * cy,
            CANVAS_HEIGHT as f32 / 2.0 - pose.shift_px[1] - sin * cx - cos * cy,
        ];
        Self { start: start.map(fixed), along: [fixed(cos), fixed(sin)] }
    }

    fn row(&self, y: usize) -> [i32; 2] {
        let y = y as i32;
        [self.start[0] - y * self.along[1], self.start[1] + y * self.along[0]]
    }
}

/// The canvas between its pixels. Written so that the compiler multiplies eight numbers at once (`pmulhuw`).
#[inline(always)]
fn sample(maps: &Maps, [x, y]: [i32; 2]) -> Pixel {
    let column = (x >> 16).clamp(0, CANVAS_WIDTH as i32 - 2) as usize;
    let row = (y >> 16).clamp(0, CANVAS_HEIGHT as i32 - 2) as usize;
    let (u, v) = ((x >> 8 & 255) as u32, (y >> 8 & 255) as u32);
    let (u_left, v_left) = (256 - u, 255 - v);
    // Together at most 65,280: a sum of shares never overflows.
    let shares = [u_left * v_left, u * v_left, u_left * v, u * v].map(|share| share as u16);
    let around = &maps.pixels[row * CANVAS_WIDTH + column..][..CANVAS_WIDTH + 2];
    let corners = [&around[0], &around[1], &around[CANVAS_WIDTH], &around[CANVAS_WIDTH + 1]];
    let mut out = [0u16; 8];
    for (corner, share) in corners.into_iter().zip(shares) {
        for k in 0..8 {
            out[k] = out[k].wrapping_add((u32::from(corner[k]).wrapping_mul(u32::from(share)) >> 16) as u16);
        }
    }
    out
}

#[inline(always)]
fn yuyv(a: [i32; 3], b: [i32; 3]) -> [u8; 4] {
    // All sums stay far below 2^31; wrapping only spares the checks.
    let dot = |[r, g, b]: [i32; 3], of: [i32; 3], half: i32| {
        r.wrapping_mul(of[0]).wrapping_add(g.wrapping_mul(of[1])).wrapping_add(b.wrapping_mul(of[2])).wrapping_add(half)
    };
    let luma = |colour: [i32; 3]| (dot(colour, [66, 129, 25], 128) >> 8).wrapping_add(16) as u8;
    let both = [0, 1, 2].map(|k| a[k].wrapping_add(b[k]));
    let chroma = |of: [i32; 3]| (dot(both, of, 256) >> 9).wrapping_add(128) as u8;
    [luma(a), chroma([-38, -74, 112]), luma(b), chroma([112, -94, -18])]
}

#[inline(always)]
fn grey([r, g, b]: [i32; 3]) -> u8 {
    ((77 * r + 150 * g + 29 * b) >> 8) as u8
}
