/* SPDX-License-Identifier: Apache-2.0 */
/* Trees copied within one process, from the reader straight to the writer: what is kept, where it goes, and
 * what a source that changes or ends does. Hostile entries: test_ftree_hostile.c. */
#include "tests/base/trees.h"

#include "base/ftree.h"
#include "base/ftree_parts.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define DEADLINE_S 120
#define RACE_NS    (400 * NSEC_PER_MSEC)

/* Hands everything on to a writer, but may stop before number `stop_at`, or do something there. */
struct pipe_sink {
    struct ftree_sink sink;
    struct ftree_writer *w;
    struct err *e;
    long events, stop_at;
    void (*disturb)(const char *path);
};

static char place[64], from[96], to[96];

static int step(struct pipe_sink *p)
{
    return ++p->events == p->stop_at ? -ECANCELED : 0;
}

static int on_entry(struct ftree_sink *s, const struct ftree_entry *en)
{
    struct pipe_sink *p = (struct pipe_sink *)(void *)s;
    if (step(p) < 0)
        return -ECANCELED;
    int ret = ftree_writer_entry(p->w, en, p->e);
    if (p->disturb)
        p->disturb(en->path);
    return ret;
}

static int on_data(struct ftree_sink *s, uint64_t offset, const void *data, size_t len)
{
    struct pipe_sink *p = (struct pipe_sink *)(void *)s;
    return step(p) < 0 ? -ECANCELED : ftree_writer_data(p->w, offset, data, len, p->e);
}

static int on_xattr(struct ftree_sink *s, const char *name, const void *value, size_t len)
{
    struct pipe_sink *p = (struct pipe_sink *)(void *)s;
    return step(p) < 0 ? -ECANCELED : ftree_writer_xattr(p->w, name, value, len, p->e);
}

struct outcome {
    struct err e;
    struct ftree_totals read, made;
    long events;
};

static int copy_with(const struct ftree_source *src, const struct ftree_target *target, struct pipe_sink *p,
                     struct outcome *o)
{
    memset(o, 0, sizeof(*o));
    p->sink = (struct ftree_sink){on_entry, on_data, on_xattr};
    p->e = &o->e;
    assert_int_equal(ftree_writer_create(&p->w, target, &o->e), 0);
    int ret = ftree_read(src, &p->sink, &o->read, &o->e);
    if (ret == 0)
        ret = ftree_writer_finish(p->w, &o->e);
    o->made = *ftree_writer_totals(p->w);
    o->events = p->events;
    ftree_writer_destroy(p->w);
    return ret;
}

static int copy(const char *source, const char *target, bool archive, struct outcome *o)
{
    const struct ftree_source src = {.path = source, .archive = archive};
    const struct ftree_target dest = {.path = target, .name = "name", .archive = archive};
    struct pipe_sink p = {0};
    return copy_with(&src, &dest, &p, o);
}

static int set_up(void **state)
{
    (void)state;
    alarm(DEADLINE_S);
    strcpy(place, "/tmp/cubby-ftree-XXXXXX");
    if (!mkdtemp(place))
        return -1;
    snprintf(from, sizeof(from), "%s/from", place);
    snprintf(to, sizeof(to), "%s/to", place);
    return mkdir(from, 0755);
}

static int tear_down(void **state)
{
    (void)state;
    tree_remove(place);
    return access(place, F_OK) == 0;
}

static void a_tree_with_everything_is_copied_as_it_is(void **state)
{
    (void)state;
    struct outcome o;
    bool root = geteuid() == 0;
    tree_fill(from);
    if (copy(from, to, root, &o) < 0)
        fail_msg("%s", o.e.text);
    assert_same_trees(from, to, root);
    assert_int_equal(o.read.entries, o.made.entries);
    assert_int_equal(o.read.bytes, o.made.bytes);
    assert_int_equal(o.made.skipped + o.made.xattrs_lost, 0);
    /* Once more over itself: all files are replaced by the like. */
    const struct ftree_source src = {.path = from, .archive = root};
    const struct ftree_target dest = {.path = to, .contents = true, .name = "", .archive = root};
    struct pipe_sink p = {0};
    if (copy_with(&src, &dest, &p, &o) < 0)
        fail_msg("%s", o.e.text);
    tree_stamp(to, 55, 66); /* a folder that was there keeps its own; its time is when it changed */
    assert_same_trees(from, to, root);
}

