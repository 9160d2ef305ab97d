/* SPDX-License-Identifier: Apache-2.0 */
/* The writer against entries of somebody who wants out of the tree, and against a tree that is changed under
 * it; the path functions by themselves. */
#include "tests/base/trees.h"

#include "base/ftree.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define DEADLINE_S 60
#define RACE_NS    (400 * NSEC_PER_MSEC)

static char place[64], to[96], outside[96];
static struct ftree_writer *w;
static struct err e;

static int set_up(void **state)
{
    (void)state;
    alarm(DEADLINE_S);
    strcpy(place, "/tmp/cubby-ftree-XXXXXX");
    if (!mkdtemp(place))
        return -1;
    snprintf(to, sizeof(to), "%s/to", place);
    snprintf(outside, sizeof(outside), "%s/outside", place);
    return mkdir(to, 0755) < 0 || mkdir(outside, 0755) < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    bool untouched = tree_count(outside, "") == 0;
    tree_remove(place);
    return !untouched || access(place, F_OK) == 0;
}

/* Nothing outside of `to`, and nothing temporary in it, whatever was tried. */
static void end(void)
{
    ftree_writer_destroy(w);
    w = NULL;
    assert_int_equal(tree_count(to, ".cubby-"), 0);
    assert_int_equal(tree_count(outside, ""), 0);
    assert_int_equal(tree_count(place, ""), 2);
}

static const struct ftree_target *merge_into(const char *path)
{
    static struct ftree_target target;
    target = (struct ftree_target){.path = path, .name = "", .contents = true, .archive = geteuid() == 0};
    return &target;
}

static void begin(const struct ftree_target *target)
{
    assert_int_equal(ftree_writer_create(&w, target, &e), 0);
}

static int entry(enum ftree_type type, const char *path, const char *target)
{
    static struct ftree_entry en;
    en = (struct ftree_entry){.type = (uint8_t)type,
                              .mode = 0644,
                              .uid = geteuid(),
                              .gid = getegid(),
                              .size = type == FTREE_FILE ? 4 : 0};
    snprintf(en.path, sizeof(en.path), "%s", path);
    snprintf(en.target, sizeof(en.target), "%s", target ? target : "");
    e = (struct err){0};
    return ftree_writer_entry(w, &en, &e);
}

static int data(uint64_t offset, size_t len)
{
    return ftree_writer_data(w, offset, "evil evil evil", len, &e);
}

static void paths_that_lead_elsewhere_are_refused(void **state)
{
    (void)state;
    static const char *const paths[] = {"..",  "../x", "/etc", "/",  "a/../../x", "a/..",
                                        "./a", "a/.",  "a//b", "a/", ".",         "//"};
    char name[300];
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        begin(merge_into(to));
        assert_int_equal(entry(FTREE_DIR, "", NULL), 0);
        assert_int_equal(entry(FTREE_DIR, "a", NULL), 0);
        assert_int_equal(entry(FTREE_FILE, paths[i], NULL), -EPROTO);
        end();
        begin(merge_into(to));
        assert_int_equal(entry(FTREE_DIR, "", NULL), 0);
        assert_int_equal(entry(FTREE_LINK, "x", paths[i]), -EPROTO);
        end();
        assert_false(ftree_path_valid(paths[i]));
    }
    memset(name, 'n', 256);
    name[256] = '\0';
    assert_false(ftree_path_valid(name));
    name[255] = '\0';
    assert_true(ftree_path_valid(name));
    assert_false(ftree_path_valid(""));
}

static void a_path_has_its_bound(void **state)
{
    (void)state;
    char path[FTREE_PATH_MAX + 2];
    for (size_t i = 0; i < sizeof(path); i++)
        path[i] = i % 2 ? '/' : 'a';
    path[FTREE_PATH_MAX] = '\0';
    assert_true(ftree_path_valid(path));
    path[FTREE_PATH_MAX] = 'a';
    path[FTREE_PATH_MAX + 1] = '\0';
    assert_false(ftree_path_valid(path));
}

