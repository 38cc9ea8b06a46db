//! The shipped files, and what an edit of them is told.
#![allow(clippy::unwrap_used)]

use didar_protocol::light_code::CodeShape;

use super::*;
use crate::panel::Turn;

const AGENT: &str = include_str!("../../../firmware-config/agent.toml");
const BRIDGE: &str = include_str!("../../../firmware-config/boards/bridge.toml");

/// What comes of the shipped files after an edit of each.
fn read(agent: (&str, &str), board: (&str, &str)) -> Result<Config, String> {
    let edited = |text: &str, (from, to): (&str, &str)| {
        assert!(text.contains(from), "{from:?} is not in the shipped file");
        text.replacen(from, to, 1)
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("boards")).unwrap();
    std::fs::write(folder.path().join("boards/bridge.toml"), edited(BRIDGE, board)).unwrap();
    let path = folder.path().join("agent.toml");
    std::fs::write(&path, edited(AGENT, agent)).unwrap();
    Config::read(&path).map_err(|error| error.to_string())
}

const SAME: (&str, &str) = ("", "");

#[test]
fn the_shipped_files_are_lawful() {
    let config = read(SAME, SAME).unwrap();
    assert_eq!((config.env, config.board.code), (Env::Test, CodeShape::AT_30));
    assert!(config.board.slot() * 12 <= Duration::from_millis(900), "the code must fit in 900 ms");
}

#[test]
fn every_shipped_board_is_lawful() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware-config/boards");
    let mut boards = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let board = Board::read(&path, name, Env::Test).unwrap_or_else(|error| panic!("{error}"));
        assert!(board.slot() * u32::from(board.code.slots) <= Duration::from_millis(900), "{}", path.display());
        boards += 1;
    }
    assert!(boards >= 7);
}

/// What comes of the Raspberry Pi's board after an edit, in an environment.
fn raspberry(env: Env, (from, to): (&str, &str)) -> Result<Board, String> {
    let text = include_str!("../../../firmware-config/boards/raspberry-pi-5.toml");
    assert!(text.contains(from), "{from:?} is not in the shipped file");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pi.toml");
    std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
    Board::read(&path, "pi".to_owned(), env).map_err(|error| error.to_string())
}

#[test]
fn a_board_says_what_it_is_made_of() {
    let board = raspberry(Env::Production, SAME).unwrap();
    let CameraDevice::V4l2(camera) = &board.camera else { panic!("{board:?}") };
    assert_eq!((camera.need.width, camera.need.rate, camera.buffers), (640, 30, 16));
    assert_eq!(camera.exposure_us, board.facts.exposure_us);
    for (edit, expected) in [
        (("\"YUYV\", ", "\"H264\", "), "camera.formats is H264"),
        (("[\"YUYV\", \"NV12\", \"MJPG\"]", "[]"), "camera.formats is empty"),
        (("width = 640", "width = 641"), "camera.width and camera.height is 641 x 480"),
        (("buffers = 16", "buffers = 2"), "camera.buffers is 2"),
        (("right = 27", "right = 17"), "two different lines"),
        (("active = \"high\"", "active = \"up\""), "unknown variant `up`"),
        (("kind = \"rppal\"", "kind = \"bridge\""), "unknown field"),
        (("kind = \"rppal\"\nleft = 17", "kind = \"rppal\"\nchip = 1\nleft = 17"), "chip"),
    ] {
        let error = raspberry(Env::Test, edit).expect_err(expected);
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    }
}

/// What comes of the board with two sensors after an edit.
fn two_sensors((from, to): (&str, &str)) -> Result<Board, String> {
    let text = include_str!("../../../firmware-config/boards/raspberry-pi-5-two-sensors.toml");
    assert!(text.contains(from), "{from:?} is not in the shipped file");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("two.toml");
    std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
    Board::read(&path, "two".to_owned(), Env::Production).map_err(|error| error.to_string())
}

#[test]
fn two_sensors_are_named_both_and_go_together() {
    let board = two_sensors(SAME).unwrap();
    let colour = board.colour.unwrap();
    let (CameraDevice::V4l2(one), CameraDevice::V4l2(other)) = (&board.camera, &colour.device) else { panic!() };
    assert_ne!(one.device, other.device);
    assert_eq!((one.buffers, one.need.rate), (other.buffers, other.need.rate));
    assert_eq!((colour.apart, colour.lens.right_mm), (Duration::from_millis(5), 25));
    for (edit, expected) in [
        (("colour-and-infrared\"", "infrared\"      "), "[colour] is there"),
        (("device = \"/dev/didar-colour\"", "device = \"/dev/didar-camera\""), "colour.device is /dev/didar-camera"),
        (("[\"YUYV\", \"NV12\", \"MJPG\"]", "[\"GREY\"]"), "colour.formats is GREY"),
        (("exposure_us = 20000 ", "exposure_us = 40000 "), "colour.exposure_us is 40000"),
        (("readout_us = 10000", "readout_us = 40000"), "colour.readout_us is 40000"),
        (("right_mm = 25", "right_mm = 250"), "colour.right_mm is 250"),
        (("apart_us = 5000", "apart_us = 17000"), "colour.apart_us is 17000"),
        (("down_mm = 0 ", "#"), "down_mm"),
        (("[colour] ", "[color]"), "color"),
    ] {
        let error = two_sensors(edit).expect_err(expected);
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    }
}

