/* SPDX-License-Identifier: Apache-2.0 */
/* The library's copies against the real agent (as a process of this machine): trees, targets, options,
 * errors told apart, deadlines, interruptions; and against agents that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cubby.h"
#include "runtime/copy.h"
#include "tests/base/trees.h"
#include "tests/runtime/agent_vmm.h"
#include "tests/runtime/fake_vmm.h"
#include "tests/runtime/hostile_agent.h"
#include "tests/runtime/place.h"

#include <pthread.h>
#include <sys/eventfd.h>

static struct place place;
static struct cubby_box *box;
static struct cubby_error e;
static int descriptors;
static char here[128], there[128]; /* the host's folder, and the box's, which is one of this machine too */

static int begin(const char *mode)
{
    alarm(120);
    if (place_make(&place) < 0)
        return -1;
    fake_assets(place.assets);
    if (mode)
        setenv("FAKE_AGENT", mode, 1);
    else
        unsetenv("FAKE_AGENT");
    snprintf(here, sizeof(here), "%s/here", place.root);
    snprintf(there, sizeof(there), "%s/there", place.root);
    descriptors = count_entries("/proc/self/fd");
    if (mkdir(here, 0755) < 0 || mkdir(there, 0755) < 0 || cubby_box_create(&box, NULL, &e) < 0)
        return -1;
    return cubby_box_start(box, &e);
}

static int end(void)
{
    cubby_box_destroy(box);
    int boxes = count_boxes(&place), fds = count_entries("/proc/self/fd");
    tree_remove(place.root);
    if (boxes || fds != descriptors || access(place.root, F_OK) == 0)
        fprintf(stderr, "left over: %d boxes, %d descriptors\n", boxes, fds - descriptors);
    return boxes || fds != descriptors || access(place.root, F_OK) == 0;
}

static int set_up(void **state)
{
    (void)state;
    return begin(NULL);
}

static int tear_down(void **state)
{
    (void)state;
    return end();
}

static struct cubby_copy_options options(unsigned flags)
{
    return (struct cubby_copy_options){.size = sizeof(struct cubby_copy_options), .flags = flags};
}

static void good(int ret)
{
    if (ret < 0)
        fail_msg("%s: %s", cubby_code_name(ret), e.message);
}

static void bad(int ret, int code, const char *words)
{
    if (ret != code || e.code != code || !strstr(e.message, words))
        fail_msg("%s: %s", cubby_code_name(ret), e.message);
}

static void a_tree_with_everything_goes_in_and_out(void **state)
{
    (void)state;
    struct cubby_copy_result in = {.size = sizeof(in)}, out = {.size = sizeof(out)};
    bool root = geteuid() == 0;
    struct cubby_copy_options o = options(root ? CUBBY_COPY_ARCHIVE : 0);
    char from[160], box_path[160], to[160];
    snprintf(from, sizeof(from), "%s/tree", here);
    snprintf(box_path, sizeof(box_path), "%s/tree", there);
    snprintf(to, sizeof(to), "%s/back", here);
    assert_int_equal(mkdir(from, 0755), 0);
    tree_fill(from);
    good(cubby_copy_in(box, from, there, &o, &in, &e)); /* into the folder, under its name */
    assert_same_trees(from, box_path, root);
    good(cubby_copy_out(box, box_path, to, &o, &out, &e));
    assert_same_trees(from, to, root);
    assert_true(in.entries == out.entries && in.bytes == out.bytes && in.entries > 20);
    assert_int_equal(in.skipped + out.skipped + in.xattrs_lost + out.xattrs_lost, 0);
}

