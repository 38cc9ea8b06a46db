"""Embedding A: the MobileFaceNet with ReLU6 of the package `facesdk`, from its PyTorch weights."""

import numpy as np
import tensorflow as tf

import layers
import torch_weights

SIDE = 112
# Expansion is in the weights; here: how many blocks, and the stride of the first of them.
STAGES = [(5, 2), (1, 2), (6, 1), (1, 2), (2, 1)]
ONE = (1, 1, 1, 1)


def network(path):
    """The function from pictures (1, 112, 112, 3) to embeddings (1, 128)."""
    weights = torch_weights.read(path)

    def run(x):
        x = tf.nn.relu6(layers.conv(x, *_dense(weights, "conv1.0", "conv1.1"), 2, ONE))
        x = tf.nn.relu(layers.depthwise(x, *_single(weights, "dw_conv.depthwise", "dw_conv.bn1"), 1, ONE))
        x = tf.nn.relu(layers.conv(x, *_dense(weights, "dw_conv.pointwise", "dw_conv.bn2")))
        for block, stride in enumerate(s if k == 0 else 1 for n, s in STAGES for k in range(n)):
            x = _block(x, weights, f"features.{block}.conv", stride)
        x = tf.nn.relu6(layers.conv(x, *_dense(weights, "conv2.0", "conv2.1")))
        x = layers.depthwise(x, *_single(weights, "gdconv.depthwise", "gdconv.bn"))
        x = layers.conv(x, *_dense(weights, "conv3", "bn"))
        return tf.reshape(x, (1, -1))

    return run


def _block(x, weights, name, stride):
    """Widen, convolve each channel, narrow; the input is added where the shape allows."""
    y = tf.nn.relu6(layers.conv(x, *_dense(weights, f"{name}.0.0", f"{name}.0.1")))
    y = tf.nn.relu6(layers.depthwise(y, *_single(weights, f"{name}.1.0", f"{name}.1.1"), stride, ONE))
    y = layers.conv(y, *_dense(weights, f"{name}.2", f"{name}.3"))
    return x + y if stride == 1 and x.shape[-1] == y.shape[-1] else y


def _dense(weights, conv, norm):
    """Folded weights and bias of a full convolution."""
    kernel, bias = _folded(weights, conv, norm)
    return kernel.transpose(2, 3, 1, 0), bias


def _single(weights, conv, norm):
    """Folded weights and bias of a depthwise convolution."""
    kernel, bias = _folded(weights, conv, norm)
    return kernel.transpose(2, 3, 0, 1), bias


def _folded(weights, conv, norm):
    """A convolution and the batch normalisation after it, as one convolution."""
    gain = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + 1e-5)
    own = weights.get(f"{conv}.bias", 0.0)
    bias = weights[f"{norm}.bias"] + (own - weights[f"{norm}.running_mean"]) * gain
    return weights[f"{conv}.weight"] * gain[:, None, None, None], bias
