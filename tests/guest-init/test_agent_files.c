/* SPDX-License-Identifier: Apache-2.0 */
/* File transfers through the agent, natively: trees in and out, refusals, clients that leave, processes that
 * are killed, and what must not be disturbed by them. */
#include "tests/base/trees.h"
#include "tests/guest-init/client.h"

#include <dirent.h>

static struct served served;
static struct verdict v;
static struct client c;
static char place[64];

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

static int make_place(void **state)
{
    (void)state;
    strcpy(place, "/tmp/cubby-agent-files-XXXXXX");
    return mkdtemp(place) ? 0 : -1;
}

static int remove_place(void **state)
{
    (void)state;
    tree_remove(place);
    return access(place, F_OK) == 0;
}

static void open_client(void)
{
    client_connect(&c, &served);
    client_hello(&c);
}

static void ask_put(const char *path, const char *name, uint32_t flags)
{
    static struct msg_put m;
    m = (struct msg_put){.flags = flags};
    snprintf(m.path, sizeof(m.path), "%s", path);
    snprintf(m.name, sizeof(m.name), "%s", name);
    open_client();
    client_put(&c, &m);
}

static void ask_get(const char *path, uint32_t flags)
{
    static struct msg_get m;
    m.flags = flags;
    snprintf(m.path, sizeof(m.path), "%s", path);
    open_client();
    client_get(&c, &m);
}

/* A file of `size` bytes begins. */
static void begin_file(uint64_t size)
{
    const struct ftree_entry en = {.type = FTREE_FILE, .mode = 0644, .size = size};
    client_entry(&c, &en);
}

static void put_text(const char *path, const char *text)
{
    ask_put(path, "name", 0);
    begin_file(strlen(text));
    client_data(&c, 0, text, strlen(text));
    client_end(&c, 1, strlen(text));
}

static void expect_error(enum error_stage stage, int errnum, const char *words)
{
    client_verdict(&c, NULL, &v);
    assert_true(v.error);
    if (v.why.stage != stage || v.why.errnum != (uint32_t)errnum || !strstr(v.why.text, words))
        fail_msg("stage %u, errno %u: %s", v.why.stage, v.why.errnum, v.why.text);
}

static void still_serves(void)
{
    put_text(pathf("%s/fine", place), "fine");
    client_verdict(&c, NULL, &v);
    assert_true(v.done);
    assert_string_equal(tree_read(pathf("%s/fine", place)), "fine");
    unlink(pathf("%s/fine", place));
}

/* Until no file with a temporary name is left; the test's alarm() is the deadline. */
static void await_clean(void)
{
    while (tree_count(place, ".cubby-") > 0)
        usleep(5000);
}

/* Children of the agent that are transfers: no execution runs in the tests that ask. */
static pid_t child_of_agent(void)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", served.pid, served.pid);
    for (;;) {
        pid_t pid = (pid_t)atoi(tree_read(path));
        if (pid > 0)
            return pid;
        usleep(5000);
    }
}

static void a_tree_with_everything_goes_in_and_out(void **state)
{
    (void)state;
    struct err e = {0};
    bool root = geteuid() == 0;
    char from[128], in[128], out[128];
    snprintf(from, sizeof(from), "%s/from", place);
    snprintf(in, sizeof(in), "%s/in", place);
    snprintf(out, sizeof(out), "%s/out", place);
    assert_int_equal(mkdir(from, 0755), 0);
    tree_fill(from);

    const struct ftree_source src = {.path = from, .archive = root};
    ask_put(in, "name", root ? PUT_ARCHIVE : 0);
    assert_int_equal(client_send_tree(&c, &src, &e), 0);
    client_verdict(&c, NULL, &v);
    if (!v.done)
        fail_msg("%s", v.why.text);
    assert_same_trees(from, in, root);
    uint64_t entries = v.totals.entries;
    assert_true(entries > 20 && v.totals.bytes > 300000);

    const struct ftree_target dest = {.path = out, .name = "name", .archive = root};
    struct ftree_writer *w;
    assert_int_equal(ftree_writer_create(&w, &dest, &e), 0);
    ask_get(in, root ? GET_ARCHIVE : 0);
    client_verdict(&c, w, &v);
    assert_true(v.done);
    assert_int_equal(v.totals.entries, entries);
    ftree_writer_destroy(w);
    assert_same_trees(from, out, root);
}

