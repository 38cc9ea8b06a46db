//! A physical trial from the command to the report's table, with the simulated kiosk as the device.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use didar_agent::trial::folder;
use didar_liveness::Policy;
use didar_tests::people::{ASTRONAUT, portrait};
use didar_tests::physical::{Count, Physical};
use didar_tests::process;
use didar_tests::scene::{Bridge, CameraModel, Kiosk, PixelOrder, Presentation, Room, Subject};
use didar_vision::{Models, Perceiver};

/// A device's configuration: the shipped one, with its places below `folder`. A trial needs no certificate.
fn configure(folder: &Path, manifest: &Path, socket: &Path) -> Result<PathBuf> {
    let mut agent: toml::Table = include_str!("../../firmware-config/agent.toml").parse()?;
    let mut board: toml::Table = include_str!("../../firmware-config/boards/bridge.toml").parse()?;
    agent["models"] = manifest.to_str().context("path")?.into();
    board["camera"]["socket"] = socket.to_str().context("path")?.into();
    std::fs::create_dir_all(folder.join("boards"))?;
    std::fs::write(folder.join("boards/bridge.toml"), toml::to_string(&board)?)?;
    let config = folder.join("agent.toml");
    std::fs::write(&config, toml::to_string(&agent)?)?;
    Ok(config)
}

#[test]
fn presentations_on_a_device_fill_the_table_and_are_judged_the_same_again() -> Result<()> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let manifest = std::fs::canonicalize(project.join("models/manifest.toml"))?;
    let subject = {
        let mut perceiver = Perceiver::new(&Models::load(&manifest)?)?;
        Arc::new(Subject::load(&portrait(&project, ASTRONAUT), &mut perceiver)?)
    };
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("bridge");
    let config = configure(folder.path(), &manifest, &socket)?;
    let kiosk = Kiosk::new(subject, Room::default(), CameraModel::default(), 5);
    let bridge = Bridge::open(&socket, kiosk, PixelOrder::Yuyv, |_| {})?;
    let agent = process::sibling("didar-agent")?;
    let kept = folder.path().join("kept");
    let run = |species: &str, n: &str| {
        let paths = [("--config", config.as_path()), ("--out", kept.as_path())];
        let mut arguments = vec!["trial", "--species", species, "--n", n, "--subject", "3", "--ambient", "indoor"];
        for (name, path) in paths {
            arguments.extend([name, path.to_str().context("path")?]);
        }
        process::run(&agent, &arguments)
    };

    let said = run("live", "1")?;
    assert!(
        said.contains("bona fide") && said.contains("subject 3, distance not stated, ambient light indoor"),
        "{said}"
    );
    // It goes on where it stopped, and does nothing where all is there.
    let said = run("live", "2")?;
    assert!(said.contains("1 of 2 are there") && said.contains("kept         kiosk-0001-0002"), "{said}");
    assert!(run("live", "2")?.contains("done         2 presentations"));
    bridge.present(Presentation::Print);
    let said = run("flat-print", "1")?;
    assert!(said.contains("an attack") && said.contains("make liveness TRIAL="), "{said}");
    let error = format!("{:#}", run("plaster", "1").err().context("no such species")?);
    assert!(error.contains("other-NAME"), "{error}");

    // What each answer is depends on how busy this machine is; that it counts, and is the same again, does not.
    let policy = Policy::shipped();
    for one in folder::read(&kept)? {
        assert!(one.agrees(one.judge(&policy).as_ref()), "{:?}", one.record);
    }
    let found = Physical::read(&kept, &policy)?;
    let counted: Vec<(&str, usize, usize)> =
        found.species.iter().map(|(species, count)| (species.as_str(), count.n, answers(count))).collect();
    assert_eq!(counted, [("flat-print", 1, 1), ("live", 2, 2)]);
    assert_eq!(found.changed, 0);
    let table = found.markdown();
    assert!(table.contains("| flat-print | 1 | 1 | 0 | 0.00 % (0.00 to 79.35) |"), "{table}");
    assert!(table.contains("| live | 1 | 2 |") && table.contains("kiosk-0001 (bridge, didar-agent"), "{table}");
    assert_eq!(found.summary()["species"]["flat-print"]["passed"], 0);
    Ok(())
}

fn answers(count: &Count) -> usize {
    count.live + count.spoof + count.inconclusive + count.silent
}
