"""How well the embeddings tell people apart, and how long they take.

    DIDAR_DATA=FOLDER python evaluate.py [--forms NAME,NAME]

Reads pairs.csv in the folder: the pairs of the LFW View 2 protocol (accuracy: the threshold is chosen on one fold and
tested on the other), all cross pairs of the same pictures (TAR at FAR and the thresholds), and the webcam pairs across
sessions of NUAA. Writes no file.
"""

import argparse
import csv
import os
import pathlib
import sys
import time

import cv2
import numpy as np

import manifest
import vision

FAR = (1e-3, 1e-4, 1e-5)


def main():
    """Measure every form of the embedding named in the manifest, then the pairs of forms."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--forms", help="names from the manifest, separated by commas (default: all)")
    chosen = arguments.parse_args().forms
    folder = os.environ.get("DIDAR_DATA")
    if not folder:
        sys.exit("skipped: no evaluation data (set DIDAR_DATA)")
    described = manifest.read()
    pairs = read_pairs(pathlib.Path(folder))
    crops = aligned_crops(pathlib.Path(folder), sorted({p for pair in pairs for p in pair[:2]}), described)
    known = {}
    for name, entry in manifest.embeddings(described).items():
        if chosen and name not in chosen.split(","):
            continue
        known[name], best_ms = embed(manifest.Model(entry), crops)
        report(name, known[name], pairs, list(crops), best_ms)
    for pair in described.get("pair", []):
        if all(member in known for member in pair["members"]):
            joined = np.hstack([known[member] for member in pair["members"]]) / np.sqrt(len(pair["members"]))
            report(pair["name"], joined, pairs, list(crops), None)


def read_pairs(folder):
    """(path, path, same, protocol, fold) of every pair."""
    with open(folder / "pairs.csv", newline="") as file:
        return [(r["path_a"], r["path_b"], r["same"] == "1", r["protocol"], r["fold"]) for r in csv.DictReader(file)]


def aligned_crops(folder, paths, described):
    """The aligned crop of the main face of each picture, by path; pictures without a face are named and left out."""
    detector, mesh = manifest.model("detector", described), manifest.model("mesh", described)
    crops = {}
    for path in paths:
        picture = cv2.imread(str(folder / path))[:, :, ::-1]
        face = vision.main_face(vision.detect(detector, picture), picture.shape[1], picture.shape[0])
        if face is None:
            print("no face:", path)
            continue
        landmarks, _ = vision.mesh(mesh, picture, vision.mesh_matrix(face, mesh.width))
        crops[path] = vision.align(picture, vision.five_points(landmarks))[0]
    return crops


def embed(model, crops):
    """Unit embeddings of all crops, and the best time of one run in ms."""
    vectors, best = [], np.inf
    for crop in crops.values():
        start = time.perf_counter()
        vectors.append(model.run(crop)[model.output("embedding")["index"]].astype(np.float32))
        best = min(best, time.perf_counter() - start)
    return vision.unit(np.array(vectors)), best * 1e3


def report(name, vectors, pairs, paths, best_ms):
    """Print the figures of one form."""
    place = {path: k for k, path in enumerate(paths)}
    known = [p for p in pairs if p[0] in place and p[1] in place]
    view2 = [p for p in known if p[3] == "lfw_view2"]
    scores = score(vectors, place, view2)
    same, fold = np.array([p[2] for p in view2]), np.array([p[4] for p in view2])
    print(f"{name}: accuracy {accuracy(scores, same, fold):.4f}", f"best {best_ms:.2f} ms" if best_ms else "")
    genuine, impostor = cross(vectors, place, sorted({p for pair in view2 for p in pair[:2]}))
    print(f"  LFW cross pairs, {len(genuine)} genuine, {len(impostor)} impostor:", tar(genuine, impostor))
    webcam = [p for p in known if p[3] == "nuaa_cross_session"]
    scores, same = score(vectors, place, webcam), np.array([p[2] for p in webcam])
    limits = [threshold(impostor, far) for far in FAR]
    passed = ", ".join(f"{(scores[~same] > t).mean():.3f}" for t in limits)
    print(f"  NUAA across sessions: lowest genuine {scores[same].min():.3f},", end=" ")
    print(f"highest impostor {scores[~same].max():.3f}, impostors above those thresholds {passed}", flush=True)


def score(vectors, place, pairs):
    """Cosine of each pair."""
    a, b = [place[p[0]] for p in pairs], [place[p[1]] for p in pairs]
    return (vectors[a] * vectors[b]).sum(1)


def accuracy(scores, same, fold):
    """Mean over the folds; the threshold of a fold is the best one of the others."""
    results = []
    for tested in np.unique(fold):
        rest = fold != tested
        steps = np.unique(scores[rest])
        right = [((scores[rest] > step) == same[rest]).mean() for step in steps]
        results.append(((scores[~rest] > steps[int(np.argmax(right))]) == same[~rest]).mean())
    return float(np.mean(results))


def cross(vectors, place, paths):
    """Scores of all genuine and all impostor pairs; the person is the folder of the picture."""
    chosen = vectors[[place[p] for p in paths]]
    person = np.array([pathlib.PurePath(p).parent.name for p in paths])
    upper = np.triu_indices(len(paths), 1)
    scores, same = (chosen @ chosen.T)[upper], person[upper[0]] == person[upper[1]]
    return scores[same], np.sort(scores[~same])


def threshold(impostor, far):
    """The score that this share of the impostors exceeds. `impostor` is sorted."""
    return float(impostor[int(np.ceil(len(impostor) * (1 - far))) - 1])


def tar(genuine, impostor):
    """Share of genuine pairs above the threshold of each false accept rate."""
    limits = {far: threshold(impostor, far) for far in FAR}
    return " ".join(f"{far:g}: {(genuine > t).mean():.4f} (cosine {t:.3f})" for far, t in limits.items())


if __name__ == "__main__":
    main()
