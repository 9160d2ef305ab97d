/* SPDX-License-Identifier: Apache-2.0 */
/* Who learns what happened to a box, when somebody else has taken note of it first: executions that wait for
 * its boot, event loops that watch its descriptor, threads that wait; with a fake VMM that boots when it is
 * told to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cubby.h"
#include "tests/runtime/fake_vmm.h"
#include "tests/runtime/place.h"

#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>

#define PATIENCE_MS 10000
#define QUIET_MS    100 /* without an event a fake VM has nothing more to tell */
#define THREADS     8

static struct place place;
static struct cubby_box *box;
static int descriptors;
static char gate[64];
static int gate_fd = -1;

/* Returns when the VM waits for let_boot(), and has told all that it tells before. */
static void start_box(void)
{
    struct cubby_error e;
    if (cubby_box_start(box, &e) < 0)
        fail_msg("%s", e.message);
    fd_closep(&gate_fd);
    gate_fd = open(gate, O_WRONLY | O_CLOEXEC); /* waits until the VM has opened it */
}

static int set_up(void **state)
{
    (void)state;
    struct cubby_error e;
    alarm(120);
    if (place_make(&place) < 0)
        return -1;
    fake_assets(place.assets);
    snprintf(gate, sizeof(gate), "%s/gate", place.root);
    setenv("FAKE_VMM", "ok", 1);
    setenv("FAKE_GATE", gate, 1);
    unsetenv("FAKE_ANSWER");
    descriptors = count_entries("/proc/self/fd");
    if (mkfifo(gate, 0600) < 0 || cubby_box_create(&box, NULL, &e) < 0)
        return -1;
    start_box();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cubby_box_destroy(box);
    fd_closep(&gate_fd);
    int boxes = count_boxes(&place), fds = count_entries("/proc/self/fd");
    place_remove(&place);
    if (boxes || fds != descriptors)
        fprintf(stderr, "left over: %d boxes, %d descriptors\n", boxes, fds - descriptors);
    return boxes || fds != descriptors;
}

/* The box becomes ready from now on. */
static void let_boot(void)
{
    assert_int_equal(write(gate_fd, "x", 1), 1);
    fd_closep(&gate_fd);
}

static struct cubby_exec *begin(const char *command, const char *argument)
{
    struct cubby_exec *x;
    struct cubby_error e;
    const char *argv[] = {command, argument, NULL};
    struct cubby_exec_options o = {.size = sizeof(o), .argv = argv};
    if (cubby_exec_start(&x, box, &o, &e) < 0)
        fail_msg("%s", e.message);
    return x;
}

static bool readable(int fd, int timeout_ms)
{
    struct pollfd pfd = {.fd = fd, .events = POLLIN};
    return poll(&pfd, 1, timeout_ms) == 1;
}

/* Takes note of all that the box has to tell until it is in that state and silent. */
static void take_note_until(enum cubby_state wanted)
{
    while (cubby_box_state(box) != (int)wanted || readable(cubby_box_fd(box), QUIET_MS))
        assert_true(cubby_box_state(box) == (int)wanted || readable(cubby_box_fd(box), PATIENCE_MS));
}

/* As an event loop of its own: looks at the execution when its descriptor says so, and at no other time. Its
 * exit code, or a negative number. */
static int wait_in_loop(struct cubby_exec *x)
{
    struct cubby_result r = {.size = sizeof(r)};
    struct epoll_event ev = {.events = EPOLLIN};
    CLEANUP(fd_closep) int loop = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ctl(loop, EPOLL_CTL_ADD, cubby_exec_fd(x), &ev) < 0)
        return -100;
    do {
        if (epoll_wait(loop, &ev, 1, PATIENCE_MS) != 1)
            return -101;
    } while (!(cubby_exec_poll(x, 0, 0) & CUBBY_IS_ENDED));
    int ret = cubby_exec_wait(x, 0, &r, NULL);
    return ret < 0 ? ret : r.exit_code;
}

/* ---- executions that wait for the boot
 * -----------------------------------------------------------------------*/

static void an_execution_learns_of_a_boot_that_another_call_took_note_of(void **state)
{
    (void)state;
    struct cubby_exec *x = begin("exit", "5");
    let_boot();
    take_note_until(CUBBY_RUNNING);
    assert_true(readable(cubby_exec_fd(x), 0));
    assert_int_equal(wait_in_loop(x), 5);
    cubby_exec_free(x);
}

