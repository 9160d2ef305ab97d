/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of an execution against a fake agent: results, streams, credit, violations, deadlines,
 * losses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cubby.h"
#include "runtime/exec.h"
#include "tests/runtime/fake_vmm.h"
#include "tests/runtime/place.h"

#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define PATIENCE_MS 30000

static struct place place;
static struct cubby_box *box;
static int descriptors;

static int set_up(void **state)
{
    (void)state;
    struct cubby_error e;
    if (place_make(&place) < 0)
        return -1;
    fake_assets(place.assets);
    unsetenv("FAKE_VERSION");
    unsetenv("FAKE_OK");
    setenv("FAKE_VMM", "ok", 1);
    descriptors = count_entries("/proc/self/fd");
    return cubby_box_create(&box, NULL, &e);
}

static int tear_down(void **state)
{
    (void)state;
    cubby_box_destroy(box);
    int boxes = count_boxes(&place), fds = count_entries("/proc/self/fd");
    place_remove(&place);
    if (boxes || fds != descriptors)
        fprintf(stderr, "left over: %d boxes, %d descriptors\n", boxes, fds - descriptors);
    return boxes || fds != descriptors;
}

/* Starts the box unless it was, and "first second third…" in it. */
static struct cubby_exec *start(const char *words, struct cubby_exec_options o)
{
    static char copy[256];
    const char *argv[16];
    struct cubby_exec *x = NULL;
    struct cubby_error e;
    size_t n = 0;
    snprintf(copy, sizeof(copy), "%s", words);
    for (char *rest = copy, *word; (word = strsep(&rest, " "));)
        argv[n++] = word;
    argv[n] = NULL;
    o.size = sizeof(o);
    o.argv = argv;
    if (cubby_box_state(box) == CUBBY_CONFIGURED && cubby_box_start(box, &e) < 0)
        fail_msg("%s", e.message);
    if (cubby_exec_start(&x, box, &o, &e) < 0)
        fail_msg("%s", e.message);
    return x;
}

static struct cubby_result wait_result(struct cubby_exec *x)
{
    struct cubby_result r = {.size = sizeof(r)};
    struct cubby_error e;
    if (cubby_exec_wait(x, PATIENCE_MS, &r, &e) < 0)
        fail_msg("%s", e.message);
    return r;
}

static int wait_error(struct cubby_exec *x, const char *words)
{
    struct cubby_error e = {0};
    int ret = cubby_exec_wait(x, PATIENCE_MS, NULL, &e);
    if (!strstr(e.message, words))
        fail_msg("'%s' is not in '%s'", words, e.message);
    assert_int_equal(e.code, ret);
    return ret;
}

/* Reads a stream to its end; returns how many bytes came, the first of them in `text`. */
static size_t read_all(struct cubby_exec *x, int stream, char *text, size_t cap)
{
    static char chunk[100000];
    int bit = stream == CUBBY_STDOUT ? CUBBY_CAN_READ_STDOUT : CUBBY_CAN_READ_STDERR;
    size_t total = 0;
    for (;;) {
        if (!(cubby_exec_poll(x, bit, PATIENCE_MS) & bit))
            fail_msg("no end of the stream after %zu bytes", total);
        ssize_t n = cubby_exec_read(x, stream, chunk, sizeof(chunk));
        if (n <= 0)
            return n == 0 ? total : (size_t)-1;
        if (text && total + (size_t)n < cap) {
            memcpy(text + total, chunk, (size_t)n);
            text[total + (size_t)n] = '\0';
        }
        total += (size_t)n;
    }
}

static void exit_codes_come_back_as_they_are(void **state)
{
    (void)state;
    for (int code = 0; code < 256; code += 51) {
        char words[32];
        snprintf(words, sizeof(words), "exit %d", code);
        struct cubby_exec *x = start(words, (struct cubby_exec_options){0});
        struct cubby_result r = wait_result(x);
        assert_int_equal(r.how, CUBBY_EXITED);
        assert_int_equal(r.exit_code, code);
        assert_true(r.wall_ns == 5000000 && r.max_rss_bytes == 1 << 20);
        r = wait_result(x); /* again */
        assert_int_equal(r.exit_code, code);
        cubby_exec_free(x);
    }
}

static void ends_by_signal_time_and_memory_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *words;
        int how, code;
    } cases[] = {{"signal 9", CUBBY_SIGNALED, -9},
                 {"signal 64", CUBBY_SIGNALED, -64},
                 {"timeout", CUBBY_TIMED_OUT, -15},
                 {"oom", CUBBY_OOM_KILLED, -9}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct cubby_exec *x = start(cases[i].words, (struct cubby_exec_options){0});
        struct cubby_result r = wait_result(x);
        assert_int_equal(r.how, cases[i].how);
        assert_int_equal(r.exit_code, cases[i].code);
        cubby_exec_free(x);
    }
}

