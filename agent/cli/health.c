/*
 * `pgvigil health NODE`: for external checks and scripts. Reads the health file and the time until
 * which it is valid, so it is right with the agent dead, frozen, or the host just resumed. Writes
 * have no file unless gate.write is on; then the daemon is asked.
 */
#include "cli_private.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/base/yaml.h"

#define FILE_MAX 4096

static int refuse(const char *node, const char *what, const char *why)
{
    printf("%s may not take %s: %s\n", node, what, why);
    return EXIT_CODE_FAILED;
}

static int judge_line(const char *node, const char *what, char *line)
{
    int64_t until;
    line[strcspn(line, "\n")] = '\0';
    for (size_t n = strlen(line); n > 0 && line[n - 1] == ' '; n--)
        line[n - 1] = '\0';
    char *stamp = strstr(line, " until=");
    if (!str_starts(line, "up ") || stamp == NULL)
        return refuse(node, what, "its health file is damaged");
    char number[24];
    str_copy(number, sizeof(number), stamp + strlen(" until="));
    number[strcspn(number, " ")] = '\0';
    if (!str_parse_i64(number, 0, INT64_MAX / 1000, &until))
        return refuse(node, what, "its health file is damaged");
    if (clock_read().wall.ms >= until * 1000)
        return refuse(node, what, "the lease of its health file has run out: the agent is gone");
    printf("%s may take %s: %s\n", node, what, line);
    return EXIT_CODE_OK;
}

static int judge_file(const struct config *config, const char *node, const char *what)
{
    char path[1024];
    struct err err;
    size_t len;
    snprintf(path, sizeof(path), "%s/%s.%s", config->health_dir, node,
             str_eq(what, "reads") ? "read" : "write");
    char *line = yaml_read_file(path, FILE_MAX, &len, &err);
    if (line == NULL)
        return err.kind == ERR_NOT_FOUND ? refuse(node, what, "it has no health file")
                                         : refuse(node, what, err.text);
    int rc = judge_line(node, what, line);
    mem_free(line);
    return rc;
}

static int ask_primary(const struct cli_args *args, const char *node)
{
    char path[256];
    char *body = NULL;
    snprintf(path, sizeof(path), "/primary?node=%s", node);
    int rc = cli_get(args, path, &body);
    mem_free(body);
    if (rc == EXIT_CODE_OK)
        printf("%s may take writes\n", node);
    else if (rc == EXIT_CODE_FAILED)
        refuse(node, "writes", "the daemon says no");
    return rc;
}

int cli_health(const struct cli_args *args)
{
    const char *node = args->positional[0];
    bool write = args->for_what != NULL && str_eq(args->for_what, "write");
    if (args->for_what != NULL && !write && !str_eq(args->for_what, "read")) {
        fprintf(stderr, "pgvigil: --for takes read or write, not '%s'\n", args->for_what);
        return EXIT_CODE_USAGE;
    }
    struct config *config = cli_config(args);
    if (config == NULL)
        return EXIT_CODE_CONFIG;
    int rc;
    if (config_node_find(config, node) == NULL) {
        fprintf(stderr, "pgvigil: no node '%s' in the configuration\n", node);
        rc = EXIT_CODE_USAGE;
    } else if (write && !config->gate.write) {
        rc = ask_primary(args, node);
    } else {
        rc = judge_file(config, node, write ? "writes" : "reads");
    }
    config_unref(&config);
    return rc;
}
