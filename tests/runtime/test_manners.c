/* SPDX-License-Identifier: Apache-2.0 */
/* What a program may expect of a library in its process, whatever its boxes do: it is silent, leaves signals
 * and descriptors alone, and nothing stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cubby.h"
#include "tests/runtime/agent_vmm.h"
#include "tests/runtime/place.h"

#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/mman.h>

#define PATIENCE_MS 60000

static struct place place;
static char self[256];

static int set_up(void **state)
{
    (void)state;
    alarm(120);
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = '\0';
    if (place_make(&place) < 0)
        return -1;
    fake_assets(place.assets);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    int boxes = count_boxes(&place);
    place_remove(&place);
    return boxes;
}

/* ---- a life of a box with all that can happen in it
 * ----------------------------------------------------------*/

/* Called between any two steps, in the thread that lives. */
typedef void (*look_fn)(void);

#define STEP(good)                                                                                           \
    do {                                                                                                     \
        if (!(good)) {                                                                                       \
            cubby_box_destroy(box);                                                                          \
            return __LINE__;                                                                                 \
        }                                                                                                    \
        look();                                                                                              \
    } while (0)

static int collect(struct cubby_box *box, const char *script, int code)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    struct cubby_exec_options what = {.size = sizeof(what), .argv = argv};
    struct cubby_output output = {.size = sizeof(output), .input = "input\n", .input_len = 6};
    int ret = cubby_run(box, &what, &output, NULL);
    bool good = ret == 0 && output.result.exit_code == code && output.out_len > 0;
    cubby_output_free(&output);
    return good;
}

/* A command whose stdin is closed, written to all the same: SIGPIPE for a careless library. */
static int refuse_input(struct cubby_box *box)
{
    static const char bytes[65536];
    const char *const argv[] = {"true", NULL};
    struct cubby_exec_options what = {.size = sizeof(what), .argv = argv, .flags = CUBBY_EXEC_STDIN};
    struct cubby_exec *x = NULL;
    if (cubby_exec_start(&x, box, &what, NULL) < 0)
        return 0;
    ssize_t n = 0;
    while (n != CUBBY_ECLOSED) {
        cubby_exec_poll(x, CUBBY_CAN_WRITE | CUBBY_IS_ENDED, PATIENCE_MS);
        n = cubby_exec_write(x, bytes, sizeof(bytes));
    }
    int ret = cubby_exec_wait(x, PATIENCE_MS, NULL, NULL);
    cubby_exec_free(x);
    return ret == 0;
}

/* One that goes on without its handle; killed with its removal. */
static int detach(struct cubby_box *box)
{
    const char *const argv[] = {"sleep", "600", NULL};
    struct cubby_exec_options what = {.size = sizeof(what), .argv = argv, .flags = CUBBY_EXEC_DETACHED};
    struct cubby_exec *x = NULL;
    if (cubby_exec_start(&x, box, &what, NULL) < 0)
        return 0;
    cubby_exec_poll(x, CUBBY_IS_STARTED, PATIENCE_MS);
    uint64_t id = cubby_exec_id(x);
    cubby_exec_free(x);
    return cubby_exec_remove(box, id, 1, PATIENCE_MS, NULL, NULL) == 0;
}

/* One that still runs when the VM is killed under it. */
static int lose(struct cubby_box *box)
{
    const char *const argv[] = {"sleep", "600", NULL};
    struct cubby_exec_options what = {.size = sizeof(what), .argv = argv};
    struct cubby_exec *x = NULL;
    if (cubby_exec_start(&x, box, &what, NULL) < 0)
        return 0;
    cubby_exec_poll(x, CUBBY_IS_STARTED, PATIENCE_MS);
    kill(cubby_box_pid(box), SIGKILL);
    int ret = cubby_exec_wait(x, PATIENCE_MS, NULL, NULL);
    cubby_exec_free(x);
    return ret == CUBBY_EGUEST_LOST;
}

static int fail_with_images(void)
{
    const struct cubby_pull_options never = {.size = sizeof(never), .policy = CUBBY_PULL_NEVER};
    struct cubby_images *images = NULL;
    struct cubby_error e;
    if (cubby_images_open(&images, NULL, &e) < 0)
        return 0;
    int pulled = cubby_images_pull(images, "nothing", &never, NULL, NULL, &e);
    int loaded = cubby_images_load(images, "/etc/passwd", NULL, &e);
    int pruned = cubby_images_prune(images, NULL, NULL, &e);
    cubby_images_close(images);
    return pulled < 0 && loaded < 0 && pruned == 0;
}

/* 0, or the line that went wrong. */
static int live(look_fn look)
{
    struct cubby_box *box = NULL;
    struct cubby_report *report = NULL;
    char kept[160];
    snprintf(kept, sizeof(kept), "%s/kept-%lx", place.tmp, (unsigned long)pthread_self());
    STEP(cubby_doctor(&report, NULL, NULL) == 0);
    cubby_report_free(report);
    STEP(cubby_box_create(&box, NULL, NULL) == 0);
    STEP(cubby_box_start(box, NULL) == 0);
    STEP(cubby_box_wait_ready(box, PATIENCE_MS, NULL) == 0);
    STEP(collect(box, "cat; echo err >&2; exit 3", 3));
    STEP(refuse_input(box));
    STEP(detach(box));
    STEP(cubby_copy_in(box, place.assets, kept, NULL, NULL, NULL) == 0);
    STEP(cubby_copy_out(box, "/nonexistent", place.tmp, NULL, NULL, NULL) == CUBBY_ENOTFOUND);
    STEP(cubby_box_stop(box, 5000, NULL) == 0);
    STEP(cubby_box_start(box, NULL) == 0);
    STEP(lose(box));
    STEP(cubby_box_start(box, NULL) == 0); /* and is destroyed while it boots */
    cubby_box_destroy(box);
    box = NULL;
    STEP(fail_with_images());
    return 0;
}

