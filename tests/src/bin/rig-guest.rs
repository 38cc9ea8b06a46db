//! The guest's side of the rig: feeds the camera, watches the lamps' lines, relays the local API, and obeys the host.
//! It is started by `tests/rig/init` in the virtual machine and is of no use anywhere else.
#![allow(clippy::print_stdout, reason = "the guest's console is where it reports")]

use std::process::ExitCode;

fn main() -> ExitCode {
    match didar_tests::rig::guest::serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("rig-guest: {error:#}");
            ExitCode::FAILURE
        }
    }
}
