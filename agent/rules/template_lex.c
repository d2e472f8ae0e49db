/*
 * template_lex.c: the text of a template as tokens, where Go's lexer cuts it.
 *
 * Tokens, their lines and the texts of errors are Go's, because load errors show them. White space
 * inside an action is a token (it ends operands), trim markers belong to the delimiters and are
 * done here, comments vanish. Invariant: pos never passes len, and line is the line of pos.
 */
#include "template_private.h"

#include "pgvigil/base/str.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

void tpl_lexer_init(struct tpl_lexer *l, const char *text)
{
    *l = (struct tpl_lexer){.text = text, .len = (uint32_t)strlen(text), .line = 1};
}

static const char *at(const struct tpl_lexer *l)
{
    return l->text + l->pos;
}

/* The text ends with NUL, so looking a few bytes ahead one by one stops there. */
static bool at_right_delim(const struct tpl_lexer *l, bool *trims)
{
    const char *s = at(l);
    *trims = is_space(s[0]) && str_starts(s + 1, "-}}");
    return *trims || str_starts(s, "}}");
}

static void advance(struct tpl_lexer *l, uint32_t n)
{
    for (uint32_t end = l->pos + n; l->pos < end; l->pos++)
        l->line += l->text[l->pos] == '\n';
}

static void skip_space(struct tpl_lexer *l)
{
    while (is_space(*at(l)))
        advance(l, 1);
}

static struct tpl_token token(struct tpl_lexer *l, enum tpl_token_type type, uint32_t n)
{
    struct tpl_token t = {.type = type, .pos = l->pos, .len = n, .line = l->line};
    advance(l, n);
    return t;
}

static struct tpl_token error(struct tpl_lexer *l, const char *text)
{
    (void)str_copy(l->error, sizeof(l->error), text);
    return token(l, TPL_TOK_ERROR, 0);
}

/* As Go's %#U: the code point, and itself if it can be seen. */
static struct tpl_token error_rune(struct tpl_lexer *l, const char *text, uint32_t pos)
{
    size_t len;
    uint32_t rune = tpl_rune(l->text + pos, l->len - pos, &len);
    if (!tpl_rune_is_printable(rune))
        snprintf(l->error, sizeof(l->error), "%s U+%04X", text, (unsigned)rune);
    else if (rune == TPL_RUNE_BAD)
        snprintf(l->error, sizeof(l->error), "%s U+FFFD '\xef\xbf\xbd'", text);
    else
        snprintf(l->error, sizeof(l->error), "%s U+%04X '%.*s'", text, (unsigned)rune, (int)len,
                 l->text + pos);
    return token(l, TPL_TOK_ERROR, 0);
}

static size_t alphanumeric(const struct tpl_lexer *l, uint32_t pos)
{
    size_t len;
    if (pos >= l->len)
        return 0;
    uint32_t rune = tpl_rune(l->text + pos, l->len - pos, &len);
    return tpl_rune_is_letter(rune) || (rune >= '0' && rune <= '9') ? len : 0;
}

static uint32_t word_end(const struct tpl_lexer *l, uint32_t pos)
{
    size_t n;
    while ((n = alphanumeric(l, pos)) > 0)
        pos += (uint32_t)n;
    return pos;
}

/* What may follow a field, a variable or a word. */
static bool at_terminator(const struct tpl_lexer *l, uint32_t pos)
{
    char c = l->text[pos];
    return pos >= l->len || is_space(c) || strchr(".,|:)(}", c) != NULL;
}

static struct tpl_token lex_quoted(struct tpl_lexer *l, char quote, enum tpl_token_type type,
                                   const char *unterminated)
{
    for (uint32_t end = l->pos + 1; end < l->len; end++) {
        char c = l->text[end];
        if (c == quote)
            return token(l, type, end + 1 - l->pos);
        if (quote == '`')
            continue;
        if (c == '\\')
            c = l->text[++end];
        if (c == '\n')
            break;
    }
    return error(l, unterminated);
}

static struct tpl_token lex_name(struct tpl_lexer *l, enum tpl_token_type type)
{
    uint32_t end = word_end(l, l->pos + 1);
    if (end == l->pos + 1 && at_terminator(l, end))
        return token(l, type == TPL_TOK_FIELD ? TPL_TOK_DOT : type, 1);
    if (!at_terminator(l, end))
        return error_rune(l, "bad character", end);
    return token(l, type, end - l->pos);
}

