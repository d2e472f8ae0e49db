/*
 * template_private.h: what the files of the template engine share: tokens, the tree, formatting.
 *
 * Tree and texts live in the template's arena. Nodes keep the place that Go gives them, because
 * errors of an execution name it.
 */
#ifndef PGVIGIL_AGENT_TEMPLATE_PRIVATE_H
#define PGVIGIL_AGENT_TEMPLATE_PRIVATE_H

#include "pgvigil/rules/template_engine.h"

/* ---- template_lex.c ---- */
enum tpl_token_type {
    TPL_TOK_ERROR, /* text in the lexer's error */
    TPL_TOK_EOF,
    TPL_TOK_TEXT,
    TPL_TOK_LEFT,  /* {{ */
    TPL_TOK_RIGHT, /* }} */
    TPL_TOK_SPACE,
    TPL_TOK_ASSIGN,  /* = */
    TPL_TOK_DECLARE, /* := */
    TPL_TOK_PIPE,
    TPL_TOK_OPEN,
    TPL_TOK_CLOSE,
    TPL_TOK_CHAR, /* any other printable ASCII character */
    TPL_TOK_STRING,
    TPL_TOK_RAW_STRING,
    TPL_TOK_CHAR_CONSTANT,
    TPL_TOK_NUMBER,
    TPL_TOK_BOOL,
    TPL_TOK_IDENT,
    TPL_TOK_FIELD,    /* .x */
    TPL_TOK_VARIABLE, /* $x */
    TPL_TOK_KEYWORD,  /* no token: those behind it are words of the grammar */
    TPL_TOK_DOT,
    TPL_TOK_NIL,
    TPL_TOK_BLOCK,
    TPL_TOK_BREAK,
    TPL_TOK_CONTINUE,
    TPL_TOK_DEFINE,
    TPL_TOK_ELSE,
    TPL_TOK_END,
    TPL_TOK_IF,
    TPL_TOK_RANGE,
    TPL_TOK_TEMPLATE,
    TPL_TOK_WITH
};

struct tpl_token {
    enum tpl_token_type type;
    uint32_t pos, len;
    int line;
};

struct tpl_lexer {
    const char *text;
    uint32_t pos, len;
    int line; /* at pos */
    int parens;
    bool in_action;
    char error[256];
};

void tpl_lexer_init(struct tpl_lexer *l, const char *text);
struct tpl_token tpl_lexer_next(struct tpl_lexer *l);

/* ---- template_literal.c ---- */
/* The text that a quoted literal stands for; false if its syntax is wrong. */
bool tpl_unquote(struct arena *arena, const char *s, size_t n, struct tpl_value *out);
/* A number or character constant; false with Go's text. */
bool tpl_parse_number(const char *s, size_t n, struct tpl_value *out, struct err *err);

/* ---- the tree ---- */
enum tpl_node_kind {
    TPL_NODE_LIST,
    TPL_NODE_TEXT,
    TPL_NODE_ACTION,
    TPL_NODE_IF,
    TPL_NODE_WITH,
    TPL_NODE_RANGE,
    TPL_NODE_TEMPLATE,
    TPL_NODE_BREAK,
    TPL_NODE_CONTINUE,
    TPL_NODE_END, /* these two end a list and are not in the tree */
    TPL_NODE_ELSE,
    TPL_NODE_PIPE,
    TPL_NODE_COMMAND,
    TPL_NODE_FUNCTION,
    TPL_NODE_FIELD,
    TPL_NODE_VARIABLE,
    TPL_NODE_CHAIN,
    TPL_NODE_DOT,
    TPL_NODE_NIL,
    TPL_NODE_LITERAL /* bool, number, text */
};

struct tpl_name {
    const char *s;
    struct tpl_name *next;
};

struct tpl_node {
    enum tpl_node_kind kind;
    uint32_t pos;
    struct tpl_node *next; /* of the same list, pipe or command */
    union {
        struct tpl_node *first; /* list */
        struct {                /* text, literal */
            const char *source;
            size_t source_len;
            struct tpl_value value;
        };
        struct { /* action, if, with, range, template: what it does not have is NULL */
            struct tpl_node *pipe, *list, *else_list;
            const char *name;
        } block;
        struct {
            struct tpl_node *commands;
            const char *variables[2];
            uint8_t variable_count;
            bool is_assign;
        } pipe;
        struct {
            struct tpl_node *args;
            size_t count;
        } command;
        const struct tpl_function *function;
        struct { /* field, variable (its name is the first), chain (of base) */
            struct tpl_name *names;
            struct tpl_node *base;
        } chain;
    };
};

