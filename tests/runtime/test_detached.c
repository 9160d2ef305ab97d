/* SPDX-License-Identifier: Apache-2.0 */
/* Detached executions through the library, with the real agent at the other end. */
#include "tests/runtime/agent_box.h"

static struct cubby_error e;

static struct cubby_exec *start(const char *script, struct cubby_exec_options o)
{
    const char *argv[] = {"sh", "-c", script, NULL};
    o.flags |= CUBBY_EXEC_DETACHED;
    struct cubby_exec *x = start_argv(argv, o);
    if (!(cubby_exec_poll(x, CUBBY_IS_STARTED | CUBBY_IS_ENDED, PATIENCE_MS) & CUBBY_IS_STARTED))
        fail_msg("not started");
    return x;
}

/* Starts it and lets go of it. */
static uint64_t launch(const char *script)
{
    struct cubby_exec *x = start(script, (struct cubby_exec_options){0});
    uint64_t id = cubby_exec_id(x);
    assert_true(id > 0);
    cubby_exec_free(x);
    return id;
}

static struct cubby_exec *attach(uint64_t id, struct cubby_attach_options o)
{
    struct cubby_exec *x = NULL;
    o.size = sizeof(o);
    if (cubby_exec_attach(&x, box, id, &o, &e) < 0)
        fail_msg("%s", e.message);
    return x;
}

static struct cubby_result wait_result(struct cubby_exec *x)
{
    struct cubby_result r = {.size = sizeof(r)};
    if (cubby_exec_wait(x, PATIENCE_MS, &r, &e) < 0)
        fail_msg("%s", e.message);
    return r;
}

/* A stream to its end, the first of it in `text`; how many bytes there were. */
static size_t read_all(struct cubby_exec *x, int stream, char *text, size_t cap)
{
    char chunk[4096];
    int bit = stream == CUBBY_STDOUT ? CUBBY_CAN_READ_STDOUT : CUBBY_CAN_READ_STDERR;
    size_t total = 0;
    for (;;) {
        if (!(cubby_exec_poll(x, bit, PATIENCE_MS) & bit))
            fail_msg("no end of the stream after %zu bytes", total);
        ssize_t n = cubby_exec_read(x, stream, chunk, sizeof(chunk));
        assert_true(n >= 0);
        if (n == 0)
            return total;
        for (ssize_t i = 0; i < n && total + (size_t)i + 1 < cap; i++)
            text[total + (size_t)i] = chunk[i];
        total += (size_t)n;
        if (cap > 0)
            text[total < cap - 1 ? total : cap - 1] = '\0';
    }
}

static void remove_it(uint64_t id)
{
    if (cubby_exec_remove(box, id, 1, PATIENCE_MS, NULL, &e) < 0)
        fail_msg("%s", e.message);
}

/* What the list says of this id; its own id is 0 when it does not say anything. */
static struct cubby_exec_info info_of(uint64_t id)
{
    struct cubby_exec_list *list;
    struct cubby_exec_info found = {.size = 0}, info = {.size = sizeof(info)};
    if (cubby_exec_list(&list, box, PATIENCE_MS, &e) < 0)
        fail_msg("%s", e.message);
    for (size_t i = 0; i < cubby_exec_list_count(list); i++) {
        assert_int_equal(cubby_exec_list_get(list, i, &info), 0);
        if (info.id == id)
            found = info;
    }
    assert_int_equal(cubby_exec_list_get(list, cubby_exec_list_count(list), &info), CUBBY_EARGUMENT);
    cubby_exec_list_free(list);
    return found;
}

static void await_end(uint64_t id)
{
    while (!info_of(id).ended)
        usleep(10000);
}

static void it_goes_on_without_its_handle(void **state)
{
    (void)state;
    char out[64] = "", err[64] = "";
    uint64_t id = launch("echo early; sleep 0.3; echo late; echo err >&2; exit 5");
    struct cubby_exec *x = attach(id, (struct cubby_attach_options){0});
    assert_int_equal(read_all(x, CUBBY_STDOUT, out, sizeof(out)), 11);
    assert_string_equal(out, "early\nlate\n");
    read_all(x, CUBBY_STDERR, err, sizeof(err));
    assert_string_equal(err, "err\n");
    assert_int_equal(wait_result(x).exit_code, 5);
    assert_int_equal(cubby_exec_id(x), id);
    assert_int_equal(cubby_exec_lost(x, CUBBY_STDOUT), 0);
    cubby_exec_free(x);
    struct cubby_result r = {.size = sizeof(r)};
    assert_int_equal(cubby_exec_remove(box, id, 0, PATIENCE_MS, &r, &e), 0);
    assert_int_equal(r.exit_code, 5);
    assert_int_equal(info_of(id).id, 0);
}

