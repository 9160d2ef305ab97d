/* SPDX-License-Identifier: Apache-2.0 */
/* Texts that are put together, and delays that grow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "oci/backoff.h"
#include "oci/text.h"

#include <stdlib.h>
#include <string.h>

static void pieces_become_one_text(void **state)
{
    (void)state;
    struct text t = {0};
    char *s;
    s = text_take(&t);
    assert_string_equal(s, "");
    free(s);
    text_add(&t, "a=");
    text_add_escaped(&t, "b c/\xc3\xa9&~", 7);
    text_add_bytes(&t, "xyz", 2);
    s = text_take(&t);
    assert_string_equal(s, "a=b%20c%2F%C3%A9%26xy");
    free(s);
    text_add_escaped(&t, "\0-", 2);
    s = text_take(&t);
    assert_string_equal(s, "%00-");
    free(s);
}

static void a_text_grows_at_any_edge(void **state)
{
    (void)state;
    for (size_t first = 250; first < 262; first++) {
        struct text t = {0};
        char block[300];
        memset(block, 'x', sizeof(block));
        text_add_bytes(&t, block, first);
        text_add_bytes(&t, block, sizeof(block));
        text_add(&t, "end");
        char *s = text_take(&t);
        assert_int_equal(strlen(s), first + sizeof(block) + 3);
        assert_string_equal(s + first + sizeof(block), "end");
        free(s);
    }
}

static void delays_double_up_to_a_bound(void **state)
{
    (void)state;
    assert_int_equal(backoff_jitter(500, 1, 0), 250);
    assert_int_equal(backoff_jitter(500, 1, UINT16_MAX), 750);
    assert_int_equal(backoff_jitter(500, 2, 0), 500);
    assert_int_equal(backoff_jitter(500, 4, UINT16_MAX), 6000);
    assert_int_equal(backoff_jitter(500, 20, 0), BACKOFF_MAX_MS / 2);
    assert_int_equal(backoff_jitter(3600000, 1, UINT16_MAX), BACKOFF_MAX_MS / 2 * 3);
    assert_int_equal(backoff_jitter(1, 20, 0), BACKOFF_MAX_MS / 2);
    uint64_t first = backoff_ms(10000, 1);
    int others = 0;
    for (int i = 0; i < 50; i++) {
        uint64_t delay = backoff_ms(10000, 1);
        assert_true(delay >= 5000 && delay <= 15000);
        others += delay != first;
    }
    assert_true(others > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_become_one_text),
        cmocka_unit_test(a_text_grows_at_any_edge),
        cmocka_unit_test(delays_double_up_to_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