static void without_archive_files_are_the_copiers_own(void **state)
{
    (void)state;
    struct outcome o;
    struct stat st;
    tree_fill(from);
    if (copy(from, to, false, &o) < 0)
        fail_msg("%s", o.e.text);
    assert_same_trees(from, to, false);
    assert_int_equal(stat(pathf("%s/setuid", to), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_int_equal(st.st_uid, geteuid());
    assert_int_equal(access(pathf("%s/char", to), F_OK), -1);
    assert_int_equal(o.read.skipped, geteuid() == 0 ? 2 : 0); /* the devices */
    assert_int_equal(lgetxattr(pathf("%s/sub", to), "trusted.note", NULL, 0), -1);
}

static void everything_can_be_given_to_one_owner(void **state)
{
    (void)state;
    struct outcome o;
    struct stat st;
    if (geteuid() != 0)
        skip();
    const struct ftree_source src = {.path = from, .archive = true}; /* sends more than is wanted */
    const struct ftree_target dest = {.path = to, .name = "n", .owned = true, .uid = 5, .gid = 6};
    struct pipe_sink p = {0};
    tree_fill(from);
    if (copy_with(&src, &dest, &p, &o) < 0)
        fail_msg("%s", o.e.text);
    static const char *const names[] = {"", "/small", "/link", "/fifo", "/sub/closed"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_int_equal(lstat(pathf("%s%s", to, names[i]), &st), 0);
        assert_int_equal(st.st_uid, 5);
        assert_int_equal(st.st_gid, 6);
    }
    assert_int_equal(o.made.skipped, 2);
    assert_int_equal(o.read.entries, o.made.entries + o.made.skipped);
    assert_true(o.made.xattrs_lost >= 2); /* "trusted." ones; ACLs and a capability where there can be some */
}

static void a_source_goes_where_cp_would_put_it(void **state)
{
    (void)state;
    struct outcome o;
    static const struct {
        const char *source, *target, *result; /* where "from/file", or the folder's "in", is found then */
        bool contents;
        int ret;
    } cases[] = {
        {"file", "new", "new", false, 0},
        {"file", "new/", NULL, false, -ENOENT},
        {"file", "folder", "folder/name", false, 0},
        {"file", "folder/", "folder/name", false, 0},
        {"file", "folder/.", "folder/name", false, 0},
        {"file", "folder/other", "folder/other", false, 0},
        {"file", "old", "old", false, 0},
        {"file", "old/", NULL, false, -ENOTDIR},
        {"file", "old/x", NULL, false, -ENOTDIR},
        {"file", "none/x", NULL, false, -ENOENT},
        {"file", "to-folder", "folder/name", false, 0},
        {"file", "to-old", "to-old", false, 0}, /* replaced, not written through */
        {"file", "dangling", "dangling", false, 0},
        {"dir", "new", "new/in", false, 0},
        {"dir", "new/", "new/in", false, 0},
        {"dir", "new//", "new/in", true, 0},
        {"dir", "folder", "folder/name/in", false, 0},
        {"dir", "folder", "folder/in", true, 0},
        {"dir", "to-folder/", "folder/in", true, 0},
        {"dir", "old", NULL, false, -ENOTDIR},
        {"dir", "dangling", NULL, false, -ENOTDIR},
        {"dir", "none/x", NULL, false, -ENOENT},
        {"file", "new", NULL, true, -ENOTDIR}, /* contents of a file: it may not become "new" */
        {"file", "folder", NULL, true, -ENOTDIR},
        {"file", "old", NULL, true, -ENOTDIR},
        {"dir", "new/.", NULL, false, -ENOENT},
        {"file", "new/..", NULL, false, -ENOENT},
        {"file", "taken", NULL, false, -EISDIR},  /* there is a folder taken/name */
        {"dir", "linked", NULL, false, -ENOTDIR}, /* linked/name is a symbolic link to a folder */
    };
    tree_text(pathf("%s/file", from), "new");
    assert_int_equal(mkdir(pathf("%s/dir", from), 0755), 0);
    tree_text(pathf("%s/dir/in", from), "new");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(mkdir(to, 0755), 0);
        assert_int_equal(mkdir(pathf("%s/folder", to), 0755), 0);
        assert_int_equal(mkdir(pathf("%s/taken", to), 0755), 0);
        assert_int_equal(mkdir(pathf("%s/taken/name", to), 0755), 0);
        assert_int_equal(mkdir(pathf("%s/linked", to), 0755), 0);
        assert_int_equal(symlink("../folder", pathf("%s/linked/name", to)), 0);
        tree_text(pathf("%s/old", to), "old");
        assert_int_equal(symlink("folder", pathf("%s/to-folder", to)), 0);
        assert_int_equal(symlink("old", pathf("%s/to-old", to)), 0);
        assert_int_equal(symlink("nothing", pathf("%s/dangling", to)), 0);
        char target[256];
        snprintf(target, sizeof(target), "%s/%s", to, cases[i].target);
        char source[256];
        snprintf(source, sizeof(source), "%s/%s", from, cases[i].source);
        const struct ftree_source src = {.path = source};
        const struct ftree_target dest = {.path = target, .name = "name", .contents = cases[i].contents};
        struct pipe_sink p = {0};
        int ret = copy_with(&src, &dest, &p, &o);
        if (ret != cases[i].ret)
            fail_msg("case %zu: %d (%s)", i, ret, o.e.text);
        if (ret == 0)
            assert_string_equal(tree_read(pathf("%s/%s", to, cases[i].result)), "new");
        else
            assert_non_null(strstr(o.e.text, cases[i].target));
        if (strcmp(cases[i].target, "to-old") == 0)
            assert_string_equal(tree_read(pathf("%s/old", to)), "old");
        if (strcmp(cases[i].target, "linked") == 0)
            assert_int_equal(tree_count(pathf("%s/folder", to), ""), 0);
        tree_remove(to);
    }
}

static void a_link_at_the_end_leads_nowhere_without_trust(void **state)
{
    (void)state;
    struct outcome o;
    static const struct {
        const char *source, *target, *result;
        bool contents;
        int ret;
    } cases[] = {
        {"dir", "to-folder", NULL, false, -ENOTDIR},
        {"dir", "to-folder", NULL, true, -ENOTDIR},
        {"file", "to-folder", NULL, false, -ENOTDIR}, /* nor is what may be the caller's link replaced */
        {"dir", "to-folder/", "folder/in", true, 0},
        {"dir", "to-folder/.", "folder/name/in", false, 0},
        {"dir", "to-folder/deeper", "folder/deeper/in", false, 0},
        {"dir", "folder", "folder/name/in", false, 0},
        {"file", "to-old", "to-old", false, 0},
        {"dir", "dangling", NULL, true, -ENOTDIR},
    };
    tree_text(pathf("%s/file", from), "new");
    assert_int_equal(mkdir(pathf("%s/dir", from), 0755), 0);
    tree_text(pathf("%s/dir/in", from), "new");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char source[128], target[128];
        assert_int_equal(mkdir(to, 0755), 0);
        assert_int_equal(mkdir(pathf("%s/folder", to), 0755), 0);
        tree_text(pathf("%s/old", to), "old");
        assert_int_equal(symlink("folder", pathf("%s/to-folder", to)), 0);
        assert_int_equal(symlink("old", pathf("%s/to-old", to)), 0);
        assert_int_equal(symlink("nothing", pathf("%s/dangling", to)), 0);
        snprintf(source, sizeof(source), "%s/%s", from, cases[i].source);
        snprintf(target, sizeof(target), "%s/%s", to, cases[i].target);
        const struct ftree_source src = {.path = source};
        const struct ftree_target dest = {
            .path = target, .name = "name", .contents = cases[i].contents, .nofollow = true};
        struct pipe_sink p = {0};
        int ret = copy_with(&src, &dest, &p, &o);
        if (ret != cases[i].ret)
            fail_msg("case %zu: %d (%s)", i, ret, o.e.text);
        if (ret == 0)
            assert_string_equal(tree_read(pathf("%s/%s", to, cases[i].result)), "new");
        else
            assert_int_equal(tree_count(pathf("%s/folder", to), ""), 0);
        assert_string_equal(tree_read(pathf("%s/old", to)), "old");
        tree_remove(to);
    }
}