static void spawn_failures_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *words, *text;
        int code;
    } cases[] = {
        {"missing", "command 'missing' not found?[2J", CUBBY_ENOTFOUND_CMD}, /* made printable */
        {"refused", "not executable", CUBBY_ENOTEXEC_CMD},
        {"badformat", "no program", CUBBY_ENOTEXEC_CMD},
        {"nouser", "no such user", CUBBY_ESPAWN},
        {"error 1 0", "", CUBBY_EPROTOCOL},
        {"error 3 0", "", CUBBY_EUNSUPPORTED},
        {"error 4 0", "", CUBBY_ESTOPPED},
        {"error 5 0", "", CUBBY_ERESOURCE},
        {"error 6 0", "", CUBBY_ESPAWN},
        {"error 12 12", "", CUBBY_ERESOURCE},
        {"error 200 0", "", CUBBY_ESPAWN},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct cubby_exec *x = start(cases[i].words, (struct cubby_exec_options){0});
        assert_int_equal(wait_error(x, cases[i].text), cases[i].code);
        assert_int_equal(cubby_exec_poll(x, 0, 0) & CUBBY_IS_STARTED, 0);
        assert_int_equal(read_all(x, CUBBY_STDOUT, NULL, 0), 0);
        cubby_exec_free(x);
    }
}

static void stdout_and_stderr_come_apart(void **state)
{
    (void)state;
    char out[64] = "", err[64] = "";
    struct cubby_exec *x = start("say hello world", (struct cubby_exec_options){0});
    assert_int_equal(read_all(x, CUBBY_STDERR, err, sizeof(err)), 5);
    assert_int_equal(read_all(x, CUBBY_STDOUT, out, sizeof(out)), 5);
    assert_string_equal(out, "hello");
    assert_string_equal(err, "world");
    char byte;
    assert_int_equal(cubby_exec_read(x, CUBBY_STDOUT, &byte, 1), 0); /* again and again */
    assert_int_equal(cubby_exec_poll(x, 0, 0) & (CUBBY_CAN_READ_STDOUT | CUBBY_CAN_READ_STDERR),
                     0); /* told once */
    assert_int_equal(wait_result(x).exit_code, 0);
    cubby_exec_free(x);
}

static void output_can_be_read_after_the_end(void **state)
{
    (void)state;
    char out[64] = "";
    struct cubby_exec *x = start("say late news", (struct cubby_exec_options){0});
    assert_int_equal(wait_result(x).exit_code, 0);
    assert_int_equal(read_all(x, CUBBY_STDOUT, out, sizeof(out)), 4);
    assert_string_equal(out, "late");
    cubby_exec_free(x);
}

static void large_output_passes_through_a_small_buffer(void **state)
{
    (void)state;
    struct cubby_exec *x = start("flood 10000001 0", (struct cubby_exec_options){.buffer = 4096});
    assert_int_equal(read_all(x, CUBBY_STDOUT, NULL, 0), 10000001);
    assert_int_equal(wait_result(x).exit_code, 0);
    cubby_exec_free(x);
}

static void a_stream_that_nobody_reads_stalls_only_itself(void **state)
{
    (void)state;
    struct cubby_exec *x = start("flood 262144 5000000", (struct cubby_exec_options){0});
    assert_int_equal(read_all(x, CUBBY_STDERR, NULL, 0), 5000000);
    assert_int_equal(wait_result(x).exit_code, 0);
    assert_int_equal(read_all(x, CUBBY_STDOUT, NULL, 0), 262144);
    cubby_exec_free(x);
}

static void streams_that_are_not_wanted_have_ended(void **state)
{
    (void)state;
    struct cubby_exec_options o = {.flags = CUBBY_EXEC_NO_STDOUT | CUBBY_EXEC_NO_STDERR};
    struct cubby_exec *x = start("exit 0", o);
    assert_int_equal(read_all(x, CUBBY_STDOUT, NULL, 0), 0);
    assert_int_equal(read_all(x, CUBBY_STDERR, NULL, 0), 0);
    assert_int_equal(wait_result(x).exit_code, 0);
    cubby_exec_free(x);
}

