/* The C interface lives in core/c since TensorFlow 2.13; callers still include this path. */
#ifndef DIDAR_TENSORFLOW_LITE_C_C_API_H_
#define DIDAR_TENSORFLOW_LITE_C_C_API_H_

#include "tensorflow/lite/core/c/c_api.h"

#endif
