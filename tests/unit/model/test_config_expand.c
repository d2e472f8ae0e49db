/* test_config_expand.c: ${env:}, ${file:}, ${cred:}, connection strings filled and masked. */
#include "pgvigil/model/config.h"

#include <libpq-fe.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "pgvigil/base/mem.h"

static char *dir; /* 0755, so that modes of files count */

static char *path_of(const char *name)
{
    return mem_printf("%s/%s", dir, name);
}

static void write_file(const char *name, const void *data, size_t n, mode_t mode)
{
    char *path = path_of(name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
    mem_free(path);
}

static int set_up(void **state)
{
    (void)state;
    /* Below /tmp every directory on the way is open to others. */
    dir = mem_strdup("/tmp/pgvigil_expand_XXXXXX");
    if (mkdtemp(dir) == NULL || chmod(dir, 0755) != 0)
        return 1;
    write_file("secret", "s3cret\n", 7, 0600);
    write_file("two_newlines", "s3cret\n\n", 8, 0640);
    write_file("open", "s3cret", 6, 0644);
    write_file("nul", "a\0b", 3, 0600);
    write_file("odd", "it's a\\b c", 10, 0600);
    write_file("empty", "", 0, 0600);
    char *big = mem_alloc(70000);
    memset(big, 'x', 70000);
    write_file("big", big, 70000, 0600);
    mem_free(big);
    setenv("PGV_DIR", dir, 1);
    setenv("PGV_ONE", "one", 1);
    setenv("PGV_EMPTY", "", 1);
    setenv("CREDENTIALS_DIRECTORY", dir, 1);
    unsetenv("PGV_NONE");
    return 0;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"secret", "two_newlines", "open", "nul",
                                        "odd",    "empty",        "big"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *path = path_of(names[i]);
        unlink(path);
        mem_free(path);
    }
    rmdir(dir);
    MEM_FREE_NULL(&dir);
    return 0;
}

/* `@/x` in a case stands for a file of the test's directory. */
static char *with_dir(const char *text)
{
    struct buf out;
    size_t len;
    buf_init(&out, 100000);
    for (; *text != '\0'; text++) {
        if (text[0] == '@' && text[1] == '/')
            buf_add_str(&out, dir);
        else
            buf_add_char(&out, *text);
    }
    char *whole = buf_take(&out, &len);
    buf_deinit(&out);
    return whole;
}