static void sequences_that_make_no_tree_are_refused(void **state)
{
    (void)state;
    begin(merge_into(to));
    assert_int_equal(data(0, 1), -EPROTO); /* of nothing */
    end();
    begin(merge_into(to));
    assert_int_equal(ftree_writer_xattr(w, "user.a", "b", 1, &e), -EPROTO);
    end();
    begin(merge_into(to));
    assert_int_equal(ftree_writer_finish(w, &e), -EPROTO); /* empty */
    end();
    static const enum ftree_type no_root[] = {FTREE_LEAVE, FTREE_LINK};
    for (size_t i = 0; i < ARRAY_LEN(no_root); i++) {
        begin(merge_into(to));
        assert_int_equal(entry(no_root[i], "", "x"), -EPROTO);
        end();
    }
    begin(merge_into(to));
    assert_int_equal(entry(FTREE_FILE, "x", NULL), -EPROTO); /* the root comes first */
    end();
    begin(merge_into(to));
    assert_int_equal(entry(FTREE_DIR, "", NULL), 0);
    assert_int_equal(entry(FTREE_DIR, "", NULL), -EPROTO); /* twice */
    end();
    begin(merge_into(to));
    assert_int_equal(entry(FTREE_DIR, "", NULL), 0);
    assert_int_equal(entry(FTREE_TYPES, "x", NULL), -EPROTO);
    end();
    static const struct ftree_target single = {.path = "/nonexistent", .name = "x"};
    struct ftree_target file = single;
    char path[128];
    snprintf(path, sizeof(path), "%s/file", to);
    file.path = path;
    begin(&file);
    assert_int_equal(entry(FTREE_FILE, "", NULL), 0);
    assert_int_equal(entry(FTREE_FILE, "below-a-file", NULL), -EPROTO);
    end();
}

/* Depth first, each folder left once, and nothing behind the root. */
static void entries_are_in_the_folder_that_was_entered_last(void **state)
{
    (void)state;
    static const struct {
        enum ftree_type type; /* the last step; FTREE_TYPES: the end */
        const char *path;
        const char *before; /* names of folders that are entered, "." for leaving one */
        int ret;
    } cases[] = {
        {FTREE_FILE, "a/f", "a", 0},          {FTREE_FILE, "f", "a.", 0},
        {FTREE_FILE, "a/b/f", "ab", 0},       {FTREE_TYPES, NULL, "a..", 0},
        {FTREE_FILE, "a/f", "", -EPROTO}, /* was there before, but was not entered */
        {FTREE_FILE, "f", "a", -EPROTO},      {FTREE_FILE, "a/f", "a.", -EPROTO},
        {FTREE_FILE, "a/f", "ab", -EPROTO},   {FTREE_FILE, "ab/f", "a", -EPROTO},
        {FTREE_DIR, "b", "a", -EPROTO},       {FTREE_DIR, "a/b/c", "a", -EPROTO},
        {FTREE_LEAVE, "a", "", -EPROTO}, /* never entered */
        {FTREE_LEAVE, "a", "a.", -EPROTO},    {FTREE_LEAVE, "a", "ab", -EPROTO},
        {FTREE_LEAVE, "", "a", -EPROTO},      {FTREE_LEAVE, "", ".", -EPROTO},  /* twice */
        {FTREE_FILE, "f", ".", -EPROTO},                                        /* behind the end */
        {FTREE_DIR, "", ".", -EPROTO},        {FTREE_TYPES, NULL, "", -EPROTO}, /* never left */
        {FTREE_TYPES, NULL, "ab..", -EPROTO},
    };
    assert_int_equal(mkdir(pathf("%s/a", to), 0755), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char path[32] = "";
        begin(merge_into(to));
        assert_int_equal(entry(FTREE_DIR, "", NULL), 0);
        for (const char *c = cases[i].before; *c; c++) {
            size_t len = strlen(path);
            if (*c == '.') {
                assert_int_equal(entry(FTREE_LEAVE, path, NULL), 0);
                path[len > 2 ? len - 2 : 0] = '\0';
                continue;
            }
            snprintf(path + len, sizeof(path) - len, "%s%c", len ? "/" : "", *c);
            assert_int_equal(entry(FTREE_DIR, path, NULL), 0);
        }
        int ret = cases[i].path ? entry(cases[i].type, cases[i].path, NULL) : ftree_writer_finish(w, &e);
        if (ret != cases[i].ret)
            fail_msg("case %zu: %d (%s)", i, ret, e.text);
        end();
    }
}

