/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that break the protocol, and the control connection: each is answered, and the agent lives on. */
#include "tests/guest-init/client.h"

#include <sys/resource.h>

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

/* The agent's answer to these bytes is one ERROR, then the end of the connection. */
static void expect_refusal(struct client *c, const void *bytes, size_t len, enum error_stage stage)
{
    memset(&o, 0, sizeof(o));
    put(c->fd, bytes, len);
    client_finish(c, &o);
    assert_true(o.error);
    assert_int_equal(o.why.stage, stage);
    assert_true(o.why.text[0]);
}

static void still_serves(void)
{
    run_sh(&served, "echo fine", &o);
    assert_string_equal(o.out, "fine\n");
}

static void no_common_version_is_told(void **state)
{
    (void)state;
    struct client c;
    uint8_t frame[32];
    struct msg_hello m = {2, 9};
    client_connect(&c, &served);
    expect_refusal(&c, frame, msg_hello_encode(&m, frame, sizeof(frame)), STAGE_VERSION);
    assert_string_equal(o.why.text, "the client speaks versions 2 to 9, this agent 1 to 1");
}

static void a_newer_client_is_met_at_our_version(void **state)
{
    (void)state;
    struct client c;
    struct frame f;
    uint8_t frame[32];
    struct msg_hello m = {1, 7};
    client_connect(&c, &served);
    put(c.fd, frame, msg_hello_encode(&m, frame, sizeof(frame)));
    client_expect(&c, &f, FRAME_HELLO);
    assert_int_equal(msg_hello_decode(&f, &m), 0);
    assert_int_equal(m.version_max, 1);
    client_close(&c);
}

static void the_first_frame_must_be_hello(void **state)
{
    (void)state;
    struct client c;
    uint8_t frame[32];
    client_connect(&c, &served);
    expect_refusal(&c, frame, msg_ping_encode(FRAME_PING, 1, frame, sizeof(frame)), STAGE_PROTOCOL);
    static const uint8_t http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    client_connect(&c, &served);
    expect_refusal(&c, http, sizeof(http) - 1, STAGE_PROTOCOL);
    uint8_t magic[] = {8, 0, 0, 0, 1, 0, 0, 0, 'C', 'U', 'B', 'X', 1, 0, 1, 0};
    client_connect(&c, &served);
    expect_refusal(&c, magic, sizeof(magic), STAGE_PROTOCOL);
    still_serves();
}

static void frames_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        uint8_t header[FRAME_HEADER];
    } cases[] = {
        {"a type that does not exist", {0, 0, 0, 0, 0x7f, 0, 0, 0}},
        {"a type of the other direction", {12, 0, 0, 0, FRAME_STARTED, 0, 0, 0}},
        {"a flag", {0, 0, 0, 0, FRAME_KILL, 1, 0, 0}},
        {"a reserved bit", {0, 0, 0, 0, FRAME_KILL, 0, 0, 1}},
        {"a payload too long for its type", {1, 0, 0, 0, FRAME_KILL, 0, 0, 0}},
        {"the longest length there is", {255, 255, 255, 255, FRAME_EXEC, 0, 0, 0}},
        {"an EXEC of more than 2 MiB", {1, 0, 0x20, 0, FRAME_EXEC, 0, 0, 0}},
        {"an empty STDIN", {0, 0, 0, 0, FRAME_STDIN, 0, 0, 0}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct client c;
        client_connect(&c, &served);
        client_hello(&c);
        expect_refusal(&c, cases[i].header, FRAME_HEADER, STAGE_PROTOCOL);
    }
    still_serves();
}

static void frames_out_of_order_are_refused(void **state)
{
    (void)state;
    static const enum frame_type early[] = {FRAME_KILL, FRAME_HELLO};
    for (size_t i = 0; i < ARRAY_LEN(early); i++) {
        struct client c;
        uint8_t frame[32];
        struct msg_hello m = {1, 1};
        client_connect(&c, &served);
        client_hello(&c);
        size_t len = early[i] == FRAME_KILL ? msg_kill_encode(frame, sizeof(frame))
                                            : msg_hello_encode(&m, frame, sizeof(frame));
        expect_refusal(&c, frame, len, STAGE_PROTOCOL);
    }
    static const char *const argv[] = {"sleep", "1000", NULL};
    struct exec_request q = request_of(argv);
    struct client c;
    begin(&c, &served, &q, &o);
    client_started(&c, &o);
    client_exec(&c, &q); /* one execution per connection */
    client_finish(&c, &o);
    assert_true(o.error);
    await_death((pid_t)o.start.pid); /* its tree is killed */
}