static void expands(void **state)
{
    static const struct {
        const char *text, *value; /* NULL: refused */
        const char *error;        /* a part of it */
    } cases[] = {
        {"", "", NULL},
        {"plain $1 $x {} $", "plain $1 $x {} $", NULL},
        {"$${env:X}", "${env:X}", NULL},
        {"a${env:PGV_ONE}b${env:PGV_ONE}", "aonebone", NULL},
        {"${env:PGV_EMPTY}", "", NULL},
        {"${env:PGV_EMPTY:-d}", "d", NULL},
        {"${env:PGV_NONE:-d e:-f}", "d e:-f", NULL},
        {"${env:PGV_NONE:-}", "", NULL},
        {"${env:PGV_ONE:-d}", "one", NULL},
        {"${file:@/secret}", "s3cret", NULL},
        {"${file:@/two_newlines}", "s3cret\n", NULL},
        {"${file:@/empty}", "", NULL},
        {"${cred:secret}", "s3cret", NULL},
        {"${env:PGV_NONE}", NULL, "environment variable 'PGV_NONE' is not set"},
        {"${env:1x}", NULL, "needs the name of a variable"},
        {"${env:}", NULL, "needs the name of a variable"},
        {"${file:@/none}", NULL, "No such file"},
        {"${file:secret}", NULL, "must be an absolute path"},
        {"${file:/tmp}", NULL, "is not a regular file"},
        {"${file:/dev/zero}", NULL, "is not a regular file"},
        {"${file:@/open}", NULL, "can be read by others (mode 0644)"},
        {"${file:@/nul}", NULL, "NUL byte"},
        {"${file:@/big}", NULL, "longer than 65536 bytes"},
        {"${cred:../x}", NULL, "must be a plain name"},
        {"${cred:}", NULL, "must be a plain name"},
        {"${cred:none}", NULL, "No such file"},
        {"pass${word", NULL, "'${' has no '}'"},
        {"pass${wo}rd", NULL, "${env:NAME}, ${file:PATH} or ${cred:NAME}"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        char *text = with_dir(cases[i].text);
        char *value = config_expand(text, SECRET_MODES_STRICT, &err);
        if (cases[i].value != NULL && value == NULL)
            fail_msg("%s: %s", cases[i].text, err.text);
        if (cases[i].value == NULL && value != NULL)
            fail_msg("%s: expanded to '%s'", cases[i].text, value);
        if (value != NULL)
            assert_string_equal(value, cases[i].value);
        else if (strstr(err.text, cases[i].error) == NULL)
            fail_msg("%s: %s", cases[i].text, err.text);
        assert_null(strstr(err.text, "word"));
        mem_free(value);
        mem_free(text);
    }
}

static void modes(void **state)
{
    struct err err = {0};
    char *text = with_dir("${file:@/open}");
    char *value = config_expand(text, SECRET_MODES_RELAXED, &err);
    (void)state;
    assert_string_equal(value, "s3cret");
    mem_free(value);
    assert_null(config_expand(text, SECRET_MODES_STRICT, &err));
    assert_int_equal(err.kind, ERR_PERMISSION);
    /* A directory that keeps others out protects what is below it. */
    assert_int_equal(chmod(dir, 0750), 0);
    value = config_expand(text, SECRET_MODES_STRICT, &err);
    assert_int_equal(chmod(dir, 0755), 0);
    assert_string_equal(value, "s3cret");
    mem_free(value);
    mem_free(text);
}

static void without_credentials(void **state)
{
    struct err err = {0};
    (void)state;
    unsetenv("CREDENTIALS_DIRECTORY");
    assert_null(config_expand("${cred:secret}", SECRET_MODES_STRICT, &err));
    assert_non_null(strstr(err.text, "CREDENTIALS_DIRECTORY is not set"));
    setenv("CREDENTIALS_DIRECTORY", dir, 1);
}

/* What is filled in stays the value of one option, whatever is in it: libpq is asked. */
static void connection_strings_keep_their_shape(void **state)
{
    static const struct {
        const char *dsn, *password, *host;
    } cases[] = {
        {"host=x password=${file:@/odd}", "it's a\\b c", "x"},
        {"password=${file:@/odd} host=x", "it's a\\b c", "x"},
        {"password = ${file:@/odd} host = x", "it's a\\b c", "x"},
        {"password='${file:@/odd}' host=x", "it's a\\b c", "x"},
        {"password='a ${file:@/odd}' host=x", "a it's a\\b c", "x"},
        {"password=a\\ ${file:@/odd} host=x", "a it's a\\b c", "x"},
        {"password=${file:@/empty} host=x", "", "x"},
        {"postgresql://u:${file:@/odd}@x/db", "it's a\\b c", "x"},
        {"postgresql://x/db?password=${file:@/odd}", "it's a\\b c", "x"},
        {"${env:PGV_WHOLE}", "p q", "x"},
        {"${env:PGV_OPTIONS} password=${file:@/secret}", "s3cret", "x"},
        {"host=x password=$${a}", "${a}", "x"},
    };
    (void)state;
    setenv("PGV_WHOLE", "host=x password='p q'", 1);
    setenv("PGV_OPTIONS", "host=x user=y", 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        char *dsn = with_dir(cases[i].dsn);
        char *full = config_expand_dsn(dsn, SECRET_MODES_STRICT, &err);
        if (full == NULL)
            fail_msg("%s: %s", cases[i].dsn, err.text);
        PQconninfoOption *options = PQconninfoParse(full, NULL);
        if (options == NULL)
            fail_msg("%s: not valid: %s", cases[i].dsn, full);
        for (PQconninfoOption *o = options; o->keyword != NULL; o++) {
            if (strcmp(o->keyword, "password") == 0)
                assert_string_equal(o->val, cases[i].password);
            if (strcmp(o->keyword, "host") == 0)
                assert_string_equal(o->val, cases[i].host);
        }
        PQconninfoFree(options);
        mem_free(full);
        mem_free(dsn);
    }
}

static void masks(void **state)
{
    static const char *const cases[][2] = {
        {"", ""},
        {"host=x user=u", "host=x user=u"},
        {"host=x password=p1w user=u", "host=x password=*** user=u"},
        {"PASSWORD = 'p1w p1w\\'p1w' host=x", "PASSWORD=*** host=x"},
        {"password=p1w\\ p1w host=x", "password=*** host=x"},
        {"sslpassword=p1w  host='a b'", "sslpassword=*** host='a b'"},
        {"password='p1w host=x", "password=***"},
        {"password=a p1w host=x", "password=*** ***"},
        {"password=${file:/etc/a b} host=x", "password=*** host=x"},
        {"${env:DSN}", "${env:DSN}"},
        {"${env:DSN:-password=p1w}", "***"},
        {"${env:A} host=x", "${env:A} host=x"},
        {"postgresql://h/db", "postgresql://h/db"},
        {"postgresql://u@h:5432/db", "postgresql://u@h:5432/db"},
        {"postgres://u:p1w@h:5432/db?x=y", "postgres://u:***@h:5432/db?x=y"},
        {"postgresql://u:p1/w?p1w@p1w@h/db", "postgresql://u:***@h/db"},
        {"postgresql://u:${file:/a/b}@h/db", "postgresql://u:***@h/db"},
        {"postgresql://h/db?password=p1w&x=y&sslpassword=p1w",
         "postgresql://h/db?password=***&x=y&sslpassword=***"},
        {"postgresql://[::1]:5432/db", "postgresql://[::1]:5432/db"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *masked = config_mask_dsn(cases[i][0]);
        assert_string_equal(masked, cases[i][1]);
        assert_null(strstr(masked, "p1"));
        mem_free(masked);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expands),
        cmocka_unit_test(modes),
        cmocka_unit_test(without_credentials),
        cmocka_unit_test(connection_strings_keep_their_shape),
        cmocka_unit_test(masks),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
