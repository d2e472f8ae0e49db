/*
 * config_expand.c: ${env:X}, ${file:P} and ${cred:N} inside string values.
 *
 * Expansion works on one parsed value, never on the raw file, so a secret with a quote or a colon
 * in it cannot change the shape of the configuration. A bare `$` stays as it is (passwords have
 * them); only `${` means something and `$${` is its literal form. Invariant: no value of a
 * variable or a file ever gets into an error text.
 */
#include "pgvigil/model/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pgvigil/base/buf.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#include "config_internal.h"

/* Longest name or path (with a default) inside one ${...}. */
#define PLACEHOLDER_MAX 4096

/*
 * Does a directory on the way keep strangers out? Credential directories of systemd and most
 * deployment tools protect the directory and leave the files 0644.
 */
static bool behind_closed_directory(const char *path)
{
    char real[PATH_MAX];
    if (realpath(path, real) == NULL)
        return false;
    for (char *slash = strrchr(real, '/'); slash != NULL; slash = strrchr(real, '/')) {
        struct stat st;
        *slash = '\0';
        if (stat(real[0] != '\0' ? real : "/", &st) == 0 && (st.st_mode & S_IXOTH) == 0)
            return true;
    }
    return false;
}

static bool check_secret_file(int fd, const char *path, enum config_secret_modes modes,
                              struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_set(err, ERR_IO, "secret file '%s': %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_INVALID, "secret file '%s' is not a regular file", path);
    if (st.st_size > CONFIG_TEXT_MAX)
        return err_set(err, ERR_LIMIT, "secret file '%s' is longer than %d bytes", path,
                       CONFIG_TEXT_MAX);
    if (modes == SECRET_MODES_STRICT && (st.st_mode & S_IROTH) != 0 &&
        !behind_closed_directory(path)) {
        return err_set(err, ERR_PERMISSION,
                       "secret file '%s' can be read by others (mode %04o): chmod o-r it, or set "
                       "secret_modes: relaxed",
                       path, (unsigned)(st.st_mode & 07777));
    }
    return true;
}

static bool read_descriptor(int fd, const char *path, char *text, size_t *len, struct err *err)
{
    *len = 0;
    while (*len <= CONFIG_TEXT_MAX) {
        ssize_t n = read(fd, text + *len, CONFIG_TEXT_MAX + 1 - *len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(err, ERR_IO, "secret file '%s': %s", path, strerror(errno));
        if (n == 0)
            return true;
        *len += (size_t)n;
    }
    return err_set(err, ERR_LIMIT, "secret file '%s' is longer than %d bytes", path,
                   CONFIG_TEXT_MAX);
}

static bool read_secret(int fd, const char *path, struct buf *out, struct err *err)
{
    char *text = mem_alloc(CONFIG_TEXT_MAX + 1);
    size_t len;
    bool ok = read_descriptor(fd, path, text, &len, err);
    if (ok && memchr(text, '\0', len) != NULL)
        ok = err_set(err, ERR_INVALID, "secret file '%s' has a NUL byte in it", path);
    /* Editors and `echo` end a file with a newline that is not part of the secret. */
    if (ok && len > 0 && text[len - 1] == '\n')
        len--;
    if (ok)
        buf_add(out, text, len);
    explicit_bzero(text, CONFIG_TEXT_MAX + 1);
    mem_free(text);
    return ok;
}

static bool expand_file(const char *path, enum config_secret_modes modes, struct buf *out,
                        struct err *err)
{
    if (path[0] != '/')
        return err_set(err, ERR_INVALID, "secret file '%s' must be an absolute path", path);
    /* O_NONBLOCK: a FIFO in its place must not hang the start. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        enum err_kind kind = errno == EACCES ? ERR_PERMISSION : ERR_NOT_FOUND;
        return err_set(err, kind, "secret file '%s': %s", path, strerror(errno));
    }
    bool ok = check_secret_file(fd, path, modes, err) && read_secret(fd, path, out, err);
    close(fd);
    return ok;
}

static bool expand_cred(const char *name, enum config_secret_modes modes, struct buf *out,
                        struct err *err)
{
    if (name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL)
        return err_set(err, ERR_INVALID, "credential '%s' must be a plain name", name);
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    if (dir == NULL || dir[0] == '\0') {
        return err_set(err, ERR_NOT_FOUND,
                       "credential '%s': CREDENTIALS_DIRECTORY is not set (LoadCredential= of the "
                       "service sets it)",
                       name);
    }
    char *path = mem_printf("%s/%s", dir, name);
    bool ok = expand_file(path, modes, out, err);
    mem_free(path);
    return ok;
}

static bool is_variable_name(const char *s)
{
    if (!isalpha((unsigned char)s[0]) && s[0] != '_')
        return false;
    for (; *s != '\0'; s++) {
        if (!isalnum((unsigned char)*s) && *s != '_')
            return false;
    }
    return true;
}

static bool expand_env(char *name, struct buf *out, struct err *err)
{
    char *fallback = strstr(name, ":-");
    if (fallback != NULL) {
        *fallback = '\0';
        fallback += 2;
    }
    if (!is_variable_name(name))
        return err_set(err, ERR_INVALID, "'${env:...}' needs the name of a variable, like %s",
                       "${env:PGPASSWORD}");
    const char *value = getenv(name);
    /* As in a shell, an empty variable takes the default too. */
    if (fallback != NULL && (value == NULL || value[0] == '\0'))
        value = fallback;
    if (value == NULL)
        return err_set(err, ERR_NOT_FOUND, "environment variable '%s' is not set", name);
    buf_add_str(out, value);
    return true;
}

static bool expand_inside(char *inside, enum config_secret_modes modes, struct buf *out,
                          struct err *err)
{
    if (str_starts(inside, "env:"))
        return expand_env(inside + 4, out, err);
    if (str_starts(inside, "file:"))
        return expand_file(inside + 5, modes, out, err);
    if (str_starts(inside, "cred:"))
        return expand_cred(inside + 5, modes, out, err);
    /* What stands there may be a piece of a password: it is not repeated. */
    return err_set(err, ERR_INVALID,
                   "'${' must begin ${env:NAME}, ${file:PATH} or ${cred:NAME}; write '$${' for a "
                   "literal '${'");
}

bool config_expand_one(const char **at, enum config_secret_modes modes, struct buf *out,
                       struct err *err)
{
    const char *begin = *at + 2;
    const char *end = strchr(begin, '}');
    if (end == NULL)
        return err_set(err, ERR_INVALID, "'${' has no '}'; write '$${' for a literal '${'");
    if (end - begin > PLACEHOLDER_MAX)
        return err_set(err, ERR_LIMIT, "'${...}' is longer than %d bytes", PLACEHOLDER_MAX);
    char *inside = mem_strndup(begin, (size_t)(end - begin));
    bool ok = expand_inside(inside, modes, out, err);
    mem_free(inside);
    *at = end + 1;
    return ok;
}

char *config_expand(const char *text, enum config_secret_modes modes, struct err *err)
{
    struct buf out;
    bool ok = true;
    buf_init(&out, CONFIG_TEXT_MAX);
    while (ok && *text != '\0') {
        if (str_starts(text, "$${")) {
            buf_add_str(&out, "${");
            text += 3;
        } else if (str_starts(text, "${")) {
            ok = config_expand_one(&text, modes, &out, err);
        } else {
            buf_add_char(&out, *text++);
        }
    }
    if (ok && !buf_ok(&out))
        ok = err_set(err, ERR_LIMIT, "the value is longer than %d bytes", CONFIG_TEXT_MAX);
    size_t len;
    char *value = ok ? buf_take(&out, &len) : NULL;
    buf_deinit(&out);
    return value;
}
