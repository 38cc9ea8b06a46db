"""From a function to a .tflite file: float, float16 weights, int8 weights (dynamic range), or int8 throughout."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402  (the log level must be set first)


def convert(network, side, form, samples=()):
    """The bytes of the file. `samples` are inputs (side, side, 3) by which int8 chooses its scales."""
    signature = [tf.TensorSpec((1, side, side, 3), tf.float32, name="picture")]
    holder = tf.Module()
    holder.run = tf.function(network, input_signature=signature, autograph=False)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([holder.run.get_concrete_function()], holder)
    FORMS[form](converter, samples)
    return converter.convert()


def _float32(converter, samples):
    """Nothing is quantised."""


def _float16(converter, samples):
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def _dynamic_range(converter, samples):
    converter.optimizations = [tf.lite.Optimize.DEFAULT]


def _int8(converter, samples):
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample[None]] for sample in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8


FORMS = {"float32": _float32, "float16": _float16, "dynamic-range": _dynamic_range, "int8": _int8}
