/* A model compiled for OpenCL (a .pcl file), run from C on whatever GPU the machine has.

   OpenCL is loaded when a model is opened, never linked: where there is none, opening fails and says why. To run
   on the CPU then, see auto.h. Android apps that target API level 31 or later must also name
   <uses-native-library android:name="libOpenCL.so" android:required="false"/> in their manifest.

   Compile opencl.c into the program (with -ldl where the C library wants that); it needs nothing else. */
#ifndef PCONV_OPENCL_H
#define PCONV_OPENCL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pconv_gpu pconv_gpu;

/* Open the model in `pcl`, which must stay where it is only during this call. Compiled kernels are kept in the folder
   `cache`, which must exist (NULL: compile them every time). NULL on failure, and why in `error`. */
pconv_gpu *pconv_gpu_open(const void *pcl, size_t pcl_bytes, const char *cache, char *error, size_t error_len);

/* What the file says of the model, as JSON: a part of `pcl`. NULL when it is no whole one. */
const char *pconv_gpu_manifest(const void *pcl, size_t pcl_bytes);

/* The device's name; lives as long as the model. */
const char *pconv_gpu_device(const pconv_gpu *);

/* What measurements hold for: the names of platform and device, and the driver's version. Lives as long. */
const char *pconv_gpu_identity(const pconv_gpu *);

/* The elements of one sample of the i-th input (output), -1 when there is none. */
int64_t pconv_gpu_elems(const pconv_gpu *, int is_output, int i);

/* Run `batch` samples one after another on dense NCHW float32; 0, or OpenCL's error code. */
int pconv_gpu_run(pconv_gpu *, const float *const *inputs, float *const *outputs, int batch);

/* With `on`, every run keeps the nanoseconds of each layer by the device's clock, summed over its batch. */
int pconv_gpu_profile(pconv_gpu *, int on);

/* Copy at most `capacity` times of the last profiled run, in order of execution; their full number. */
int pconv_gpu_times(const pconv_gpu *, int64_t *ns, int capacity);

/* The name of the i-th layer in that order, NULL when there is none; lives as long as the model. */
const char *pconv_gpu_layer(const pconv_gpu *, int i);

/* Free the model; NULL is fine. */
void pconv_gpu_close(pconv_gpu *);

#ifdef __cplusplus
}
#endif
#endif
