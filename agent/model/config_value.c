/*
 * config_value.c: one scalar of YAML to one field, by the type of its row.
 *
 * Every refusal says what is expected with an example, and what was found, unless that may be a
 * secret. Defaults take the same way, so that they obey the same limits. Strings are expanded here
 * (connection strings are not: they are at each connect); what a message shows is always the text
 * as written, never the expanded one.
 */
#include "config_internal.h"

#include <arpa/inet.h>
#include <ctype.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define HOST_MAX 253

/* ---- what is a valid text ---- */

bool config_name_is_valid(const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n >= NODE_NAME_MAX || !isalnum((unsigned char)name[0]))
        return false;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c >= 0x80 || (!isalnum(c) && c != '.' && c != '_' && c != '-'))
            return false;
    }
    return true;
}

bool config_network_is_valid(const char *text)
{
    char address[INET6_ADDRSTRLEN + 1];
    unsigned char parsed[16];
    int64_t bits;
    size_t n = strcspn(text, "/");
    if (n >= sizeof(address))
        return false;
    memcpy(address, text, n);
    address[n] = '\0';
    bool v4 = inet_pton(AF_INET, address, parsed) == 1;
    if (!v4 && inet_pton(AF_INET6, address, parsed) != 1)
        return false;
    return text[n] == '\0' || str_parse_i64(text + n + 1, 0, v4 ? 32 : 128, &bits);
}

bool config_host_is_loopback(const char *host)
{
    unsigned char parsed[16];
    if (strcasecmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, parsed) == 1)
        return parsed[0] == 127;
    return inet_pton(AF_INET6, host, parsed) == 1 &&
           memcmp(parsed, &in6addr_loopback, sizeof(parsed)) == 0;
}

bool config_url_is_valid(const char *s)
{
    size_t scheme = str_starts(s, "http://") ? 7 : str_starts(s, "https://") ? 8 : 0;
    if (scheme == 0 || strlen(s) > CONFIG_URL_MAX || strchr("/?#:@", s[scheme]) != NULL)
        return false;
    for (; *s != '\0'; s++) {
        if ((unsigned char)*s <= ' ' || (unsigned char)*s >= 0x7f)
            return false;
    }
    return true;
}

static bool path_is_valid(const char *s)
{
    return s[0] == '/' && strlen(s) < 1024 && strpbrk(s, "\n\r") == NULL;
}

/* ---- findings ---- */

/* What a value of the row should look like. */
static void describe(const struct setting *row, struct buf *out)
{
    switch (row->type) {
    case SETTING_NAME:
        buf_add_str(out, "a name of up to 63 letters, digits, '.', '_' and '-', like pg1");
        break;
    case SETTING_BOOL:
        buf_add_str(out, "true or false");
        break;
    case SETTING_SWITCH:
        buf_add_str(out, "on or off");
        break;
    case SETTING_COUNT:
        buf_printf(out, "a whole number from %lld to %lld", (long long)row->min,
                   (long long)row->max);
        break;
    case SETTING_DURATION:
        buf_add_str(out, "a duration with a unit, like 10s");
        break;
    case SETTING_SIZE:
        buf_add_str(out, "a size with a unit, like 2GiB");
        break;
    case SETTING_PERCENT:
        buf_add_str(out, "a percentage, like 80%");
        break;
    case SETTING_WORD:
        for (size_t i = 0; row->words[i] != NULL; i++)
            buf_printf(out, "%s%s", i > 0 ? " or " : "", row->words[i]);
        break;
    case SETTING_LISTEN:
        buf_add_str(out, "an address and a port, like 127.0.0.1:9432");
        break;
    case SETTING_PATH:
    case SETTING_FILE:
        buf_add_str(out, "an absolute path, like /var/lib/pgvigil");
        break;
    case SETTING_URL:
        buf_add_str(out, "a URL, like https://example.org/hook");
        break;
    case SETTING_DSN:
    case SETTING_POOL_DSN:
    case SETTING_POOL_DSNS:
        buf_add_str(out, "a connection string, like \"host=10.0.0.1 dbname=app user=pgvigil\"");
        break;
    case SETTING_GLOBS:
        buf_add_str(out, "a list of paths, like [\"/etc/pgvigil/rules/*.yml\"]");
        break;
    case SETTING_NETWORKS:
        buf_add_str(out, "a list of networks, like [169.254.0.0/16]");
        break;
    case SETTING_LABELS:
        buf_add_str(out, "a map of names to texts, like {region: eu}");
        break;
    case SETTING_THRESHOLD:
        buf_add_str(out, "a number, with its unit if it has one, like 30s, 85% or 10MiB");
        break;
    case SETTING_TEXT:
        buf_add_str(out, "a text, like critical");
        break;
    case SETTING_OVERRIDES:
        buf_add_str(out, "a map of alerts, like {HighReplicationLag: {threshold: 30s}}");
        break;
    case SETTING_NODES:
    case SETTING_POOLS:
    case SETTING_LOGS:
        buf_add_str(out, "a list of maps");
        break;
    }
}

