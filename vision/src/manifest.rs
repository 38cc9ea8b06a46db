//! The models' manifest: which files, what they expect and what their numbers mean.

use std::path::Path;

use serde::Deserialize;

use crate::model::ModelError;

/// The version of the manifest's layout that this code reads.
const SCHEMA: u32 = 1;

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Finds faces in a frame.
    Detector,
    /// Finds landmarks on a face.
    Mesh,
    /// Judges whether a face looks alive.
    Passive,
    /// Reduces an aligned face to a template.
    Embedding,
}

/// The manifest as far as this crate reads it; sources, licences and the runtime are for the pipeline and for people.
#[derive(Debug, Deserialize)]
pub(crate) struct Manifest {
    schema: u32,
    #[serde(rename = "model")]
    pub(crate) models: Vec<Entry>,
    #[serde(rename = "candidate", default)]
    pub(crate) candidates: Vec<Entry>,
    #[serde(rename = "pair", default)]
    pub(crate) pairs: Vec<Pair>,
}

/// One model file.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Entry {
    pub(crate) role: Role,
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) sha256: String,
    pub(crate) input: Input,
    pub(crate) outputs: Vec<Output>,
    #[serde(default)]
    thresholds: Vec<Threshold>,
    /// Of the passive model: from its numbers to evidence.
    pub(crate) llr: Option<Evidence>,
}

/// Two embeddings that are compared together.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) members: Vec<String>,
}

/// The only input of a model: a picture.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Input {
    pub(crate) index: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) order: Order,
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    pub(crate) mean: [f32; 3],
    pub(crate) std: [f32; 3],
}

/// Order of the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    Rgb,
    Bgr,
}

/// Type of a tensor's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Float32,
    Int8,
}

/// One output of a model.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Output {
    pub(crate) index: usize,
    pub(crate) shape: Vec<usize>,
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    #[serde(flatten)]
    pub(crate) meaning: Meaning,
}

/// What the numbers of an output are.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "meaning", rename_all = "kebab-case")]
pub(crate) enum Meaning {
    Scores { grid: usize, anchors: usize, range: f32 },
    Points { grid: usize, anchors: usize, range: f32 },
    Landmarks,
    Presence,
    Classes { live: usize },
    Embedding,
}

#[derive(Clone, Debug, Deserialize)]
struct Threshold {
    name: String,
    value: f32,
}

/// From the live logit's margin to a log-likelihood ratio: `slope * margin + offset`, kept within `low` and `high`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Evidence {
    pub(crate) slope: f32,
    pub(crate) offset: f32,
    pub(crate) low: f32,
    pub(crate) high: f32,
}

impl Manifest {
    pub(crate) fn read(path: &Path) -> Result<Manifest, ModelError> {
        let text = std::fs::read_to_string(path).map_err(|cause| ModelError::Unreadable {
            file: path.to_owned(),
            cause,
            cure: "git checkout models/",
        })?;
        let invalid = |reason: String| ModelError::Manifest { file: path.to_owned(), reason };
        let manifest: Manifest = toml::from_str(&text).map_err(|e| invalid(e.to_string()))?;
        if manifest.schema != SCHEMA {
            return Err(invalid(format!("schema is {}, this program reads {SCHEMA}", manifest.schema)));
        }
        for role in [Role::Detector, Role::Mesh, Role::Passive] {
            let count = manifest.models.iter().filter(|m| m.role == role).count();
            if count != 1 {
                return Err(invalid(format!("{count} models have the role {role:?}, exactly one must")));
            }
        }
        let embeddings = manifest.models.iter().filter(|m| m.role == Role::Embedding).count();
        if !(1..=2).contains(&embeddings) {
            return Err(invalid(format!("{embeddings} models have the role Embedding, one or two must")));
        }
        Ok(manifest)
    }
}

impl Entry {
    /// The threshold with this name.
    pub(crate) fn threshold(&self, name: &str) -> Result<f32, ModelError> {
        let found = self.thresholds.iter().find(|t| t.name == name).map(|t| t.value);
        found.ok_or_else(|| ModelError::Entry {
            model: self.name.clone(),
            reason: format!("its thresholds lack `{name}`"),
        })
    }

    /// Index of the output with this meaning.
    pub(crate) fn output(&self, meaning: &Meaning) -> Result<&Output, ModelError> {
        let same = |o: &&Output| std::mem::discriminant(&o.meaning) == std::mem::discriminant(meaning);
        self.outputs.iter().find(same).ok_or_else(|| ModelError::Entry {
            model: self.name.clone(),
            reason: format!("its outputs lack {meaning:?}"),
        })
    }
}
