/*
 * One table of subcommands and one of options: parsing, --help and suggestions come from them, so
 * they cannot disagree. Options may stand anywhere; `--opt=value` and `--opt value` are the same.
 */
#include "pgvigil/cli/cli.h"

#include <curl/curl.h>
#include <libpq-fe.h>
#include <microhttpd.h>
#include <sqlite3.h>
#include <unistd.h>
#include <uv.h>

#include "cli_private.h"
#include "pgvigil/base/str.h"
#include "pgvigil/store/db.h"

enum option_id {
    OPTION_CONFIG,
    OPTION_URL,
    OPTION_OUTPUT,
    OPTION_TIME,
    OPTION_START,
    OPTION_END,
    OPTION_STEP,
    OPTION_FOR,
    OPTION_PG,
    OPTION_ROLE,
    OPTION_WATCH,
    OPTION_ONCE,
    OPTION_EXPLAIN,
    OPTION_VERBOSE,
    OPTION_HELP
};

#define ONLY(id) (1u << (id))

static const struct {
    enum option_id id;
    const char *name, *letter; /* --name, -letter */
    const char *value;         /* NULL: takes none */
    const char *help;
} options[] = {
    {OPTION_CONFIG, "--config", "-c", "FILE", "configuration (default " CONFIG_PATH_DEFAULT ")"},
    {OPTION_URL, "--url", NULL, "URL", "the daemon's address instead of its socket"},
    {OPTION_OUTPUT, "--output", "-o", "FORMAT", "text, table, json or csv"},
    {OPTION_TIME, "--time", NULL, "T", "evaluate at T (RFC 3339 or Unix seconds; default now)"},
    {OPTION_START, "--start", NULL, "T", "start of a range"},
    {OPTION_END, "--end", NULL, "T", "end of a range (default now)"},
    {OPTION_STEP, "--step", NULL, "DURATION", "step of a range (default 1m)"},
    {OPTION_FOR, "--for", NULL, "read|write", "which traffic (default read)"},
    {OPTION_PG, "--pg", NULL, "N", "major version of the server, 13 to 18"},
    {OPTION_ROLE, "--role", NULL, "NAME", "name of the role (default pgvigil)"},
    {OPTION_WATCH, "--watch", "-w", "N", "refresh every N seconds"},
    {OPTION_ONCE, "--once", NULL, NULL, "probe all nodes once, print the verdicts, exit"},
    {OPTION_EXPLAIN, "--explain", NULL, NULL, "the separate role for EXPLAIN"},
    {OPTION_VERBOSE, "--verbose", "-v", NULL, "log more"},
    {OPTION_HELP, "--help", "-h", NULL, "this help"},
};

static int (*daemon_main)(const struct cli_args *args);

static int run_command(const struct cli_args *args)
{
    return daemon_main(args);
}

static const struct command {
    const char *name, *usage, *purpose, *examples;
    unsigned options; /* ONLY() bits; --help always */
    size_t min_args, max_args;
    int (*run)(const struct cli_args *args);
} commands[] = {
    {"run", "pgvigil run [--config FILE] [--once]", "Run the agent in the foreground.",
     "  pgvigil run                      with " CONFIG_PATH_DEFAULT
     ", or without any configuration\n"
     "  PGHOST=10.0.0.1 pgvigil run --once    look at one server and exit\n",
     ONLY(OPTION_CONFIG) | ONLY(OPTION_ONCE) | ONLY(OPTION_VERBOSE), 0, 0, run_command},
    {"check-config", "pgvigil check-config [FILE]",
     "Check the configuration and its rule files; all findings at once.",
     "  pgvigil check-config /etc/pgvigil/pgvigil.yaml\n", ONLY(OPTION_CONFIG), 0, 1,
     cli_check_config},
    {"status", "pgvigil status [-w N] [-o text|json]", "Show the verdict, nodes, pools and alerts.",
     "  pgvigil status\n  pgvigil status -w 2\n  pgvigil status -o json | jq .gate.nodes\n",
     ONLY(OPTION_CONFIG) | ONLY(OPTION_URL) | ONLY(OPTION_OUTPUT) | ONLY(OPTION_WATCH), 0, 0,
     cli_status},
    {"query", "pgvigil query EXPR [--time T] [--start T --end T --step D] [-o table|json|csv]",
     "Evaluate PromQL over the history file; works with the daemon down.",
     "  pgvigil query db_replication_lag_seconds\n"
     "  pgvigil query 'rate(db_transactions_total[5m])' --start 2026-01-01T00:00:00Z --step 1m -o "
     "csv\n",
     ONLY(OPTION_CONFIG) | ONLY(OPTION_TIME) | ONLY(OPTION_START) | ONLY(OPTION_END) |
         ONLY(OPTION_STEP) | ONLY(OPTION_OUTPUT),
     1, 1, cli_query},
    {"health", "pgvigil health NODE [--for read|write]",
     "Exit 0 if the node may take that traffic, 1 if not.",
     "  pgvigil health pg2               reads its health file, so the daemon may be down\n"
     "  pgvigil health pg1 --for write\n",
     ONLY(OPTION_CONFIG) | ONLY(OPTION_URL) | ONLY(OPTION_FOR), 1, 1, cli_health},
    {"grants", "pgvigil grants [--pg N] [--role NAME] [--explain]",
     "Print the SQL of the monitoring role, with no more rights than needed.",
     "  pgvigil grants | psql -U postgres -d postgres\n",
     ONLY(OPTION_PG) | ONLY(OPTION_ROLE) | ONLY(OPTION_EXPLAIN), 0, 0, cli_grants},
};