#[test]
fn what_is_for_trials_is_refused_in_production() {
    let webcam = Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware-config/boards/pc-webcam.toml");
    let error = Board::read(&webcam, "pc-webcam".to_owned(), Env::Production).unwrap_err().to_string();
    assert!(error.contains("nobody is proved live"), "{error}");
}

#[test]
fn errors_name_place_and_cure() {
    let cases = [
        (read(("device = \"", "devise = \""), SAME), "devise"),
        (read(("device = \"kiosk-0001\"", "device = \"Kiosk 1\""), SAME), "line"),
        (read(("position = ", "position = 9"), SAME), "limits_ms.position"),
        (read(("env = \"test\"", "env = \"production\""), SAME), "camera made of bytes"),
        (read(("board = \"bridge\"", "board = \"../bridge\""), SAME), "board is ../bridge"),
        (read(("board = \"bridge\"", "board = \"moon\""), SAME), "moon.toml"),
        (read(SAME, ("wrong_allowed = 0", "wrong_allowed = 1")), "2^-20"),
        (read(SAME, ("baseline_mm = 90", "baseline_mm = 30")), "lamps.baseline_mm is 30"),
        (read(SAME, ("focal_px = 730", "focal_px = 0")), "sensor.focal_px is 0"),
        (read(SAME, ("readout_us = 0", "readout_us = 40000")), "sensor.readout_us is 40000"),
        (read(SAME, ("kind = \"bridge\"", "kind = \"teapot\"")), "teapot"),
        (read(SAME, ("exposure_us = 12000", "exposure_us = 40000")), "sensor.exposure_us is 40000"),
        (read(SAME, ("rate = 30", "rate = 3")), "sensor.rate is 3"),
        (read(SAME, ("\"colour-no-filter\"", "\"colour-and-infrared\"")), "[colour] is missing"),
    ];
    for (result, expected) in cases {
        let error = result.expect_err(expected);
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    }
}

/// The bridge's board with another screen.
fn with_screen(screen: &str) -> Result<ScreenDevice, String> {
    let shipped = "[screen]\nkind = \"bridge\"\nwidth = 480\nheight = 320\n";
    read(SAME, (shipped, screen)).map(|config| config.board.screen)
}

const SPI: &str = "[screen]\nkind = \"spi\"\ndevice = \"/dev/spidev0.0\"\nspeed_hz = 40000000\n\
                   controller = \"st7789\"\nchip = \"/dev/gpiochip0\"\ndata_line = 25\nreset_line = 27\nturn = 90\n\
                   colours = \"rgb\"\ninverted = true\nwidth = 320\nheight = 240\n";

#[test]
fn screens_and_a_buzzer_are_read() {
    let buffer = "[screen]\nkind = \"framebuffer\"\ndevice = \"/dev/fb0\"\nturn = 180\nwidth = 1280\nheight = 800\n";
    let found = with_screen(buffer).unwrap();
    assert_eq!(
        found,
        ScreenDevice::FrameBuffer { device: "/dev/fb0".into(), turn: Turn::Half, width: 1280, height: 800 }
    );
    let ScreenDevice::Spi(panel) = with_screen(SPI).unwrap() else { panic!("no SPI panel") };
    assert_eq!((panel.size, panel.reset_line, panel.backlight_line), ((320, 240), Some(27), None));
    let buzzer = format!("{buffer}\n[buzzer]\nchip = \"/dev/gpiochip0\"\nline = 12\n");
    let shipped = "[screen]\nkind = \"bridge\"\nwidth = 480\nheight = 320\n";
    assert_eq!(read(SAME, (shipped, &buzzer)).unwrap().board.buzzer.unwrap().line, 12);
    assert!(read(SAME, SAME).unwrap().board.buzzer.is_none());
}

#[test]
fn screens_that_cannot_be_are_named() {
    for (from, to, expected) in [
        ("turn = 90", "turn = 0", "screen.width and screen.height is 320 x 240"),
        ("turn = 90", "turn = 45", "screen.turn is 45"),
        ("width = 320", "width = 200", "screen.width and screen.height is 200 x 240"),
        ("\"st7789\"", "\"hd44780\"", "hd44780"),
        ("speed_hz = 40000000", "speed_hz = 40", "screen.speed_hz is 40"),
        ("data_line = 25\n", "", "data_line"),
    ] {
        let error = with_screen(&SPI.replacen(from, to, 1)).unwrap_err();
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    }
}
