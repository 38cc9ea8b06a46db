"""Embedding B and the passive model: ONNX graphs of the package `faceplugin-face-recognition-js`.

Only the operators that these graphs use are understood; another one is an error that names it.
"""

import numpy as np
import onnx
import tensorflow as tf

import layers

# These only compute the shape of the reshape before the first matrix; the number of values is known here.
SHAPE_ARITHMETIC = {"Shape", "Constant", "Gather", "Unsqueeze", "Concat"}


def network(path, split_prelu=False):
    """The function that the graph computes, height x width x channels; `split_prelu` is the form for int8."""
    graph = onnx.load(path).graph
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in graph.initializer}
    picture = next(i.name for i in graph.input if i.name not in constants)
    prelu = layers.split_prelu if split_prelu else layers.prelu

    def run(x):
        values = {picture: x}
        for node in graph.node:
            if node.op_type not in SHAPE_ARITHMETIC:
                values[node.output[0]] = _apply(node, values, constants, prelu)
        return values[graph.output[0].name]

    return run


def _apply(node, values, constants, prelu):
    """The value of one node."""
    inputs = [values[name] for name in node.input if name in values]
    fixed = [constants[name] for name in node.input if name in constants]
    x = inputs[0]
    match node.op_type:
        case "Conv":
            return _conv(node, x, fixed)
        case "PRelu":
            return prelu(x, np.ravel(fixed[0]))
        case "Relu":
            return tf.nn.relu(x)
        case "Sigmoid":
            return tf.sigmoid(x)
        case "Add":
            return inputs[0] + inputs[1]
        case "Mul":
            return inputs[0] * inputs[1]
        case "GlobalAveragePool":
            return tf.reduce_mean(x, (1, 2), keepdims=True)
        case "Reshape":
            return layers.channels_first(x) if x.shape[1] != 1 else tf.reshape(x, (1, -1))
        case "MatMul":
            return tf.matmul(x, fixed[0])
        case "BatchNormalization":
            return _normalised(node, x, *fixed)
    raise ValueError(f"no translation for {node.op_type}")


def _conv(node, x, fixed):
    """A convolution, full or of single channels."""
    attributes = _attributes(node)
    kernel, bias = fixed
    stride, pads = attributes["strides"][0], attributes.get("pads", (0, 0, 0, 0))
    if attributes.get("group", 1) == 1:
        return layers.conv(x, kernel.transpose(2, 3, 1, 0), bias, stride, pads)
    if attributes["group"] != x.shape[-1] or kernel.shape[0] != x.shape[-1]:
        raise ValueError("only full and depthwise convolutions are understood")
    return layers.depthwise(x, kernel.transpose(2, 3, 0, 1), bias, stride, pads)


def _normalised(node, x, gain, shift, mean, variance):
    """Batch normalisation as one product and one sum."""
    factor = gain / np.sqrt(variance + _attributes(node).get("epsilon", 1e-5))
    return x * factor.astype(np.float32) + (shift - mean * factor).astype(np.float32)


def _attributes(node):
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
