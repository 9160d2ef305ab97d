/* SPDX-License-Identifier: Apache-2.0 */
/* The index of names: what is put is found, what is gone is passed over and can come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "oci/tree.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static uint32_t put(struct tree *t, uint32_t parent, const char *name)
{
    uint32_t node;
    assert_int_equal(tree_put(t, parent, name, strlen(name), &node), 0);
    tree_node(t, node)->type = 1;
    return node;
}

static unsigned count(struct tree *t, uint32_t folder)
{
    unsigned n = 0;
    for (uint32_t c = tree_first(t, folder); c != TREE_NONE; c = tree_next(t, c))
        n++;
    return n;
}

static void names_are_found_in_their_folder(void **state)
{
    (void)state;
    struct tree t;
    assert_int_equal(tree_init(&t), 0);
    assert_int_equal(tree_node(&t, TREE_ROOT)->parent, TREE_ROOT);
    assert_int_equal(tree_node(&t, TREE_ROOT)->name_len, 0);
    assert_non_null(tree_name(&t, TREE_ROOT));
    uint32_t a = put(&t, TREE_ROOT, "a"), b = put(&t, a, "a"), c = put(&t, b, "a");
    assert_int_equal(tree_find(&t, TREE_ROOT, "a", 1), a);
    assert_int_equal(tree_find(&t, a, "a", 1), b);
    assert_int_equal(tree_find(&t, b, "a", 1), c);
    assert_int_equal(tree_find(&t, c, "a", 1), TREE_NONE);
    assert_int_equal(tree_find(&t, a, "aa", 2), TREE_NONE);
    assert_int_equal(tree_find(&t, a, "", 0), TREE_NONE);
    assert_int_equal(put(&t, a, "a"), b);
    assert_memory_equal(tree_name(&t, b), "a", 1);
    tree_free(&t);
    tree_free(&t);
}

static void names_have_bounds(void **state)
{
    (void)state;
    struct tree t;
    char name[256];
    uint32_t node;
    memset(name, 'n', sizeof(name));
    assert_int_equal(tree_init(&t), 0);
    assert_int_equal(tree_put(&t, TREE_ROOT, name, 255, &node), 0);
    assert_int_equal(tree_put(&t, TREE_ROOT, name, 256, &node), -ENAMETOOLONG);
    assert_int_equal(tree_put(&t, TREE_ROOT, name, 0, &node), -ENAMETOOLONG);
    assert_int_equal(tree_find(&t, TREE_ROOT, name, 256), TREE_NONE);
    tree_free(&t);
}

/* Beyond several chunks of nodes and names, and several tables. */
static void many_names_are_found(void **state)
{
    (void)state;
    struct tree t;
    enum { FOLDERS = 50, NAMES = 1200 };
    static uint32_t nodes[FOLDERS][NAMES];
    char name[40];
    assert_int_equal(tree_init(&t), 0);
    for (int f = 0; f < FOLDERS; f++) {
        snprintf(name, sizeof(name), "folder%d", f);
        uint32_t folder = put(&t, TREE_ROOT, name);
        for (int n = 0; n < NAMES; n++) {
            snprintf(name, sizeof(name), "name-%*d", n % 20, n);
            nodes[f][n] = put(&t, folder, name);
        }
    }
    assert_int_equal(count(&t, TREE_ROOT), FOLDERS);
    for (int f = 0; f < FOLDERS; f++) {
        snprintf(name, sizeof(name), "folder%d", f);
        uint32_t folder = tree_find(&t, TREE_ROOT, name, strlen(name));
        assert_int_equal(count(&t, folder), NAMES);
        for (int n = 0; n < NAMES; n++) {
            snprintf(name, sizeof(name), "name-%*d", n % 20, n);
            assert_int_equal(tree_find(&t, folder, name, strlen(name)), nodes[f][n]);
        }
    }
    tree_free(&t);
}

static void what_is_gone_can_come_back(void **state)
{
    (void)state;
    struct tree t;
    assert_int_equal(tree_init(&t), 0);
    uint32_t a = put(&t, TREE_ROOT, "a"), b = put(&t, TREE_ROOT, "b"), c = put(&t, TREE_ROOT, "c");
    tree_node(&t, b)->type = 0;
    assert_int_equal(tree_find(&t, TREE_ROOT, "b", 1), TREE_NONE);
    /* Back before the list was gone through, and after. */
    assert_int_equal(put(&t, TREE_ROOT, "b"), b);
    assert_int_equal(count(&t, TREE_ROOT), 3);
    tree_node(&t, a)->type = tree_node(&t, b)->type = tree_node(&t, c)->type = 0;
    assert_int_equal(count(&t, TREE_ROOT), 0);
    assert_int_equal(put(&t, TREE_ROOT, "b"), b);
    assert_int_equal(count(&t, TREE_ROOT), 1);
    assert_int_equal(put(&t, TREE_ROOT, "a"), a);
    assert_int_equal(put(&t, TREE_ROOT, "c"), c);
    assert_int_equal(count(&t, TREE_ROOT), 3);
    uint32_t node;
    assert_int_equal(tree_put(&t, TREE_ROOT, "d", 1, &node), 0); /* made, but not there yet */
    assert_int_equal(tree_find(&t, TREE_ROOT, "d", 1), TREE_NONE);
    assert_int_equal(count(&t, TREE_ROOT), 3);
    tree_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found_in_their_folder),
        cmocka_unit_test(names_have_bounds),
        cmocka_unit_test(many_names_are_found),
        cmocka_unit_test(what_is_gone_can_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
