/*
 * script.c: the commands of a file: load, load_with_nhcb, clear, eval with what it expects.
 *
 * Lines are trimmed and a comment is a blank line; a blank line ends a block. Words are taken off
 * the front of a line one by one, so that the expression is whatever is left. Invariant: after a
 * fault the script stands behind the block, so that the other cases are still run.
 */
#include "promqltest.h"

#include "pgvigil/base/str.h"

#define BLANKS " \t\r"

/* ---- lines ---- */

static char *read_file(const char *path, struct err *err)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    size_t n = 0;

    if (!file) {
        err_set(err, ERR_IO, "cannot open \"%s\"", path);
        return NULL;
    }
    text = mem_alloc(FILE_BYTES_MAX + 1);
    n = fread(text, 1, FILE_BYTES_MAX + 1, file);
    if (ferror(file) || n > FILE_BYTES_MAX) {
        err_set(err, ERR_IO, "cannot read \"%s\", or it is longer than %zu bytes", path,
                FILE_BYTES_MAX);
        MEM_FREE_NULL(&text);
    } else {
        text[n] = '\0';
    }
    fclose(file);
    return text;
}

static char *trim(char *line)
{
    size_t n;

    line += strspn(line, BLANKS);
    for (n = strlen(line); n > 0 && strchr(BLANKS, line[n - 1]); n--)
        line[n - 1] = '\0';
    return *line == '#' ? line + n : line;
}

bool script_open(struct script *script, const char *path, struct err *err)
{
    char *text = read_file(path, err), *s = text;
    size_t cap = 0;

    if (!text)
        return false;
    *script = (struct script){.path = path, .arena = arena_create(0, ARENA_NO_LIMIT)};
    storage_init(&script->storage);
    for (const char *c = text; *c; c++)
        cap += *c == '\n';
    script->lines = arena_alloc_array(script->arena, cap + 1, sizeof(*script->lines));
    while (s) {
        char *line = strsep(&s, "\n");

        script->lines[script->line_count++] = trim(arena_strdup(script->arena, line));
    }
    mem_free(text);
    return true;
}

void script_close(struct script *script)
{
    storage_deinit(&script->storage);
    arena_destroy(&script->arena);
}

/* The next line of a block; NULL behind its end. */
static const char *block_line(struct script *script)
{
    if (script->at >= script->line_count || *script->lines[script->at] == '\0')
        return NULL;
    return script->lines[script->at++];
}

static void skip_block(struct script *script)
{
    while (block_line(script))
        ;
}

/* ---- words ---- */

/* `5m`, `90`, `1.5`, `-10s`; takes n bytes. */
static bool time_parse(const char *text, size_t n, int64_t *ms)
{
    bool is_negative = n > 0 && *text == '-';
    double seconds;

    if (n > 0 && (*text == '-' || *text == '+')) {
        text++;
        n--;
    }
    if (!literal_duration(text, n, ms)) {
        if (!literal_number(text, n, &seconds) || !(fabs(seconds) < 1e12))
            return false;
        *ms = llround(seconds * 1000);
    }
    *ms = is_negative ? -*ms : *ms;
    return true;
}

/* Takes a word if it is next, in any case. */
static bool take_word(const char **s, const char *word)
{
    size_t n = strlen(word);

    if (strncasecmp(*s, word, n) != 0 || ((*s)[n] && !strchr(BLANKS, (*s)[n])))
        return false;
    *s += n + strspn(*s + n, BLANKS);
    return true;
}

static bool take_time(const char **s, int64_t *ms)
{
    size_t n = strcspn(*s, BLANKS);

    if (!time_parse(*s, n, ms))
        return false;
    *s += n + strspn(*s + n, BLANKS);
    return true;
}

/* ---- what is expected ---- */

static struct expect *add_expect(struct script *script, struct test_case *c, enum expect_kind kind)
{
    struct expect *e = arena_alloc(script->arena, sizeof(*e));

    e->kind = kind;
    e->next = c->expects;
    c->expects = e;
    c->fails = c->fails || kind == EXPECT_FAIL;
    return e;
}

