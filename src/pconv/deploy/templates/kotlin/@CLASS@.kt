package pconv

/**
 * @MODEL@, compiled by pconv for @PLATFORM@. Tensors are dense NCHW floats of one sample.
 *
 * One instance runs one batch at a time; call it from one thread, and not from the one that draws.
 */
class @CLASS@(threads: Int = 2) : AutoCloseable {
    private var model: Long = nativeOpen(threads)

    /** Run the model on one array for each input; one array comes back for each output. */
    @Synchronized
    fun run(vararg inputs: FloatArray): Array<FloatArray> {
        check(model != 0L) { "this model is closed" }
        require(inputs.map { it.size } == inputElems.asList()) {
            "allowed are inputs of ${inputElems.asList()} floats, not of ${inputs.map { it.size }}"
        }
        val outputs = Array(outputElems.size) { FloatArray(outputElems[it]) }
        @Suppress("UNCHECKED_CAST")
        check(nativeRun(model, inputs as Array<FloatArray>, outputs) == 0) { "the model refused these inputs" }
        return outputs
    }

    @Synchronized
    override fun close() {
        if (model != 0L) nativeClose(model)
        model = 0L
    }

    private external fun nativeOpen(threads: Int): Long
    private external fun nativeRun(model: Long, inputs: Array<FloatArray>, outputs: Array<FloatArray>): Int
    private external fun nativeClose(model: Long)

    companion object {
        val inputElems = intArrayOf(@INPUT_ELEMS@)
        val outputElems = intArrayOf(@OUTPUT_ELEMS@)

        init {
            System.loadLibrary("@NAME@_jni")
        }
    }
}
