/*
 * config_discover.c: nodes without a configuration: the PG* variables, else the local sockets.
 *
 * A server of PostgreSQL keeps `<socket>.lock` beside its socket, a PgBouncer does not: that is how
 * a pooler on port 6432 is not taken for a server. Nothing is connected to here: what is a node is
 * decided by what lies in the directories, so the answer is the same at every start. Connection
 * strings are written out but for the password, which libpq reads from the environment itself.
 */
#include "pgvigil/model/config.h"

#include <ctype.h>
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#include "config_internal.h"

#define SOCKET_PREFIX ".s.PGSQL."
#define PORT_DEFAULT  "5432"

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

/* key='value' with conninfo's escapes; `${` in it must not be expanded later. */
static void add_option(struct buf *out, const char *key, const char *value)
{
    if (value == NULL)
        return;
    buf_printf(out, "%s%s='", out->len > 0 ? " " : "", key);
    for (; *value != '\0'; value++) {
        if (*value == '\'' || *value == '\\')
            buf_add_char(out, '\\');
        if (str_starts(value, "${"))
            buf_add_char(out, '$');
        buf_add_char(out, *value);
    }
    buf_add_char(out, '\'');
}

/* Without PGDATABASE libpq would take a database with the name of the user, which is rarely there.
 */
static const char *database(void)
{
    const char *name = variable("PGDATABASE");
    return name != NULL ? name : "postgres";
}

/* host-port as a node's name: what is not allowed in one becomes `-`. */
static void make_name(char out[NODE_NAME_MAX], const char *host, const char *port)
{
    int room = NODE_NAME_MAX - 2 - (int)size_min(strlen(port), 12);
    snprintf(out, NODE_NAME_MAX, "%.*s%s%.12s", room, host, port[0] != '\0' ? "-" : "", port);
    for (char *s = out; *s != '\0'; s++) {
        if (!isalnum((unsigned char)*s) && strchr("._-", *s) == NULL)
            *s = '-';
    }
    if (!isalnum((unsigned char)out[0]))
        out[0] = 'n';
}

/* ---- PG* variables ---- */

struct server {
    const char *host, *address, *port, *service; /* NULL: not set */
};

static bool is_here(const char *host)
{
    return host == NULL || host[0] == '/' || host[0] == '@' || config_host_is_loopback(host);
}

static void name_server(char out[NODE_NAME_MAX], const struct server *server, const char *hostname)
{
    const char *host = server->address != NULL ? server->address : server->host;
    if (server->service != NULL && host == NULL)
        make_name(out, server->service, server->port != NULL ? server->port : "");
    else
        make_name(out, is_here(host) ? hostname : host,
                  server->port != NULL ? server->port : PORT_DEFAULT);
}

static bool from_environment(struct config_build *b, const struct discover_env *env)
{
    char name[NODE_NAME_MAX];
    struct buf dsn;
    struct server server = {.host = variable("PGHOST"),
                            .address = variable("PGHOSTADDR"),
                            .port = variable("PGPORT"),
                            .service = variable("PGSERVICE")};
    if (server.host == NULL && server.address == NULL && server.port == NULL &&
        server.service == NULL)
        return false;
    buf_init(&dsn, CONFIG_TEXT_MAX);
    add_option(&dsn, "service", server.service);
    add_option(&dsn, "host", server.host);
    add_option(&dsn, "hostaddr", server.address);
    add_option(&dsn, "port", server.port);
    /* A service brings its own database. */
    add_option(&dsn, "dbname", server.service == NULL ? database() : variable("PGDATABASE"));
    add_option(&dsn, "user", variable("PGUSER"));
    name_server(name, &server, env->hostname);
    config_build_add_node(b, name, "", dsn.data);
    buf_deinit(&dsn);
    return true;
}

/* ---- sockets ---- */

struct found {
    int64_t ports[DISCOVERED_MAX];
    const char *dirs[DISCOVERED_MAX];
    size_t n;
};

