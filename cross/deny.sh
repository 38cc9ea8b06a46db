#!/usr/bin/env bash
# deny.sh: licences, sources and bans of every dependency, and the advisories about them where their database can be
# fetched. Installs cargo-deny (some minutes) where that version is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.20.2
if [ "$(cargo deny --version 2>/dev/null)" != "cargo-deny $version" ]; then
  # Unoptimised: it builds in half the time, and reads this workspace in seconds all the same.
  cargo install --quiet --locked --debug "cargo-deny@$version"
fi
cargo deny check bans licenses sources
if cargo deny fetch db >/dev/null 2>&1; then
  cargo deny check advisories
else
  echo "deny: the advisories' database cannot be had, advisories not checked"
fi
