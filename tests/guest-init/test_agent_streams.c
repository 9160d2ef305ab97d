/* SPDX-License-Identifier: Apache-2.0 */
/* The streams of an execution, natively: windows, stdin, terminals. */
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

static struct exec_request shell(const char *script)
{
    static const char *argv[] = {"sh", "-c", NULL, NULL};
    argv[2] = script;
    return request_of(argv);
}

/* Reads frames until `what` holds. */
#define UNTIL(c, what)                                                                                       \
    do {                                                                                                     \
        struct frame until_frame_;                                                                           \
        while (!(what) && client_next(c, &until_frame_))                                                     \
            outcome_note(c, &o, &until_frame_);                                                              \
        assert_true(what);                                                                                   \
    } while (0)

static void long_outputs_arrive_whole_and_apart(void **state)
{
    (void)state;
    struct exec_request q = shell("head -c 20000000 /dev/zero & head -c 10000000 /dev/zero >&2; wait");
    run(&served, &q, &o);
    assert_int_equal(o.out_len, 20000000);
    assert_int_equal(o.err_len, 10000000);
    assert_int_equal(o.exit.how, HOW_EXITED);
}

static void a_stream_that_nobody_takes_does_not_stall_the_other(void **state)
{
    (void)state;
    struct client c;
    struct exec_request q =
        shell("head -c 1000000 /dev/zero & head -c 1000000 /dev/zero >&2; echo end >&2; wait");
    q.window_out = 0;
    begin(&c, &served, &q, &o);
    UNTIL(&c, o.err_len == 1000004);
    assert_int_equal(o.out_len, 0);
    assert_false(o.exited);
    client_credit(&c, STREAM_STDOUT, 4096);
    client_finish(&c, &o); /* note() gives back what comes, so this much stays on its way */
    assert_int_equal(o.out_len, 1000000);
}

static void no_more_is_sent_than_the_window_allows(void **state)
{
    (void)state;
    struct client c;
    struct frame f;
    struct exec_request q = shell("head -c 100000 /dev/zero; echo >&2");
    q.window_out = 1000;
    begin(&c, &served, &q, &o);
    client_started(&c, &o);
    size_t got = 0, credit = 1000;
    while (got < credit && credit < 5000) { /* outcome_note() is not asked: it would give credit */
        client_expect(&c, &f, FRAME_STDOUT);
        got += f.len;
        assert_true(got <= credit);
        if (got == credit) {
            client_credit(&c, STREAM_STDOUT, 1000);
            credit += 1000;
        }
    }
    client_kill(&c);
    while (client_next(&c, &f))
        got += f.type == FRAME_STDOUT ? f.len : 0;
    assert_true(got <= credit);
    client_close(&c);
}

/* The agent may read nothing before STARTED, or it would throw away what the first instructions write. */
static void credit_that_comes_with_the_request_loses_nothing(void **state)
{
    (void)state;
    static const char *const argv[] = {"echo", "first", NULL};
    struct exec_request q = request_of(argv);
    q.window_out = 0;
    for (int i = 0; i < 50; i++) {
        struct client c;
        begin(&c, &served, &q, &o);
        client_credit(&c, STREAM_STDOUT, 1000);
        client_finish(&c, &o);
        assert_string_equal(o.out, "first\n");
    }
}

/* Longer than the agent waits for its client to close: that begins when the socket has taken all. */
static void who_reads_late_gets_all_and_the_result(void **state)
{
    (void)state;
    struct client c;
    struct exec_request q = shell("head -c 1000000 /dev/zero");
    int small = 4096;
    memset(&o, 0, sizeof(o));
    client_connect(&c, &served);
    setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    client_hello(&c);
    client_exec(&c, &q);
    struct frame f;
    size_t got = 0;
    bool exited = false;
    client_started(&c, &o);
    /* The rest fits into what the sockets hold, so that the workload ends. */
    while (got < 700000 && client_next(&c, &f))
        got += f.type == FRAME_STDOUT ? f.len : 0;
    sleep(6);
    while (client_next(&c, &f)) {
        got += f.type == FRAME_STDOUT ? f.len : 0;
        exited |= f.type == FRAME_EXITED;
    }
    client_close(&c);
    assert_int_equal(got, 1000000);
    assert_true(exited);
}