static void no_replace_leaves_what_exists(void **state)
{
    (void)state;
    struct outcome o;
    const struct ftree_source src = {.path = from};
    const struct ftree_target dest = {.path = to, .name = "", .contents = true, .no_replace = true};
    struct pipe_sink p = {0}, again = {0};
    tree_text(pathf("%s/a", from), "new");
    tree_text(pathf("%s/b", from), "new");
    if (copy_with(&src, &dest, &p, &o) < 0)
        fail_msg("%s", o.e.text);
    tree_text(pathf("%s/a", to), "old");
    assert_int_equal(copy_with(&src, &dest, &again, &o), -EEXIST);
    assert_non_null(strstr(o.e.text, "/to/a'"));
    assert_string_equal(tree_read(pathf("%s/a", to)), "old");
    assert_int_equal(tree_count(to, ""), 2);
}

static void a_copy_cut_anywhere_leaves_old_or_new_files(void **state)
{
    (void)state;
    struct outcome o;
    static char big[200000], text[sizeof(big) + 1];
    const struct ftree_source src = {.path = from};
    const struct ftree_target dest = {.path = to, .name = "", .contents = true};
    long last = 0;
    memset(big, 'n', sizeof(big));
    for (int i = 0; i < 4; i++) {
        tree_write(pathf("%s/f%d", from, i), big, sizeof(big), 0644);
        assert_int_equal(setxattr(pathf("%s/f%d", from, i), "user.x", "x", 1, 0), 0);
    }
    for (long cut = 1; last == 0; cut++) {
        struct pipe_sink p = {.stop_at = cut};
        assert_int_equal(mkdir(to, 0755), 0);
        for (int i = 0; i < 4; i++)
            tree_text(pathf("%s/f%d", to, i), "old");
        if (copy_with(&src, &dest, &p, &o) == 0)
            last = cut;
        assert_int_equal(tree_count(to, ""), 4); /* no temporary file */
        for (int i = 0; i < 4; i++) {
            int fd = open(pathf("%s/f%d", to, i), O_RDONLY | O_CLOEXEC);
            ssize_t n = read(fd, text, sizeof(text));
            close(fd);
            bool old = n == 3 && memcmp(text, "old", 3) == 0;
            bool new = n == (ssize_t)sizeof(big) && memcmp(text, big, sizeof(big)) == 0;
            assert_true(old || new);
            assert_true(new || last == 0);
        }
        tree_remove(to);
    }
    assert_true(last > 4 * 5);
}

