"""Models as the manifest describes them, run by the reference interpreter (ai-edge-litert, one thread)."""

import pathlib
import tomllib

import numpy as np

MODELS = pathlib.Path(__file__).resolve().parent.parent


class Model:
    """One model file and what the manifest says about it."""

    def __init__(self, entry, folder=MODELS):
        from ai_edge_litert.interpreter import Interpreter

        self.entry = entry
        self.name = entry["name"]
        self.outputs = entry["outputs"]
        self.width, self.height = entry["input"]["width"], entry["input"]["height"]
        self._mean = np.array(entry["input"]["mean"], np.float32)
        self._std = np.array(entry["input"]["std"], np.float32)
        self._interpreter = Interpreter(model_path=str(folder / entry["file"]), num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[entry["input"]["index"]]
        self._outputs = self._interpreter.get_output_details()

    def run(self, crop):
        """Outputs, dequantised, in the interpreter's order, for one RGB crop of the input's size."""
        self._interpreter.set_tensor(self._input["index"], self.quantised(self.normalised(crop))[None])
        self._interpreter.invoke()
        return [dequantised(self._interpreter.get_tensor(o["index"])[0], o) for o in self._outputs]

    def normalised(self, crop):
        """Pixels as the network was trained to see them, float32."""
        ordered = crop[..., ::-1] if self.entry["input"]["order"] == "bgr" else crop
        return (ordered.astype(np.float32) - self._mean) / self._std

    def quantised(self, values):
        """Values of the type that the input tensor has."""
        if self._input["dtype"] != np.int8:
            return values
        scale, zero = self._input["quantization"]
        return np.clip(np.floor(values / np.float32(scale) + zero + 0.5), -128, 127).astype(np.int8)

    def output(self, meaning):
        """The output with this meaning."""
        return next(o for o in self.outputs if o["meaning"] == meaning)

    def threshold(self, name):
        """The threshold with this name."""
        return next(t["value"] for t in self.entry["thresholds"] if t["name"] == name)


def dequantised(values, details):
    """Real values of an output tensor."""
    if details["dtype"] != np.int8:
        return values
    scale, zero = details["quantization"]
    return (values.astype(np.float32) - zero) * np.float32(scale)


def read(path=MODELS / "manifest.toml"):
    """The manifest as tables."""
    return tomllib.loads(path.read_text())


def model(role, manifest=None):
    """The shipped model of a role."""
    return Model(next(m for m in (manifest or read())["model"] if m["role"] == role))


def embeddings(manifest=None):
    """Entries of every form of the embedding, shipped and candidate, by name."""
    manifest = manifest or read()
    entries = [m for m in manifest["model"] if m["role"] == "embedding"] + manifest["candidate"]
    return {e["name"]: e for e in entries}
