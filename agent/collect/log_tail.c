/*
 * PgBouncer tells only its log that a client waited in vain or was refused, so the log is followed:
 * from its end at start, over rotation (another inode: the new file is read from its beginning) and
 * truncation. A line is judged by its fixed texts. What cannot be read gives no series at all,
 * never a zero that would look like health.
 */
#include "collect_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pgvigil/base/log.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define LINE_MAX_BYTES 4096
#define READ_PER_TURN  (4 * 1024 * 1024) /* some 10 ms */

/* Texts of PgBouncer's source, stable from 1.15 to 1.26. */
static const struct {
    const char *text;
    const char *reason;
} patterns[] = {
    {"closing because: query_wait_timeout", "timeout"},
    {"closing because: no more connections allowed", "refused"},
    {"closing because: client_login_timeout", "login_timeout"},
    {"closing because: server login has been failing", "server_login"},
    {"closing because: server login failed", "server_login"},
};

static const char *const reasons[] = {"timeout", "refused", "login_timeout", "server_login"};

struct log_tail {
    struct collect_env *env;
    char pool[NODE_NAME_MAX], cluster[NODE_NAME_MAX];
    char *path;
    int fd;
    ino_t inode;
    off_t offset;
    bool is_at_end; /* of what could be read without a further turn */
    char line[LINE_MAX_BYTES];
    size_t line_len;
    uint64_t counts[ARRAY_LEN(reasons)];
    struct loop_timer *timer;
    int64_t interval_ms;
    struct source_state *source;
};

static void judge_line(struct log_tail *t)
{
    t->line[size_min(t->line_len, LINE_MAX_BYTES - 1)] = '\0';
    t->line_len = 0;
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        if (strstr(t->line, patterns[i].text) == NULL)
            continue;
        for (size_t r = 0; r < ARRAY_LEN(reasons); r++)
            t->counts[r] += str_eq(reasons[r], patterns[i].reason);
        return;
    }
}

/* A line over the limit is judged by its beginning, which is where the texts stand. */
static void take_bytes(struct log_tail *t, const char *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (data[i] == '\n')
            judge_line(t);
        else if (t->line_len < LINE_MAX_BYTES - 1)
            t->line[t->line_len++] = data[i];
    }
}

static void close_file(struct log_tail *t)
{
    if (t->fd >= 0)
        close(t->fd);
    t->fd = -1;
    t->line_len = 0;
}

static bool open_file(struct log_tail *t, bool at_end)
{
    struct stat st;
    close_file(t);
    t->fd = open(t->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (t->fd < 0 || fstat(t->fd, &st) != 0)
        return false;
    if (!S_ISREG(st.st_mode)) {
        close_file(t);
        errno = EINVAL;
        return false;
    }
    t->inode = st.st_ino;
    t->offset = at_end ? st.st_size : 0;
    return true;
}

static bool read_new(struct log_tail *t)
{
    char data[16 * 1024];
    t->is_at_end = false;
    for (size_t total = 0; total < READ_PER_TURN && !t->is_at_end; total += sizeof(data)) {
        ssize_t n = pread(t->fd, data, sizeof(data), t->offset);
        if (n < 0)
            return false;
        take_bytes(t, data, (size_t)n);
        t->offset += n;
        t->is_at_end = (size_t)n < sizeof(data);
    }
    return true;
}

/* The rest of the old file is read before a rotation is followed. */
static bool follow(struct log_tail *t)
{
    struct stat st;
    if (t->fd >= 0 && !read_new(t))
        return false;
    if (t->fd >= 0 && !t->is_at_end)
        return true;
    if (stat(t->path, &st) != 0)
        return false;
    if (t->fd < 0 || st.st_ino != t->inode)
        return open_file(t, false) && read_new(t);
    if (st.st_size < t->offset) {
        t->offset = 0;
        t->line_len = 0;
        return read_new(t);
    }
    return true;
}

static void on_timer(void *arg)
{
    struct log_tail *t = arg;
    char source[BATCH_SOURCE_MAX];
    struct now now = loop_now(t->env->opts.loop);
    const char *const common[] = {"cluster", t->cluster, "pool", t->pool, NULL};
    uint64_t begin = clock_stage_ns();
    if (!follow(t)) {
        const char *text = strerror(errno);
        if (!t->source->failing)
            log_warn("log cannot be read pool=%s path=%s error=\"%s\"", t->pool, t->path, text);
        collect_failed(t->env, t->source, text);
        return;
    }
    batch_begin(t->env->builder, collect_source(t->source, source), now.wall, common);
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        BATCH_ADD(t->env->builder, "db_connection_pool_errors_total", (double)t->counts[i],
                  "reason", reasons[i]);
    sources_good(t->source, now, (int64_t)((clock_stage_ns() - begin) / 1000));
    t->env->opts.emit(batch_finish(t->env->builder), t->env->opts.arg);
}

static const char *cluster_of(const struct config *config, const char *pool)
{
    for (size_t i = 0; i < config->pool_count; i++)
        if (str_eq(config->pools[i].name, pool))
            return config->pools[i].cluster;
    return config->cluster;
}

struct log_tail *log_tail_create(struct collect_env *env, const struct config *config,
                                 const struct config_log *log)
{
    struct log_tail *t = mem_alloc(sizeof(*t));
    t->env = env;
    t->fd = -1;
    str_copy(t->pool, sizeof(t->pool), log->pool);
    str_copy(t->cluster, sizeof(t->cluster), cluster_of(config, log->pool));
    t->path = mem_strdup(log->path);
    t->interval_ms = config->intervals.pools_ms;
    t->source = sources_get(env->opts.sources, t->pool, "log");
    t->source->configured = true;
    t->source->interval_ms = t->interval_ms;
    open_file(t, true); /* a failure is told by the first poll */
    t->timer = loop_timer_create(env->opts.loop, on_timer, t);
    loop_timer_start_period(t->timer, 0, t->interval_ms, NULL);
    return t;
}

void log_tail_destroy(struct log_tail **tail)
{
    struct log_tail *t = *tail;
    if (t == NULL)
        return;
    loop_timer_destroy(&t->timer);
    close_file(t);
    mem_free(t->path);
    MEM_FREE_NULL(tail);
}

bool log_tail_same(const struct log_tail *t, const struct config *config,
                   const struct config_log *log)
{
    return str_eq(t->pool, log->pool) && str_eq(t->path, log->path) &&
           t->interval_ms == config->intervals.pools_ms &&
           str_eq(t->cluster, cluster_of(config, log->pool));
}
