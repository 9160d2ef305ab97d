/* SPDX-License-Identifier: Apache-2.0 */
/* Executions through the agent, natively: what a client sees of commands, streams, ends and failures. */
#include "tests/guest-init/client.h"

static struct served served;
static struct outcome o;

static int set_up(void **state)
{
    (void)state;
    alarm(TEST_DEADLINE_S);
    serve_start(&served, true);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return serve_stop(&served);
}

static void streams_and_exit_code_are_kept_apart(void **state)
{
    (void)state;
    run_sh(&served, "echo out; echo err >&2; exit 7", &o);
    assert_true(o.started && o.exited && o.out_eof && o.err_eof);
    assert_string_equal(o.out, "out\n");
    assert_string_equal(o.err, "err\n");
    assert_int_equal(o.exit.how, HOW_EXITED);
    assert_int_equal(o.exit.code, 7);
    assert_int_equal(o.exit.flags, 0);
    assert_true(o.exit.wall_ns > 0 && o.exit.max_rss > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_and_exit_code_are_kept_apart),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