static void stdin_goes_through_with_credit_and_ends(void **state)
{
    (void)state;
    static char data[70000];
    size_t sent = 0, received = 0, total = 3000000;
    struct cubby_exec *x = start("cat", (struct cubby_exec_options){.flags = CUBBY_EXEC_STDIN});
    while (received < total) {
        int bits =
            cubby_exec_poll(x, CUBBY_CAN_READ_STDOUT | (sent < total ? CUBBY_CAN_WRITE : 0), PATIENCE_MS);
        assert_true(bits & (CUBBY_CAN_WRITE | CUBBY_CAN_READ_STDOUT));
        if (sent < total && bits & CUBBY_CAN_WRITE) {
            ssize_t n = cubby_exec_write(x, data, total - sent < sizeof(data) ? total - sent : sizeof(data));
            assert_true(n > 0);
            sent += (size_t)n;
        }
        ssize_t n = cubby_exec_read(x, CUBBY_STDOUT, data, sizeof(data));
        assert_true(n > 0 || n == CUBBY_EAGAIN);
        received += n > 0 ? (size_t)n : 0;
    }
    assert_int_equal(cubby_exec_close_stdin(x), 0);
    assert_int_equal(cubby_exec_close_stdin(x), 0);
    assert_int_equal(cubby_exec_write(x, "x", 1), CUBBY_ECLOSED);
    assert_int_equal(wait_result(x).exit_code, 0);
    cubby_exec_free(x);
}

static void a_command_that_closes_its_stdin_refuses_more(void **state)
{
    (void)state;
    static char data[10000];
    struct cubby_exec *x = start("deaf", (struct cubby_exec_options){.flags = CUBBY_EXEC_STDIN});
    ssize_t n = 0;
    while (n >= 0) {
        cubby_exec_poll(x, CUBBY_CAN_WRITE, PATIENCE_MS);
        n = cubby_exec_write(x, data, sizeof(data));
    }
    assert_int_equal(n, CUBBY_ECLOSED);
    assert_int_equal(cubby_exec_kill(x), 0);
    assert_int_equal(wait_result(x).exit_code, -SIGKILL);
    assert_int_equal(cubby_exec_kill(x), 0); /* over: nothing to do */
    cubby_exec_free(x);
}

static void writing_without_stdin_is_a_wrong_state(void **state)
{
    (void)state;
    struct cubby_exec *x = start("hang", (struct cubby_exec_options){0});
    assert_int_equal(cubby_exec_write(x, "x", 1), CUBBY_ESTATE);
    assert_int_equal(cubby_exec_close_stdin(x), CUBBY_ESTATE);
    assert_int_equal(cubby_exec_resize(x, 24, 80), CUBBY_ESTATE);
    cubby_exec_free(x);
}

static void signals_reach_the_command(void **state)
{
    (void)state;
    struct cubby_exec *x = start("hang", (struct cubby_exec_options){0});
    assert_int_equal(cubby_exec_signal(x, SIGTERM, 0), 0); /* maybe before it runs: it is not lost */
    struct cubby_result r = wait_result(x);
    assert_int_equal(r.how, CUBBY_SIGNALED);
    assert_int_equal(r.exit_code, -SIGTERM);
    assert_int_equal(cubby_exec_signal(x, SIGTERM, 1), 0);
    cubby_exec_free(x);
}

static void a_kill_before_the_start_is_not_lost(void **state)
{
    (void)state;
    struct cubby_exec *x = start("hang", (struct cubby_exec_options){0});
    assert_int_equal(cubby_exec_kill(x), 0);
    assert_int_equal(wait_result(x).exit_code, -SIGKILL);
    cubby_exec_free(x);
}

static void a_reader_who_leaves_makes_the_writer_get_sigpipe(void **state)
{
    (void)state;
    struct cubby_exec *x = start("pour", (struct cubby_exec_options){.buffer = 4096});
    assert_true(cubby_exec_poll(x, CUBBY_CAN_READ_STDOUT, PATIENCE_MS) & CUBBY_CAN_READ_STDOUT);
    assert_int_equal(cubby_exec_close_output(x, CUBBY_STDOUT), 0);
    assert_int_equal(wait_result(x).exit_code, -SIGPIPE);
    cubby_exec_free(x);
}

static void an_agent_that_breaks_the_protocol_is_refused(void **state)
{
    (void)state;
    static const char *const ways[] = {
        "violate unknown-type",
        "violate too-long",
        "violate beyond-credit",
        "violate after-eof",
        "violate twice-started",
        "violate control-frame",
        "violate error-when-running",
        "violate window-for-stdout",
        "violate window-overflow",
        "early-data",
        "violate attached",
        "violate skipped-after-eof",
        "violate skipped",
        "violate stdin-eof-twice",
        "violate item",
        "violate list-end",
    };
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        struct cubby_exec *x = start(ways[i], (struct cubby_exec_options){.flags = CUBBY_EXEC_STDIN});
        assert_int_equal(wait_error(x, "broke the protocol"), CUBBY_EPROTOCOL);
        cubby_exec_free(x);
    }
    static const char *const detached[] = {"violate skipped-twice", "violate skipped-after-eof"};
    for (size_t i = 0; i < ARRAY_LEN(detached); i++) {
        struct cubby_exec *x = start(detached[i], (struct cubby_exec_options){.flags = CUBBY_EXEC_DETACHED});
        assert_int_equal(wait_error(x, "broke the protocol"), CUBBY_EPROTOCOL);
        cubby_exec_free(x);
    }
    struct cubby_exec *x = start("exit 3", (struct cubby_exec_options){0});
    assert_int_equal(wait_result(x).exit_code, 3); /* the box is as good as before */
    cubby_exec_free(x);
}

