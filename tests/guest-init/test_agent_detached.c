/* SPDX-License-Identifier: Apache-2.0 */
/* Detached executions, natively: they outlive clients, keep their last output, are listed and removed. */
#include "tests/guest-init/client.h"

#include "guest-init/detached.h"

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

static struct exec_request detached(const char *script)
{
    static const char *argv[] = {"sh", "-c", NULL, NULL};
    argv[2] = script;
    struct exec_request q = request_of(argv);
    q.flags |= EXEC_DETACHED;
    return q;
}

#define UNTIL(c, what)                                                                                       \
    do {                                                                                                     \
        struct frame until_frame_;                                                                           \
        while (!(what) && client_next(c, &until_frame_))                                                     \
            outcome_note(c, &o, &until_frame_);                                                              \
        assert_true(what);                                                                                   \
    } while (0)

/* Starts it and leaves as soon as it runs. Its id. */
static uint64_t start(const struct exec_request *q)
{
    struct client c;
    begin(&c, &served, q, &o);
    client_started(&c, &o);
    client_close(&c);
    return o.start.exec_id;
}

static uint64_t start_script(const char *script)
{
    struct exec_request q = detached(script);
    return start(&q);
}

static const struct msg_attach all = {.flags = ATTACH_STDOUT | ATTACH_STDERR, .window = {1u << 20, 1u << 20}};

/* Attaches with the wishes of `m` and goes on to ATTACHED or ERROR. */
static void attach(struct client *c, uint64_t id, struct msg_attach m)
{
    memset(&o, 0, sizeof(o));
    m.exec_id = id;
    client_attach(c, &served, &m);
    UNTIL(c, o.attached || o.error);
}

/* All of an execution, to its end. */
static void watch(uint64_t id)
{
    struct client c;
    attach(&c, id, all);
    client_finish(&c, &o);
}

static void send_remove(uint64_t id, uint32_t flags)
{
    struct client c;
    uint8_t frame[64];
    struct msg_remove m = {.exec_id = id, .flags = flags};
    memset(&o, 0, sizeof(o));
    client_request(&c, &served, frame, msg_remove_encode(&m, frame, sizeof(frame)));
    client_finish(&c, &o);
}

static void remove_ended(uint64_t id)
{
    send_remove(id, 0);
    assert_true(o.exited);
}

static void expect_error(enum error_stage stage, int errnum)
{
    assert_true(o.error);
    assert_string_equal(error_stage_name(o.why.stage), error_stage_name((uint16_t)stage));
    assert_int_equal(o.why.errnum, errnum);
}

/* The list; returns how many there are, and the one with this id in *m (its id is 0 when it is not there). */
static uint32_t list(uint64_t id, struct msg_item *m)
{
    struct client c;
    struct frame f;
    struct msg_item item;
    uint8_t frame[FRAME_HEADER];
    uint32_t count = 0, said;
    uint64_t last = 0;
    m->exec_id = 0;
    client_request(&c, &served, frame, msg_list_encode(frame, sizeof(frame)));
    while (client_next(&c, &f) && f.type == FRAME_ITEM) {
        assert_int_equal(msg_item_decode(&f, &item), 0);
        assert_true(item.exec_id > last);
        last = item.exec_id;
        count++;
        if (item.exec_id == id)
            *m = item;
    }
    assert_int_equal(f.type, FRAME_LIST_END);
    assert_int_equal(msg_list_end_decode(&f, &said), 0);
    assert_int_equal(said, count);
    assert_false(client_next(&c, &f));
    client_close(&c);
    return count;
}

/* --- life --- */

static void the_starter_sees_all_like_any_client(void **state)
{
    (void)state;
    struct exec_request q = detached("cat; echo err >&2; exit 7");
    struct client c;
    q.flags |= EXEC_STDIN;
    begin(&c, &served, &q, &o);
    client_stdin(&c, "in", 2);
    client_stdin_eof(&c);
    client_finish(&c, &o);
    assert_string_equal(o.out, "in");
    assert_string_equal(o.err, "err\n");
    assert_int_equal(o.exit.code, 7);
    assert_int_equal(o.exit.flags, 0);
    assert_int_equal(o.skipped[STREAM_STDOUT] + o.skipped[STREAM_STDERR], 0);
    remove_ended(o.start.exec_id);
    assert_int_equal(o.exit.code, 7);
}

