/*
 * negotiate.h: what a client takes, from its Accept and Accept-Encoding headers. Pure.
 */
#ifndef AGENT_SERVE_NEGOTIATE_H
#define AGENT_SERVE_NEGOTIATE_H

#include "pgvigil/serve/expose.h"

/* Text unless the client likes OpenMetrics at least as much. */
enum expose_format negotiate_exposition(const char *accept);
/* Named gzip, or `*`, without q=0. */
bool negotiate_gzip(const char *accept_encoding);

#endif
