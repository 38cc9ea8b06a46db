//! Models: found by the manifest, checked before use.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::manifest::{Entry, Manifest, Meaning, Role};
use crate::tflite::{Bytes, Engine, EngineError, Kernels};

/// Longest model file in bytes.
const BYTES_MOST: usize = 64 << 20;

/// The models of one manifest, read into memory and checked: hash, size, and every tensor's shape and type.
pub struct Models {
    pub(crate) detector: Model,
    pub(crate) mesh: Model,
    pub(crate) passive: Model,
    /// One, or two whose similarities are averaged.
    pub(crate) embeddings: Vec<Model>,
}

/// One checked model.
pub(crate) struct Model {
    pub(crate) entry: Entry,
    bytes: Arc<Bytes>,
    sha256: [u8; 32],
}

/// A form of the embedding that a manifest names, for the evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// As in the manifest.
    pub name: String,
    /// It is the form that [`Models::load`] loads.
    pub shipped: bool,
    /// All its files are there.
    pub present: bool,
}

/// Why the models cannot be used; every message says what mends it.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file is missing or cannot be read.
    #[error("cannot read {}; mend it with: {cure}", file.display())]
    Unreadable {
        /// Path of the file.
        file: PathBuf,
        /// The system's words.
        #[source]
        cause: std::io::Error,
        /// A command.
        cure: &'static str,
    },
    /// The manifest is not what this program reads.
    #[error("manifest {} is not usable: {reason}; mend it, or: git checkout models/manifest.toml", file.display())]
    Manifest {
        /// Path of the manifest.
        file: PathBuf,
        /// What is wrong, with line and column where there is one.
        reason: String,
    },
    /// A model's entry lacks something that its role needs.
    #[error("manifest entry `{model}` is not usable: {reason}; mend it, or: git checkout models/manifest.toml")]
    Entry {
        /// Name in the manifest.
        model: String,
        /// What is wrong.
        reason: String,
    },
    /// The file is not the one that the manifest names.
    #[error(
        "model {} has sha256 {found}, the manifest says {expected}; mend it with: git checkout models/ (or: make models)",
        file.display()
    )]
    Hash {
        /// Path of the file.
        file: PathBuf,
        /// Hexadecimal, from the manifest.
        expected: String,
        /// Hexadecimal, of the file.
        found: String,
    },
    /// The file has the right hash but does not fit what the manifest says about it, or cannot be run.
    #[error("model {model} is not usable: {reason}; mend its entry in the manifest, or: make models")]
    Unusable {
        /// Name in the manifest.
        model: String,
        /// What is wrong.
        reason: String,
    },
}

impl Models {
    /// Reads the manifest and the shipped models.
    ///
    /// # Errors
    /// [`ModelError`], naming the file, what was expected, what was found and the command that mends it.
    pub fn load(manifest: &Path) -> Result<Models, ModelError> {
        let folder = manifest.parent().unwrap_or(Path::new("."));
        let content = Manifest::read(manifest)?;
        let shipped = |role| content.models.iter().filter(move |m| m.role == role).collect::<Vec<_>>();
        Models::of(&content, &shipped(Role::Embedding), folder)
    }

    /// As [`Models::load`], with another form of the embedding: the name of a model, a candidate or a pair.
    ///
    /// # Errors
    /// [`ModelError`] as there, or where no form has this name.
    pub fn load_form(manifest: &Path, form: &str) -> Result<Models, ModelError> {
        let folder = manifest.parent().unwrap_or(Path::new("."));
        let content = Manifest::read(manifest)?;
        let members = members(&content, form).ok_or_else(|| ModelError::Entry {
            model: form.to_owned(),
            reason: "no embedding, candidate or pair has this name".to_owned(),
        })?;
        Models::of(&content, &members, folder)
    }

    /// The forms of the embedding that the manifest names, the shipped one first.
    ///
    /// # Errors
    /// [`ModelError`] where the manifest cannot be read.
    pub fn forms(manifest: &Path) -> Result<Vec<Form>, ModelError> {
        let folder = manifest.parent().unwrap_or(Path::new("."));
        let content = Manifest::read(manifest)?;
        let shipped: Vec<&str> =
            content.models.iter().filter(|m| m.role == Role::Embedding).map(|m| m.name.as_str()).collect();
        let names = content.models.iter().filter(|m| m.role == Role::Embedding).map(|m| &m.name);
        let names =
            names.chain(content.candidates.iter().map(|m| &m.name)).chain(content.pairs.iter().map(|p| &p.name));
        let mut forms: Vec<Form> = names
            .filter_map(|name| {
                let members = members(&content, name)?;
                let own: Vec<&str> = members.iter().map(|m| m.name.as_str()).collect();
                Some(Form {
                    name: name.clone(),
                    shipped: own == shipped,
                    present: members.iter().all(|m| folder.join(&m.file).is_file()),
                })
            })
            .collect();
        forms.sort_by_key(|form| !form.shipped);
        Ok(forms)
    }

