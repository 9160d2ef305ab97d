/* SPDX-License-Identifier: Apache-2.0 */
/* A VMM that is killed in the middle of whatever goes on: the caller learns it within a second, with the
 * reason. */
#include "tests/runtime/agent_box.h"

static struct cubby_error e;

/* Kills the VMM and expects the word of it, whatever was not read or written yet. */
static void lose(struct cubby_exec *x)
{
    uint64_t killed_ns = now_ns();
    assert_int_equal(kill(cubby_box_pid(box), SIGKILL), 0);
    assert_int_equal(cubby_exec_wait(x, PATIENCE_MS, NULL, &e), CUBBY_EGUEST_LOST);
    uint64_t took_ms = (now_ns() - killed_ns) / NSEC_PER_MSEC;
    if (took_ms >= 1000)
        fail_msg("it took %llu ms", (unsigned long long)took_ms);
    if (!strstr(e.message, "SIGKILL"))
        fail_msg("'%s' does not name the signal", e.message);
    assert_int_equal(cubby_box_state(box), CUBBY_FAILED);
    cubby_exec_free(x);
}

static struct cubby_exec *started(const char *const *argv, unsigned flags)
{
    struct cubby_exec *x = start_argv(argv, (struct cubby_exec_options){.flags = flags});
    assert_true(cubby_exec_poll(x, CUBBY_IS_STARTED, PATIENCE_MS) & CUBBY_IS_STARTED);
    return x;
}

static void while_it_waits(void **state)
{
    (void)state;
    static const char *const argv[] = {"sleep", "1000", NULL};
    lose(started(argv, 0));
}

static void while_both_streams_pour(void **state)
{
    (void)state;
    const char *argv[] = {self, "pour", "1000000000000", "1000000000000", NULL};
    struct cubby_exec *x = started(argv, 0);
    static char chunk[65536];
    for (size_t got = 0; got < 10000000;) {
        cubby_exec_poll(x, CUBBY_CAN_READ_STDOUT, PATIENCE_MS);
        ssize_t n = cubby_exec_read(x, CUBBY_STDOUT, chunk, sizeof(chunk));
        cubby_exec_read(x, CUBBY_STDERR, chunk, sizeof(chunk));
        got += n > 0 ? (size_t)n : 0;
    }
    lose(x);
}

static void while_nobody_reads(void **state)
{
    (void)state;
    const char *argv[] = {self, "pour", "1000000000000", "1000000000000", NULL};
    struct cubby_exec *x = started(argv, 0);
    assert_true(cubby_exec_poll(x, CUBBY_CAN_READ_STDOUT, PATIENCE_MS) & CUBBY_CAN_READ_STDOUT);
    usleep(200000); /* until every buffer is full */
    lose(x);
}

static void while_stdin_is_written(void **state)
{
    (void)state;
    static const char zeros[65536];
    static const char *const argv[] = {"cat", NULL};
    struct cubby_exec *x = started(argv, CUBBY_EXEC_STDIN | CUBBY_EXEC_NO_STDOUT);
    for (size_t put = 0; put < 10000000;) {
        cubby_exec_poll(x, CUBBY_CAN_WRITE, PATIENCE_MS);
        ssize_t n = cubby_exec_write(x, zeros, sizeof(zeros));
        put += n > 0 ? (size_t)n : 0;
    }
    lose(x);
}

static void while_stdin_is_not_taken(void **state)
{
    (void)state;
    static const char zeros[65536];
    static const char *const argv[] = {"sleep", "1000", NULL};
    struct cubby_exec *x = started(argv, CUBBY_EXEC_STDIN);
    while (cubby_exec_write(x, zeros, sizeof(zeros)) >= 0)
        cubby_exec_poll(x, CUBBY_CAN_WRITE, 100);
    lose(x);
}

static void while_a_terminal_is_open(void **state)
{
    (void)state;
    static const char *const argv[] = {"cat", NULL};
    lose(started(argv, CUBBY_EXEC_TTY | CUBBY_EXEC_STDIN));
}

static void while_a_kill_is_under_way(void **state)
{
    (void)state;
    static const char *const argv[] = {"sleep", "1000", NULL};
    struct cubby_exec *x = started(argv, 0);
    assert_int_equal(kill(cubby_box_pid(box), SIGSTOP), 0); /* the VMM, so that KILL is not answered */
    assert_int_equal(cubby_exec_kill(x), 0);
    lose(x);
}

static void while_a_timeout_runs(void **state)
{
    (void)state;
    static const char *const argv[] = {"sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done", NULL};
    struct cubby_exec *x =
        start_argv(argv, (struct cubby_exec_options){.timeout_ms = 100, .grace_ms = 60000});
    assert_true(cubby_exec_poll(x, CUBBY_CAN_READ_STDOUT, PATIENCE_MS) & CUBBY_CAN_READ_STDOUT);
    usleep(200000); /* SIGTERM was sent, and ignored */
    lose(x);
}

static void while_attached_to_a_detached_one(void **state)
{
    (void)state;
    static const char *const argv[] = {"sleep", "1000", NULL};
    struct cubby_exec *x = started(argv, CUBBY_EXEC_DETACHED), *other;
    assert_int_equal(cubby_exec_attach(&other, box, cubby_exec_id(x), NULL, &e), 0);
    assert_true(cubby_exec_poll(other, CUBBY_IS_STARTED, PATIENCE_MS) & CUBBY_IS_STARTED);
    cubby_exec_free(x);
    lose(other);
    struct cubby_exec_list *list;
    assert_int_equal(cubby_exec_list(&list, box, PATIENCE_MS, &e), CUBBY_EGUEST_LOST);
}

static void before_it_starts(void **state)
{
    (void)state;
    static const char *const argv[] = {"true", NULL};
    assert_int_equal(kill(cubby_box_pid(box), SIGSTOP), 0);
    lose(start_argv(argv, (struct cubby_exec_options){0}));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(int argc, char **argv)
{
    int code = other_main(argc, argv);
    if (code >= 0)
        return code;
    const struct CMUnitTest tests[] = {
        TEST(while_it_waits),
        TEST(while_both_streams_pour),
        TEST(while_nobody_reads),
        TEST(while_stdin_is_written),
        TEST(while_stdin_is_not_taken),
        TEST(while_a_terminal_is_open),
        TEST(while_a_kill_is_under_way),
        TEST(while_a_timeout_runs),
        TEST(while_attached_to_a_detached_one),
        TEST(before_it_starts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
