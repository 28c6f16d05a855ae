/* Run @MODEL@ on one image tensor and print the classes with the highest scores.

       classify TENSOR [LABELS] [THREADS]

   TENSOR holds the first input as float32 in the order of NCHW: raw, or what numpy.save wrote (the numbers are the
   last bytes of a file). LABELS has one class a line. */
#include "@NAME@.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const size_t input_elems[] = @UPPER@_INPUT_ELEMS, output_elems[] = @UPPER@_OUTPUT_ELEMS;
enum { TOP = 5, INPUTS = sizeof input_elems / sizeof *input_elems };
enum { OUTPUTS = sizeof output_elems / sizeof *output_elems };

static int read_tensor(const char *path, float *tensor, size_t elems) {
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    int good = !fseek(file, -(long)(elems * sizeof *tensor), SEEK_END) &&
               fread(tensor, sizeof *tensor, elems, file) == elems;
    fclose(file);
    return good;
}

static void print_label(const char *path, size_t wanted) {
    char line[256] = "";
    FILE *file = path ? fopen(path, "r") : NULL;
    for (size_t i = 0; file && i < wanted && fgets(line, sizeof line, file);) i += strchr(line, '\n') != NULL;
    if (!file || !fgets(line, sizeof line, file)) line[0] = 0;
    if (file) fclose(file);
    line[strcspn(line, "\r\n")] = 0;
    printf("%zu %s", wanted, line);
}

int main(int argc, char **argv) {
    if (argc < 2) return fprintf(stderr, "usage: classify TENSOR [LABELS] [THREADS]\n"), 2;
    float *inputs[INPUTS], *outputs[OUTPUTS];
    for (int i = 0; i < INPUTS; i++) inputs[i] = calloc(input_elems[i], sizeof(float));
    for (int i = 0; i < OUTPUTS; i++) outputs[i] = calloc(output_elems[i], sizeof(float));
    if (!read_tensor(argv[1], inputs[0], input_elems[0]))
        return fprintf(stderr, "%s: not %zu float32 numbers\n", argv[1], input_elems[0]), 2;

    char error[256];
    pconv_model *model = @NAME@_open(argc > 3 ? atoi(argv[3]) : 1, error, sizeof error);
    if (!model) return fprintf(stderr, "cannot open the model: %s\n", error), 1;
    @NAME@_run(model, (const float *const *)inputs, outputs, 1);
    @NAME@_close(model);

    float *scores = outputs[0];
    for (size_t rank = 0; rank < TOP && rank < output_elems[0]; rank++) {
        size_t best = 0;
        for (size_t i = 1; i < output_elems[0]; i++)
            if (scores[i] > scores[best]) best = i;
        printf("%.4f  ", scores[best]);
        print_label(argc > 2 ? argv[2] : NULL, best);
        putchar('\n');
        scores[best] = -3.4e38f;
    }
    return 0;
}