/* What the execution has not taken from its socket yet. */
static int unread(const struct cubby_exec *x)
{
    int n = 0;
    assert_int_equal(ioctl(x->fd, FIONREAD, &n), 0);
    return n;
}

static void a_guest_that_never_pauses_holds_up_no_timeout(void **state)
{
    (void)state;
    struct cubby_exec *x = start("hail", (struct cubby_exec_options){.flags = CUBBY_EXEC_STDIN});
    assert_true(cubby_exec_poll(x, CUBBY_IS_STARTED, PATIENCE_MS) & CUBBY_IS_STARTED);
    assert_int_equal(cubby_exec_signal(x, SIGUSR1, 0), 0);
    for (int i = 0; i < 1000 && unread(x) < FAKE_HAIL_LEN; i++)
        usleep(10000);
    assert_int_equal(unread(x), FAKE_HAIL_LEN);
    cubby_exec_poll(x, 0, 0);
    assert_in_range(unread(x), 1, FAKE_HAIL_LEN - 1); /* one call takes a bounded part */
    struct pollfd p = {.fd = cubby_exec_fd(x), .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 1); /* and there is a reason to come again */
    for (int i = 0; i < 100 && unread(x); i++)
        cubby_exec_poll(x, 0, 0);
    assert_int_equal(unread(x), 0);
    cubby_exec_free(x);
}

static void answers_about_executions_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        int attach, list, remove;
    } cases[] = {
        {"other-id", CUBBY_EPROTOCOL, CUBBY_EPROTOCOL, CUBBY_EPROTOCOL},
        {"started", CUBBY_EPROTOCOL, CUBBY_EPROTOCOL, CUBBY_EPROTOCOL},
        {"exited", CUBBY_EPROTOCOL, CUBBY_EPROTOCOL, 0},
        {"same-item-twice", CUBBY_EPROTOCOL, CUBBY_EPROTOCOL, CUBBY_EPROTOCOL},
        {"wrong-count", CUBBY_EPROTOCOL, CUBBY_EPROTOCOL, CUBBY_EPROTOCOL},
        {"endless-list", CUBBY_EPROTOCOL, CUBBY_EPROTOCOL, CUBBY_EPROTOCOL},
        {"close", CUBBY_EGUEST_LOST, CUBBY_EGUEST_LOST, CUBBY_EGUEST_LOST},
        {"mute", CUBBY_ETIMEOUT, CUBBY_ETIMEOUT, CUBBY_ETIMEOUT},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct cubby_error e;
        struct cubby_exec_list *list;
        struct cubby_exec *x;
        int patience = cases[i].list == CUBBY_ETIMEOUT ? 50 : PATIENCE_MS;
        setenv("FAKE_ANSWER", cases[i].answer, 1);
        assert_int_equal(cubby_box_start(box, &e), 0);
        assert_int_equal(cubby_exec_attach(&x, box, 7, NULL, &e), 0);
        assert_int_equal(cubby_exec_wait(x, patience, NULL, &e), cases[i].attach);
        cubby_exec_free(x);
        assert_int_equal(cubby_exec_list(&list, box, patience, &e), cases[i].list);
        assert_null(list);
        assert_int_equal(cubby_exec_remove(box, 7, 0, patience, NULL, &e), cases[i].remove);
        cubby_box_destroy(box); /* the environment is the VMM's at its start */
        assert_int_equal(cubby_box_create(&box, NULL, NULL), 0);
    }
    unsetenv("FAKE_ANSWER");
}

static void a_version_that_was_not_offered_is_refused(void **state)
{
    (void)state;
    setenv("FAKE_VERSION", "7", 1);
    struct cubby_exec *x = start("exit 0", (struct cubby_exec_options){0});
    assert_int_equal(wait_error(x, "version"), CUBBY_EPROTOCOL);
    cubby_exec_free(x);
}