static void stdin_arrives_and_its_end_too(void **state)
{
    (void)state;
    struct client c;
    struct exec_request q = shell("cat; echo end");
    q.flags |= EXEC_STDIN;
    begin(&c, &served, &q, &o);
    client_stdin(&c, "hello ", 6);
    client_stdin(&c, "world\n", 6);
    client_stdin_eof(&c);
    client_finish(&c, &o);
    assert_string_equal(o.out, "hello world\nend\n");
    assert_false(o.in_eof);
}

static void stdin_of_many_windows_is_paced_by_credit(void **state)
{
    (void)state;
    enum { TOTAL = 3000000 };
    static char data[STDIN_WINDOW];
    struct client c;
    struct exec_request q = shell("wc -c");
    q.flags |= EXEC_STDIN;
    begin(&c, &served, &q, &o);
    size_t sent = 0;
    while (sent < TOTAL) {
        size_t may = (size_t)o.credit + STDIN_WINDOW - sent;
        size_t n = may < TOTAL - sent ? may : TOTAL - sent;
        n = n < sizeof(data) ? n : sizeof(data);
        if (n > 0) {
            client_stdin(&c, data, n);
            sent += n;
        } else {
            struct frame f;
            assert_true(client_next(&c, &f));
            outcome_note(&c, &o, &f);
        }
    }
    client_stdin_eof(&c);
    client_finish(&c, &o);
    assert_string_equal(o.out, "3000000\n");
    assert_true(o.credit <= TOTAL);
}

static void a_workload_that_does_not_read_gives_no_credit(void **state)
{
    (void)state;
    static char data[STDIN_WINDOW];
    struct client c;
    struct exec_request q = shell("echo up; read x <&2; head -c 131072 /dev/null; sleep 1000");
    q.flags |= EXEC_STDIN;
    begin(&c, &served, &q, &o);
    client_stdin(&c, data, sizeof(data)); /* a pipe's worth goes through, and is credited */
    UNTIL(&c, o.out_len > 0);
    while (o.credit < STDIN_WINDOW) {
        struct frame f;
        assert_true(client_next(&c, &f));
        outcome_note(&c, &o, &f);
    }
    client_stdin(&c, data, sizeof(data)); /* this window stays with the agent */
    client_kill(&c);
    client_finish(&c, &o);
    assert_int_equal(o.credit, STDIN_WINDOW);
}

static void stdin_beyond_the_credit_is_a_violation(void **state)
{
    (void)state;
    static char data[STREAM_CHUNK_MAX];
    struct client c;
    struct exec_request q = shell("sleep 1000");
    q.flags |= EXEC_STDIN;
    begin(&c, &served, &q, &o);
    for (int i = 0; i < 4; i++)
        client_stdin(&c, data, sizeof(data));
    client_finish(&c, &o);
    assert_true(o.error);
    assert_int_equal(o.why.stage, STAGE_PROTOCOL);
}

static void a_workload_that_closes_stdin_early_is_told(void **state)
{
    (void)state;
    struct client c;
    struct exec_request q = shell("exec </dev/null; echo closed; read x <&2 2>/dev/null; sleep 0.1");
    q.flags |= EXEC_STDIN;
    begin(&c, &served, &q, &o);
    UNTIL(&c, o.in_eof && o.out_len > 0);
    client_stdin(&c, "too late", 8); /* within the credit, so no violation: dropped */
    client_stdin_eof(&c);
    client_finish(&c, &o);
    assert_int_equal(o.exit.how, HOW_EXITED);
}

static void stdin_open_for_ever_does_not_hold_the_result(void **state)
{
    (void)state;
    struct exec_request q = shell("exit 4");
    q.flags |= EXEC_STDIN;
    run(&served, &q, &o);
    assert_int_equal(o.exit.code, 4);
    assert_true(o.in_eof);
}

/* --- terminals --- */

static struct exec_request terminal(const char *script)
{
    struct exec_request q = shell(script);
    q.tty = true;
    q.rows = 43;
    q.cols = 132;
    q.flags = EXEC_STDIN | EXEC_STDOUT;
    return q;
}

