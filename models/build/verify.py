"""Compare the models just made with the manifest.

    python verify.py MADE CANDIDATES

MADE holds the shipped models as just built, CANDIDATES the other forms. Equal bytes are best. Quantising measures
ranges with the float arithmetic of the machine, so another processor may give other bytes: then the outputs on the two
portraits must agree with those of the committed file (cosine of each at least MIN_COSINE); the committed file stays.
A candidate has no committed file: other bytes than the manifest names are only reported.
"""

import hashlib
import pathlib
import sys

import numpy as np

import calibration
import manifest

MIN_COSINE = 0.99
CROPS = {"detector": calibration.whole, "mesh": calibration.mesh, "passive": calibration.context}


def main():
    """Say how each file compares; stop with an error if a shipped one differs."""
    made, candidates = map(pathlib.Path, sys.argv[1:3])
    described = manifest.read()
    wrong = [e["name"] for e in described["model"] if not verified(e, made)]
    for entry in described.get("candidate", []):
        path = candidates / pathlib.PurePath(entry["file"]).name
        print(entry["name"] + ":", "same bytes" if same_bytes(path, entry) else "other bytes than in the manifest")
    if wrong:
        sys.exit("not what the manifest describes: " + ", ".join(wrong))


def verified(entry, made):
    """Whether the model just made is the shipped one, by bytes or by numbers."""
    path = made / entry["file"]
    if not same_bytes(manifest.MODELS / entry["file"], entry):
        print(f"{entry['name']}: the file in models/ is not the one that the manifest names")
        return False
    if same_bytes(path, entry):
        print(f"{entry['name']}: same bytes")
        return True
    lowest = agreement(manifest.Model(entry), manifest.Model(entry, made), entry)
    print(f"{entry['name']}: other bytes, lowest cosine of an output {lowest:.4f} (at least {MIN_COSINE} is accepted)")
    return lowest >= MIN_COSINE


def same_bytes(path, entry):
    """Whether the file has the size and sha256 of the manifest."""
    if not path.exists():
        return False
    content = path.read_bytes()
    return len(content) == entry["bytes"] and hashlib.sha256(content).hexdigest() == entry["sha256"]


def agreement(committed, made, entry):
    """The lowest cosine between the outputs of the two files, over eight crops of the portraits."""
    lowest = 1.0
    for crop in CROPS.get(entry["role"], calibration.aligned)(8):
        for a, b in zip(committed.run(crop), made.run(crop), strict=True):
            lowest = min(lowest, cosine(a.ravel(), b.ravel()))
    return lowest


def cosine(a, b):
    """Cosine of two outputs; outputs of different length do not agree at all, single numbers have no direction."""
    if a.size != b.size:
        return 0.0
    a, b = a.astype(np.float64), b.astype(np.float64)
    return 1.0 if a.size == 1 else float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-12))


if __name__ == "__main__":
    main()