static void an_answer_that_is_not_ok_is_refused(void **state)
{
    (void)state;
    static const char *const answers[] = {"NO 1234\n", "OK\n",
                                          "OK 12345678901234567890123456789012345678901234567890"};
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        setenv("FAKE_OK", answers[i], 1);
        struct cubby_exec *x = start("exit 0", (struct cubby_exec_options){0});
        assert_int_equal(wait_error(x, "OK"), CUBBY_EPROTOCOL);
        cubby_exec_free(x);
        cubby_box_destroy(box); /* the environment is the VMM's at its start */
        assert_int_equal(cubby_box_create(&box, NULL, NULL), 0);
    }
}

static void a_connection_that_ends_without_a_result_is_a_lost_guest(void **state)
{
    (void)state;
    char out[16] = "";
    struct cubby_exec *x = start("close", (struct cubby_exec_options){0});
    assert_int_equal(wait_error(x, "without a result"), CUBBY_EGUEST_LOST);
    assert_int_equal(read_all(x, CUBBY_STDOUT, out, sizeof(out)), 4);
    assert_string_equal(out, "last");
    assert_int_equal(cubby_box_state(box), CUBBY_RUNNING);
    cubby_exec_free(x);
}

static void a_vmm_that_dies_is_told_with_its_reason_and_the_last_bytes(void **state)
{
    (void)state;
    struct cubby_exec *other = start("hang", (struct cubby_exec_options){0});
    assert_true(cubby_exec_poll(other, CUBBY_IS_STARTED, PATIENCE_MS) & CUBBY_IS_STARTED);
    struct cubby_exec *x = start("crash", (struct cubby_exec_options){0});
    assert_int_equal(wait_error(x, "SIGKILL"), CUBBY_EGUEST_LOST);
    assert_int_equal(read_all(x, CUBBY_STDOUT, NULL, 0), 4);
    assert_int_equal(wait_error(other, "SIGKILL"), CUBBY_EGUEST_LOST);
    cubby_exec_free(x);
    cubby_exec_free(other);
}

static void an_execution_may_be_asked_for_while_the_box_boots_and_fails(void **state)
{
    (void)state;
    setenv("FAKE_VMM", "panic", 1);
    struct cubby_exec *x = start("exit 0", (struct cubby_exec_options){0});
    assert_int_equal(wait_error(x, "panicked"), CUBBY_EBOOT);
    cubby_exec_free(x);
}

static void an_execution_that_outlives_its_box_is_stopped(void **state)
{
    (void)state;
    struct cubby_exec *x = start("hang", (struct cubby_exec_options){.flags = CUBBY_EXEC_STDIN});
    assert_true(cubby_exec_poll(x, CUBBY_IS_STARTED, PATIENCE_MS) & CUBBY_IS_STARTED);
    cubby_box_destroy(box);
    box = NULL;
    assert_int_equal(wait_error(x, "stopped"), CUBBY_ESTOPPED);
    assert_int_equal(cubby_exec_write(x, "x", 1), CUBBY_ECLOSED);
    cubby_exec_free(x);
}

static void a_guest_that_ignores_the_timeout_is_timed_out_by_the_host(void **state)
{
    (void)state;
    struct cubby_exec_options o = {.timeout_ms = 1, .grace_ms = 1};
    struct cubby_exec *x = start("hang", o);
    o.flags = CUBBY_EXEC_DETACHED;
    struct cubby_exec *detached = start("hang", o);
    /* The guest's own 5 s for processes that do not die are not enough. */
    assert_int_equal(cubby_exec_wait(x, 6000, NULL, NULL), CUBBY_ETIMEOUT);
    struct cubby_result r = wait_result(x);
    assert_int_equal(r.how, CUBBY_TIMED_OUT);
    assert_int_equal(r.exit_code, -SIGKILL);
    cubby_exec_free(x);
    /* For all that we know it runs on. */
    assert_int_equal(wait_error(detached, "did not end the command"), CUBBY_EGUEST_LOST);
    cubby_exec_free(detached);
}

static void waiting_can_time_out_and_go_on(void **state)
{
    (void)state;
    struct cubby_error e;
    struct cubby_exec *x = start("hang", (struct cubby_exec_options){0});
    assert_int_equal(cubby_exec_wait(x, 10, NULL, &e), CUBBY_ETIMEOUT);
    assert_int_equal(cubby_exec_kill(x), 0);
    assert_int_equal(wait_result(x).exit_code, -SIGKILL);
    cubby_exec_free(x);
}

static void the_descriptor_wakes_an_event_loop(void **state)
{
    (void)state;
    struct cubby_exec *x = start("say a b", (struct cubby_exec_options){0});
    size_t got = 0;
    while (!(cubby_exec_poll(x, 0, 0) & CUBBY_IS_ENDED)) {
        struct pollfd pfd = {.fd = cubby_exec_fd(x), .events = POLLIN};
        assert_int_equal(poll(&pfd, 1, PATIENCE_MS), 1);
    }
    got += read_all(x, CUBBY_STDOUT, NULL, 0);
    got += read_all(x, CUBBY_STDERR, NULL, 0);
    assert_int_equal(got, 2);
    cubby_exec_free(x);
}

