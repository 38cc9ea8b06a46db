#!/usr/bin/env bash
# Runs the agent, built for aarch64, in QEMU's Raspberry Pi 3 (raspi3b): its doctor tries the lamps of the shipped board
# file raspberry-pi-4 by rppal, and pi.py watches the lines in the registers of the machine.
# Compiler, standard library, kernel and QEMU are Debian 12's packages, unpacked below target/rig/pi; nothing is installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=tests/rig
pi=$PWD/target/rig/pi
root=$pi/root

say() { echo "pi: $*" >&2; }

packages() {
  if [ -e "$pi/unpacked" ]; then return; fi
  say "fetching a compiler for aarch64, a kernel and QEMU"
  rm -rf "$pi"
  mkdir -p "$pi/lists/partial" "$pi/cache/archives/partial" "$pi/debs" "$root"
  printf 'APT::Architectures { "amd64"; "arm64"; };\nDir::State::lists "%s";\nDir::Cache "%s";\n' \
    "$pi/lists" "$pi/cache" >"$pi/apt.conf"
  (
    export APT_CONFIG=$pi/apt.conf
    apt-get update -qq
    depends() { apt-cache depends "$1" 2>/dev/null | sed -n "s/.*Depends: \($2\)\$/\1/p" | head -1 || true; }
    std=$(depends libstd-rust-web-dev 'libstd-rust-web-[0-9.]*')
    llvm=$(depends "${std:-none}" 'libllvm[0-9]*')
    kernel=$(depends linux-image-arm64:arm64 'linux-image-6[^ ]*')
    [ -n "$std" ] && [ -n "$llvm" ] && [ -n "$kernel" ] || { say "the package lists lack a part: this needs Debian 12"; exit 1; }
    cd "$pi/debs"
    apt-get download -qq -o APT::Sandbox::User=root rustc-web "$std" "$llvm" libstd-rust-web-dev libstd-rust-web-dev:arm64 \
      gcc-aarch64-linux-gnu gcc-12-aarch64-linux-gnu gcc-12-aarch64-linux-gnu-base cpp-12-aarch64-linux-gnu \
      binutils-aarch64-linux-gnu libgcc-12-dev-arm64-cross libgcc-s1-arm64-cross libstdc++6-arm64-cross libc6-arm64-cross \
      libc6-dev-arm64-cross linux-libc-dev-arm64-cross "$kernel" busybox-static:arm64 qemu-system-arm
    for package in *.deb; do dpkg -x "$package" "$root"; done
  )
  rm -rf "$pi/debs" "$pi/lists" "$pi/cache"
  touch "$pi/unpacked"
}

agent() {
  vision/native/fetch.sh aarch64
  (
    export LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu RUSTC=$root/usr/bin/rustc
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$root/usr/bin/aarch64-linux-gnu-gcc
    # The library's own libraries are looked for in the image only.
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C link-arg=--sysroot=$root -C link-arg=-Wl,--allow-shlib-undefined"
    export CC_aarch64_unknown_linux_gnu=$root/usr/bin/aarch64-linux-gnu-gcc AR_aarch64_unknown_linux_gnu=$root/usr/bin/aarch64-linux-gnu-ar
    export CFLAGS_aarch64_unknown_linux_gnu=--sysroot=$root
    export BINDGEN_EXTRA_CLANG_ARGS_aarch64_unknown_linux_gnu=-I$root/usr/aarch64-linux-gnu/include
    # Nothing is computed there: quick to build is better than quick.
    export CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=0
    cargo build --locked --config 'profile.dev.package."*".opt-level=0' --target aarch64-unknown-linux-gnu \
      --target-dir "$pi/build" -p didar-agent --bin didar-agent
  )
}

image() {
  local image=$pi/image
  rm -rf "$image"
  mkdir -p "$image"/{bin,lib,dev,proc,sys,tmp,run,didar}
  cp "$root/bin/busybox" "$image/bin/"
  install -m 755 $here/pi-init "$image/init"
  install -m 755 "$pi/build/aarch64-unknown-linux-gnu/debug/didar-agent" "$image/bin/"
  cp -L native/aarch64/*.so "$image/lib/"
  for library in ld-linux-aarch64.so.1 libc.so.6 libm.so.6 libdl.so.2 libpthread.so.0 librt.so.1 libgcc_s.so.1 libstdc++.so.6; do
    cp -L "$root/usr/aarch64-linux-gnu/lib/$library" "$image/lib/"
  done
  cp -r firmware-config/boards "$image/didar/"
  sed 's/^board = .*/board = "raspberry-pi-4"/' firmware-config/agent.toml >"$image/didar/agent.toml"
  (cd "$image" && find . -print0 | cpio --quiet -0 -o -H newc) >"$pi/pi.cpio"
}

packages
agent
image
$here/pi.py "$pi"