const char *config_shown(const char *text, char out[CONFIG_SHOWN_MAX])
{
    /* A value in the wrong place may be a connection string or a URL with a token in it. */
    if (strcasestr(text, "pass") != NULL || strstr(text, "://") != NULL ||
        strcasestr(text, "secret") != NULL) {
        str_copy(out, CONFIG_SHOWN_MAX, "a text that is not shown");
        return out;
    }
    bool whole = strlen(text) <= 40;
    size_t n = whole ? strlen(text) : 37;
    snprintf(out, CONFIG_SHOWN_MAX, "'%.*s%s'", (int)n, text, whole ? "" : "...");
    for (char *s = out; *s != '\0'; s++) {
        if ((unsigned char)*s < ' ' || *s == 0x7f)
            *s = '?';
    }
    return out;
}

static const char *found(const struct setting *row, const struct yaml_node *node,
                         char out[CONFIG_SHOWN_MAX])
{
    bool secret = row->type == SETTING_DSN || row->type == SETTING_POOL_DSN ||
                  row->type == SETTING_POOL_DSNS || row->type == SETTING_URL;
    if (node->kind != YAML_SCALAR)
        str_copy(out, CONFIG_SHOWN_MAX, node->kind == YAML_MAP ? "a map" : "a list");
    else if (yaml_is_null(node))
        str_copy(out, CONFIG_SHOWN_MAX, "nothing");
    else if (secret)
        str_copy(out, CONFIG_SHOWN_MAX, "another text");
    else
        config_shown(node->text, out);
    return out;
}

void config_value_wrong(struct config_build *b, const struct setting *row,
                        const struct yaml_node *node)
{
    char shown[CONFIG_SHOWN_MAX];
    struct buf expected;
    struct origin at = config_origin(b, node);
    buf_init(&expected, 512);
    describe(row, &expected);
    config_complain(b, &at, "'%s': expected %s, found %s", row->key, expected.data,
                    found(row, node, shown));
    buf_deinit(&expected);
}

static void out_of_range(struct config_build *b, const struct setting *row,
                         const struct yaml_node *node)
{
    char low[32], high[32], shown[CONFIG_SHOWN_MAX];
    struct origin at = config_origin(b, node);
    if (row->type == SETTING_DURATION) {
        str_format_duration(row->min, low, sizeof(low));
        str_format_duration(row->max, high, sizeof(high));
    } else if (row->type == SETTING_SIZE) {
        snprintf(low, sizeof(low), "%lldMiB", (long long)(row->min >> 20));
        snprintf(high, sizeof(high), "%lldGiB", (long long)(row->max >> 30));
    } else {
        const char *unit = row->type == SETTING_PERCENT ? "%" : "";
        snprintf(low, sizeof(low), "%lld%s", (long long)row->min, unit);
        snprintf(high, sizeof(high), "%lld%s", (long long)row->max, unit);
    }
    config_complain(b, &at, "'%s': must be from %s to %s, found %s", row->key, low, high,
                    found(row, node, shown));
}