static void everything_in_one_write_is_one_transfer(void **state)
{
    (void)state;
    static uint8_t bytes[16384];
    struct msg_hello hello = {1, 1};
    struct msg_put m = {.name = "n"};
    const struct ftree_entry en = {.type = FTREE_FILE, .mode = 0600, .size = 3};
    const struct msg_data d = {.bytes = (const uint8_t *)"abc", .len = 3};
    const struct ftree_totals end = {.entries = 1, .bytes = 3};
    snprintf(m.path, sizeof(m.path), "%s/one", place);
    size_t len = msg_hello_encode(&hello, bytes, sizeof(bytes));
    len += msg_put_encode(&m, bytes + len, sizeof(bytes) - len);
    len += msg_entry_encode(&en, bytes + len, sizeof(bytes) - len);
    len += msg_data_encode(&d, bytes + len, sizeof(bytes) - len);
    len += msg_totals_encode(FRAME_END, &end, bytes + len, sizeof(bytes) - len);
    /* At once, and byte by byte. */
    for (int pieces = 0; pieces < 2; pieces++) {
        struct frame f;
        client_connect(&c, &served);
        for (size_t i = 0; i < len; i += pieces ? 1 : len)
            put(c.fd, bytes + i, pieces ? 1 : len);
        client_expect(&c, &f, FRAME_HELLO);
        client_verdict(&c, NULL, &v);
        assert_true(v.done);
        assert_string_equal(tree_read(pathf("%s/one", place)), "abc");
        unlink(pathf("%s/one", place));
    }
}

static void errors_name_the_path_and_the_reason(void **state)
{
    (void)state;
    put_text(pathf("%s/none/x", place), "x");
    expect_error(STAGE_FILE, ENOENT, "/none/x': the folder that it should be in does not exist");
    tree_text(pathf("%s/file", place), "old");
    put_text(pathf("%s/file/", place), "x");
    expect_error(STAGE_FILE, ENOTDIR, "/file/'");
    ask_put(pathf("%s/file", place), "n", PUT_NO_REPLACE);
    begin_file(0);
    expect_error(STAGE_FILE, EEXIST, "/file': it exists");
    assert_string_equal(tree_read(pathf("%s/file", place)), "old");
    ask_get(pathf("%s/none", place), 0);
    expect_error(STAGE_FILE, ENOENT, "cannot read '/tmp/");
    ask_get("/proc/version", 0);
    expect_error(STAGE_FILE, EOPNOTSUPP, "/proc/version': the kernel makes its files up");
    still_serves();
}

static void an_owner_is_looked_up_in_the_box(void **state)
{
    (void)state;
    static struct msg_put m = {.name = "n"};
    struct stat st;
    if (geteuid() != 0)
        skip();
    snprintf(m.path, sizeof(m.path), "%s/owned", place);
    strcpy(m.owner, "nobody:7");
    open_client();
    client_put(&c, &m);
    begin_file(0);
    client_end(&c, 1, 0);
    client_verdict(&c, NULL, &v);
    assert_true(v.done);
    assert_int_equal(stat(m.path, &st), 0);
    assert_int_equal(st.st_uid, 65534);
    assert_int_equal(st.st_gid, 7);
    strcpy(m.owner, "no-such-user");
    open_client();
    client_put(&c, &m);
    expect_error(STAGE_USER, ENOENT, "no-such-user");
}

static void without_an_owner_all_is_the_agents(void **state)
{
    (void)state;
    struct stat st;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chown(place, 0, 7), 0);
    assert_int_equal(chmod(place, 02755), 0);
    put_text(pathf("%s/file", place), "text");
    client_verdict(&c, NULL, &v);
    assert_true(v.done);
    assert_int_equal(stat(pathf("%s/file", place), &st), 0);
    assert_int_equal(st.st_uid, 0);
    assert_int_equal(st.st_gid, 0);
}