/* A regex matches anywhere in the message. */
static bool set_regex(struct script *script, struct expect *e, const char *pattern, struct err *err)
{
    e->text = pattern;
    e->regex = regex_create(arena_printf(script->arena, "(?s:.*)(?:%s)(?s:.*)", pattern), err);
    return e->regex != NULL;
}

/* `msg: text` or `regex: text` or nothing. */
static bool set_message(struct script *script, struct expect *e, const char *s, struct err *err)
{
    if (*s == '\0')
        return true;
    if (strncmp(s, "msg:", 4) == 0) {
        e->text = s + 4 + strspn(s + 4, BLANKS);
        return true;
    }
    if (strncmp(s, "regex:", 6) == 0)
        return set_regex(script, e, s + 6 + strspn(s + 6, BLANKS), err);
    return err_set(err, ERR_INVALID, "expect: unknown \"%s\"", s);
}

static bool expect_string(struct script *script, struct test_case *c, const char *s,
                          struct err *err)
{
    char why[64];
    size_t n = strlen(s);

    if (n < 2 || !strchr("\"'`", *s) || s[n - 1] != *s)
        return err_set(err, ERR_INVALID, "expect string: no quoted text");
    c->string = literal_string(script->arena, s, n, why, sizeof(why));
    c->wants_string = true;
    return c->string || err_set(err, ERR_INVALID, "expect string: %s", why);
}

static bool take_range(const char **s, int64_t *start, int64_t *end, int64_t *step)
{
    return take_word(s, "from") && take_time(s, start) && take_word(s, "to") && take_time(s, end) &&
           take_word(s, "step") && take_time(s, step) && *step > 0 && *start <= *end;
}

static bool parse_expect(struct script *script, struct test_case *c, const char *s, struct err *err)
{
    static const struct {
        const char *word;
        enum expect_kind kind;
    } kinds[] = {{"fail", EXPECT_FAIL},
                 {"warn", EXPECT_WARN},
                 {"no_warn", EXPECT_NO_WARN},
                 {"info", EXPECT_INFO},
                 {"no_info", EXPECT_NO_INFO}};

    if (take_word(&s, "string"))
        return expect_string(script, c, s, err);
    if (take_word(&s, "range")) {
        c->wants_range_vector = true;
        return (take_word(&s, "vector") && take_range(&s, &c->start, &c->end, &c->step) && !*s) ||
               err_set(err, ERR_INVALID, "expect range vector: bad range");
    }
    if (take_word(&s, "ordered")) {
        c->ordered = true;
        return *s == '\0' || err_set(err, ERR_INVALID, "expect ordered: unknown \"%s\"", s);
    }
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (take_word(&s, kinds[i].word))
            return set_message(script, add_expect(script, c, kinds[i].kind), s, err);
    return err_set(err, ERR_INVALID, "expect: unknown \"%s\"", s);
}

/* The lines behind an old eval_fail. */
static bool parse_old_message(struct script *script, struct test_case *c, const char *line,
                              struct err *err)
{
    struct expect *e = c->expects;

    while (e && e->kind != EXPECT_FAIL)
        e = e->next;
    if (!e)
        return err_set(err, ERR_INVALID, "expected failure of a case that is not to fail");
    if (take_word(&line, "expected_fail_message")) {
        e->text = line;
        return true;
    }
    return take_word(&line, "expected_fail_regexp") && set_regex(script, e, line, err);
}

static bool parse_series_line(struct script *script, struct test_case *c, const char *line,
                              struct err *err)
{
    struct series_line series;

    if (!series_line_parse(script->arena, line, &series, err))
        return false;
    c->wants_native = c->wants_native || series.has_native;
    if (!c->is_range && !c->wants_range_vector && series.n > 1)
        return err_set(err, ERR_INVALID, "several values for an instant query");
    c->series = arena_grow_array(script->arena, c->series, c->series_count, c->series_count + 1,
                                 sizeof(series));
    c->series[c->series_count++] = series;
    return true;
}

static bool parse_expected(struct script *script, struct test_case *c, const char *line,
                           struct err *err)
{
    const char *rest = line;

    if (c->wants_scalar)
        return err_set(err, ERR_INVALID, "something behind the expected scalar: %s", line);
    if (take_word(&rest, "expect"))
        return parse_expect(script, c, rest, err);
    if (str_starts(line, "expected_fail_"))
        return parse_old_message(script, c, line, err);
    if (str_parse_double(line, &c->scalar)) {
        c->wants_scalar = true;
        return true;
    }
    return parse_series_line(script, c, line, err);
}

