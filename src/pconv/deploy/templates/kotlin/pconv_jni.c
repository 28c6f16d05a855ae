/* The bridge between @CLASS@.kt and the model. Built by CMakeLists.txt as lib@NAME@_jni.so. */
#include "@NAME@.h"

#include <jni.h>
#include <stdint.h>

enum {
    INPUTS = sizeof((size_t[])@UPPER@_INPUT_ELEMS) / sizeof(size_t),
    OUTPUTS = sizeof((size_t[])@UPPER@_OUTPUT_ELEMS) / sizeof(size_t),
};

JNIEXPORT jlong JNICALL Java_pconv_@CLASS@_nativeOpen(JNIEnv *env, jobject self, jint threads) {
    (void)self;
    char error[256];
    pconv_model *model = @NAME@_open(threads, error, sizeof error);
    if (!model) (*env)->ThrowNew(env, (*env)->FindClass(env, "java/lang/IllegalStateException"), error);
    return (jlong)(intptr_t)model;
}

JNIEXPORT void JNICALL Java_pconv_@CLASS@_nativeClose(JNIEnv *env, jobject self, jlong model) {
    (void)env, (void)self;
    @NAME@_close((pconv_model *)(intptr_t)model);
}

/* Borrow the floats of every array, or give them back (`mode` as for ReleaseFloatArrayElements). */
static void borrow(JNIEnv *env, jobjectArray arrays, jint count, float **floats) {
    for (jint i = 0; i < count; i++) {
        jfloatArray array = (*env)->GetObjectArrayElement(env, arrays, i);
        floats[i] = (*env)->GetFloatArrayElements(env, array, NULL);
        (*env)->DeleteLocalRef(env, array);
    }
}

static void give_back(JNIEnv *env, jobjectArray arrays, jint count, float **floats, jint mode) {
    for (jint i = 0; i < count; i++) {
        jfloatArray array = (*env)->GetObjectArrayElement(env, arrays, i);
        if (floats[i]) (*env)->ReleaseFloatArrayElements(env, array, floats[i], mode);
        (*env)->DeleteLocalRef(env, array);
    }
}

/* @CLASS@.kt has checked the number and sizes of all arrays. */
JNIEXPORT jint JNICALL Java_pconv_@CLASS@_nativeRun(JNIEnv *env, jobject self, jlong model, jobjectArray inputs,
                                                jobjectArray outputs) {
    (void)self;
    float *in[INPUTS], *out[OUTPUTS];
    borrow(env, inputs, INPUTS, in);
    borrow(env, outputs, OUTPUTS, out);
    int ready = 1, code = -1;
    for (jint i = 0; i < INPUTS; i++) ready &= in[i] != NULL;
    for (jint i = 0; i < OUTPUTS; i++) ready &= out[i] != NULL;
    if (ready) code = @NAME@_run((pconv_model *)(intptr_t)model, (const float *const *)in, out, 1);
    give_back(env, inputs, INPUTS, in, JNI_ABORT);
    give_back(env, outputs, OUTPUTS, out, 0);
    return code;
}
