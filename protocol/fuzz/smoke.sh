#!/usr/bin/env bash
# Runs every fuzz target, or those that are named, for a while, as many at once as there are processors:
# smoke.sh [SECONDS PER TARGET, default 5 [TARGET...]].
# A run begins with what corpus.sh lays out; what it finds new stays in target/corpus/TARGET, and `corpus.sh keep` packs the
# best of it for the repository. A finding fails the run and lies in artifacts/; replay it with the target's binary and the
# file as argument.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-5}
names=("${@:2}")
if [ "${#names[@]}" -eq 0 ]; then names=(targets/*.rs); fi
./build.sh
host=$(rustc -vV | sed -n 's/^host: //p')
target=${DIDAR_FUZZ_TARGET:-target}
mkdir -p artifacts

# One target. A minute for one input is no clock's mood on a busy machine any more. 255 keeps the others from beginning.
one() {
  set -euo pipefail
  local name=$1 corpus="$target/corpus/$1" log="$target/$1.log" runs edges
  ./corpus.sh lay "$name" "$corpus"
  if ! "$target/$host/release/$name" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=1024 -max_len=98305 \
      -artifact_prefix=artifacts/ "$corpus" >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    echo "fuzz target $name found something: see protocol/fuzz/artifacts" >&2
    exit 255
  fi
  runs=$(sed -n 's/^Done \([0-9]*\) runs.*/\1/p' "$log" | tail -n 1)
  edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
  # Coverage that stays near zero means that the counters were not compiled in, and the fuzzer is blind.
  if [ "${edges:-0}" -lt 50 ]; then
    echo "fuzz target $name sees ${edges:-0} edges only: built without coverage?" >&2
    exit 255
  fi
  echo "$name: $runs runs, $edges edges, nothing found"
}
export -f one
export seconds host target
for name in "${names[@]}"; do basename "$name" .rs; done | xargs -P "$(nproc)" -I '{}' bash -c 'one {}'
