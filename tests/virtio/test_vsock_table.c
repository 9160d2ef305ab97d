/* SPDX-License-Identifier: Apache-2.0 */
/* The table of connections: found by both ports, removed in any order, not slow for chosen ports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "virtio/vsock_table.h"

#define MANY 4096

static int set_up(void **state)
{
    static struct vsock_table table;
    *state = &table;
    return vsock_table_init(&table, MANY);
}

static int tear_down(void **state)
{
    vsock_table_fini(*state);
    return 0;
}

static void both_ports_must_match(void **state)
{
    struct vsock_node a = {.guest_port = 1, .host_port = 2}, b = {.guest_port = 2, .host_port = 1},
                      c = {.guest_port = 1, .host_port = 1};
    vsock_table_insert(*state, &a);
    vsock_table_insert(*state, &b);
    vsock_table_insert(*state, &c);
    assert_ptr_equal(vsock_table_find(*state, 1, 2), &a);
    assert_ptr_equal(vsock_table_find(*state, 2, 1), &b);
    assert_ptr_equal(vsock_table_find(*state, 1, 1), &c);
    assert_null(vsock_table_find(*state, 2, 2));
    vsock_table_remove(*state, &a);
    assert_null(vsock_table_find(*state, 1, 2));
    assert_ptr_equal(vsock_table_find(*state, 2, 1), &b);
}

static unsigned longest_chain(const struct vsock_table *t)
{
    unsigned longest = 0;
    for (size_t i = 0; i < (size_t)1 << t->bits; i++) {
        unsigned len = 0;
        for (const struct vsock_node *n = t->bucket[i]; n; n = n->next)
            len++;
        longest = len > longest ? len : longest;
    }
    return longest;
}

static void thousands_are_found_and_removed(void **state)
{
    static struct vsock_node node[MANY];
    struct vsock_table *t = *state;
    for (uint32_t i = 0; i < MANY; i++) {
        node[i] = (struct vsock_node){.guest_port = 1024 + i % 7, .host_port = (UINT32_C(1) << 30) + i};
        vsock_table_insert(t, &node[i]);
    }
    assert_int_equal(t->len, MANY);
    for (uint32_t i = 0; i < MANY; i++)
        assert_ptr_equal(vsock_table_find(t, node[i].guest_port, node[i].host_port), &node[i]);
    for (uint32_t i = 0; i < MANY; i += 2)
        vsock_table_remove(t, &node[i]);
    for (uint32_t i = 0; i < MANY; i++) {
        struct vsock_node *found = vsock_table_find(t, node[i].guest_port, node[i].host_port);
        assert_ptr_equal(found, i % 2 ? &node[i] : NULL);
    }
    for (uint32_t i = 1; i < MANY; i += 2)
        vsock_table_remove(t, &node[i]);
    assert_int_equal(t->len, 0);
}

/* Ports in steps of a power of two defeat a table that takes the low bits. Random placement of 4096 nodes in
 * 4096 buckets has chains of about 7; 64 would be a defect. */
static void regular_ports_do_not_share_a_bucket(void **state)
{
    static struct vsock_node node[MANY];
    (void)state;
    for (unsigned round = 0; round < 256; round++) {
        struct vsock_table t;
        assert_int_equal(vsock_table_init(&t, MANY), 0);
        for (uint32_t i = 0; i < MANY; i++) {
            node[i] = (struct vsock_node){.guest_port = i << round % 20, .host_port = i << round % 18};
            vsock_table_insert(&t, &node[i]);
        }
        assert_true(longest_chain(&t) < 64);
        vsock_table_fini(&t);
    }
}

static void two_tables_place_nodes_differently(void **state)
{
    struct vsock_table *a = *state, b;
    assert_int_equal(vsock_table_init(&b, MANY), 0);
    assert_memory_not_equal(a->seed, b.seed, sizeof(a->seed));
    vsock_table_fini(&b);
    vsock_table_fini(&b); /* safe twice */
}

static void capacities_at_the_edges_work(void **state)
{
    (void)state;
    static const uint32_t capacity[] = {0, 1, 16, 17, UINT32_MAX};
    for (size_t i = 0; i < sizeof(capacity) / sizeof(capacity[0]); i++) {
        struct vsock_table t;
        struct vsock_node n = {.guest_port = UINT32_MAX, .host_port = UINT32_MAX};
        assert_int_equal(vsock_table_init(&t, capacity[i]), 0);
        vsock_table_insert(&t, &n);
        assert_ptr_equal(vsock_table_find(&t, UINT32_MAX, UINT32_MAX), &n);
        vsock_table_fini(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_ports_must_match, set_up, tear_down),
        cmocka_unit_test_setup_teardown(thousands_are_found_and_removed, set_up, tear_down),
        cmocka_unit_test(regular_ports_do_not_share_a_bucket),
        cmocka_unit_test_setup_teardown(two_tables_place_nodes_differently, set_up, tear_down),
        cmocka_unit_test(capacities_at_the_edges_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