static void data_stays_within_its_file(void **state)
{
    (void)state;
    static const struct {
        uint64_t first, second;
        size_t len;
        int ret;
    } cases[] = {
        {0, 4, 1, -EPROTO}, {0, 5, 1, -EPROTO}, {0, UINT64_MAX, 1, -EPROTO}, {0, UINT64_MAX - 1, 4, -EPROTO},
        {0, 0, 1, -EPROTO}, /* again, and backwards */
        {0, 1, 4, -EPROTO}, {0, 1, 3, 0},       {2, 1, 1, -EPROTO},          {0, 3, 1, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        begin(merge_into(to));
        assert_int_equal(entry(FTREE_DIR, "", NULL), 0);
        assert_int_equal(entry(FTREE_FILE, "f", NULL), 0);
        assert_int_equal(data(cases[i].first, 1), 0);
        assert_int_equal(data(cases[i].second, cases[i].len), cases[i].ret);
        end();
    }
    begin(merge_into(to));
    assert_int_equal(entry(FTREE_DIR, "", NULL), 0);
    assert_int_equal(entry(FTREE_FILE, "f", NULL), 0);
    assert_int_equal(ftree_writer_xattr(w, "user.a", "b", 1, &e), 0);
    assert_int_equal(data(0, 1), -EPROTO); /* data would undo what xattrs say */
    end();
}

static void links_of_the_peer_are_not_followed(void **state)
{
    (void)state;
    static const enum ftree_type types[] = {FTREE_FILE, FTREE_DIR, FTREE_SYMLINK, FTREE_FIFO, FTREE_LEAVE};
    static const char *const targets[] = {"../outside", ".", "..", "/"};
    for (size_t t = 0; t < ARRAY_LEN(targets); t++)
        for (size_t i = 0; i < ARRAY_LEN(types); i++) {
            begin(merge_into(to));
            assert_int_equal(entry(FTREE_DIR, "", NULL), 0);
            assert_int_equal(entry(FTREE_SYMLINK, "s", targets[t]), 0);
            assert_int_equal(entry(types[i], "s/x", "t"), -EPROTO); /* through it: it is no folder */
            assert_non_null(strstr(e.text, "/to/s/x'"));
            end();
        }
    begin(merge_into(to));
    assert_int_equal(entry(FTREE_DIR, "", NULL), 0);
    assert_int_equal(entry(FTREE_SYMLINK, "s", "../outside"), 0);
    assert_int_equal(entry(FTREE_DIR, "s", NULL), -ENOTDIR); /* as a folder */
    end();
    begin(merge_into(to));
    assert_int_equal(entry(FTREE_DIR, "", NULL), 0);
    assert_int_equal(entry(FTREE_SYMLINK, "s", "../outside/new"), 0);
    assert_int_equal(entry(FTREE_FILE, "s", NULL), 0); /* replaces it */
    assert_int_equal(data(0, 4), 0);
    assert_int_equal(entry(FTREE_LEAVE, "", NULL), 0);
    assert_int_equal(ftree_writer_finish(w, &e), 0);
    assert_string_equal(tree_read(pathf("%s/s", to)), "evil");
    end();
    begin(merge_into(to)); /* and a folder's last word is not said to what a link points to */
    assert_int_equal(entry(FTREE_DIR, "", NULL), 0);
    assert_int_equal(entry(FTREE_DIR, "d", NULL), 0);
    assert_int_equal(entry(FTREE_DIR, "d/e", NULL), 0);
    assert_int_equal(rename(pathf("%s/d", to), pathf("%s/moved", to)), 0);
    assert_int_equal(symlink("../outside", pathf("%s/d", to)), 0);
    assert_int_equal(entry(FTREE_LEAVE, "d/e", NULL), 0); /* the very folder that was made */
    int ret = entry(FTREE_FILE, "d/x", NULL);
    assert_true(ret == -ELOOP || ret == -ENOTDIR);
    end();
    begin(merge_into(to));
    assert_int_equal(entry(FTREE_DIR, "", NULL), 0);
    assert_int_equal(entry(FTREE_DIR, "f", NULL), 0);
    assert_int_equal(rmdir(pathf("%s/f", to)), 0);
    assert_int_equal(symlink("../outside", pathf("%s/f", to)), 0);
    assert_int_equal(entry(FTREE_LEAVE, "f", NULL), 0);
    end();
    struct stat st;
    assert_int_equal(stat(outside, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
}

static void hard_links_name_only_what_was_copied(void **state)
{
    (void)state;
    tree_text(pathf("%s/mine", to), "mine");
    assert_int_equal(symlink("mine", pathf("%s/alias", to)), 0);
    static const char *const targets[] = {"mine", "alias", "none", "d"};
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        begin(merge_into(to));
        assert_int_equal(entry(FTREE_DIR, "", NULL), 0);
        assert_int_equal(entry(FTREE_DIR, "d", NULL), 0);
        assert_int_equal(entry(FTREE_LEAVE, "d", NULL), 0);
        assert_true(entry(FTREE_LINK, "x", targets[i]) < 0);
        end();
        assert_int_equal(access(pathf("%s/x", to), F_OK), -1);
    }
    struct ftree_entry en = {.type = FTREE_FILE, .mode = 0600, .linked = true, .path = "f"};
    en.uid = geteuid();
    en.gid = getegid();
    begin(merge_into(to));
    assert_int_equal(entry(FTREE_DIR, "", NULL), 0);
    assert_int_equal(ftree_writer_entry(w, &en, &e), 0);
    assert_int_equal(entry(FTREE_LINK, "g", "f"), 0);
    assert_int_equal(entry(FTREE_LINK, "g", "f"), 0); /* onto itself */
    assert_int_equal(entry(FTREE_LINK, "f", "g"), 0);
    assert_int_equal(ftree_writer_xattr(w, "user.a", "b", 1, &e), -EPROTO);
    end();
    struct stat a, b;
    assert_int_equal(stat(pathf("%s/f", to), &a), 0);
    assert_int_equal(stat(pathf("%s/g", to), &b), 0);
    assert_true(a.st_ino == b.st_ino && a.st_nlink == 2);
}

static void numbers_that_no_file_can_have_are_errors(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {UINT64_MAX, (uint64_t)INT64_MAX + 1};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct ftree_entry en = {.type = FTREE_FILE, .size = sizes[i], .path = "huge"};
        begin(merge_into(to));
        assert_int_equal(entry(FTREE_DIR, "", NULL), 0);
        assert_int_equal(ftree_writer_entry(w, &en, &e), -EFBIG);
        assert_non_null(strstr(e.text, "/to/huge'"));
        end();
    }
}

/* In a child: without the check the signal would end it. */
static void a_size_beyond_our_own_limit_does_not_kill(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        const struct rlimit limit = {.rlim_cur = 4096, .rlim_max = 4096};
        struct ftree_entry en = {.type = FTREE_FILE, .size = 4097};
        const struct ftree_target target = {.path = pathf("%s/file", to), .name = "n"};
        if (setrlimit(RLIMIT_FSIZE, &limit) < 0 || ftree_writer_create(&w, &target, &e) < 0)
            _exit(1);
        int beyond = ftree_writer_entry(w, &en, &e);
        ftree_writer_destroy(w);
        en.size = 4096;
        int within = ftree_writer_create(&w, &target, &e);
        within = within < 0 ? within : ftree_writer_entry(w, &en, &e);
        ftree_writer_destroy(w);
        _exit(beyond == -EFBIG && within == 0 ? 0 : 2);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(tree_count(to, ""), 0);
}

static void only_harmless_xattrs_without_archive(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool plain, archive;
    } cases[] = {
        {"user.a", true, true},
        {"security.capability", false, true},
        {"system.posix_acl_access", false, true},
        {"system.posix_acl_default", false, true},
        {"trusted.a", false, true},
        {"trusted.overlay.redirect", false, false},
        {"trusted.overlay.opaque", false, false},
        {"security.selinux", false, false},
        {"security.ima", false, false},
        {"system.nfs4_acl", false, false},
        {"userx", false, false},
        {"", false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(ftree_xattr_wanted(cases[i].name, false), cases[i].plain);
        assert_int_equal(ftree_xattr_wanted(cases[i].name, true), cases[i].archive);
    }
}

static void both_ways_of_opening_agree(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        bool opens;
    } cases[] = {{"", true},       {"a", true},     {"a/b", true},     {"a/b/f", true},
                 {"s", false},     {"s/b", false},  {"a/up", false},   {"a/up/outside", false},
                 {"a/abs", false}, {"none", false}, {"a/b/f/x", false}};
    assert_int_equal(mkdir(pathf("%s/a", to), 0755), 0);
    assert_int_equal(mkdir(pathf("%s/a/b", to), 0755), 0);
    tree_text(pathf("%s/a/b/f", to), "f");
    assert_int_equal(symlink("a", pathf("%s/s", to)), 0);
    assert_int_equal(symlink("../..", pathf("%s/a/up", to)), 0);
    assert_int_equal(symlink("/etc", pathf("%s/a/abs", to)), 0);
    CLEANUP(fd_closep) int root = open(to, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct stat one, two;
        CLEANUP(fd_closep) int a = ftree_open_below(root, cases[i].path, O_RDONLY);
        CLEANUP(fd_closep) int b = ftree_open_stepwise(root, cases[i].path, O_RDONLY);
        assert_int_equal(a >= 0, cases[i].opens);
        assert_int_equal(b >= 0, cases[i].opens);
        if (a >= 0) {
            assert_int_equal(fstat(a, &one) | fstat(b, &two), 0);
            assert_true(one.st_ino == two.st_ino);
            assert_true(fcntl(a, F_GETFD) == FD_CLOEXEC && fcntl(b, F_GETFD) == FD_CLOEXEC);
        }
    }
    assert_int_equal(ftree_open_stepwise(root, "a/../a", O_RDONLY), -EINVAL);
    assert_true(ftree_open_below(root, "..", O_RDONLY) < 0);
    assert_int_equal(ftree_open_stepwise(root, "..", O_RDONLY), -EINVAL);
}

