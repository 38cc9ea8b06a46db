//! References: what a person's live face is compared with, and how a picture becomes one.
//!
//! [`Portraits`] is the edge to the vision code; [`VisionPortraits`] is the real one, tests script theirs.

use didar_protocol::id::{Hash, sha256};
use didar_protocol::message::{ModelRef, ModelRole, Template};
use didar_vision::{
    Face, FrameView, Models, Perceiver, Picture, PictureError, Portrait, ReferenceFace, Role, VisionError,
};
use zeroize::Zeroizing;

use crate::config::{Config, PictureConfig};

/// Longest picture of a reference, bytes: the same as of a live picture.
const PORTRAIT_BYTES: usize = didar_protocol::message::Picture::BYTES_MAX;

/// What is kept of a person's face: a template, the picture that it comes from, and the model that made it.
pub struct Reference {
    /// The template, in the form that also travels.
    pub template: Template,
    /// The picture, JPEG or PNG.
    pub picture: Zeroizing<Vec<u8>>,
    /// The model: only templates of one model can be compared.
    pub model: Hash,
}

/// Where a reference comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Source {
    /// The photograph of an identity document, for the primary comparison.
    Document = 0,
    /// A live face that matched the document.
    Live = 1,
}

/// The edge to the vision code.
pub trait Portraits: Send {
    /// Reduces a picture of one face to a template; a live picture and a document's have limits of their own.
    ///
    /// # Errors
    /// When the picture is none, or not fit to be a reference.
    fn reduce(&mut self, picture: &[u8], source: Source) -> Result<Template, PictureRefusal>;

    /// Cosine between two templates, -1 to 1; `None` where one of them is no template.
    fn similarity(&self, a: &Template, b: &Template) -> Option<f32>;

    /// The embedding model in use.
    fn model(&self) -> Hash;

    /// Whether a device with these models speaks of the same things as the centre.
    fn knows(&self, models: &[ModelRef]) -> bool;
}

/// Why a picture cannot be a reference.
#[derive(Debug, thiserror::Error)]
pub enum PictureRefusal {
    /// Not a picture, or not of a size that can be used.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// Nobody in it.
    #[error("no face found: the face must look at the camera and be at least {least} pixels between the eyes")]
    NoFace {
        /// Least distance between the eyes, pixels.
        least: f32,
    },
    /// More than one person.
    #[error("{found} faces found: a reference shows one person alone")]
    SeveralFaces {
        /// How many.
        found: usize,
    },
    /// Too few pixels.
    #[error("{found:.0} pixels between the eyes: at least {least:.0} are needed; send a larger picture")]
    TooSmall {
        /// Pixels found.
        found: f32,
        /// Least distance between the eyes, pixels.
        least: f32,
    },
    /// Looks away.
    #[error("the face is turned {found:.0} degrees: at most {most:.0} are accepted")]
    Turned {
        /// Largest angle found, degrees.
        found: f32,
        /// Most degrees.
        most: f32,
    },
    /// Out of focus.
    #[error("sharpness {found} of 100: at least {least} is needed")]
    Blurred {
        /// Sharpness found.
        found: u8,
        /// Least sharpness.
        least: u8,
    },
    /// Too dark or too bright.
    #[error("exposure {found} of 100: at least {least} is needed; the face is too dark or too bright")]
    Exposure {
        /// Exposure found.
        found: u8,
        /// Least exposure.
        least: u8,
    },
    /// The vision code failed.
    #[error("the picture could not be examined")]
    Vision(#[from] VisionError),
}

/// Why the vision code could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    /// Models are missing or damaged.
    #[error(transparent)]
    Models(#[from] didar_vision::ModelError),
    /// The manifest names no such threshold.
    #[error(
        "the models' manifest names no threshold {name} for the embedding; set comparison.false_match_exponent to one that it names"
    )]
    Threshold {
        /// Its name.
        name: String,
    },
}

/// The real vision code.
pub struct VisionPortraits {
    perceiver: Perceiver,
    document: PictureConfig,
    live: PictureConfig,
    model: Hash,
    judged: Vec<Hash>,
    threshold: f32,
}

