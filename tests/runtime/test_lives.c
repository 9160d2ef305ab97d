/* SPDX-License-Identifier: Apache-2.0 */
/* Boxes that are started again, with a fake VMM: their states, their executions, and what is on their disk.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cubby.h"
#include "tests/runtime/fake_vmm.h"
#include "tests/runtime/place.h"

#include <sys/eventfd.h>
#include <sys/wait.h>

#define PATIENCE_MS 30000

static struct place place;
static int descriptors;

static int set_up(void **state)
{
    (void)state;
    if (place_make(&place) < 0)
        return -1;
    fake_assets(place.assets);
    setenv("FAKE_VMM", "ok", 1);
    descriptors = count_entries("/proc/self/fd");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char disks[128];
    snprintf(disks, sizeof(disks), "%s/boxes", place.home);
    int boxes = count_boxes(&place), fds = count_entries("/proc/self/fd"), files = count_entries(disks);
    place_remove(&place);
    if (boxes || files > 0 || fds != descriptors)
        fprintf(stderr, "left over: %d boxes, %d disks, %d descriptors\n", boxes, files, fds - descriptors);
    return boxes || files > 0 || fds != descriptors;
}

static struct cubby_box *create(unsigned disk_mib)
{
    struct cubby_box *box;
    struct cubby_error e;
    struct cubby_box_options o = {.size = sizeof(o), .disk_mib = disk_mib, .flags = CUBBY_BOX_TIMELINE};
    if (cubby_box_create(&box, &o, &e) < 0)
        fail_msg("%s", e.message);
    return box;
}

static void start(struct cubby_box *box)
{
    struct cubby_error e;
    if (cubby_box_start(box, &e) < 0 || cubby_box_wait_ready(box, PATIENCE_MS, &e) < 0)
        fail_msg("%s", e.message);
}

static struct cubby_exec *begin(struct cubby_box *box, const char *command, const char *argument)
{
    struct cubby_exec *x;
    struct cubby_error e;
    const char *argv[] = {command, argument, NULL};
    struct cubby_exec_options o = {.size = sizeof(o), .argv = argv};
    if (cubby_exec_start(&x, box, &o, &e) < 0)
        fail_msg("%s", e.message);
    return x;
}

/* Runs it to the end; what it wrote to stdout goes to `out` (may be NULL). Returns its exit code. */
static int run(struct cubby_box *box, const char *command, const char *argument, char out[64])
{
    struct cubby_error e;
    struct cubby_result r = {.size = sizeof(r)};
    struct cubby_exec *x = begin(box, command, argument);
    if (cubby_exec_wait(x, PATIENCE_MS, &r, &e) < 0)
        fail_msg("%s", e.message);
    ssize_t n = out ? cubby_exec_read(x, CUBBY_STDOUT, out, 63) : 0;
    if (out)
        out[n > 0 ? n : 0] = '\0';
    cubby_exec_free(x);
    return r.exit_code;
}

static void a_stopped_box_can_be_started_again_and_again(void **state)
{
    (void)state;
    struct cubby_error e;
    struct cubby_box *box = create(0);
    char id[16];
    snprintf(id, sizeof(id), "%s", cubby_box_id(box));
    for (int i = 0; i < 5; i++) {
        start(box);
        assert_int_equal(cubby_box_start(box, &e), CUBBY_ESTATE);
        assert_int_equal(cubby_box_failure(box, &e), 0);
        struct pollfd pfd = {.fd = cubby_box_fd(box), .events = POLLIN};
        int news = 0;
        for (; poll(&pfd, 1, 50) == 1 && news < 100; news++)
            cubby_box_state(box); /* the new VM may have something to tell … */
        assert_true(news < 100);  /* … but the earlier end does not keep it readable */
        assert_int_equal(run(box, "exit", "7", NULL), 7);
        assert_int_equal(cubby_box_stop(box, 0, &e), 0);
        assert_int_equal(cubby_box_state(box), CUBBY_STOPPED);
        assert_int_equal(poll(&pfd, 1, 0), 1);
        assert_string_equal(cubby_box_id(box), id);
    }
    cubby_box_destroy(box);
}

static void a_box_that_failed_can_be_started_again(void **state)
{
    (void)state;
    struct cubby_error e;
    char text[64];
    struct cubby_box *box = create(0);
    start(box);
    kill(cubby_box_pid(box), SIGKILL);
    assert_int_equal(cubby_box_wait_ended(box, PATIENCE_MS, &e), 0);
    assert_int_equal(cubby_box_state(box), CUBBY_FAILED);
    setenv("FAKE_VMM", "panic", 1);
    assert_int_equal(cubby_box_start(box, &e), 0);
    assert_int_equal(cubby_box_wait_ready(box, PATIENCE_MS, &e), CUBBY_EBOOT);
    setenv("FAKE_VMM", "ok", 1);
    start(box);
    assert_int_equal(cubby_box_failure(box, &e), 0);
    assert_int_equal(cubby_box_stop(box, 0, &e), 0);
    cubby_box_console(box, text, sizeof(text));
    assert_string_equal(text, "bye\n"); /* of this life, not the panic */
    cubby_box_destroy(box);
}

