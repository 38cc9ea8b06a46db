"""Golden numbers for the product's own vision code: two portraits and two derived views of each.

    python reference.py

For each view writes golden/NAME.json, golden/NAME.aligned.png, and golden/NAME.png where the view is not the portrait
itself. Forms of the embedding that are not shipped are included when their files are there (`make models`).
"""

import json
import pathlib

import cv2
import numpy as np

import calibration
import manifest
import vision

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden"
# View -> width, height, scale, turn in degrees, and the shift of the portrait's corner in pixels.
VIEWS = {
    "whole": None,
    "small": (320, 240, 0.45, 0.0, (30.0, -20.0)),
    "turned": (400, 300, 0.55, 14.0, (110.0, -10.0)),
}


def main():
    """Write the numbers of every view."""
    GOLDEN.mkdir(exist_ok=True)
    described = manifest.read()
    models = {role: manifest.model(role, described) for role in ("detector", "mesh", "passive")}
    forms = {n: manifest.Model(e) for n, e in manifest.embeddings(described).items() if present(e)}
    for portrait in calibration.PORTRAITS:
        for view, recipe in VIEWS.items():
            name = f"{pathlib.PurePath(portrait).stem}-{view}"
            picture = derived(cv2.imread(str(calibration.FACES / portrait))[:, :, ::-1], recipe)
            numbers, aligned = measured(picture, models, forms)
            file = f"../faces/{portrait}" if recipe is None else f"{name}.png"
            if recipe is not None:
                write_png(GOLDEN / file, picture)
            write_png(GOLDEN / f"{name}.aligned.png", aligned)
            write_json(GOLDEN / f"{name}.json", {"picture": file, "aligned": f"{name}.aligned.png", **numbers})
            print(name, "score", round(numbers["detector"]["score"], 4), "logits", numbers["passive"]["logits"])


def present(entry):
    """Whether the file of this form is there."""
    return (manifest.MODELS / entry["file"]).exists()


def derived(portrait, recipe):
    """The portrait scaled, turned and shifted; zero where it does not reach."""
    if recipe is None:
        return portrait
    width, height, scale, turn, shift = recipe
    cos, sin = scale * np.cos(np.radians(turn)), scale * np.sin(np.radians(turn))
    matrix = np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]])
    return vision.warp(portrait, vision.inverted(matrix), width, height)


def measured(picture, models, forms):
    """Every step of PREPROCESSING.md on one picture, and the aligned crop."""
    height, width = picture.shape[:2]
    face = vision.main_face(vision.detect(models["detector"], picture), width, height)
    matrix = vision.mesh_matrix(face, models["mesh"].width)
    landmarks, presence = vision.mesh(models["mesh"], picture, matrix)
    points = vision.five_points(landmarks)
    aligned, align_matrix = vision.align(picture, points)
    box, inside = vision.passive_box(face, width, height)
    passive = models["passive"]
    logits = passive.run(vision.passive_crop(picture, box, passive.width))[passive.output("classes")["index"]]
    numbers = {
        "detector": {
            "model": models["detector"].name,
            "score": face.score,
            "centre": face.centre,
            "size": face.size,
            "points": face.points,
        },
        "mesh": {"model": models["mesh"].name, "matrix": matrix, "presence": presence, "landmarks": landmarks},
        "align": {"points": points, "matrix": align_matrix},
        "passive": {"model": passive.name, "box": box, "inside": inside, "logits": logits},
        "embeddings": {
            name: vision.unit(form.run(aligned)[form.output("embedding")["index"]]) for name, form in forms.items()
        },
    }
    return numbers, aligned


def plain(value):
    """The same tables with arrays as lists and five places after the point."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (float, np.floating, np.ndarray)):
        return np.round(np.asarray(value, float), 5).tolist()
    return value


def write_json(path, numbers):
    """Write one line for each step, so that a change shows where it began."""
    lines = [f" {json.dumps(k)}: {json.dumps(plain(v), separators=(',', ':'))}" for k, v in numbers.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def write_png(path, picture):
    """Write an RGB picture."""
    cv2.imwrite(str(path), picture[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main()
