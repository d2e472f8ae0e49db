/*
 * One table of subcommands and one of options: parsing, --help and suggestions come from them, so
 * they cannot disagree. Options may stand anywhere; `--opt=value` and `--opt value` are the same.
 */
#include "pgvigil/cli/cli.h"

#include <curl/curl.h>
#include <errno.h>
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
    OPTION_SINCE,
    OPTION_LINT,
    OPTION_RUN,
    OPTION_LINT_FATAL,
    OPTION_ONCE,
    OPTION_EXPLAIN,
    OPTION_VERBOSE,
    OPTION_HELP,
    OPTION_COUNT
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
    {OPTION_OUTPUT, "--output", "-o", "FORMAT", "text, table, json, csv or yaml"},
    {OPTION_TIME, "--time", NULL, "T", "evaluate at T (RFC 3339 or Unix seconds; default now)"},
    {OPTION_START, "--start", NULL, "T", "start of a range"},
    {OPTION_END, "--end", NULL, "T", "end of a range (default now)"},
    {OPTION_STEP, "--step", NULL, "DURATION", "step of a range (default 1m)"},
    {OPTION_FOR, "--for", NULL, "read|write", "which traffic (default read)"},
    {OPTION_PG, "--pg", NULL, "N", "major version of the server, 13 to 18"},
    {OPTION_ROLE, "--role", NULL, "NAME", "name of the role (default pgvigil)"},
    {OPTION_WATCH, "--watch", "-w", "N", "refresh every N seconds"},
    {OPTION_SINCE, "--since", NULL, "DURATION", "how far back (default 7d)"},
    {OPTION_LINT, "--lint", NULL, "LIST", "all, duplicate-rules or none (default duplicate-rules)"},
    {OPTION_RUN, "--run", NULL, "REGEX", "only test groups of this name; may be repeated"},
    {OPTION_LINT_FATAL, "--lint-fatal", NULL, NULL, "exit with 3 on findings of --lint"},
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
    {"check-rules", "pgvigil check-rules FILE... [--lint LIST] [--lint-fatal]",
     "Check rule files as 'promtool check rules' does; exit 0 or 1.",
     "  pgvigil check-rules /etc/pgvigil/rules/*.yml\n  pgvigil check-rules < rules.yml\n",
     ONLY(OPTION_LINT) | ONLY(OPTION_LINT_FATAL), 0, CLI_FILES_MAX, cli_check_rules},
    {"test-rules", "pgvigil test-rules FILE... [--run REGEX]",
     "Run unit tests of rules as 'promtool test rules' does; exit 0 or 1.",
     "  pgvigil test-rules /etc/pgvigil/rules/tests/*.yml\n", ONLY(OPTION_RUN), 1, CLI_FILES_MAX,
     cli_test_rules},
    {"config show", "pgvigil config show [--config FILE] [-o yaml|json]",
     "Print the merged configuration with origins and the effective rules; secrets are masked.",
     "  pgvigil config show\n"
     "  pgvigil config show | awk '/^---/{f=1;next}f' | promtool check rules /dev/stdin\n",
     ONLY(OPTION_CONFIG) | ONLY(OPTION_OUTPUT), 0, 0, cli_config_show},
    {"rules replay", "pgvigil rules replay [FILE...] [--since DURATION] [-o text|json]",
     "Run rules over the local history and show when each would have fired.",
     "  pgvigil rules replay                     the rules of the configuration over 7 days\n"
     "  pgvigil rules replay new.yml --since 2d  a file before it is installed\n",
     ONLY(OPTION_CONFIG) | ONLY(OPTION_OUTPUT) | ONLY(OPTION_SINCE), 0, CLI_FILES_MAX, cli_rules},
    {"status", "pgvigil status [-w N] [-o text|json]", "Show the verdict, nodes, pools and alerts.",
     "  pgvigil status\n  pgvigil status -w 2\n  pgvigil status -o json | jq .gate.nodes\n",
     ONLY(OPTION_CONFIG) | ONLY(OPTION_URL) | ONLY(OPTION_OUTPUT) | ONLY(OPTION_WATCH), 0, 0,
     cli_status},
    {"query", "pgvigil query EXPR [--time T] [--start T --end T --step D] [-o table|json|csv]",
     "Evaluate PromQL: by the daemon, or over its history file while it is down.",
     "  pgvigil query db_replication_lag_seconds\n"
     "  pgvigil query 'rate(db_transactions_total[5m])' --start 2026-01-01T00:00:00Z --step 1m -o "
     "csv\n"
     "                                   csv: time, a column for each label, value\n"
     "  pgvigil query db_up -o json | jq .data.result    as Prometheus' API answers\n",
     ONLY(OPTION_CONFIG) | ONLY(OPTION_URL) | ONLY(OPTION_TIME) | ONLY(OPTION_START) |
         ONLY(OPTION_END) | ONLY(OPTION_STEP) | ONLY(OPTION_OUTPUT),
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

/* How many of the words name this command (one, or two as in `config show`); 0: they do not. */
static int command_words(const char *name, int argc, char **argv)
{
    const char *blank = strchr(name, ' ');
    size_t first = blank != NULL ? (size_t)(blank - name) : strlen(name);
    if (strlen(argv[1]) != first || strncmp(argv[1], name, first) != 0)
        return 0;
    if (blank == NULL)
        return 1;
    return argc > 2 && str_eq(argv[2], blank + 1) ? 2 : 0;
}

static const struct command *command_find(int argc, char **argv, int *words)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        *words = command_words(commands[i].name, argc, argv);
        if (*words > 0)
            return &commands[i];
    }
    return NULL;
}