static void requests_that_cannot_be_are_violations(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[24];
        size_t len;
    } cases[] = {
        {{5, 0, 0, 0, FRAME_GET, 0, 0, 0, 0, 0, 0, 0, 'x'}, 13},             /* not absolute */
        {{5, 0, 0, 0, FRAME_GET, 0, 0, 0, 0, 0, 0, 1, '/'}, 13},             /* an unknown flag */
        {{9, 0, 0, 0, FRAME_PUT, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '/'}, 17}, /* no name */
        {{4, 0, 0, 0, FRAME_GET, 0, 0, 0, 0, 0, 0, 0}, 12},                  /* no path: too short */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        open_client();
        put(c.fd, cases[i].bytes, cases[i].len);
        client_verdict(&c, NULL, &v);
        assert_true(v.error);
        assert_int_equal(v.why.stage, STAGE_PROTOCOL);
    }
    /* Frames of a transfer without one, or of something else within one. */
    open_client();
    begin_file(0);
    expect_error(STAGE_PROTOCOL, EPROTO, "ENTRY is not expected here");
    uint8_t frame[32];
    ask_put(pathf("%s/x", place), "n", 0);
    begin_file(10);
    put(c.fd, frame, msg_ping_encode(FRAME_PING, 1, frame, sizeof(frame)));
    expect_error(STAGE_PROTOCOL, EPROTO, "PING breaks the protocol here");
    ask_put(pathf("%s/x", place), "n", 0);
    put(c.fd, "\0\0\0\0\x7f\0\0\0", 8);
    expect_error(STAGE_PROTOCOL, EPROTO, "unknown type");
    ask_put(pathf("%s/x", place), "n", 0);
    begin_file(10);
    client_data(&c, 8, "abc", 3);
    expect_error(STAGE_PROTOCOL, EPROTO, "outside of its file");
    assert_int_equal(tree_count(place, ""), 0);
    still_serves();
}

static void a_client_that_leaves_anywhere_leaves_the_old_file(void **state)
{
    (void)state;
    static uint8_t bytes[4096];
    static char big[1000];
    struct msg_put m = {.name = "n"};
    const struct ftree_entry en = {.type = FTREE_FILE, .mode = 0600, .size = sizeof(big)};
    const struct msg_data d = {.bytes = (const uint8_t *)big, .len = sizeof(big)};
    snprintf(m.path, sizeof(m.path), "%s/file", place);
    size_t len = msg_put_encode(&m, bytes, sizeof(bytes));
    len += msg_entry_encode(&en, bytes + len, sizeof(bytes) - len);
    len += msg_data_encode(&d, bytes + len, sizeof(bytes) - len);
    tree_text(m.path, "old");
    for (size_t cut = 0; cut <= len; cut += cut < 130 ? 1 : 97) {
        open_client();
        if (cut)
            put(c.fd, bytes, cut);
        client_close(&c);
    }
    await_clean();
    still_serves();
    await_clean();
    assert_string_equal(tree_read(m.path), "old");
}

/* The client goes on sending long after the agent knows that it cannot be. */
static void an_error_comes_through_while_the_client_sends(void **state)
{
    (void)state;
    static char chunk[FTREE_CHUNK];
    assert_int_equal(mkdir(pathf("%s/folder", place), 0755), 0);
    assert_int_equal(mkdir(pathf("%s/folder/n", place), 0755), 0);
    ask_put(pathf("%s/folder", place), "n", 0);
    begin_file(64u << 20);
    for (unsigned i = 0; i < 1024; i++)
        client_data(&c, (uint64_t)i * sizeof(chunk), chunk, sizeof(chunk));
    expect_error(STAGE_FILE, EISDIR, "/folder/n': it is a folder");
}

static void a_client_that_does_not_read_stalls_nobody_else(void **state)
{
    (void)state;
    struct client stuck;
    static char chunk[1 << 20];
    tree_write(pathf("%s/large", place), chunk, sizeof(chunk), 0644);
    assert_int_equal(truncate(pathf("%s/large", place), 0), 0);
    int fd = open(pathf("%s/large", place), O_WRONLY | O_CLOEXEC);
    memset(chunk, 1, sizeof(chunk));
    for (int i = 0; i < 8; i++)
        assert_int_equal(write_full(fd, chunk, sizeof(chunk)), 0);
    close(fd);
    ask_get(pathf("%s/large", place), 0);
    stuck = c;
    still_serves();
    pid_t child = child_of_agent();
    client_close(&stuck);
    await_death(child); /* found out by its next write */
}

/* Its process goes 5 s after its last word, however slowly the client goes on sending. */
static void a_client_that_trickles_keeps_no_process(void **state)
{
    (void)state;
    ask_put(pathf("%s/none/x", place), "n", 0);
    begin_file(1 << 20);
    pid_t child = child_of_agent();
    uint64_t until = now_ns() + 20 * NSEC_PER_SEC;
    for (char path[32]; now_ns() < until; usleep(900000)) {
        snprintf(path, sizeof(path), "/proc/%d", child);
        if (access(path, F_OK) < 0)
            break;
        ssize_t ignored = send(c.fd, "", 1, MSG_NOSIGNAL);
        (void)ignored;
    }
    assert_true(now_ns() < until);
    client_close(&c);
    still_serves();
}

