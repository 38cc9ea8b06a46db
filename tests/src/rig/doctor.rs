//! What the agent's `doctor` and `calibrate` say of devices that work, beside what the host knows of them; of devices that
//! cannot be used; and of the camera as another driver reaches it.
#![allow(clippy::print_stdout, reason = "the terminal is where the rig tells how far it is")]

use std::path::Path;

use anyhow::{Context, Result};
use didar_protocol::light_code::Light;
use didar_vision::{FrameView, Perceiver, PixelFormat, Rect, brightness};
use serde_json::{Value, json};
use toml::Table;

use super::feed::Feed;
use super::scenes::Booth;
use super::{CAMERA, CONFIG};
use crate::scene::{CameraModel, Presentation};

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
    /// Devices that work: what `doctor` and `calibrate` measure of camera and lamps, and what the host knows of their light.
    ///
    /// # Errors
    /// The guest does not answer, or the host finds no face in what it has rendered.
    pub fn good_devices(&self, booth: &mut Booth, perceiver: &mut Perceiver) -> Result<Value> {
        booth.feed.present(Presentation::Live);
        let told = ask(booth, "devices that work", CONFIG)?;
        let (code, out, err) =
            booth.control.run(&["/bin/timeout", "200", "/bin/didar-agent", "calibrate", "--config", CONFIG])?;
        println!("calibrate ends with {code}: {out}{err}");
        let (_, kept, _) = booth.control.run(&["/bin/cat", "/didar/state/calibration.toml"])?;
        let kept = kept.parse::<Table>().unwrap_or_default();
        let figure = |key: &str| kept.get(key).and_then(toml::Value::as_integer);
        let known = light_on_the_face(&booth.feed, perceiver)?;
        Ok(json!({
            "doctor": told,
            "known_lit_minus_dark": known,
            "known_delay_us": CameraModel::default().lamp_delay_us,
            "calibrate": { "code": code, "delay_us": figure("delay_us"), "spread_us": figure("spread_us"),
                "pulses": figure("pulses"), "rate_milli": figure("rate_milli") },
        }))
    }

    /// A lamp's line that is taken and no panel, cameras that offer something else, no camera.
    ///
    /// # Errors
    /// The guest does not answer, or cannot do it.
    pub fn bad_devices(&self, booth: &mut Booth) -> Result<Value> {
        let offer = |width: u32, pixels| json!({ "order": "offer", "width": width, "height": 480, "pixels": pixels });
        let mut told = Vec::new();
        let config = self.other_board(booth, "no-panel", |board| {
            board["screen"]["device"] = NO_PANEL.into();
            Ok(())
        })?;
        booth.control.order("hold-line")?;
        told.push(ask(booth, "lamp line taken and no panel", &config)?);
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

/// How much brighter each lamp makes the face, code values: by the frames that the host rendered last, as `doctor` measures.
fn light_on_the_face(feed: &Feed, perceiver: &mut Perceiver) -> Result<Value> {
    let pictures = feed.pictures();
    let mut mean = |wanted: Light, area: Option<Rect>| -> Result<(f32, Option<Rect>)> {
        let (_, picture) = pictures.iter().find(|(light, _)| *light == wanted).context("a frame in that light")?;
        let (width, height) = picture.dimensions();
        let view = FrameView::new(PixelFormat::Rgb8, width, height, width as usize * 3, picture.as_raw())?;
        perceiver.reset();
        let area = match area {
            Some(area) => Some(area),
            None => perceiver.look(&view)?.face.map(|face| face.bounding),
        };
        Ok((brightness(&view, area).mean, area))
    };
    let (dark, face) = mean(Light::Off, None)?;
    let face = Some(face.context("no face in what the host rendered")?);
    let mut lamp = |light| mean(light, face).map(|(lit, _)| f64::from(((lit - dark) * 10.0).round()) / 10.0);
    Ok(json!({ "left lamp": lamp(Light::Left)?, "right lamp": lamp(Light::Right)? }))
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