static void its_starter_is_a_client_like_others(void **state)
{
    (void)state;
    char out[64] = "";
    struct cubby_exec *x = start("cat; exit 3", (struct cubby_exec_options){.flags = CUBBY_EXEC_STDIN});
    assert_int_equal(cubby_exec_write(x, "hello", 5), 5);
    assert_int_equal(cubby_exec_close_stdin(x), 0);
    read_all(x, CUBBY_STDOUT, out, sizeof(out));
    assert_string_equal(out, "hello");
    assert_int_equal(wait_result(x).exit_code, 3);
    cubby_exec_free(x);
}

static void who_comes_late_gets_the_last_bytes_and_a_number(void **state)
{
    (void)state;
    char out[64] = "";
    struct cubby_exec *x =
        start("head -c 100000 /dev/zero; printf tail", (struct cubby_exec_options){.backlog = 8});
    uint64_t id = cubby_exec_id(x);
    cubby_exec_free(x);
    await_end(id);
    x = attach(id, (struct cubby_attach_options){0});
    assert_int_equal(read_all(x, CUBBY_STDOUT, out, sizeof(out)), 8);
    assert_memory_equal(out, "\0\0\0\0tail", 8);
    assert_int_equal(cubby_exec_lost(x, CUBBY_STDOUT), 100004 - 8);
    assert_int_equal(cubby_exec_lost(x, CUBBY_STDERR), 0);
    cubby_exec_free(x);
    x = attach(id, (struct cubby_attach_options){.stdout_from = 100002});
    read_all(x, CUBBY_STDOUT, out, sizeof(out));
    assert_string_equal(out, "il");
    assert_int_equal(cubby_exec_lost(x, CUBBY_STDOUT), 0);
    cubby_exec_free(x);
    x = attach(id, (struct cubby_attach_options){.stdout_from = CUBBY_FROM_NOW});
    assert_int_equal(read_all(x, CUBBY_STDOUT, NULL, 0), 0);
    assert_int_equal(wait_result(x).exit_code, 0);
    cubby_exec_free(x);
    remove_it(id);
}

static void a_handle_without_streams_signals_and_kills(void **state)
{
    (void)state;
    uint64_t id = launch("trap 'exit 4' USR1; echo up; while :; do sleep 0.05; done");
    const struct cubby_attach_options none = {.flags = CUBBY_EXEC_NO_STDOUT | CUBBY_EXEC_NO_STDERR};
    struct cubby_exec *x = attach(id, (struct cubby_attach_options){0});
    assert_true(cubby_exec_poll(x, CUBBY_CAN_READ_STDOUT, PATIENCE_MS) & CUBBY_CAN_READ_STDOUT);
    cubby_exec_free(x);
    x = attach(id, none);
    assert_int_equal(cubby_exec_signal(x, SIGUSR1, 0), 0);
    assert_int_equal(wait_result(x).exit_code, 4);
    cubby_exec_free(x);
    remove_it(id);
    id = launch("sleep 1000");
    x = attach(id, none);
    assert_int_equal(cubby_exec_kill(x), 0); /* before it is attached: not lost */
    assert_int_equal(wait_result(x).exit_code, -SIGKILL);
    cubby_exec_free(x);
    remove_it(id);
}

static void close_outputs(struct cubby_exec *x)
{
    assert_int_equal(cubby_exec_close_output(x, CUBBY_STDOUT), 0);
    assert_int_equal(cubby_exec_close_output(x, CUBBY_STDERR), 0);
}

static void a_reader_who_leaves_takes_it_from_nobody(void **state)
{
    (void)state;
    static const char script[] = "read x; printf 0123456789; printf x >&2; read x; echo more; exit 6";
    char out[64] = "";
    struct cubby_exec *x = start(script, (struct cubby_exec_options){.flags = CUBBY_EXEC_STDIN});
    struct cubby_exec *leaver = attach(cubby_exec_id(x), (struct cubby_attach_options){0});
    struct cubby_exec *reader = attach(cubby_exec_id(x), (struct cubby_attach_options){0});
    assert_true(cubby_exec_poll(leaver, CUBBY_IS_STARTED, PATIENCE_MS) & CUBBY_IS_STARTED);
    close_outputs(x); /* its starter, and one that came later */
    close_outputs(leaver);
    assert_int_equal(cubby_exec_write(x, "\n", 1), 1);
    while (cubby_exec_read(reader, CUBBY_STDERR, out, sizeof(out)) != 1)
        cubby_exec_poll(reader, CUBBY_CAN_READ_STDERR, PATIENCE_MS);
    cubby_exec_poll(leaver, 0, 100); /* bytes come in, and nothing goes out */
    cubby_exec_poll(x, 0, 100);
    assert_int_equal(cubby_exec_write(x, "\n", 1), 1);
    read_all(reader, CUBBY_STDOUT, out, sizeof(out));
    assert_string_equal(out, "0123456789more\n");
    assert_int_equal(wait_result(reader).exit_code, 6);
    assert_int_equal(wait_result(leaver).exit_code, 6);
    assert_int_equal(wait_result(x).exit_code, 6);
    remove_it(cubby_exec_id(x));
    cubby_exec_free(reader);
    cubby_exec_free(leaver);
    cubby_exec_free(x);
}