static void it_outlives_its_client_and_tells_the_next_one_all(void **state)
{
    (void)state;
    uint64_t id = start_script("echo early; sleep 0.3; echo late; echo err >&2; exit 5");
    watch(id);
    assert_string_equal(o.out, "early\nlate\n");
    assert_string_equal(o.err, "err\n");
    assert_int_equal(o.exit.how, HOW_EXITED);
    assert_int_equal(o.exit.code, 5);
    assert_int_equal(o.attach.from[0] + o.attach.from[1], 0);
    watch(id); /* again, long after its end */
    assert_int_equal(o.attach.state, ITEM_ENDED);
    assert_string_equal(o.out, "early\nlate\n");
    assert_int_equal(o.exit.code, 5);
    remove_ended(id);
    watch(id);
    expect_error(STAGE_NOT_FOUND, ENOENT);
}

static void an_error_to_start_is_told_and_leaves_nothing(void **state)
{
    (void)state;
    static const char *const argv[] = {"nosuch", NULL};
    struct exec_request q = request_of(argv);
    struct msg_item m;
    uint32_t before = list(0, &m);
    q.flags |= EXEC_DETACHED;
    run(&served, &q, &o);
    expect_error(STAGE_LOOKUP, ENOENT);
    assert_int_equal(list(0, &m), before);
}

static void a_workload_never_waits_for_a_reader(void **state)
{
    (void)state;
    struct exec_request q = detached("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; exit 3");
    q.window_out = q.window_err = 0;
    struct client c;
    struct msg_item m;
    begin(&c, &served, &q, &o);
    client_started(&c, &o); /* stays, and takes nothing */
    uint64_t id = o.start.exec_id;
    do {
        usleep(10000);
        list(id, &m);
    } while (m.state == ITEM_RUNNING);
    assert_int_equal(m.result.code, 3);
    client_close(&c);
    remove_ended(id);
}

static void a_timeout_holds_without_a_client(void **state)
{
    (void)state;
    struct exec_request q = detached("sleep 1000 & sleep 1000");
    q.timeout_ms = 200;
    uint64_t id = start(&q);
    watch(id);
    assert_int_equal(o.exit.how, HOW_TIMED_OUT);
    remove_ended(id);
}

/* --- what is kept --- */

static void only_the_last_bytes_are_kept_and_the_rest_is_told(void **state)
{
    (void)state;
    struct exec_request q = detached("head -c 100000 /dev/zero; printf tail; printf 0123456789 >&2");
    q.backlog = 8;
    uint64_t id = start(&q);
    struct msg_item m;
    do {
        usleep(10000);
        list(id, &m);
    } while (m.state == ITEM_RUNNING);
    watch(id);
    assert_int_equal(o.skipped[STREAM_STDOUT], 100004 - 8);
    assert_int_equal(o.out_len, 8);
    assert_memory_equal(o.out, "\0\0\0\0tail", 8);
    assert_int_equal(o.skipped[STREAM_STDERR], 2);
    assert_string_equal(o.err, "23456789");
    remove_ended(id);
}

static void a_slow_client_is_told_what_it_missed_where_it_missed_it(void **state)
{
    (void)state;
    struct exec_request q = detached("printf start; read x; head -c 100000 /dev/zero; printf end");
    struct client c;
    q.flags |= EXEC_STDIN;
    q.backlog = 16;
    q.window_out = 5;
    begin(&c, &served, &q, &o);
    UNTIL(&c, o.out_len == 5); /* outcome_note() gives 5 bytes of credit back */
    struct msg_item m;
    client_stdin(&c, "\n", 1);
    do {
        usleep(10000);
        list(o.start.exec_id, &m);
    } while (m.state == ITEM_RUNNING);
    client_finish(&c, &o);
    /* All is accounted for, the first bytes and the last ones are right, and something is missing. */
    assert_int_equal(o.out_len + o.skipped[STREAM_STDOUT], 5 + 100000 + 3);
    assert_true(o.skipped[STREAM_STDOUT] > 0);
    assert_memory_equal(o.out, "start", 5);
    assert_memory_equal(o.out + o.out_len - 3, "end", 3);
    remove_ended(o.start.exec_id);
}