static int unknown_command(int argc, char **argv)
{
    const char *names[ARRAY_LEN(commands)];
    char both[128];
    size_t first = strlen(argv[1]);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        names[i] = commands[i].name;
        if (strncmp(names[i], argv[1], first) != 0 || names[i][first] != ' ')
            continue;
        snprintf(both, sizeof(both), "%s%s%s", argv[1], argc > 2 ? " " : "",
                 argc > 2 ? argv[2] : "");
        return usage_error("unknown command", both, names[i]);
    }
    return usage_error("unknown command", argv[1], str_nearest(argv[1], names, ARRAY_LEN(names)));
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

static int add_run(struct cli_args *args, const char *value)
{
    if (args->run_count == ARRAY_LEN(args->runs))
        return usage_error("too many options before", value, NULL);
    args->runs[args->run_count++] = value;
    return EXIT_CODE_OK;
}

/* Options that are kept as they are given: a text, or that they were there. */
static int set_option(struct cli_args *args, enum option_id id, const char *value)
{
    const char **const texts[OPTION_COUNT] = {
        [OPTION_CONFIG] = &args->config, [OPTION_URL] = &args->url,
        [OPTION_OUTPUT] = &args->output, [OPTION_TIME] = &args->time,
        [OPTION_START] = &args->start,   [OPTION_END] = &args->end,
        [OPTION_STEP] = &args->step,     [OPTION_FOR] = &args->for_what,
        [OPTION_PG] = &args->pg,         [OPTION_ROLE] = &args->role,
        [OPTION_SINCE] = &args->since,   [OPTION_LINT] = &args->lint,
    };
    bool *const flags[OPTION_COUNT] = {
        [OPTION_ONCE] = &args->once,
        [OPTION_EXPLAIN] = &args->explain,
        [OPTION_VERBOSE] = &args->verbose,
        [OPTION_LINT_FATAL] = &args->lint_fatal,
    };
    if (id == OPTION_WATCH)
        return watch_seconds(args, value);
    if (id == OPTION_RUN)
        return add_run(args, value);
    if (texts[id] != NULL)
        *texts[id] = value;
    else if (flags[id] != NULL)
        *flags[id] = true;
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

static int add_word(struct cli_args *args, const char *word)
{
    if (args->positional_count == ARRAY_LEN(args->positional))
        return usage_error("more than 1024 words before", word, NULL);
    args->positional[args->positional_count++] = word;
    return EXIT_CODE_OK;
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
        else
            rc = add_word(p->args, word);
        if (rc != EXIT_CODE_OK)
            return rc;
    }
    return EXIT_CODE_OK;
}

/* A full disk must not look like an empty answer. */
static int finish_output(int rc)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return rc;
    fprintf(stderr, "pgvigil: cannot write to standard output: %s\n", strerror(errno));
    return rc == EXIT_CODE_OK ? EXIT_CODE_FAILED : rc;
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
    int words;
    const struct command *command = command_find(argc, argv, &words);
    if (command == NULL)
        return unknown_command(argc, argv);
    struct parse p = {
        .command = command, .args = &args, .words = argv, .count = argc, .at = 1 + words};
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
    return finish_output(command->run(&args));
}
