//! The world of cells against the world of pixels: the same face, lamps and camera in both, and the lamps' response of each
//! cell as the judge gets it. So the figures of the many cheap attempts speak of the few that are rendered and seen.

use std::path::Path;
use std::sync::Arc;

use didar_liveness::Recording;
use didar_protocol::light_code::{CodeShape, Light};
use didar_protocol::transcript::{CELLS, GRID};
use didar_vision::{Models, Perceiver};

use crate::crowd::{Conditions, Person, Profile, Species, present};
use crate::people::{ASTRONAUT, HOPPER, portrait};
use crate::scene::trial::{attempt, code};
use crate::scene::{CameraModel, Kiosk, Room, Subject};

/// Linear light that each lamp adds to each cell.
fn responses(recording: &Recording) -> [[f64; CELLS]; 2] {
    let transcript = &recording.transcript;
    let gamma = f64::from(transcript.camera.gamma_milli) / 1000.0;
    let mean = |light: Light, cell: usize| {
        let shown = transcript.frames.iter().filter(|f| transcript.code[usize::from(f.slot)] == light);
        let values: Vec<f64> = shown.map(|f| (f64::from(f.means[cell]) / 256.0 / 255.0).powf(gamma)).collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    [Light::Left, Light::Right].map(|light| std::array::from_fn(|cell| mean(light, cell) - mean(Light::Off, cell)))
}

/// Cells of the face: what surrounds it is not the same in both worlds.
fn on_the_face(cell: usize) -> bool {
    let from_middle = |place: usize| (place as f64 + 0.5) / GRID as f64 * 2.0 - 1.0;
    from_middle(cell % GRID).hypot(from_middle(cell / GRID)) < 0.75
}

fn correlation(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
    let pairs: Vec<(f64, f64)> = pairs.collect();
    let n = pairs.len() as f64;
    let (a, b) = pairs.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x / n, b + y / n));
    let sum = |of: &dyn Fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>();
    sum(&|(x, y)| (x - a) * (y - b)) / (sum(&|(x, _)| (x - a).powi(2)) * sum(&|(_, y)| (y - b).powi(2))).sqrt()
}

#[test]
fn the_lamps_light_the_cells_of_both_worlds_alike() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut perceiver = Perceiver::new(&Models::load(&project.join("models/manifest.toml")).unwrap()).unwrap();
    for name in [ASTRONAUT, HOPPER] {
        let subject = Arc::new(Subject::load(&portrait(&project, name), &mut perceiver).unwrap());
        let room = Room { ambient: 0.3, ..Room::default() };
        let mut kiosk = Kiosk::new(Arc::clone(&subject), room, CameraModel::default(), 3);
        let rendered = attempt(&mut kiosk, &mut perceiver, CodeShape::AT_30, 90_000).unwrap().unwrap();

        let person = vec![Arc::new(Person::of(&subject))];
        let (mut capture, _) = present(Species::Live, &person, Profile::Fps30, [0.1, 0.1], 90_000);
        capture.conditions = Conditions { pose_deg: subject.pose, ..Conditions::plain(Profile::Fps30) };
        let drawn = capture.play(&code(90_000, CodeShape::AT_30));

        let [pixels, cells] = [responses(&rendered), responses(&drawn)];
        let face = || (0..CELLS).filter(|cell| on_the_face(*cell));
        let ratio = |lit: &[[f64; CELLS]; 2], cell: usize| (lit[0][cell].max(1e-4) / lit[1][cell].max(1e-4)).ln() / 2.0;
        let lamps = [0, 1].map(|lamp| correlation(face().map(|cell| (pixels[lamp][cell], cells[lamp][cell]))));
        let relief = correlation(face().map(|cell| (ratio(&pixels, cell), ratio(&cells, cell))));
        println!("{name}: left lamp {:.3}, right lamp {:.3}, left against right {relief:.3}", lamps[0], lamps[1]);
        assert!(lamps[0] > 0.8 && lamps[1] > 0.8 && relief > 0.8, "{name}: {lamps:?}, {relief}");
    }
}
