//! The light of the room and of both lamps on every pixel of the raster, once per attempt.

use crate::scene::lamps::{Material, albedo, light, place};
use crate::scene::random::Random;
use crate::scene::surface::unit;

use super::cells::{PATCH, Texel};
use super::conditions::Conditions;
use super::forms::Seen;
use super::person::five;

/// Light on every pixel, with what glasses and closed lids do to it. The brightest tenth of the middle of the face has the
/// conditions' ambient or more.
pub(super) fn lit(conditions: &Conditions, seen: &Seen, screen: bool, random: &mut Random) -> Vec<Texel> {
    let distance = conditions.distance_mm;
    let sun = unit([random.between(-0.8, 0.8), random.between(-0.8, 0.3), 1.0]);
    let lamps = lamp_places(conditions);
    let power = conditions.lamp_light();
    let [ax, ay] = conditions.aside_mm;
    let mut map: Vec<Texel> = (0..PATCH.width * PATCH.height)
        .map(|pixel| {
            let (facet, own) = (&seen.surface[pixel], albedo(seen.brightness[pixel]));
            let [x, y, z] = place(PATCH.mm(pixel), facet.height, distance);
            let n = facet.normal;
            let toward = (n[0] * sun[0] + n[1] * sun[1] + n[2] * sun[2]).max(0.0);
            let at = [x + ax, y + ay, z];
            let shine = |side: usize| {
                conditions.strength[side]
                    * power
                    * own
                    * light(facet, at, lamps[side], seen.material)
                    * shade(seen, pixel, at, lamps[side])
            };
            [own * (0.5 + 0.5 * toward), shine(0), shine(1), 1.0]
        })
        .collect();
    let mut middle: Vec<f32> = (0..map.len()).filter(|&i| is_middle(i)).map(|i| map[i][0]).collect();
    middle.sort_by(f32::total_cmp);
    // A screen shines as bright as the room lets its picture look.
    let level = if screen { conditions.ambient.max(0.15) } else { conditions.ambient };
    let scale = level / middle[middle.len() * 9 / 10].max(1e-6);
    map.iter_mut().for_each(|texel| texel[0] *= scale);
    lids(&mut map, seen);
    if conditions.glasses {
        glasses(&mut map, seen, random);
    }
    map
}

fn lamp_places(conditions: &Conditions) -> [[f32; 3]; 2] {
    [-conditions.baseline_mm, conditions.baseline_mm].map(|x| [x, 0.0, conditions.distance_mm])
}

fn is_middle(pixel: usize) -> bool {
    PATCH.mm(pixel).iter().all(|mm| mm.abs() < 40.0)
}

/// What of a lamp's light passes the nose: 1 is all.
fn shade(seen: &Seen, pixel: usize, at: [f32; 3], lamp: [f32; 3]) -> f32 {
    let own = seen.surface[pixel].height;
    let [column, row] = [pixel % PATCH.width, pixel / PATCH.width];
    let to = [lamp[0] - at[0], lamp[1] - at[1], lamp[2] - at[2]];
    let mut left: f32 = 1.0;
    for step in 1..=4 {
        let mm = step as f32 * PATCH.mm_per_px;
        let across = to[0].hypot(to[1]).max(1.0);
        let (dx, dy) = (to[0] / across * step as f32, to[1] / across * step as f32);
        let (x, y) = (column as f32 + dx, row as f32 + dy);
        if !(0.0..PATCH.width as f32 - 1.0).contains(&x) || !(0.0..PATCH.height as f32 - 1.0).contains(&y) {
            break;
        }
        let there = seen.surface[y.round() as usize * PATCH.width + x.round() as usize].height;
        let ray = own + mm * to[2] / across;
        // Half a lamp's width makes soft rims.
        left = left.min(((ray - there) / 3.0 + 0.5).clamp(0.0, 1.0));
    }
    left
}

/// A closed lid shows skin where the eye was.
fn lids(map: &mut [Texel], seen: &Seen) {
    let skin = albedo(seen.brightness[PATCH.width * (PATCH.height / 2 + 6) + PATCH.width / 2 - 10]);
    for eye in &five(&seen.points)[..2] {
        for (pixel, texel) in map.iter_mut().enumerate() {
            let at = PATCH.mm(pixel);
            if ((at[0] - eye[0]) / 15.0).powi(2) + ((at[1] - eye[1]) / 6.0).powi(2) < 1.0 {
                texel[3] = (skin / albedo(seen.brightness[pixel])).clamp(0.3, 3.0);
            }
        }
    }
}

/// Dark frames, and in each glass a spot that each lamp makes.
fn glasses(map: &mut [Texel], seen: &Seen, random: &mut Random) {
    let strength = random.between(0.3, 3.0);
    let lean = [random.between(-8.0, 8.0), random.between(-8.0, 8.0)];
    let size = random.between(2.0, 4.5);
    for eye in &five(&seen.points)[..2] {
        for (pixel, texel) in map.iter_mut().enumerate() {
            let at = PATCH.mm(pixel);
            let (dx, dy) = (at[0] - eye[0], at[1] - eye[1]);
            let ring = (dx / 25.0).hypot(dy / 19.0);
            if (0.88..1.08).contains(&ring) {
                (0..3).for_each(|k| texel[k] *= 0.25);
            } else if ring < 0.88 {
                (0..3).for_each(|k| texel[k] *= 0.85);
                for (side, from) in [(1, -7.0), (2, 7.0)] {
                    let apart = (dx - lean[0] - from).hypot(dy - lean[1]) / size;
                    texel[side] += strength * (-apart * apart).exp();
                }
            }
        }
    }
}

/// The screen's glass: nearly black, mirroring.
pub(super) fn glass(conditions: &Conditions, seen: &Seen, random: &mut Random) -> Vec<Texel> {
    let tilt = [random.between(-0.25, 0.25), random.between(-0.25, 0.25)];
    let normal = unit([tilt[0], tilt[1], 1.0]);
    let dark = random.between(0.01, 0.05);
    let lamps = lamp_places(conditions);
    let [ax, ay] = conditions.aside_mm;
    (0..PATCH.width * PATCH.height)
        .map(|pixel| {
            let mut facet = seen.surface[pixel];
            (facet.height, facet.normal) = (0.0, normal);
            let [x, y, z] = place(PATCH.mm(pixel), 0.0, conditions.distance_mm);
            let shine = |side: usize| {
                let at = [x + ax, y + ay, z];
                conditions.strength[side]
                    * conditions.lamp_light()
                    * dark
                    * light(&facet, at, lamps[side], Material::Glass)
            };
            [0.0, shine(0), shine(1), 1.0]
        })
        .collect()
}