static void it_learns_of_a_boot_that_failed_though_the_box_boots_again(void **state)
{
    (void)state;
    struct cubby_error e;
    struct cubby_exec *x = begin("exit", "0");
    assert_int_equal(cubby_box_stop(box, 0, &e), 0);
    start_box();
    take_note_until(CUBBY_STARTING); /* and there it stays: nobody opens the gate */
    assert_true(readable(cubby_exec_fd(x), 0));
    assert_int_equal(wait_in_loop(x), CUBBY_ESTOPPED);
    cubby_exec_free(x);
    x = begin("exit", "0");
    kill(cubby_box_pid(box), SIGKILL);
    assert_int_equal(cubby_box_wait_ended(box, PATIENCE_MS, &e), 0);
    start_box();
    take_note_until(CUBBY_STARTING);
    assert_true(readable(cubby_exec_fd(x), 0));
    assert_int_equal(wait_in_loop(x), CUBBY_EBOOT);
    cubby_exec_free(x);
}

static void what_an_execution_learnt_leaves_its_descriptor_quiet(void **state)
{
    (void)state;
    struct cubby_exec *x = begin("hang", NULL);
    let_boot();
    assert_true(cubby_exec_poll(x, CUBBY_IS_STARTED, PATIENCE_MS) & CUBBY_IS_STARTED);
    while (readable(cubby_exec_fd(x), QUIET_MS))
        cubby_exec_poll(x, 0, 0);
    assert_true(readable(cubby_box_fd(box), 0)); /* though the box has news for others */
    cubby_exec_free(x);
}

struct watcher {
    struct cubby_exec *x;
    int ret;
};

static void *watch_in_loop(void *arg)
{
    struct watcher *w = arg;
    w->ret = wait_in_loop(w->x);
    return NULL;
}

static void *watch_in_call(void *arg)
{
    struct watcher *w = arg;
    struct cubby_result r = {.size = sizeof(r)};
    w->ret = cubby_exec_wait(w->x, PATIENCE_MS, &r, NULL);
    if (w->ret == 0)
        w->ret = r.exit_code;
    return NULL;
}

static void *watch_boot(void *arg)
{
    struct watcher *w = arg;
    w->ret = cubby_box_wait_ready(box, PATIENCE_MS, NULL);
    return NULL;
}

static atomic_bool hammering;

static void *hammer(void *arg)
{
    (void)arg;
    while (atomic_load(&hammering))
        cubby_box_state(box);
    return NULL;
}

/* Boots the box while threads wait and another one takes note of all as fast as it can. */
static void boot_under_threads(void *(*wait)(void *), struct watcher w[THREADS])
{
    pthread_t threads[THREADS], hammerer;
    atomic_store(&hammering, true);
    assert_int_equal(pthread_create(&hammerer, NULL, hammer, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wait, &w[i]), 0);
    usleep(QUIET_MS * 1000); /* most of them wait by now */
    let_boot();
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&hammering, false);
    pthread_join(hammerer, NULL);
}

static void check_executions_under_threads(void *(*wait)(void *))
{
    struct watcher w[THREADS];
    char code[16];
    for (int i = 0; i < THREADS; i++) {
        snprintf(code, sizeof(code), "%d", i + 1);
        w[i] = (struct watcher){.x = begin("exit", code)};
    }
    boot_under_threads(wait, w);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(w[i].ret, i + 1);
        cubby_exec_free(w[i].x);
    }
}

static void event_loops_in_several_threads_see_their_executions_end(void **state)
{
    (void)state;
    check_executions_under_threads(watch_in_loop);
}

static void threads_that_wait_for_executions_of_a_booting_box_return(void **state)
{
    (void)state;
    check_executions_under_threads(watch_in_call);
}

static void threads_that_wait_for_one_execution_of_a_booting_box_return(void **state)
{
    (void)state;
    struct watcher w[THREADS];
    struct cubby_exec *x = begin("exit", "9");
    for (int i = 0; i < THREADS; i++)
        w[i] = (struct watcher){.x = x};
    boot_under_threads(watch_in_call, w);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(w[i].ret, 9);
    cubby_exec_free(x);
}

