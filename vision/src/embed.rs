//! The embedding: a face becomes a template. The door is narrow on purpose.
//!
//! A [`Template`] comes from a [`LiveFace`] or from a document's picture, from nothing else. A [`Mark`] serves to see
//! that a face stays the same while it is proved alive; no template can be made of it.

use zeroize::Zeroize;

use crate::align::{ALIGNED_SIDE, AlignedFace};
use crate::manifest::Meaning;
use crate::model::{Model, ModelError};
use crate::tflite::{Engine, EngineError};

/// Longest template in numbers.
const VALUES_MOST: usize = 1024;

/// Implemented by the type that only a passed liveness judgement can make.
///
/// Invariant: outside tests the one implementation is the agent's token of a `Live` answer.
pub trait LivenessProof {}

/// A face that was proved alive.
pub struct LiveFace(AlignedFace);

impl LiveFace {
    /// Admits the aligned face to which the proof belongs.
    pub fn admit(face: AlignedFace, _proof: &impl LivenessProof) -> LiveFace {
        LiveFace(face)
    }
}

/// A face in a document's photograph or another picture that is no live attempt.
pub struct ReferenceFace(AlignedFace);

impl ReferenceFace {
    /// Takes an aligned face from a document's picture.
    pub fn from_document(face: AlignedFace) -> ReferenceFace {
        ReferenceFace(face)
    }
}

/// A template: a vector of length one. Two are compared by cosine. Wiped on drop; no `Debug`, no `Serialize`, no `Clone`.
pub struct Template(Vec<f32>);

/// What cannot be a template.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum TemplateError {
    /// Too few or too many numbers.
    #[error("template of {0} numbers: 1 to {VALUES_MOST} are lawful")]
    Length(usize),
    /// The numbers have no direction, or the scale is no positive number.
    #[error("template has no direction")]
    Empty,
}

impl Template {
    /// The template as small whole numbers: value = number * scale.
    pub fn quantised(&self) -> (f32, Vec<i8>) {
        let largest = self.0.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        let scale = largest.max(f32::MIN_POSITIVE) / 127.0;
        (scale, self.0.iter().map(|v| (v / scale).round() as i8).collect())
    }

    /// The template that was quantised so; its length is made one again.
    ///
    /// # Errors
    /// [`TemplateError`] where the numbers cannot be a template.
    pub fn from_quantised(scale: f32, values: &[i8]) -> Result<Template, TemplateError> {
        if !(1..=VALUES_MOST).contains(&values.len()) {
            return Err(TemplateError::Length(values.len()));
        }
        if !(scale.is_finite() && scale > 0.0) {
            return Err(TemplateError::Empty);
        }
        let mut template = Template(values.iter().map(|v| f32::from(*v)).collect());
        if normalise(&mut template.0) { Ok(template) } else { Err(TemplateError::Empty) }
    }

    /// Cosine of the angle between the two, -1 to 1; -1 where they come from different models and cannot be compared.
    pub fn similarity(&self, other: &Template) -> f32 {
        cosine(&self.0, &other.0)
    }
}

impl Drop for Template {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// What a face looked like at one moment of a sequence; yields a similarity and nothing else. Wiped on drop.
pub struct Mark(Template);

impl Mark {
    /// Cosine of the angle between the two, -1 to 1.
    pub fn similarity(&self, other: &Mark) -> f32 {
        self.0.similarity(&other.0)
    }
}

/// The embedding network, or two of them, with their buffers.
pub(crate) struct Embedder {
    members: Vec<(Engine, usize)>,
    length: usize,
}

impl Embedder {
    pub(crate) fn new(models: &[Model]) -> Result<Embedder, ModelError> {
        let mut members = Vec::new();
        let mut length = 0;
        for model in models {
            let output = model.entry.output(&Meaning::Embedding)?;
            length += output.shape.iter().product::<usize>();
            members.push((model.engine()?, output.index));
        }
        if !(1..=VALUES_MOST).contains(&length) {
            let reason = format!("embedding of {length} numbers: 1 to {VALUES_MOST} are lawful");
            let model = models.first().map_or_else(String::new, |m| m.entry.name.clone());
            return Err(ModelError::Entry { model, reason });
        }
        Ok(Embedder { members, length })
    }

    pub(crate) fn live(&mut self, face: &LiveFace) -> Result<Template, EngineError> {
        self.template(&face.0)
    }

    pub(crate) fn reference(&mut self, face: &ReferenceFace) -> Result<Template, EngineError> {
        self.template(&face.0)
    }

    pub(crate) fn mark(&mut self, face: &AlignedFace) -> Result<Mark, EngineError> {
        self.template(face).map(Mark)
    }

    /// Members' vectors of length one, one after another, made one again: its cosine is the mean of their cosines.
    fn template(&mut self, face: &AlignedFace) -> Result<Template, EngineError> {
        let mut template = Template(Vec::with_capacity(self.length));
        for (engine, output) in &mut self.members {
            engine.see_crop(face.pixels(), ALIGNED_SIDE);
            engine.run()?;
            let numbers = engine.output(*output);
            let start = template.0.len();
            template.0.extend((0..numbers.len()).map(|i| numbers.at(i)));
            normalise(&mut template.0[start..]);
        }
        normalise(&mut template.0);
        Ok(template)
    }
}

/// Makes the length one; false where there is no direction.
fn normalise(values: &mut [f32]) -> bool {
    let length = values.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>().sqrt();
    if !(length.is_finite() && length > 1e-12) {
        return false;
    }
    for value in values {
        *value = (f64::from(*value) / length) as f32;
    }
    true
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return -1.0;
    }
    a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>() as f32
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_template_survives_quantising() {
        let mut values: Vec<f32> = (0..512).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
        normalise(&mut values);
        let template = Template(values);
        let (scale, numbers) = template.quantised();
        let back = Template::from_quantised(scale, &numbers).unwrap();
        assert!(template.similarity(&back) > 0.9999);
    }

    #[test]
    fn numbers_that_are_no_template_are_refused() {
        let refusal = |scale, values: &[i8]| Template::from_quantised(scale, values).err();
        assert_eq!(refusal(0.1, &[]), Some(TemplateError::Length(0)));
        assert_eq!(refusal(0.1, &[1; 1025]), Some(TemplateError::Length(1025)));
        assert_eq!(refusal(0.1, &[0; 128]), Some(TemplateError::Empty));
        assert_eq!(refusal(f32::NAN, &[1; 128]), Some(TemplateError::Empty));
        assert_eq!(refusal(-0.1, &[1; 128]), Some(TemplateError::Empty));
    }

    #[test]
    fn templates_of_different_models_are_not_alike() {
        let of = |n| Template::from_quantised(0.1, &vec![5; n]).unwrap();
        assert!(of(128).similarity(&of(512)) < 0.0);
        assert!(of(128).similarity(&of(128)) > 0.999);
    }
}