bool cli_colour(void)
{
    const char *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL &&
           (term == NULL || !str_eq(term, "dumb"));
}

/* ---- help and version ---- */

static void print_general_help(FILE *out)
{
    fputs("pgvigil watches PostgreSQL: lag, pools, alerts, and which nodes may take reads\n\n"
          "usage: pgvigil COMMAND [options]\n\ncommands:\n",
          out);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        fprintf(out, "  %-14s %s\n", commands[i].name, commands[i].purpose);
    fputs("\n  pgvigil COMMAND --help    examples and options of a command\n"
          "  pgvigil --version         versions of pgvigil and its libraries\n",
          out);
}

static void print_command_help(const struct command *command)
{
    printf("%s\n\nusage: %s\n\nexamples:\n%s\noptions:\n", command->purpose, command->usage,
           command->examples);
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        char left[64];
        if (options[i].id != OPTION_HELP && !(command->options & ONLY(options[i].id)))
            continue;
        snprintf(left, sizeof(left), "%s%s%s%s%s", options[i].letter ? options[i].letter : "",
                 options[i].letter ? ", " : "", options[i].name, options[i].value ? " " : "",
                 options[i].value ? options[i].value : "");
        printf("  %-24s %s\n", left, options[i].help);
    }
}

static int print_version(void)
{
    int pq = PQlibVersion();
    printf("pgvigil %s\n", PGVIGIL_VERSION);
    printf("libpq %d.%d, libcurl %s, libmicrohttpd %s, libuv %s\n", pq / 10000, pq % 10000,
           curl_version_info(CURLVERSION_NOW)->version, MHD_get_version(), uv_version_string());
    printf("SQLite %s: %s\n", sqlite3_libversion(),
           db_wal_reset_affected()
               ? "affected by the WAL-reset fault; one connection writes each file, which avoids it"
               : "fixed for the WAL-reset fault");
    return EXIT_CODE_OK;
}

/* ---- parsing ---- */

static int usage_error(const char *what, const char *word, const char *near)
{
    fprintf(stderr, "pgvigil: %s '%s'", what, word);
    if (near != NULL)
        fprintf(stderr, ", did you mean '%s'?", near);
    fputs("\ntry 'pgvigil --help'\n", stderr);
    return EXIT_CODE_USAGE;
}

static const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (str_eq(commands[i].name, name))
            return &commands[i];
    return NULL;
}

static int unknown_command(const char *name)
{
    const char *names[ARRAY_LEN(commands)];
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        names[i] = commands[i].name;
    return usage_error("unknown command", name, str_nearest(name, names, ARRAY_LEN(names)));
}

static int unknown_option(const char *name)
{
    const char *names[ARRAY_LEN(options)];
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        names[i] = options[i].name;
    return usage_error("unknown option", name, str_nearest(name, names, ARRAY_LEN(names)));
}

static int watch_seconds(struct cli_args *args, const char *value)
{
    int64_t seconds;
    if (!str_parse_i64(value, 1, 3600, &seconds))
        return usage_error("not a number of seconds from 1 to 3600:", value, NULL);
    args->watch_s = (int)seconds;
    return EXIT_CODE_OK;
}

