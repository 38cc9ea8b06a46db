#!/usr/bin/env bash
# Judges the golden recordings on aarch64 (qemu-user) and on this machine: the evidence must be the same bytes.
# Debian 12 only: its rustc-web, the arm64 standard library of the same version, gcc-aarch64-linux-gnu. The packages are unpacked
# under target/aarch64 and not installed.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$PWD/target/aarch64
root=$work/root
mkdir -p "$work/debs" "$root"
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64) ||
  { echo "judge-aarch64: install qemu-user-static" >&2; exit 1; }
version=$(apt-cache policy rustc-web | sed -n 's/ *Candidate: //p')
[ -n "$version" ] || { echo "judge-aarch64: no rustc-web here; Debian 12 has it" >&2; exit 1; }
std="libstd-rust-web-dev_${version}_arm64.deb"
if [ ! -e "$root/.unpacked" ]; then
  dpkg --print-foreign-architectures | grep -q arm64 ||
    { echo "judge-aarch64: dpkg --add-architecture arm64 && apt-get update first" >&2; exit 1; }
  (cd "$work/debs" && apt-get download "libstd-rust-web-dev:arm64=$version")
  dpkg -x "$work/debs/"libstd-rust-web-dev_*_arm64.deb "$root"
  touch "$root/.unpacked"
fi
for tool in rustc cargo aarch64-linux-gnu-gcc; do
  command -v "/usr/bin/$tool" >/dev/null || { echo "judge-aarch64: apt-get install rustc-web cargo-web gcc-aarch64-linux-gnu" >&2; exit 1; }
done
export RUSTC=/usr/bin/rustc CARGO_TARGET_DIR=$work/build
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="--sysroot $root/usr"
/usr/bin/cargo build --release --manifest-path cross/judge/Cargo.toml --target aarch64-unknown-linux-gnu
"$qemu" -L /usr/aarch64-linux-gnu "$work/build/aarch64-unknown-linux-gnu/release/judge-elsewhere" liveness/vectors