/* ---- strings ---- */

char *config_value_text(struct config_build *b, const struct setting *row,
                        const struct yaml_node *node)
{
    struct err err = {0};
    if (node->kind != YAML_SCALAR || yaml_is_null(node) || strlen(node->text) != node->len) {
        config_value_wrong(b, row, node);
        return NULL;
    }
    char *text = config_expand(node->text, b->config->secret_modes, &err);
    if (text == NULL) {
        struct origin at = config_origin(b, node);
        config_complain(b, &at, "'%s': %s", row->key, err.text);
    }
    return text;
}

static void set_string(char **field, const char *text)
{
    mem_free(*field);
    *field = mem_strdup(text);
}

static bool set_listen(struct config *config, const char *text)
{
    int64_t port;
    const char *colon = strrchr(text, ':');
    if (colon == NULL || !str_parse_i64(colon + 1, 0, 65535, &port))
        return false;
    bool bracketed = text[0] == '[' && colon > text && colon[-1] == ']';
    const char *host = bracketed ? text + 1 : text;
    size_t n = (size_t)(colon - host) - (bracketed ? 1 : 0);
    if (n == 0 || n > HOST_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = host[i];
        if (!isalnum((unsigned char)c) && c != '.' && c != '-' && !(bracketed && c == ':'))
            return false;
    }
    mem_free(config->listen_host);
    config->listen_host = mem_strndup(host, n);
    config->listen_port = (int)port;
    return true;
}

/* A text of this row's type into its field; false: it is not valid. */
static bool set_text(const struct setting *row, void *base, const char *text)
{
    char *field = (char *)base + row->offset;
    switch (row->type) {
    case SETTING_NAME:
        if (!config_name_is_valid(text) && !(row->min == 0 && text[0] == '\0'))
            return false;
        return str_copy(field, NODE_NAME_MAX, text);
    case SETTING_LISTEN:
        return set_listen(base, text);
    case SETTING_PATH:
    case SETTING_FILE:
        if (!path_is_valid(text) && !(row->type == SETTING_FILE && text[0] == '\0'))
            return false;
        break;
    case SETTING_URL:
        if (text[0] != '\0' && !config_url_is_valid(text))
            return false;
        break;
    case SETTING_TEXT:
        if (text[0] == '\0' || strlen(text) > (size_t)row->max)
            return false;
        break;
    default:
        return false;
    }
    set_string((char **)(void *)field, text);
    return true;
}

static void value_text(struct config_build *b, const struct setting *row, void *base,
                       const struct yaml_node *node)
{
    char *text = config_value_text(b, row, node);
    if (text != NULL && !set_text(row, base, text))
        config_value_wrong(b, row, node);
    mem_free(text);
}

/* Connection strings are kept as written: they are expanded at each connect. */
static void value_dsn(struct config_build *b, const struct setting *row, void *base,
                      const struct yaml_node *node)
{
    if (node->text[0] == '\0' || node->len > CONFIG_TEXT_MAX || strlen(node->text) != node->len) {
        config_value_wrong(b, row, node);
        return;
    }
    set_string((char **)(void *)((char *)base + row->offset), node->text);
}

/* ---- numbers and words ---- */

enum parsed { PARSED_OK, PARSED_WRONG, PARSED_RANGE };

static enum parsed in_range(const struct setting *row, int64_t value)
{
    return value < row->min || value > row->max ? PARSED_RANGE : PARSED_OK;
}

