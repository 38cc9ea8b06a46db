//! What can stand before the camera: heads, sheets and things between them, on the small raster.

use crate::scene::Sheet;
use crate::scene::lamps::Material;
use crate::scene::surface::{Facet, Raster, Surface, relief, unit};

use super::cells::PATCH;
use super::person::{Person, five, turned};

/// The shape of what is presented.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Form {
    /// A head, its relief times this: 1 is the person or a mask, less a bas-relief.
    Head(f32),
    /// Paper, flat, tilted or bent.
    Sheet(Sheet),
    /// Paper with creases: direction across, place (millimetres) and slopes on both sides.
    Folded(Vec<Crease>),
    /// Paper over a head without features: radii to the sides and up and down, millimetres.
    Egg([f32; 2]),
    /// As `Egg`, with a nose of this height and hollows for the eyes.
    Bust([f32; 2], f32),
    /// Paper with holes, the eyes of somebody behind so much deeper (millimetres).
    EyeHoles(Sheet, f32),
    /// Paper whose nose is pushed out so far (millimetres).
    PushedNose(Sheet, f32),
}

/// One crease of a sheet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Crease {
    pub(crate) across: f32,
    pub(crate) at_mm: f32,
    pub(crate) slopes: [f32; 2],
}

/// A form on the raster: its surface, the brightness of its skin or paint, and where its landmarks show.
pub(crate) struct Seen {
    pub(crate) surface: Surface,
    pub(crate) brightness: Vec<f32>,
    /// Landmarks as they show, millimetres at the face; z towards the camera.
    pub(crate) points: Vec<[f32; 3]>,
    pub(crate) material: Material,
}

impl Form {
    /// Shows `person` (alive, or painted on the form) turned by `pose` radians at `distance_mm`; `behind` looks through
    /// holes.
    pub(crate) fn seen(&self, person: &Person, behind: &Person, pose: [f32; 3], distance_mm: f32) -> Seen {
        let heights = |height: &dyn Fn([f32; 2]) -> f32| painted(person, from_heights(height));
        match self {
            Self::Head(depth) => head(person, *depth, pose, distance_mm),
            Self::Sheet(sheet) => painted(person, sheet.surface(&PATCH)),
            Self::Folded(creases) => heights(&|at| creases.iter().map(|crease| crease.height(at)).sum()),
            Self::Egg(radii) => heights(&|at| egg(at, *radii)),
            Self::Bust(radii, nose_mm) => {
                let mut seen = heights(&|at| egg(at, *radii) + nose(at, *nose_mm) - sockets(person, at));
                seen.material = Material::Skin;
                seen
            }
            Self::EyeHoles(sheet, deeper_mm) => eye_holes(person, behind, sheet, *deeper_mm, distance_mm),
            Self::PushedNose(sheet, nose_mm) => pushed_nose(person, sheet, *nose_mm),
        }
    }
}

impl Crease {
    fn height(&self, [x, y]: [f32; 2]) -> f32 {
        let along = x * self.across.cos() + y * self.across.sin() - self.at_mm;
        // Paper bends over some millimetres.
        let soft = (along * along + 4.0).sqrt();
        let (mean, half) = (f32::midpoint(self.slopes[0], self.slopes[1]), (self.slopes[1] - self.slopes[0]) / 2.0);
        mean * along + half * soft
    }
}

fn head(person: &Person, depth: f32, pose: [f32; 3], distance_mm: f32) -> Seen {
    let points: Vec<[f32; 3]> = person.points.iter().map(|&[x, y, z]| turned([x, y, depth * z], pose)).collect();
    let seen: Vec<[f32; 3]> = points
        .iter()
        .map(|&[x, y, z]| {
            let near = distance_mm / (distance_mm - z).max(1.0);
            [x * near, y * near, z]
        })
        .collect();
    let (sin, cos) = pose[2].sin_cos();
    let mut brightness: Vec<f32> = (0..PATCH.width * PATCH.height)
        .map(|pixel| {
            let [x, y] = PATCH.mm(pixel);
            person.skin_at([x * cos + y * sin, y * cos - x * sin])
        })
        .collect();
    let surface = relief(&points, &seen, &PATCH, |pixel, (corners, shares)| {
        let at = [0, 1].map(|k| (0..3).map(|c| shares[c] * person.pictured[corners[c]][k]).sum());
        brightness[pixel] = person.skin_at(at);
    });
    Seen { surface, brightness, points: seen, material: Material::Skin }
}

