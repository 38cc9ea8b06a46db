//! What the camera sees: a public-domain portrait alive and as a print, under each lamp.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use didar_protocol::light_code::Light;
use didar_tests::people::{ASTRONAUT, portrait};
use didar_tests::scene::{CameraModel, HEIGHT, Kiosk, LampLog, PixelOrder, Presentation, Room, Subject, WIDTH};
use didar_vision::{Models, Perceiver};
use image::RgbImage;
use image::imageops::{FilterType, replace, resize};

/// Side of one picture in the sheet.
const TILE: u32 = 160;

/// Writes one sheet: rows are what is presented, columns Off, Left, Right and Both.
pub(crate) fn write(project: &Path, file: &Path) -> anyhow::Result<()> {
    let mut perceiver = Perceiver::new(&Models::load(&project.join("models/manifest.toml"))?)?;
    let subject = Arc::new(Subject::load(&portrait(project, ASTRONAUT), &mut perceiver)?);
    let mut kiosk = Kiosk::new(subject, Room { ambient: 0.3, ..Room::default() }, CameraModel::default(), 1);
    let rows = [Presentation::Live, Presentation::Print, Presentation::BentPrint(120.0)];
    let columns = [Light::Off, Light::Left, Light::Right, Light::Both];
    let mut sheet = RgbImage::new(TILE * columns.len() as u32, TILE * rows.len() as u32);
    for (row, presentation) in (0u32..).zip(rows) {
        kiosk.present(presentation);
        for (column, light) in (0u32..).zip(columns) {
            let mut lamps = LampLog::default();
            lamps.switched(0, light);
            let mut bytes = Vec::new();
            let recipe = kiosk.expose(1_000_000, &lamps);
            kiosk.render(&recipe, PixelOrder::Rgb, &mut bytes);
            let seen = RgbImage::from_raw(WIDTH as u32, HEIGHT as u32, bytes).context("a whole frame")?;
            let middle = image::imageops::crop_imm(&seen, 140, 60, 360, 360).to_image();
            let small = resize(&middle, TILE, TILE, FilterType::Triangle);
            replace(&mut sheet, &small, i64::from(column * TILE), i64::from(row * TILE));
        }
    }
    std::fs::create_dir_all(file.parent().context("a folder")?)?;
    sheet.save(file).with_context(|| format!("cannot write {}", file.display()))
}
