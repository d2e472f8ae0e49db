/*
 * regex.c: RE2's language on pcre2, so that a rule that works here works in Prometheus.
 *
 * pcre2 takes more than RE2 (back-references, look-around, recursion, possessive and atomic
 * groups) and can be made to run for ever, so the pattern is walked first and what RE2 does not
 * know is refused; matching has limits on top, and giving up is an outcome of its own, never "no
 * match". Most patterns in rules are `a|b|c`, `prefix.*` or `.*`: these never reach
 * pcre2. No JIT: it maps writable and executable memory, which the service's sandbox forbids.
 * Invariant: a struct regex may be matched from several threads at once; the one match_data that
 * it keeps is taken and given back atomically.
 */
#include "promql_private.h"

#include <stdatomic.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define MATCH_LIMIT     100000
#define MATCH_DEPTH_MAX 5000
#define MATCH_HEAP_KIB  2048
/* Of one search, and how many one replacement makes: a tenth of a second in the worst case. A label
 * value has room for no more matches. */
#define SEARCH_LIMIT 10000
#define SEARCHES_MAX (LABEL_VALUE_MAX + 1)

#define REPEAT_MAX  1000 /* RE2's */
#define PATTERN_MAX PROMQL_LENGTH_MAX

enum regex_kind { REGEX_ANY, REGEX_NOT_EMPTY, REGEX_LITERALS, REGEX_PREFIX, REGEX_PCRE };

struct regex {
    enum regex_kind kind;
    char *literals; /* each ended by NUL */
    size_t literal_count;
    pcre2_code *code;
    pcre2_match_context *context;
    _Atomic(pcre2_match_data *) spare;
};

/* ---- the walk: is it RE2? ---- */

struct walk {
    const char *start, *s;
    struct buf out; /* the pattern for pcre2 */
    struct err *err;
    bool after_repeat;
};

static bool refuse(struct walk *w, const char *what, const char *from, size_t n)
{
    return err_set(w->err, ERR_INVALID, "%s: `%.*s`", what, (int)size_min(n, 32), from);
}