struct reading {
    struct cubby_exec *x;
    int stream;
    size_t got;
};

static void *read_in_thread(void *arg)
{
    struct reading *r = arg;
    char chunk[8192];
    ssize_t n = 1;
    int bit = r->stream == CUBBY_STDOUT ? CUBBY_CAN_READ_STDOUT : CUBBY_CAN_READ_STDERR;
    while (n != 0 && cubby_exec_poll(r->x, bit, PATIENCE_MS) & bit) {
        n = cubby_exec_read(r->x, r->stream, chunk, sizeof(chunk));
        r->got += n > 0 ? (size_t)n : 0;
    }
    return NULL;
}

static void threads_may_read_the_streams_and_wait_at_once(void **state)
{
    (void)state;
    struct cubby_exec *x = start("flood 3000000 2000000", (struct cubby_exec_options){.buffer = 65536});
    struct reading out = {x, CUBBY_STDOUT, 0}, err = {x, CUBBY_STDERR, 0};
    pthread_t a, b;
    pthread_create(&a, NULL, read_in_thread, &out);
    pthread_create(&b, NULL, read_in_thread, &err);
    assert_int_equal(wait_result(x).exit_code, 0);
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    assert_int_equal(out.got, 3000000);
    assert_int_equal(err.got, 2000000);
    cubby_exec_free(x);
}

static void fifty_executions_at_once_are_independent(void **state)
{
    (void)state;
    struct cubby_exec *x[50];
    char words[32];
    for (int i = 0; i < 50; i++) {
        snprintf(words, sizeof(words), "exit %d", i);
        x[i] = start(words, (struct cubby_exec_options){0});
    }
    for (int i = 49; i >= 0; i--) {
        assert_int_equal(wait_result(x[i]).exit_code, i);
        cubby_exec_free(x[i]);
    }
}

static void the_environment_is_sent_as_given(void **state)
{
    (void)state;
    char out[64] = "";
    static const char *const env[] = {"A=1", "B=two words", "C=", NULL};
    struct cubby_exec *x = start("env", (struct cubby_exec_options){.env = env});
    read_all(x, CUBBY_STDOUT, out, sizeof(out));
    assert_string_equal(out, "A=1\nB=two words\nC=\n");
    cubby_exec_free(x);
}

static void refuse(struct cubby_exec_options o, const char *words)
{
    struct cubby_exec *x = (void *)1;
    struct cubby_error e = {0};
    o.size = sizeof(o);
    assert_int_equal(cubby_exec_start(&x, box, &o, &e), CUBBY_EARGUMENT);
    assert_null(x);
    if (!strstr(e.message, words))
        fail_msg("'%s' is not in '%s'", words, e.message);
}

static void options_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static const char *const none[] = {NULL}, *const empty[] = {"", NULL}, *const ok[] = {"x", NULL};
    static const char *const bad_env[] = {"NOVALUE", NULL}, *const no_name[] = {"=x", NULL};
    static char long_word[200000];
    memset(long_word, 'x', sizeof(long_word) - 1);
    const char *const too_long[] = {long_word, NULL};
    assert_int_equal(cubby_box_start(box, NULL), 0);
    refuse((struct cubby_exec_options){0}, "no command");
    refuse((struct cubby_exec_options){.argv = none}, "no command");
    refuse((struct cubby_exec_options){.argv = empty}, "empty");
    refuse((struct cubby_exec_options){.argv = too_long}, "");
    refuse((struct cubby_exec_options){.argv = ok, .env = bad_env}, "NOVALUE");
    refuse((struct cubby_exec_options){.argv = ok, .env = no_name}, "=x");
    refuse((struct cubby_exec_options){.argv = ok, .flags = 0x100}, "0x100");
    refuse((struct cubby_exec_options){.argv = ok, .buffer = 1}, "buffer");
    refuse((struct cubby_exec_options){.argv = ok, .rows = 70000}, "70000");
    refuse((struct cubby_exec_options){.argv = ok, .workdir = "relative"}, "");
    refuse((struct cubby_exec_options){.argv = ok, .grace_ms = 600001}, "");
}

