#!/usr/bin/env bash
# Builds every fuzz target with coverage counters, on stable Rust, without cargo-fuzz: the flags are cargo-fuzz's.
# Needs a C++ compiler for libFuzzer.
set -euo pipefail
cd "$(dirname "$0")"
host=$(rustc -vV | sed -n 's/^host: //p')
# --target keeps the flags away from build scripts, which have no counters to report to.
export RUSTFLAGS="--cfg fuzzing -C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 \
-C llvm-args=-sanitizer-coverage-inline-8bit-counters -C llvm-args=-sanitizer-coverage-pc-table \
-C llvm-args=-sanitizer-coverage-trace-compares"
cargo build --release --locked --bins --target "$host" --target-dir "${DIDAR_FUZZ_TARGET:-target}"
