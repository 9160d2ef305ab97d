/* SPDX-License-Identifier: Apache-2.0 */
/* Much, slowly and often: what an execution and its agent must bear without losing a byte or growing. */
#include "guest-init/conn.h"
#include "tests/guest-init/client.h"
#include "tests/guest-init/pour.h"

#include <dirent.h>

/*
 * Under a sanitizer memory says nothing (what is freed is held back) and a fork takes ten times as long:
 * there it is a smaller test. tests/guest-init/volume.sh runs the ordinary build.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MUCH         (UINT64_C(16) << 20)
#define OFTEN        300
#define MEMORY_BOUND (UINT64_C(1) << 40)
#else
#define MUCH         (UINT64_C(1) << 30)
#define OFTEN        10000
#define MEMORY_BOUND (UINT64_C(4) << 20) /* what one execution may cost the agent */
#endif

static struct served served;
static struct outcome o;
static char self[256];

static int set_up(void **state)
{
    (void)state;
    alarm(300);
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = '\0';
    serve_start(&served, true);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return serve_stop(&served);
}

/* This program as a workload (tests/guest-init/pour.h). */
static struct exec_request pouring(uint64_t out, uint64_t err)
{
    static char sizes[2][24];
    static const char *const argv[] = {self, "pour", sizes[0], sizes[1], NULL};
    snprintf(sizes[0], sizeof(sizes[0]), "%llu", (unsigned long long)out);
    snprintf(sizes[1], sizeof(sizes[1]), "%llu", (unsigned long long)err);
    return request_of(argv);
}

