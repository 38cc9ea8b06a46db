//! What the agent's `doctor` says of devices that cannot be used, and of the camera as another driver reaches it.
#![allow(clippy::print_stdout, reason = "the terminal is where the rig tells how far it is")]

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use toml::Table;

use super::scenes::Booth;
use super::{CAMERA, CONFIG};

/// Asks for it, in a guest whose agent is stopped.
pub struct Doctor<'a> {
    /// The project's folder.
    pub root: &'a Path,
    /// The guest's board in `boards`.
    pub board: &'a str,
    /// The kiosk's files as they were laid out for the guest.
    pub home: &'a Path,
}

/// A frame buffer that the guest lacks.
const NO_PANEL: &str = "/dev/fb7";

impl Doctor<'_> {
    /// A lamp's line that is taken, cameras that offer something else, no panel, no camera.
    ///
    /// # Errors
    /// The guest does not answer, or cannot do it.
    pub fn bad_devices(&self, booth: &mut Booth) -> Result<Value> {
        let offer = |width: u32, pixels| json!({ "order": "offer", "width": width, "height": 480, "pixels": pixels });
        let mut told = Vec::new();
        booth.control.order("hold-line")?;
        told.push(ask(booth, "lamp line taken", CONFIG)?);
        booth.control.order("free-line")?;
        for (name, width, pixels) in
            [("camera of another size", 320, "YUYV"), ("camera of another format", 640, "RGB3")]
        {
            booth.control.give(offer(width, pixels))?;
            booth.control.order("pull")?;
            booth.control.order("plug")?;
            told.push(ask(booth, name, CONFIG)?);
        }
        booth.control.order("pull")?;
        told.push(ask(booth, "no camera", CONFIG)?);
        let config = self.other_board(booth, "no-panel", |board| {
            board["screen"]["device"] = NO_PANEL.into();
            Ok(())
        })?;
        told.push(ask(booth, "no panel", &config)?);
        Ok(json!(told))
    }

    /// The same camera as `nokhwa` reaches it: an agent that was not built for that says so.
    ///
    /// # Errors
    /// As [`bad_devices`](Self::bad_devices).
    pub fn camera_by_nokhwa(&self, booth: &mut Booth) -> Result<Value> {
        let config = self.other_board(booth, "nokhwa", |board| {
            let camera = board["camera"].as_table_mut().context("a board has a camera")?;
            camera.remove("device");
            camera.remove("buffers");
            camera.insert("kind".into(), "nokhwa".into());
            let index: u8 = CAMERA.trim_start_matches("/dev/video").parse()?;
            camera.insert("index".into(), i64::from(index).into());
            Ok(())
        })?;
        let told = ask(booth, "camera by nokhwa", &config)?;
        let mut findings = told["said"]["findings"].as_array().into_iter().flatten();
        let finding = findings.find(|finding| finding["device"] == "camera" || finding["device"] == "board");
        let said = finding.unwrap_or(&told);
        println!("camera by nokhwa: {said}");
        Ok(said.clone())
    }

    /// Writes a board that differs from the guest's, and a configuration that names it; returns the configuration's place.
    fn other_board(
        &self,
        booth: &mut Booth,
        name: &str,
        change: impl FnOnce(&mut Table) -> Result<()>,
    ) -> Result<String> {
        let mut board = read(&self.root.join(format!("firmware-config/boards/{}.toml", self.board)))?;
        change(&mut board)?;
        let mut agent = read(&self.home.join("agent.toml"))?;
        agent["board"] = name.into();
        let config = format!("/didar/{name}.toml");
        for (path, text) in [(format!("/didar/boards/{name}.toml"), &board), (config.clone(), &agent)] {
            booth.control.give(json!({ "order": "write", "path": path, "text": toml::to_string(text)? }))?;
        }
        Ok(config)
    }
}

fn ask(booth: &mut Booth, name: &str, config: &str) -> Result<Value> {
    let (code, out, err) =
        booth.control.run(&["/bin/timeout", "90", "/bin/didar-agent", "doctor", "--json", "--config", config])?;
    println!("{name}: doctor ends with {code}");
    let said = serde_json::from_str::<Value>(&out).unwrap_or_else(|_| json!(out));
    Ok(json!({ "device": name, "code": code, "said": said, "log": err }))
}

fn read(path: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    text.parse().with_context(|| format!("reading {}", path.display()))
}
