/*
 * Asking the daemon: GET, or POST of a form, with curl, over the socket that lies beside health_dir
 * unless a URL is given. The default socket needs no configuration to be readable, so that an
 * operator who may not read pgvigil.yaml can still ask for the status.
 */
#include <curl/curl.h>
#include <unistd.h>

#include "cli_private.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define ANSWER_MAX     (64 * 1024 * 1024)
#define TIMEOUT_S      15L /* a query of the API may take 10 s */
#define SOCKET_DEFAULT "/run/pgvigil/api.sock"

struct config *cli_config(const struct cli_args *args)
{
    struct diag diag;
    struct buf text;
    diag_init(&diag);
    struct config *config = config_load(args->config, &diag);
    if (config == NULL) {
        buf_init(&text, 1024 * 1024);
        diag_print(&diag, &text);
        fputs(text.data, stderr);
        buf_deinit(&text);
    }
    diag_deinit(&diag);
    return config;
}

static bool socket_path(const struct cli_args *args, char *out, size_t n)
{
    str_copy(out, n, SOCKET_DEFAULT);
    if (args->config == NULL && access(SOCKET_DEFAULT, F_OK) == 0)
        return true;
    if (args->config == NULL && access(CONFIG_PATH_DEFAULT, R_OK) != 0)
        return true;
    struct config *config = cli_config(args);
    if (config == NULL)
        return false;
    const char *slash = strrchr(config->health_dir, '/');
    snprintf(out, n, "%.*s/api.sock", slash != NULL ? (int)(slash - config->health_dir) : 0,
             config->health_dir);
    config_unref(&config);
    return true;
}

static size_t on_data(char *data, size_t size, size_t n, void *arg)
{
    struct buf *body = arg;
    buf_add(body, data, size * n);
    return buf_ok(body) ? size * n : 0;
}

static void set_options(CURL *curl, const char *socket, const char *form, struct buf *body)
{
    if (socket != NULL) {
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket);
        curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* whatever the environment says */
    }
    if (form != NULL) /* its type is application/x-www-form-urlencoded by default */
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, form);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
}

int cli_ask(const struct cli_args *args, const char *path, const char *form,
            struct cli_answer *answer)
{
    char url[1024], socket[256] = "";
    const char *base = args->url != NULL ? args->url : getenv("PGVIGIL_URL");
    *answer = (struct cli_answer){.is_local = base == NULL};
    if (base == NULL && !socket_path(args, socket, sizeof(socket)))
        return EXIT_CODE_CONFIG;
    const char *host = base != NULL ? base : "http://localhost";
    size_t len = strlen(host);
    while (len > 0 && host[len - 1] == '/') /* the path brings its own */
        len--;
    snprintf(url, sizeof(url), "%.*s%s", (int)len, host, path);
    struct buf text;
    buf_init(&text, ANSWER_MAX);
    CURL *curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_URL, url);
    set_options(curl, base == NULL ? socket : NULL, form, &text);
    CURLcode rc = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer->status);
    curl_easy_cleanup(curl);
    if (rc == CURLE_OK)
        answer->body = buf_take(&text, NULL);
    else
        snprintf(answer->why, sizeof(answer->why), "the daemon does not answer at '%.150s': %s",
                 base != NULL ? base : socket, curl_easy_strerror(rc));
    buf_deinit(&text);
    return rc == CURLE_OK ? EXIT_CODE_OK : EXIT_CODE_DAEMON;
}

int cli_get(const struct cli_args *args, const char *path, char **body)
{
    struct cli_answer answer;
    int rc = cli_ask(args, path, NULL, &answer);
    *body = answer.body;
    if (rc == EXIT_CODE_DAEMON)
        fprintf(stderr, "pgvigil: %s\n", answer.why);
    if (rc != EXIT_CODE_OK)
        return rc;
    if (answer.status >= 400 && answer.status != 503)
        fprintf(stderr, "pgvigil: the daemon answered %ld: %s\n", answer.status, answer.body);
    return answer.status >= 400 ? EXIT_CODE_FAILED : EXIT_CODE_OK;
}

int cli_get_json(const struct cli_args *args, const char *path, json_t **json)
{
    char *body = NULL;
    json_error_t error;
    *json = NULL;
    int rc = cli_get(args, path, &body);
    if (rc == EXIT_CODE_OK) {
        *json = json_loads(body, 0, &error);
        if (*json == NULL) {
            fprintf(stderr, "pgvigil: the daemon's answer to '%s' is not JSON: %s\n", path,
                    error.text);
            rc = EXIT_CODE_FAILED;
        }
    }
    mem_free(body);
    return rc;
}