static size_t agent_memory(void)
{
    char path[64];
    size_t pages = 0;
    snprintf(path, sizeof(path), "/proc/%d/statm", served.pid);
    FILE *f = fopen(path, "r");
    if (!f || fscanf(f, "%*u %zu", &pages) != 1)
        fail_msg("cannot read %s", path);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static unsigned entries(const char *path)
{
    unsigned n = 0;
    DIR *d = opendir(path);
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

static unsigned agent_descriptors(void)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", served.pid);
    return entries(path);
}

static void expect_memory_grew_little(size_t before)
{
    size_t after = agent_memory();
    if (after > before + MEMORY_BOUND)
        fail_msg("the agent grew from %zu to %zu bytes", before, after);
}

/* Takes note of frames, and compares data with its stream: stdout has key 1, stderr key 2. */
struct check {
    struct pour out, err;
    uint64_t out_owed, err_owed;
};

static void check_bytes(struct client *c, struct pour *p, enum stream stream, uint64_t *owed,
                        const struct frame *f)
{
    if (!pour_matches(p, f->payload, f->len))
        fail_msg("stream %d differs before byte %llu", stream, (unsigned long long)p->at);
    *owed += f->len;
    if (*owed >= 1u << 19) { /* half the window, or the agent would be answered byte by byte */
        client_credit(c, stream, (uint32_t)*owed);
        *owed = 0;
    }
}

/* To the end, or until `out` and `err` bytes have come. */
static void check_streams(struct client *c, struct check *k, uint64_t out, uint64_t err)
{
    struct frame f;
    while ((k->out.at < out || k->err.at < err) && client_next(c, &f)) {
        if (f.type == FRAME_STDOUT)
            check_bytes(c, &k->out, STREAM_STDOUT, &k->out_owed, &f);
        else if (f.type == FRAME_STDERR)
            check_bytes(c, &k->err, STREAM_STDERR, &k->err_owed, &f);
        else
            outcome_note(c, &o, &f);
    }
}

static void check_init(struct check *k)
{
    memset(k, 0, sizeof(*k));
    pour_init(&k->out, 1);
    pour_init(&k->err, 2);
}

static void much_on_each_stream_at_once_arrives_unchanged(void **state)
{
    (void)state;
    static struct check k;
    struct client c;
    struct exec_request q = pouring(MUCH, MUCH);
    run_sh(&served, "true", &o); /* what the agent needs anyway, it has now */
    size_t before = agent_memory();
    check_init(&k);
    begin(&c, &served, &q, &o);
    check_streams(&c, &k, MUCH, MUCH);
    expect_memory_grew_little(before);
    client_finish(&c, &o);
    assert_int_equal(k.out.at, MUCH);
    assert_int_equal(k.err.at, MUCH);
    assert_int_equal(o.exit.how, HOW_EXITED);
    assert_int_equal(o.exit.code, 0);
    assert_int_equal(o.exit.flags, 0);
}

static void who_never_reads_stdout_gets_all_of_stderr(void **state)
{
    (void)state;
    static struct check k;
    struct client c;
    struct exec_request q = pouring(MUCH, MUCH / 4);
    size_t before = agent_memory();
    check_init(&k);
    q.window_out = 0;
    begin(&c, &served, &q, &o);
    check_streams(&c, &k, 0, MUCH / 4);
    expect_memory_grew_little(before);
    assert_int_equal(k.err.at, MUCH / 4);
    assert_int_equal(k.out.at, 0);
    assert_false(o.exited);
    client_kill(&c);
    client_finish(&c, &o);
    assert_int_equal(o.exit.how, HOW_SIGNALED);
}

static void who_reads_a_byte_a_second_gets_bytes_in_order(void **state)
{
    (void)state;
    static struct check k;
    struct client c;
    struct exec_request q = pouring(10000000, 10000000);
    size_t before = agent_memory();
    check_init(&k);
    q.window_out = q.window_err = 1;
    begin(&c, &served, &q, &o);
    for (uint64_t i = 1; i <= 3; i++) {
        check_streams(&c, &k, i, i);
        assert_int_equal(k.out.at, i);
        assert_int_equal(k.err.at, i);
        sleep(1);
        client_credit(&c, STREAM_STDOUT, 1);
        client_credit(&c, STREAM_STDERR, 1);
    }
    expect_memory_grew_little(before);
    client_credit(&c, STREAM_STDOUT, 10000000); /* and then in a hurry */
    client_credit(&c, STREAM_STDERR, 10000000);
    check_streams(&c, &k, 10000000, 10000000);
    client_finish(&c, &o);
    assert_int_equal(k.out.at, 10000000);
    assert_int_equal(k.err.at, 10000000);
    assert_int_equal(o.exit.code, 0);
}

static void much_stdin_arrives_unchanged(void **state)
{
    (void)state;
    static struct pour p;
    struct client c;
    struct frame f;
    uint64_t total = MUCH / 4;
    char size[24];
    const char *argv[] = {self, "drain", size, NULL};
    struct exec_request q = request_of(argv);
    size_t before = agent_memory();
    snprintf(size, sizeof(size), "%llu", (unsigned long long)total);
    q.flags |= EXEC_STDIN;
    pour_init(&p, 3);
    begin(&c, &served, &q, &o);
    while (p.at < total) {
        uint64_t may = o.credit + STDIN_WINDOW - p.at;
        may = may < total - p.at ? may : total - p.at;
        if (may > 0) {
            const uint8_t *piece;
            size_t n = pour_next(&p, &piece, (size_t)may);
            client_stdin(&c, piece, n);
        } else {
            assert_true(client_next(&c, &f));
            outcome_note(&c, &o, &f);
        }
    }
    expect_memory_grew_little(before);
    client_stdin_eof(&c);
    client_finish(&c, &o);
    assert_int_equal(o.exit.how, HOW_EXITED);
    assert_int_equal(o.exit.code, 0);
}

/* --- often --- */

struct footprint {
    size_t memory;
    unsigned descriptors, groups;
};

/* The agent at rest: a moment after the last one, its sessions are closed and its groups removed. */
static struct footprint footprint(void)
{
    usleep(300000);
    return (struct footprint){agent_memory(), agent_descriptors(),
                              served.box_group >= 0 ? entries(served.group) : 0};
}

static void expect_same(const struct footprint *before)
{
    struct footprint after = footprint();
    assert_int_equal(after.descriptors, before->descriptors);
    assert_int_equal(after.groups, before->groups);
    expect_memory_grew_little(before->memory);
}

static void many_in_sequence_leave_nothing(void **state)
{
    (void)state;
    static const char *const argv[] = {"true", NULL};
    struct exec_request q = request_of(argv);
    for (int i = 0; i < 100; i++)
        run(&served, &q, &o);
    struct footprint before = footprint();
    uint64_t last = o.start.exec_id;
    for (int i = 0; i < OFTEN; i++) {
        run(&served, &q, &o);
        assert_true(o.exited && o.exit.how == HOW_EXITED && o.exit.code == 0 && o.out_eof && o.err_eof);
        assert_true(o.start.exec_id == ++last);
    }
    expect_same(&before);
}

static void two_hundred_and_fifty_six_at_once_leave_nothing(void **state)
{
    (void)state;
    enum { N = 256 };
    static struct client clients[N];
    static const char *const argv[] = {"cat", NULL};
    struct exec_request q = request_of(argv);
    struct footprint before = footprint();
    q.flags |= EXEC_STDIN;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < N; i++) {
            client_connect(&clients[i], &served);
            client_hello(&clients[i]);
            client_exec(&clients[i], &q);
        }
        for (int i = 0; i < N; i++) { /* each waits for the others before it */
            char text[16];
            memset(&o, 0, sizeof(o));
            snprintf(text, sizeof(text), "%d", i);
            client_stdin(&clients[i], text, strlen(text));
            client_stdin_eof(&clients[i]);
            client_finish(&clients[i], &o);
            assert_string_equal(o.out, text);
            assert_int_equal(o.exit.code, 0);
        }
    }
    expect_same(&before);
}

