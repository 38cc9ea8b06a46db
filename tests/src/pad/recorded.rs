//! Real pictures: what the passive network makes of live people and of prints before a webcam.

use std::path::Path;

use anyhow::Context as _;
use didar_vision::{Models, Perceiver, Picture, passive_crop};

/// Log-likelihood ratios of the folder's pictures, those that could be judged.
pub(crate) struct Recorded {
    pub live: Vec<f32>,
    pub spoof: Vec<f32>,
    /// Pictures without a face, or with too little around it.
    pub unjudged: [usize; 2],
}

/// `pad/nuaa` of the folder; nothing where it has none.
pub(crate) fn recorded(project: &Path, data: &Path) -> anyhow::Result<Option<Recorded>> {
    let mut perceiver = Perceiver::new(&Models::load(&project.join("models/manifest.toml"))?)?;
    let mut found = Recorded { live: Vec::new(), spoof: Vec::new(), unjudged: [0; 2] };
    for (kind, name) in ["live", "spoof"].into_iter().enumerate() {
        for file in crate::data::pictures_in(&data.join("pad/nuaa").join(name)) {
            let bytes = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let picture = Picture::decode(&bytes).with_context(|| file.display().to_string())?;
            perceiver.reset();
            let face = perceiver.look(&picture.view())?.face;
            let Some(crop) = face.and_then(|face| passive_crop(&picture.view(), &face).ok()) else {
                found.unjudged[kind] += 1;
                continue;
            };
            let llr = perceiver.passive(&crop)?.llr;
            if kind == 0 { found.live.push(llr) } else { found.spoof.push(llr) }
        }
    }
    found.live.sort_by(f32::total_cmp);
    found.spoof.sort_by(f32::total_cmp);
    Ok((!found.live.is_empty() && !found.spoof.is_empty()).then_some(found))
}

impl Recorded {
    /// Threshold that lets at most 1 % of the spoofs pass, the live people refused at it, and those whom the policy's
    /// threshold for the network alone refuses.
    pub(crate) fn at_one_percent(&self) -> (f32, usize) {
        let allowed = self.spoof.len() / 100;
        let threshold = self.spoof[self.spoof.len() - 1 - allowed];
        (threshold, self.live.iter().filter(|llr| **llr <= threshold).count())
    }

    /// How many of each are below a ratio.
    pub(crate) fn below(&self, llr: f32) -> [usize; 2] {
        [&self.live, &self.spoof].map(|all| all.iter().filter(|v| **v < llr).count())
    }
}
