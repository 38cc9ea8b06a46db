"""Pictures to model inputs, model outputs to faces, in plain numpy.

The same steps as PREPROCESSING.md, in the same order. `evaluate.py`, `reference.py` and the calibration use this file;
nothing here is used by the product, which has its own implementation and is compared with the numbers made by this one.

Pictures are arrays of height x width x 3, uint8, RGB. A point is (x, y) in pixels; the first pixel's centre is (0, 0).
"""

from dataclasses import dataclass

import numpy as np

ALIGNED = 112
# Where the five points lie in an aligned crop: the ArcFace template.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
RIGHT_EYE = [33, 133, 159, 145, 158, 153]
LEFT_EYE = [263, 362, 386, 374, 385, 380]
NOSE_TIP, RIGHT_MOUTH, LEFT_MOUTH = 4, 61, 291
MESH_MARGIN = 1.5
PASSIVE_MARGIN = 2.7


@dataclass
class Face:
    """What the detector says: box centre and size, and six points, in pixels of the picture."""

    score: float
    centre: np.ndarray
    size: np.ndarray
    points: np.ndarray


def warp(picture, inverse, width, height):
    """Sample `picture` at `inverse` @ (x, y, 1) for every output pixel: bilinear, zero outside, rounded half up."""
    ys, xs = np.mgrid[0:height, 0:width]
    x = inverse[0, 0] * xs + inverse[0, 1] * ys + inverse[0, 2]
    y = inverse[1, 0] * xs + inverse[1, 1] * ys + inverse[1, 2]
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = (x - x0)[..., None], (y - y0)[..., None]
    top = _pixel(picture, x0, y0) * (1 - fx) + _pixel(picture, x0 + 1, y0) * fx
    bottom = _pixel(picture, x0, y0 + 1) * (1 - fx) + _pixel(picture, x0 + 1, y0 + 1) * fx
    return np.floor(top * (1 - fy) + bottom * fy + 0.5).astype(np.uint8)


def _pixel(picture, x, y):
    """Pixel values, zero where (x, y) is outside the picture."""
    height, width = picture.shape[:2]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return picture[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)] * inside[..., None].astype(np.float64)


def inverted(matrix):
    """The inverse of a 2x3 affine matrix."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.hstack([linear, -(linear @ matrix[:, 2:])])


def apply(matrix, points):
    """Map points (n, 2) by a 2x3 matrix."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def box_inverse(left, top, right, bottom, width, height):
    """The matrix from output pixels to the picture for a box whose edges are pixel edges (first pixel: -0.5 to 0.5)."""
    sx, sy = (right - left) / width, (bottom - top) / height
    return np.array([[sx, 0, left + sx / 2], [0, sy, top + sy / 2]])


