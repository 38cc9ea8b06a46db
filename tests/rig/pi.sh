#!/usr/bin/env bash
# Runs the agent, built for aarch64, in QEMU's Raspberry Pi 3 (raspi3b): its doctor tries the lamps of the shipped board
# file raspberry-pi-4 by rppal, and pi.py watches the lines in the registers of the machine.
# Compiler and kernel are Debian 12's packages, unpacked below target/arm (cross/arm.sh); QEMU is installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=tests/rig
pi=$PWD/target/rig/pi
mkdir -p "$pi"
cross/install.sh qemu-system-aarch64=qemu-system-arm cpio=cpio
source cross/arm.sh

board() {
  local kernel
  kernel=$(arm_depends linux-image-arm64:arm64 'linux-image-6[^ ]*')
  [ -n "$kernel" ] || return 1
  echo "$kernel" busybox-static:arm64
}

agent() {
  vision/native/fetch.sh aarch64
  (
    # The library's own libraries are looked for in the image only.
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS+=" -C link-arg=-Wl,--allow-shlib-undefined"
    # Nothing is computed there: quick to build is better than quick.
    export CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=0
    cargo build --locked --config 'profile.dev.package."*".opt-level=0' --target aarch64-unknown-linux-gnu \
      --target-dir "$arm/agent" -p didar-agent --bin didar-agent
  )
}

image() {
  local image=$pi/image
  rm -rf "$image"
  mkdir -p "$image"/{bin,lib,dev,proc,sys,tmp,run,didar}
  cp "$arm_root/bin/busybox" "$image/bin/"
  install -m 755 $here/pi-init "$image/init"
  install -m 755 "$arm/agent/aarch64-unknown-linux-gnu/debug/didar-agent" "$image/bin/"
  cp -L native/aarch64/*.so "$image/lib/"
  for library in ld-linux-aarch64.so.1 libc.so.6 libm.so.6 libdl.so.2 libpthread.so.0 librt.so.1 libgcc_s.so.1 libstdc++.so.6; do
    cp -L "$arm_root/usr/aarch64-linux-gnu/lib/$library" "$image/lib/"
  done
  cp -r firmware-config/boards "$image/didar/"
  sed 's/^board = .*/board = "raspberry-pi-4"/' firmware-config/agent.toml >"$image/didar/agent.toml"
  (cd "$image" && find . -print0 | cpio --quiet -0 -o -H newc) >"$pi/pi.cpio"
}

arm_fetch board board
agent
image
$here/pi.py "$pi" "$arm_root"