static void holes_cost_nothing(void **state)
{
    (void)state;
    struct outcome o;
    struct stat st;
    tree_sparse(pathf("%s/sparse", from), (off_t)5 << 30, "five gigabytes");
    if (copy(pathf("%s/sparse", from), to, false, &o) < 0)
        fail_msg("%s", o.e.text);
    assert_int_equal(stat(to, &st), 0);
    assert_true(st.st_size == (off_t)5 << 30);
    assert_true(st.st_blocks <= 64);
    assert_true(o.read.bytes <= 16384);
    assert_int_equal(o.events, 3); /* entry, two pieces of data */
}

/* --- a source that changes --- */

static void shrink_big(const char *path)
{
    if (strcmp(path, "big") == 0)
        assert_int_equal(truncate(pathf("%s/big", from), 100), 0);
}

static void remove_next(const char *path)
{
    if (strcmp(path, "big") == 0)
        unlink(pathf("%s/next", from));
}

static void replace_next(const char *path)
{
    if (strcmp(path, "big") != 0)
        return;
    unlink(pathf("%s/next", from));
    assert_int_equal(mkfifo(pathf("%s/next", from), 0600), 0); /* opening it must not hang */
}

static void a_source_that_changes_is_noticed(void **state)
{
    (void)state;
    struct outcome o;
    char *big = calloc(1, 300000);
    const struct ftree_source src = {.path = from};
    const struct ftree_target dest = {.path = to, .name = ""};
    struct pipe_sink shrinks = {.disturb = shrink_big}, loses = {.disturb = remove_next},
                     turns = {.disturb = replace_next};
    memset(big, 'b', 300000);
    tree_write(pathf("%s/big", from), big, 300000, 0644);
    tree_text(pathf("%s/next", from), "next");
    assert_int_equal(copy_with(&src, &dest, &shrinks, &o), -ESTALE);
    assert_non_null(strstr(o.e.text, "/from/big': it shrank"));
    tree_remove(to);
    tree_write(pathf("%s/big", from), big, 300000, 0644);
    assert_int_equal(copy_with(&src, &dest, &loses, &o), 0);
    assert_int_equal(o.read.skipped, 1);
    tree_remove(to);
    tree_text(pathf("%s/next", from), "next");
    assert_int_equal(copy_with(&src, &dest, &turns, &o), 0);
    free(big);
}

