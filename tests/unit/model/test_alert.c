/* test_alert.c: copies of alerts, lists, the board between threads. */
#include "pgvigil/model/alert.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void copies_are_deep(void **state)
{
    char node[] = "pg1", summary[] = "lag is high", reason[] = "removed";
    struct label labels[] = {{"alertname", "Lag"}, {"node", node}};
    struct label annotations[] = {{"summary", summary}};
    struct alert a = {.state = ALERT_FIRING,
                      .fingerprint = 42,
                      .labels = {.n = 2, .v = labels},
                      .annotations = {.n = 1, .v = annotations},
                      .value = 1.5,
                      .active_at = {1},
                      .fired_at = {2},
                      .resolved_at = WALL_UNSET,
                      .keep_until = WALL_UNSET,
                      .held = true,
                      .group = "database",
                      .rule = "Lag",
                      .expr = "x > 1",
                      .reason = reason};
    struct alert *copy = alert_copy(&a);
    (void)state;
    node[0] = summary[0] = reason[0] = 'X';
    assert_int_equal(copy->state, ALERT_FIRING);
    assert_int_equal(copy->fingerprint, 42);
    assert_string_equal(labels_get(&copy->labels, "node"), "pg1");
    assert_string_equal(labels_get(&copy->annotations, "summary"), "lag is high");
    assert_string_equal(copy->reason, "removed");
    assert_string_equal(copy->group, "database");
    assert_string_equal(copy->expr, "x > 1");
    assert_true(copy->held && copy->value == 1.5 && copy->fired_at.ms == 2);
    struct alert *again = alert_copy(copy);
    alert_destroy(&copy);
    assert_null(copy);
    assert_string_equal(labels_get(&again->labels, "alertname"), "Lag");
    alert_destroy(&again);
    alert_destroy(&again);
}

static void missing_texts_become_empty(void **state)
{
    struct alert a = {0};
    struct alert *copy = alert_copy(&a);
    (void)state;
    assert_string_equal(copy->reason, "");
    assert_string_equal(copy->rule, "");
    assert_int_equal(copy->labels.n, 0);
    alert_destroy(&copy);
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(alert_state_name(ALERT_INACTIVE), "inactive");
    assert_string_equal(alert_state_name(ALERT_PENDING), "pending");
    assert_string_equal(alert_state_name(ALERT_FIRING), "firing");
    assert_string_equal(alert_state_name(ALERT_RESOLVED), "resolved");
}

static struct alert_list *list_of(int64_t at)
{
    struct label label = {"alertname", "Lag"};
    struct alert a = {.labels = {.n = 1, .v = &label}, .value = (double)at};
    struct alert_list *l = alert_list_create((wall_ms){at}, 1);
    l->alerts[0] = alert_copy(&a);
    return l;
}

static void *look(void *arg)
{
    struct alert_board *board = arg;
    for (;;) {
        struct alert_list *l = alert_board_get(board);
        bool last = l->at.ms == 5000;
        bool torn = l->n == 1 && l->alerts[0]->value != (double)l->at.ms;
        alert_list_unref(l);
        if (torn)
            return arg;
        if (last)
            return NULL;
    }
}

static void the_board_shows_whole_lists(void **state)
{
    struct alert_board *board = alert_board_create();
    struct alert_list *first = alert_board_get(board);
    pthread_t reader;
    void *torn;
    (void)state;
    assert_int_equal(first->n, 0);
    assert_int_equal(pthread_create(&reader, NULL, look, board), 0);
    for (int64_t i = 1; i <= 5000; i++)
        alert_board_put(board, list_of(i));
    pthread_join(reader, &torn);
    assert_null(torn);
    assert_int_equal(first->n, 0); /* held over all changes */
    alert_list_unref(first);
    struct alert_list *l = alert_list_ref(alert_board_get(board));
    alert_list_unref(l);
    alert_board_destroy(&board);
    assert_string_equal(labels_get(&l->alerts[0]->labels, "alertname"), "Lag");
    alert_list_unref(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_are_deep),
        cmocka_unit_test(missing_texts_become_empty),
        cmocka_unit_test(names),
        cmocka_unit_test(the_board_shows_whole_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
