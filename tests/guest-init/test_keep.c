/* SPDX-License-Identifier: Apache-2.0 */
/* The last bytes of a stream and their offsets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "guest-init/agent.h"
#include "guest-init/detached.h"
#include "guest-init/exec.h"

#include <errno.h>
#include <string.h>

static void expect(const struct keep *k, uint64_t from, const char *text)
{
    char out[64] = "";
    assert_int_equal(keep_read(k, from, out, sizeof(out)), strlen(text));
    assert_memory_equal(out, text, strlen(text));
}

static void the_last_bytes_are_found_by_their_offsets(void **state)
{
    (void)state;
    struct keep k;
    assert_int_equal(keep_init(&k, 8), 0);
    expect(&k, 0, "");
    keep_put(&k, "abcd", 4);
    assert_int_equal(keep_start(&k), 0);
    expect(&k, 0, "abcd");
    expect(&k, 3, "d");
    expect(&k, 4, "");
    keep_put(&k, "efghijkl", 8); /* pushes all before out */
    assert_int_equal(keep_start(&k), 4);
    assert_int_equal(k.end, 12);
    keep_put(&k, "mn", 2);
    expect(&k, 6, "ghijklmn");
    expect(&k, 13, "n");
    keep_put(&k, "0123456789", 10); /* more than there is room for */
    assert_int_equal(k.end, 24);
    expect(&k, 16, "23456789");
    char two[2];
    assert_int_equal(keep_read(&k, 17, two, 2), 2);
    assert_memory_equal(two, "34", 2);
    keep_fini(&k);
    keep_fini(&k);
}

static void trimmed_it_holds_the_same_with_less(void **state)
{
    (void)state;
    struct keep k;
    assert_int_equal(keep_init(&k, 100), 0);
    for (int i = 0; i < 9; i++)
        keep_put(&k, "0123456789abcde", 15);
    keep_trim(&k); /* full: nothing to give back */
    assert_int_equal(k.ring.cap, 100);
    keep_fini(&k);
    assert_int_equal(keep_init(&k, 100), 0);
    keep_put(&k, "abc", 3);
    keep_trim(&k);
    assert_int_equal(k.ring.cap, 3);
    assert_int_equal(k.end, 3);
    expect(&k, 0, "abc");
    expect(&k, 2, "c");
    keep_fini(&k);
}

static void nothing_can_be_kept(void **state)
{
    (void)state;
    struct keep k;
    assert_int_equal(keep_init(&k, 0), 0);
    keep_put(&k, "abc", 3);
    assert_int_equal(keep_start(&k), 3);
    expect(&k, 3, "");
    keep_trim(&k);
    keep_fini(&k);
    assert_int_equal(k.end, 3);
}

/* More than there can be is NULL, also with AddressSanitizer. */
#define TOO_MUCH (SIZE_MAX / 2)
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void what_there_was_no_memory_for_is_not_charged(void **state)
{
    (void)state;
    static struct agent agent = {.kept_bytes = 100};
    static struct exec x = {.agent = &agent};
    assert_int_equal(keep_init(&x.keep[0], TOO_MUCH), -ENOMEM);
    assert_int_equal(x.keep[0].ring.cap, 0);
    keep_put(&x.keep[0], "abc", 3); /* it is one that keeps nothing */
    assert_int_equal(keep_start(&x.keep[0]), 3);
    detached_fini(&x);
    assert_int_equal(agent.kept_bytes, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_bytes_are_found_by_their_offsets),
        cmocka_unit_test(trimmed_it_holds_the_same_with_less),
        cmocka_unit_test(nothing_can_be_kept),
        cmocka_unit_test(what_there_was_no_memory_for_is_not_charged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