/// A picture of the person on a surface, as seen from the lens.
fn painted(person: &Person, surface: Surface) -> Seen {
    let brightness = (0..PATCH.width * PATCH.height).map(|pixel| person.skin_at(PATCH.mm(pixel))).collect();
    let points = person
        .pictured
        .iter()
        .map(|&[x, y]| {
            let place = PATCH.px([x, y]).map(|v| v.clamp(0.0, PATCH.width as f32 - 1.0) as usize);
            [x, y, surface[place[1] * PATCH.width + place[0]].height]
        })
        .collect();
    Seen { surface, brightness, points, material: Material::Paper }
}

fn eye_holes(person: &Person, behind: &Person, sheet: &Sheet, deeper_mm: f32, distance_mm: f32) -> Seen {
    let mut seen = painted(person, sheet.surface(&PATCH));
    let own = head(behind, 1.0, [0.0; 3], distance_mm);
    let eyes = [0, 1].map(|eye| {
        let corners = [[33, 133], [362, 263]][eye].map(|i: usize| person.pictured[i]);
        [0, 1].map(|k| f32::midpoint(corners[0][k], corners[1][k]))
    });
    let behind_eyes = [0, 1].map(|eye| five(&behind.points)[eye]);
    for pixel in 0..seen.surface.len() {
        let at = PATCH.mm(pixel);
        for (eye, other) in eyes.iter().zip(&behind_eyes) {
            let (dx, dy) = (at[0] - eye[0], at[1] - eye[1]);
            if (dx / EYE_MM[0]).powi(2) + (dy / EYE_MM[1]).powi(2) < 1.0 {
                let place = PATCH.px([other[0] + dx, other[1] + dy]).map(|v| v.clamp(0.0, 63.0) as usize);
                let deep = &own.surface[place[1] * PATCH.width + place[0]];
                seen.surface[pixel] = Facet { height: deep.height - deeper_mm, normal: deep.normal, near: 1.0 };
                seen.brightness[pixel] = own.brightness[place[1] * PATCH.width + place[0]];
            }
        }
    }
    seen
}

fn pushed_nose(person: &Person, sheet: &Sheet, nose_mm: f32) -> Seen {
    let flat = sheet.surface(&PATCH);
    let height = |at: [f32; 2]| {
        let place = PATCH.px(at).map(|v| v.clamp(0.0, 63.0) as usize);
        flat[place[1] * PATCH.width + place[0]].height + nose(at, nose_mm)
    };
    painted(person, from_heights(&height))
}

/// Half the sides of an eye's hole, millimetres.
const EYE_MM: [f32; 2] = [17.0, 9.0];

/// The middle of a head without features, 0 at the grid's middle.
fn egg([x, y]: [f32; 2], radii: [f32; 2]) -> f32 {
    let inside = (1.0 - (x / (1.35 * radii[0])).powi(2) - (y / (1.35 * radii[1])).powi(2)).max(0.02);
    0.9 * radii[0] * (inside.sqrt() - 1.0)
}

/// A nose: a ridge that rises from the brow to the tip.
fn nose([x, y]: [f32; 2], height_mm: f32) -> f32 {
    let along = ((y + 30.0) / 38.0).clamp(0.0, 1.0);
    let end = 1.0 / (1.0 + ((y - 10.0) / 3.0).exp());
    height_mm * along * end * (-(x / (7.0 + 5.0 * along)).powi(2)).exp()
}

fn sockets(person: &Person, [x, y]: [f32; 2]) -> f32 {
    five(&person.points)[..2]
        .iter()
        .map(|eye| 6.0 * (-((x - eye[0]) / 15.0).powi(2) - ((y - eye[1]) / 9.0).powi(2)).exp())
        .sum()
}

fn from_heights(height: &dyn Fn([f32; 2]) -> f32) -> Surface {
    let raster: &Raster = &PATCH;
    (0..raster.width * raster.height)
        .map(|pixel| {
            let [x, y] = raster.mm(pixel);
            let step = 1.0;
            let slope = [
                (height([x + step, y]) - height([x - step, y])) / (2.0 * step),
                (height([x, y + step]) - height([x, y - step])) / (2.0 * step),
            ];
            Facet { height: height([x, y]), normal: unit([-slope[0], -slope[1], 1.0]), near: 1.0 }
        })
        .collect()
}
