/*
 * dsn.c: from a DSN as written to the parameters of a connect.
 *
 * libpq merges the DSN, a service file, the environment and its defaults by rules of its own. To
 * know the host (we resolve it ourselves) without copying those rules, libpq is asked: a connect
 * with an impossible channel_binding fails in the check of the options, before any network, and
 * PQconninfo then tells what it would have used. The real connect gets the DSN itself, with our
 * settings around it.
 */
#include "conn_private.h"

#include "pgvigil/base/buf.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define PARAMS_MAX   12
#define DSN_TEXT_MAX 4096 /* of options, hosts and addresses put together */

struct params {
    const char *keys[PARAMS_MAX + 1], *values[PARAMS_MAX + 1];
    size_t count;
};

static void add(struct params *params, const char *key, const char *value)
{
    if (params->count == PARAMS_MAX)
        abort(); /* the callers are below */
    params->keys[params->count] = key;
    params->values[params->count++] = value;
}

static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
    for (const PQconninfoOption *o = options; o && o->keyword; o++) {
        if (str_eq(o->keyword, keyword))
            return o->val ? o->val : "";
    }
    return "";
}

/* libpq's own message quotes pieces of the text, which may be the password. */
static bool check_syntax(const char *dsn, bool *sets_gss, struct err *err)
{
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(dsn, &message);
    PQfreemem(message);
    if (!options)
        return err_set(err, ERR_INVALID,
                       "dsn is neither a keyword=value string nor a postgresql:// URI");
    *sets_gss = *value_of(options, "gssencmode") != '\0';
    PQconninfoFree(options);
    return true;
}

/* Fails if libpq stumbled over something else than our impossible value. */
static bool ask_libpq(const char *dsn, PGconn **pg, struct err *err)
{
    char text[ERR_TEXT_MAX];
    struct params params = {0};
    add(&params, "dbname", dsn);
    add(&params, "channel_binding", "none, this connect is only a question");
    *pg = PQconnectStartParams(params.keys, params.values, 1);
    if (!*pg)
        abort(); /* out of memory */
    if (strstr(PQerrorMessage(*pg), "channel_binding"))
        return true;
    pg_clean_text(text, sizeof(text), PQerrorMessage(*pg), PQpass(*pg));
    return err_set(err, ERR_INVALID, "dsn cannot be used: %s", text);
}

static char *join_options(const char *users, const char *ours)
{
    if (!ours || !*ours)
        return mem_strdup(users);
    return *users ? mem_printf("%s %s", users, ours) : mem_strdup(ours);
}

static bool fill_plan(struct pg_plan *plan, const PQconninfoOption *options, bool sets_gss,
                      const char *our_options, struct err *err)
{
    plan->host = mem_strdup(value_of(options, "host"));
    plan->hostaddr = mem_strdup(value_of(options, "hostaddr"));
    if (strchr(plan->host, ',') || strchr(plan->hostaddr, ','))
        return err_set(err, ERR_INVALID, "dsn names several hosts: one node is one host");
    if (!plan->console)
        plan->options = join_options(value_of(options, "options"), our_options);
    /* "prefer" is what libpq takes when nobody says anything. */
    const char *gss = value_of(options, "gssencmode");
    plan->disable_gss = !sets_gss && (!*gss || str_eq(gss, "prefer"));
    plan->needs_resolve = !*plan->hostaddr && resolve_needed(plan->host);
    return true;
}

static bool prepare_plan(struct pg_plan *plan, const char *our_options, struct err *err)
{
    bool sets_gss = false;
    PGconn *question = NULL;
    if (!check_syntax(plan->dsn, &sets_gss, err))
        return false;
    bool ok = ask_libpq(plan->dsn, &question, err);
    if (ok) {
        PQconninfoOption *options = PQconninfo(question);
        ok = fill_plan(plan, options, sets_gss, our_options, err);
        PQconninfoFree(options);
    }
    PQfinish(question);
    return ok;
}

struct pg_plan *pg_plan_create(const char *dsn, enum config_secret_modes modes, bool console,
                               const char *options, struct err *err)
{
    struct pg_plan *plan = mem_alloc(sizeof(*plan));
    plan->console = console;
    plan->dsn = config_expand_dsn(dsn, modes, err);
    if (!plan->dsn || !prepare_plan(plan, options, err))
        pg_plan_destroy(&plan);
    return plan;
}

void pg_plan_destroy(struct pg_plan **plan)
{
    if (!*plan)
        return;
    if ((*plan)->dsn)
        explicit_bzero((*plan)->dsn, strlen((*plan)->dsn));
    mem_free((*plan)->dsn);
    mem_free((*plan)->host);
    mem_free((*plan)->hostaddr);
    mem_free((*plan)->options);
    MEM_FREE_NULL(plan);
}

/* The host once per address: libpq wants both lists of one length, and the name for TLS. */
static void join_addresses(const char *host, const struct resolve_answer *addrs, unsigned first,
                           struct buf *hosts, struct buf *hostaddrs)
{
    for (size_t i = 0; i < addrs->count; i++) {
        buf_printf(hosts, "%s%s", i ? "," : "", host);
        buf_printf(hostaddrs, "%s%s", i ? "," : "", addrs->addrs[(first + i) % addrs->count]);
    }
}

/* libpq would print it to stderr. */
static void ignore_notice(void *arg, const PGresult *result)
{
    (void)arg;
    (void)result;
}

PGconn *pg_plan_connect(const struct pg_plan *plan, const struct resolve_answer *addrs,
                        unsigned first)
{
    struct params params = {0};
    struct buf hosts, hostaddrs;
    buf_init(&hosts, DSN_TEXT_MAX);
    buf_init(&hostaddrs, DSN_TEXT_MAX);
    join_addresses(plan->host, addrs, first, &hosts, &hostaddrs);
    /* Later ones win: the DSN may name the application, but not the encoding that we read. */
    add(&params, "application_name", "pgvigil");
    add(&params, "dbname", plan->dsn);
    if (addrs->count > 0) {
        add(&params, "host", hosts.data);
        add(&params, "hostaddr", hostaddrs.data);
    }
    if (plan->disable_gss)
        add(&params, "gssencmode", "disable");
    if (!plan->console) {
        add(&params, "client_encoding", "UTF8");
        add(&params, "options", plan->options);
    }
    PGconn *pg = PQconnectStartParams(params.keys, params.values, 1);
    if (!pg)
        abort(); /* out of memory */
    PQsetErrorVerbosity(pg, PQERRORS_VERBOSE);
    PQsetNoticeReceiver(pg, ignore_notice, NULL);
    buf_deinit(&hosts);
    buf_deinit(&hostaddrs);
    return pg;
}