static void a_client_may_come_back_to_where_it_was(void **state)
{
    (void)state;
    uint64_t id = start_script("printf 0123456789; read x </dev/null; printf abc >&2");
    struct client c;
    struct msg_attach from = all;
    watch(id);
    from.from[0] = 4;
    attach(&c, id, from);
    client_finish(&c, &o);
    assert_int_equal(o.attach.from[0], 4);
    assert_string_equal(o.out, "456789");
    assert_string_equal(o.err, "abc");
    from.from[0] = 10; /* exactly at the end */
    from.from[1] = ATTACH_FROM_NOW;
    attach(&c, id, from);
    client_finish(&c, &o);
    assert_int_equal(o.attach.from[0], 10);
    assert_int_equal(o.attach.from[1], 3);
    assert_int_equal(o.out_len + o.err_len, 0);
    assert_true(o.out_eof && o.err_eof && o.exited);
    remove_ended(id);
}

static void streams_that_are_not_wanted_are_not_sent(void **state)
{
    (void)state;
    uint64_t id = start_script("echo out; echo err >&2");
    struct client c;
    watch(id);
    struct msg_attach m = {.flags = ATTACH_STDERR, .window = {0, 100}};
    attach(&c, id, m);
    client_finish(&c, &o);
    assert_int_equal(o.out_len, 0);
    assert_string_equal(o.err, "err\n");
    assert_true(o.err_eof && !o.out_eof);
    m.flags = 0; /* only the result */
    attach(&c, id, m);
    client_finish(&c, &o);
    assert_true(o.exited && !o.out_eof && !o.err_eof);
    remove_ended(id);
}

static void what_it_does_not_have_ends_at_once(void **state)
{
    (void)state;
    struct exec_request q = detached("sleep 1000");
    struct client c;
    q.flags = EXEC_DETACHED; /* no streams at all */
    uint64_t id = start(&q);
    struct msg_attach m = all;
    m.flags |= ATTACH_STDIN;
    attach(&c, id, m);
    assert_int_equal(o.attach.stdin_credit, 0);
    UNTIL(&c, o.in_eof && o.out_eof && o.err_eof);
    client_kill(&c);
    client_finish(&c, &o);
    assert_int_equal(o.exit.signo, SIGKILL);
    remove_ended(id);
}

/* --- several clients --- */

static void clients_watch_at_their_own_pace(void **state)
{
    (void)state;
    struct exec_request q = detached("read x; printf 0123456789");
    struct client starter, slow;
    q.flags |= EXEC_STDIN;
    begin(&starter, &served, &q, &o);
    client_started(&starter, &o);
    uint64_t id = o.start.exec_id;
    attach(&slow, id, (struct msg_attach){.flags = ATTACH_STDOUT, .window = {3, 0}});
    client_stdin(&starter, "\n", 1);
    struct frame f;
    client_expect(&slow, &f, FRAME_STDOUT);
    assert_int_equal(f.len, 3);
    memset(&o, 0, sizeof(o));
    o.started = true;
    client_finish(&starter, &o); /* has all and the result while the other waits for credit */
    assert_string_equal(o.out, "0123456789");
    memset(&o, 0, sizeof(o));
    o.started = true;
    client_credit(&slow, STREAM_STDOUT, 3);
    client_finish(&slow, &o);
    assert_string_equal(o.out, "3456789");
    remove_ended(id);
}

static void stdin_belongs_to_one_client_at_a_time(void **state)
{
    (void)state;
    struct exec_request q = detached("while read x; do echo got $x; done; echo end");
    struct client first, second;
    q.flags |= EXEC_STDIN;
    begin(&first, &served, &q, &o);
    client_stdin(&first, "one\n", 4);
    UNTIL(&first, o.out_len == 8);
    uint64_t id = o.start.exec_id;
    struct msg_attach m = all;
    m.flags |= ATTACH_STDIN;
    attach(&second, id, m);
    client_finish(&second, &o);
    expect_error(STAGE_STATE, EBUSY);
    m.flags |= ATTACH_TAKE_STDIN;
    m.from[0] = ATTACH_FROM_NOW;
    attach(&second, id, m);
    assert_int_equal(o.attach.stdin_credit, STDIN_WINDOW);
    client_stdin(&first, "lost\n", 5); /* within its credit, and nobody reads it */
    client_stdin(&second, "two\n", 4);
    client_stdin_eof(&second);
    client_finish(&second, &o);
    assert_string_equal(o.out, "got two\nend\n");
    memset(&o, 0, sizeof(o));
    o.started = true;
    client_finish(&first, &o);
    assert_true(o.in_eof && o.exited);
    remove_ended(id);
}