static void an_exec_that_is_malformed_names_the_field(void **state)
{
    (void)state;
    struct client c;
    uint8_t frame[] = {8, 0, 0, 0, FRAME_EXEC, 0, 0, 0, EXEC_TAG_ARG, 0, 2, 0, 0, 0, 'x', 'y'};
    client_connect(&c, &served);
    client_hello(&c);
    expect_refusal(&c, frame, sizeof(frame), STAGE_PROTOCOL);
    assert_string_equal(o.why.text, "an argument is not a string that ends with its only NUL");
}

static void credit_beyond_the_window_is_a_violation(void **state)
{
    (void)state;
    static const char *const argv[] = {"sleep", "1000", NULL};
    struct exec_request q = request_of(argv);
    static const enum stream streams[] = {STREAM_STDIN, STREAM_STDOUT, STREAM_STDERR};
    for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
        struct client c;
        begin(&c, &served, &q, &o);
        client_credit(&c, streams[i], STREAM_WINDOW_MAX); /* there is 1 MiB already */
        client_finish(&c, &o);
        assert_true(o.error);
        assert_int_equal(o.why.stage, STAGE_PROTOCOL);
    }
}

static void a_request_may_follow_hello_at_once_and_in_pieces(void **state)
{
    (void)state;
    static const char *const argv[] = {"echo", "pieces", NULL};
    struct exec_request q = request_of(argv);
    uint8_t bytes[512];
    struct msg_hello hello = {1, 1};
    struct err e;
    size_t len = msg_hello_encode(&hello, bytes, sizeof(bytes));
    size_t size = exec_request_size(&q);
    assert_int_equal(exec_request_encode(&q, bytes + len, sizeof(bytes) - len, &e), 0);
    struct client c;
    struct frame f;
    client_connect(&c, &served);
    for (size_t i = 0; i < len + size; i++)
        put(c.fd, bytes + i, 1);
    memset(&o, 0, sizeof(o));
    client_expect(&c, &f, FRAME_HELLO);
    client_finish(&c, &o);
    assert_string_equal(o.out, "pieces\n");
}

static void clients_that_leave_at_any_byte_do_no_harm(void **state)
{
    (void)state;
    static const char *const argv[] = {"true", NULL};
    struct exec_request q = request_of(argv);
    uint8_t bytes[512];
    struct msg_hello hello = {1, 1};
    struct err e;
    size_t len = msg_hello_encode(&hello, bytes, sizeof(bytes));
    size_t size = exec_request_size(&q);
    assert_int_equal(exec_request_encode(&q, bytes + len, sizeof(bytes) - len, &e), 0);
    for (size_t cut = 0; cut <= len + size; cut++) {
        struct client c;
        client_connect(&c, &served);
        if (cut)
            put(c.fd, bytes, cut);
        client_close(&c);
    }
    still_serves();
}

/* They have all that they asked for, and stay: the oldest ones go when there is no place for another. */
static void connections_that_are_not_closed_make_room(void **state)
{
    (void)state;
    enum { N = AGENT_SESSIONS_MAX + 10 };
    static struct client clients[N];
    uint8_t frame[FRAME_HEADER];
    struct frame f;
    struct rlimit files = {2 * N, 2 * N};
    struct served other;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0)
        skip();
    serve_start(&other, false);
    for (int i = 0; i < N; i++) {
        client_connect(&clients[i], &other);
        client_hello(&clients[i]);
        put(clients[i].fd, frame, msg_list_encode(frame, sizeof(frame)));
        client_expect(&clients[i], &f, FRAME_LIST_END);
    }
    run_sh(&other, "echo served", &o);
    assert_string_equal(o.out, "served\n");
    for (int i = 0; i < N; i++) /* all have been half-closed at least */
        assert_false(client_next(&clients[i], &f));
    assert_int_equal(send(clients[0].fd, frame, 1, MSG_NOSIGNAL), -1);
    assert_int_equal(send(clients[N - 1].fd, frame, 1, MSG_NOSIGNAL), 1);
    for (int i = 0; i < N; i++)
        client_close(&clients[i]);
    assert_int_equal(serve_stop(&other), 0);
}

static void ping_is_answered_in_every_state(void **state)
{
    (void)state;
    static const char *const argv[] = {"sleep", "1000", NULL};
    struct exec_request q = request_of(argv);
    struct client c;
    struct frame f;
    uint8_t frame[32];
    uint64_t cookie;
    client_connect(&c, &served);
    client_hello(&c);
    put(c.fd, frame, msg_ping_encode(FRAME_PING, 42, frame, sizeof(frame)));
    client_expect(&c, &f, FRAME_PONG);
    assert_int_equal(msg_ping_decode(&f, &cookie), 0);
    assert_int_equal(cookie, 42);
    client_exec(&c, &q);
    client_expect(&c, &f, FRAME_STARTED);
    put(c.fd, frame, msg_ping_encode(FRAME_PING, UINT64_MAX, frame, sizeof(frame)));
    client_expect(&c, &f, FRAME_PONG);
    assert_int_equal(msg_ping_decode(&f, &cookie), 0);
    assert_true(cookie == UINT64_MAX);
    client_close(&c);
}

