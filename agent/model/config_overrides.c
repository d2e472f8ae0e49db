/*
 * config_overrides.c: rule_overrides while they are read. Whether there is such an alert is known
 * only when the rule files are read (rules/overrides.c), so each override keeps its place.
 */
#include "config_internal.h"

#include <math.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

static void place_set(struct config_place *place, const struct origin *at)
{
    mem_free(place->file);
    *place = (struct config_place){
        .file = mem_strdup(at->file != NULL ? at->file : ""), .line = at->line, .col = at->col};
}

static bool percent(const char *text, double *out)
{
    char number[32];
    size_t n = strlen(text);
    if (n < 2 || n > sizeof(number) || text[n - 1] != '%')
        return false;
    memcpy(number, text, n - 1);
    number[n - 1] = '\0';
    if (!str_parse_double(number, out) || !isfinite(*out))
        return false;
    *out /= 100;
    return true;
}

bool config_threshold_parse(const char *text, struct config_threshold *out)
{
    int64_t n;
    if (!str_copy(out->text, sizeof(out->text), text))
        return false;
    if (str_parse_double(text, &out->value) && isfinite(out->value)) {
        out->kind = THRESHOLD_NUMBER;
    } else if (percent(text, &out->value)) {
        out->kind = THRESHOLD_FRACTION;
    } else if (str_parse_duration(text, &n)) {
        out->kind = THRESHOLD_SECONDS;
        out->value = (double)n / 1000;
    } else if (str_parse_size(text, &n)) {
        out->kind = THRESHOLD_BYTES;
        out->value = (double)n;
    } else {
        return false;
    }
    return true;
}

static struct config_override *override_find(struct config_build *b, const char *alert, size_t *at)
{
    struct config_override *all = b->overrides.array;
    for (*at = 0; *at < b->overrides.n; (*at)++)
        if (str_eq(all[*at].alert, alert))
            return &all[*at];
    return NULL;
}

struct config_override *config_override_at(struct config_build *b, const struct yaml_node *key,
                                           struct item **item)
{
    size_t i;
    struct origin at = config_origin(b, key);
    struct config_override *override = override_find(b, key->text, &i);
    if (override == NULL && (key->len == 0 || key->len > ALERT_NAME_MAX)) {
        config_complain(b, &at, "the name of an alert must have 1 to %d bytes", ALERT_NAME_MAX);
        return NULL;
    }
    if (override == NULL && b->overrides.n >= b->overrides.max) {
        if (!b->overrides.full)
            config_complain(b, &at, "more than %d overrides", OVERRIDES_MAX);
        b->overrides.full = true;
        return NULL;
    }
    if (override == NULL) {
        override = config_list_add(b, &b->overrides, &at);
        override->alert = mem_strdup(key->text);
        override->for_ms = override->keep_firing_ms = -1;
    }
    place_set(&override->at, &at);
    *item = &b->overrides.items[i];
    return override;
}

void config_override_end(struct config_build *b, struct config_override *override,
                         const struct item *item)
{
    const struct origin *at = &item->origins[config_row(b->overrides.table, "threshold")];
    if (at->file != NULL)
        place_set(&override->threshold_at, at);
}

void config_overrides_free(struct config_override *overrides, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        mem_free(overrides[i].alert);
        mem_free(overrides[i].severity);
        mem_free(overrides[i].at.file);
        mem_free(overrides[i].threshold_at.file);
    }
    mem_free(overrides);
}
