//! Pictures to templates to similarities, through the code that ships.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use didar_vision::{Models, Perceiver, Picture, ReferenceFace, Template, align};

use super::data::Data;
use super::score::{Rates, rates};

/// Threads that embed pictures.
const WORKERS: usize = 2;
/// Similarity with a picture in which no face was found: never a match.
const NOT_FOUND: f32 = -1.0;

/// What was measured for one form of the embedding.
pub(crate) struct FormFigures {
    pub name: String,
    pub shipped: bool,
    pub rates: Rates,
}

/// Figures of every form whose files are there, and the number of pictures in which no face was found.
pub(crate) struct Figures {
    pub forms: Vec<FormFigures>,
    pub absent: Vec<String>,
    pub not_found: usize,
}

/// Embeds every picture with every form at hand and compares.
pub(crate) fn measure(manifest: &Path, data: &Data) -> anyhow::Result<Figures> {
    let forms = Models::forms(manifest)?;
    let (present, absent): (Vec<_>, Vec<_>) = forms.into_iter().partition(|f| f.present);
    let names: Vec<&str> = present.iter().map(|f| f.name.as_str()).collect();
    let templates = embed_all(manifest, data, &names)?;
    let not_found = templates.iter().filter(|of_picture| of_picture.is_empty()).count();
    let forms = present.iter().enumerate().map(|(k, form)| {
        let of_form: Vec<Option<&Template>> = templates.iter().map(|t| t.get(k)).collect();
        FormFigures { name: form.name.clone(), shipped: form.shipped, rates: compare(data, &of_form) }
    });
    Ok(Figures { forms: forms.collect(), absent: absent.into_iter().map(|f| f.name).collect(), not_found })
}

/// One template of each form per picture; none where no face is found.
fn embed_all(manifest: &Path, data: &Data, forms: &[&str]) -> anyhow::Result<Vec<Vec<Template>>> {
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<(usize, Vec<Template>)>> = Mutex::new(Vec::new());
    let work = || -> anyhow::Result<()> {
        let mut perceivers = Vec::new();
        for form in forms {
            perceivers.push(Perceiver::new(&Models::load_form(manifest, form)?)?);
        }
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(name) = data.pictures.get(index) else {
                return Ok(());
            };
            let templates = embed(&mut perceivers, &data.folder.join(name))?;
            found.lock().expect("no worker panics with the lock").push((index, templates));
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|w| w.join().expect("a worker returns its errors"))
    })?;
    let mut found = found.into_inner().expect("the workers are gone");
    found.sort_by_key(|(index, _)| *index);
    Ok(found.into_iter().map(|(_, templates)| templates).collect())
}

/// The first perceiver finds the face, each reduces it.
fn embed(perceivers: &mut [Perceiver], file: &Path) -> anyhow::Result<Vec<Template>> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let picture = Picture::decode(&bytes).with_context(|| file.display().to_string())?;
    let Some(first) = perceivers.first_mut() else {
        return Ok(Vec::new());
    };
    first.reset();
    let Some(face) = first.look(&picture.view())?.face else {
        return Ok(Vec::new());
    };
    perceivers
        .iter_mut()
        .map(|perceiver| {
            let aligned = align(&picture.view(), &face);
            Ok(perceiver.embed_reference(ReferenceFace::from_document(aligned))?)
        })
        .collect()
}

fn compare(data: &Data, templates: &[Option<&Template>]) -> Rates {
    let similarity = |a: usize, b: usize| match (templates[a], templates[b]) {
        (Some(a), Some(b)) => a.similarity(b),
        _ => NOT_FOUND,
    };
    let mut genuine = Vec::new();
    let mut impostor = Vec::new();
    for a in 0..templates.len() {
        for b in a + 1..templates.len() {
            if data.people[a] == data.people[b] {
                genuine.push((data.people[a], similarity(a, b)));
            } else {
                impostor.push(similarity(a, b));
            }
        }
    }
    let pairs: Vec<_> = data.pairs.iter().map(|p| (similarity(p.a, p.b), p.same, p.fold)).collect();
    rates(&pairs, &genuine, impostor)
}
