# Sourced, from the project's folder, by what builds for aarch64: Debian 12's packages of a compiler, its standard library and
# a linker, unpacked below target/arm; nothing is installed. Sets arm, arm_root and cargo's variables.
# shellcheck shell=bash
arm=$PWD/target/arm
arm_root=$arm/root

if [ "$(uname -m)" != x86_64 ] || ! command -v apt-get dpkg >/dev/null; then
  echo "arm: needs an x86-64 machine with Debian's apt and dpkg" >&2
  exit 2
fi

# arm_depends PACKAGE PATTERN: the dependency whose name has a version in it.
arm_depends() { apt-cache depends "$1" 2>/dev/null | sed -n "s/.*Depends: \($2\)\$/\1/p" | head -1 || true; }

# arm_fetch NAME FUNCTION: unpacks the packages that FUNCTION prints, once.
arm_fetch() {
  if [ -e "$arm/unpacked-$1" ]; then return; fi
  echo "arm: fetching the $1" >&2
  local debs=$arm/debs-$1
  rm -rf "$debs"
  mkdir -p "$arm/lists/partial" "$arm/cache/archives/partial" "$debs" "$arm_root"
  printf 'APT::Architectures { "amd64"; "arm64"; };\nDir::State::lists "%s";\nDir::Cache "%s";\n' \
    "$arm/lists" "$arm/cache" >"$arm/apt.conf"
  (
    export APT_CONFIG=$arm/apt.conf
    apt-get update -qq
    packages=$("$2")
    cd "$debs"
    # shellcheck disable=SC2086
    apt-get download -qq -o APT::Sandbox::User=root $packages
    for package in *.deb; do
      # A package whose folders are links elsewhere takes their places; what matters is in usr.
      dpkg -x "$package" "$arm_root"
    done
  ) || { echo "arm: the $1 cannot be had: this needs Debian 12 (it has rustc-web) and its package lists" >&2; exit 2; }
  rm -rf "$debs" "$arm/lists" "$arm/cache"
  touch "$arm/unpacked-$1"
}

arm_compiler() {
  local std llvm
  std=$(arm_depends libstd-rust-web-dev 'libstd-rust-web-[0-9.]*')
  llvm=$(arm_depends "${std:-none}" 'libllvm[0-9]*')
  [ -n "$std" ] && [ -n "$llvm" ] || return 1
  echo "$std" "$llvm" rustc-web libstd-rust-web-dev libstd-rust-web-dev:arm64 \
    gcc-aarch64-linux-gnu gcc-12-aarch64-linux-gnu gcc-12-aarch64-linux-gnu-base cpp-12-aarch64-linux-gnu \
    binutils-aarch64-linux-gnu libgcc-12-dev-arm64-cross libgcc-s1-arm64-cross libstdc++6-arm64-cross libc6-arm64-cross \
    libc6-dev-arm64-cross linux-libc-dev-arm64-cross
}

arm_fetch compiler arm_compiler
export LD_LIBRARY_PATH=$arm_root/usr/lib/x86_64-linux-gnu RUSTC=$arm_root/usr/bin/rustc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$arm_root/usr/bin/aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C link-arg=--sysroot=$arm_root"
export CC_aarch64_unknown_linux_gnu=$arm_root/usr/bin/aarch64-linux-gnu-gcc AR_aarch64_unknown_linux_gnu=$arm_root/usr/bin/aarch64-linux-gnu-ar
export CFLAGS_aarch64_unknown_linux_gnu=--sysroot=$arm_root
export BINDGEN_EXTRA_CLANG_ARGS_aarch64_unknown_linux_gnu=-I$arm_root/usr/aarch64-linux-gnu/include
