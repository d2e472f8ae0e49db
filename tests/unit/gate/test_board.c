/*
 * The board: what was published is what readers get, whole, whatever the writer does meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/gate/board.h"

#define NODES  5
#define ROUNDS 20000

/* Every field tells the round, so that a mixture of two rounds shows. */
static void fill(struct verdict *v, int64_t round, size_t i)
{
    memset(v, 0, sizeof(*v));
    snprintf(v->node, sizeof(v->node), "n%zu", i);
    snprintf(v->reason, sizeof(v->reason), "r%lld", (long long)round);
    memset(v->evidence, 'a' + (int)(round % 26), sizeof(v->evidence) - 1);
    v->lag_ms = v->lag_bytes = v->decided_at.ms = round;
}

static bool is_whole(const struct verdict *v)
{
    char reason[REASON_MAX];
    snprintf(reason, sizeof(reason), "r%lld", (long long)v->lag_ms);
    for (size_t i = 0; i < sizeof(v->evidence) - 1; i++) {
        if (v->evidence[i] != 'a' + (int)(v->lag_ms % 26))
            return false;
    }
    return v->lag_bytes == v->lag_ms && v->decided_at.ms == v->lag_ms && str_eq(v->reason, reason);
}

static void publish(struct board *board, int64_t round, size_t n)
{
    struct verdict v[NODES];
    const struct verdict *pointers[NODES];
    struct cluster_verdict c = {.fresh_count = (int)round};
    const struct cluster_verdict *clusters[] = {&c};
    for (size_t i = 0; i < n; i++) {
        fill(&v[i], round, i);
        pointers[i] = &v[i];
    }
    str_copy(c.reason, sizeof(c.reason), v[0].reason);
    board_publish(board, pointers, n, clusters, 1, (struct now){{round}, {-round}});
}

static void test_empty(void **state)
{
    (void)state;
    struct board *board = board_create();
    struct verdict *nodes;
    struct cluster_verdict *clusters;
    assert_int_equal(board_nodes(board, &nodes), 0);
    assert_int_equal(board_clusters(board, &clusters), 0);
    assert_false(mono_is_set(board_ticked_at(board).mono));
    mem_free(nodes);
    mem_free(clusters);
    board_destroy(&board);
    assert_null(board);
    board_destroy(&board);
}

static void test_published_is_read(void **state)
{
    (void)state;
    static const size_t counts[] = {1, NODES, 2, NODES};
    struct board *board = board_create();
    for (size_t round = 0; round < ARRAY_LEN(counts); round++) {
        struct verdict *nodes, want;
        struct cluster_verdict *clusters;
        publish(board, (int64_t)round + 7, counts[round]);
        assert_int_equal(board_nodes(board, &nodes), counts[round]);
        for (size_t i = 0; i < counts[round]; i++) {
            fill(&want, (int64_t)round + 7, i);
            assert_memory_equal(&nodes[i], &want, sizeof(want));
        }
        assert_int_equal(board_clusters(board, &clusters), 1);
        assert_int_equal(clusters[0].fresh_count, round + 7);
        assert_string_equal(clusters[0].reason, nodes[0].reason);
        assert_int_equal(board_ticked_at(board).mono.ms, round + 7);
        assert_int_equal(board_ticked_at(board).wall.ms, -(int64_t)(round + 7));
        mem_free(nodes);
        mem_free(clusters);
    }
    board_destroy(&board);
}

struct reader {
    struct board *board;
    _Atomic bool *done;
    size_t reads, torn, missing, backwards;
};

static void *read_all(void *arg)
{
    struct reader *r = arg;
    int64_t last = 0;
    while (!*r->done) {
        struct verdict *nodes;
        size_t n = board_nodes(r->board, &nodes);
        struct now at = board_ticked_at(r->board);
        r->missing += n != NODES;
        r->torn += at.mono.ms != -at.wall.ms;
        for (size_t i = 0; i < n; i++)
            r->torn += !is_whole(&nodes[i]);
        r->backwards += n > 0 && nodes[0].lag_ms < last;
        last = n > 0 ? nodes[0].lag_ms : last;
        r->reads++;
        mem_free(nodes);
    }
    return NULL;
}

static void test_readers_beside_a_writer(void **state)
{
    (void)state;
    struct board *board = board_create();
    _Atomic bool done = false;
    struct reader readers[2] = {{.board = board, .done = &done}, {.board = board, .done = &done}};
    pthread_t threads[2];
    publish(board, 1, NODES);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_all, &readers[i]), 0);
    for (int64_t round = 2; round < ROUNDS; round++)
        publish(board, round, NODES);
    done = true;
    for (size_t i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_true(readers[i].reads > 0);
        assert_int_equal(readers[i].torn, 0);
        assert_int_equal(readers[i].missing, 0);
        assert_int_equal(readers[i].backwards, 0);
    }
    board_destroy(&board);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_published_is_read),
        cmocka_unit_test(test_readers_beside_a_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