static void threads_that_wait_for_the_boot_return(void **state)
{
    (void)state;
    struct watcher w[THREADS] = {{0}};
    for (int i = 0; i < THREADS; i++)
        w[i].ret = -100;
    boot_under_threads(watch_boot, w);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(w[i].ret, 0);
}

/* ---- the box's descriptor
 * ------------------------------------------------------------------------------------*/

static void news_wait_at_the_descriptor_until_the_state_is_told(void **state)
{
    (void)state;
    struct cubby_error e;
    take_note_until(CUBBY_STARTING);
    let_boot();
    assert_int_equal(cubby_box_wait_ready(box, PATIENCE_MS, &e), 0);
    struct cubby_exec *x = begin("exit", "0");
    assert_int_equal(cubby_exec_wait(x, PATIENCE_MS, NULL, &e), 0);
    cubby_exec_free(x);
    assert_true(readable(cubby_box_fd(box), 0));
    take_note_until(CUBBY_RUNNING);
    kill(cubby_box_pid(box), SIGKILL);
    assert_int_equal(cubby_box_wait_ended(box, PATIENCE_MS, &e), 0);
    start_box();
    assert_true(readable(cubby_box_fd(box), 0));
    take_note_until(CUBBY_STARTING);
}

static uint64_t cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / NSEC_PER_MSEC;
}

/* A guest that is silent, a box whose state nobody asks for: the copy sleeps until its time is up. */
static void news_that_nobody_asks_for_keep_no_copy_busy(void **state)
{
    (void)state;
    struct cubby_error e;
    struct cubby_copy_options o = {.size = sizeof(o), .stall_ms = 2000};
    let_boot();
    setenv("FAKE_ANSWER", "mute", 1);
    assert_int_equal(cubby_box_stop(box, 0, &e), 0);
    start_box();
    let_boot();
    assert_int_equal(cubby_box_wait_ready(box, PATIENCE_MS, &e), 0);
    assert_true(readable(cubby_box_fd(box), 0));
    uint64_t before = cpu_ms();
    assert_int_equal(cubby_copy_in(box, gate, "/tmp", &o, NULL, &e), CUBBY_EGUEST_LOST);
    assert_true(cpu_ms() - before < o.stall_ms / 4);
}

/* ---- without descriptors
 * -------------------------------------------------------------------------------------*/

/* `open_one` with room for ever more descriptors until it succeeds; how often it was refused. */
static int refusals(int (*open_one)(void))
{
    struct rlimit old;
    int ret = -1, n = 0;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    for (rlim_t room = 3; ret < 0 && room < (rlim_t)descriptors + 100; room++) {
        const struct rlimit few = {room, old.rlim_max};
        setrlimit(RLIMIT_NOFILE, &few);
        ret = open_one();
        setrlimit(RLIMIT_NOFILE, &old);
        n += ret < 0;
    }
    assert_int_equal(ret, 0);
    return n;
}

static int open_box(void)
{
    struct cubby_box *another;
    int ret = cubby_box_create(&another, NULL, NULL);
    cubby_box_destroy(another);
    return ret;
}

static int open_execution(void)
{
    struct cubby_exec *x;
    const char *argv[] = {"exit", "0", NULL};
    struct cubby_exec_options o = {.size = sizeof(o), .argv = argv};
    int ret = cubby_exec_start(&x, box, &o, NULL);
    cubby_exec_free(x);
    return ret;
}

/* tear_down() sees that what was made before a refusal is gone. */
static void boxes_and_executions_that_get_no_descriptors_leave_none(void **state)
{
    (void)state;
    assert_true(refusals(open_box) >= 8);
    assert_true(refusals(open_execution) >= 6);
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
        TEST(an_execution_learns_of_a_boot_that_another_call_took_note_of),
        TEST(it_learns_of_a_boot_that_failed_though_the_box_boots_again),
        TEST(what_an_execution_learnt_leaves_its_descriptor_quiet),
        TEST(event_loops_in_several_threads_see_their_executions_end),
        TEST(threads_that_wait_for_executions_of_a_booting_box_return),
        TEST(threads_that_wait_for_one_execution_of_a_booting_box_return),
        TEST(threads_that_wait_for_the_boot_return),
        TEST(news_wait_at_the_descriptor_until_the_state_is_told),
        TEST(news_that_nobody_asks_for_keep_no_copy_busy),
        TEST(boxes_and_executions_that_get_no_descriptors_leave_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
