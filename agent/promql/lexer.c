/*
 * lexer.c: text to tokens, one at a time, without looking back.
 *
 * PromQL's words depend on where they stand: inside braces there are only label names, strings and
 * match operators; inside brackets a colon separates range and step. The lexer knows this from the
 * brackets it has passed, so the parser needs one token of lookahead and no modes. Error texts are
 * Prometheus' own, because people search for them. Invariant: pos never passes len, and every call
 * moves on or returns TOK_EOF or TOK_ERROR.
 */
#include "promql_private.h"

#include "pgvigil/base/str.h"

#define STRING_SHOWN 10 /* characters of a string in an error, as in Prometheus */

static const struct word {
    const char *text;
    enum token_type type;
    int id;
    bool is_name;
} words[] = {
    {"and", TOK_OP, OP_AND, true},
    {"or", TOK_OP, OP_OR, true},
    {"unless", TOK_OP, OP_UNLESS, true},
    {"atan2", TOK_OP, OP_ATAN2, false},
    {"sum", TOK_AGGR, AGGR_SUM, true},
    {"avg", TOK_AGGR, AGGR_AVG, true},
    {"min", TOK_AGGR, AGGR_MIN, true},
    {"max", TOK_AGGR, AGGR_MAX, true},
    {"count", TOK_AGGR, AGGR_COUNT, true},
    {"group", TOK_AGGR, AGGR_GROUP, true},
    {"stddev", TOK_AGGR, AGGR_STDDEV, true},
    {"stdvar", TOK_AGGR, AGGR_STDVAR, true},
    {"topk", TOK_AGGR, AGGR_TOPK, true},
    {"bottomk", TOK_AGGR, AGGR_BOTTOMK, true},
    {"quantile", TOK_AGGR, AGGR_QUANTILE, true},
    {"count_values", TOK_AGGR, AGGR_COUNT_VALUES, true},
    {"limitk", TOK_AGGR, AGGR_LIMITK, true},
    {"limit_ratio", TOK_AGGR, AGGR_LIMIT_RATIO, true},
    {"offset", TOK_KEYWORD, WORD_OFFSET, true},
    {"by", TOK_KEYWORD, WORD_BY, true},
    {"without", TOK_KEYWORD, WORD_WITHOUT, true},
    {"on", TOK_KEYWORD, WORD_ON, false},
    {"ignoring", TOK_KEYWORD, WORD_IGNORING, false},
    {"group_left", TOK_KEYWORD, WORD_GROUP_LEFT, false},
    {"group_right", TOK_KEYWORD, WORD_GROUP_RIGHT, false},
    {"bool", TOK_KEYWORD, WORD_BOOL, false},
    {"start", TOK_KEYWORD, WORD_START, true},
    {"end", TOK_KEYWORD, WORD_END, true},
    {"inf", TOK_NUMBER, 0, false},
    {"nan", TOK_NUMBER, 0, false},
};

const char *op_name(enum promql_op op)
{
    static const char *const names[] = {"+",  "-",      "*",  "/",  "%",  "^",  "atan2",
                                        "==", "!=",     "<",  "<=", ">",  ">=", "and",
                                        "or", "unless", "</", ">/", "=~", "!~"};

    return names[op];
}

const char *aggr_name(enum promql_aggr op)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (words[i].type == TOK_AGGR && words[i].id == (int)op)
            return words[i].text;
    return "";
}

void lexer_init(struct lexer *lexer, const char *text)
{
    *lexer = (struct lexer){.text = text, .len = strlen(text)};
}

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
    return is_alpha(c) || is_digit(c);
}

/* The byte at an offset from the cursor; NUL behind the end. */
static char peek(const struct lexer *lexer, size_t ahead)
{
    return ahead < lexer->len - lexer->pos ? lexer->text[lexer->pos + ahead] : '\0';
}