static int set_option(struct cli_args *args, enum option_id id, const char *value)
{
    switch (id) {
    case OPTION_CONFIG:
        args->config = value;
        break;
    case OPTION_URL:
        args->url = value;
        break;
    case OPTION_OUTPUT:
        args->output = value;
        break;
    case OPTION_TIME:
        args->time = value;
        break;
    case OPTION_START:
        args->start = value;
        break;
    case OPTION_END:
        args->end = value;
        break;
    case OPTION_STEP:
        args->step = value;
        break;
    case OPTION_FOR:
        args->for_what = value;
        break;
    case OPTION_PG:
        args->pg = value;
        break;
    case OPTION_ROLE:
        args->role = value;
        break;
    case OPTION_WATCH:
        return watch_seconds(args, value);
    case OPTION_ONCE:
        args->once = true;
        break;
    case OPTION_EXPLAIN:
        args->explain = true;
        break;
    case OPTION_VERBOSE:
        args->verbose = true;
        break;
    case OPTION_HELP:
        break;
    }
    return EXIT_CODE_OK;
}

struct parse {
    const struct command *command;
    struct cli_args *args;
    char **words;
    int count, at;
    bool help;
};

/* The row of the option that the word names (ARRAY_LEN(options) if none), and the value in it. */
static size_t option_find(const char *word, const char **value)
{
    size_t i = 0, name_len = strcspn(word, "=");
    *value = NULL;
    for (; i < ARRAY_LEN(options); i++) {
        if (strlen(options[i].name) == name_len && strncmp(options[i].name, word, name_len) == 0) {
            *value = word[name_len] == '=' ? word + name_len + 1 : NULL;
            break;
        }
        if (options[i].letter != NULL && word[1] != '-' && word[1] == options[i].letter[1]) {
            *value = word[2] != '\0' ? word + 2 : NULL;
            break;
        }
    }
    return i;
}

/* The option at words[at]: `--name`, `--name=value`, `-n`, `-nvalue`. */
static int parse_option(struct parse *p)
{
    const char *word = p->words[p->at], *value;
    size_t i = option_find(word, &value);
    if (i == ARRAY_LEN(options))
        return unknown_option(word);
    if (options[i].id == OPTION_HELP) {
        p->help = true;
        return EXIT_CODE_OK;
    }
    if (!(p->command->options & ONLY(options[i].id)))
        return usage_error("this command has no option", word, NULL);
    if (options[i].value == NULL)
        return value == NULL ? set_option(p->args, options[i].id, NULL)
                             : usage_error("this option takes no value:", word, NULL);
    if (value == NULL && p->at + 1 >= p->count)
        return usage_error("a value is missing after", word, NULL);
    return set_option(p->args, options[i].id, value != NULL ? value : p->words[++p->at]);
}

static int parse_words(struct parse *p)
{
    bool only_words = false; /* after `--`: an expression may begin with a minus */
    for (; p->at < p->count; p->at++) {
        const char *word = p->words[p->at];
        int rc = EXIT_CODE_OK;
        if (!only_words && str_eq(word, "--"))
            only_words = true;
        else if (!only_words && word[0] == '-' && word[1] != '\0')
            rc = parse_option(p);
        else if (p->args->positional_count < ARRAY_LEN(p->args->positional))
            p->args->positional[p->args->positional_count++] = word;
        if (rc != EXIT_CODE_OK)
            return rc;
    }
    return EXIT_CODE_OK;
}

int cli_main(int argc, char **argv, int (*run_daemon)(const struct cli_args *args))
{
    struct cli_args args = {0};
    daemon_main = run_daemon;
    if (argc < 2) {
        print_general_help(stderr);
        return EXIT_CODE_USAGE;
    }
    if (str_eq(argv[1], "--help") || str_eq(argv[1], "-h") || str_eq(argv[1], "help")) {
        print_general_help(stdout);
        return EXIT_CODE_OK;
    }
    if (str_eq(argv[1], "--version") || str_eq(argv[1], "-V"))
        return print_version();
    const struct command *command = command_find(argv[1]);
    if (command == NULL)
        return unknown_command(argv[1]);
    struct parse p = {.command = command, .args = &args, .words = argv, .count = argc, .at = 2};
    int rc = parse_words(&p);
    if (rc != EXIT_CODE_OK)
        return rc;
    if (p.help) {
        print_command_help(command);
        return EXIT_CODE_OK;
    }
    if (args.positional_count < command->min_args || args.positional_count > command->max_args) {
        fprintf(stderr, "usage: %s\n", command->usage);
        return EXIT_CODE_USAGE;
    }
    return command->run(&args);
}
