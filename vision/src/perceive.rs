//! The one who looks: detection, tracking, and the networks that judge and reduce a face.

use crate::align::AlignedFace;
use crate::detect::{Detection, Detector, main_face};
use crate::embed::{Embedder, LiveFace, Mark, ReferenceFace, Template};
use crate::frame::FrameView;
use crate::manifest::Role;
use crate::mesh::{Face, Mesh, Rect, Region};
use crate::model::{ModelError, Models};
use crate::passive::{Passive, PassiveCrop, PassiveScore};
use crate::tflite::EngineError;

/// While a face is followed, faces are counted anew once in so many frames: a second person is seen within half a
/// second at 30 frames a second, for a fifteenth of the detector's cost.
const RECOUNT_EVERY: u32 = 15;

/// All networks, and the memory of where the face was in the last frame. One per camera; it may move between threads.
pub struct Perceiver {
    detector: Detector,
    mesh: Mesh,
    passive: Passive,
    embedder: Embedder,
    followed: Option<Followed>,
    tracks: u64,
}

/// A face that is followed from frame to frame.
struct Followed {
    region: Region,
    track: u64,
    faces: usize,
    age: u32,
}

/// What is to be seen in a frame.
#[derive(Clone, Debug)]
pub struct Sight {
    /// How many faces are in the frame, as far as known: counted when a face is looked for and every 15th frame.
    pub faces: usize,
    /// The followed face, or the largest and most central one.
    pub face: Option<Face>,
}

/// A network failed at run time; nothing that a frame holds can cause it.
#[derive(Debug, thiserror::Error)]
#[error("the {role:?} network fails to run")]
pub struct VisionError {
    /// Which one.
    pub role: Role,
}

fn failed(role: Role) -> impl FnOnce(EngineError) -> VisionError {
    move |_| VisionError { role }
}

impl Perceiver {
    /// Makes the networks ready; takes some tens of milliseconds.
    ///
    /// # Errors
    /// [`ModelError`] where a model does not fit its entry in the manifest.
    pub fn new(models: &Models) -> Result<Perceiver, ModelError> {
        Ok(Perceiver {
            detector: Detector::new(&models.detector)?,
            mesh: Mesh::new(&models.mesh)?,
            passive: Passive::new(&models.passive)?,
            embedder: Embedder::new(&models.embeddings)?,
            followed: None,
            tracks: 0,
        })
    }

    /// Finds the face in the next frame of a sequence: where it was, or else anywhere. Allocates nothing.
    ///
    /// # Errors
    /// [`VisionError`] where a network fails to run.
    pub fn look(&mut self, frame: &FrameView<'_>) -> Result<Sight, VisionError> {
        let due = self.followed.as_ref().is_some_and(|f| f.age >= RECOUNT_EVERY);
        if due {
            self.recount(frame)?;
        }
        if let Some(followed) = &mut self.followed {
            followed.age += 1;
            let found = self
                .mesh
                .find(frame, &followed.region, None, followed.track)
                .map_err(failed(Role::Mesh))?
                .map(|face| (Region::of_face(&face), face))
                .filter(|(region, _)| region.meets(&followed.region));
            if let Some((region, face)) = found {
                followed.region = region;
                return Ok(Sight { faces: followed.faces, face: Some(face) });
            }
            self.followed = None;
        }
        self.search(frame)
    }

    /// Forgets the followed face: the next frame is searched from scratch. For pictures that are no sequence.
    pub fn reset(&mut self) {
        self.followed = None;
    }

    /// Counts the faces; a followed face that the detector no longer sees is let go.
    fn recount(&mut self, frame: &FrameView<'_>) -> Result<(), VisionError> {
        let detections = self.detector.detect(frame).map_err(failed(Role::Detector))?;
        let seen = |f: &Followed| detections.iter().any(|d| Region::of_detection(d).meets(&f.region));
        self.followed = self.followed.take().filter(seen).map(|f| Followed { faces: detections.len(), age: 0, ..f });
        Ok(())
    }

    fn search(&mut self, frame: &FrameView<'_>) -> Result<Sight, VisionError> {
        let detections = self.detector.detect(frame).map_err(failed(Role::Detector))?;
        let faces = detections.len();
        let Some(chosen) = main_face(detections, frame) else {
            return Ok(Sight { faces, face: None });
        };
        self.tracks += 1;
        let face = find(&mut self.mesh, frame, &chosen, self.tracks)?;
        self.followed =
            face.as_ref().map(|face| Followed { region: Region::of_face(face), track: self.tracks, faces, age: 0 });
        Ok(Sight { faces, face })
    }

    /// Judges whether the face in the crop looks alive.
    ///
    /// # Errors
    /// [`VisionError`] where the network fails to run.
    pub fn passive(&mut self, crop: &PassiveCrop) -> Result<PassiveScore, VisionError> {
        self.passive.judge(crop).map_err(failed(Role::Passive))
    }

    /// Remembers what a face looks like, to see whether it stays the same. No template can be made of it.
    ///
    /// # Errors
    /// [`VisionError`] where the network fails to run.
    pub fn mark(&mut self, face: &AlignedFace) -> Result<Mark, VisionError> {
        self.embedder.mark(face).map_err(failed(Role::Embedding))
    }

    /// Reduces a face that was proved alive to its template.
    ///
    /// # Errors
    /// [`VisionError`] where the network fails to run.
    pub fn embed(&mut self, face: LiveFace) -> Result<Template, VisionError> {
        self.embedder.live(&face).map_err(failed(Role::Embedding))
    }

    /// Reduces the face of a document's picture to its template.
    ///
    /// # Errors
    /// [`VisionError`] where the network fails to run.
    pub fn embed_reference(&mut self, face: ReferenceFace) -> Result<Template, VisionError> {
        self.embedder.reference(&face).map_err(failed(Role::Embedding))
    }
}

fn find(mesh: &mut Mesh, frame: &FrameView<'_>, chosen: &Detection, track: u64) -> Result<Option<Face>, VisionError> {
    let bounding = Rect::around(chosen.centre, chosen.size);
    mesh.find(frame, &Region::of_detection(chosen), Some(bounding), track).map_err(failed(Role::Mesh))
}