static bool is_server_socket(const char *dir, const char *name)
{
    struct stat st;
    char *path = mem_printf("%s/%s", dir, name);
    char *lock = mem_printf("%s.lock", path);
    bool is = stat(path, &st) == 0 && S_ISSOCK(st.st_mode) && lstat(lock, &st) == 0;
    mem_free(lock);
    mem_free(path);
    return is;
}

/* Kept sorted by port; a server that listens in two directories is one server. */
static void add_found(struct found *found, int64_t port, const char *dir)
{
    size_t at = 0;
    while (at < found->n && found->ports[at] < port)
        at++;
    if ((at < found->n && found->ports[at] == port) || found->n == DISCOVERED_MAX)
        return;
    memmove(&found->ports[at + 1], &found->ports[at], (found->n - at) * sizeof(found->ports[0]));
    memmove(&found->dirs[at + 1], &found->dirs[at], (found->n - at) * sizeof(found->dirs[0]));
    found->ports[at] = port;
    found->dirs[at] = dir;
    found->n++;
}

static void look_into(struct found *found, const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        int64_t port;
        if (str_starts(e->d_name, SOCKET_PREFIX) &&
            str_parse_i64(e->d_name + strlen(SOCKET_PREFIX), 1, 65535, &port) &&
            is_server_socket(path, e->d_name))
            add_found(found, port, path);
    }
    if (dir != NULL)
        closedir(dir);
}

static bool from_sockets(struct config_build *b, const struct discover_env *env)
{
    struct found found = {.n = 0};
    for (size_t i = 0; i < env->socket_dir_count; i++)
        look_into(&found, env->socket_dirs[i]);
    for (size_t i = 0; i < found.n; i++) {
        char name[NODE_NAME_MAX], port[16];
        struct buf dsn;
        snprintf(port, sizeof(port), "%lld", (long long)found.ports[i]);
        buf_init(&dsn, CONFIG_TEXT_MAX);
        add_option(&dsn, "host", found.dirs[i]);
        add_option(&dsn, "port", port);
        add_option(&dsn, "dbname", database());
        add_option(&dsn, "user", variable("PGUSER"));
        make_name(name, env->hostname, port);
        /* servers that merely share a host are clusters of their own */
        config_build_add_node(b, name, found.n > 1 ? name : "", dsn.data);
        buf_deinit(&dsn);
    }
    return found.n > 0;
}

/* ---- both ---- */

void config_build_add_node(struct config_build *b, const char *name, const char *cluster,
                           const char *dsn)
{
    struct origin nowhere = {0};
    struct config_node *node = config_list_add(b, &b->nodes, &nowhere);
    str_copy(node->name, sizeof(node->name), name);
    str_copy(node->cluster, sizeof(node->cluster), cluster);
    node->dsn = mem_strdup(dsn);
    b->discovered = true;
}

bool config_discover_nodes(struct config_build *b, const struct discover_env *env)
{
    return from_environment(b, env) || from_sockets(b, env);
}

bool config_discover_here(struct config_build *b)
{
    static const char *const dirs[] = {"/var/run/postgresql", "/tmp"};
    char hostname[256] = "localhost";
    if (gethostname(hostname, sizeof(hostname)) == 0)
        hostname[sizeof(hostname) - 1] = '\0';
    struct discover_env env = {
        .hostname = hostname, .socket_dirs = dirs, .socket_dir_count = ARRAY_LEN(dirs)};
    return config_discover_nodes(b, &env);
}

struct config *config_discover(struct diag *diag)
{
    return config_discover_shown(NULL, diag);
}

struct config *config_discover_shown(struct config_show *show, struct diag *diag)
{
    struct config_build b;
    config_build_init(&b, diag);
    b.show = show;
    if (!config_discover_here(&b)) {
        diag_add(diag, CONFIG_PATH_DEFAULT, 0, 0,
                 "there is no such file, no PGHOST, PGPORT or PGSERVICE is set, and there is no "
                 "PostgreSQL socket in /var/run/postgresql or /tmp");
    }
    return config_build_end(&b);
}
