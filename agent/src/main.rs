//! The program `didar-agent`.

fn main() {}
