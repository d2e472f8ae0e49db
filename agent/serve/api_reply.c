/*
 * api_reply.c: what all answers of the API share: the error envelope with Prometheus' types and
 * codes, and gzip.
 */
#include <stdarg.h>
#include <zlib.h>

#include "pgvigil/base/mem.h"

#include "query.h"

#define GZIP_MIN   1024
#define GZIP_LEVEL 1 /* three quarters are saved at a fifth of the default level's time */

static const struct {
    const char *name;
    int status;
} errors[] = {
    [API_BAD_DATA] = {"bad_data", 400},   [API_EXECUTION] = {"execution", 422},
    [API_TIMEOUT] = {"timeout", 503},     [API_CANCELED] = {"canceled", 499},
    [API_INTERNAL] = {"internal", 500},   [API_UNAVAILABLE] = {"unavailable", 500},
    [API_NOT_FOUND] = {"not_found", 404},
};

void api_fail(struct reply *reply, enum api_error type, const char *fmt, ...)
{
    char text[2 * ERR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    buf_clear(&reply->body);
    reply->status = errors[type].status;
    reply->content_type = "application/json";
    buf_printf(&reply->body,
               "{\"status\":\"error\",\"errorType\":\"%s\",\"error\":", errors[type].name);
    buf_add_json(&reply->body, text);
    buf_add_char(&reply->body, '}');
}

void reply_gzip(struct reply *reply)
{
    z_stream z = {0};
    struct buf out;
    if (reply->gzip || reply->body.len < GZIP_MIN || !buf_ok(&reply->body))
        return;
    if (deflateInit2(&z, GZIP_LEVEL, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return;
    char *packed = mem_alloc(deflateBound(&z, reply->body.len));
    z.next_in = (unsigned char *)reply->body.data;
    z.avail_in = (unsigned)reply->body.len;
    z.next_out = (unsigned char *)packed;
    z.avail_out = (unsigned)deflateBound(&z, reply->body.len);
    if (deflate(&z, Z_FINISH) == Z_STREAM_END) {
        buf_init(&out, reply->body.max);
        buf_add(&out, packed, z.total_out);
        buf_deinit(&reply->body);
        reply->body = out;
        reply->gzip = true;
    }
    deflateEnd(&z);
    mem_free(packed);
}