/* One character of the text as Go prints it with %q, or the end of the input. */
static void quote_at(const struct lexer *lexer, size_t pos, char *out, size_t n)
{
    size_t len = pos < lexer->len ? str_utf8_len(lexer->text + pos) : 0;

    if (pos >= lexer->len)
        snprintf(out, n, "end of input");
    else if (len == 0 || (len == 1 && (unsigned char)lexer->text[pos] < ' '))
        snprintf(out, n, "'\\x%02x'", (unsigned char)lexer->text[pos]);
    else
        snprintf(out, n, "'%.*s'", (int)len, lexer->text + pos);
}

static void fail_char(struct lexer *lexer, struct token *token, const char *what, size_t ahead)
{
    char quoted[16];

    quote_at(lexer, lexer->pos + ahead, quoted, sizeof(quoted));
    snprintf(lexer->error, sizeof(lexer->error), "%s %s", what, quoted);
    token->type = TOK_ERROR;
}

static void fail_text(struct lexer *lexer, struct token *token, const char *text)
{
    snprintf(lexer->error, sizeof(lexer->error), "%s", text);
    token->type = TOK_ERROR;
}

static void emit(struct lexer *lexer, struct token *token, enum token_type type, int id, size_t len)
{
    token->type = type;
    token->id = id;
    token->len = len;
    lexer->pos += len;
}

static void skip_blanks(struct lexer *lexer)
{
    for (;;) {
        char c = peek(lexer, 0);

        if (c == '#' && !lexer->in_braces) {
            while (lexer->pos < lexer->len && peek(lexer, 0) != '\n')
                lexer->pos++;
        } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
            lexer->pos++;
        } else {
            return;
        }
    }
}

/* From the opening quote; escapes are resolved later, here only the end is looked for. */
static void lex_string(struct lexer *lexer, struct token *token)
{
    char quote = peek(lexer, 0);
    size_t n = 1;

    while (lexer->pos + n < lexer->len) {
        char c = peek(lexer, n);
        size_t len;

        if (c == quote) {
            emit(lexer, token, TOK_STRING, 0, n + 1);
            return;
        }
        if (quote != '`' && c == '\n')
            break;
        if (quote != '`' && c == '\\') {
            if (lexer->pos + ++n >= lexer->len) {
                fail_text(lexer, token, "escape sequence not terminated");
                return;
            }
        }
        len = str_utf8_len(lexer->text + lexer->pos + n);
        if (len == 0) {
            fail_text(lexer, token, "invalid UTF-8 rune");
            return;
        }
        n += len;
    }
    fail_text(lexer, token,
              quote == '`' ? "unterminated raw string" : "unterminated quoted string");
}

/* Everything that can belong to a number or duration, then the two decide what it is. */
static void lex_number(struct lexer *lexer, struct token *token)
{
    const char *s = lexer->text + lexer->pos;
    bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
    size_t n = 0;
    double number;
    int64_t ms;

    while (is_alnum(peek(lexer, n)) || peek(lexer, n) == '.') {
        bool exponent = !hex && (s[n] == 'e' || s[n] == 'E');

        n++;
        if (exponent && (peek(lexer, n) == '+' || peek(lexer, n) == '-'))
            n++;
    }
    if (literal_number(s, n, &number)) {
        emit(lexer, token, TOK_NUMBER, 0, n);
    } else if (literal_duration(s, n, &ms)) {
        emit(lexer, token, TOK_DURATION, 0, n);
    } else {
        snprintf(lexer->error, sizeof(lexer->error), "bad number or duration syntax: \"%.*s\"",
                 (int)size_min(n, 64), s);
        token->type = TOK_ERROR;
    }
}

static void lex_word(struct lexer *lexer, struct token *token)
{
    bool colon = false;
    size_t n = 0;

    for (; is_alnum(peek(lexer, n)) || (!lexer->in_braces && peek(lexer, n) == ':'); n++)
        colon = colon || peek(lexer, n) == ':';
    token->is_word = true;
    token->is_name = true;
    for (size_t i = 0; !lexer->in_braces && i < ARRAY_LEN(words); i++) {
        const struct word *word = &words[i];

        if (strlen(word->text) == n && strncasecmp(word->text, lexer->text + lexer->pos, n) == 0) {
            token->is_name = word->is_name;
            emit(lexer, token, word->type, word->id, n);
            return;
        }
    }
    emit(lexer, token, colon ? TOK_METRIC_IDENT : TOK_IDENT, 0, n);
}

