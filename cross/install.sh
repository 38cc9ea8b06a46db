#!/usr/bin/env bash
# install.sh COMMAND-OR-PATH=PACKAGE...: installs the packages whose command or path (patterns too) is not there. Debian, Ubuntu.
set -euo pipefail
missing=()
for pair in "$@"; do
  thing=${pair%%=*}
  if ! command -v "$thing" >/dev/null 2>&1 && [ ! -e "/usr/sbin/$thing" ] && ! compgen -G "$thing" >/dev/null; then
    missing+=("${pair##*=}")
  fi
done
if [ "${#missing[@]}" -eq 0 ]; then exit 0; fi
echo "installing ${missing[*]}" >&2
root=""
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "${missing[*]} missing; run as root: apt-get install -y ${missing[*]}" >&2; exit 1; }
  root=sudo
fi
$root apt-get update -qq
$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