/* Each has credit for more than its socket takes, so the agent has read what nobody fetches. */
static void hundreds_who_never_read_cost_little_together(void **state)
{
    (void)state;
    enum { N = OFTEN < 10000 ? 100 : 800 };
    static struct client clients[N];
    static const char *const endless[] = {"cat", "/dev/zero", NULL};
    static struct check k;
    struct client reader;
    struct exec_request q = request_of(endless), much = pouring(MUCH / 64, 0);
    size_t before = agent_memory(), bound = before + CONN_BUDGET + N * (size_t)(16 * 1024);
    for (int i = 0; i < N; i++) {
        client_connect(&clients[i], &served);
        client_hello(&clients[i]);
        client_exec(&clients[i], &q);
        client_credit(&clients[i], STREAM_STDOUT, STREAM_WINDOW_MAX / 2);
    }
    /* Who reads gets all, after and beside them. */
    check_init(&k);
    begin(&reader, &served, &much, &o);
    check_streams(&reader, &k, MUCH / 64, 0);
    client_finish(&reader, &o);
    assert_int_equal(k.out.at, MUCH / 64);
    assert_int_equal(o.exit.code, 0);
    if (MEMORY_BOUND == (UINT64_C(4) << 20) && agent_memory() > bound)
        fail_msg("the agent has %zu bytes, more than %zu", agent_memory(), bound);
    for (int i = 0; i < N; i++)
        client_close(&clients[i]);
}

int main(int argc, char **argv)
{
    int code = pour_main(argc, argv);
    if (code >= 0)
        return code;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(much_on_each_stream_at_once_arrives_unchanged),
        cmocka_unit_test(who_never_reads_stdout_gets_all_of_stderr),
        cmocka_unit_test(who_reads_a_byte_a_second_gets_bytes_in_order),
        cmocka_unit_test(much_stdin_arrives_unchanged),
        cmocka_unit_test(many_in_sequence_leave_nothing),
        cmocka_unit_test(two_hundred_and_fifty_six_at_once_leave_nothing),
        cmocka_unit_test(hundreds_who_never_read_cost_little_together),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
