/* test_config_discover.c: zero-config: variables first, else the sockets in given directories. */
#include "pgvigil/model/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../../agent/model/config_internal.h"
#include "pgvigil/base/mem.h"

static const char *const variables[] = {"PGHOST",    "PGHOSTADDR", "PGPORT",
                                        "PGSERVICE", "PGDATABASE", "PGUSER"};

static void clear_variables(void)
{
    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        unsetenv(variables[i]);
}

static struct config *discover(const char *hostname, const char *const *dirs, size_t n,
                               struct diag *diag)
{
    struct discover_env env = {.hostname = hostname, .socket_dirs = dirs, .socket_dir_count = n};
    struct config_build b;
    diag_init(diag);
    config_build_init(&b, diag);
    if (!config_discover_nodes(&b, &env))
        diag_add(diag, "test", 0, 0, "nothing");
    return config_build_end(&b);
}

static void variables_name_one_node(void **state)
{
    static const struct {
        const char *set[4][2];
        const char *name, *dsn;
    } cases[] = {
        {{{"PGHOST", "db1"}}, "db1-5432", "host='db1' dbname='postgres'"},
        {{{"PGHOST", "db1"}, {"PGPORT", "6000"}, {"PGDATABASE", "app"}, {"PGUSER", "o'x"}},
         "db1-6000",
         "host='db1' port='6000' dbname='app' user='o\\'x'"},
        {{{"PGHOST", "localhost"}}, "box-5432", "host='localhost' dbname='postgres'"},
        {{{"PGHOST", "/run/x"}, {"PGPORT", "5433"}},
         "box-5433",
         "host='/run/x' port='5433' dbname='postgres'"},
        {{{"PGPORT", "5433"}}, "box-5433", "port='5433' dbname='postgres'"},
        {{{"PGHOSTADDR", "::1"}}, "box-5432", "hostaddr='::1' dbname='postgres'"},
        {{{"PGHOSTADDR", "fe80::7"}}, "fe80--7-5432", "hostaddr='fe80::7' dbname='postgres'"},
        {{{"PGHOST", "::7"}}, "n-7-5432", "host='::7' dbname='postgres'"},
        {{{"PGSERVICE", "prod"}}, "prod", "service='prod'"},
        {{{"PGHOST", "${env:HOME}"}}, "n-env-HOME--5432", "host='$${env:HOME}' dbname='postgres'"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct diag diag;
        clear_variables();
        for (size_t j = 0; j < 4 && cases[i].set[j][0] != NULL; j++)
            setenv(cases[i].set[j][0], cases[i].set[j][1], 1);
        struct config *c = discover("box", NULL, 0, &diag);
        if (c == NULL)
            fail_msg("case %zu: %s", i, diag.entries[0].text);
        assert_int_equal(c->node_count, 1);
        assert_string_equal(c->nodes[0].name, cases[i].name);
        assert_string_equal(c->nodes[0].dsn, cases[i].dsn);
        assert_true(c->nodes[0].local && c->nodes[0].read);
        assert_int_equal(c->nodes[0].max_lag_ms, 60000);
        assert_int_equal(c->nodes[0].hard_lag_ms, 300000);
        assert_int_equal(c->scope, SCOPE_NODE);
        assert_null(c->path);
        config_unref(&c);
        diag_deinit(&diag);
    }
    clear_variables();
}

static void several_hosts_are_refused(void **state)
{
    struct diag diag;
    (void)state;
    setenv("PGHOST", "a,b", 1);
    assert_null(discover("box", NULL, 0, &diag));
    assert_string_equal(diag.entries[0].text, "'dsn' names several hosts: a node is one host");
    diag_deinit(&diag);
    clear_variables();
}

static char base[64];

static void make_socket(const char *sub, const char *name, bool lock)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s/%s", base, sub, name);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
    if (lock) {
        char *path = mem_printf("%s.lock", address.sun_path);
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fclose(f);
        mem_free(path);
    }
}