static int wait_error(struct cubby_exec *x)
{
    int ret = cubby_exec_wait(x, PATIENCE_MS, NULL, &e);
    cubby_exec_free(x);
    return ret;
}

static void stdin_is_one_handles_at_a_time(void **state)
{
    (void)state;
    char out[64] = "";
    struct cubby_exec *x = start("cat", (struct cubby_exec_options){.flags = CUBBY_EXEC_STDIN});
    uint64_t id = cubby_exec_id(x);
    struct cubby_attach_options o = {.flags = CUBBY_EXEC_STDIN};
    assert_true(info_of(id).flags & CUBBY_INFO_STDIN_HELD);
    assert_int_equal(wait_error(attach(id, o)), CUBBY_ESTATE);
    o.flags |= CUBBY_ATTACH_TAKE_STDIN;
    struct cubby_exec *taker = attach(id, o);
    assert_true(cubby_exec_poll(taker, CUBBY_CAN_WRITE, PATIENCE_MS) & CUBBY_CAN_WRITE);
    assert_int_equal(cubby_exec_write(taker, "mine", 4), 4);
    assert_int_equal(cubby_exec_close_stdin(taker), 0);
    read_all(taker, CUBBY_STDOUT, out, sizeof(out));
    assert_string_equal(out, "mine");
    assert_int_equal(wait_result(taker).exit_code, 0);
    cubby_exec_free(taker);
    assert_int_equal(wait_result(x).exit_code, 0);
    assert_int_equal(cubby_exec_write(x, "x", 1), CUBBY_ECLOSED);
    cubby_exec_free(x);
    remove_it(id);
}

static void a_terminal_is_known_when_attached(void **state)
{
    (void)state;
    char out[64] = "";
    struct cubby_exec *x = start("trap 'stty size; exit' WINCH; echo up; while :; do sleep 0.05; done",
                                 (struct cubby_exec_options){.flags = CUBBY_EXEC_TTY});
    uint64_t id = cubby_exec_id(x);
    while (cubby_exec_read(x, CUBBY_STDOUT, out, sizeof(out)) <= 0)
        cubby_exec_poll(x, CUBBY_CAN_READ_STDOUT, PATIENCE_MS);
    cubby_exec_free(x);
    assert_true(info_of(id).flags & CUBBY_INFO_TTY);
    x = attach(id, (struct cubby_attach_options){.stdout_from = CUBBY_FROM_NOW});
    assert_true(cubby_exec_poll(x, CUBBY_IS_STARTED, PATIENCE_MS) & CUBBY_IS_STARTED);
    assert_int_equal(cubby_exec_resize(x, 43, 132), 0);
    read_all(x, CUBBY_STDOUT, out, sizeof(out));
    assert_string_equal(out, "43 132\r\n");
    cubby_exec_free(x);
    remove_it(id);
}

static void the_list_tells_all(void **state)
{
    (void)state;
    const char *argv[] = {"sleep", "1000", NULL};
    struct cubby_exec_options o = {.size = sizeof(o), .argv = argv};
    struct cubby_exec *plain;
    assert_int_equal(cubby_exec_start(&plain, box, &o, &e), 0);
    cubby_exec_poll(plain, CUBBY_IS_STARTED, PATIENCE_MS);
    uint64_t id = launch("exit 9");
    await_end(id);
    struct cubby_exec_info info = info_of(cubby_exec_id(plain));
    assert_true(info.id && !info.ended && !info.flags && info.pid > 0);
    assert_string_equal(info.command, "sleep 1000");
    info = info_of(id);
    assert_true(info.ended && info.flags == CUBBY_INFO_DETACHED && info.age_ns >= info.result.wall_ns);
    assert_int_equal(info.result.exit_code, 9);
    assert_int_equal(info.result.how, CUBBY_EXITED);
    assert_int_equal(info.result.size, sizeof(struct cubby_result));
    assert_string_equal(info.command, "sh -c exit 9");
    assert_int_equal(wait_error(attach(cubby_exec_id(plain), (struct cubby_attach_options){0})),
                     CUBBY_ENOTFOUND);
    cubby_exec_free(plain);
    remove_it(id);
}

