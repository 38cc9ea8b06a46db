"""Pictures by which int8 chooses its scales: two public-domain portraits under many lights and positions.

No private picture is needed to rebuild the models. Each call yields the same crops: the random numbers are seeded.
"""

import pathlib

import cv2
import numpy as np

import vision

FACES = pathlib.Path(__file__).resolve().parent / "faces"
COUNT = 200
SEED = 20

# Where the faces are (found once by the float detector and mesh): five points as in the aligned crop.
PORTRAITS = {
    "astronaut.png": [[204.6, 100.9], [245.8, 103.1], [223.3, 124.4], [199.7, 139.2], [246.5, 141.7]],
    "grace_hopper.png": [[221.7, 192.1], [305.0, 187.3], [268.4, 234.3], [231.6, 277.2], [305.9, 272.6]],
}


def aligned(count=COUNT):
    """Crops 112 x 112 around the face as the embedding sees it."""
    return _crops(count, vision.ALIGNED, vision.TEMPLATE, turn=4, zoom=0.06, shift=2.5)


def mesh(count=COUNT, side=192):
    """Crops as the mesh sees a face: one and a half boxes."""
    return _crops(count, side, _centred(side, 0.24), turn=12, zoom=0.15, shift=12)


def context(count=COUNT, side=128):
    """Crops as the passive model sees a face: 2.7 boxes."""
    return _crops(count, side, _centred(side, 0.15), turn=8, zoom=0.15, shift=8)


def whole(count=COUNT, side=128):
    """Pictures as the detector sees them: a face in the middle, about a third of the side.

    Larger faces and harder light widen the ranges until the boxes drift: with sizes from half to double, the int8
    detector missed 10 of 242 faces and its boxes overlapped those of the float one by 0.75 in place of 0.91.
    """
    return _crops(count, side, _centred(side, 0.17), turn=5, zoom=0.15, shift=4, light=_dimmed)


def _centred(side, eyes):
    """The template with its eyes this part of the side apart, in the middle of the crop."""
    spread = vision.TEMPLATE - vision.TEMPLATE.mean(0)
    return spread * (eyes * side / (vision.TEMPLATE[1, 0] - vision.TEMPLATE[0, 0])) + side / 2


def _crops(count, side, target, turn, zoom, shift, light=None):
    """Random similarity around the target position, then random light."""
    random = np.random.default_rng(SEED)
    pictures = [(_read(name), np.array(points)) for name, points in PORTRAITS.items()]
    for k in range(count):
        picture, points = pictures[k % len(pictures)]
        moved = _moved(target, side, random, turn, zoom, shift)
        matrix = vision.similarity(points, moved)
        crop = vision.warp(picture, vision.inverted(matrix), side, side)
        crop = crop[:, ::-1] if random.random() < 0.5 else crop
        yield (light or _lit)(crop.astype(np.float64), random)


def _moved(target, side, random, turn, zoom, shift):
    """Target points turned (degrees), enlarged (log scale) and shifted (pixels) about the middle of the crop."""
    angle = np.radians(random.uniform(-turn, turn))
    scale = np.exp(random.uniform(-zoom, zoom))
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    about = (target - side / 2) @ np.array([[cos, -sin], [sin, cos]]).T
    return about + side / 2 + random.uniform(-shift, shift, 2)


def _lit(crop, random):
    """Another light: side light, tint, contrast, gamma, sometimes grey, blur and noise."""
    height, width = crop.shape[:2]
    slope = random.uniform(-0.5, 0.5, 2)
    across, down = np.linspace(-1, 1, width)[None, :, None], np.linspace(-1, 1, height)[:, None, None]
    crop = crop * np.clip(1 + slope[0] * across + slope[1] * down, 0.1, 2) * random.uniform(0.85, 1.15, 3)
    if random.random() < 0.25:
        crop = np.repeat(crop.mean(2, keepdims=True), 3, 2)
    crop = 128 + (crop - 128) * random.uniform(0.6, 1.4) + random.uniform(-40, 40)
    crop = 255 * (np.clip(crop, 0, 255) / 255) ** random.uniform(0.7, 1.5)
    if random.random() < 0.3:
        crop = cv2.GaussianBlur(crop, (0, 0), random.uniform(0.5, 1.5))
    crop = crop + random.normal(0, random.uniform(0, 6), crop.shape)
    return np.clip(np.floor(crop + 0.5), 0, 255).astype(np.uint8)


def _dimmed(crop, random):
    """Another exposure and a slight tint."""
    crop = crop * random.uniform(0.95, 1.05, 3) * random.uniform(0.7, 1.15)
    return np.clip(np.floor(crop + 0.5), 0, 255).astype(np.uint8)


def _read(name):
    return cv2.imread(str(FACES / name))[:, :, ::-1]