static struct tpl_token lex_word(struct tpl_lexer *l)
{
    static const struct {
        const char *word;
        enum tpl_token_type type;
    } words[] = {
        {"block", TPL_TOK_BLOCK},       {"break", TPL_TOK_BREAK}, {"continue", TPL_TOK_CONTINUE},
        {"define", TPL_TOK_DEFINE},     {"else", TPL_TOK_ELSE},   {"end", TPL_TOK_END},
        {"false", TPL_TOK_BOOL},        {"if", TPL_TOK_IF},       {"nil", TPL_TOK_NIL},
        {"range", TPL_TOK_RANGE},       {"true", TPL_TOK_BOOL},   {"with", TPL_TOK_WITH},
        {"template", TPL_TOK_TEMPLATE},
    };
    uint32_t end = word_end(l, l->pos), n = end - l->pos;
    if (!at_terminator(l, end))
        return error_rune(l, "bad character", end);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strlen(words[i].word) == n && memcmp(words[i].word, at(l), n) == 0)
            return token(l, words[i].type, n);
    return token(l, TPL_TOK_IDENT, n);
}

static uint32_t accept(const struct tpl_lexer *l, uint32_t pos, const char *of)
{
    return pos + (uint32_t)(l->text[pos] != '\0' && strchr(of, l->text[pos]) != NULL);
}

static uint32_t accept_run(const struct tpl_lexer *l, uint32_t pos, const char *of)
{
    return pos + (uint32_t)strspn(l->text + pos, of);
}

/* Where the number ends; what its digits mean is for the parser. */
static uint32_t number_end(const struct tpl_lexer *l)
{
    static const char decimal[] = "0123456789_", hex[] = "0123456789abcdefABCDEF_";
    const char *digits = decimal;
    uint32_t end = accept(l, l->pos, "+-");
    if (l->text[end] == '0') {
        char base = l->text[++end];
        if (base == 'x' || base == 'X')
            digits = hex;
        else if (base == 'o' || base == 'O')
            digits = "01234567_";
        else if (base == 'b' || base == 'B')
            digits = "01_";
        end += digits != decimal;
    }
    end = accept_run(l, end, digits);
    if (l->text[end] == '.')
        end = accept_run(l, end + 1, digits);
    const char *exponent = digits == decimal ? "eE" : digits == hex ? "pP" : "";
    if (accept(l, end, exponent) > end)
        end = accept_run(l, accept(l, end + 1, "+-"), decimal);
    return accept(l, end, "i");
}

static struct tpl_token lex_number(struct tpl_lexer *l)
{
    uint32_t end = number_end(l), more = (uint32_t)alphanumeric(l, end);
    bool is_complex = more == 0 && (l->text[end] == '+' || l->text[end] == '-');
    if (more == 0 && !is_complex)
        return token(l, TPL_TOK_NUMBER, end - l->pos);
    /* Complex constants are for nobody here: read as a number that is written wrong. */
    end = is_complex ? accept_run(l, end + 1, "0123456789") : end + more;
    snprintf(l->error, sizeof(l->error), "bad number syntax: \"%.*s\"",
             (int)size_min(end - l->pos, 64), at(l));
    return token(l, TPL_TOK_ERROR, 0);
}

static struct tpl_token lex_space(struct tpl_lexer *l)
{
    bool trims;
    uint32_t start = l->pos, n = (uint32_t)strspn(at(l), " \t\r\n");
    l->pos += n - 1;
    if (n > 1 && at_right_delim(l, &trims) && trims)
        n--; /* the last one belongs to the trim marker */
    l->pos = start;
    return token(l, TPL_TOK_SPACE, n);
}

static struct tpl_token lex_right(struct tpl_lexer *l, bool trims)
{
    if (trims)
        advance(l, 2);
    struct tpl_token t = token(l, TPL_TOK_RIGHT, 2);
    if (trims)
        skip_space(l);
    l->in_action = false;
    return t;
}

