/* SPDX-License-Identifier: Apache-2.0 */
/* cubby_run() against the real agent: what comes back, what is kept of it, how it ends early. */
#include "tests/runtime/agent_box.h"

#include <pthread.h>
#include <sys/eventfd.h>

static struct cubby_error e;

/* `script` in a shell. */
static int run(const char *script, struct cubby_exec_options what, struct cubby_output *o)
{
    const char *argv[] = {"sh", "-c", script, NULL};
    what.size = sizeof(what);
    what.argv = argv;
    o->size = sizeof(*o);
    return cubby_run(box, &what, o, &e);
}

static void good(int ret)
{
    if (ret < 0)
        fail_msg("%s: %s", cubby_code_name(ret), e.message);
}

static void bad(int ret, int code, const char *words)
{
    if (ret != code || e.code != code || !strstr(e.message, words))
        fail_msg("%s, not %s: '%s'", cubby_code_name(ret), cubby_code_name(code), e.message);
}

static void output_and_result_come_together(void **state)
{
    (void)state;
    struct cubby_output o = {0};
    good(run("echo out; echo err >&2; exit 7", (struct cubby_exec_options){0}, &o));
    assert_string_equal(o.out, "out\n");
    assert_string_equal(o.err, "err\n");
    assert_true(o.out_len == 4 && o.err_len == 4 && o.out_lost == 0 && o.err_lost == 0);
    assert_int_equal(o.result.how, CUBBY_EXITED);
    assert_int_equal(o.result.exit_code, 7);
    assert_int_equal(o.result.size, sizeof(o.result));
    cubby_output_free(&o);
    assert_null(o.out);
    cubby_output_free(&o);
    good(run("kill -9 $$", (struct cubby_exec_options){0}, &o));
    assert_int_equal(o.result.how, CUBBY_SIGNALED);
    assert_int_equal(o.result.exit_code, -9);
    assert_string_equal(o.out, ""); /* never NULL */
    assert_string_equal(o.err, "");
    cubby_output_free(&o);
}

/* More than all buffers on the way hold, with zero bytes in it. */
static void input_goes_in_and_comes_back_whole(void **state)
{
    (void)state;
    struct cubby_output o = {.input_len = 3000000, .out_max = 4000000};
    char *bytes = malloc(o.input_len);
    for (size_t i = 0; i < o.input_len; i++)
        bytes[i] = (char)(i * i >> 7);
    o.input = bytes;
    good(run("cat; echo end >&2", (struct cubby_exec_options){0}, &o));
    assert_int_equal(o.out_len, o.input_len);
    assert_memory_equal(o.out, bytes, o.input_len);
    assert_int_equal(o.out[o.out_len], '\0');
    assert_string_equal(o.err, "end\n");
    assert_ptr_equal(o.input, bytes); /* is the caller's, as it was */
    cubby_output_free(&o);
    o = (struct cubby_output){.input = bytes, .input_len = 3000000};
    good(run("exec 0<&-; sleep 0.1; echo unread", (struct cubby_exec_options){0}, &o));
    assert_string_equal(o.out, "unread\n");
    assert_int_equal(o.result.exit_code, 0);
    cubby_output_free(&o);
    o = (struct cubby_output){.input = ""};
    good(run("cat; readlink /proc/self/fd/0", (struct cubby_exec_options){0}, &o)); /* a pipe that ends */
    assert_int_equal(strncmp(o.out, "pipe:", 5), 0);
    cubby_output_free(&o);
    o = (struct cubby_output){0};
    good(run("readlink /proc/self/fd/0", (struct cubby_exec_options){0}, &o));
    assert_string_equal(o.out, "/dev/null\n");
    cubby_output_free(&o);
    free(bytes);
}

static void each_stream_is_kept_up_to_its_cap(void **state)
{
    (void)state;
    struct cubby_output o = {.out_max = 10, .err_max = 1};
    good(run("printf 0123456789abc; printf x >&2; head -c 2000000 /dev/zero >&2",
             (struct cubby_exec_options){0}, &o));
    assert_string_equal(o.out, "0123456789");
    assert_true(o.out_len == 10 && o.out_lost == 3);
    assert_string_equal(o.err, "x");
    assert_true(o.err_len == 1 && o.err_lost == 2000000);
    assert_int_equal(o.result.exit_code, 0); /* the command was not held up, nor signalled */
    cubby_output_free(&o);
    o = (struct cubby_output){0};
    good(run("head -c 1048577 /dev/zero; head -c 1048576 /dev/zero >&2", (struct cubby_exec_options){0}, &o));
    assert_true(o.out_len == CUBBY_OUTPUT_MAX && o.out_lost == 1);
    assert_true(o.err_len == CUBBY_OUTPUT_MAX && o.err_lost == 0);
    cubby_output_free(&o);
}

