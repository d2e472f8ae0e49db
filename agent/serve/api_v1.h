/*
 * api_v1.h: Prometheus' HTTP API: which endpoints there are, and those that answer at once.
 */
#ifndef AGENT_SERVE_API_V1_H
#define AGENT_SERVE_API_V1_H

#include "query.h"

#define API_PREFIX "/api/v1/"

struct api_endpoint {
    const char *path;
    bool takes_post;
    /* Answers at once from snapshots; NULL: a query of this kind. */
    void (*run)(const struct request *req, struct reply *reply);
    enum query_kind kind;
};

/* api_rules.c; req->connection is the struct params. */
void api_rules(const struct request *req, struct reply *reply);

/* NULL if there is none. *label: NAME of label/NAME/values (mem_free), else NULL. */
const struct api_endpoint *api_find(const char *path, char **label);

#endif