static void stdin_stays_open_while_nobody_is_there(void **state)
{
    (void)state;
    struct exec_request q = detached("cat; echo end");
    struct client c;
    q.flags |= EXEC_STDIN;
    uint64_t id = start(&q);
    struct msg_attach m = all;
    m.flags |= ATTACH_STDIN;
    for (int i = 0; i < 3; i++) { /* the one before left without an end: no TAKE needed */
        attach(&c, id, m);
        client_stdin(&c, "x\n", 2);
        UNTIL(&c, o.out_len == 2 * (size_t)(i + 1));
        client_close(&c);
        struct msg_item item;
        do
            list(id, &item);
        while (item.flags & ITEM_STDIN_HELD); /* until the agent has seen it leave */
    }
    attach(&c, id, m);
    client_stdin_eof(&c);
    client_finish(&c, &o);
    assert_string_equal(o.out, "x\nx\nx\nend\n");
    attach(&c, id, m); /* to an execution that has ended, its stdin too */
    assert_int_equal(o.attach.stdin_credit, 0);
    client_finish(&c, &o);
    assert_true(o.in_eof && o.exited);
    remove_ended(id);
}

static void nobody_holds_a_stdin_that_has_ended(void **state)
{
    (void)state;
    struct exec_request q = detached("cat; echo end; sleep 1000");
    struct client starter, first, second;
    struct msg_item item;
    q.flags |= EXEC_STDIN;
    begin(&starter, &served, &q, &o);
    client_stdin_eof(&starter);
    UNTIL(&starter, o.out_len == 4);
    uint64_t id = o.start.exec_id;
    struct msg_attach m = {.flags = ATTACH_STDIN};
    attach(&first, id, m);
    UNTIL(&first, o.in_eof);
    list(id, &item);
    assert_false(item.flags & (ITEM_STDIN | ITEM_STDIN_HELD));
    attach(&second, id, m);
    assert_false(o.error);
    UNTIL(&second, o.in_eof);
    client_stdin_eof(&first); /* they may say so, too */
    client_stdin_eof(&second);
    client_kill(&second);
    client_finish(&second, &o);
    assert_true(o.exited);
    memset(&o, 0, sizeof(o));
    client_finish(&first, &o);
    assert_true(o.exited && !o.in_eof); /* it was told before, and once */
    client_close(&starter);
    remove_ended(id);
}

static void unread_stdin_counts_against_the_next_client(void **state)
{
    (void)state;
    static char data[STDIN_WINDOW];
    struct exec_request q = detached("sleep 1000");
    struct client c;
    q.flags |= EXEC_STDIN;
    begin(&c, &served, &q, &o);
    client_stdin(&c, data, sizeof(data)); /* fills the pipe, and is credited */
    while (o.credit < STDIN_WINDOW)
        UNTIL(&c, o.credit > 0);
    client_stdin(&c, data, 1000); /* stays with the agent */
    client_close(&c);
    uint64_t id = o.start.exec_id;
    struct msg_attach m = {.flags = ATTACH_STDIN | ATTACH_TAKE_STDIN};
    do {
        attach(&c, id, m);
        client_close(&c);
    } while (o.attach.stdin_credit != STDIN_WINDOW - 1000); /* until the agent has read it all */
    attach(&c, id, m);
    client_stdin(&c, data, sizeof(data));
    client_finish(&c, &o);
    expect_error(STAGE_PROTOCOL, EPROTO); /* beyond the credit */
    send_remove(id, REMOVE_KILL);         /* it lives on */
    assert_int_equal(o.exit.signo, SIGKILL);
}

/* --- signals, ends, removal --- */

static void signals_and_sizes_reach_it_through_any_client(void **state)
{
    (void)state;
    struct exec_request q = detached(
        "trap 'echo usr; exit 4' USR1; trap 'stty size' WINCH; echo up; while :; do sleep 0.05; done");
    q.tty = true;
    q.rows = 24;
    q.cols = 80;
    q.flags = EXEC_DETACHED | EXEC_STDOUT | EXEC_STDIN;
    uint64_t id = start(&q);
    struct client c;
    uint8_t frame[32];
    attach(&c, id, all);
    assert_true(o.attach.flags & ITEM_TTY);
    UNTIL(&c, o.out_len >= 4);
    put(c.fd, frame, msg_resize_encode(&(struct msg_resize){50, 90}, frame, sizeof(frame)));
    UNTIL(&c, strstr(o.out, "50 90"));
    client_signal(&c, SIGUSR1, SCOPE_LEADER);
    client_finish(&c, &o);
    assert_string_equal(o.out, "up\r\n50 90\r\nusr\r\n");
    assert_int_equal(o.exit.code, 4);
    remove_ended(id);
}