static void rename_outer(const char *path)
{
    if (strcmp(path, "outer/inner") == 0)
        rename(pathf("%s/outer", from), pathf("%s/elsewhere", from));
}

static void move_inner(const char *path)
{
    if (strcmp(path, "outer/inner") == 0)
        rename(pathf("%s/outer/inner", from), pathf("%s/inner", from));
}

static void move_both(const char *path)
{
    if (strcmp(path, "outer/inner") != 0)
        return;
    move_inner(path);
    rename_outer(path);
}

static void remove_outer(const char *path)
{
    if (strcmp(path, "outer/inner") == 0)
        tree_remove(pathf("%s/outer", from));
}

static void folders_that_move_or_vanish_are_read_as_they_were(void **state)
{
    (void)state;
    static const struct {
        void (*disturb)(const char *path);
        int ret, skipped;
        bool inner, last; /* what of it is copied */
    } cases[] = {
        {rename_outer, 0, 0, true, true},
        {move_inner, 0, 0, true, true},
        {move_both, -ESTALE, 0, false, false},
        {remove_outer, 0, 1, false, false}, /* last; what was in inner was not seen */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct outcome o;
        struct pipe_sink p = {.disturb = cases[i].disturb};
        const struct ftree_source src = {.path = from};
        const struct ftree_target dest = {.path = to, .name = "n"};
        assert_int_equal(mkdir(pathf("%s/outer", from), 0755), 0);
        assert_int_equal(mkdir(pathf("%s/outer/inner", from), 0755), 0);
        tree_text(pathf("%s/outer/inner/file", from), "inner");
        tree_text(pathf("%s/outer/last", from), "last");
        int ret = copy_with(&src, &dest, &p, &o);
        if (ret != cases[i].ret || (ret == 0 && o.read.skipped != (uint64_t)cases[i].skipped))
            fail_msg("case %zu: %d, %d skipped (%s)", i, ret, (int)o.read.skipped, o.e.text);
        if (ret == 0) {
            assert_int_equal(access(pathf("%s/outer/inner/file", to), F_OK) == 0, cases[i].inner);
            assert_int_equal(access(pathf("%s/outer/last", to), F_OK) == 0, cases[i].last);
            assert_int_equal(access(pathf("%s/outer/inner", to), F_OK), 0);
        }
        tree_remove(from);
        tree_remove(to);
        assert_int_equal(mkdir(from, 0755), 0);
    }
}

static int swallow_entry(struct ftree_sink *s, const struct ftree_entry *en)
{
    (void)s, (void)en;
    return 0;
}

static int swallow_data(struct ftree_sink *s, uint64_t offset, const void *data, size_t len)
{
    (void)s, (void)offset, (void)data, (void)len;
    return 0;
}

static int swallow_xattr(struct ftree_sink *s, const char *name, const void *value, size_t len)
{
    (void)s, (void)name, (void)value, (void)len;
    return 0;
}

