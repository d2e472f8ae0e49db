/*
 * replay_main.c: runs a fuzz target over files, without a fuzzer: each push replays the seeds and
 * every input that once broke something, under gcc and the sanitizers.
 *
 * The input is copied to a buffer of its exact size, so that ASan sees a read behind the end.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define INPUT_MAX ((size_t)16 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return 1;
    }
    uint8_t *whole = malloc(INPUT_MAX);
    size_t size = whole != NULL ? fread(whole, 1, INPUT_MAX, file) : 0;
    bool failed = whole == NULL || ferror(file) != 0;
    (void)fclose(file);
    uint8_t *exact = failed ? NULL : realloc(whole, size > 0 ? size : 1);
    if (exact == NULL) {
        (void)fprintf(stderr, "%s: cannot be read\n", path);
        free(whole);
        return 1;
    }
    (void)LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    (void)printf("ok %s\n", path);
    (void)fflush(stdout);
    return 0;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++) {
        failed |= replay(argv[i]);
    }
    return failed;
}
