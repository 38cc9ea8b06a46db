//! A person from a portrait: the picture on the scene's canvas, and the face's mesh in it.

use std::path::{Path, PathBuf};

use didar_vision::{FrameError, FrameView, LANDMARKS, Perceiver, PixelFormat, VisionError};
use image::imageops::{FilterType, resize};

use super::camera::{CANVAS_HEIGHT, CANVAS_WIDTH};

/// Who stands before the kiosk.
///
/// The canvas is somewhat larger than a frame, so that sway never shows its rim. The face has `EYES_PX` between the
/// eyes, which are `EYES_MM` apart.
#[derive(Clone)]
pub struct Subject {
    /// Linear light of the portrait on the canvas, row by row; 1 is white.
    pub(crate) colour: Vec<[f32; 3]>,
    /// Landmarks on the canvas: x and y in pixels, z away from the camera in the same unit.
    pub(crate) landmarks: Vec<[f32; 3]>,
    /// Yaw, pitch and roll of the portrait, degrees.
    pub(crate) pose: [f32; 3],
}

/// Why a picture makes no subject.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// The file cannot be read.
    #[error("cannot read the portrait {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Not a picture.
    #[error("{path} is not a picture that can be decoded: {cause}")]
    Decode {
        /// Which file.
        path: PathBuf,
        /// The decoder's words.
        cause: image::ImageError,
    },
    /// The sides are too short or too long.
    #[error("{path} cannot be looked at: {cause}")]
    Frame {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: FrameError,
    },
    /// Nobody is in it.
    #[error("no face is found in {path}; give a portrait that shows head and shoulders")]
    NoFace {
        /// Which file.
        path: PathBuf,
    },
    /// A network failed.
    #[error("cannot look at the portrait")]
    Vision(#[from] VisionError),
}

/// Distance between the eyes on the canvas, pixels.
pub(crate) const EYES_PX: f32 = 92.0;
/// Distance between the eyes, millimetres.
pub(crate) const EYES_MM: f32 = 63.0;
/// Millimetres per pixel at the face.
pub(crate) const MM_PER_PX: f32 = EYES_MM / EYES_PX;
/// Gamma of the portrait and of the camera.
pub(crate) const GAMMA: f32 = 2.2;
/// Where the middle of eyes and mouth stands on the canvas.
pub(crate) const FACE_AT: [f32; 2] = [CANVAS_WIDTH as f32 / 2.0, CANVAS_HEIGHT as f32 * 0.5];

impl Subject {
    /// Loads a portrait; its face is found by the product's own vision.
    ///
    /// # Errors
    /// [`SubjectError`] names the file and what is wrong with it.
    pub fn load(path: &Path, perceiver: &mut Perceiver) -> Result<Self, SubjectError> {
        let bytes = std::fs::read(path).map_err(|cause| SubjectError::Read { path: path.to_owned(), cause })?;
        let picture = image::load_from_memory(&bytes)
            .map_err(|cause| SubjectError::Decode { path: path.to_owned(), cause })?
            .into_rgb8();
        let (width, height) = picture.dimensions();
        let view = FrameView::new(PixelFormat::Rgb8, width, height, width as usize * 3, picture.as_raw())
            .map_err(|cause| SubjectError::Frame { path: path.to_owned(), cause })?;
        perceiver.reset();
        let sight = perceiver.look(&view)?;
        perceiver.reset();
        let face = sight.face.ok_or_else(|| SubjectError::NoFace { path: path.to_owned() })?;
        let scale = EYES_PX / face.interocular_px.max(1.0);
        let [a, b, _, c, d] = face.five;
        let middle = [(a[0] + b[0] + c[0] + d[0]) / 4.0, (a[1] + b[1] + c[1] + d[1]) / 4.0];
        let to = |p: [f32; 2]| [(p[0] - middle[0]) * scale + FACE_AT[0], (p[1] - middle[1]) * scale + FACE_AT[1]];
        let landmarks = (0..LANDMARKS)
            .map(|i| {
                let [x, y, z] = face.landmarks[i];
                let [x, y] = to([x, y]);
                [x, y, z * scale]
            })
            .collect();
        let scaled = resize(
            &picture,
            ((width as f32 * scale) as u32).max(1),
            ((height as f32 * scale) as u32).max(1),
            FilterType::CatmullRom,
        );
        let pose = [face.pose.yaw, face.pose.pitch, face.pose.roll];
        Ok(Self { colour: canvas(&scaled, to([0.0, 0.0])), landmarks, pose })
    }

    /// Whether the portrait is turned so little (20 degrees) that it shows both halves of the face.
    pub fn looks_ahead(&self) -> bool {
        self.pose[..2].iter().all(|degrees| degrees.abs() <= 20.0)
    }
}

#[cfg(test)]
impl Subject {
    /// Somebody without features: middle grey, all landmarks on one plane.
    pub(crate) fn plain() -> Self {
        let landmarks = (0..LANDMARKS as u16)
            .map(|i| [FACE_AT[0] + f32::from(i % 22) * 8.0 - 88.0, FACE_AT[1] + f32::from(i / 22) * 8.0 - 88.0, 0.0]);
        Self { colour: vec![[0.2; 3]; CANVAS_WIDTH * CANVAS_HEIGHT], landmarks: landmarks.collect(), pose: [0.0; 3] }
    }
}

/// The picture on the canvas with its upper left corner at `corner`; around it, its own rim goes on, mirrored.
fn canvas(picture: &image::RgbImage, corner: [f32; 2]) -> Vec<[f32; 3]> {
    let (width, height) = picture.dimensions();
    let mut colour = Vec::with_capacity(CANVAS_WIDTH * CANVAS_HEIGHT);
    for y in 0..CANVAS_HEIGHT {
        let row = mirrored(y as f32 - corner[1], height);
        for x in 0..CANVAS_WIDTH {
            let column = mirrored(x as f32 - corner[0], width);
            let pixel = picture.get_pixel(column, row).0;
            colour.push(pixel.map(|code| (f32::from(code) / 255.0).powf(GAMMA)));
        }
    }
    colour
}

fn mirrored(place: f32, length: u32) -> u32 {
    let length = i64::from(length.max(1));
    let place = (place.round() as i64).rem_euclid(2 * length);
    u32::try_from(if place < length { place } else { 2 * length - 1 - place }).unwrap_or(0)
}
