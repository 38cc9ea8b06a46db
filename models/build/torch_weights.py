"""Weights of a PyTorch checkpoint as numpy arrays, without PyTorch and without running code from the file.

Reads both containers: the old one (pickles one after another, then the storages) and the zip archive. Only the few
classes that describe tensors are understood; anything else in the file becomes an inert value.
"""

import collections
import io
import pickle
import zipfile

import numpy as np

STORAGES = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ByteStorage": np.uint8,
}
Tensor = collections.namedtuple("Tensor", "storage offset shape strides")


def read(path):
    """Arrays by name."""
    raw = path.read_bytes()
    state, storages = _read_zip(raw) if raw[:2] == b"PK" else _read_legacy(raw)
    return {name: _array(t, storages[t.storage]) for name, t in state.items() if isinstance(t, Tensor)}


class _Unpickler(pickle.Unpickler):
    """Resolves tensors to descriptions; `kinds` collects the element type of each storage."""

    def __init__(self, file):
        super().__init__(file)
        self.kinds = {}

    def find_class(self, module, name):
        if name == "OrderedDict":
            return collections.OrderedDict
        if name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: Tensor(storage, offset, shape, strides)
        if name == "_rebuild_parameter":
            return lambda tensor, *_: tensor
        return STORAGES.get(name, _Inert)

    def persistent_load(self, identity):
        _, kind, key = identity[:3]
        self.kinds[key] = np.dtype(kind)
        return key


class _Inert:
    """Stands for an object that we have no use for."""

    def __init__(self, *_, **__):
        pass


def _read_legacy(raw):
    file = io.BytesIO(raw)
    for _ in range(3):  # magic number, protocol version, machine facts: plain numbers and text
        _Unpickler(file).load()
    reader = _Unpickler(file)
    state, keys = reader.load(), _Unpickler(file).load()
    storages = {}
    for key in keys:
        count = int.from_bytes(file.read(8), "little")
        kind = reader.kinds[key]
        storages[key] = np.frombuffer(file.read(count * kind.itemsize), kind)
    return state, storages


def _read_zip(raw):
    archive = zipfile.ZipFile(io.BytesIO(raw))
    index = next(name for name in archive.namelist() if name.endswith("data.pkl"))
    reader = _Unpickler(io.BytesIO(archive.read(index)))
    state, root = reader.load(), index.removesuffix("data.pkl")
    return state, {key: np.frombuffer(archive.read(f"{root}data/{key}"), kind) for key, kind in reader.kinds.items()}


def _array(tensor, storage):
    strides = [step * storage.itemsize for step in tensor.strides]
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides).copy()