static void kill_does_not_wait_for_the_killers_credit(void **state)
{
    (void)state;
    uint64_t id = start_script("printf 0123456789; sleep 1000");
    struct client c;
    struct msg_item m;
    attach(&c, id, (struct msg_attach){.flags = ATTACH_STDOUT, .window = {4, 0}});
    struct frame f;
    client_expect(&c, &f, FRAME_STDOUT);
    client_kill(&c);
    client_finish(&c, &o);
    assert_int_equal(o.skipped[STREAM_STDOUT], 6);
    assert_true(o.exit.flags & EXIT_KILLED);
    assert_int_equal(o.exit.signo, SIGKILL);
    list(id, &m);
    assert_int_equal(m.state, ITEM_ENDED);
    watch(id); /* what one client skipped is there for the others */
    assert_string_equal(o.out, "0123456789");
    remove_ended(id);
}

static void a_running_one_is_removed_by_force_only(void **state)
{
    (void)state;
    struct client c;
    struct msg_item m;
    uint64_t id = start_script("trap '' TERM; sleep 1000 & (setsid sleep 1000 &); sleep 1000");
    send_remove(id, 0);
    expect_error(STAGE_STATE, EBUSY);
    attach(&c, id, all);
    struct outcome other = o;
    send_remove(id, REMOVE_KILL);
    assert_int_equal(o.exit.how, HOW_SIGNALED);
    if (served.box_group >= 0)
        assert_false(o.exit.flags & EXIT_LEFTOVER);
    list(id, &m);
    assert_int_equal(m.exec_id, 0);
    o = other;
    client_finish(&c, &o); /* a client that was there sees the end */
    assert_int_equal(o.exit.signo, SIGKILL);
    send_remove(id, 0);
    expect_error(STAGE_NOT_FOUND, ENOENT);
}

static void what_it_left_behind_is_killed_on_removal_if_asked(void **state)
{
    (void)state;
    struct exec_request q = detached("sleep 1000 & echo $!");
    struct client c;
    begin(&c, &served, &q, &o);
    client_finish(&c, &o);
    assert_true(o.exit.flags & EXIT_LEFTOVER);
    pid_t child = (pid_t)strtol(o.out, NULL, 10);
    assert_int_equal(kill(child, 0), 0);
    send_remove(o.start.exec_id, REMOVE_KILL);
    assert_true(o.exited);
    await_death(child);
}

/* An execution that has ended and left a process behind; its id, and a client that is still attached. */
static uint64_t left_behind(struct client *c, pid_t *child)
{
    struct exec_request q = detached("sleep 1000 & echo $!");
    begin(c, &served, &q, &o);
    client_finish(c, &o);
    *child = (pid_t)strtol(o.out, NULL, 10);
    uint64_t id = o.start.exec_id;
    attach(c, id, (struct msg_attach){.flags = ATTACH_STDOUT, .window = {1, 0}});
    assert_int_equal(o.attach.state, ITEM_ENDED);
    return id;
}

static void what_it_left_behind_is_reached_by_its_clients(void **state)
{
    (void)state;
    struct client c;
    pid_t child;
    uint64_t id = left_behind(&c, &child);
    client_signal(&c, SIGTERM, SCOPE_TREE);
    await_death(child);
    client_close(&c);
    remove_ended(id);
    id = left_behind(&c, &child);
    client_kill(&c);
    await_death(child);
    client_finish(&c, &o);
    assert_int_equal(o.exit.how, HOW_EXITED); /* the result is what it was */
    assert_false(o.exit.flags & EXIT_KILLED);
    remove_ended(id);
}

static void ordinary_executions_are_listed_and_not_attachable(void **state)
{
    (void)state;
    static const char *const argv[] = {"sleep", "1000", NULL};
    struct exec_request q = request_of(argv);
    struct client c, other;
    struct msg_item m;
    begin(&c, &served, &q, &o);
    client_started(&c, &o);
    uint64_t id = o.start.exec_id;
    uint32_t pid = o.start.pid;
    list(id, &m);
    assert_int_equal(m.exec_id, id);
    assert_int_equal(m.pid, pid);
    assert_int_equal(m.state, ITEM_RUNNING);
    assert_int_equal(m.flags, ITEM_STDOUT | ITEM_STDERR);
    assert_string_equal(m.command, "sleep 1000");
    attach(&other, id, all);
    client_finish(&other, &o);
    expect_error(STAGE_NOT_FOUND, ENOENT);
    send_remove(id, REMOVE_KILL);
    expect_error(STAGE_NOT_FOUND, ENOENT);
    client_close(&c);
    await_death((pid_t)pid);
}

