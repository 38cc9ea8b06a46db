"""The layers of which the networks are put together: TensorFlow, height x width x channels, weights as constants.

Pads are (top, left, bottom, right) in pixels, as PyTorch and ONNX count them.
"""

import numpy as np
import tensorflow as tf


def conv(x, weights, bias, stride=1, pads=(0, 0, 0, 0)):
    """Convolution; `weights` is height x width x inputs x outputs."""
    x, padding = _padded(x, weights.shape, stride, pads)
    return tf.nn.bias_add(tf.nn.conv2d(x, _f32(weights), stride, padding), _f32(bias))


def depthwise(x, weights, bias, stride=1, pads=(0, 0, 0, 0)):
    """Convolution of each channel by itself; `weights` is height x width x channels x 1."""
    x, padding = _padded(x, weights.shape, stride, pads)
    y = tf.nn.depthwise_conv2d(x, _f32(weights), [1, stride, stride, 1], padding)
    return tf.nn.bias_add(y, _f32(bias))


def prelu(x, slope):
    """x where it is positive, x times the slope of its channel elsewhere."""
    return tf.nn.relu(x) - _f32(slope) * tf.nn.relu(-x)


def split_prelu(x, slope):
    """The same function out of layers that XNNPACK runs in int8, where it has no PReLU of its own.

    x * a + relu(x * (1 - a)) for a <= 1; for a > 1 the second term changes sign. Both products are 1x1 depthwise
    convolutions, since those keep one scale per channel.
    """
    slope = np.broadcast_to(np.ravel(slope), x.shape[-1:])
    bent = tf.nn.relu(_scaled(x, np.abs(1 - slope)))
    if (slope > 1).any():
        bent = _scaled(bent, np.where(slope > 1, -1.0, 1.0))
    return _scaled(x, slope) + bent


def channels_first(x):
    """One row of all values, in the order that a network made for channels x height x width expects."""
    return tf.reshape(tf.transpose(x, (0, 3, 1, 2)), (1, -1))


def _scaled(x, factors):
    """Each channel times its factor."""
    return tf.nn.depthwise_conv2d(x, _f32(factors).reshape(1, 1, -1, 1), [1, 1, 1, 1], "VALID")


def _padded(x, kernel, stride, pads):
    """`SAME` says it where it means the same; else the zeros are added by hand, since `SAME` pads unevenly."""
    top, left, bottom, right = pads
    if not any(pads):
        return x, "VALID"
    if stride == 1 and top == bottom == kernel[0] // 2 and left == right == kernel[1] // 2:
        return x, "SAME"
    return tf.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0))), "VALID"


def _f32(values):
    return np.ascontiguousarray(values, np.float32)
