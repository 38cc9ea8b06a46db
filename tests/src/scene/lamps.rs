//! The two lamps: what they do over time, and how their light falls.

use didar_protocol::light_code::Light;

use super::camera::{CANVAS_HEIGHT, CANVAS_WIDTH, Maps, ONE, Pixel};
use super::kiosk::Room;
use super::subject::Subject;
use super::surface::{CANVAS, Facet, Surface, unit};

/// When the lamps were switched to what. Bounded: only the last seconds matter.
#[derive(Clone, Debug, Default)]
pub struct LampLog {
    switches: Vec<(u64, Light)>,
}

/// Switches that are remembered: more than two codes.
const REMEMBERED: usize = 128;

impl LampLog {
    /// The lamps began to shine as `light` at `at_us`.
    pub fn switched(&mut self, at_us: u64, light: Light) {
        if self.switches.len() == REMEMBERED {
            self.switches.remove(0);
        }
        self.switches.push((at_us, light));
    }

    /// What the lamps show at the end of the log.
    pub fn now(&self) -> Light {
        self.switches.last().map_or(Light::Off, |&(_, light)| light)
    }

    /// The share of an exposure in which each lamp was lit: left, right.
    pub fn shares(&self, from_us: u64, until_us: u64) -> [f32; 2] {
        let mut lit = [0u64; 2];
        for (index, &(at, light)) in self.switches.iter().enumerate() {
            let end = self.switches.get(index + 1).map_or(u64::MAX, |next| next.0);
            let time = end.min(until_us).saturating_sub(at.max(from_us));
            let (left, right) = match light {
                Light::Off => (false, false),
                Light::Left => (true, false),
                Light::Right => (false, true),
                Light::Both => (true, true),
            };
            lit[0] += if left { time } else { 0 };
            lit[1] += if right { time } else { 0 };
        }
        lit.map(|time| time as f32 / until_us.saturating_sub(from_us).max(1) as f32)
    }
}

/// What a surface is made of.
#[derive(Clone, Copy)]
pub(crate) enum Material {
    /// The living person; around it, the room that the portrait shows, far behind.
    Skin,
    /// The portrait on paper; around it, a plain wall.
    Paper,
    /// A screen's black glass, which mirrors.
    Glass,
}

/// Paints the maps: ambient light and each lamp's light on every pixel.
pub(crate) fn maps(subject: &Subject, surface: &Surface, material: Material, room: &Room) -> Maps {
    let lamps = [-room.baseline_mm, room.baseline_mm].map(|x| [x, 0.0, room.distance_mm]);
    let pixels = surface
        .iter()
        .enumerate()
        .map(|(index, facet)| {
            let at = CANVAS.mm(index);
            let printed = subject.colour[index];
            let ambient = match material {
                Material::Skin => printed,
                Material::Paper | Material::Glass => {
                    std::array::from_fn(|k| facet.near * printed[k] + (1.0 - facet.near) * WALL[k])
                }
            };
            let albedo = albedo(luma(ambient));
            let lit = lamps.map(|lamp| {
                let near = light(facet, place(at, facet.height, room.distance_mm), lamp, material);
                let far = wall(at, lamp);
                room.lamps * albedo * (facet.near * near + (1.0 - facet.near) * far)
            });
            let mut pixel: Pixel = [0; 8];
            for k in 0..3 {
                pixel[k] = fixed(ambient[k] * room.ambient);
            }
            pixel[3] = fixed(lit[0]);
            pixel[4] = fixed(lit[1]);
            pixel
        })
        .collect();
    debug_assert_eq!(surface.len(), CANVAS_WIDTH * CANVAS_HEIGHT);
    Maps { pixels }
}

/// Brightness of a colour.
pub(crate) fn luma([red, green, blue]: [f32; 3]) -> f32 {
    0.3 * red + 0.6 * green + 0.1 * blue
}

/// How much a surface of this brightness throws back in near infrared: dyes fade, hair and cloth are lighter than they
/// look.
pub(crate) fn albedo(brightness: f32) -> f32 {
    0.06 + 0.8 * brightness
}

/// Where a surface of this height is that shows at `at`, millimetres: perspective makes near things smaller than they look.
pub(crate) fn place(at: [f32; 2], height: f32, distance_mm: f32) -> [f32; 3] {
    let scale = (distance_mm - height) / distance_mm;
    [at[0] * scale, at[1] * scale, height]
}

/// Light of a lamp on the wall behind, as [`light`].
pub(crate) fn wall(at: [f32; 2], lamp: [f32; 3]) -> f32 {
    let wall = Facet { height: -WALL_MM, normal: [0.0, 0.0, 1.0], near: 0.0 };
    light(&wall, place(at, -WALL_MM, lamp[2]), lamp, Material::Paper)
}

/// Light that a lamp throws back from a surface into the lens; 1 from a white sheet at the face, straight before it.
pub(crate) fn light(facet: &Facet, at: [f32; 3], lamp: [f32; 3], material: Material) -> f32 {
    let to: [f32; 3] = std::array::from_fn(|k| lamp[k] - at[k]);
    let squared = to.iter().map(|v| v * v).sum::<f32>();
    let to = unit(to);
    let cosine = dot(to, facet.normal).max(0.0);
    // The lamp looks straight ahead, half as bright at some 30 degrees.
    let aim = to[2].max(0.0).powi(5);
    let view = unit([-at[0], -at[1], lamp[2] - at[2]]);
    let half = unit(std::array::from_fn(|k| to[k] + view[k]));
    let (gloss, sharp) = match material {
        Material::Skin => (0.12, 24),
        Material::Paper => (0.05, 12),
        Material::Glass => (GLASS_SHINE, 400),
    };
    let shine = gloss * dot(half, facet.normal).max(0.0).powi(sharp);
    (cosine + shine) * aim * lamp[2] * lamp[2] / squared
}

fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn fixed(linear: f32) -> u16 {
    (linear.clamp(0.0, 1.0) * ONE as f32) as u16
}

/// What glass mirrors against what white paper scatters, at the mirror's angle: a lamp seen in it outshines everything.
const GLASS_SHINE: f32 = 30.0;
/// The plain wall behind a print.
const WALL: [f32; 3] = [0.22, 0.23, 0.25];
/// The wall is so far behind the face, millimetres.
const WALL_MM: f32 = 800.0;