static void remove_sockets(void)
{
    static const char *const names[] = {"one/.s.PGSQL.5433",
                                        "one/.s.PGSQL.5433.lock",
                                        "one/.s.PGSQL.6432",
                                        "one/.s.PGSQL.99999",
                                        "one/.s.PGSQL.99999.lock",
                                        "one/.s.PGSQL.12x",
                                        "one/.s.PGSQL.12x.lock",
                                        "two/.s.PGSQL.5433",
                                        "two/.s.PGSQL.5433.lock",
                                        "two/.s.PGSQL.5432",
                                        "two/.s.PGSQL.5432.lock",
                                        "one",
                                        "two",
                                        ""};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *path = mem_printf("%s/%s", base, names[i]);
        assert_int_equal(remove(path), 0);
        mem_free(path);
    }
}

static void sockets_name_nodes(void **state)
{
    struct diag diag;
    char one[80], two[80], host[160];
    const char *dirs[] = {one, two, "/nonexistent"};
    (void)state;
    clear_variables();
    snprintf(base, sizeof(base), "/tmp/pgvigil_sockets_XXXXXX");
    assert_non_null(mkdtemp(base));
    snprintf(one, sizeof(one), "%s/one", base);
    snprintf(two, sizeof(two), "%s/two", base);
    assert_int_equal(mkdir(one, 0755) | mkdir(two, 0755), 0);
    assert_null(discover("box", dirs, 3, &diag));
    diag_deinit(&diag);

    make_socket("one", ".s.PGSQL.5433", true);
    make_socket("one", ".s.PGSQL.6432", false); /* a PgBouncer */
    make_socket("one", ".s.PGSQL.99999", true);
    make_socket("one", ".s.PGSQL.12x", true);
    make_socket("two", ".s.PGSQL.5433", true); /* the same server */
    make_socket("two", ".s.PGSQL.5432", true);
    setenv("PGUSER", "watch", 1); /* does not name a server by itself */
    struct config *c = discover("box.example.org", dirs, 3, &diag);
    assert_non_null(c);
    assert_int_equal(c->node_count, 2);
    assert_string_equal(c->nodes[0].name, "box.example.org-5432");
    assert_string_equal(c->nodes[1].name, "box.example.org-5433");
    snprintf(host, sizeof(host), "host='%s' port='5433' dbname='postgres' user='watch'", one);
    assert_string_equal(c->nodes[1].dsn, host);
    assert_false(c->nodes[0].local || c->nodes[1].local);       /* which of the two? */
    assert_string_equal(c->nodes[0].cluster, c->nodes[0].name); /* judged apart */
    assert_string_equal(c->nodes[1].cluster, c->nodes[1].name);
    assert_int_equal(c->scope, SCOPE_NODE);
    config_unref(&c);
    diag_deinit(&diag);

    setenv("PGHOST", "db1", 1); /* variables beat sockets */
    c = discover("box", dirs, 3, &diag);
    assert_non_null(c);
    assert_int_equal(c->node_count, 1);
    assert_string_equal(c->nodes[0].name, "db1-5432");
    config_unref(&c);
    diag_deinit(&diag);
    clear_variables();
    remove_sockets();
}

static void long_names_are_cut(void **state)
{
    struct diag diag;
    char hostname[200];
    (void)state;
    memset(hostname, 'h', sizeof(hostname));
    hostname[sizeof(hostname) - 1] = '\0';
    setenv("PGPORT", "5433", 1);
    struct config *c = discover(hostname, NULL, 0, &diag);
    assert_non_null(c);
    assert_int_equal(strlen(c->nodes[0].name), NODE_NAME_MAX - 1);
    assert_string_equal(c->nodes[0].name + NODE_NAME_MAX - 7, "h-5433");
    config_unref(&c);
    diag_deinit(&diag);
    clear_variables();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variables_name_one_node),
        cmocka_unit_test(several_hosts_are_refused),
        cmocka_unit_test(sockets_name_nodes),
        cmocka_unit_test(long_names_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
