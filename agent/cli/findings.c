/*
 * Findings go to stderr as they are: `file:line:col: text` is what editors jump to.
 */
#include "findings.h"

void cli_print_findings(const struct diag *diag)
{
    struct buf text;
    buf_init(&text, 1024 * 1024);
    diag_print(diag, &text);
    fputs(text.data, stderr);
    buf_deinit(&text);
}
