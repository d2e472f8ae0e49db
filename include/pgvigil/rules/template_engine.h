/*
 * template_engine.h: Go's text/template: a text with actions, parsed once, executed over values.
 *
 * The engine knows nothing of alerts. Who binds it (template.c for rule files) gives the root
 * value, types with fields and methods, and a table of functions beside Go's own. A parsed template
 * is immutable and may be executed by several threads at once; an execution works in the caller's
 * arena, and everything it makes lives there. Texts of errors are Go's.
 * Limits are before recursion or allocation, so that a template that recurses or loops for ever
 * ends with an error text in milliseconds.
 */
#ifndef PGVIGIL_RULES_TEMPLATE_ENGINE_H
#define PGVIGIL_RULES_TEMPLATE_ENGINE_H

#include "pgvigil/base/arena.h"
#include "pgvigil/base/err.h"
#include "pgvigil/model/labels.h"

#define TPL_NESTING_MAX 64                 /* blocks and parentheses inside each other */
#define TPL_STEPS_MAX   200000             /* nodes and operands executed */
#define TPL_RANGE_MAX   10000              /* items of one range */
#define TPL_CALLS_MAX   100                /* {{template}} inside {{template}} */
#define TPL_DEPTH_MAX   400                /* nodes inside each other, over all calls */
#define TPL_ARGS_MAX    32                 /* arguments of one function */
#define TPL_STRING_MAX  ((size_t)64 << 10) /* bytes of one text, and of the result */
#define TPL_BYTES_MAX   ((size_t)4 << 20)  /* bytes of all values of one execution */

/* ---- values ---- */
enum tpl_kind {
    TPL_BOOL,
    TPL_INT,
    TPL_FLOAT,
    TPL_STRING,
    TPL_MAP,  /* from texts to values, sorted by key */
    TPL_LIST, /* of values */
    TPL_OBJECT,
    TPL_ANY /* of parameters and elements only: whatever comes */
};

struct tpl_function;
struct tpl_value;

/* Types are compared by address, as Go tells two types with equal content apart. */
struct tpl_type {
    const char *name; /* as %T prints it */
    enum tpl_kind kind;
    bool is_pointer;             /* an object that prints as &{...} */
    const struct tpl_type *elem; /* of maps and lists */
    const struct tpl_function *members;
    size_t member_count;
    void (*print)(const struct tpl_value *v, struct buf *out); /* its String method, or NULL */
};

struct tpl_pair;

struct tpl_value {
    const struct tpl_type *type; /* NULL: nil */
    union {
        bool b;
        int64_t i;
        double f;
        const char *s;
        const struct label *labels;   /* map of type tpl_type_labels or alike: elem is a string */
        const struct tpl_pair *pairs; /* any other map */
        const struct tpl_value *items;
        const void *self;
    };
    size_t n; /* bytes of a text, entries of a map or list */
};

struct tpl_pair {
    const char *key;
    struct tpl_value value;
};

extern const struct tpl_type tpl_type_bool, tpl_type_int, tpl_type_int64, tpl_type_byte,
    tpl_type_float, tpl_type_string, tpl_type_any;
extern const struct tpl_type tpl_type_labels; /* map[string]string */
extern const struct tpl_type tpl_type_map;    /* map[string]interface {} */

struct tpl_value tpl_bool(bool b);
struct tpl_value tpl_int(int64_t i);
struct tpl_value tpl_float(double f);
struct tpl_value tpl_string(const char *s);
struct tpl_value tpl_text(const char *s, size_t n);
struct tpl_value tpl_labels(const struct labels *labels); /* NULL: an empty map */
/* False if there is no such key; out is then the zero value of the element type. */
bool tpl_map_get(const struct tpl_value *map, const char *key, size_t n, struct tpl_value *out);
/* What `if` goes by. */
bool tpl_is_true(const struct tpl_value *v);
/* Appends v as {{ v }} prints it. */
void tpl_print(const struct tpl_value *v, struct buf *out);

/* ---- functions, fields and methods ---- */
/* What a function may use while it runs. */
struct tpl_call {
    struct arena *arena;
    const void *env; /* of the binding */
    int64_t steps_left;
    const char *error; /* of the failed function, without its place */
};

#define TPL_PARAMS_MAX 3

struct tpl_function {
    const char *name;
    uint8_t args;     /* needed */
    bool is_variadic; /* more of params[args] may follow */
    bool is_field;    /* of a type: no call, takes no argument */
    const struct tpl_type *params[TPL_PARAMS_MAX];
    /* Arguments have the types of params. Of a field or method the first is the value it is of,
     * which neither args nor params tells. */
    bool (*run)(struct tpl_call *call, const struct tpl_value *args, size_t n,
                struct tpl_value *out);
};

/* Fills call->error and returns false. */
bool tpl_fail(struct tpl_call *call, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Charges work that is more than a step; false with an error if there is no budget left. */
bool tpl_charge(struct tpl_call *call, int64_t steps);
/* An empty buffer for a text of at most TPL_STRING_MAX bytes, and the text as a value. */
void tpl_begin_text(struct buf *b);
bool tpl_end_text(struct tpl_call *call, struct buf *b, struct tpl_value *out);

/* ---- templates ---- */
struct tpl_tree;

/* functions are looked for before Go's own. NULL with Go's text when it is no valid template. */
struct tpl_tree *tpl_parse(const char *name, const char *text, const struct tpl_function *functions,
                           size_t function_count, struct err *err) MUST_CHECK;
void tpl_destroy(struct tpl_tree **tree);
/* out is the result, or, with false, Go's text of the error; it lives in the arena. */
bool tpl_execute(const struct tpl_tree *tree, const struct tpl_value *root, const void *env,
                 struct arena *arena, const char **out) MUST_CHECK;

#endif
