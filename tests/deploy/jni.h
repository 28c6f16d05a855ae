/* As much of Java's jni.h as the bridge uses, with its own types: enough to compile against, not to run. */
#include <stdint.h>

#define JNIEXPORT __attribute__((visibility("default")))
#define JNICALL
#define JNI_ABORT 2

typedef int32_t jint;
typedef int64_t jlong;
typedef float jfloat;
typedef unsigned char jboolean;
typedef struct object *jobject, *jclass, *jobjectArray, *jfloatArray;
typedef const struct functions *JNIEnv;

struct functions {
    jclass (*FindClass)(JNIEnv *, const char *);
    jint (*ThrowNew)(JNIEnv *, jclass, const char *);
    jobject (*GetObjectArrayElement)(JNIEnv *, jobjectArray, jint);
    jfloat *(*GetFloatArrayElements)(JNIEnv *, jfloatArray, jboolean *);
    void (*ReleaseFloatArrayElements)(JNIEnv *, jfloatArray, jfloat *, jint);
    void (*DeleteLocalRef)(JNIEnv *, jobject);
};