static void sources_that_end_in_a_dot_give_their_contents(void **state)
{
    (void)state;
    assert_int_equal(mkdir(pathf("%s/dir", here), 0700), 0);
    tree_text(pathf("%s/dir/file", here), "text");
    static const char *const dots[] = {"/dir/.", "/dir/./", "/dir/../dir/."};
    for (size_t i = 0; i < ARRAY_LEN(dots); i++) {
        good(cubby_copy_in(box, pathf("%s%s", here, dots[i]), there, NULL, NULL, &e));
        assert_string_equal(tree_read(pathf("%s/file", there)), "text");
        assert_int_equal(tree_count(there, ""), 1);
        good(cubby_copy_out(box, pathf("%s/.", there), pathf("%s/new%zu", here, i), NULL, NULL, &e));
        assert_string_equal(tree_read(pathf("%s/new%zu/file", here, i)), "text");
    }
    good(cubby_copy_in(box, pathf("%s/dir/", here), there, NULL, NULL, &e));
    assert_string_equal(tree_read(pathf("%s/dir/file", there)), "text");
    struct stat st;
    assert_int_equal(stat(there, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755); /* a folder that was there keeps its mode */
}

static void a_large_file_and_a_sparse_one(void **state)
{
    (void)state;
    struct cubby_copy_result r = {.size = sizeof(r)};
    struct stat st;
    static char chunk[1 << 20];
    int fd = open(pathf("%s/large", here), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    for (int i = 0; i < 48; i++) {
        memset(chunk, i + 1, sizeof(chunk));
        assert_int_equal(write_full(fd, chunk, sizeof(chunk)), 0);
    }
    close(fd);
    good(cubby_copy_in(box, pathf("%s/large", here), there, NULL, &r, &e));
    assert_int_equal(r.bytes, 48 << 20);
    good(cubby_copy_out(box, pathf("%s/large", there), pathf("%s/back", here), NULL, &r, &e));
    off_t data;
    assert_true(tree_hash(pathf("%s/large", here), &data) == tree_hash(pathf("%s/back", here), &data));
    tree_sparse(pathf("%s/sparse", here), (off_t)5 << 30, "end");
    good(cubby_copy_in(box, pathf("%s/sparse", here), there, NULL, &r, &e));
    assert_true(r.bytes < 65536);
    assert_int_equal(stat(pathf("%s/sparse", there), &st), 0);
    assert_true(st.st_size == (off_t)5 << 30 && st.st_blocks < 64);
}

static void errors_are_told_apart_and_name_the_path(void **state)
{
    (void)state;
    struct cubby_copy_options keep = options(CUBBY_COPY_NO_REPLACE), owner = options(0);
    tree_text(pathf("%s/file", here), "here");
    tree_text(pathf("%s/file", there), "there");
    assert_int_equal(mkdir(pathf("%s/dir", here), 0755), 0);
    assert_int_equal(mkdir(pathf("%s/dir", there), 0755), 0);
    const char *file = strdup(pathf("%s/file", here)), *box_file = strdup(pathf("%s/file", there));
    bad(cubby_copy_in(box, pathf("%s/none", here), there, NULL, NULL, &e), CUBBY_ENOTFOUND,
        "cannot read '/tmp/");
    bad(cubby_copy_in(box, file, pathf("%s/none/x", there), NULL, NULL, &e), CUBBY_ENOTFOUND,
        "in the box: cannot copy to");
    bad(cubby_copy_in(box, file, box_file, &keep, NULL, &e), CUBBY_EEXISTS, "/there/file': it exists");
    bad(cubby_copy_in(box, pathf("%s/dir", here), box_file, NULL, NULL, &e), CUBBY_ENOTDIR, "/there/file'");
    bad(cubby_copy_in(box, file, pathf("%s/file/x", there), NULL, NULL, &e), CUBBY_ENOTDIR, "/there/file/x'");
    bad(cubby_copy_in(box, "/dev/null", there, NULL, NULL, &e), CUBBY_EUNSUPPORTED, "'/dev/null'");
    bad(cubby_copy_out(box, pathf("%s/none", there), here, NULL, NULL, &e), CUBBY_ENOTFOUND,
        "in the box: cannot read '/tmp/");
    bad(cubby_copy_out(box, box_file, pathf("%s/none/x", here), NULL, NULL, &e), CUBBY_ENOTFOUND,
        "cannot copy to '/tmp/");
    bad(cubby_copy_out(box, box_file, file, &keep, NULL, &e), CUBBY_EEXISTS, "/here/file': it exists");
    bad(cubby_copy_out(box, "/proc/version", here, NULL, NULL, &e), CUBBY_EUNSUPPORTED, "/proc/version");
    owner.owner = "nobody-of-that-name";
    bad(cubby_copy_in(box, file, there, &owner, NULL, &e), CUBBY_ENOTFOUND, "nobody-of-that-name");
    owner.owner = "root:root:root";
    bad(cubby_copy_in(box, file, there, &owner, NULL, &e), CUBBY_EARGUMENT, "root:root:root");
    if (access("/dev/full", W_OK) == 0 && geteuid() == 0) { /* a place that takes no files */
        bad(cubby_copy_in(box, file, "/proc/x", NULL, NULL, &e), CUBBY_ENOTFOUND, "'/proc/x'");
        bad(cubby_copy_out(box, box_file, "/proc/x", NULL, NULL, &e), CUBBY_ENOTFOUND, "'/proc/x'");
    }
    assert_string_equal(tree_read(file), "here");
    assert_string_equal(tree_read(box_file), "there");
    free((char *)(uintptr_t)file);
    free((char *)(uintptr_t)box_file);
}

static void wrong_arguments_are_refused(void **state)
{
    (void)state;
    struct cubby_copy_options o = options(0x80);
    struct cubby_copy_result r = {0};
    char name[400];
    bad(cubby_copy_in(NULL, "/a", "/b", NULL, NULL, &e), CUBBY_EARGUMENT, "NULL");
    bad(cubby_copy_in(box, NULL, "/b", NULL, NULL, &e), CUBBY_EARGUMENT, "NULL");
    bad(cubby_copy_out(box, "/b", NULL, NULL, NULL, &e), CUBBY_EARGUMENT, "NULL");
    bad(cubby_copy_in(box, "", "/b", NULL, NULL, &e), CUBBY_EARGUMENT, "empty");
    bad(cubby_copy_in(box, "/a", "", NULL, NULL, &e), CUBBY_EARGUMENT, "empty");
    bad(cubby_copy_in(box, "/a", "b", NULL, NULL, &e), CUBBY_EARGUMENT, "not absolute");
    bad(cubby_copy_out(box, "a", "/b", NULL, NULL, &e), CUBBY_EARGUMENT, "not absolute");
    bad(cubby_copy_in(box, "/a", "/b", &o, NULL, &e), CUBBY_EARGUMENT, "0x80");
    bad(cubby_copy_in(box, "/a", "/b", NULL, &r, &e), CUBBY_EARGUMENT, "size");
    o = options(0);
    o.reserved = 1;
    bad(cubby_copy_in(box, "/a", "/b", &o, NULL, &e), CUBBY_EARGUMENT, "reserved");
    bad(cubby_copy_out(box, "/a", "/b", &o, NULL, &e), CUBBY_EARGUMENT, "reserved");
    o = options(CUBBY_COPY_ARCHIVE);
    o.owner = "root";
    bad(cubby_copy_in(box, "/a", "/b", &o, NULL, &e), CUBBY_EARGUMENT, "owner");
    o.flags = 0;
    bad(cubby_copy_out(box, "/a", "/b", &o, NULL, &e), CUBBY_EARGUMENT, "owner");
    o.owner = "";
    bad(cubby_copy_in(box, "/a", "/b", &o, NULL, &e), CUBBY_EARGUMENT, "owner");
    o.size = 4;
    bad(cubby_copy_in(box, "/a", "/b", &o, NULL, &e), CUBBY_EARGUMENT, "size");
    memset(name, 'n', sizeof(name) - 1);
    name[0] = '/';
    name[sizeof(name) - 1] = '\0';
    bad(cubby_copy_in(box, name, "/b", NULL, NULL, &e), CUBBY_EARGUMENT, "too long");
    assert_int_equal(cubby_copy_in(box, "/a", "b", NULL, NULL, NULL), CUBBY_EARGUMENT);
}

static void a_link_as_the_source(void **state)
{
    (void)state;
    struct cubby_copy_options follow = options(CUBBY_COPY_FOLLOW);
    char text[16];
    tree_text(pathf("%s/file", here), "text");
    assert_int_equal(symlink("file", pathf("%s/link", here)), 0);
    good(cubby_copy_in(box, pathf("%s/link", here), there, NULL, NULL, &e));
    assert_int_equal(readlink(pathf("%s/link", there), text, sizeof(text)), 4);
    good(cubby_copy_in(box, pathf("%s/link", here), there, &follow, NULL, &e)); /* replaces the link */
    assert_string_equal(tree_read(pathf("%s/link", there)), "text");
    assert_int_equal(readlink(pathf("%s/link", there), text, sizeof(text)), -1);
}

struct calls {
    unsigned count;
    uint64_t bytes;
};

static void count_calls(void *context, const struct cubby_copy_result *so_far)
{
    struct calls *c = context;
    assert_true(so_far->size == sizeof(*so_far) && so_far->bytes >= c->bytes);
    c->bytes = so_far->bytes;
    c->count++;
}

static void progress_is_told(void **state)
{
    (void)state;
    struct calls calls = {0};
    static char chunk[1 << 20];
    struct cubby_copy_options o = options(0);
    o.progress = count_calls;
    o.context = &calls;
    int fd = open(pathf("%s/large", here), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    memset(chunk, 1, sizeof(chunk));
    for (int i = 0; i < 8; i++)
        assert_int_equal(write_full(fd, chunk, sizeof(chunk)), 0);
    close(fd);
    good(cubby_copy_in(box, pathf("%s/large", here), there, &o, NULL, &e));
    assert_true(calls.count > 0 && calls.count < 1000);
    calls = (struct calls){0};
    good(cubby_copy_out(box, pathf("%s/large", there), pathf("%s/back", here), &o, NULL, &e));
    assert_true(calls.count > 0 && calls.count < 1000);
}

static void make_large(const char *path)
{
    static char chunk[1 << 20];
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    memset(chunk, 7, sizeof(chunk));
    for (int i = 0; i < 192; i++)
        assert_int_equal(write_full(fd, chunk, sizeof(chunk)), 0);
    close(fd);
}

static void dawdle(void *context, const struct cubby_copy_result *so_far)
{
    unsigned *calls = context;
    (void)so_far;
    if ((*calls)++ < 3)
        usleep(400000);
}

/* The time that this side takes for itself, here or on its disks, is not the guest's. */
static void a_slow_caller_does_not_lose_the_guest(void **state)
{
    (void)state;
    unsigned calls = 0;
    struct cubby_copy_options o = options(0);
    o.stall_ms = 200;
    o.progress = dawdle;
    o.context = &calls;
    make_large(pathf("%s/large", there));
    good(cubby_copy_out(box, pathf("%s/large", there), pathf("%s/target", here), &o, NULL, &e));
    assert_true(calls > 3);
    calls = 0;
    good(cubby_copy_in(box, pathf("%s/target", here), pathf("%s/again", there), &o, NULL, &e));
    assert_true(calls > 3);
}

/* --- interruptions: a FIFO cannot be a source, so a large sparse-free file gives the time --- */

struct killer {
    pid_t vmm;
    int signo, delay_ms, fd;
};

static void *strike(void *arg)
{
    const struct killer *k = arg;
    uint64_t one = 1;
    usleep((useconds_t)k->delay_ms * 1000);
    if (k->signo)
        kill(k->vmm, k->signo);
    else if (write(k->fd, &one, sizeof(one)) != sizeof(one))
        abort();
    return NULL;
}

/* Stops the agent's side before the copy begins, so the copy is certainly not over when the strike comes. */
static int interrupted_copy(bool out, int signo, unsigned stall_ms)
{
    CLEANUP(fd_closep) int cancel = eventfd(0, EFD_CLOEXEC);
    struct cubby_copy_options o = options(0);
    struct killer k = {.vmm = cubby_box_pid(box), .signo = signo, .delay_ms = 200, .fd = cancel};
    pthread_t thread;
    o.cancel_fd = cancel;
    o.stall_ms = stall_ms;
    good(cubby_box_wait_ready(box, 30000, &e));
    k.vmm = cubby_box_pid(box);
    kill(k.vmm, SIGSTOP);
    if (stall_ms == 0)
        assert_int_equal(pthread_create(&thread, NULL, strike, &k), 0);
    int ret = out ? cubby_copy_out(box, pathf("%s/large", there), pathf("%s/target", here), &o, NULL, &e)
                  : cubby_copy_in(box, pathf("%s/large", here), pathf("%s/target", there), &o, NULL, &e);
    if (stall_ms == 0)
        pthread_join(thread, NULL);
    kill(k.vmm, SIGCONT);
    return ret;
}

static void interrupted(bool out)
{
    make_large(pathf("%s/large", out ? there : here));
    char target[160];
    snprintf(target, sizeof(target), "%s/target", out ? here : there);
    tree_text(target, "old");
    bad(interrupted_copy(out, 0, 0), CUBBY_ESTOPPED, "interrupted");
    assert_string_equal(tree_read(target), "old");
    bad(interrupted_copy(out, 0, 300), CUBBY_EGUEST_LOST, "300 ms");
    assert_string_equal(tree_read(target), "old");
    uint64_t start = now_ns();
    bad(interrupted_copy(out, SIGKILL, 0), CUBBY_EGUEST_LOST, "");
    assert_true(now_ns() - start < 10 * NSEC_PER_SEC);
    assert_string_equal(tree_read(target), "old");
    assert_int_equal(tree_count(here, ".cubby-"), 0);
    bad(out ? cubby_copy_out(box, "/etc/hostname", here, NULL, NULL, &e)
            : cubby_copy_in(box, "/etc/hostname", there, NULL, NULL, &e),
        CUBBY_EGUEST_LOST, "SIGKILL"); /* of a box that is over */
}

static void a_copy_in_can_be_interrupted_and_notices_a_lost_guest(void **state)
{
    (void)state;
    interrupted(false);
}

static void a_copy_out_can_be_interrupted_and_notices_a_lost_guest(void **state)
{
    (void)state;
    interrupted(true);
}

/* Cut at some point in the middle of the data: by progress, which is called from there. */
static void cancel_now(void *context, const struct cubby_copy_result *so_far)
{
    uint64_t one = 1;
    (void)so_far;
    if (write(*(int *)context, &one, sizeof(one)) != sizeof(one))
        abort();
}

static void a_copy_cut_in_its_data_leaves_the_old_file(void **state)
{
    (void)state;
    CLEANUP(fd_closep) int cancel = eventfd(0, EFD_CLOEXEC);
    struct cubby_copy_options o = options(0);
    o.cancel_fd = cancel;
    o.progress = cancel_now;
    o.context = &cancel;
    make_large(pathf("%s/large", here));
    tree_text(pathf("%s/large", there), "old");
    bad(cubby_copy_in(box, pathf("%s/large", here), there, &o, NULL, &e), CUBBY_ESTOPPED, "interrupted");
    while (tree_count(there, ".cubby-") > 0) /* the agent clears up when it sees the end */
        usleep(5000);
    assert_string_equal(tree_read(pathf("%s/large", there)), "old");
    assert_int_equal(tree_count(there, ""), 1);
    uint64_t value;
    assert_int_equal(read(cancel, &value, sizeof(value)), sizeof(value));
    make_large(pathf("%s/source", there));
    tree_text(pathf("%s/source", here), "old");
    bad(cubby_copy_out(box, pathf("%s/source", there), here, &o, NULL, &e), CUBBY_ESTOPPED, "interrupted");
    assert_string_equal(tree_read(pathf("%s/source", here)), "old");
    assert_int_equal(tree_count(here, ".cubby-"), 0);
}

static void *stop_box(void *arg)
{
    struct cubby_error ours;
    (void)arg;
    cubby_box_stop(box, 4000, &ours);
    return NULL;
}

/* Called in the middle of the data: goes on when the agent has begun to stop, and has cut the transfer. */
static void stop_now(void *context, const struct cubby_copy_result *so_far)
{
    pthread_t *stopper = context;
    if (*stopper || so_far->bytes < 8 << 20)
        return;
    assert_int_equal(pthread_create(stopper, NULL, stop_box, NULL), 0);
    while (cubby_box_state(box) == CUBBY_RUNNING)
        usleep(5000);
    usleep(200000);
}

/* A command that ignores SIGTERM makes the stop last longer than a broken connection waits for its reason. */
static void stopped_in_the_middle(bool out)
{
    char script[256], up[160];
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    const struct cubby_exec_options what = {.size = sizeof(what), .argv = argv};
    pthread_t stopper = 0;
    struct cubby_copy_options o = options(0);
    struct cubby_exec *x;
    o.progress = stop_now;
    o.context = &stopper;
    make_large(pathf("%s/large", out ? there : here));
    snprintf(up, sizeof(up), "%s/up", there);
    snprintf(script, sizeof(script), "trap '' TERM; : > %s; sleep 60", up);
    good(cubby_exec_start(&x, box, &what, &e));
    while (access(up, F_OK) < 0) /* it takes its first steps while we wait for it */
        assert_int_equal(cubby_exec_wait(x, 10, NULL, &e), CUBBY_ETIMEOUT);
    bad(out ? cubby_copy_out(box, pathf("%s/large", there), here, &o, NULL, &e)
            : cubby_copy_in(box, pathf("%s/large", here), there, &o, NULL, &e),
        CUBBY_ESTOPPED, "is being stopped");
    pthread_join(stopper, NULL);
    cubby_exec_free(x);
}

static void a_copy_in_during_a_stop_says_so(void **state)
{
    (void)state;
    stopped_in_the_middle(false);
}

static void a_copy_out_during_a_stop_says_so(void **state)
{
    (void)state;
    stopped_in_the_middle(true);
}

static void a_box_that_does_not_run_takes_no_copies(void **state)
{
    (void)state;
    struct cubby_box *other;
    good(cubby_box_create(&other, NULL, &e));
    bad(cubby_copy_in(other, "/etc/hostname", "/tmp", NULL, NULL, &e), CUBBY_ESTATE, "not started");
    cubby_box_destroy(other);
    good(cubby_box_wait_ready(box, 30000, &e));
    good(cubby_box_stop(box, 1000, &e));
    bad(cubby_copy_out(box, "/etc/hostname", here, NULL, NULL, &e), CUBBY_ESTOPPED, "stopped");
}

/* --- agents that lie --- */

static void every_errno_has_its_code(void **state)
{
    (void)state;
    static const struct {
        int errnum, here, in_box;
    } cases[] = {
        {ENOENT, CUBBY_ENOTFOUND, CUBBY_ENOTFOUND},
        {EEXIST, CUBBY_EEXISTS, CUBBY_EEXISTS},
        {ENOTDIR, CUBBY_ENOTDIR, CUBBY_ENOTDIR},
        {EISDIR, CUBBY_ENOTDIR, CUBBY_ENOTDIR},
        {ENOSPC, CUBBY_ESTORAGE, CUBBY_EGUEST_STORAGE},
        {EDQUOT, CUBBY_ESTORAGE, CUBBY_EGUEST_STORAGE},
        {EIO, CUBBY_ESTORAGE, CUBBY_EGUEST_STORAGE},
        {EROFS, CUBBY_ESTORAGE, CUBBY_EGUEST_STORAGE},
        {ENOMEM, CUBBY_ERESOURCE, CUBBY_ERESOURCE},
        {EMFILE, CUBBY_ERESOURCE, CUBBY_ERESOURCE},
        {EACCES, CUBBY_EFILE, CUBBY_EFILE},
        {EPERM, CUBBY_EFILE, CUBBY_EFILE},
        {EFBIG, CUBBY_EFILE, CUBBY_EFILE},
        {ELOOP, CUBBY_EFILE, CUBBY_EFILE},
        {EPROTO, CUBBY_EFILE, CUBBY_EFILE}, /* of a file system: nobody broke our protocol */
        {0, CUBBY_EFILE, CUBBY_EFILE},
        {EOPNOTSUPP, CUBBY_EUNSUPPORTED, CUBBY_EUNSUPPORTED},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(copy_code(cases[i].errnum, false), cases[i].here);
        assert_int_equal(copy_code(cases[i].errnum, true), cases[i].in_box);
        assert_string_not_equal(cubby_code_name(cases[i].here), "unknown");
        assert_string_not_equal(cubby_code_name(cases[i].in_box), "unknown");
    }
}

static void a_hostile_agent_gets_nowhere(void **state)
{
    (void)state;
    static const struct {
        const char *mode, *words;
        int code;
    } cases[] = {
        {"dotdot", "broke the protocol", CUBBY_EPROTOCOL},
        {"absolute", "broke the protocol", CUBBY_EPROTOCOL},
        {"through-link", "/s/escaped'", CUBBY_EPROTOCOL},
        {"hard-link", "hard link '", CUBBY_ENOTFOUND},
        {"too-much", "outside of its file", CUBBY_EPROTOCOL},
        {"wrong-end", "not what END says", CUBBY_EPROTOCOL},
        {"early-done", "DONE breaks the protocol", CUBBY_EPROTOCOL},
        {"garbage", "not a frame", CUBBY_EPROTOCOL},
        {"closes", "in the middle of the copy", CUBBY_EGUEST_LOST},
        {"silent", "100 ms", CUBBY_EGUEST_LOST},
        {"device", "", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(begin(cases[i].mode), 0);
        struct cubby_copy_options o = options(0);
        struct cubby_copy_result r = {.size = sizeof(r)};
        o.stall_ms = strcmp(cases[i].mode, "silent") == 0 ? 100 : 20000;
        tree_text(pathf("%s/yours", here), "yours");
        int ret = cubby_copy_out(box, "/x", pathf("%s/into", here), &o, &r, &e);
        if (ret != cases[i].code || (ret < 0 && !strstr(e.message, cases[i].words)))
            fail_msg("%s: %s: %s", cases[i].mode, cubby_code_name(ret), e.message);
        assert_int_equal(r.skipped, ret == 0); /* the device */
        assert_int_equal(access(pathf("%s/escaped", here), F_OK), -1);
        assert_int_equal(access("/tmp/escaped", F_OK), -1);
        assert_int_equal(tree_count(here, ".cubby-"), 0);
        if (strcmp(cases[i].mode, "silent") != 0) {
            ret = cubby_copy_in(box, pathf("%s/yours", here), "/x", &o, NULL, &e);
            if (ret != CUBBY_EPROTOCOL && ret != CUBBY_EGUEST_LOST)
                fail_msg("%s: %s: %s", cases[i].mode, cubby_code_name(ret), e.message);
        }
        assert_int_equal(end(), 0);
    }
}

/* What the box says is a link becomes one here, if anything; what it sends next does not go where it leads.
 */
static void two_copies_in_a_row_lead_nowhere(void **state)
{
    (void)state;
    static const char *const sources[] = {"/out/.", "/out"};
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        char target[160];
        assert_int_equal(begin("root-link"), 0);
        snprintf(target, sizeof(target), "%s/artifacts", here);
        int ret = cubby_copy_out(box, sources[i], target, NULL, NULL, &e);
        if (i == 0)
            bad(ret, CUBBY_ENOTDIR, "no folder, which has contents");
        else
            good(ret);
        ret = cubby_copy_out(box, sources[i], target, NULL, NULL, &e);
        if (i == 0)
            good(ret);
        else
            bad(ret, CUBBY_ENOTDIR, "/artifacts': it is a symbolic link");
        assert_int_equal(tree_count(there, ""), 0);
        assert_int_equal(tree_count(here, ""), 1);
        assert_int_equal(end(), 0);
    }
}

int main(int argc, char **argv)
{
    (void)argc;
    if (is_fake_vmm(argv) && argv[1] && strcmp(argv[1], "--probe") == 0)
        return fake_probe();
    if (is_fake_vmm(argv))
        return getenv("FAKE_AGENT") ? hostile_vmm_main(argv) : agent_vmm_main(argv);
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_tree_with_everything_goes_in_and_out),
        TEST(sources_that_end_in_a_dot_give_their_contents),
        TEST(a_large_file_and_a_sparse_one),
        TEST(errors_are_told_apart_and_name_the_path),
        TEST(wrong_arguments_are_refused),
        TEST(a_link_as_the_source),
        TEST(progress_is_told),
        TEST(a_slow_caller_does_not_lose_the_guest),
        TEST(a_copy_in_can_be_interrupted_and_notices_a_lost_guest),
        TEST(a_copy_out_can_be_interrupted_and_notices_a_lost_guest),
        TEST(a_copy_cut_in_its_data_leaves_the_old_file),
        TEST(a_copy_in_during_a_stop_says_so),
        TEST(a_copy_out_during_a_stop_says_so),
        TEST(a_box_that_does_not_run_takes_no_copies),
        cmocka_unit_test(every_errno_has_its_code),
        cmocka_unit_test(a_hostile_agent_gets_nowhere),
        cmocka_unit_test(two_copies_in_a_row_lead_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