static void nothing(void)
{
}

/* ---- manners
 * -------------------------------------------------------------------------------------------------*/

static void nothing_is_printed(void **state)
{
    (void)state;
    int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO), said = memfd_create("said", MFD_CLOEXEC);
    char text[4096] = "";
    fflush(NULL);
    dup2(said, STDOUT_FILENO);
    dup2(said, STDERR_FILENO);
    int line = live(nothing);
    fflush(NULL);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    ssize_t n = pread(said, text, sizeof(text) - 1, 0);
    close(out);
    close(err);
    close(said);
    assert_int_equal(line, 0);
    if (n != 0)
        fail_msg("it said: %s", text);
}

static struct sigaction actions[65];
static sigset_t mask;

static void note_signals(void)
{
    for (int s = 1; s <= 64; s++)
        sigaction(s, NULL, &actions[s]);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
}

static void signals_are_as_before(void)
{
    sigset_t now;
    for (int s = 1; s <= 64; s++) {
        struct sigaction action = {0};
        /* Two numbers are glibc's own. */
        if (sigaction(s, NULL, &action) == 0 && action.sa_handler != actions[s].sa_handler)
            fail_msg("the handler of signal %d has changed", s);
    }
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    for (int s = 1; s <= 64; s++)
        if (sigismember(&now, s) != sigismember(&mask, s))
            fail_msg("signal %d is %s", s, sigismember(&now, s) ? "blocked" : "not blocked any more");
}

static volatile sig_atomic_t pipes;

static void count_pipes(int signo)
{
    (void)signo;
    pipes++;
}

static void handlers_and_mask_stay_and_no_sigpipe_comes(void **state)
{
    (void)state;
    sigset_t some;
    signal(SIGUSR1, SIG_IGN);
    signal(SIGPIPE, count_pipes);
    sigemptyset(&some);
    sigaddset(&some, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &some, NULL);
    note_signals();
    int line = live(signals_are_as_before);
    pthread_sigmask(SIG_UNBLOCK, &some, NULL);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    assert_int_equal(line, 0);
    assert_int_equal(pipes, 0);
}

static void descriptors_are_close_on_exec(void)
{
    for (int fd = 3; fd < 1024; fd++) {
        int flags = fcntl(fd, F_GETFD);
        if (flags >= 0 && !(flags & FD_CLOEXEC))
            fail_msg("descriptor %d would go to a program that the caller starts", fd);
    }
}

static void all_descriptors_are_close_on_exec_and_none_stays(void **state)
{
    (void)state;
    descriptors_are_close_on_exec(); /* the test's own */
    int before = count_entries("/proc/self/fd");
    assert_int_equal(live(descriptors_are_close_on_exec), 0);
    assert_int_equal(count_entries("/proc/self/fd"), before);
}

/* This program as the child of a caller: how many descriptors it was given. */
static int count_given(void)
{
    int given = 0;
    for (int fd = 3; fd < 1024; fd++)
        given += fcntl(fd, F_GETFD) >= 0;
    return given;
}

static atomic_bool enough;
static atomic_int leaked;

/* A caller that starts programs at any moment, in another thread. */
static void *start_programs(void *arg)
{
    char *const argv[] = {"count-given", NULL};
    (void)arg;
    while (!enough) {
        pid_t pid;
        int status = 0;
        if (posix_spawn(&pid, self, NULL, NULL, argv, environ) == 0 && waitpid(pid, &status, 0) == pid)
            leaked += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    }
    return NULL;
}

static void no_descriptor_gets_into_programs_started_meanwhile(void **state)
{
    (void)state;
    pthread_t thread;
    pthread_create(&thread, NULL, start_programs, NULL);
    int lines[5];
    for (int i = 0; i < 5; i++)
        lines[i] = live(nothing);
    enough = true;
    pthread_join(thread, NULL);
    for (int i = 0; i < 5; i++)
        assert_int_equal(lines[i], 0);
    assert_int_equal(leaked, 0);
}

static int threads_before; /* a sanitizer may have one of its own */

static void there_are_no_other_threads(void)
{
    assert_int_equal(count_entries("/proc/self/task"), threads_before);
}

static void no_child_stays_and_no_thread(void **state)
{
    (void)state;
    threads_before = count_entries("/proc/self/task");
    assert_int_equal(live(there_are_no_other_threads), 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void *live_in_thread(void *line)
{
    *(int *)line = live(nothing);
    return NULL;
}

static void many_threads_live_side_by_side(void **state)
{
    (void)state;
    pthread_t threads[8];
    int lines[8];
    for (int i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, live_in_thread, &lines[i]);
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(lines[i], 0);
    }
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static int vmm_main(char **argv)
{
    int code = argv[1] && strcmp(argv[1], "--probe") == 0 ? fake_probe() : agent_vmm_main(argv);
    fflush(NULL);
    _exit(code);
}

int main(int argc, char **argv)
{
    (void)argc;
    if (is_fake_vmm(argv))
        return vmm_main(argv);
    if (strcmp(argv[0], "count-given") == 0)
        _exit(count_given());
    closefrom(STDERR_FILENO + 1); /* what this program was given is not its library's */
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_printed),
        TEST(handlers_and_mask_stay_and_no_sigpipe_comes),
        TEST(all_descriptors_are_close_on_exec_and_none_stays),
        TEST(no_descriptor_gets_into_programs_started_meanwhile),
        TEST(no_child_stays_and_no_thread),
        TEST(many_threads_live_side_by_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
