/*
 * `pgvigil grants`: the role that the agent logs in with. pg_monitor shows the statistics, nothing
 * of the tables; from 16 on a reserved connection lets it in when the slots run out. The settings
 * are a second fence: the agent sets the same for each session.
 */
#include "cli_private.h"
#include "pgvigil/base/buf.h"
#include "pgvigil/base/str.h"

#define PG_MIN           13
#define PG_MAX           18
#define PG_RESERVED_ROLE 16

static void add_identifier(struct buf *out, const char *name)
{
    buf_add_char(out, '"');
    for (; *name != '\0'; name++) {
        if (*name == '"')
            buf_add_char(out, '"');
        buf_add_char(out, *name);
    }
    buf_add_char(out, '"');
}

static void add_setting(struct buf *out, const char *role, const char *setting)
{
    buf_add_str(out, "ALTER ROLE ");
    add_identifier(out, role);
    buf_printf(out, " SET %s;\n", setting);
}

static void add_role(struct buf *out, const char *role, int connections)
{
    buf_add_str(out, "CREATE ROLE ");
    add_identifier(out, role);
    buf_printf(out, " LOGIN NOINHERIT CONNECTION LIMIT %d;\n", connections);
}

void cli_grants_sql(int pg_major, const char *role, struct buf *out)
{
    static const char *const settings[] = {"default_transaction_read_only = on",
                                           "search_path = pg_catalog", "statement_timeout = '10s'",
                                           "lock_timeout = '500ms'",
                                           "idle_in_transaction_session_timeout = '30s'"};
    buf_add_str(out, "-- Monitoring role of pgvigil: statistics only, no table can be read.\n"
                     "-- Set a password, or use peer or certificate authentication.\n"
                     "CREATE ROLE ");
    add_identifier(out, role);
    buf_add_str(out, " LOGIN CONNECTION LIMIT 10;\nGRANT pg_monitor TO ");
    add_identifier(out, role);
    buf_add_str(out, ";\n");
    if (pg_major == 0) {
        buf_printf(out,
                   "-- from %d on: may log in when all other connections are taken\n"
                   "DO $$ BEGIN IF current_setting('server_version_num')::int >= %d0000 THEN\n"
                   "  EXECUTE $g$GRANT pg_use_reserved_connections TO ",
                   PG_RESERVED_ROLE, PG_RESERVED_ROLE);
        add_identifier(out, role);
        buf_add_str(out, "$g$;\nEND IF; END $$;\n");
    } else if (pg_major >= PG_RESERVED_ROLE) {
        buf_add_str(out, "GRANT pg_use_reserved_connections TO ");
        add_identifier(out, role);
        buf_add_str(out, ";\n");
    }
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        add_setting(out, role, settings[i]);
}

static void explain_sql(const char *role, struct buf *out)
{
    buf_add_str(out,
                "-- Separate role for EXPLAIN (opt-in): planning can run user code, so it is not\n"
                "-- the monitoring role. Grant SELECT on the tables whose statements may be "
                "planned.\n");
    add_role(out, role, 2);
    add_setting(out, role, "default_transaction_read_only = on");
    add_setting(out, role, "statement_timeout = '2s'");
    add_setting(out, role, "lock_timeout = '200ms'");
}

int cli_grants(const struct cli_args *args)
{
    int64_t major = 0;
    struct buf out;
    if (args->pg != NULL && !str_parse_i64(args->pg, PG_MIN, PG_MAX, &major)) {
        fprintf(stderr, "pgvigil: --pg takes a major version from %d to %d, not '%s'\n", PG_MIN,
                PG_MAX, args->pg);
        return EXIT_CODE_USAGE;
    }
    buf_init(&out, 64 * 1024);
    if (args->explain)
        explain_sql(args->role != NULL ? args->role : "pgvigil_explain", &out);
    else
        cli_grants_sql((int)major, args->role != NULL ? args->role : "pgvigil", &out);
    fputs(out.data, stdout);
    buf_deinit(&out);
    return EXIT_CODE_OK;
}
