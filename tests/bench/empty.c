/*
 * Initialises the libraries that the agent links and does nothing with them: its memory is what any
 * program with these libraries takes, and so the floor beside which the agent's is printed.
 */
#include <curl/curl.h>
#include <libpq-fe.h>
#include <microhttpd.h>
#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>
#include <uv.h>
#include <yaml.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

static int fail(const char *what)
{
    fprintf(stderr, "empty: cannot initialise %s\n", what);
    return 1;
}

/* A refused connection goes through libpq's set-up of TLS and GSSAPI. */
static void touch_libpq(void)
{
    PGconn *conn = PQconnectdb("host=127.0.0.1 port=1 connect_timeout=2");
    PQfinish(conn);
}

static int touch_pcre2(void)
{
    int error;
    PCRE2_SIZE at;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR) "a+", PCRE2_ZERO_TERMINATED, 0, &error, &at, NULL);
    pcre2_code_free(code);
    return code != NULL;
}

int main(void)
{
    uv_loop_t loop;
    yaml_parser_t yaml;
    sqlite3 *db;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return fail("curl");
    CURLM *multi = curl_multi_init();
    touch_libpq();
    if (sqlite3_open(":memory:", &db) != SQLITE_OK)
        return fail("sqlite3");
    if (uv_loop_init(&loop) != 0)
        return fail("libuv");
    if (!yaml_parser_initialize(&yaml))
        return fail("libyaml");
    if (!touch_pcre2())
        return fail("pcre2");
    if (multi == NULL || MHD_is_feature_supported(MHD_FEATURE_EPOLL) != MHD_YES)
        return fail("libmicrohttpd");
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}
