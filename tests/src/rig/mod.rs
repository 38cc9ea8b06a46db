//! The rig: the shipped agent in a virtual machine with a real V4L2 camera, real GPIO lines and a real screen.
//!
//! **Here:** what the guest's program and the host's say to each other ([`wire`]), and the guest's devices by name. The
//! host's side is the program `rig`, the guest's the program `rig-guest`; `tests/rig` holds kernel modules and image.
//! **Not here:** what stands before the camera ([`crate::scene`]).

pub mod control;
pub mod doctor;
pub mod feed;
pub mod guest;
pub mod kiosk;
pub mod machine;
pub mod panel;
pub mod scenes;
pub mod slots;
pub mod summary;
pub mod wire;

/// Name of the virtio-serial port over which frames are asked for.
pub const CAMERA_PORT: &str = "rig.camera";
/// The disk that carries their pixels.
pub const CAMERA_DISK: &str = "/dev/vda";
/// The guest's port of the local API's relay.
pub const API_PORT: u16 = 7000;
/// The guest's port that takes orders of the host.
pub const CONTROL_PORT: u16 = 7001;
/// The host, as the guest sees it.
pub const HOST: &str = "10.0.2.2";
/// The camera's device.
pub const CAMERA: &str = "/dev/video10";
/// The simulated GPIO chip.
pub const CHIP: &str = "/dev/gpiochip0";
/// Line of the lamp on the left.
pub const LEFT_LINE: u32 = 0;
/// Line of the lamp on the right.
pub const RIGHT_LINE: u32 = 1;
/// Line that tells data from commands on the panel's bus; its reset and its backlight are the next two.
pub const PANEL_DATA_LINE: u32 = 5;
/// The agent's configuration in the guest.
pub const CONFIG: &str = "/didar/agent.toml";
/// The local API's socket in the guest.
pub const API_SOCKET: &str = "/run/didar.api";
