//! The passive network on live faces and spoofs, and the quality figures on good and bad pictures.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use didar_vision::{Perceiver, Picture, passive_crop, quality};

use super::data::pictures_in;
use didar_tests::rate::{Rate, wilson};

/// Above this ratio (natural logarithm) one picture alone speaks for a living face.
const LIVE_ABOVE: f32 = 0.0;

/// What the passive network says about a folder of pictures.
pub(crate) struct Presentations {
    pub kind: &'static str,
    pub pictures: usize,
    pub not_found: usize,
    pub context_missing: usize,
    /// Share of the judged pictures that were judged wrongly.
    pub wrong: Rate,
    /// Least and greatest log-likelihood ratio.
    pub range: (f32, f32),
}

/// The passive network on `pad/nuaa`, if the folder has it.
pub(crate) fn passive(perceiver: &mut Perceiver, data: &Path) -> anyhow::Result<Vec<Presentations>> {
    let mut all = Vec::new();
    for kind in ["live", "spoof"] {
        let files = pictures_in(&data.join("pad/nuaa").join(kind));
        let mut told = Presentations {
            kind,
            pictures: files.len(),
            not_found: 0,
            context_missing: 0,
            wrong: wilson(0, 0),
            range: (f32::INFINITY, f32::NEG_INFINITY),
        };
        let (mut wrong, mut judged) = (0, 0);
        for file in &files {
            let picture = read(file)?;
            perceiver.reset();
            let Some(face) = perceiver.look(&picture.view())?.face else {
                told.not_found += 1;
                continue;
            };
            let Ok(crop) = passive_crop(&picture.view(), &face) else {
                told.context_missing += 1;
                continue;
            };
            let llr = perceiver.passive(&crop)?.llr;
            judged += 1;
            wrong += usize::from((llr > LIVE_ABOVE) != (kind == "live"));
            told.range = (told.range.0.min(llr), told.range.1.max(llr));
        }
        told.wrong = wilson(wrong, judged);
        if !files.is_empty() {
            all.push(told);
        }
    }
    Ok(all)
}

/// Medians of the quality figures of one kind of picture.
pub(crate) struct Qualities {
    pub kind: String,
    pub pictures: usize,
    /// Too small to be read at all.
    pub refused: usize,
    pub found: usize,
    pub faces: usize,
    pub medians: Vec<(&'static str, f32)>,
}

/// Quality of `bad/`, by kind of fault, and of every twentieth of the good pictures.
pub(crate) fn qualities(perceiver: &mut Perceiver, data: &Path, good: &[String]) -> anyhow::Result<Vec<Qualities>> {
    let mut kinds: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for file in pictures_in(&data.join("bad")) {
        let name = file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let kind = name.split('_').nth(1).filter(|_| name.starts_with("derived")).unwrap_or("several people");
        kinds.entry(kind.to_owned()).or_default().push(file);
    }
    kinds.insert("as they are".to_owned(), good.iter().step_by(20).map(|p| data.join(p)).collect());
    kinds.into_iter().map(|(kind, files)| of_kind(perceiver, kind, &files)).collect()
}

fn of_kind(perceiver: &mut Perceiver, kind: String, files: &[std::path::PathBuf]) -> anyhow::Result<Qualities> {
    let (mut refused, mut found, mut faces) = (0, 0, 0);
    let mut values: Vec<(&'static str, Vec<f32>)> = Vec::new();
    for file in files {
        let Ok(picture) = read(file) else {
            refused += 1;
            continue;
        };
        perceiver.reset();
        let sight = perceiver.look(&picture.view())?;
        faces = faces.max(sight.faces);
        let Some(face) = sight.face else { continue };
        found += 1;
        let q = quality(&picture.view(), &face);
        let figures = [
            ("sharpness", f32::from(q.sharpness)),
            ("exposure", f32::from(q.exposure)),
            ("dynamic range", f32::from(q.dynamic_range)),
            ("uniformity", f32::from(q.illumination_uniformity)),
            ("eyes open", f32::from(q.eyes_open)),
            ("mouth closed", f32::from(q.mouth_closed)),
            ("occlusion", f32::from(q.occlusion)),
            ("inter-eye px", q.interocular_px),
        ];
        if values.is_empty() {
            values = figures.iter().map(|(name, _)| (*name, Vec::new())).collect();
        }
        for ((_, list), (_, value)) in values.iter_mut().zip(figures) {
            list.push(value);
        }
    }
    let medians = values
        .into_iter()
        .map(|(name, mut list)| {
            list.sort_by(f32::total_cmp);
            (name, list[list.len() / 2])
        })
        .collect();
    Ok(Qualities { kind, pictures: files.len(), refused, found, faces, medians })
}

fn read(file: &Path) -> anyhow::Result<Picture> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Picture::decode(&bytes).with_context(|| file.display().to_string())
}