static struct tpl_token lex_sign(struct tpl_lexer *l)
{
    switch (*at(l)) {
    case '=':
        return token(l, TPL_TOK_ASSIGN, 1);
    case ':':
        if (at(l)[1] != '=')
            return error(l, "expected :=");
        return token(l, TPL_TOK_DECLARE, 2);
    case '|':
        return token(l, TPL_TOK_PIPE, 1);
    case '(':
        l->parens++;
        return token(l, TPL_TOK_OPEN, 1);
    case ')':
        l->parens--;
        return token(l, TPL_TOK_CLOSE, 1);
    default:
        if (*at(l) > ' ' && *at(l) < 0x7f)
            return token(l, TPL_TOK_CHAR, 1);
        return error_rune(l, "unrecognized character in action:", l->pos);
    }
}

static bool starts_number(const char *s)
{
    char digit = *s == '.' ? s[1] : *s;
    return *s == '+' || *s == '-' || (digit >= '0' && digit <= '9');
}

/* A token by its first character. */
static struct tpl_token lex_operand(struct tpl_lexer *l)
{
    char c = *at(l);
    if (starts_number(at(l)))
        return lex_number(l);
    switch (c) {
    case '"':
        return lex_quoted(l, c, TPL_TOK_STRING, "unterminated quoted string");
    case '`':
        return lex_quoted(l, c, TPL_TOK_RAW_STRING, "unterminated raw quoted string");
    case '\'':
        return lex_quoted(l, c, TPL_TOK_CHAR_CONSTANT, "unterminated character constant");
    case '$':
        return lex_name(l, TPL_TOK_VARIABLE);
    case '.':
        return lex_name(l, TPL_TOK_FIELD);
    default:
        return alphanumeric(l, l->pos) > 0 ? lex_word(l) : lex_sign(l);
    }
}

static struct tpl_token lex_action(struct tpl_lexer *l)
{
    bool trims;
    if (l->parens < 0) /* found with the parenthesis itself, told behind it */
        return error(l, "unexpected right paren");
    if (at_right_delim(l, &trims))
        return l->parens == 0 ? lex_right(l, trims) : error(l, "unclosed left paren");
    if (l->pos >= l->len)
        return error(l, "unclosed action");
    return is_space(*at(l)) ? lex_space(l) : lex_operand(l);
}

static bool is_trim_marker(const char *s)
{
    return s[0] == '-' && is_space(s[1]);
}

/* At `{{`. False with the error in t; a comment leaves no token. */
static bool skip_comment(struct tpl_lexer *l, bool *was_comment, struct tpl_token *t)
{
    bool trims;
    uint32_t marker = is_trim_marker(at(l) + 2) ? 2 : 0;
    *was_comment = str_starts(at(l) + 2 + marker, "/*");
    if (!*was_comment)
        return true;
    advance(l, 2 + marker);
    const char *end = strstr(at(l) + 2, "*/");
    if (end == NULL) {
        *t = error(l, "unclosed comment");
        return false;
    }
    struct tpl_lexer behind = *l;
    advance(&behind, (uint32_t)(end - at(l)) + 2);
    if (!at_right_delim(&behind, &trims)) {
        *t = error(l, "comment ends before closing delimiter");
        return false;
    }
    *l = behind;
    advance(l, trims ? 4 : 2);
    if (trims)
        skip_space(l);
    return true;
}

static struct tpl_token lex_left(struct tpl_lexer *l)
{
    struct tpl_token t = token(l, TPL_TOK_LEFT, 2);
    if (is_trim_marker(at(l)))
        advance(l, 2);
    l->in_action = true;
    l->parens = 0;
    return t;
}

/* Text up to the next action, without the space that a marker behind it trims. */
static bool lex_text(struct tpl_lexer *l, struct tpl_token *t)
{
    const char *open = strstr(at(l), "{{");
    uint32_t whole = open != NULL ? (uint32_t)(open - at(l)) : l->len - l->pos, n = whole;
    while (open != NULL && is_trim_marker(open + 2) && n > 0 && is_space(at(l)[n - 1]))
        n--;
    *t = token(l, TPL_TOK_TEXT, n);
    advance(l, whole - n);
    return n > 0;
}

struct tpl_token tpl_lexer_next(struct tpl_lexer *l)
{
    if (l->in_action)
        return lex_action(l);
    for (;;) {
        struct tpl_token t;
        bool was_comment;
        if (lex_text(l, &t))
            return t;
        if (l->pos >= l->len)
            return token(l, TPL_TOK_EOF, 0);
        if (!skip_comment(l, &was_comment, &t))
            return t;
        if (!was_comment)
            return lex_left(l);
    }
}