static enum parsed set_number(const struct setting *row, void *field, const struct yaml_node *node)
{
    int64_t value = 0;
    bool ok = row->type == SETTING_DURATION ? str_parse_duration(node->text, &value)
              : row->type == SETTING_SIZE
                  ? str_parse_size(node->text, &value)
                  : !node->quoted && str_parse_i64(node->text, INT64_MIN, INT64_MAX, &value);
    /* A number without its unit is a slip even where it is 0. */
    if (ok && row->type == SETTING_DURATION && str_eq(node->text, "0"))
        ok = row->min == 0;
    if (!ok)
        return PARSED_WRONG;
    if (in_range(row, value) != PARSED_OK)
        return PARSED_RANGE;
    if (row->type == SETTING_COUNT)
        *(int *)field = (int)value;
    else
        *(int64_t *)field = value;
    return PARSED_OK;
}

static enum parsed set_percent(const struct setting *row, double *field, const char *text)
{
    double fraction;
    if (!str_parse_percent(text, &fraction))
        return PARSED_WRONG;
    if (fraction * 100 < (double)row->min || fraction * 100 > (double)row->max)
        return PARSED_RANGE;
    *field = fraction;
    return PARSED_OK;
}

static enum parsed set_bool(const struct setting *row, bool *field, const struct yaml_node *node)
{
    if (yaml_bool(node, field))
        return PARSED_OK;
    bool on = str_eq(node->text, "on");
    if (row->type != SETTING_SWITCH || (!on && !str_eq(node->text, "off")))
        return PARSED_WRONG;
    *field = on;
    return PARSED_OK;
}

static enum parsed set_word(const struct setting *row, void *field, const char *text)
{
    for (unsigned i = 0; row->words[i] != NULL; i++) {
        if (str_eq(row->words[i], text)) {
            memcpy(field, &i, sizeof(i)); /* all our enums are unsigned int for gcc and clang */
            return PARSED_OK;
        }
    }
    return PARSED_WRONG;
}
_Static_assert(sizeof(enum config_scope) == sizeof(unsigned), "set_word writes enums");

static enum parsed set_plain(const struct setting *row, void *field, const struct yaml_node *node)
{
    switch (row->type) {
    case SETTING_BOOL:
    case SETTING_SWITCH:
        return set_bool(row, field, node);
    case SETTING_PERCENT:
        return set_percent(row, field, node->text);
    case SETTING_WORD:
        return set_word(row, field, node->text);
    case SETTING_THRESHOLD:
        return config_threshold_parse(node->text, field) ? PARSED_OK : PARSED_WRONG;
    default:
        return set_number(row, field, node);
    }
}

static bool is_plain(enum setting_type type)
{
    return type == SETTING_BOOL || type == SETTING_SWITCH || type == SETTING_COUNT ||
           type == SETTING_DURATION || type == SETTING_SIZE || type == SETTING_PERCENT ||
           type == SETTING_WORD || type == SETTING_THRESHOLD;
}

void config_value_set(struct config_build *b, const struct setting *row, void *base,
                      const struct yaml_node *node)
{
    enum parsed parsed = PARSED_WRONG;
    if (node->kind != YAML_SCALAR || yaml_is_null(node)) {
        config_value_wrong(b, row, node);
        return;
    }
    if (row->type == SETTING_DSN) {
        value_dsn(b, row, base, node);
        return;
    }
    if (!is_plain(row->type)) {
        value_text(b, row, base, node);
        return;
    }
    parsed = set_plain(row, (char *)base + row->offset, node);
    if (parsed == PARSED_WRONG)
        config_value_wrong(b, row, node);
    else if (parsed == PARSED_RANGE)
        out_of_range(b, row, node);
}

void config_value_default(struct config_build *b, const struct setting *row, void *base)
{
    struct yaml_node node = {
        .kind = YAML_SCALAR, .text = row->value, .len = strlen(row->value), .quoted = false};
    /* An empty plain scalar would be null. */
    if (row->value[0] == '\0')
        node.quoted = true;
    config_value_set(b, row, base, &node);
}
