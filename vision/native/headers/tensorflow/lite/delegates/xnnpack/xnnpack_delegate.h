/* The part of the XNNPACK delegate's C interface that Didar uses, as TensorFlow Lite 2.17 exports it.
 *
 * The options are returned by value: a struct of another size than the library's would let it write over the caller's
 * stack. In 2.17 it is 32 bytes (2.19 put `runtime_flags` into it); the assertion below keeps it so.
 */
#ifndef DIDAR_TENSORFLOW_LITE_DELEGATES_XNNPACK_XNNPACK_DELEGATE_H_
#define DIDAR_TENSORFLOW_LITE_DELEGATES_XNNPACK_XNNPACK_DELEGATE_H_

#include <stdbool.h>
#include <stdint.h>

#include "tensorflow/lite/core/c/common.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TFLITE_XNNPACK_DELEGATE_FLAG_QS8 0x00000001
#define TFLITE_XNNPACK_DELEGATE_FLAG_QU8 0x00000002

struct TfLiteXNNPackDelegateWeightsCache;

typedef struct {
  int32_t num_threads; /* 0 or less: no pool, the caller's thread computes */
  uint32_t flags;      /* TFLITE_XNNPACK_DELEGATE_FLAG_*; the library's default is QS8 | QU8 */
  struct TfLiteXNNPackDelegateWeightsCache* weights_cache;
  bool handle_variable_ops;
  const char* experimental_weight_cache_file_path;
} TfLiteXNNPackDelegateOptions;

_Static_assert(sizeof(void*) != 8 || sizeof(TfLiteXNNPackDelegateOptions) == 32,
               "TensorFlow Lite 2.17 returns 32 bytes of XNNPACK options");

TfLiteXNNPackDelegateOptions TfLiteXNNPackDelegateOptionsDefault(void);
TfLiteDelegate* TfLiteXNNPackDelegateCreate(const TfLiteXNNPackDelegateOptions* options);
void TfLiteXNNPackDelegateDelete(TfLiteDelegate* delegate);

#ifdef __cplusplus
}
#endif

#endif