static void copy(struct walk *w, size_t n)
{
    buf_add(&w->out, w->s, n);
    w->s += n;
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool walk_literal_run(struct walk *w)
{
    const char *end = strstr(w->s + 2, "\\E");

    copy(w, end ? (size_t)(end - w->s) + 2 : strlen(w->s));
    return true;
}

/* Length of what belongs to the `\x`, `\p` or `\P` at s behind its letter; 0 if that is wrong. */
static size_t escape_tail(const char *s)
{
    static const char hex[] = "0123456789abcdefABCDEF";
    bool is_hex = s[1] == 'x';
    size_t n;

    if (s[2] == '{') {
        n = is_hex ? strspn(s + 3, hex) : strcspn(s + 3, "}");
        return n > 0 && s[3 + n] == '}' ? n + 2 : 0;
    }
    if (is_hex)
        return strspn(s + 2, hex) >= 2 ? 2 : 0;
    return is_alnum(s[2]) ? 1 : 0;
}

/* Taken whole, so that their braces are not read as a repeat. */
static bool walk_code(struct walk *w)
{
    size_t n = escape_tail(w->s);

    if (n == 0) {
        return refuse(w,
                      w->s[1] == 'x' ? "invalid escape sequence" : "invalid character class range",
                      w->s, size_min(strlen(w->s), 3));
    }
    copy(w, 2 + n);
    return true;
}

static bool walk_escape(struct walk *w, bool in_class)
{
    char c = w->s[1];

    if (c == '\0')
        return refuse(w, "trailing backslash at end of expression", "\\", 1);
    if (c == 'Q' && !in_class)
        return walk_literal_run(w);
    if (c == 'v') {
        /* A vertical tab for RE2, any vertical blank for pcre2. */
        buf_add_str(&w->out, "\\x0b");
        w->s += 2;
        return true;
    }
    if (is_alnum(c) && !strchr("afnrtxdDsSwWpP0", c) && (in_class || !strchr("bBAz", c)))
        return refuse(w, "invalid escape sequence", w->s, 2);
    if ((unsigned char)c >= 0x80)
        return refuse(w, "invalid escape sequence", w->s, 1 + str_utf8_len(w->s + 1));
    if (strchr("xpP", c))
        return walk_code(w);
    copy(w, 2);
    return true;
}

static bool walk_class(struct walk *w)
{
    const char *from = w->s;

    copy(w, w->s[1] == '^' ? 2 : 1);
    if (*w->s == ']')
        copy(w, 1);
    while (*w->s != ']') {
        const char *end;

        if (*w->s == '\0')
            return refuse(w, "missing closing ]", from, strlen(from));
        if (*w->s == '\\') {
            if (!walk_escape(w, true))
                return false;
        } else if (w->s[0] == '[' && w->s[1] == ':' && (end = strstr(w->s, ":]"))) {
            copy(w, (size_t)(end - w->s) + 2);
        } else if (*w->s == '[') {
            /* Literal for RE2; pcre2 would read [. and [= as its own. */
            buf_add_str(&w->out, "\\[");
            w->s++;
        } else {
            copy(w, 1);
        }
    }
    copy(w, 1);
    return true;
}

/* `(`, `(?:`, `(?P<name>`, `(?<name>`, `(?flags)`, `(?flags:`; nothing else that begins `(?`. */
static bool walk_group(struct walk *w)
{
    const char *s = w->s;
    size_t n;

    if (s[1] == '*')
        return refuse(w, "missing argument to repetition operator", s + 1, 1);
    if (s[1] != '?') {
        copy(w, 1);
        return true;
    }
    n = 2 + (size_t)(s[2] == 'P');
    if (s[n] == '<' && (is_alnum(s[n + 1]) || s[n + 1] == '_')) {
        copy(w, n + 1);
        return true;
    }
    n = 2 + strspn(s + 2, "imsU-");
    if (s[n] != ':' && (s[n] != ')' || n == 2))
        return refuse(w, "invalid or unsupported Perl syntax", s, size_min(strlen(s), 3));
    copy(w, n + 1);
    return true;
}

/* Length of `{n}`, `{n,}` or `{n,m}` at s, 0 if it is not one (and so literal). */
static size_t repeat_length(const char *s, int64_t *most)
{
    size_t low = strspn(s + 1, "0123456789"), high = 0, n = 1 + low;

    if (low == 0)
        return 0;
    *most = strtol(s + 1, NULL, 10);
    if (s[n] == ',') {
        high = strspn(s + ++n, "0123456789");
        if (high > 0)
            *most = i64_max(*most, strtol(s + n, NULL, 10));
        n += high;
    }
    return s[n] == '}' ? n + 1 : 0;
}

/* `* + ? {..}` with a lazy mark; a second one behind it is an error (possessive for pcre2). */
static bool walk_repeat(struct walk *w, size_t n)
{
    if (w->after_repeat)
        return refuse(w, "invalid nested repetition operator", w->s, n);
    copy(w, n);
    if (*w->s == '?')
        copy(w, 1);
    w->after_repeat = true;
    return true;
}

static bool walk_brace(struct walk *w)
{
    int64_t most = 0;
    size_t n = repeat_length(w->s, &most);

    if (n == 0) {
        buf_add_str(&w->out, "\\{");
        w->s++;
        w->after_repeat = false;
        return true;
    }
    if (most > REPEAT_MAX)
        return refuse(w, "invalid repeat count", w->s, n);
    return walk_repeat(w, n);
}

static bool walk_one(struct walk *w)
{
    switch (*w->s) {
    case '*':
    case '+':
    case '?':
        return walk_repeat(w, 1);
    case '{':
        return walk_brace(w);
    case '\\':
        w->after_repeat = false;
        return walk_escape(w, false);
    case '[':
        w->after_repeat = false;
        return walk_class(w);
    case '(':
        w->after_repeat = false;
        return walk_group(w);
    default:
        w->after_repeat = false;
        copy(w, 1);
        return true;
    }
}

static bool walk_pattern(struct walk *w)
{
    while (*w->s)
        if (!walk_one(w))
            return false;
    if (!buf_ok(&w->out))
        return err_set(w->err, ERR_LIMIT, "pattern is longer than %d bytes", PATTERN_MAX);
    return true;
}

/* ---- shapes that need no pcre2 ---- */

/* Copies literal text up to the next character that means something; false on such a one. */
static bool take_literals(struct regex *regex, const char *s, const char *end)
{
    char *out = regex->literals = mem_alloc((size_t)(end - s) + 1);

    regex->literal_count = 1;
    for (; s < end; s++) {
        if (*s == '|') {
            regex->literal_count++;
            *out++ = '\0';
            continue;
        }
        if (*s == '\\' && s + 1 < end && s[1] > ' ' && s[1] < 0x7f && !is_alnum(s[1]))
            s++;
        else if (strchr("\\.^$*+?()[]{}", *s))
            return false;
        *out++ = *s;
    }
    *out = '\0';
    return true;
}

static bool find_shape(struct regex *regex, const char *pattern)
{
    size_t n = strlen(pattern);

    if (str_eq(pattern, ".*") || str_eq(pattern, ".+")) {
        regex->kind = pattern[1] == '*' ? REGEX_ANY : REGEX_NOT_EMPTY;
        return true;
    }
    regex->kind = REGEX_LITERALS;
    if (n > 2 && str_eq(pattern + n - 2, ".*") && !strchr(pattern, '|') && pattern[n - 3] != '\\') {
        regex->kind = REGEX_PREFIX;
        n -= 2;
    }
    if (take_literals(regex, pattern, pattern + n))
        return true;
    MEM_FREE_NULL(&regex->literals);
    return false;
}

static bool match_literals(const struct regex *regex, const char *text)
{
    const char *literal = regex->literals;

    for (size_t i = 0; i < regex->literal_count; i++) {
        if (str_eq(literal, text))
            return true;
        literal += strlen(literal) + 1;
    }
    return false;
}

/* ---- pcre2 ---- */

#define COMPILE_OPTIONS \
    (PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C)
#define WHOLE_OPTIONS (COMPILE_OPTIONS | PCRE2_DOTALL | PCRE2_ANCHORED | PCRE2_ENDANCHORED)

/* RE2's words for what pcre2 finds. */
static const char *compile_reason(int code)
{
    static const struct {
        int code;
        const char *text;
    } known[] = {
        {PCRE2_ERROR_MISSING_CLOSING_PARENTHESIS, "missing closing )"},
        {PCRE2_ERROR_UNMATCHED_CLOSING_PARENTHESIS, "unexpected )"},
        {PCRE2_ERROR_QUANTIFIER_INVALID, "missing argument to repetition operator"},
        {PCRE2_ERROR_QUANTIFIER_OUT_OF_ORDER, "invalid repeat count"},
        {PCRE2_ERROR_CLASS_RANGE_ORDER, "invalid character class range"},
        {PCRE2_ERROR_CLASS_INVALID_RANGE, "invalid character class range"},
        {PCRE2_ERROR_UNKNOWN_POSIX_CLASS, "invalid character class range"},
        {PCRE2_ERROR_MALFORMED_UNICODE_PROPERTY, "invalid character class range"},
        {PCRE2_ERROR_UNKNOWN_UNICODE_PROPERTY, "invalid character class range"},
        {PCRE2_ERROR_CODE_POINT_TOO_BIG, "invalid escape sequence"},
        {PCRE2_ERROR_UNICODE_DISALLOWED_CODE_POINT, "invalid escape sequence"},
    };

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (known[i].code == code)
            return known[i].text;
    return NULL;
}

static bool compile(struct regex *regex, const char *pattern, const struct buf *translated,
                    uint32_t options, struct err *err)
{
    PCRE2_SIZE offset;
    int code;

    regex->code =
        pcre2_compile((PCRE2_SPTR)translated->data, translated->len, options, &code, &offset, NULL);
    if (!regex->code) {
        PCRE2_UCHAR why[128];
        const char *reason = compile_reason(code);

        pcre2_get_error_message(code, why, sizeof(why));
        return err_set(err, ERR_INVALID, "%s: `%.128s`", reason ? reason : (const char *)why,
                       pattern);
    }
    regex->context = pcre2_match_context_create(NULL);
    if (!regex->context)
        abort(); /* out of memory, as in mem.c */
    pcre2_set_match_limit(regex->context, options == WHOLE_OPTIONS ? MATCH_LIMIT : SEARCH_LIMIT);
    pcre2_set_depth_limit(regex->context, MATCH_DEPTH_MAX);
    pcre2_set_heap_limit(regex->context, MATCH_HEAP_KIB);
    return true;
}

static struct regex *create(const char *pattern, uint32_t options, struct err *err)
{
    struct regex *regex = mem_alloc(sizeof(*regex));
    struct walk w = {.start = pattern, .s = pattern, .err = err};
    bool ok;

    buf_init(&w.out, (size_t)4 * PATTERN_MAX);
    /* Compiled in any case: label_replace needs the groups, and a bad pattern must be told. */
    ok = walk_pattern(&w) && compile(regex, pattern, &w.out, options, err);
    buf_deinit(&w.out);
    if (!ok)
        regex_destroy(&regex);
    else if (options != WHOLE_OPTIONS || !find_shape(regex, pattern))
        regex->kind = REGEX_PCRE;
    return regex;
}

struct regex *regex_create(const char *pattern, struct err *err)
{
    return create(pattern, WHOLE_OPTIONS, err);
}

struct regex *regex_create_search(const char *pattern, struct err *err)
{
    return create(pattern, COMPILE_OPTIONS, err);
}

void regex_destroy(struct regex **regex)
{
    if (!*regex)
        return;
    mem_free((*regex)->literals);
    pcre2_match_data_free(atomic_load(&(*regex)->spare));
    pcre2_match_context_free((*regex)->context);
    pcre2_code_free((*regex)->code);
    MEM_FREE_NULL(regex);
}

static pcre2_match_data *data_take(struct regex *regex)
{
    pcre2_match_data *data = atomic_exchange(&regex->spare, NULL);

    if (!data)
        data = pcre2_match_data_create_from_pattern(regex->code, NULL);
    if (!data)
        abort(); /* out of memory, as in mem.c */
    return data;
}

static void data_give(struct regex *regex, pcre2_match_data *data)
{
    pcre2_match_data_free(atomic_exchange(&regex->spare, data));
}

/* The cast away from const is for the two atomics only; the rest is never written after creation.
 */
static struct regex *regex_mutable(const void *regex)
{
    return (struct regex *)(uintptr_t)regex;
}

static enum regex_outcome run(const struct regex *regex, const char *text, size_t n, size_t from,
                              pcre2_match_data *data)
{
    int found = pcre2_match(regex->code, (PCRE2_SPTR)text, n, from, 0, data, regex->context);

    if (found >= 0)
        return REGEX_MATCH;
    return found == PCRE2_ERROR_NOMATCH ? REGEX_NO_MATCH : REGEX_GAVE_UP;
}

static enum regex_outcome run_once(struct regex *regex, const char *text, size_t n)
{
    pcre2_match_data *data = data_take(regex);
    enum regex_outcome outcome = run(regex, text, n, 0, data);

    data_give(regex, data);
    return outcome;
}

enum regex_outcome regex_match(const void *regex, const char *text)
{
    struct regex *r = regex_mutable(regex);
    bool match = true; /* REGEX_ANY */

    switch (r->kind) {
    case REGEX_ANY:
        break;
    case REGEX_NOT_EMPTY:
        match = *text != '\0';
        break;
    case REGEX_LITERALS:
        match = match_literals(r, text);
        break;
    case REGEX_PREFIX:
        match = str_starts(text, r->literals);
        break;
    case REGEX_PCRE:
        return run_once(r, text, strlen(text));
    }
    return match ? REGEX_MATCH : REGEX_NO_MATCH;
}

/* ---- templates ---- */

/* Number of a group that is named by digits or by its name, -1 if there is none. */
static int group_number(const struct regex *regex, const char *name, size_t n)
{
    char text[LABEL_NAME_MAX];
    int64_t number;

    if (n == 0 || n >= sizeof(text))
        return -1;
    memcpy(text, name, n);
    text[n] = '\0';
    if (str_parse_i64(text, 0, 65535, &number))
        return (int)number;
    return pcre2_substring_number_from_name(regex->code, (PCRE2_SPTR)text);
}

static void add_group(const char *text, pcre2_match_data *data, int group, struct buf *out)
{
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(data);

    if (group < 0 || (uint32_t)group >= pcre2_get_ovector_count(data) ||
        ends[2 * group] == PCRE2_UNSET)
        return;
    buf_add(out, text + ends[2 * group], ends[2 * group + 1] - ends[2 * group]);
}

/* Length of the reference at s (behind the `$`) and its name; 0 if it is none. */
static size_t reference(const char *s, const char **name, size_t *n)
{
    bool braced = *s == '{';

    *name = s + braced;
    for (*n = 0; is_alnum((*name)[*n]) || (*name)[*n] == '_'; (*n)++)
        continue;
    if (*n == 0 || (braced && (*name)[*n] != '}'))
        return 0;
    return *n + (braced ? 2 : 0);
}

static void expand(const struct regex *regex, const char *text, pcre2_match_data *data,
                   const char *template, struct buf *out)
{
    for (const char *s = template; *s;) {
        const char *name;
        size_t n, len;

        if (*s != '$') {
            buf_add_char(out, *s++);
            continue;
        }
        s++;
        len = reference(s, &name, &n);
        if (len > 0)
            add_group(text, data, group_number(regex, name, n), out);
        else
            buf_add_char(out, '$');
        s += len > 0 ? len : (size_t)(*s == '$');
    }
}

enum regex_outcome regex_expand(const struct regex *regex, const char *text, const char *template,
                                struct buf *out)
{
    struct regex *r = regex_mutable(regex);
    pcre2_match_data *data = data_take(r);
    enum regex_outcome outcome = run(r, text, strlen(text), 0, data);

    if (outcome == REGEX_MATCH)
        expand(regex, text, data, template, out);
    data_give(r, data);
    return outcome;
}

/* ---- search ---- */

enum regex_outcome regex_search(const struct regex *regex, const char *text, size_t n)
{
    return run_once(regex_mutable(regex), text, n);
}

/* The next place to look from: behind the match, but at least one character on. */
static size_t search_on(const char *text, size_t n, size_t from, size_t match_end)
{
    size_t step = from < n ? str_utf8_len(text + from) : 1;

    if (step == 0 || from + step > n)
        step = 1;
    return from + step > match_end ? from + step : match_end;
}

enum regex_outcome regex_replace_all(const struct regex *regex, const char *text, size_t n,
                                     const char *template, struct buf *out)
{
    struct regex *r = regex_mutable(regex);
    pcre2_match_data *data = data_take(r);
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(data);
    enum regex_outcome outcome = REGEX_MATCH;
    size_t copied = 0, searches = 0;

    for (size_t from = 0; from <= n && buf_ok(out); from = search_on(text, n, from, ends[1])) {
        outcome = searches++ < SEARCHES_MAX ? run(r, text, n, from, data) : REGEX_GAVE_UP;
        if (outcome != REGEX_MATCH)
            break;
        buf_add(out, text + copied, ends[0] - copied);
        /* An empty match right behind another one is none, as Go sees it. */
        if (ends[1] > copied || ends[0] == 0)
            expand(regex, text, data, template, out);
        copied = ends[1];
    }
    buf_add(out, text + copied, n - copied);
    data_give(r, data);
    return outcome == REGEX_GAVE_UP ? REGEX_GAVE_UP : REGEX_MATCH;
}