/* Names that come and go as fast as the kernel allows: between the look at one and its opening, too. */
static _Noreturn void come_and_go(void)
{
    char file[128], folder[128], link_path[128];
    snprintf(file, sizeof(file), "%s/file", from);
    snprintf(folder, sizeof(folder), "%s/folder", from);
    snprintf(link_path, sizeof(link_path), "%s/link", from);
    for (;;) {
        close(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        mkdir(folder, 0700);
        if (symlink("x", link_path) < 0)
            _exit(1);
        unlink(file);
        rmdir(folder);
        unlink(link_path);
    }
}

static void what_comes_and_goes_is_no_error(void **state)
{
    (void)state;
    unsigned rounds = 0, skipped = 0;
    pid_t pid = fork();
    if (pid == 0)
        come_and_go();
    for (uint64_t until = now_ns() + RACE_NS; now_ns() < until; rounds++) {
        struct ftree_sink sink = {swallow_entry, swallow_data, swallow_xattr};
        struct ftree_totals totals = {0};
        struct err e = {0};
        const struct ftree_source src = {.path = from};
        int ret = ftree_read(&src, &sink, &totals, &e);
        if (ret < 0) {
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            fail_msg("round %u: %d (%s)", rounds, ret, e.text);
        }
        skipped += (unsigned)totals.skipped;
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_true(rounds > 10 && skipped > 0);
}

static void what_cannot_be_a_source_is_refused(void **state)
{
    (void)state;
    struct outcome o;
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/socket", from);
    CLEANUP(fd_closep) int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(copy(pathf("%s/none", from), to, false, &o), -ENOENT);
    assert_non_null(strstr(o.e.text, "/from/none': No such file"));
    assert_int_equal(copy(sa.sun_path, to, false, &o), -EOPNOTSUPP);
    assert_int_equal(copy("/dev/null", to, false, &o), -EOPNOTSUPP);
    assert_int_equal(copy("/proc/cpuinfo", to, false, &o), -EOPNOTSUPP);
    assert_int_equal(copy("/proc/self/fd", to, false, &o), -EOPNOTSUPP);
    assert_int_equal(access(to, F_OK), -1);
    assert_int_equal(copy(from, to, false, &o), 0); /* in a folder a socket is left out */
    assert_int_equal(o.read.skipped, 1);
    assert_int_equal(tree_count(to, ""), 0);
}

static void a_link_as_the_source_is_copied_or_followed(void **state)
{
    (void)state;
    struct outcome o;
    char text[16] = "";
    tree_text(pathf("%s/file", from), "text");
    assert_int_equal(symlink("file", pathf("%s/link", from)), 0);
    assert_int_equal(copy(pathf("%s/link", from), to, false, &o), 0);
    assert_int_equal(readlink(to, text, sizeof(text)), 4);
    const struct ftree_source src = {.path = pathf("%s/link", from), .follow = true};
    const struct ftree_target dest = {.path = to, .name = "n"};
    struct pipe_sink p = {0};
    assert_int_equal(copy_with(&src, &dest, &p, &o), 0);
    assert_int_equal(readlink(to, text, sizeof(text)), -1);
    assert_string_equal(tree_read(to), "text");
}

static void a_deep_tree_takes_few_descriptors(void **state)
{
    (void)state;
    struct outcome o;
    struct rlimit old, few = {.rlim_cur = 24, .rlim_max = 24};
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few.rlim_max = old.rlim_max;
    int dir = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 2100; i++) {
        assert_int_equal(mkdirat(dir, "d", 0755), 0);
        int next = openat(dir, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        close(dir);
        dir = next;
        if (i == 1999) { /* paths up to here are short enough */
            assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
            int ret = copy(from, to, false, &o);
            assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
            if (ret < 0)
                fail_msg("%s", o.e.text);
            assert_int_equal(o.made.entries, 2001);
        }
    }
    close(dir);
    assert_int_equal(copy(from, pathf("%s/second", place), false, &o), -ENAMETOOLONG);
    assert_true(strstr(o.e.text, "cannot read '…") && strstr(o.e.text, "/d/d/d'"));
    /* Its paths are too long for nftw(3), too. */
    assert_int_equal(system(pathf("rm -rf '%s'", place)), 0);
}

/* --- in a mount namespace of its own: each returns 0 or the line that failed --- */

#define MUST(cond)                                                                                           \
    do {                                                                                                     \
        if (!(cond))                                                                                         \
            _exit(1);                                                                                        \
    } while (0)

static void in_namespace(void (*check)(void))
{
    if (geteuid() != 0)
        skip();
    pid_t pid = fork();
    if (pid == 0) {
        MUST(unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
        MUST(mkdir(to, 0755) == 0);
        check();
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void full_disk(void)
{
    struct outcome o;
    static char big[3 << 20];
    MUST(mount("none", to, "tmpfs", 0, "size=1m") == 0);
    tree_write(pathf("%s/name", from), big, sizeof(big), 0644);
    tree_text(pathf("%s/name", to), "old");
    memset(big, 1, sizeof(big));
    tree_write(pathf("%s/name", from), big, sizeof(big), 0644);
    MUST(copy(pathf("%s/name", from), to, false, &o) == -ENOSPC);
    MUST(strstr(o.e.text, "/to/name': No space left"));
    MUST(strcmp(tree_read(pathf("%s/name", to)), "old") == 0 && tree_count(to, "") == 1);
}

static void a_full_disk_leaves_the_old_file(void **state)
{
    (void)state;
    in_namespace(full_disk);
}

static void no_xattrs(void)
{
    struct outcome o;
    MUST(mount("none", to, "ramfs", 0, NULL) == 0);
    tree_text(pathf("%s/file", from), "text");
    MUST(setxattr(pathf("%s/file", from), "user.a", "b", 1, 0) == 0);
    MUST(copy(pathf("%s/file", from), to, false, &o) == 0);
    MUST(o.made.xattrs_lost == 1 && strcmp(tree_read(pathf("%s/name", to)), "text") == 0);
}

static void xattrs_that_the_target_cannot_hold_are_counted(void **state)
{
    (void)state;
    in_namespace(no_xattrs);
}

static void kernel_files(void)
{
    struct outcome o;
    MUST(mkdir(pathf("%s/proc", from), 0555) == 0 && mkdir(pathf("%s/mnt", from), 0755) == 0);
    MUST(mount("none", pathf("%s/proc", from), "proc", 0, NULL) == 0);
    MUST(mount("none", pathf("%s/mnt", from), "tmpfs", 0, NULL) == 0);
    tree_text(pathf("%s/mnt/file", from), "on the mount");
    MUST(copy(from, to, false, &o) == 0);
    MUST(o.read.skipped == 1 && tree_count(pathf("%s/name/proc", to), "") == 0);
    MUST(strcmp(tree_read(pathf("%s/name/mnt/file", to)), "on the mount") == 0);
}

/* A message queue reads as less than its size says, and a single file of /proc as more. */
static void queues_and_bound_files(void)
{
    struct outcome o;
    MUST(unshare(CLONE_NEWIPC) == 0 && mkdir(pathf("%s/mqueue", from), 0755) == 0);
    MUST(mount("none", pathf("%s/mqueue", from), "mqueue", 0, NULL) == 0);
    int fd = open(pathf("%s/mqueue/queue", from), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    MUST(fd >= 0);
    tree_text(pathf("%s/version", from), "hidden below the mount");
    MUST(mount("/proc/version", pathf("%s/version", from), NULL, MS_BIND, NULL) == 0);
    MUST(copy(from, to, false, &o) == 0);
    MUST(o.read.skipped == 2 && tree_count(pathf("%s/name", to), "") == 1);
    MUST(tree_count(pathf("%s/name/mqueue", to), "") == 0);
}

static void what_the_kernel_makes_up_on_read_is_left_out(void **state)
{
    (void)state;
    in_namespace(queues_and_bound_files);
}

static void mounts_are_crossed_but_not_into_the_kernels_files(void **state)
{
    (void)state;
    in_namespace(kernel_files);
}

static void as_nobody(void)
{
    struct outcome o;
    MUST(chmod(place, 0755) == 0 && chmod(to, 0777) == 0);
    MUST(mknod(pathf("%s/device", from), S_IFCHR | 0666, makedev(1, 3)) == 0);
    MUST(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
    MUST(copy(pathf("%s/device", from), to, true, &o) == -EPERM);
    MUST(strstr(o.e.text, "cannot make device '") && strstr(o.e.text, "/to/name': Operation not permitted"));
    MUST(tree_count(to, "") == 0);
}

static int xattr_of_new_file(const char *name, size_t len, uint64_t *lost)
{
    static uint8_t value[FTREE_XATTR_MAX];
    struct err e = {0};
    struct ftree_writer *w;
    struct ftree_entry en = {.type = FTREE_FILE, .mode = 0600};
    const struct ftree_target dest = {.path = pathf("%s/f", to), .name = "n", .archive = true};
    en.uid = geteuid();
    en.gid = getegid();
    MUST(ftree_writer_create(&w, &dest, &e) == 0);
    int ret = ftree_writer_entry(w, &en, &e);
    if (ret == 0)
        ret = ftree_writer_xattr(w, name, value, len, &e);
    if (ret == 0)
        ret = ftree_writer_finish(w, &e);
    *lost = ftree_writer_totals(w)->xattrs_lost;
    ftree_writer_destroy(w);
    return ret;
}

static void xattrs_of_nobody(void)
{
    uint64_t lost;
    /* As much as Linux allows is more than a block of ext4 holds; others may hold it. */
    MUST(chmod(place, 0755) == 0 && chmod(to, 0777) == 0);
    MUST(xattr_of_new_file("user.large", FTREE_XATTR_MAX, &lost) == 0);
    MUST(lost == (getxattr(pathf("%s/f", to), "user.large", NULL, 0) < 0));
    MUST(unlink(pathf("%s/f", to)) == 0);
    MUST(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
    MUST(xattr_of_new_file("trusted.x", 1, &lost) == 0 && lost == 1);
    MUST(xattr_of_new_file("user.small", 1, &lost) == 0);
}

static void xattrs_beyond_our_rights_are_counted(void **state)
{
    (void)state;
    in_namespace(xattrs_of_nobody);
}

static void a_device_needs_root(void **state)
{
    (void)state;
    in_namespace(as_nobody);
}

static void links_are_found_again(void **state)
{
    (void)state;
    struct ftree_links l = {0};
    struct stat st = {.st_dev = 1};
    assert_null(ftree_links_find(&l, &st));
    for (st.st_ino = 1; st.st_ino <= 5000; st.st_ino++)
        assert_int_equal(ftree_links_add(&l, &st, st.st_ino % 2 ? "odd" : NULL), 0);
    for (st.st_ino = 1; st.st_ino <= 5000; st.st_ino++)
        assert_true(ftree_links_find(&l, &st) && !ftree_links_find(&l, &st)->path == !(st.st_ino % 2));
    assert_null(ftree_links_find(&l, &st));
    st.st_dev = 2;
    st.st_ino = 1;
    assert_null(ftree_links_find(&l, &st));
    st.st_ino = 0;
    assert_int_equal(ftree_links_add(&l, &st, NULL), -E2BIG);
    for (st.st_ino = 1; l.count < FTREE_LINKS_MAX; st.st_ino++)
        assert_int_equal(ftree_links_add(&l, &st, NULL), 0);
    assert_int_equal(ftree_links_add(&l, &st, NULL), -E2BIG);
    ftree_links_fini(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_tree_with_everything_is_copied_as_it_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_archive_files_are_the_copiers_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(everything_can_be_given_to_one_owner, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_source_goes_where_cp_would_put_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_link_at_the_end_leads_nowhere_without_trust, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_replace_leaves_what_exists, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_copy_cut_anywhere_leaves_old_or_new_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(holes_cost_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_source_that_changes_is_noticed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(folders_that_move_or_vanish_are_read_as_they_were, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_comes_and_goes_is_no_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_a_source_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_link_as_the_source_is_copied_or_followed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_deep_tree_takes_few_descriptors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_disk_leaves_the_old_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(xattrs_that_the_target_cannot_hold_are_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mounts_are_crossed_but_not_into_the_kernels_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_the_kernel_makes_up_on_read_is_left_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(xattrs_beyond_our_rights_are_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_device_needs_root, set_up, tear_down),
        cmocka_unit_test(links_are_found_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