    fn of(content: &Manifest, embeddings: &[&Entry], folder: &Path) -> Result<Models, ModelError> {
        let one = |role| {
            let entry = content.models.iter().find(|m| m.role == role).expect("Manifest::read found one of each role");
            Model::load(entry, folder)
        };
        Ok(Models {
            detector: one(Role::Detector)?,
            mesh: one(Role::Mesh)?,
            passive: one(Role::Passive)?,
            embeddings: embeddings.iter().map(|entry| Model::load(entry, folder)).collect::<Result<_, _>>()?,
        })
    }

    /// Role and SHA-256 of every loaded model, in a fixed order.
    pub fn references(&self) -> Vec<(Role, [u8; 32])> {
        self.all().map(|model| (model.entry.role, model.sha256)).collect()
    }

    /// The threshold `name` of the model with this role, from the manifest; the first embedding's where there are two.
    pub fn threshold(&self, role: Role, name: &str) -> Option<f32> {
        self.all().find(|model| model.entry.role == role).and_then(|model| model.entry.threshold(name).ok())
    }

    fn all(&self) -> impl Iterator<Item = &Model> {
        [&self.detector, &self.mesh, &self.passive].into_iter().chain(&self.embeddings)
    }
}

/// The entries that make a form, in order.
fn members<'a>(content: &'a Manifest, form: &str) -> Option<Vec<&'a Entry>> {
    let entry = |name: &str| {
        let mut all = content.models.iter().chain(&content.candidates);
        all.find(|m| m.role == Role::Embedding && m.name == name)
    };
    match content.pairs.iter().find(|p| p.name == form) {
        Some(pair) => pair.members.iter().map(|name| entry(name)).collect(),
        None => entry(form).map(|e| vec![e]),
    }
}

impl Model {
    fn load(entry: &Entry, folder: &Path) -> Result<Model, ModelError> {
        let file = folder.join(&entry.file);
        let content = read(&file)?;
        let sha256: [u8; 32] = Sha256::digest(&content).into();
        let found = hex::encode(sha256);
        if found != entry.sha256 {
            return Err(ModelError::Hash { file, expected: entry.sha256.clone(), found });
        }
        for meaning in needed(entry.role) {
            entry.output(&meaning)?;
        }
        let model = Model { entry: entry.clone(), bytes: Arc::new(Bytes::new(&content)), sha256 };
        model.engine_with(Kernels::Reference)?;
        Ok(model)
    }

    /// The model, ready to run.
    pub(crate) fn engine(&self) -> Result<Engine, ModelError> {
        self.engine_with(Kernels::Xnnpack)
    }

    fn engine_with(&self, kernels: Kernels) -> Result<Engine, ModelError> {
        Engine::new(&self.entry, &self.bytes, kernels).map_err(|error| self.unusable(&error))
    }

    pub(crate) fn unusable(&self, error: &EngineError) -> ModelError {
        ModelError::Unusable { model: self.entry.name.clone(), reason: error.to_string() }
    }
}

/// Outputs without which a role cannot be played; what stands in their fields does not matter here.
fn needed(role: Role) -> Vec<Meaning> {
    match role {
        Role::Detector => vec![
            Meaning::Scores { grid: 0, anchors: 0, range: 0.0 },
            Meaning::Points { grid: 0, anchors: 0, range: 0.0 },
        ],
        Role::Mesh => vec![Meaning::Landmarks, Meaning::Presence],
        Role::Passive => vec![Meaning::Classes { live: 0 }],
        Role::Embedding => vec![Meaning::Embedding],
    }
}

fn read(file: &Path) -> Result<Vec<u8>, ModelError> {
    let unreadable = |cause| ModelError::Unreadable { file: file.to_owned(), cause, cure: "git checkout models/" };
    let length = std::fs::metadata(file).map_err(unreadable)?.len();
    if length > BYTES_MOST as u64 {
        let reason = format!("{length} bytes are more than the {BYTES_MOST} that a model may have");
        return Err(ModelError::Unusable { model: file.display().to_string(), reason });
    }
    std::fs::read(file).map_err(unreadable)
}