/* `= =~ != !~` of a matcher. */
static void lex_match_op(struct lexer *lexer, struct token *token, char c)
{
    char next = peek(lexer, 1);

    if (next == '~')
        emit(lexer, token, TOK_OP, c == '=' ? OP_RE : OP_NRE, 2);
    else if (c == '=')
        emit(lexer, token, TOK_PUNCT, c, 1);
    else if (next == '=')
        emit(lexer, token, TOK_OP, OP_NE, 2);
    else
        fail_char(lexer, token, "unexpected character after '!' inside braces:", 1);
}

static void lex_in_braces(struct lexer *lexer, struct token *token)
{
    char c = peek(lexer, 0);

    switch (c) {
    case '\0':
        fail_text(lexer, token, "unexpected end of input inside braces");
        break;
    case '"':
    case '\'':
    case '`':
        lex_string(lexer, token);
        break;
    case '=':
    case '!':
        lex_match_op(lexer, token, c);
        break;
    case '{':
        fail_char(lexer, token, "unexpected left brace", 0);
        break;
    case ',':
    case '}':
        lexer->in_braces = c != '}';
        emit(lexer, token, TOK_PUNCT, c, 1);
        break;
    default:
        if (is_alpha(c))
            lex_word(lexer, token);
        else
            fail_char(lexer, token, "unexpected character inside braces:", 0);
    }
}

static void lex_bracket(struct lexer *lexer, struct token *token, char c)
{
    if (c == '(') {
        lexer->parens++;
    } else if (c == ')') {
        if (--lexer->parens < 0) {
            fail_char(lexer, token, "unexpected right parenthesis", 0);
            token->pos++; /* where Prometheus puts it */
            return;
        }
    } else if (c == '{') {
        lexer->in_braces = true;
    } else if (c == '[') {
        if (lexer->in_brackets) {
            fail_char(lexer, token, "unexpected left bracket", 0);
            return;
        }
        lexer->in_brackets = true;
        lexer->seen_colon = false;
    } else {
        if (!lexer->in_brackets) {
            fail_char(lexer, token, "unexpected right bracket", 0);
            return;
        }
        lexer->in_brackets = false;
    }
    emit(lexer, token, TOK_PUNCT, c, 1);
}

/* `= ! < >` and what may follow them. */
static void lex_comparison(struct lexer *lexer, struct token *token, char c)
{
    bool equals = peek(lexer, 1) == '=';

    if ((c == '<' || c == '>') && peek(lexer, 1) == '/')
        emit(lexer, token, TOK_OP, c == '<' ? OP_TRIM_UPPER : OP_TRIM_LOWER, 2);
    else if (c == '<')
        emit(lexer, token, TOK_OP, equals ? OP_LE : OP_LT, equals ? 2 : 1);
    else if (c == '>')
        emit(lexer, token, TOK_OP, equals ? OP_GE : OP_GT, equals ? 2 : 1);
    else if (equals)
        emit(lexer, token, TOK_OP, c == '=' ? OP_EQ : OP_NE, 2);
    else if (c == '!')
        fail_char(lexer, token, "unexpected character after '!':", 1);
    else if (peek(lexer, 1) == '~')
        fail_char(lexer, token, "unexpected character after '=':", 1);
    else
        emit(lexer, token, TOK_PUNCT, c, 1);
}

static void lex_colon(struct lexer *lexer, struct token *token)
{
    if (lexer->seen_colon) {
        fail_char(lexer, token, "unexpected colon", 0);
        return;
    }
    lexer->seen_colon = true;
    emit(lexer, token, TOK_PUNCT, ':', 1);
}