static void the_list_tells_state_age_and_result(void **state)
{
    (void)state;
    struct msg_item m;
    struct exec_request q = detached("read x; exit 9");
    q.flags |= EXEC_STDIN;
    uint64_t id = start(&q);
    list(id, &m);
    assert_int_equal(m.state, ITEM_RUNNING);
    assert_true(m.flags & ITEM_DETACHED && m.flags & ITEM_STDIN);
    assert_string_equal(m.command, "sh -c read x; exit 9");
    struct client c;
    attach(&c, id, (struct msg_attach){.flags = ATTACH_STDIN | ATTACH_TAKE_STDIN});
    list(id, &m);
    assert_true(m.flags & ITEM_STDIN_HELD);
    client_stdin_eof(&c);
    client_finish(&c, &o);
    list(id, &m);
    assert_int_equal(m.state, ITEM_ENDED);
    assert_int_equal(m.result.code, 9);
    assert_true(m.age_ns >= m.result.wall_ns);
    assert_false(m.flags & ITEM_STDIN);
    remove_ended(id);
}

static void a_long_list_waits_for_its_reader(void **state)
{
    (void)state;
    enum { N = 200 };
    static char argument[1000];
    static uint64_t ids[N];
    const char *argv[] = {"true", argument, NULL};
    struct exec_request q = request_of(argv);
    struct client c;
    struct frame f;
    struct msg_item m;
    uint8_t frame[FRAME_HEADER];
    uint32_t count = 0;
    int small = 4096; /* for the socket: the list has N * 340 bytes */
    memset(argument, 'x', sizeof(argument) - 1);
    q.flags = EXEC_DETACHED;
    for (int i = 0; i < N; i++)
        ids[i] = start(&q);
    client_connect(&c, &served);
    setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    client_hello(&c);
    put(c.fd, frame, msg_list_encode(frame, sizeof(frame)));
    usleep(100000);
    while (client_next(&c, &f) && f.type == FRAME_ITEM) {
        assert_int_equal(msg_item_decode(&f, &m), 0);
        count += m.exec_id == ids[count];
        assert_int_equal(strlen(m.command), ITEM_COMMAND_MAX);
    }
    client_close(&c);
    assert_int_equal(count, N);
    for (int i = 0; i < N; i++)
        send_remove(ids[i], REMOVE_KILL);
}

/* --- bounds --- */

static void the_oldest_results_are_forgotten_first(void **state)
{
    (void)state;
    struct msg_item m;
    uint64_t first = start_script("exit 1"), last = 0;
    watch(first); /* it has ended when the second one begins */
    uint64_t second = start_script("exit 2");
    watch(second);
    uint32_t before = list(first, &m) - 2;
    for (uint32_t i = before + 2; i <= DETACHED_ENDED_MAX; i++) {
        last = start_script("exit 3");
        watch(last);
    }
    assert_int_equal(list(first, &m), DETACHED_ENDED_MAX);
    assert_int_equal(m.exec_id, before ? first : 0);
    list(second, &m);
    assert_int_equal(m.exec_id, second);
    list(last, &m);
    assert_int_equal(m.exec_id, last);
}

/* An agent that may keep 40,000 bytes: two streams of 16,384 fit, four do not. */
static int set_up_small(void **state)
{
    serve_keep_max = 40000;
    return set_up(state);
}

/* One that may keep one stream of a million bytes. */
static int set_up_single(void **state)
{
    serve_keep_max = 1500000;
    return set_up(state);
}

static void memory_for_output_is_bounded(void **state)
{
    (void)state;
    struct msg_item m;
    struct exec_request q = detached("head -c 100000 /dev/zero; head -c 100000 /dev/zero >&2; sleep 0.2");
    q.backlog = 16384;
    uint64_t first = start(&q);
    run(&served, &q, &o); /* while the first runs, its output cannot go */
    expect_error(STAGE_RESOURCE, ENOMEM);
    watch(first);
    uint64_t second = start(&q); /* ended, it makes room */
    list(first, &m);
    assert_int_equal(m.exec_id, 0);
    watch(second);
    assert_int_equal(o.out_len + o.skipped[STREAM_STDOUT], 100000);
    watch(second); /* ended: what is kept now is all there is */
    assert_int_equal(o.out_len, 16384);
    assert_int_equal(o.skipped[STREAM_STDOUT], 100000 - 16384);
    remove_ended(second);
    q = detached("printf x");
    q.backlog = 16384;
    for (int i = 0; i < 20; i++) /* ended ones cost what they hold */
        watch(start(&q));
    assert_int_equal(list(0, &m), 20);
}

