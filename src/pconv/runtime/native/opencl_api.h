/* The part of OpenCL 1.2 that opencl.c uses, by dlopen: a table of its functions, no headers of a vendor. */
#ifndef PCONV_OPENCL_API_H
#define PCONV_OPENCL_API_H

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

typedef int32_t cl_int;
typedef uint32_t cl_uint;
typedef uint64_t cl_ulong, cl_bits;
typedef void *cl_object; /* platforms, devices, contexts, queues, buffers, programs, kernels, events */

enum {
    CL_SUCCESS = 0,
    CL_TRUE = 1,
    CL_PLATFORM_NAME = 0x0902,
    CL_DEVICE_MAX_MEM_ALLOC_SIZE = 0x1010,
    CL_DEVICE_NAME = 0x102B,
    CL_DRIVER_VERSION = 0x102D,
    CL_DEVICE_PLATFORM = 0x1031,
    CL_PROGRAM_BINARY_SIZES = 0x1165,
    CL_PROGRAM_BINARIES = 0x1166,
    CL_PROGRAM_BUILD_LOG = 0x1183,
    CL_KERNEL_WORK_GROUP_SIZE = 0x11B0,
    CL_PROFILING_COMMAND_START = 0x1282,
    CL_PROFILING_COMMAND_END = 0x1283,
};
#define CL_DEVICE_TYPE_GPU ((cl_bits)1 << 2)
#define CL_DEVICE_TYPE_ALL ((cl_bits)0xFFFFFFFF)
#define CL_MEM_READ_WRITE ((cl_bits)1 << 0)
#define CL_MEM_READ_ONLY ((cl_bits)1 << 2)
#define CL_MEM_COPY_HOST_PTR ((cl_bits)1 << 5)
#define CL_QUEUE_PROFILING_ENABLE ((cl_bits)1 << 1)

#define OPENCL_FUNCTIONS(F) \
    F(cl_int, GetPlatformIDs, (cl_uint, cl_object *, cl_uint *)) \
    F(cl_int, GetPlatformInfo, (cl_object, cl_uint, size_t, void *, size_t *)) \
    F(cl_int, GetDeviceIDs, (cl_object, cl_bits, cl_uint, cl_object *, cl_uint *)) \
    F(cl_int, GetDeviceInfo, (cl_object, cl_uint, size_t, void *, size_t *)) \
    F(cl_object, CreateContext, (const void *, cl_uint, const cl_object *, void *, void *, cl_int *)) \
    F(cl_int, ReleaseContext, (cl_object)) \
    F(cl_object, CreateCommandQueue, (cl_object, cl_object, cl_bits, cl_int *)) \
    F(cl_int, ReleaseCommandQueue, (cl_object)) \
    F(cl_object, CreateBuffer, (cl_object, cl_bits, size_t, void *, cl_int *)) \
    F(cl_int, ReleaseMemObject, (cl_object)) \
    F(cl_object, CreateProgramWithSource, (cl_object, cl_uint, const char **, const size_t *, cl_int *)) \
    F(cl_object, CreateProgramWithBinary, \
      (cl_object, cl_uint, const cl_object *, const size_t *, const unsigned char **, cl_int *, cl_int *)) \
    F(cl_int, BuildProgram, (cl_object, cl_uint, const cl_object *, const char *, void *, void *)) \
    F(cl_int, GetProgramInfo, (cl_object, cl_uint, size_t, void *, size_t *)) \
    F(cl_int, GetProgramBuildInfo, (cl_object, cl_object, cl_uint, size_t, void *, size_t *)) \
    F(cl_int, ReleaseProgram, (cl_object)) \
    F(cl_object, CreateKernel, (cl_object, const char *, cl_int *)) \
    F(cl_int, SetKernelArg, (cl_object, cl_uint, size_t, const void *)) \
    F(cl_int, GetKernelWorkGroupInfo, (cl_object, cl_object, cl_uint, size_t, void *, size_t *)) \
    F(cl_int, ReleaseKernel, (cl_object)) \
    F(cl_int, EnqueueNDRangeKernel, \
      (cl_object, cl_object, cl_uint, const size_t *, const size_t *, const size_t *, cl_uint, const cl_object *, \
       cl_object *)) \
    F(cl_int, EnqueueWriteBuffer, \
      (cl_object, cl_object, cl_uint, size_t, size_t, const void *, cl_uint, const cl_object *, cl_object *)) \
    F(cl_int, EnqueueReadBuffer, \
      (cl_object, cl_object, cl_uint, size_t, size_t, void *, cl_uint, const cl_object *, cl_object *)) \
    F(cl_int, Finish, (cl_object)) \
    F(cl_int, GetEventProfilingInfo, (cl_object, cl_uint, size_t, void *, size_t *)) \
    F(cl_int, ReleaseEvent, (cl_object))

typedef struct {
    void *library;
#define OPENCL_MEMBER(result, name, arguments) result(*name) arguments;
    OPENCL_FUNCTIONS(OPENCL_MEMBER)
#undef OPENCL_MEMBER
} opencl_api;

/* Where phones and desktops keep it. PCONV_OPENCL_LIBRARY names another one, and then none of these is tried. */
static const char *const OPENCL_LIBRARIES[] = {
    "libOpenCL.so",
    "libOpenCL.so.1",
    "/vendor/lib64/libOpenCL.so",
    "/system/vendor/lib64/libOpenCL.so",
    "/system/lib64/libOpenCL.so",
    "/vendor/lib64/egl/libGLES_mali.so",
    "/system/vendor/lib64/egl/libGLES_mali.so",
    "/System/Library/Frameworks/OpenCL.framework/OpenCL",
};

static int opencl_resolve(opencl_api *cl, const char *path) {
    cl->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!cl->library) return 0;
    int complete = 1;
    /* POSIX lets a function's address pass through an object pointer. */
#define OPENCL_LOAD(result, name, arguments) \
    *(void **)&cl->name = dlsym(cl->library, "cl" #name); \
    complete = complete && cl->name;
    OPENCL_FUNCTIONS(OPENCL_LOAD)
#undef OPENCL_LOAD
    if (!complete) dlclose(cl->library);
    return complete;
}

/* Load OpenCL; 0 where there is none. */
static int opencl_load(opencl_api *cl) {
    const char *named = getenv("PCONV_OPENCL_LIBRARY");
    if (named) return opencl_resolve(cl, named);
    for (size_t i = 0; i < sizeof OPENCL_LIBRARIES / sizeof *OPENCL_LIBRARIES; i++)
        if (opencl_resolve(cl, OPENCL_LIBRARIES[i])) return 1;
    return 0;
}

#endif
