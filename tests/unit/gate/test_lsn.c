/* Log sequence numbers: what is read, what is refused, and the header bytes that insert counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pgvigil/gate/lsn.h"

static void test_parse(void **state)
{
    static const struct {
        const char *text;
        bool is_ok;
        lsn_t lsn;
    } cases[] = {
        {"0/5A3C2D8", true, 0x5A3C2D8},
        {"0/0", true, 0},
        {"16/B374D848", true, UINT64_C(0x16B374D848)},
        {"16/b374d848", true, UINT64_C(0x16B374D848)},
        {"FFFFFFFF/FFFFFFFF", true, UINT64_MAX},
        {"1/05A3C2D8", true, UINT64_C(0x105A3C2D8)},
        {"", false, 0},
        {NULL, false, 0},
        {"5A3C2D8", false, 0},
        {"/5A", false, 0},
        {"0/", false, 0},
        {"0/5A3C2D8 ", false, 0},
        {" 0/5A", false, 0},
        {"0/5G", false, 0},
        {"0/123456789", false, 0},
        {"123456789/0", false, 0},
        {"-1/0", false, 0},
        {"0/0/0", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        lsn_t lsn = 0;
        bool is_ok = lsn_parse(cases[i].text, &lsn);
        if (is_ok != cases[i].is_ok || (is_ok && lsn != cases[i].lsn))
            fail_msg("'%s' gave %d %llx", cases[i].text != NULL ? cases[i].text : "NULL", is_ok,
                     (unsigned long long)lsn);
    }
}

static void test_format_reads_back(void **state)
{
    static const lsn_t lsns[] = {0, 1, 0x5A3C2D8, UINT64_C(0x100000000), UINT64_MAX};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lsns); i++) {
        char text[LSN_TEXT_MAX];
        lsn_t back = 1;
        assert_true(lsn_parse(lsn_format(lsns[i], text), &back));
        assert_true(back == lsns[i]);
    }
    char text[LSN_TEXT_MAX];
    assert_string_equal(lsn_format(UINT64_C(0x16B374D848), text), "16/B374D848");
}

static void test_normalise_insert(void **state)
{
    static const struct {
        lsn_t in, out;
    } cases[] = {
        {0x6000028, 0x6000000},                         /* segment start, as measured */
        {0x6000000, 0x6000000}, {0x6002018, 0x6002000}, /* page start */
        {0x6002028, 0x6002028},                         /* a record that ends there */
        {0x6000018, 0x6000000}, {0x6000060, 0x6000060}, {0, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_true(lsn_normalise_insert(cases[i].in) == cases[i].out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_format_reads_back),
        cmocka_unit_test(test_normalise_insert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