static void an_execution_belongs_to_the_life_it_was_started_in(void **state)
{
    (void)state;
    struct cubby_error e;
    struct cubby_box *box = create(0);
    start(box);
    struct cubby_exec *lost = begin(box, "hang", NULL), *told = begin(box, "exit", "3");
    assert_true(cubby_exec_poll(lost, CUBBY_IS_STARTED, PATIENCE_MS) & CUBBY_IS_STARTED);
    assert_int_equal(cubby_exec_wait(told, PATIENCE_MS, NULL, &e), 0);
    kill(cubby_box_pid(box), SIGKILL);
    assert_int_equal(cubby_box_wait_ended(box, PATIENCE_MS, &e), 0);
    start(box); /* before the executions were looked at */
    assert_int_equal(cubby_exec_wait(lost, PATIENCE_MS, NULL, &e), CUBBY_EGUEST_LOST);
    assert_non_null(strstr(e.message, "SIGKILL"));
    assert_int_equal(cubby_exec_wait(told, 0, NULL, &e), 0);
    assert_int_equal(run(box, "exit", "4", NULL), 4);
    cubby_exec_free(lost);
    cubby_exec_free(told);
    cubby_box_destroy(box);
}

/* It waits for a box that never becomes ready, which is ended and started again under its feet. */
static void an_execution_that_waited_for_an_earlier_boot_does_not_run_in_the_next(void **state)
{
    (void)state;
    struct cubby_error e;
    struct cubby_box *box = create(0);
    setenv("FAKE_VMM", "silent", 1);
    assert_int_equal(cubby_box_start(box, &e), 0);
    struct cubby_exec *x = begin(box, "exit", "0");
    assert_int_equal(cubby_box_stop(box, 0, &e), 0);
    setenv("FAKE_VMM", "ok", 1);
    start(box);
    assert_int_equal(cubby_exec_wait(x, PATIENCE_MS, NULL, &e), CUBBY_ESTOPPED);
    cubby_exec_free(x);
    cubby_box_destroy(box);
}

struct waiting {
    struct cubby_box *box;
    int began, ret;
};

static void *wait_for_end(void *arg)
{
    struct waiting *w = arg;
    struct cubby_error e;
    const uint64_t one = 1;
    assert_int_equal(write(w->began, &one, sizeof(one)), (ssize_t)sizeof(one));
    w->ret = cubby_box_wait_ended(w->box, PATIENCE_MS, &e);
    return NULL;
}

static void who_waits_for_the_end_sees_it_though_the_box_runs_again(void **state)
{
    (void)state;
    struct cubby_error e;
    uint64_t count;
    CLEANUP(fd_closep) int began = eventfd(0, EFD_CLOEXEC);
    struct waiting w = {.box = create(0), .began = began, .ret = 1};
    pthread_t thread;
    start(w.box);
    pthread_create(&thread, NULL, wait_for_end, &w);
    assert_int_equal(read(began, &count, sizeof(count)), (ssize_t)sizeof(count));
    usleep(20000); /* it may be on its way into the call still: then it waits for the second end */
    assert_int_equal(cubby_box_stop(w.box, 0, &e), 0);
    start(w.box);
    usleep(20000);
    assert_int_equal(cubby_box_stop(w.box, 0, &e), 0);
    pthread_join(thread, NULL);
    assert_int_equal(w.ret, 0);
    cubby_box_destroy(w.box);
}

static void the_timeline_is_that_of_the_last_life(void **state)
{
    (void)state;
    struct cubby_error e;
    struct cubby_mark marks[64];
    struct cubby_box *box = create(0);
    start(box);
    assert_int_equal(run(box, "exit", "0", NULL), 0);
    assert_int_equal(cubby_box_stop(box, 0, &e), 0);
    start(box);
    int n = cubby_box_timeline(box, marks, 64, &e);
    assert_string_equal(marks[0].name, "spawn");
    for (int i = 0; i < n; i++) {
        assert_string_not_equal(marks[i].name, "stopped");
        assert_string_not_equal(marks[i].name, "exec-sent");
        assert_string_not_equal(marks[i].name, "first-run");
    }
    cubby_box_destroy(box);
}

