/*
 * What the rules decided is shown, on the page and on /metrics, only when it is durable or has been
 * sent from memory: an alert that somebody has seen must not be forgotten by a crash. Each flush of
 * alerts takes its picture of alerts and samples; pictures are shown in the order of the commits.
 * Invariant: while a picture waits, a newer one is never shown before it, with or without a commit
 * of its own.
 */
#include "app_private.h"

#include <utlist.h>

struct show {
    struct alert_list *alerts;
    struct batch **batches;
    size_t count;
    struct show *prev, *next;
};

static void free_show(struct app *app, struct show *show)
{
    DL_DELETE(app->shows, show);
    for (size_t i = 0; i < show->count; i++)
        batch_unref(show->batches[i]);
    alert_list_unref(show->alerts);
    mem_free(show->batches);
    mem_free(show);
}

/* The newest that waits, or a new one. */
static struct show *picture(struct app *app, bool is_new)
{
    if (!is_new && app->shows != NULL)
        return app->shows->prev; /* of the first: the last */
    struct show *show = mem_alloc(sizeof(*show));
    DL_APPEND(app->shows, show);
    return show;
}

void app_show_later(struct app *app, bool waits, wall_ms now)
{
    bool is_alone = app->shows == NULL && !waits;
    if (app->uncommitted_count == 0 && !waits)
        return;
    struct show *show = picture(app, waits);
    alert_list_unref(show->alerts);
    show->alerts = rules_list(app->rules, now);
    show->batches = mem_realloc_array(show->batches, show->count + app->uncommitted_count + 1,
                                      sizeof(struct batch *));
    for (size_t i = 0; i < app->uncommitted_count; i++)
        show->batches[show->count++] = app->uncommitted[i];
    app->uncommitted_count = 0;
    if (is_alone)
        app_show_next(app);
}

void app_show_next(struct app *app)
{
    struct show *show = app->shows;
    if (show == NULL)
        return;
    for (size_t i = 0; i < show->count; i++)
        snapshots_put(app->snapshots, show->batches[i]);
    alert_board_put(app->alerts, show->alerts);
    show->alerts = NULL;
    free_show(app, show);
}

void app_show_drop(struct app *app)
{
    while (app->shows != NULL)
        free_show(app, app->shows);
    for (size_t i = 0; i < app->uncommitted_count; i++)
        batch_unref(app->uncommitted[i]);
    mem_free(app->uncommitted);
}
