/* test_verdict.c: words of roles, states and causes; the gate's image is released whole. */
#include "pgvigil/model/verdict.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/model/gate_report.h"

static void words(void **state)
{
    (void)state;
    assert_string_equal(node_role_name(ROLE_UNKNOWN), "unknown");
    assert_string_equal(node_role_name(ROLE_PRIMARY), "primary");
    assert_string_equal(node_role_name(ROLE_REPLICA), "replica");
    assert_string_equal(fresh_state_name(FRESH_UNKNOWN), "unknown");
    assert_string_equal(fresh_state_name(FRESH_FRESH), "fresh");
    assert_string_equal(fresh_state_name(FRESH_STALE), "stale");
    assert_string_equal(fresh_state_name(FRESH_DOWN), "down");
    assert_string_equal(fresh_state_name(FRESH_DIVERGED), "diverged");
    assert_string_equal(fresh_state_name(FRESH_EXCLUDED), "excluded");
    assert_string_equal(fresh_cause_name(CAUSE_NONE), "");
    assert_string_equal(fresh_cause_name(CAUSE_STARTING), "starting");
    assert_string_equal(fresh_cause_name(CAUSE_CATCHING_UP), "catching_up");
    assert_string_equal(fresh_cause_name(CAUSE_REPLAY_PAUSED), "replay_paused");
    assert_string_equal(fresh_cause_name(CAUSE_LINK_DOWN), "link_down");
    assert_string_equal(fresh_cause_name(CAUSE_ABSENT), "absent");
    assert_string_equal(fresh_cause_name(CAUSE_DELAYED), "delayed");
    assert_string_equal(unobservable_name(UNOBSERVABLE_NOT), "");
    assert_string_equal(unobservable_name(UNOBSERVABLE_LOGIN), "login");
    assert_string_equal(unobservable_name(UNOBSERVABLE_GRANT), "grant");
    assert_string_equal(unobservable_name(UNOBSERVABLE_CONFIG), "config");
    assert_string_equal(unobservable_name(UNOBSERVABLE_NAME), "name");
    assert_string_equal(unobservable_name(UNOBSERVABLE_SATURATED), "saturated");
    assert_string_equal(unobservable_name(UNOBSERVABLE_BLIND), "blind");
    assert_string_equal(unobservable_name(UNOBSERVABLE_STREAMING), "streaming");
    assert_string_equal(unobservable_name(UNOBSERVABLE_NEVER_SEEN), "never_seen");
}

static void image_is_released(void **state)
{
    struct gate_image image = {.node_count = 2, .timeline_count = 2};
    (void)state;
    image.nodes = mem_alloc_array(2, sizeof(*image.nodes));
    image.timelines = mem_alloc_array(2, sizeof(*image.timelines));
    image.timelines[0].entries = mem_alloc_array(3, sizeof(struct timeline_entry));
    gate_image_free(&image); /* the leak checker looks on */
    assert_null(image.nodes);
    assert_int_equal(image.timeline_count, 0);
    gate_image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),
        cmocka_unit_test(image_is_released),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