static void what_is_on_the_disk_lasts_over_stop_kill_and_start(void **state)
{
    (void)state;
    struct cubby_error e;
    char text[64];
    struct cubby_box *box = create(64);
    start(box);
    assert_int_equal(run(box, "keep", "precious", NULL), 0);
    assert_int_equal(cubby_box_stop(box, 0, &e), 0);
    start(box);
    run(box, "kept", NULL, text);
    assert_string_equal(text, "precious");
    assert_int_equal(run(box, "keep", "survives", NULL), 0);
    kill(cubby_box_pid(box), SIGKILL);
    assert_int_equal(cubby_box_wait_ended(box, PATIENCE_MS, &e), 0);
    start(box);
    run(box, "kept", NULL, text);
    assert_string_equal(text, "survives");
    cubby_box_destroy(box);
}

static void boxes_without_a_disk_get_none(void **state)
{
    (void)state;
    struct cubby_box *box = create(0);
    start(box);
    assert_int_equal(run(box, "keep", "precious", NULL), 1);
    assert_int_equal(access(place.home, F_OK), -1);
    cubby_box_destroy(box);
}

static void two_boxes_have_two_disks(void **state)
{
    (void)state;
    char text[64];
    struct cubby_box *one = create(16), *two = create(16);
    start(one);
    start(two);
    assert_int_equal(run(one, "keep", "from one", NULL), 0);
    assert_int_equal(run(two, "keep", "from two", NULL), 0);
    run(one, "kept", NULL, text);
    assert_string_equal(text, "from one");
    cubby_box_destroy(one);
    cubby_box_destroy(two);
}

static void refuse_home(const char *home, int code, const char *words)
{
    struct cubby_box *box;
    struct cubby_error e;
    struct cubby_box_options o = {.size = sizeof(o), .disk_mib = 16};
    setenv("CUBBY_HOME", home, 1);
    assert_int_equal(cubby_box_create(&box, &o, &e), code);
    if (!strstr(e.message, words))
        fail_msg("'%s' is not in '%s'", words, e.message);
}

static void a_home_that_cannot_be_used_is_named(void **state)
{
    (void)state;
    char path[128];
    refuse_home("relative/path", CUBBY_ECONFIG, "not an absolute path");
    refuse_home("/proc/nonexistent", CUBBY_ECONFIG, "set CUBBY_HOME");
    snprintf(path, sizeof(path), "%s/vmlinux", place.assets);
    refuse_home(path, CUBBY_ECONFIG, "Not a directory");
    setenv("CUBBY_HOME", place.home, 1);
}

static void the_home_follows_xdg_and_is_closed_to_others(void **state)
{
    (void)state;
    char path[128];
    struct stat st;
    snprintf(path, sizeof(path), "%s/data", place.root);
    unsetenv("CUBBY_HOME");
    setenv("XDG_DATA_HOME", path, 1);
    cubby_box_destroy(create(16));
    unsetenv("XDG_DATA_HOME");
    setenv("HOME", place.root, 1);
    cubby_box_destroy(create(16));
    snprintf(path, sizeof(path), "%s/data/cubby/boxes", place.root);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    snprintf(path, sizeof(path), "%s/.local/share/cubby/boxes", place.root);
    assert_int_equal(stat(path, &st), 0);
    setenv("CUBBY_HOME", place.home, 1);
}

/* The reason that the guest cannot know goes into what is told when the box is lost. */
static void a_disk_that_the_host_fails_is_told(void **state)
{
    (void)state;
    struct cubby_error e;
    struct cubby_box *box = create(16);
    setenv("CUBBY_LOG", "off", 1);
    start(box);
    assert_int_equal(run(box, "disk-failed", NULL, NULL), 0);
    struct cubby_exec *x = begin(box, "crash", NULL);
    assert_int_equal(cubby_exec_wait(x, PATIENCE_MS, NULL, &e), CUBBY_EGUEST_LOST);
    assert_int_equal(cubby_box_wait_ended(box, PATIENCE_MS, &e), 0);
    assert_int_equal(cubby_box_failure(box, &e), CUBBY_EGUEST_LOST);
    assert_non_null(strstr(e.message, "failed a request of its disk: No space left on device"));
    cubby_exec_free(x);
    cubby_box_destroy(box);
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
        TEST(a_stopped_box_can_be_started_again_and_again),
        TEST(a_box_that_failed_can_be_started_again),
        TEST(an_execution_belongs_to_the_life_it_was_started_in),
        TEST(an_execution_that_waited_for_an_earlier_boot_does_not_run_in_the_next),
        TEST(who_waits_for_the_end_sees_it_though_the_box_runs_again),
        TEST(the_timeline_is_that_of_the_last_life),
        TEST(what_is_on_the_disk_lasts_over_stop_kill_and_start),
        TEST(boxes_without_a_disk_get_none),
        TEST(two_boxes_have_two_disks),
        TEST(a_home_that_cannot_be_used_is_named),
        TEST(the_home_follows_xdg_and_is_closed_to_others),
        TEST(a_disk_that_the_host_fails_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