static void removal_has_its_errors(void **state)
{
    (void)state;
    uint64_t id = launch("sleep 1000");
    assert_int_equal(cubby_exec_remove(box, id, 0, PATIENCE_MS, NULL, &e), CUBBY_ESTATE);
    assert_non_null(strstr(e.message, "still runs"));
    struct cubby_result r = {.size = 3};
    assert_int_equal(cubby_exec_remove(box, id, 1, PATIENCE_MS, &r, &e), CUBBY_EARGUMENT);
    assert_true(info_of(id).id == id && !info_of(id).ended); /* a mistake has killed nothing */
    r.size = sizeof(r);
    assert_int_equal(cubby_exec_remove(box, id, 1, PATIENCE_MS, &r, &e), 0);
    assert_int_equal(r.exit_code, -SIGKILL);
    assert_int_equal(cubby_exec_remove(box, id, 1, PATIENCE_MS, &r, &e), CUBBY_ENOTFOUND);
    assert_int_equal(cubby_exec_remove(box, 0, 1, PATIENCE_MS, &r, &e), CUBBY_EARGUMENT);
    assert_int_equal(cubby_exec_remove(NULL, 1, 1, PATIENCE_MS, &r, &e), CUBBY_EARGUMENT);
    assert_int_equal(wait_error(attach(id, (struct cubby_attach_options){0})), CUBBY_ENOTFOUND);
}

static void options_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct cubby_exec *x = (void *)1;
    struct cubby_exec_list *list;
    static const struct cubby_attach_options cases[] = {
        {.size = sizeof(cases[0]), .flags = CUBBY_EXEC_TTY},
        {.size = sizeof(cases[0]), .flags = CUBBY_ATTACH_TAKE_STDIN},
        {.size = sizeof(cases[0]), .buffer = 1},
        {.size = 3},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(cubby_exec_attach(&x, box, 1, &cases[i], &e), CUBBY_EARGUMENT);
        assert_null(x);
    }
    assert_int_equal(cubby_exec_attach(&x, box, 0, NULL, &e), CUBBY_EARGUMENT);
    assert_int_equal(cubby_exec_attach(NULL, box, 1, NULL, &e), CUBBY_EARGUMENT);
    assert_int_equal(cubby_exec_attach(&x, NULL, 1, NULL, &e), CUBBY_EARGUMENT);
    assert_int_equal(cubby_exec_list(NULL, box, 0, &e), CUBBY_EARGUMENT);
    assert_int_equal(cubby_exec_list(&list, NULL, 0, &e), CUBBY_EARGUMENT);
    assert_null(list);
    assert_int_equal(cubby_exec_list_count(NULL), 0);
    cubby_exec_list_free(NULL);
    assert_int_equal(cubby_exec_id(NULL), 0);
    assert_int_equal(cubby_exec_lost(NULL, CUBBY_STDOUT), 0);
    const char *argv[] = {"true", NULL};
    struct cubby_exec_options o = {.size = sizeof(o), .argv = argv, .backlog = 100};
    assert_int_equal(cubby_exec_start(&x, box, &o, &e), CUBBY_EARGUMENT); /* not detached */
    o.flags = CUBBY_EXEC_DETACHED;
    o.backlog = (1u << 20) + 1;
    assert_int_equal(cubby_exec_start(&x, box, &o, &e), CUBBY_EARGUMENT);
}

static void a_stopped_box_takes_them_along(void **state)
{
    (void)state;
    uint64_t id = launch("trap '' TERM; echo up; while :; do sleep 0.1; done");
    struct cubby_exec *x = attach(id, (struct cubby_attach_options){0});
    assert_true(cubby_exec_poll(x, CUBBY_CAN_READ_STDOUT, PATIENCE_MS) & CUBBY_CAN_READ_STDOUT);
    assert_int_equal(cubby_box_stop(box, 500, &e), 0);
    int ret = cubby_exec_wait(x, PATIENCE_MS, NULL, &e);
    assert_true(ret == 0 || ret == CUBBY_ESTOPPED);
    cubby_exec_free(x);
    struct cubby_exec_list *list;
    assert_int_equal(cubby_exec_list(&list, box, 0, &e), CUBBY_ESTOPPED);
    assert_int_equal(cubby_exec_remove(box, id, 1, 0, NULL, &e), CUBBY_ESTOPPED);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(int argc, char **argv)
{
    int code = other_main(argc, argv);
    if (code >= 0)
        return code;
    const struct CMUnitTest tests[] = {
        TEST(it_goes_on_without_its_handle),
        TEST(its_starter_is_a_client_like_others),
        TEST(who_comes_late_gets_the_last_bytes_and_a_number),
        TEST(a_handle_without_streams_signals_and_kills),
        TEST(a_reader_who_leaves_takes_it_from_nobody),
        TEST(stdin_is_one_handles_at_a_time),
        TEST(a_terminal_is_known_when_attached),
        TEST(the_list_tells_all),
        TEST(removal_has_its_errors),
        TEST(options_that_cannot_be_are_refused),
        TEST(a_stopped_box_takes_them_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