static void time_that_is_up_is_a_result(void **state)
{
    (void)state;
    struct cubby_output o = {0};
    good(run("echo before; exec sleep 600", (struct cubby_exec_options){.timeout_ms = 300, .grace_ms = 1},
             &o));
    assert_int_equal(o.result.how, CUBBY_TIMED_OUT);
    assert_string_equal(o.out, "before\n");
    cubby_output_free(&o);
}

static void a_terminal_has_one_stream(void **state)
{
    (void)state;
    struct cubby_output o = {0};
    good(run("echo one; echo two >&2; test -t 1", (struct cubby_exec_options){.flags = CUBBY_EXEC_TTY}, &o));
    assert_string_equal(o.out, "one\r\ntwo\r\n");
    assert_int_equal(o.err_len, 0);
    assert_int_equal(o.result.exit_code, 0);
    cubby_output_free(&o);
}

static void *cancel_later(void *fd)
{
    usleep(300000);
    eventfd_write(*(int *)fd, 1);
    return NULL;
}

static void it_can_be_given_up(void **state)
{
    (void)state;
    int fd = eventfd(0, EFD_CLOEXEC);
    struct cubby_output o = {.cancel_fd = fd};
    pthread_t thread;
    pthread_create(&thread, NULL, cancel_later, &fd);
    bad(run("echo before; exec sleep 600", (struct cubby_exec_options){0}, &o), CUBBY_ESTOPPED, "given up");
    pthread_join(thread, NULL);
    assert_string_equal(o.out, "before\n"); /* what came is there */
    cubby_output_free(&o);
    bad(run("exec sleep 600", (struct cubby_exec_options){0}, &o), CUBBY_ESTOPPED,
        "given up"); /* still readable */
    cubby_output_free(&o);
    close(fd);
}

static void what_came_before_a_loss_is_there(void **state)
{
    (void)state;
    struct cubby_output o = {0};
    char script[64];
    snprintf(script, sizeof(script), "echo before; sleep 0.3; kill -9 %d; sleep 600", cubby_box_pid(box));
    bad(run(script, (struct cubby_exec_options){0}, &o), CUBBY_EGUEST_LOST, "SIGKILL");
    assert_string_equal(o.out, "before\n");
    cubby_output_free(&o);
}

static void commands_that_cannot_be_run(void **state)
{
    (void)state;
    struct cubby_output o = {.size = sizeof(o)};
    const char *missing[] = {"no-such-command", NULL};
    struct cubby_exec_options what = {.size = sizeof(what), .argv = missing};
    bad(cubby_run(box, &what, &o, &e), CUBBY_ENOTFOUND_CMD, "no-such-command");
    assert_string_equal(o.out, "");
    cubby_output_free(&o);
    bad(run("true", (struct cubby_exec_options){.flags = CUBBY_EXEC_STDIN}, &o), CUBBY_EARGUMENT, "input");
    bad(run("true", (struct cubby_exec_options){.flags = CUBBY_EXEC_DETACHED}, &o), CUBBY_EARGUMENT,
        "detached");
    bad(run("true", (struct cubby_exec_options){.grace_ms = 600001}, &o), CUBBY_EARGUMENT, "grace");
    cubby_output_free(&o);
    assert_int_equal(cubby_box_stop(box, 1000, NULL), 0);
    bad(run("true", (struct cubby_exec_options){0}, &o), CUBBY_ESTOPPED, "stopped");
    cubby_output_free(&o);
}

static void *run_in_thread(void *arg)
{
    int *number = arg;
    char script[32];
    struct cubby_output o = {.size = sizeof(o)};
    snprintf(script, sizeof(script), "echo %d; exit %d", *number, *number);
    const char *argv[] = {"sh", "-c", script, NULL};
    struct cubby_exec_options what = {.size = sizeof(what), .argv = argv};
    if (cubby_run(box, &what, &o, NULL) < 0 || atoi(o.out) != *number || o.result.exit_code != *number)
        *number = -1;
    cubby_output_free(&o);
    return NULL;
}

static void many_threads_run_at_once(void **state)
{
    (void)state;
    pthread_t threads[16];
    int numbers[16];
    for (int i = 0; i < 16; i++) {
        numbers[i] = i;
        pthread_create(&threads[i], NULL, run_in_thread, &numbers[i]);
    }
    for (int i = 0; i < 16; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(numbers[i], i);
    }
}

int main(int argc, char **argv)
{
    int code = other_main(argc, argv);
    if (code >= 0)
        return code;
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(output_and_result_come_together),   TEST(input_goes_in_and_comes_back_whole),
        TEST(each_stream_is_kept_up_to_its_cap), TEST(time_that_is_up_is_a_result),
        TEST(a_terminal_has_one_stream),         TEST(it_can_be_given_up),
        TEST(what_came_before_a_loss_is_there),  TEST(commands_that_cannot_be_run),
        TEST(many_threads_run_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
