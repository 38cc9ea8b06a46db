//! The evaluation folder: pictures by person, and the pairs to compare.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// The protocol whose pairs count for the accuracy.
const PROTOCOL: &str = "lfw_view2";

/// Two pictures, by their place in [`Data::pictures`].
pub(crate) struct Pair {
    pub a: usize,
    pub b: usize,
    pub same: bool,
    pub fold: u32,
}

/// What the folder holds.
pub(crate) struct Data {
    pub folder: PathBuf,
    /// Pictures that occur in a pair, relative to the folder, sorted.
    pub pictures: Vec<String>,
    /// Person of each picture: a number for each name.
    pub people: Vec<usize>,
    pub pairs: Vec<Pair>,
}

/// The folder named by `DIDAR_DATA`, else `../shared/data` beside the project; `None` where it is absent.
pub(crate) fn folder(project: &Path) -> Option<PathBuf> {
    let folder = std::env::var_os("DIDAR_DATA").map_or_else(|| project.join("../shared/data"), PathBuf::from);
    folder.join("pairs.csv").is_file().then_some(folder)
}

impl Data {
    /// Reads `pairs.csv`: path_a, path_b, same, protocol, fold.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Data> {
        let file = folder.join("pairs.csv");
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut rows = Vec::new();
        for (number, line) in text.lines().enumerate().skip(1) {
            let fields: Vec<&str> = line.split(',').collect();
            let [a, b, same, protocol, fold] = fields[..] else {
                bail!("{} line {}: five fields expected, {} found", file.display(), number + 1, fields.len());
            };
            if protocol == PROTOCOL {
                rows.push((a.to_owned(), b.to_owned(), same == "1", fold.trim().parse::<u32>().unwrap_or(0)));
            }
        }
        if rows.is_empty() {
            bail!("{} has no pairs of protocol {PROTOCOL}", file.display());
        }
        let mut pictures: Vec<String> = rows.iter().flat_map(|r| [r.0.clone(), r.1.clone()]).collect();
        pictures.sort();
        pictures.dedup();
        let place: BTreeMap<&str, usize> = pictures.iter().enumerate().map(|(i, p)| (p.as_str(), i)).collect();
        let pairs = rows.iter().map(|(a, b, same, fold)| Pair {
            a: place[a.as_str()],
            b: place[b.as_str()],
            same: *same,
            fold: *fold,
        });
        let pairs = pairs.collect();
        let people = people(&pictures);
        Ok(Data { folder: folder.to_owned(), pictures, people, pairs })
    }
}

/// Pictures in one folder show one person.
fn people(pictures: &[String]) -> Vec<usize> {
    let mut names: Vec<&str> = Vec::new();
    pictures
        .iter()
        .map(|picture| {
            let name = picture.rsplit_once('/').map_or("", |(folder, _)| folder);
            names.iter().rposition(|n| *n == name).unwrap_or_else(|| {
                names.push(name);
                names.len() - 1
            })
        })
        .collect()
}

/// Pictures below a folder, sorted.
pub(crate) fn pictures_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten().flatten() {
            let path = entry.path();
            let picture = path.extension().is_some_and(|e| e == "jpg" || e == "png" || e == "jpeg");
            if path.is_dir() {
                folders.push(path);
            } else if picture {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
