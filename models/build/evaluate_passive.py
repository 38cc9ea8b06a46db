"""How well the passive model tells the living from printed photographs, and what its score is worth as evidence.

    DIDAR_DATA=FOLDER python evaluate_passive.py [FILE]

FILE is another form of the same model; without it the shipped one is measured.

Reads pad/nuaa (webcam pictures: live people, printed photographs) and lfw (press photographs of living people). Prints
the errors at 0.5 and the mapping for the manifest: llr = clamp(slope * margin + offset, low, high), where the margin is
the logit of `live` less the logarithm of the sum of the exponentials of the others. Writes no file.
"""

import os
import pathlib
import sys

import cv2
import numpy as np

import manifest
import vision

# A face is judged only where at least this share of its context is inside the picture.
INSIDE_MIN = 0.5


def main():
    """Measure and fit."""
    if not os.environ.get("DIDAR_DATA"):
        sys.exit("skipped: no evaluation data (set DIDAR_DATA)")
    folder = pathlib.Path(os.environ["DIDAR_DATA"])
    described = manifest.read()
    detector, passive = manifest.model("detector", described), manifest.model("passive", described)
    if len(sys.argv) > 1:
        passive = manifest.Model({**passive.entry, "name": sys.argv[1], "file": sys.argv[1]}, pathlib.Path())
    live = margins(sorted(folder.glob("pad/nuaa/live/**/*.*")), detector, passive)
    spoof = margins(sorted(folder.glob("pad/nuaa/spoof/**/*.*")), detector, passive)
    press = margins(sorted(folder.glob("lfw/*/*.jpg"))[::4], detector, passive)
    print(f"{passive.name}: NUAA {len(live)} live, {len(spoof)} spoofs, AUC {auc(live, spoof):.5f}")
    print(f"  at 0.5: APCER {(spoof > 0).mean():.4f}, BPCER {(live <= 0).mean():.4f}")
    print(f"  margins: live {spread(live)}; spoof {spread(spoof)}; press photographs {spread(press)}")
    print(f"  press photographs of the living below 0.5: {(press <= 0).mean():.4f} of {len(press)}")
    slope, offset = platt(live, spoof)
    low = np.log((press <= 0).mean() + 3 / len(press))
    high = np.log(len(spoof) / ((spoof > 0).sum() + 3))
    print(f"  llr: slope {slope:.4f}, offset {offset:.4f}, low {low:.2f}, high {high:.2f}")


def margins(paths, detector, passive):
    """The margin of the main face of each picture that shows enough context."""
    found = []
    for path in paths:
        picture = cv2.imread(str(path))[:, :, ::-1]
        height, width = picture.shape[:2]
        face = vision.main_face(vision.detect(detector, picture), width, height)
        if face is None:
            continue
        box, inside = vision.passive_box(face, width, height)
        if inside >= INSIDE_MIN:
            crop = vision.passive_crop(picture, box, passive.width)
            found.append(margin(passive.run(crop)[0], passive.output("classes")["live"]))
    return np.array(found)


def margin(logits, live):
    """The logarithm of the odds of `live` by the softmax."""
    others = np.delete(logits.astype(np.float64), live)
    return float(logits[live] - np.logaddexp.reduce(others))


def auc(live, spoof):
    """The chance that a live face scores above a spoof."""
    return float((live[:, None] > spoof[None]).mean() + 0.5 * (live[:, None] == spoof[None]).mean())


def spread(values):
    """The lowest, the 5th, 50th and 95th percentile, and the highest."""
    return " ".join(f"{v:.2f}" for v in np.quantile(values, [0, 0.05, 0.5, 0.95, 1]))


def platt(live, spoof):
    """Slope and offset of the log-odds at even priors; Platt's targets keep them finite where nothing overlaps."""
    x = np.concatenate([live, spoof])
    design = np.stack([x, np.ones_like(x)], 1)
    target = np.concatenate([np.full(len(live), 1 - 1 / (len(live) + 2)), np.full(len(spoof), 1 / (len(spoof) + 2))])
    weight = np.concatenate([np.full(len(live), 1 / len(live)), np.full(len(spoof), 1 / len(spoof))])
    w = np.zeros(2)
    for _ in range(100):
        p = vision.sigmoid(design @ w)
        gradient = design.T @ (weight * (p - target))
        hessian = (design * (weight * p * (1 - p))[:, None]).T @ design + 1e-9 * np.eye(2)
        w = w - np.linalg.solve(hessian, gradient)
    return w


if __name__ == "__main__":
    main()