def letterbox_inverse(width, height, side):
    """Square input of the detector: the picture centred in a square of its longer side, black around."""
    longer = max(width, height)
    left, top = -((longer - width) // 2) - 0.5, -((longer - height) // 2) - 0.5
    return box_inverse(left, top, left + longer, top + longer, side, side)


def sigmoid(value):
    """Logistic function, safe for large arguments."""
    return 1 / (1 + np.exp(-np.clip(value, -80, 80)))


def detect(model, picture):
    """All faces, best score first. `model` is the detector of the manifest."""
    height, width = picture.shape[:2]
    side = model.width
    inverse = letterbox_inverse(width, height, side)
    scores, points = raw_faces(model, model.run(warp(picture, inverse, side, side)))
    keep = np.flatnonzero(scores > model.threshold("score"))
    keep = keep[np.argsort(-scores[keep], kind="stable")]
    return [
        Face(score, apply(inverse, p[:1])[0], p[1] * inverse[0, 0], apply(inverse, p[2:]))
        for score, p in merge(scores[keep], points[keep], model.threshold("overlap"))
    ]


def raw_faces(model, outputs):
    """Scores (n,) and points (n, 8, 2) in input pixels (centre, size, six points) of every anchor.

    The network counts from the corner of the first pixel; half a pixel is taken off to count from its centre.
    """
    scores, points = [], []
    for head in model.outputs:
        value = (outputs[head["index"]] - 3.0) * head["range"] / 3.0
        if head["meaning"] == "scores":
            scores.append(sigmoid(value.ravel()))
            continue
        p = value.reshape(-1, 8, 2).astype(np.float64)
        centres = anchors(head["grid"], head["anchors"]) * model.width
        p[:, 0] += centres
        p[:, 2:] += centres[:, None]
        p[:, 0] -= 0.5
        p[:, 2:] -= 0.5
        points.append(p)
    return np.concatenate(scores), np.concatenate(points)


def anchors(grid, per_cell):
    """Centres of the cells, row by row, each repeated; in parts of the input."""
    cell = (np.arange(grid) + 0.5) / grid
    y, x = np.meshgrid(cell, cell, indexing="ij")
    return np.repeat(np.stack([x.ravel(), y.ravel()], 1), per_cell, axis=0)


def merge(scores, points, overlap):
    """Weighted suppression: each best face becomes the score-weighted mean of all that overlap it."""
    left = list(range(len(scores)))
    while left:
        group = [k for k in left if iou(points[left[0]], points[k]) > overlap or k == left[0]]
        weight = scores[group]
        yield float(scores[left[0]]), (points[group] * weight[:, None, None]).sum(0) / weight.sum()
        left = [k for k in left if k not in group]


def iou(a, b):
    """Intersection over union of two boxes given as (centre, size, ...)."""
    low = np.maximum(a[0] - a[1] / 2, b[0] - b[1] / 2)
    high = np.minimum(a[0] + a[1] / 2, b[0] + b[1] / 2)
    common = np.prod(np.clip(high - low, 0, None))
    return common / (np.prod(a[1]) + np.prod(b[1]) - common + 1e-9)


def main_face(faces, width, height):
    """The largest and most central face: area less twice the squared distance from the middle; None without faces."""
    middle = np.array([width, height]) / 2
    return max(faces, key=lambda f: np.prod(f.size) - 2 * np.sum((f.centre - middle) ** 2), default=None)


def mesh_matrix(face, side):
    """Picture to mesh input: a square of 1.5 times the longer side of the box, turned so that the eyes are level."""
    right, left = face.points[0], face.points[1]
    angle = np.arctan2(left[1] - right[1], left[0] - right[0])
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.array([[cos, sin], [-sin, cos]]) * side / (max(face.size) * MESH_MARGIN)
    shift = np.array([side / 2, side / 2]) - linear @ face.centre
    return np.hstack([linear, shift[:, None]])


def mesh(model, picture, matrix):
    """The 468 landmarks in pixels of the picture, and the probability that the region holds a face."""
    inverse = inverted(matrix)
    outputs = model.run(warp(picture, inverse, model.width, model.height))
    landmarks = outputs[model.output("landmarks")["index"]].reshape(-1, 3)[:, :2].astype(np.float64)
    presence = sigmoid(float(outputs[model.output("presence")["index"]].ravel()[0]))
    return apply(inverse, landmarks), presence


def five_points(landmarks):
    """Centres of the eyes, tip of the nose, corners of the mouth."""
    eyes = [landmarks[RIGHT_EYE].mean(0), landmarks[LEFT_EYE].mean(0)]
    return np.array(eyes + [landmarks[NOSE_TIP], landmarks[RIGHT_MOUTH], landmarks[LEFT_MOUTH]])


def similarity(source, target):
    """The 2x3 matrix of rotation, scale and shift that maps `source` to `target` with the least squared error."""
    ms, mt = source.mean(0), target.mean(0)
    s, t = source - ms, target - mt
    norm = (s**2).sum()
    a = (s * t).sum() / norm
    b = (s[:, 0] * t[:, 1] - s[:, 1] * t[:, 0]).sum() / norm
    linear = np.array([[a, -b], [b, a]])
    return np.hstack([linear, (mt - linear @ ms)[:, None]])


def align(picture, points):
    """The aligned crop, 112 x 112, and its matrix (picture to crop)."""
    matrix = similarity(points, TEMPLATE)
    return warp(picture, inverted(matrix), ALIGNED, ALIGNED), matrix


def passive_box(face, width, height):
    """Context of the face: 2.7 times the box, shrunk to the picture if larger, then shifted into it; and the share of
    the box that was inside before the shift. Edges (left, top, right, bottom) where the picture is -0.5 to size - 0.5.
    """
    picture = np.array([width, height], float)
    whole = face.size * PASSIVE_MARGIN
    low, high = face.centre - whole / 2, face.centre + whole / 2
    inside = np.clip(np.minimum(high, picture - 0.5) - np.maximum(low, -0.5), 0, None)
    size = face.size * min(PASSIVE_MARGIN, *(picture / face.size))
    corner = np.clip(face.centre - size / 2, -0.5, picture - 0.5 - size)
    return np.concatenate([corner, corner + size]), float(np.prod(inside) / np.prod(whole))


def passive_crop(picture, box, side):
    """The context box as the square input of the passive model."""
    return warp(picture, box_inverse(*box, side, side), side, side)


def unit(vector):
    """A vector of length one."""
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)