static void violations_end_the_client_not_the_execution(void **state)
{
    (void)state;
    uint64_t id = start_script("sleep 1000");
    struct client c;
    uint8_t frame[64];
    for (int i = 0; i < 5; i++) {
        attach(&c, id, all);
        if (i == 0)
            client_stdin(&c, "x", 1); /* without ATTACH_STDIN */
        else if (i == 1)
            client_credit(&c, STREAM_STDOUT, STREAM_WINDOW_MAX);
        else if (i == 2)
            put(c.fd, frame, msg_resize_encode(&(struct msg_resize){1, 1}, frame, sizeof(frame)));
        else if (i == 3)
            put(c.fd, frame, msg_list_encode(frame, sizeof(frame)));
        else
            client_stdin_eof(&c);
        client_finish(&c, &o);
        expect_error(STAGE_PROTOCOL, EPROTO);
    }
    struct msg_item m;
    list(id, &m);
    assert_int_equal(m.state, ITEM_RUNNING);
    send_remove(id, REMOVE_KILL);
}

/* What is left in the connection to an agent that is gone: the bytes sent and skipped, and the result. */
static uint64_t last_words(struct client *c, struct msg_exited *exited)
{
    struct frame f;
    struct msg_skipped skipped;
    uint64_t bytes = 0;
    memset(exited, 0, sizeof(*exited));
    while (client_next(c, &f))
        if (f.type == FRAME_STDOUT)
            bytes += f.len;
        else if (f.type == FRAME_SKIPPED && msg_skipped_decode(&f, &skipped) == 0)
            bytes += skipped.bytes;
        else if (f.type == FRAME_EXITED)
            assert_int_equal(msg_exited_decode(&f, exited), 0);
    assert_int_not_equal(exited->how, 0);
    client_close(c);
    return bytes;
}

/* One client has no credit, the other one's socket is full. */
static void who_does_not_read_does_not_keep_what_is_removed(void **state)
{
    (void)state;
    enum { N = 1000000 };
    struct exec_request q = detached("head -c 1000000 /dev/zero");
    struct client poor, stuck;
    struct msg_exited exited;
    struct msg_item m;
    q.flags &= ~(uint32_t)EXEC_STDERR;
    q.backlog = N;
    uint64_t id = start(&q);
    do {
        usleep(10000);
        list(id, &m);
    } while (m.state == ITEM_RUNNING);
    attach(&poor, id, (struct msg_attach){.flags = ATTACH_STDOUT, .window = {1, 0}});
    attach(&stuck, id, (struct msg_attach){.flags = ATTACH_STDOUT, .window = {2 * N, 0}});
    remove_ended(id);
    id = start(&q); /* the agent has memory for one */
    assert_int_equal(last_words(&poor, &exited), N);
    assert_int_equal(last_words(&stuck, &exited), N);
    send_remove(id, REMOVE_KILL);
}

/* Both the running ones and the kept ones, with clients who do not read. */
static void a_stop_takes_all_along(void **state)
{
    (void)state;
    struct served mine = served;
    struct client c, stuck;
    struct msg_exited exited;
    serve_start(&served, true);
    uint64_t kept = start_script("printf 0123456789"),
             running = start_script("trap '' TERM; echo up; while :; do sleep 1; done");
    watch(kept);
    attach(&stuck, kept, (struct msg_attach){.flags = ATTACH_STDOUT, .window = {1, 0}});
    attach(&c, running, all);
    UNTIL(&c, o.out_len == 3);
    assert_int_equal(serve_stop(&served), 0);
    assert_int_equal(last_words(&c, &exited), 0);
    assert_int_equal(exited.signo, SIGKILL);
    assert_int_equal(last_words(&stuck, &exited), 10); /* there is no time for its credit: it is told */
    assert_int_equal(exited.code, 0);
    served = mine;
}

