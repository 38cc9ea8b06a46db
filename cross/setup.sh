#!/usr/bin/env bash
# Brings a Debian 12 or Ubuntu 24.04 host to where the workspace builds, tests and runs its demo.
# Installs only what is missing; a second run does nothing. Rust itself is the one thing that must be there.
set -euo pipefail
cd "$(dirname "$0")/.."

had_broker=$(command -v /usr/sbin/mosquitto || true)
cross/install.sh make=make mosquitto=mosquitto dtc=device-tree-compiler
# The distribution starts a broker of its own on port 1883; ours are started by who needs them.
if [ -z "$had_broker" ] && [ -d /run/systemd/system ]; then
  sudo=""
  if [ "$(id -u)" -ne 0 ]; then sudo=sudo; fi
  $sudo systemctl disable --now mosquitto >/dev/null 2>&1 || true
fi

command -v cargo >/dev/null || { echo "setup: cargo is missing; install Rust $(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml) with rustup" >&2; exit 1; }
vision/native/fetch.sh