struct tpl_define {
    const char *name;
    struct tpl_node *list;
    struct tpl_define *next;
};

struct tpl_tree {
    struct arena *arena;
    const char *name, *text;
    struct tpl_define root;     /* named as the tree */
    struct tpl_define *defines; /* the others */
};

/* True if there is nothing in the list but white space: such a definition may be made again. */
bool tpl_is_empty(const struct tpl_node *list);

/* ---- template_pipeline.c ---- */
#define TPL_VARIABLES_MAX 256 /* known at one place, those of templates around it included */

struct tpl_parser {
    struct tpl_tree *tree;
    struct tpl_lexer lexer;
    struct tpl_token ahead[3]; /* [0] is the last one read, those above it were put back */
    int ahead_count;
    const struct tpl_function *functions;
    size_t function_count;
    const char *variables[TPL_VARIABLES_MAX];
    size_t variable_count, scope_start; /* those below scope_start are of a template around */
    int nesting, range_depth;
    int action_line; /* 0: outside an action */
    bool failed;
    struct err *err;
};

/* Fill the error and give NULL. */
void *tpl_parser_fail(struct tpl_parser *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
void *tpl_parser_unexpected(struct tpl_parser *p, const struct tpl_token *t, const char *context);
/* One level of nesting more; who is done with it decrements nesting. */
bool tpl_parser_enter(struct tpl_parser *p);
/* The next token; those of a word skip white space. back gives back the last one, back_also one
 * that was read before it. */
struct tpl_token tpl_parser_next(struct tpl_parser *p);
void tpl_parser_back(struct tpl_parser *p);
void tpl_parser_back_also(struct tpl_parser *p, struct tpl_token t);
struct tpl_token tpl_parser_peek(struct tpl_parser *p);
struct tpl_token tpl_parser_peek_word(struct tpl_parser *p);
struct tpl_token tpl_parser_next_word(struct tpl_parser *p);
/* True if the next word is of this type; else an error. */
bool tpl_parser_expect(struct tpl_parser *p, enum tpl_token_type type, const char *context);
struct tpl_node *tpl_parser_node(struct tpl_parser *p, enum tpl_node_kind kind, uint32_t pos);
struct tpl_node *tpl_parser_literal(struct tpl_parser *p, const struct tpl_token *t,
                                    struct tpl_value value);
struct tpl_node *tpl_parser_quoted(struct tpl_parser *p, const struct tpl_token *t);
/* Makes the name known from here on. */
const char *tpl_parser_declare(struct tpl_parser *p, const char *name);
/* Up to the token of type end, which is taken. context is what errors call it. */
struct tpl_node *tpl_parser_pipeline(struct tpl_parser *p, const char *context,
                                     enum tpl_token_type end);

/* ---- template_node.c ---- */
/* Appends the node as Go prints it in errors. */
void tpl_node_print(const struct tpl_node *node, struct buf *out);
/* Line from 1, and column in bytes as Go counts it: from 0. */
void tpl_place(const char *text, uint32_t pos, int *line, int *column);

/* ---- template_eval.c ---- */
#define TPL_ERROR_MAX 4096 /* bytes of the reason in an error */

struct tpl_variable {
    const char *name;
    struct tpl_value value;
};

struct tpl_state {
    struct tpl_call call;
    const struct tpl_tree *tree;
    const struct tpl_define *define; /* that is being executed */
    const struct tpl_node *node;     /* where an error would be */
    struct tpl_variable *variables;  /* a stack; those below scope are of the caller */
    size_t variable_count, variable_room, scope;
    int depth, calls;
    size_t arena_start;
    const char *error; /* whole */
    struct buf out;
};

/* Sets the error, with the place of the current node; false. */
bool tpl_exec_fail(struct tpl_state *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool tpl_exec_step(struct tpl_state *s);
/* One level deeper; who returns decrements depth. */
bool tpl_exec_enter(struct tpl_state *s);
void tpl_exec_push(struct tpl_state *s, const char *name, struct tpl_value value);
bool tpl_exec_assign(struct tpl_state *s, const char *name, struct tpl_value value);
bool tpl_eval_pipe(struct tpl_state *s, const struct tpl_value *dot, const struct tpl_node *pipe,
                   struct tpl_value *out);

/* ---- template_format.c, template_verbs.c ---- */
struct tpl_flags {
    bool minus, plus, sharp, space, zero;
    bool plus_v, sharp_v; /* `+` and `#` of %v mean other things than of the rest */
    bool has_width, has_precision;
    int width, precision;
};

struct tpl_printer {
    struct buf *out;
    struct tpl_flags flags;
    bool plain;        /* no String methods: inside an error form */
    bool no_ampersand; /* an action prints what a pointer points to */
    int depth;
};

void tpl_printer_value(struct tpl_printer *p, const struct tpl_value *v, uint32_t verb);
/* As Go's Sprintf: never fails, errors are in the text. */
void tpl_format(struct buf *out, const char *format, size_t n, const struct tpl_value *args,
                size_t count);
/* As Go's Sprint. */
void tpl_print_all(struct buf *out, const struct tpl_value *args, size_t count);

void tpl_format_bool(struct tpl_printer *p, bool b);
void tpl_format_int(struct tpl_printer *p, int64_t i, uint32_t verb);
void tpl_format_float(struct tpl_printer *p, double f, uint32_t verb);
void tpl_format_string(struct tpl_printer *p, const char *s, size_t n, uint32_t verb);
void tpl_pad(struct tpl_printer *p, const char *s, size_t n);

/* ---- template_text.c ---- */
/* One code point and its length; U+FFFD and 1 for a byte that is not UTF-8. n > 0. */
uint32_t tpl_rune(const char *s, size_t n, size_t *len);
void tpl_add_rune(struct buf *out, uint32_t rune);
bool tpl_rune_is_letter(uint32_t rune);
bool tpl_rune_is_printable(uint32_t rune);
uint32_t tpl_rune_upper(uint32_t rune);
uint32_t tpl_rune_lower(uint32_t rune);
#define TPL_RUNE_BAD 0xFFFD
/* With quotes and escapes of Go's %q. */
void tpl_quote(struct buf *out, const char *s, size_t n, bool ascii_only);
/* Shortest text that reads back to the same double, with an exponent below -4 and from 6 on. */
#define TPL_FLOAT_MAX 40
const char *tpl_float_text(double f, char out[TPL_FLOAT_MAX]);
void tpl_add_query_escaped(struct buf *out, const char *s, size_t n);

/* ---- template_layout.c ---- */
struct tpl_moment {
    int64_t year;
    int month, day, hour, minute, second, weekday, year_day; /* month, day, year_day from 1 */
    int nanos;
};

extern const char *const tpl_months[], *const tpl_days[];
struct tpl_moment tpl_moment_of(int64_t ms);
void tpl_add_layout(const char *s, size_t n, const struct tpl_moment *m, struct buf *out);

/* ---- template_builtins.c, template_functions.c, template_humanize.c, template_time.c ---- */
extern const struct tpl_function tpl_builtins[];
extern const size_t tpl_builtin_count;
extern const struct tpl_function tpl_rule_functions[];
extern const size_t tpl_rule_function_count;
extern const struct tpl_type tpl_type_time, tpl_type_duration;

/* A copy that ends with NUL. */
const char *tpl_c_string(struct tpl_call *call, const struct tpl_value *v);
/* A text that lives long enough as the result; true. */
bool tpl_text_result(struct tpl_value *out, const char *s);
/* A text, number or duration as a double; false with Prometheus' text. */
bool tpl_to_float(struct tpl_call *call, const struct tpl_value *v, double *out);
bool tpl_fn_humanize(struct tpl_call *call, const struct tpl_value *args, size_t n,
                     struct tpl_value *out);
bool tpl_fn_humanize1024(struct tpl_call *call, const struct tpl_value *args, size_t n,
                         struct tpl_value *out);
bool tpl_fn_humanize_duration(struct tpl_call *call, const struct tpl_value *args, size_t n,
                              struct tpl_value *out);
bool tpl_fn_humanize_percentage(struct tpl_call *call, const struct tpl_value *args, size_t n,
                                struct tpl_value *out);
bool tpl_fn_parse_duration(struct tpl_call *call, const struct tpl_value *args, size_t n,
                           struct tpl_value *out);
bool tpl_fn_to_time(struct tpl_call *call, const struct tpl_value *args, size_t n,
                    struct tpl_value *out);
bool tpl_fn_to_duration(struct tpl_call *call, const struct tpl_value *args, size_t n,
                        struct tpl_value *out);
bool tpl_fn_humanize_timestamp(struct tpl_call *call, const struct tpl_value *args, size_t n,
                               struct tpl_value *out);

#endif
