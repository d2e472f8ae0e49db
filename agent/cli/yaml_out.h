/*
 * yaml_out.h: texts as YAML that any reader takes for the same texts.
 */
#ifndef AGENT_CLI_YAML_OUT_H
#define AGENT_CLI_YAML_OUT_H

#include "pgvigil/base/buf.h"

/* Plain where that is a text to every reader (YAML 1.1 too), else in double quotes. */
void yaml_out_text(struct buf *out, const char *text);
/* The same as the value of a key at this indent: several lines become a block, as people write. */
void yaml_out_block(struct buf *out, const char *text, int indent);
/* `# text`; control characters are no part of a comment. */
void yaml_out_comment(struct buf *out, const char *text);

#endif