/* Tells the agent to stop, with a long grace, and returns when it has taken note. */
static void begin_stop(const struct served *v)
{
    struct client host = {.fd = v->host};
    struct frame f;
    uint8_t frame[32];
    frame_reader_init(&host.in, FRAME_FROM_GUEST);
    put(v->host, frame, msg_shutdown_encode(&(struct msg_shutdown){50000}, frame, sizeof(frame)));
    put(v->host, frame, msg_ping_encode(FRAME_PING, 1, frame, sizeof(frame)));
    client_expect(&host, &f, FRAME_READY);
    client_expect(&host, &f, FRAME_PONG);
    frame_reader_fini(&host.in);
}

/* Of a kept one, of one that ends meanwhile, and one that attaches when it is nearly too late. */
static void a_stop_waits_for_no_clients_credit(void **state)
{
    (void)state;
    struct served mine = served;
    struct client clients[3];
    struct msg_attach m = {.flags = ATTACH_STDOUT, .window = {1, 0}};
    struct msg_exited exited;
    uint8_t frame[64];
    serve_start(&served, true);
    uint64_t kept = start_script("printf 0123456789"),
             running =
                 start_script("trap 'sleep 1; exit 3' TERM; printf 0123456789; while :; do sleep 0.1; done");
    watch(kept);
    attach(&clients[0], kept, m);
    attach(&clients[1], running, m);
    UNTIL(&clients[1], o.out_len == 1); /* its trap is set */
    client_connect(&clients[2], &served);
    client_hello(&clients[2]);
    uint64_t begin = now_ns();
    begin_stop(&served);
    m.exec_id = running;
    put(clients[2].fd, frame, msg_attach_encode(&m, frame, sizeof(frame)));
    assert_int_equal(serve_stop(&served), 0);
    assert_true(now_ns() - begin < 30 * NSEC_PER_SEC);
    assert_int_equal(last_words(&clients[0], &exited), 10);
    assert_int_equal(last_words(&clients[1], &exited), 9);
    assert_int_equal(exited.code, 3);
    assert_int_equal(last_words(&clients[2], &exited), 10);
    served = mine;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_starter_sees_all_like_any_client),
        cmocka_unit_test(it_outlives_its_client_and_tells_the_next_one_all),
        cmocka_unit_test(an_error_to_start_is_told_and_leaves_nothing),
        cmocka_unit_test(a_workload_never_waits_for_a_reader),
        cmocka_unit_test(a_timeout_holds_without_a_client),
        cmocka_unit_test(only_the_last_bytes_are_kept_and_the_rest_is_told),
        cmocka_unit_test(a_slow_client_is_told_what_it_missed_where_it_missed_it),
        cmocka_unit_test(a_client_may_come_back_to_where_it_was),
        cmocka_unit_test(streams_that_are_not_wanted_are_not_sent),
        cmocka_unit_test(what_it_does_not_have_ends_at_once),
        cmocka_unit_test(clients_watch_at_their_own_pace),
        cmocka_unit_test(stdin_belongs_to_one_client_at_a_time),
        cmocka_unit_test(stdin_stays_open_while_nobody_is_there),
        cmocka_unit_test(nobody_holds_a_stdin_that_has_ended),
        cmocka_unit_test(unread_stdin_counts_against_the_next_client),
        cmocka_unit_test(signals_and_sizes_reach_it_through_any_client),
        cmocka_unit_test(kill_does_not_wait_for_the_killers_credit),
        cmocka_unit_test(a_running_one_is_removed_by_force_only),
        cmocka_unit_test(what_it_left_behind_is_killed_on_removal_if_asked),
        cmocka_unit_test(what_it_left_behind_is_reached_by_its_clients),
        cmocka_unit_test(ordinary_executions_are_listed_and_not_attachable),
        cmocka_unit_test(the_list_tells_state_age_and_result),
        cmocka_unit_test(violations_end_the_client_not_the_execution),
        cmocka_unit_test(a_long_list_waits_for_its_reader),
        cmocka_unit_test(the_oldest_results_are_forgotten_first),
        cmocka_unit_test(a_stop_takes_all_along),
        cmocka_unit_test(a_stop_waits_for_no_clients_credit),
    };
    const struct CMUnitTest small[] = {
        cmocka_unit_test(memory_for_output_is_bounded),
    };
    const struct CMUnitTest single[] = {
        cmocka_unit_test(who_does_not_read_does_not_keep_what_is_removed),
    };
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    failed += cmocka_run_group_tests(small, set_up_small, tear_down);
    return failed + cmocka_run_group_tests(single, set_up_single, tear_down);
}
