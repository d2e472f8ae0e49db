/*
 * Unit tests of rules: any text gives a test or findings; a test that was read can be run. Its own
 * rule files are not there, so the series, the expressions and what is expected are what runs.
 */
#include "pgvigil/base/log.h"
#include "pgvigil/rules/rule_test.h"

#define STEPS_MAX 50

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void failed(const char *text, void *arg)
{
    size_t *count = arg;
    if (*text == '\0')
        __builtin_trap(); /* nothing is told */
    ++*count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct diag diag;
    size_t told = 0;
    /* patterns of this machine's own files would be slow and say nothing */
    if (memmem(data, size, "rule_files", 10) != NULL && memchr(data, '/', size) != NULL)
        return 0;
    log_set_level(LOG_LEVEL_ERROR);
    diag_init(&diag);
    struct rule_test *test = rule_test_parse("fuzz.yml", (const char *)data, size, &diag);
    if ((test == NULL) == (diag.count == 0))
        __builtin_trap(); /* refused without a finding, or accepted with one */
    if (test != NULL) {
        struct rule_test_result result = rule_test_run(
            test, &(struct rule_test_opts){.failed = failed, .max_steps = STEPS_MAX, .arg = &told});
        if (result.failures != told)
            __builtin_trap();
    }
    rule_test_destroy(&test);
    diag_deinit(&diag);
    return 0;
}