static void limits_reach_the_guest(void **state)
{
    (void)state;
    char out[300];
    static const struct cubby_rlimit rlimits[] = {
        {.resource = RLIMIT_NOFILE, .soft = 64, .hard = 128},
        {.resource = RLIMIT_CORE, .soft = 0, .hard = CUBBY_RLIM_INFINITY},
    };
    struct cubby_exec *x = start("limits", (struct cubby_exec_options){0});
    read_all(x, CUBBY_STDOUT, out, sizeof(out));
    assert_string_equal(out, "0 0 0\n");
    cubby_exec_free(x);
    x = start("limits", (struct cubby_exec_options){.memory_limit_mib = CUBBY_MEMORY_MIB_MAX,
                                                    .pids_limit = 100,
                                                    .cpu_limit_milli = 1500,
                                                    .rlimit_count = 2,
                                                    .rlimits = rlimits});
    read_all(x, CUBBY_STDOUT, out, sizeof(out));
    assert_string_equal(out, "17592186044416 100 1500\n7 64 128\n4 0 18446744073709551615\n");
    cubby_exec_free(x);
}

static void limits_that_were_hit_are_told(void **state)
{
    (void)state;
    static const struct {
        const char *words;
        unsigned memory_limit_mib, flags;
    } cases[] = {{"exit 0", 8, 0},
                 {"oom", 0, CUBBY_HIT_OOM},
                 {"oom", 8, CUBBY_HIT_OOM | CUBBY_HIT_MEMORY_LIMIT},
                 {"inner-oom", 8, CUBBY_HIT_OOM | CUBBY_HIT_MEMORY_LIMIT},
                 {"bomb", 0, CUBBY_HIT_PIDS_LIMIT}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct cubby_exec *x =
            start(cases[i].words, (struct cubby_exec_options){.memory_limit_mib = cases[i].memory_limit_mib});
        assert_int_equal(wait_result(x).flags, cases[i].flags);
        cubby_exec_free(x);
    }
}

static void refuse_rlimit(struct cubby_rlimit l, const char *words)
{
    static const char *const ok[] = {"x", NULL};
    refuse((struct cubby_exec_options){.argv = ok, .rlimit_count = 1, .rlimits = &l}, words);
}

static void limits_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static const char *const ok[] = {"x", NULL};
    static const struct cubby_rlimit twice[] = {{.resource = 7}, {.resource = 7}};
    assert_int_equal(cubby_box_start(box, NULL), 0);
    refuse((struct cubby_exec_options){.argv = ok, .memory_limit_mib = CUBBY_MEMORY_MIB_MAX + 1},
           "a memory limit (in MiB) of 16777217");
    refuse((struct cubby_exec_options){.argv = ok, .pids_limit = CUBBY_PIDS_LIMIT_MAX + 1}, "1 to 4194304");
    refuse((struct cubby_exec_options){.argv = ok, .cpu_limit_milli = 9},
           "a CPU limit (in thousandths) of 9");
    refuse((struct cubby_exec_options){.argv = ok, .cpu_limit_milli = 64001}, "10 to 64000");
    refuse((struct cubby_exec_options){.argv = ok, .rlimit_count = 17, .rlimits = twice}, "too many");
    refuse((struct cubby_exec_options){.argv = ok, .rlimit_count = 1}, "rlimits is NULL");
    refuse((struct cubby_exec_options){.argv = ok, .rlimit_count = 2, .rlimits = twice}, "limited twice");
    refuse_rlimit((struct cubby_rlimit){.resource = -1}, "resource -1");
    refuse_rlimit((struct cubby_rlimit){.resource = 16}, "no resource 16");
    refuse_rlimit((struct cubby_rlimit){.resource = 7, .reserved = 1}, "reserved 1");
    refuse_rlimit((struct cubby_rlimit){.resource = 7, .soft = 2, .hard = 1}, "above its hard limit");
}

/* As a program hands them over that was built when limits were not known. */
static void options_of_an_older_header_have_no_limits(void **state)
{
    (void)state;
    static const char *const argv[] = {"limits", NULL};
    struct cubby_exec_options o = {.argv = argv};
    char out[64];
    struct cubby_exec *x;
    memset(&o.memory_limit_mib, 0xff, sizeof(o) - offsetof(struct cubby_exec_options, memory_limit_mib));
    o.size = offsetof(struct cubby_exec_options, memory_limit_mib);
    assert_int_equal(cubby_box_start(box, NULL), 0);
    assert_int_equal(cubby_exec_start(&x, box, &o, NULL), 0);
    read_all(x, CUBBY_STDOUT, out, sizeof(out));
    assert_string_equal(out, "0 0 0\n");
    cubby_exec_free(x);
}

