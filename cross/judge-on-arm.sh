#!/usr/bin/env bash
# Runs the tests of the liveness judge as an aarch64 program under qemu: the golden recordings (liveness/vectors) must be
# judged to the same bytes of evidence as on x86-64, where `make test` compares them with the same files.
# Compiler, standard library and linker are Debian 12's packages, unpacked below target/arm; nothing is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
arm="$PWD/target/arm"
root="$arm/root"

if [ "$(uname -m)" != x86_64 ] || ! command -v apt-get dpkg >/dev/null; then
  echo "judge-on-arm: needs an x86-64 machine with Debian's apt and dpkg; on aarch64 run: cargo test -p didar-liveness" >&2
  exit 2
fi
if [ ! -e "$arm/unpacked" ]; then
  mkdir -p "$arm/lists/partial" "$arm/cache/archives/partial" "$arm/debs" "$root"
  printf 'APT::Architectures { "amd64"; "arm64"; };\nDir::State::lists "%s";\nDir::Cache "%s";\n' \
    "$arm/lists" "$arm/cache" >"$arm/apt.conf"
  export APT_CONFIG="$arm/apt.conf"
  apt-get update -qq
  depends() { apt-cache depends "$1" 2>/dev/null | sed -n "s/.*Depends: \($2[0-9.]*\)\$/\1/p" | head -1 || true; }
  std=$(depends libstd-rust-web-dev libstd-rust-web-)
  llvm=$(depends "${std:-none}" libllvm)
  if [ -z "$std" ] || [ -z "$llvm" ]; then
    echo "judge-on-arm: this distribution has no package rustc-web (Debian 12 has one); nothing was compared" >&2
    exit 2
  fi
  (cd "$arm/debs" && apt-get download -qq -o APT::Sandbox::User=root rustc-web "$std" "$llvm" \
    libstd-rust-web-dev libstd-rust-web-dev:arm64 qemu-user-static \
    gcc-aarch64-linux-gnu gcc-12-aarch64-linux-gnu gcc-12-aarch64-linux-gnu-base cpp-12-aarch64-linux-gnu \
    binutils-aarch64-linux-gnu libgcc-12-dev-arm64-cross libgcc-s1-arm64-cross libc6-arm64-cross \
    libc6-dev-arm64-cross)
  for package in "$arm"/debs/*.deb; do
    case "$package" in
    */qemu-user-static_*) dpkg --fsys-tarfile "$package" | tar -x -C "$root" ./usr/bin/qemu-aarch64-static ;;
    *) dpkg -x "$package" "$root" ;;
    esac
  done
  touch "$arm/unpacked"
fi

export LD_LIBRARY_PATH="$root/usr/lib/x86_64-linux-gnu"
export RUSTC="$root/usr/bin/rustc"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER="$root/usr/bin/aarch64-linux-gnu-gcc"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C link-arg=--sysroot=$root"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$root/usr/bin/qemu-aarch64-static -L $root/usr/aarch64-linux-gnu"
"$RUSTC" --version
cargo test --locked --target aarch64-unknown-linux-gnu --target-dir "$arm/build" -p didar-liveness --lib
echo "judge-on-arm: golden recordings are judged on aarch64 to the same bytes as on x86-64"
