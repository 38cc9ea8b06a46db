//! The shipped files, and what an edit of them is told.
#![allow(clippy::unwrap_used)]

use didar_protocol::light_code::CodeShape;

use super::*;

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
        (read(SAME, ("\"colour-no-filter\"", "\"colour-and-infrared\"")), "sensor.spectrum is colour-and-infrared"),
    ];
    for (result, expected) in cases {
        let error = result.expect_err(expected);
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    }
}
