/* SPDX-License-Identifier: Apache-2.0 */
/* Trees of processes, in control groups where this machine has some for us, and in process groups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "guest-init/files.h"
#include "guest-init/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct cgroup_limits no_limits;
static char root[96];
static int box = -1;

static int set_up(void **state)
{
    (void)state;
    static const char *const roots[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    alarm(60);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (size_t i = 0; i < ARRAY_LEN(roots) && box < 0; i++) {
        char probe[96];
        snprintf(probe, sizeof(probe), "%s/cgroup.procs", roots[i]);
        snprintf(root, sizeof(root), "%s/cubby-tree-%d", roots[i], getpid());
        if (access(probe, W_OK) == 0 && mkdir(root, 0755) == 0)
            box = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return box < 0 ? 0 : rmdir(root); /* nothing was left in it */
}

/* A leader that forks a child into a session of its own, says so, and waits for its end. */
static pid_t start(struct tree *t, int ready[2])
{
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid_t pid = tree_fork(t);
    assert_true(pid >= 0);
    if (pid > 0) {
        char byte;
        assert_int_equal(read(ready[0], &byte, 1), 1);
        return pid;
    }
    if (tree_enter(t) < 0)
        _exit(1);
    if (fork() == 0) {
        if (t->group >= 0)
            setsid();
        (void)!write(ready[1], "", 1);
    }
    for (;;)
        pause();
}

static void reap_until_gone(struct tree *t)
{
    t->reaped = true;
    while (!tree_gone(t)) {
        waitpid(-1, NULL, WNOHANG);
        usleep(1000);
    }
    while (waitpid(-1, NULL, WNOHANG) > 0) {}
}

static void kill_and_check(int box_group)
{
    struct tree t;
    int ready[2];
    assert_int_equal(tree_create(&t, box_group, 7, &no_limits, NULL), 0);
    pid_t pid = start(&t, ready);
    assert_int_equal(getpgid(pid), pid);
    assert_false(tree_gone(&t));
    tree_kill(&t);
    reap_until_gone(&t);
    tree_kill(&t); /* a tree that is gone is left alone, whoever has its numbers now */
    tree_signal(&t, SIGKILL);
    tree_fini(&t);
    close(ready[0]);
    close(ready[1]);
}

static void a_killed_tree_is_gone(void **state)
{
    (void)state;
    kill_and_check(-1);
    if (box >= 0)
        kill_and_check(box);
}

static void a_signal_reaches_all_of_the_tree(void **state)
{
    (void)state;
    int groups[] = {-1, box};
    for (size_t i = 0; i < ARRAY_LEN(groups) && (i == 0 || box >= 0); i++) {
        struct tree t;
        int ready[2];
        assert_int_equal(tree_create(&t, groups[i], 8, &no_limits, NULL), 0);
        start(&t, ready);
        tree_signal(&t, SIGTERM);
        reap_until_gone(&t);
        tree_fini(&t);
        close(ready[0]);
        close(ready[1]);
    }
}

static void groups_made_inside_go_with_the_tree(void **state)
{
    (void)state;
    if (box < 0)
        skip();
    struct tree t;
    int ready[2];
    assert_int_equal(tree_create(&t, box, 9, &no_limits, NULL), 0);
    pid_t pid = start(&t, ready);
    assert_int_equal(mkdirat(t.group, "inner", 0755), 0);
    assert_int_equal(mkdirat(t.group, "inner/deeper", 0755), 0);
    assert_int_equal(mkdirat(t.group, "other", 0755), 0);
    char text[16];
    snprintf(text, sizeof(text), "%d", pid);
    assert_int_equal(file_put(t.group, "inner/deeper/cgroup.procs", text), 0);
    assert_false(tree_gone(&t));
    assert_int_equal(cgroup_signal(t.group, 0), 2); /* the one above and the one deep inside */
    tree_kill(&t);
    reap_until_gone(&t);
    tree_fini(&t);
    assert_int_equal(faccessat(box, "9", F_OK, 0), -1);
    close(ready[0]);
    close(ready[1]);
}

static void a_tree_is_made_whole_or_not_at_all(void **state)
{
    (void)state;
    struct tree t;
    struct err e;
    struct cgroup_limits pids = {.pids_max = 5}, memory = {.memory_max = 1u << 20}, cpu = {.cpu_millis = 1};
    assert_int_equal(tree_create(&t, -1, 1, &pids, &e), -ENOTSUP);
    assert_int_equal(tree_create(&t, -1, 1, &memory, &e), -ENOTSUP);
    assert_int_equal(tree_create(&t, -1, 1, &cpu, &e), -ENOTSUP);
    if (box < 0)
        skip();
    assert_int_equal(mkdirat(box, "10", 0755), 0);
    assert_int_equal(tree_create(&t, box, 10, &no_limits, &e), -EEXIST);
    assert_non_null(strstr(e.text, "control group '10'"));
    assert_int_equal(unlinkat(box, "10", AT_REMOVEDIR), 0);
    /* The box's group hands no controllers down here: a limit has no file to go to. */
    assert_true(tree_create(&t, box, 11, &pids, &e) < 0);
    assert_non_null(strstr(e.text, "cannot limit processes to 5"));
    assert_int_equal(faccessat(box, "11", F_OK, 0), -1);
}

static void an_empty_tree_can_be_given_up(void **state)
{
    (void)state;
    struct tree t;
    struct cgroup_stats stats;
    assert_int_equal(tree_create(&t, box, 12, &no_limits, NULL), 0);
    tree_stats(&t, &stats);
    assert_int_equal(stats.oom_kills, 0);
    tree_kill(&t);
    tree_fini(&t);
    if (box >= 0)
        assert_int_equal(faccessat(box, "12", F_OK, 0), -1);
    tree_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_tree_is_gone),
        cmocka_unit_test(a_signal_reaches_all_of_the_tree),
        cmocka_unit_test(groups_made_inside_go_with_the_tree),
        cmocka_unit_test(a_tree_is_made_whole_or_not_at_all),
        cmocka_unit_test(an_empty_tree_can_be_given_up),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
