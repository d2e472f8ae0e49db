/*
 * log.c: a line is put together on the stack and leaves in one system call or not at all.
 *
 * The gate's thread logs too, so nothing here may wait: no stdio (its lock), no allocation, and a
 * descriptor that takes no more loses the line, which is counted. One call per line keeps lines of
 * several threads apart (writes of up to 4 KiB to a pipe are not mixed). Invariant: control bytes
 * never reach the output, so one event is one line whatever a server put into its message.
 */
#include "pgvigil/base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "pgvigil/base/clock.h"
#include "pgvigil/base/str.h"

static _Atomic int max_level = LOG_LEVEL_INFO;
static _Atomic bool to_journal;
static _Atomic uint64_t dropped;
static void (*sink_fn)(enum log_level level, const char *line, void *arg);
static void *sink_arg;

static const struct {
    const char *name;
    int priority; /* of syslog(3) */
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", 3},
    [LOG_LEVEL_WARN] = {"warn", 4},
    [LOG_LEVEL_INFO] = {"info", 6},
    [LOG_LEVEL_DEBUG] = {"debug", 7},
};

/*
 * JOURNAL_STREAM names the device and inode of the journal's socket. A child of a service that has
 * its stderr elsewhere inherits the variable all the same, so it must be compared.
 */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long dev, ino;
    struct stat st;
    char *end;

    if (!stream || fstat(STDERR_FILENO, &st) != 0)
        return false;
    dev = strtoull(stream, &end, 10);
    if (*end != ':')
        return false;
    ino = strtoull(end + 1, &end, 10);
    return *end == '\0' && dev == st.st_dev && ino == st.st_ino;
}

void log_init(enum log_level level)
{
    log_set_level(level);
    atomic_store_explicit(&to_journal, stderr_is_journal(), memory_order_relaxed);
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&max_level, (int)level, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&max_level, memory_order_relaxed);
}

/*
 * poll says whether there is room; another thread may take it before the write, and RWF_NOWAIT
 * closes that gap where the kernel has it for this kind of descriptor.
 */
static bool write_now(const char *line, size_t n)
{
    struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};
    struct iovec part = {.iov_len = n};
    ssize_t written;

    if (poll(&room, 1, 0) != 1 || !(room.revents & POLLOUT))
        return false;
    memcpy(&part.iov_base, &line, sizeof(line)); /* const only by the type of iovec */
    written = pwritev2(STDERR_FILENO, &part, 1, -1, RWF_NOWAIT);
    if (written < 0 && errno != EAGAIN && errno != EPIPE)
        written = write(STDERR_FILENO, line, n);
    return written >= 0;
}

static void controls_clean(char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c == '\n' || c == '\t' || c == '\r')
            *s = ' ';
        else if (c < 0x20 || c == 0x7F)
            *s = '?';
    }
}

static size_t line_begin(char *line, size_t size, enum log_level level)
{
    char stamp[CLOCK_RFC3339_MAX];
    int n;

    if (atomic_load_explicit(&to_journal, memory_order_relaxed))
        n = snprintf(line, size, "<%d>%s ", levels[level].priority, levels[level].name);
    else
        n = snprintf(line, size, "%s %s ", clock_format_rfc3339(clock_read().wall, stamp),
                     levels[level].name);
    return (size_t)n;
}

void log_write(enum log_level level, const char *fmt, ...)
{
    char line[LOG_LINE_MAX];
    int saved_errno = errno;
    size_t begin = line_begin(line, sizeof(line), level), len;
    va_list ap;
    int n;

    errno = saved_errno; /* for %m */
    va_start(ap, fmt);
    n = vsnprintf(line + begin, sizeof(line) - begin - 1, fmt, ap);
    va_end(ap);
    controls_clean(line + begin);
    len = strlen(line);
    /* A cut line says so. */
    if (n > 0 && begin + (size_t)n >= sizeof(line) - 1)
        str_copy(line + len - 3, 4, "...");
    if (sink_fn) {
        sink_fn(level, line + begin, sink_arg);
    } else {
        line[len++] = '\n';
        if (!write_now(line, len))
            atomic_fetch_add_explicit(&dropped, 1, memory_order_relaxed);
    }
    errno = saved_errno;
}

static bool needs_quotes(const char *s)
{
    if (*s == '\0')
        return true;
    while (*s) {
        unsigned char c = (unsigned char)*s;
        size_t n = str_utf8_len(s);

        if (n == 0 || c <= 0x20 || c == 0x7F || c == '"' || c == '\\' || c == '=')
            return true;
        s += n;
    }
    return false;
}

/* One character of s as it stands between quotes; returns how many bytes of s it used. */
static size_t quote_char(const char *s, char piece[8])
{
    unsigned char c = (unsigned char)*s;
    size_t n = str_utf8_len(s);

    if (c == '"' || c == '\\') {
        snprintf(piece, 8, "\\%c", c);
    } else if (c == '\n') {
        snprintf(piece, 8, "\\n");
    } else if (n == 0 || c < 0x20 || c == 0x7F) {
        snprintf(piece, 8, "\\x%02x", c);
    } else {
        memcpy(piece, s, n);
        piece[n] = '\0';
    }
    return n > 0 ? n : 1;
}

const char *log_quote(char *out, size_t n, const char *s)
{
    size_t len = 1;

    if (n < 3) {
        if (n > 0)
            out[0] = '\0';
        return out;
    }
    if (strlen(s) < n && !needs_quotes(s)) {
        str_copy(out, n, s);
        return out;
    }
    out[0] = '"';
    while (*s) {
        char piece[8];
        size_t used = quote_char(s, piece), add = strlen(piece);

        if (len + add + 2 > n)
            break;
        memcpy(out + len, piece, add);
        len += add;
        s += used;
    }
    out[len++] = '"';
    out[len] = '\0';
    return out;
}

uint64_t log_dropped(void)
{
    return atomic_load_explicit(&dropped, memory_order_relaxed);
}

void log_set_sink(void (*sink)(enum log_level level, const char *line, void *arg), void *arg)
{
    sink_fn = sink;
    sink_arg = arg;
}