impl VisionPortraits {
    /// Loads the models that the configuration names.
    ///
    /// # Errors
    /// When a model is missing or damaged, or the manifest names no threshold for the wanted rate.
    pub fn load(config: &Config) -> Result<Self, ModelsError> {
        let models = Models::load(&config.models)?;
        let name = format!("cosine_far_1e-{}", config.comparison.false_match_exponent);
        let threshold = models.threshold(Role::Embedding, &name).ok_or(ModelsError::Threshold { name })?;
        let of = |wanted: Role| {
            models.references().into_iter().filter(move |(role, _)| *role == wanted).map(|(_, hash)| hash)
        };
        let embedding: Vec<Hash> = of(Role::Embedding).collect();
        let judged = embedding.iter().copied().chain(of(Role::Passive)).collect();
        let (document, live) = (config.document, config.live);
        Ok(Self { perceiver: Perceiver::new(&models)?, document, live, model: together(&embedding), judged, threshold })
    }

    /// Makes a reference of a document's picture. Of the picture only the face with its surroundings is kept.
    ///
    /// # Errors
    /// As [`Portraits::reduce`].
    pub fn document(&mut self, picture: &[u8]) -> Result<Reference, PictureRefusal> {
        let (template, portrait) = self.examine(picture, self.document)?;
        let picture = Zeroizing::new(portrait.to_jpeg(PORTRAIT_BYTES)?);
        Ok(Reference { template, picture, model: self.model })
    }

    fn examine(&mut self, picture: &[u8], limits: PictureConfig) -> Result<(Template, Portrait), PictureRefusal> {
        let picture = Picture::decode(picture)?;
        let frame = picture.view();
        self.perceiver.reset();
        let sight = self.perceiver.look(&frame)?;
        self.perceiver.reset();
        if sight.faces > 1 {
            return Err(PictureRefusal::SeveralFaces { found: sight.faces });
        }
        let face = sight.face.ok_or(PictureRefusal::NoFace { least: limits.interocular_px })?;
        check(&frame, &face, limits)?;
        let aligned = ReferenceFace::from_document(didar_vision::align(&frame, &face));
        let (scale, values) = self.perceiver.embed_reference(aligned)?.quantised();
        Ok((Template::new(scale, values), didar_vision::portrait(&frame, &face)))
    }

    /// The cosine from which two faces are one person's.
    pub fn threshold(&self) -> f32 {
        self.threshold
    }
}

impl Portraits for VisionPortraits {
    fn reduce(&mut self, picture: &[u8], source: Source) -> Result<Template, PictureRefusal> {
        let limits = match source {
            Source::Document => self.document,
            Source::Live => self.live,
        };
        self.examine(picture, limits).map(|(template, _)| template)
    }

    fn similarity(&self, a: &Template, b: &Template) -> Option<f32> {
        let numbers =
            |template: &Template| didar_vision::Template::from_quantised(template.scale(), template.values()).ok();
        Some(numbers(a)?.similarity(&numbers(b)?))
    }

    fn model(&self) -> Hash {
        self.model
    }

    fn knows(&self, models: &[ModelRef]) -> bool {
        let given: Vec<Hash> = models
            .iter()
            .filter(|model| matches!(model.role, ModelRole::Embedding | ModelRole::Passive))
            .map(|model| model.sha256)
            .collect();
        given.len() == self.judged.len() && self.judged.iter().all(|hash| given.contains(hash))
    }
}

fn check(frame: &FrameView<'_>, face: &Face, limits: PictureConfig) -> Result<(), PictureRefusal> {
    if face.interocular_px < limits.interocular_px {
        return Err(PictureRefusal::TooSmall { found: face.interocular_px, least: limits.interocular_px });
    }
    let pose = [face.pose.yaw, face.pose.pitch, face.pose.roll];
    let turned = pose.into_iter().map(f32::abs).fold(0.0, f32::max);
    if turned > limits.pose_deg {
        return Err(PictureRefusal::Turned { found: turned, most: limits.pose_deg });
    }
    let quality = didar_vision::quality(frame, face);
    if quality.sharpness < limits.sharpness {
        return Err(PictureRefusal::Blurred { found: quality.sharpness, least: limits.sharpness });
    }
    if quality.exposure < limits.exposure {
        return Err(PictureRefusal::Exposure { found: quality.exposure, least: limits.exposure });
    }
    Ok(())
}

/// One name for the models that make one template together.
fn together(models: &[Hash]) -> Hash {
    match models {
        [one] => *one,
        several => sha256(&several.concat()),
    }
}