static bool has_expect(const struct test_case *c, enum expect_kind kind)
{
    for (const struct expect *e = c->expects; e; e = e->next)
        if (e->kind == kind)
            return true;
    return false;
}

static bool check_expects(const struct test_case *c, struct err *err)
{
    size_t fails = 0;

    for (const struct expect *e = c->expects; e; e = e->next)
        fails += e->kind == EXPECT_FAIL;
    if (fails > 1)
        return err_set(err, ERR_INVALID, "more than one failure expected");
    if ((has_expect(c, EXPECT_WARN) && has_expect(c, EXPECT_NO_WARN)) ||
        (has_expect(c, EXPECT_INFO) && has_expect(c, EXPECT_NO_INFO)))
        return err_set(err, ERR_INVALID, "an annotation both expected and excluded");
    return true;
}

/* ---- commands ---- */

/* `eval`, or an old form with what it expects in its name. */
static bool take_eval(struct script *script, struct test_case *c, const char **s)
{
    if (take_word(s, "eval"))
        return true;
    c->ordered = take_word(s, "eval_ordered");
    if (c->ordered)
        return true;
    if (take_word(s, "eval_fail"))
        return add_expect(script, c, EXPECT_FAIL) != NULL;
    if (take_word(s, "eval_warn"))
        return add_expect(script, c, EXPECT_WARN) != NULL;
    return take_word(s, "eval_info") && add_expect(script, c, EXPECT_INFO) != NULL;
}

static bool parse_eval(struct script *script, struct test_case *c, const char *s, struct err *err)
{
    bool ok;

    if (!take_eval(script, c, &s))
        return err_set(err, ERR_INVALID, "unknown command");
    c->is_range = take_word(&s, "range");
    if (c->is_range)
        ok = take_range(&s, &c->start, &c->end, &c->step);
    else
        ok = take_word(&s, "instant") && (!take_word(&s, "at") || take_time(&s, &c->at));
    if (!ok || *s == '\0')
        return err_set(err, ERR_INVALID, "eval: times or expression missing");
    c->expr = s;
    while ((s = block_line(script)))
        if (!parse_expected(script, c, s, err))
            return false;
    return check_expects(c, err);
}

static bool parse_load(struct script *script, const char *s, bool with_nhcb, struct err *err)
{
    int64_t step;

    if (!take_time(&s, &step) || step <= 0 || *s)
        return err_set(err, ERR_INVALID, "load: no interval");
    while ((s = block_line(script)))
        if (!storage_load(&script->storage, step, with_nhcb, s, err))
            return false;
    return true;
}

static enum step_outcome run_command(struct script *script, struct test_case *c, struct err *err)
{
    const char *s = script->lines[script->at++];
    bool is_eval = strncasecmp(s, "eval", 4) == 0, ok;

    c->line = (int)script->at;
    if (is_eval) {
        ok = parse_eval(script, c, s, err);
    } else if (take_word(&s, "clear")) {
        storage_clear(&script->storage);
        return STEP_DONE;
    } else if (take_word(&s, "load")) {
        ok = parse_load(script, s, false, err);
    } else if (take_word(&s, "load_with_nhcb")) {
        ok = parse_load(script, s, true, err);
    } else {
        ok = err_set(err, ERR_INVALID, "unknown command: %s", s);
    }
    if (ok)
        return is_eval ? STEP_CASE : STEP_DONE;
    skip_block(script);
    return STEP_FAULT;
}

enum step_outcome script_next(struct script *script, struct test_case *out, struct err *err)
{
    enum step_outcome outcome = STEP_DONE;

    *out = (struct test_case){.line = 0};
    while (outcome == STEP_DONE) {
        while (script->at < script->line_count && *script->lines[script->at] == '\0')
            script->at++;
        if (script->at >= script->line_count)
            return STEP_END;
        outcome = run_command(script, out, err);
    }
    return outcome;
}

void case_release(struct test_case *c)
{
    for (struct expect *e = c->expects; e; e = e->next)
        regex_destroy(&e->regex);
}
