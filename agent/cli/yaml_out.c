/*
 * Quotes more often than needed: `on`, `5` and `1_000` are other things to one reader or another.
 */
#include "yaml_out.h"

#include <ctype.h>

#include "pgvigil/base/str.h"

static bool is_reserved(const char *text)
{
    static const char *const words[] = {"true", "false", "yes", "no", "on",
                                        "off",  "null",  "y",   "n"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcasecmp(text, words[i]) == 0)
            return true;
    return false;
}

/* Begins with a letter or a slash, or is a number with its unit; no letter of YAML's in it. */
static bool is_plain(const char *text)
{
    static const char also[] = "_./-*%";
    unsigned char first = (unsigned char)text[0];
    bool has_unit = isdigit(first) && text[0] != '0' && strpbrk(text, "smhdwy%B") != NULL &&
                    text[strspn(text, "0123456789smhdwykKMGTiB%")] == '\0';
    if (is_reserved(text) || !(isalpha(first) || first == '/' || has_unit))
        return false;
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c >= 0x80 || (!isalnum(c) && strchr(also, *text) == NULL))
            return false;
    }
    return true;
}

/* What single quotes hold without an escape but their own. */
static bool fits_single(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return false;
    return true;
}

static void add_single(struct buf *out, const char *text)
{
    buf_add_char(out, '\'');
    for (; *text != '\0'; text++)
        buf_add_str(out, *text == '\'' ? "''" : (char[]){*text, '\0'});
    buf_add_char(out, '\'');
}

static void add_quoted(struct buf *out, const char *text)
{
    buf_add_char(out, '"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c == '\n')
            buf_add_str(out, "\\n");
        else if (c == '\t')
            buf_add_str(out, "\\t");
        else if (c < ' ' || c == 0x7f)
            buf_printf(out, "\\x%02x", c);
        else
            buf_add_char(out, *text);
    }
    buf_add_char(out, '"');
}

void yaml_out_text(struct buf *out, const char *text)
{
    if (is_plain(text))
        buf_add_str(out, text);
    else if (strpbrk(text, "\"\\") != NULL && fits_single(text))
        add_single(out, text);
    else
        add_quoted(out, text);
}

/* Lines that a block shows as they are: printable, not empty at the ends, no blank before them. */
static bool fits_block(const char *text)
{
    size_t n = strlen(text);
    if (strchr(text, '\n') == NULL || text[0] == ' ' || text[0] == '\n')
        return false;
    if (n >= 2 && text[n - 1] == '\n' && (text[n - 2] == '\n' || text[n - 2] == ' '))
        return false;
    for (; *text != '\0'; text++)
        if (((unsigned char)*text < ' ' && *text != '\n') || *text == 0x7f)
            return false;
    return true;
}

void yaml_out_block(struct buf *out, const char *text, int indent)
{
    if (!fits_block(text)) {
        yaml_out_text(out, text);
        return;
    }
    buf_add_str(out, text[strlen(text) - 1] == '\n' ? "|" : "|-");
    while (*text != '\0') {
        size_t n = strcspn(text, "\n");
        if (n > 0)
            buf_printf(out, "\n%*s%.*s", indent, "", (int)n, text);
        else
            buf_add_char(out, '\n');
        text += n + (text[n] == '\n');
    }
}

void yaml_out_comment(struct buf *out, const char *text)
{
    buf_add_str(out, "# ");
    for (; *text != '\0'; text++)
        buf_add_char(out, (unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text);
}
