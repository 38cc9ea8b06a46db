#!/usr/bin/env bash
# Runs the tests of the liveness judge as an aarch64 program under qemu: the golden recordings (liveness/vectors) must be
# judged to the same bytes of evidence as on x86-64, where `make test` compares them with the same files.
# On a machine of that kind: cargo test -p didar-liveness
set -euo pipefail
cd "$(dirname "$0")/.."
cross/install.sh qemu-aarch64-static=qemu-user-static
source cross/arm.sh
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -L $arm_root/usr/aarch64-linux-gnu"
"$RUSTC" --version
cargo test --locked --target aarch64-unknown-linux-gnu --target-dir "$arm/build" -p didar-liveness --lib
echo "judge-on-arm: golden recordings are judged on aarch64 to the same bytes as on x86-64"