static void executions_do_not_notice_a_transfer(void **state)
{
    (void)state;
    static struct outcome o;
    struct client exec;
    static const char *const argv[] = {"cat", NULL};
    struct exec_request q = request_of(argv);
    q.flags |= EXEC_STDIN;
    begin(&exec, &served, &q, &o);
    client_started(&exec, &o);
    ask_put(pathf("%s/slow", place), "n", 0); /* a process that inherits all of PID 1's descriptors */
    begin_file(5);
    while (tree_count(place, ".cubby-") == 0)
        usleep(5000);
    client_stdin(&exec, "through", 7);
    client_stdin_eof(&exec);
    client_finish(&exec, &o); /* would hang if cat's stdin was still open somewhere */
    assert_string_equal(o.out, "through");
    client_data(&c, 0, "12345", 5);
    client_end(&c, 1, 5);
    client_verdict(&c, NULL, &v);
    assert_true(v.done);
}

static void a_transfer_that_is_killed_is_told(void **state)
{
    (void)state;
    tree_text(pathf("%s/file", place), "old");
    ask_put(pathf("%s/file", place), "n", 0);
    begin_file(10);
    while (tree_count(place, ".cubby-") == 0)
        usleep(5000);
    kill(child_of_agent(), SIGKILL);
    expect_error(STAGE_RESOURCE, ENOMEM, "ended by signal 9");
    assert_string_equal(tree_read(pathf("%s/file", place)), "old");
    still_serves();
}

static void one_transfer_too_many_is_refused(void **state)
{
    (void)state;
    static struct client many[AGENT_TRANSFERS_MAX];
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        ask_put(pathf("%s/f%zu", place, i), "n", 0);
        begin_file(1);
        many[i] = c;
    }
    ask_put(pathf("%s/more", place), "n", 0);
    expect_error(STAGE_RESOURCE, EAGAIN, "too many transfers");
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        c = many[i];
        client_data(&c, 0, "x", 1);
        client_end(&c, 1, 1);
        client_verdict(&c, NULL, &v);
        assert_true(v.done);
    }
    assert_int_equal(tree_count(place, ""), (int)AGENT_TRANSFERS_MAX);
    still_serves();
}

static void a_stop_ends_transfers_and_clears_up(void **state)
{
    (void)state;
    struct served other;
    struct frame f;
    uint8_t frame[32];
    serve_start(&other, true);
    struct served first = served;
    served = other;
    tree_text(pathf("%s/file", place), "old");
    ask_put(pathf("%s/file", place), "n", 0);
    begin_file(10);
    while (tree_count(place, ".cubby-") == 0)
        usleep(5000);
    struct client control;
    client_connect(&control, &other);
    client_hello(&control);
    uint64_t start = now_ns();
    put(control.fd, frame, msg_shutdown_encode(&(struct msg_shutdown){20000}, frame, sizeof(frame)));
    client_expect(&control, &f, FRAME_BYE); /* long before the grace is over */
    assert_true(now_ns() - start < 10 * NSEC_PER_SEC);
    assert_int_equal(tree_count(place, ".cubby-"), 0);
    assert_string_equal(tree_read(pathf("%s/file", place)), "old");
    client_close(&control);
    client_close(&c);
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
    served = first;
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_place, remove_place)
    const struct CMUnitTest tests[] = {
        TEST(a_tree_with_everything_goes_in_and_out),
        TEST(everything_in_one_write_is_one_transfer),
        TEST(errors_name_the_path_and_the_reason),
        TEST(an_owner_is_looked_up_in_the_box),
        TEST(without_an_owner_all_is_the_agents),
        TEST(requests_that_cannot_be_are_violations),
        TEST(a_client_that_leaves_anywhere_leaves_the_old_file),
        TEST(an_error_comes_through_while_the_client_sends),
        TEST(a_client_that_does_not_read_stalls_nobody_else),
        TEST(a_client_that_trickles_keeps_no_process),
        TEST(executions_do_not_notice_a_transfer),
        TEST(a_transfer_that_is_killed_is_told),
        TEST(one_transfer_too_many_is_refused),
        TEST(a_stop_ends_transfers_and_clears_up),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
