//! Surfaces before the camera: height, normal and nearness of every pixel of the canvas.

use super::camera::{CANVAS_HEIGHT, CANVAS_WIDTH};
use super::subject::{FACE_AT, MM_PER_PX, Subject};
use super::triangles::TRIANGLES;

/// How a surface is cut into pixels: the canvas of a picture, or the few of the light grid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raster {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) mm_per_px: f32,
    /// Where the middle of the face is, pixels.
    pub(crate) middle: [f32; 2],
}

/// The whole picture with its rim.
pub(crate) const CANVAS: Raster =
    Raster { width: CANVAS_WIDTH, height: CANVAS_HEIGHT, mm_per_px: MM_PER_PX, middle: FACE_AT };

impl Raster {
    /// From the middle of the face to a pixel, millimetres at the face.
    pub(crate) fn mm(&self, pixel: usize) -> [f32; 2] {
        let place = [(pixel % self.width) as f32, (pixel / self.width) as f32];
        std::array::from_fn(|k| (place[k] - self.middle[k]) * self.mm_per_px)
    }

    /// The pixel (in fractions) at a place in millimetres.
    pub(crate) fn px(&self, mm: [f32; 2]) -> [f32; 2] {
        std::array::from_fn(|k| mm[k] / self.mm_per_px + self.middle[k])
    }

    fn facets(&self, facet: impl Fn([f32; 2]) -> Facet) -> Surface {
        (0..self.width * self.height).map(|pixel| facet(self.mm(pixel))).collect()
    }
}

/// One pixel of a surface.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facet {
    /// Millimetres towards the camera, 0 at the middle of the face.
    pub(crate) height: f32,
    /// Unit normal: x right, y down, z towards the camera.
    pub(crate) normal: [f32; 3],
    /// 1 on the surface, 0 on the wall behind.
    pub(crate) near: f32,
}

/// A surface over the whole raster, row by row.
pub(crate) type Surface = Vec<Facet>;

/// How a sheet of paper is held.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sheet {
    /// Slope to the right and downwards, as tangents.
    pub tilt: [f32; 2],
    /// Radius of the bend in millimetres; infinite is flat, negative is hollow.
    pub radius_mm: f32,
    /// Direction across the bend's axis, radians from the horizontal.
    pub across: f32,
}

/// Half the paper's sides, millimetres: A3, so that head and shoulders are life-size.
const HALF_PAPER_MM: [f32; 2] = [148.5, 210.0];
/// Soft rims are so wide, millimetres.
const RIM_MM: f32 = 5.5;

impl Sheet {
    pub(crate) fn surface(&self, raster: &Raster) -> Surface {
        raster.facets(|[mm_x, mm_y]| {
            let (cos, sin) = (self.across.cos(), self.across.sin());
            let s = ((mm_x * cos + mm_y * sin) / self.radius_mm).clamp(-0.95, 0.95);
            let root = (1.0 - s * s).sqrt();
            let bend = if self.radius_mm.is_finite() { self.radius_mm * (root - 1.0) } else { 0.0 };
            let steep = s / root;
            // Height falls by the tilt and by the bend; the normal leans the other way.
            let slope = [-self.tilt[0] - steep * cos, -self.tilt[1] - steep * sin];
            let inside = |v: f32, half: f32| ((half - v.abs()) / RIM_MM).clamp(0.0, 1.0);
            Facet {
                height: bend - self.tilt[0] * mm_x - self.tilt[1] * mm_y,
                normal: unit([-slope[0], -slope[1], 1.0]),
                near: inside(mm_x, HALF_PAPER_MM[0]) * inside(mm_y, HALF_PAPER_MM[1]),
            }
        })
    }
}

/// The living head of a portrait on its canvas.
pub(crate) fn head(subject: &Subject) -> Surface {
    let points: Vec<[f32; 3]> = subject
        .landmarks
        .iter()
        .map(|[x, y, z]| [(x - FACE_AT[0]) * MM_PER_PX, (y - FACE_AT[1]) * MM_PER_PX, -z * MM_PER_PX])
        .collect();
    relief(&points, &points, &CANVAS, |_, _| ())
}

/// A head: the relief of `points` (millimetres from the middle of the face; x right, y down, z towards the camera), which
/// show at `seen` (x and y), and a plain head and shoulders around them. `covered` is told for every pixel of the face
/// the triangle and the shares of its corners.
pub(crate) fn relief(
    points: &[[f32; 3]],
    seen: &[[f32; 3]],
    raster: &Raster,
    mut covered: impl FnMut(usize, ([usize; 3], [f32; 3])),
) -> Surface {
    let body = Body::of(seen);
    let mut surface = raster.facets(|at| body.facet(at));
    soften(&mut surface, raster);
    let base = [33, 263, 61, 291].iter().map(|&i| points[i][2]).sum::<f32>() / 4.0;
    let normals = vertex_normals(points);
    let mut depth = vec![f32::NEG_INFINITY; surface.len()];
    for corners in TRIANGLES {
        let corners = corners.map(usize::from);
        let flat = corners.map(|i| raster.px([seen[i][0], seen[i][1]]));
        each_pixel(flat, raster, |pixel, shares| {
            let mix = |k: usize, of: &[[f32; 3]]| (0..3).map(|c| shares[c] * of[corners[c]][k]).sum::<f32>();
            let height = mix(2, points) - base;
            if height > depth[pixel] {
                depth[pixel] = height;
                let normal = unit([mix(0, &normals), mix(1, &normals), mix(2, &normals)]);
                surface[pixel] = Facet { height, normal, near: 1.0 };
                covered(pixel, (corners, shares));
            }
        });
    }
    surface
}