/* A local user turns "d" into a link to the outside and back, as fast as the kernel allows. */
static _Noreturn void swap_for_ever(void)
{
    char d[128], link_path[128];
    snprintf(d, sizeof(d), "%s/d", to);
    snprintf(link_path, sizeof(link_path), "%s/l", to);
    for (;;)
        syscall(SYS_renameat2, AT_FDCWD, d, AT_FDCWD, link_path, 2 /* RENAME_EXCHANGE */);
}

static void a_folder_that_turns_into_a_link_leads_nowhere(void **state)
{
    (void)state;
    assert_int_equal(mkdir(pathf("%s/d", to), 0755), 0);
    assert_int_equal(symlink("../outside", pathf("%s/l", to)), 0);
    pid_t swapper = fork();
    if (swapper == 0)
        swap_for_ever();
    unsigned through = 0, refused = 0;
    for (uint64_t until = now_ns() + RACE_NS; now_ns() < until;) {
        begin(merge_into(to));
        int ret = entry(FTREE_DIR, "", NULL);
        if (ret == 0)
            ret = entry(FTREE_DIR, "d", NULL);
        if (ret == 0)
            ret = entry(FTREE_FILE, "d/x", NULL);
        if (ret == 0)
            ret = data(0, 4);
        if (ret == 0)
            ret = entry(FTREE_DIR, "d/deeper", NULL);
        if (ret == 0)
            ret = entry(FTREE_LEAVE, "d/deeper", NULL);
        if (ret == 0)
            ret = entry(FTREE_LEAVE, "d", NULL);
        through += ret == 0;
        refused += ret < 0;
        ftree_writer_destroy(w);
    }
    kill(swapper, SIGKILL);
    waitpid(swapper, NULL, 0);
    assert_true(through + refused > 10);
    assert_int_equal(tree_count(outside, ""), 0);
    struct stat st;
    assert_int_equal(stat(outside, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755); /* not even its mode was touched */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(paths_that_lead_elsewhere_are_refused, set_up, tear_down),
        cmocka_unit_test(a_path_has_its_bound),
        cmocka_unit_test_setup_teardown(sequences_that_make_no_tree_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(entries_are_in_the_folder_that_was_entered_last, set_up, tear_down),
        cmocka_unit_test_setup_teardown(data_stays_within_its_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(links_of_the_peer_are_not_followed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hard_links_name_only_what_was_copied, set_up, tear_down),
        cmocka_unit_test_setup_teardown(numbers_that_no_file_can_have_are_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_size_beyond_our_own_limit_does_not_kill, set_up, tear_down),
        cmocka_unit_test(only_harmless_xattrs_without_archive),
        cmocka_unit_test_setup_teardown(both_ways_of_opening_agree, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_folder_that_turns_into_a_link_leads_nowhere, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
