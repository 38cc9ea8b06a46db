#!/usr/bin/env bash
# Brings a Debian 12 or Ubuntu 24.04 host to where the workspace builds, tests and runs its demo.
# Installs only what is missing; a second run does nothing. Rust itself is the one thing that must be there.
set -euo pipefail
cd "$(dirname "$0")/.."

need() { # need COMMAND-OR-PATH PACKAGE
  if ! command -v "$1" >/dev/null 2>&1 && [ ! -e "$1" ] && ! ls $1 >/dev/null 2>&1; then missing+=("$2"); fi
}

missing=()
need gcc gcc
need g++ g++
need make make
need pkg-config pkg-config
need python3 python3
need '/usr/lib/llvm-*/lib/libclang*.so*' libclang-dev
need /usr/include/stdio.h libc6-dev
need /usr/sbin/mosquitto mosquitto
need dtc device-tree-compiler
python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)

if [ "${#missing[@]}" -gt 0 ]; then
  echo "setup: installing ${missing[*]}" >&2
  root=""
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "setup: ${missing[*]} missing; run as root: apt-get install -y ${missing[*]}" >&2; exit 1; }
    root=sudo
  fi
  had_broker=$(command -v /usr/sbin/mosquitto || true)
  $root apt-get update -qq
  $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
  # The distribution starts a broker of its own on port 1883; ours are started by who needs them.
  if [ -z "$had_broker" ] && [ -d /run/systemd/system ]; then $root systemctl disable --now mosquitto >/dev/null 2>&1 || true; fi
fi

command -v cargo >/dev/null || { echo "setup: cargo is missing; install Rust $(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml) with rustup" >&2; exit 1; }
vision/native/fetch.sh