static void lex_end(struct lexer *lexer, struct token *token)
{
    if (lexer->parens > 0)
        fail_text(lexer, token, "unclosed left parenthesis");
    else if (lexer->in_brackets)
        fail_text(lexer, token, "unclosed left bracket");
    else
        emit(lexer, token, TOK_EOF, 0, 0);
}

static void lex_number_or_word(struct lexer *lexer, struct token *token, char c)
{
    if (is_digit(c) || (c == '.' && is_digit(peek(lexer, 1))))
        lex_number(lexer, token);
    else if (c == ':' && lexer->in_brackets)
        lex_colon(lexer, token);
    else if (is_alpha(c) || c == ':')
        lex_word(lexer, token);
    else
        fail_char(lexer, token, "unexpected character:", 0);
}

static void lex_statement(struct lexer *lexer, struct token *token)
{
    static const char arithmetic[] = "+-*/%^"; /* in the order of enum promql_op */
    char c = peek(lexer, 0);

    switch (c) {
    case '\0':
        lex_end(lexer, token);
        break;
    case '+':
    case '-':
    case '*':
    case '/':
    case '%':
    case '^':
        emit(lexer, token, TOK_OP, (int)(strchr(arithmetic, c) - arithmetic), 1);
        break;
    case '(':
    case ')':
    case '[':
    case ']':
    case '{':
        lex_bracket(lexer, token, c);
        break;
    case '=':
    case '!':
    case '<':
    case '>':
        lex_comparison(lexer, token, c);
        break;
    case '"':
    case '\'':
    case '`':
        lex_string(lexer, token);
        break;
    case ',':
    case '@':
        emit(lexer, token, TOK_PUNCT, c, 1);
        break;
    default:
        lex_number_or_word(lexer, token, c);
    }
}

void lexer_next(struct lexer *lexer, struct token *token)
{
    skip_blanks(lexer);
    *token = (struct token){.pos = lexer->pos};
    if (lexer->in_braces)
        lex_in_braces(lexer, token);
    else
        lex_statement(lexer, token);
}

/* A string is named by its first ten characters, quotes and all. */
static void describe_string(const char *s, size_t len, char *out, size_t n)
{
    char head[4 * STRING_SHOWN + 1], quoted[12 * STRING_SHOWN];
    size_t used = 0, step;

    for (size_t i = 0; used < len && (len <= STRING_SHOWN || i < STRING_SHOWN); i++) {
        step = str_utf8_len(s + used);
        memcpy(head + used, s + used, step);
        used += step;
    }
    head[used] = '\0';
    snprintf(out, n, "string %s%s", go_quote(head, quoted, sizeof(quoted)),
             len > STRING_SHOWN ? "..." : "");
}

void token_describe(const char *text, const struct token *token, char *out, size_t n)
{
    const char *s = text + token->pos;
    int len = (int)size_min(token->len, 64);

    switch (token->type) {
    case TOK_EOF:
        snprintf(out, n, "end of input");
        break;
    case TOK_NUMBER:
        snprintf(out, n, "number \"%.*s\"", len, s);
        break;
    case TOK_DURATION:
        snprintf(out, n, "duration \"%.*s\"", len, s);
        break;
    case TOK_STRING:
        describe_string(s, token->len, out, n);
        break;
    case TOK_IDENT:
        snprintf(out, n, "identifier \"%.*s\"", len, s);
        break;
    case TOK_METRIC_IDENT:
        snprintf(out, n, "metric identifier \"%.*s\"", len, s);
        break;
    case TOK_OP:
        snprintf(out, n, "<op:%s>", op_name((enum promql_op)token->id));
        break;
    case TOK_AGGR:
        snprintf(out, n, "<aggr:%.*s>", len, s);
        break;
    case TOK_KEYWORD:
        snprintf(out, n, "<%.*s>", len, s);
        break;
    case TOK_ERROR:
    case TOK_PUNCT:
        snprintf(out, n, "\"%.*s\"", len, s);
        break;
    }
}