static void who_makes_us_answer_and_never_reads_is_dropped(void **state)
{
    (void)state;
    struct client c;
    uint8_t frame[32];
    client_connect(&c, &served);
    client_hello(&c);
    size_t len = msg_ping_encode(FRAME_PING, 1, frame, sizeof(frame));
    ssize_t n = 1;
    for (int i = 0; i < 1000000 && n > 0; i++)
        n = send(c.fd, frame, len, MSG_NOSIGNAL);
    assert_int_equal(n, -1);
    assert_true(errno == EPIPE || errno == ECONNRESET);
    client_close(&c);
    still_serves();
}

static void ready_is_the_first_word_to_the_host(void **state)
{
    (void)state;
    struct client control = {.fd = served.host};
    struct frame f;
    struct msg_ready m;
    uint8_t frame[32];
    uint64_t cookie;
    frame_reader_init(&control.in, FRAME_FROM_GUEST);
    client_expect(&control, &f, FRAME_READY);
    assert_int_equal(msg_ready_decode(&f, &m), 0);
    assert_int_equal(m.cpus, 3);
    assert_string_equal(m.release, "test");
    put(served.host, frame, msg_ping_encode(FRAME_PING, 7, frame, sizeof(frame)));
    client_expect(&control, &f, FRAME_PONG);
    assert_int_equal(msg_ping_decode(&f, &cookie), 0);
    assert_int_equal(cookie, 7);
    frame_reader_fini(&control.in);
}

static void shutdown_ends_everything_and_says_bye(void **state)
{
    (void)state;
    struct served other;
    struct client c, control;
    struct frame f;
    struct msg_bye bye;
    uint8_t frame[32];
    static const char *const argv[] = {"sh", "-c", "trap '' TERM; sleep 1000 & echo; sleep 1000; sleep 1000",
                                       NULL};
    struct exec_request q = request_of(argv);
    serve_start(&other, true);
    begin(&c, &other, &q, &o);
    while (!o.out_len && client_next(&c, &f))
        outcome_note(&c, &o, &f);
    client_connect(&control, &other); /* any connection may ask for it */
    client_hello(&control);
    put(control.fd, frame, msg_shutdown_encode(&(struct msg_shutdown){200}, frame, sizeof(frame)));
    client_finish(&c, &o);
    assert_int_equal(o.exit.how, HOW_SIGNALED);
    assert_int_equal(o.exit.signo, SIGKILL);
    client_expect(&control, &f, FRAME_BYE);
    assert_int_equal(msg_bye_decode(&f, &bye), 0);
    assert_int_equal(bye.reason, BYE_SHUTDOWN);
    client_close(&control);
    close(other.host);
    int status;
    assert_int_equal(waitpid(other.pid, &status, 0), other.pid);
    assert_int_equal(status, 0);
    unlink(other.socket);
    rmdir(other.dir);
    if (other.box_group >= 0) {
        close(other.box_group);
        assert_int_equal(rmdir(other.group), 0);
    }
}

/* In a process of its own: agent_create() changes signals and the reaper. */
static void an_agent_that_cannot_be_made_leaves_nothing(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        struct agent *a = NULL;
        struct err e = {0};
        struct agent_config c = {.listen_fd = -1, .box_group = -1};
        int before = dup(0), after;
        close(before);
        int ret = agent_create(&a, &c, &e);
        after = dup(0); /* the lowest free descriptor is the same: none was left open */
        exit(ret != -EBADF || a || !strstr(e.text, "cannot watch the agent's socket") || before != after);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ready_is_the_first_word_to_the_host),
        cmocka_unit_test(no_common_version_is_told),
        cmocka_unit_test(a_newer_client_is_met_at_our_version),
        cmocka_unit_test(the_first_frame_must_be_hello),
        cmocka_unit_test(frames_that_cannot_be_are_refused),
        cmocka_unit_test(frames_out_of_order_are_refused),
        cmocka_unit_test(an_exec_that_is_malformed_names_the_field),
        cmocka_unit_test(credit_beyond_the_window_is_a_violation),
        cmocka_unit_test(a_request_may_follow_hello_at_once_and_in_pieces),
        cmocka_unit_test(clients_that_leave_at_any_byte_do_no_harm),
        cmocka_unit_test(connections_that_are_not_closed_make_room),
        cmocka_unit_test(ping_is_answered_in_every_state),
        cmocka_unit_test(who_makes_us_answer_and_never_reads_is_dropped),
        cmocka_unit_test(shutdown_ends_everything_and_says_bye),
        cmocka_unit_test(an_agent_that_cannot_be_made_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