/// Head and shoulders without a face, millimetres.
struct Body {
    centre: [f32; 2],
    chin: f32,
    height: f32,
}

impl Body {
    fn of(seen: &[[f32; 3]]) -> Self {
        let (top, chin) = (seen[10], seen[152]);
        let height = ((chin[0] - top[0]).powi(2) + (chin[1] - top[1]).powi(2)).sqrt();
        Self { centre: [(top[0] + chin[0]) / 2.0, (top[1] + chin[1]) / 2.0 - 0.12 * height], chin: chin[1], height }
    }

    fn facet(&self, [x, y]: [f32; 2]) -> Facet {
        let (rx, ry) = (0.6 * self.height, 0.76 * self.height);
        let (u, v) = ((x - self.centre[0]) / rx, (y - self.centre[1]) / ry);
        let radius = (u * u + v * v).sqrt();
        let head = ((1.0 - radius) * rx / RIM_MM).clamp(0.0, 1.0);
        let wide = (0.45 + 1.1 * (y - self.chin) / self.height).clamp(0.4, 1.5) * self.height;
        let inside = (wide - (x - self.centre[0]).abs()).min(y - (self.chin - 0.2 * self.height));
        let torso = (inside / RIM_MM).clamp(0.0, 1.0);
        // Deeper and steeper towards the rim of the head, as on an egg; the chest leans back a little.
        let lean = radius.min(0.9);
        let egg = unit([1.2 * u * lean, 0.9 * v * lean, 1.0]);
        let chest = unit([0.2 * (x - self.centre[0]) / self.height, -0.25, 1.0]);
        let share = head;
        Facet {
            height: share * (20.0 - 90.0 * radius.min(1.0).powi(2)) + (1.0 - share) * -60.0,
            normal: unit(std::array::from_fn(|k| share * egg[k] + (1.0 - share) * chest[k])),
            near: head.max(torso),
        }
    }
}

/// Rounds what is not the face: running means of normals and heights along rows, then along columns.
fn soften(surface: &mut Surface, raster: &Raster) {
    let reach = (SOFT_MM / raster.mm_per_px).round() as usize;
    let (width, height) = (raster.width, raster.height);
    for (step, count, other, others) in [(1, width, width, height), (width, height, 1, width)] {
        for line in 0..others {
            let old: Vec<Facet> = (0..count).map(|i| surface[line * other + i * step]).collect();
            for i in 0..count {
                let window = &old[i.saturating_sub(reach)..(i + reach + 1).min(count)];
                let sum = |of: &dyn Fn(&Facet) -> f32| window.iter().map(of).sum::<f32>() / window.len() as f32;
                let facet = &mut surface[line * other + i * step];
                facet.normal = unit(std::array::from_fn(|k| sum(&|facet| facet.normal[k])));
                facet.height = sum(&|facet| facet.height);
            }
        }
    }
}

/// How far the softening reaches, millimetres.
const SOFT_MM: f32 = 4.1;

/// Normals of the vertices: those of their triangles by area, towards the camera.
fn vertex_normals(points: &[[f32; 3]]) -> Vec<[f32; 3]> {
    let mut sums = vec![[0.0; 3]; points.len()];
    for corners in TRIANGLES {
        let [a, b, c] = corners.map(|i| points[usize::from(i)]);
        let (u, v) = ([b[0] - a[0], b[1] - a[1], b[2] - a[2]], [c[0] - a[0], c[1] - a[1], c[2] - a[2]]);
        let mut n = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
        if n[2] < 0.0 {
            n = n.map(|v| -v);
        }
        for corner in corners {
            let sum: &mut [f32; 3] = &mut sums[usize::from(corner)];
            (0..3).for_each(|k| sum[k] += n[k]);
        }
    }
    sums.into_iter().map(unit).collect()
}

/// Calls `paint` with every pixel inside the triangle, and the corners' shares there.
fn each_pixel(corners: [[f32; 2]; 3], raster: &Raster, mut paint: impl FnMut(usize, [f32; 3])) {
    let [a, b, c] = corners;
    let area = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1]);
    if area.abs() < 1e-6 {
        return;
    }
    let range = |k: usize, limit: usize| {
        let low = a[k].min(b[k]).min(c[k]).floor().max(0.0) as usize;
        let high = a[k].max(b[k]).max(c[k]).ceil().max(0.0) as usize;
        low..=high.min(limit - 1)
    };
    for y in range(1, raster.height) {
        for x in range(0, raster.width) {
            let (px, py) = (x as f32 - a[0], y as f32 - a[1]);
            let s = (px * (c[1] - a[1]) - (c[0] - a[0]) * py) / area;
            let t = ((b[0] - a[0]) * py - px * (b[1] - a[1])) / area;
            if s >= 0.0 && t >= 0.0 && s + t <= 1.0 {
                paint(y * raster.width + x, [1.0 - s - t, s, t]);
            }
        }
    }
}

pub(crate) fn unit(v: [f32; 3]) -> [f32; 3] {
    let length = (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt().max(1e-6);
    v.map(|part| part / length)
}