static void handles_that_are_missing_are_refused(void **state)
{
    (void)state;
    static const char *const ok[] = {"x", NULL};
    struct cubby_exec_options o = {.size = sizeof(o), .argv = ok};
    struct cubby_error e;
    struct cubby_exec *x;
    assert_int_equal(cubby_exec_start(&x, box, &o, &e), CUBBY_ESTATE); /* not started */
    assert_int_equal(cubby_exec_start(NULL, box, &o, &e), CUBBY_EARGUMENT);
    assert_int_equal(cubby_exec_start(&x, NULL, &o, &e), CUBBY_EARGUMENT);
    assert_int_equal(cubby_exec_start(&x, box, NULL, &e), CUBBY_EARGUMENT);
    assert_int_equal(cubby_exec_fd(NULL), CUBBY_EARGUMENT);
    assert_int_equal(cubby_exec_poll(NULL, 0, 0), CUBBY_EARGUMENT);
    assert_int_equal(cubby_exec_read(NULL, CUBBY_STDOUT, NULL, 0), CUBBY_EARGUMENT);
    assert_int_equal(cubby_exec_write(NULL, NULL, 0), CUBBY_EARGUMENT);
    assert_int_equal(cubby_exec_close_stdin(NULL), CUBBY_EARGUMENT);
    assert_int_equal(cubby_exec_close_output(NULL, CUBBY_STDOUT), CUBBY_EARGUMENT);
    assert_int_equal(cubby_exec_signal(NULL, 1, 0), CUBBY_EARGUMENT);
    assert_int_equal(cubby_exec_resize(NULL, 1, 1), CUBBY_EARGUMENT);
    assert_int_equal(cubby_exec_kill(NULL), CUBBY_EARGUMENT);
    assert_int_equal(cubby_exec_wait(NULL, 0, NULL, &e), CUBBY_EARGUMENT);
    cubby_exec_free(NULL);
    x = start("exit 0", (struct cubby_exec_options){0});
    struct cubby_result bad = {.size = 0};
    char byte;
    assert_int_equal(cubby_exec_wait(x, 0, &bad, &e), CUBBY_EARGUMENT);
    assert_int_equal(cubby_exec_read(x, CUBBY_STDIN, &byte, 1), CUBBY_EARGUMENT);
    assert_int_equal(cubby_exec_read(x, CUBBY_STDOUT, NULL, 1), CUBBY_EARGUMENT);
    assert_int_equal(cubby_exec_close_output(x, 7), CUBBY_EARGUMENT);
    assert_int_equal(cubby_exec_signal(x, 0, 0), CUBBY_EARGUMENT);
    assert_int_equal(cubby_exec_signal(x, 65, 0), CUBBY_EARGUMENT);
    cubby_exec_free(x);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(int argc, char **argv)
{
    (void)argc;
    if (is_fake_vmm(argv)) {
        int code = fake_vmm_main(argv);
        fflush(NULL);
        _exit(code);
    }
    const struct CMUnitTest tests[] = {
        TEST(exit_codes_come_back_as_they_are),
        TEST(ends_by_signal_time_and_memory_are_told_apart),
        TEST(spawn_failures_are_told_apart),
        TEST(stdout_and_stderr_come_apart),
        TEST(output_can_be_read_after_the_end),
        TEST(large_output_passes_through_a_small_buffer),
        TEST(a_stream_that_nobody_reads_stalls_only_itself),
        TEST(streams_that_are_not_wanted_have_ended),
        TEST(stdin_goes_through_with_credit_and_ends),
        TEST(a_command_that_closes_its_stdin_refuses_more),
        TEST(writing_without_stdin_is_a_wrong_state),
        TEST(signals_reach_the_command),
        TEST(a_kill_before_the_start_is_not_lost),
        TEST(a_reader_who_leaves_makes_the_writer_get_sigpipe),
        TEST(an_agent_that_breaks_the_protocol_is_refused),
        TEST(a_guest_that_never_pauses_holds_up_no_timeout),
        TEST(answers_about_executions_that_cannot_be_are_refused),
        TEST(a_version_that_was_not_offered_is_refused),
        TEST(an_answer_that_is_not_ok_is_refused),
        TEST(a_connection_that_ends_without_a_result_is_a_lost_guest),
        TEST(a_vmm_that_dies_is_told_with_its_reason_and_the_last_bytes),
        TEST(an_execution_may_be_asked_for_while_the_box_boots_and_fails),
        TEST(an_execution_that_outlives_its_box_is_stopped),
        TEST(a_guest_that_ignores_the_timeout_is_timed_out_by_the_host),
        TEST(waiting_can_time_out_and_go_on),
        TEST(the_descriptor_wakes_an_event_loop),
        TEST(threads_may_read_the_streams_and_wait_at_once),
        TEST(fifty_executions_at_once_are_independent),
        TEST(the_environment_is_sent_as_given),
        TEST(options_that_cannot_be_are_refused),
        TEST(limits_reach_the_guest),
        TEST(limits_that_were_hit_are_told),
        TEST(limits_that_cannot_be_are_refused),
        TEST(options_of_an_older_header_have_no_limits),
        TEST(handles_that_are_missing_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