static void a_terminal_has_its_size_and_is_one(void **state)
{
    (void)state;
    struct exec_request q =
        terminal("stty size; test -t 0 && test -t 1 && test -t 2 && echo tty $TERM; exit 6");
    run(&served, &q, &o);
    assert_string_equal(o.out, "43 132\r\ntty xterm\r\n");
    assert_int_equal(o.exit.code, 6);
    assert_int_equal(o.err_len, 0);
}

static void a_terminal_is_resized_while_running(void **state)
{
    (void)state;
    struct client c;
    uint8_t frame[32];
    struct exec_request q = terminal("trap 'stty size; exit' WINCH; echo up; while :; do sleep 0.05; done");
    begin(&c, &served, &q, &o);
    UNTIL(&c, o.out_len >= 4);
    struct msg_resize m = {50, 90};
    put(c.fd, frame, msg_resize_encode(&m, frame, sizeof(frame)));
    client_finish(&c, &o);
    assert_string_equal(o.out, "up\r\n50 90\r\n");
}

static void control_c_interrupts_the_foreground(void **state)
{
    (void)state;
    struct client c;
    struct exec_request q = terminal("trap 'echo interrupted; exit 9' INT; stty -echo; echo up;"
                                     "while :; do sleep 0.05; done");
    begin(&c, &served, &q, &o);
    UNTIL(&c, o.out_len >= 4);
    client_stdin(&c, "\003", 1);
    client_finish(&c, &o);
    assert_string_equal(o.out, "up\r\ninterrupted\r\n");
    assert_int_equal(o.exit.code, 9);
}

static void end_of_input_on_a_terminal_is_its_eof_character(void **state)
{
    (void)state;
    struct client c;
    struct exec_request q = terminal("stty -echo; echo up; cat; echo end");
    begin(&c, &served, &q, &o);
    UNTIL(&c, o.out_len >= 4);
    client_stdin(&c, "line\n", 5);
    client_stdin_eof(&c);
    client_finish(&c, &o);
    assert_string_equal(o.out, "up\r\nline\r\nend\r\n");
}

static void a_terminal_whose_output_is_unwanted_does_not_block(void **state)
{
    (void)state;
    struct exec_request q = terminal("head -c 1000000 /dev/zero; exit 8");
    q.flags = 0;
    run(&served, &q, &o);
    assert_int_equal(o.exit.code, 8);
    assert_int_equal(o.out_len, 0);
}

static void a_resize_without_a_terminal_is_a_violation(void **state)
{
    (void)state;
    struct client c;
    uint8_t frame[32];
    struct msg_resize m = {50, 90};
    struct exec_request q = shell("sleep 1000");
    begin(&c, &served, &q, &o);
    put(c.fd, frame, msg_resize_encode(&m, frame, sizeof(frame)));
    client_finish(&c, &o);
    assert_true(o.error);
    assert_int_equal(o.why.stage, STAGE_PROTOCOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_outputs_arrive_whole_and_apart),
        cmocka_unit_test(a_stream_that_nobody_takes_does_not_stall_the_other),
        cmocka_unit_test(no_more_is_sent_than_the_window_allows),
        cmocka_unit_test(credit_that_comes_with_the_request_loses_nothing),
        cmocka_unit_test(who_reads_late_gets_all_and_the_result),
        cmocka_unit_test(stdin_arrives_and_its_end_too),
        cmocka_unit_test(stdin_of_many_windows_is_paced_by_credit),
        cmocka_unit_test(a_workload_that_does_not_read_gives_no_credit),
        cmocka_unit_test(stdin_beyond_the_credit_is_a_violation),
        cmocka_unit_test(a_workload_that_closes_stdin_early_is_told),
        cmocka_unit_test(stdin_open_for_ever_does_not_hold_the_result),
        cmocka_unit_test(a_terminal_has_its_size_and_is_one),
        cmocka_unit_test(a_terminal_is_resized_while_running),
        cmocka_unit_test(control_c_interrupts_the_foreground),
        cmocka_unit_test(end_of_input_on_a_terminal_is_its_eof_character),
        cmocka_unit_test(a_terminal_whose_output_is_unwanted_does_not_block),
        cmocka_unit_test(a_resize_without_a_terminal_is_a_violation),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
