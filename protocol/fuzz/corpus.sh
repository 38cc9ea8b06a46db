#!/usr/bin/env bash
# The inputs that the fuzz targets begin with.
#   corpus.sh lay TARGET DIR    puts into DIR the seeds of TARGET and what earlier runs found worth keeping (corpus.tar.gz)
#   corpus.sh keep              packs corpus.tar.gz anew: of each target the smallest part of target/corpus that reaches all that
#                               the whole reaches and the seeds do not (libFuzzer's merge); after smoke.sh has run every target
# The seeds are the golden vectors, or seeds/TARGET where there is one.
set -euo pipefail
cd "$(dirname "$0")"
host=$(rustc -vV | sed -n 's/^host: //p')
target=${DIDAR_FUZZ_TARGET:-target}

seeds() {
  local name=$1 into=$2
  if [ -d "seeds/$name" ]; then cp "seeds/$name"/* "$into/"; else cp ../vectors/*.cbor ../vectors/bad/*.cbor "$into/"; fi
  if [ "$name" = recording ]; then cp ../../liveness/vectors/*.cbor ../../liveness/vectors/*.json "$into/"; fi
}

lay() {
  local name=$1 into=$2
  mkdir -p "$into"
  seeds "$name" "$into"
  if tar -tzf corpus.tar.gz "$name" >/dev/null 2>&1; then tar -xzf corpus.tar.gz -C "$into" --strip-components=1 "$name"; fi
}

keep() {
  local source name merged
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  for source in targets/*.rs; do
    name=$(basename "$source" .rs)
    merged="$work/merged/$name"
    mkdir -p "$merged" "$work/kept/$name"
    seeds "$name" "$merged"
    "$target/$host/release/$name" -merge=1 -set_cover_merge=1 -timeout=60 -rss_limit_mb=1024 -max_len=98305 \
      "$merged" "$target/corpus/$name" >"$target/$name.merge.log" 2>&1 ||
      { tail -n 20 "$target/$name.merge.log" >&2; exit 1; }
    # What a run finds is named by its SHA-1; seeds have names.
    find "$merged" -type f -regextype egrep -regex '.*/[0-9a-f]{40}' -exec mv -t "$work/kept/$name" {} +
    echo "$name: $(find "$work/kept/$name" -type f | wc -l) inputs kept"
  done
  local plain=(--sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX)
  (cd "$work/kept" && tar "${plain[@]}" -cf - *) | gzip -9n >corpus.tar.gz
  ls -l corpus.tar.gz
}

case ${1:-} in
  lay) lay "$2" "$3" ;;
  keep) keep ;;
  *) echo "corpus.sh lay TARGET DIR, or corpus.sh keep" >&2; exit 2 ;;
esac
