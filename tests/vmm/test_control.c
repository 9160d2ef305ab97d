/* SPDX-License-Identifier: Apache-2.0 */
/* Stopping from outside, with a VM that does not come to its end: a child process stands for the stuck VMM.
 */
#include "base/io.h"
#include "vmm/control.h"
#include "vmm/tty.h"
#include "vmm/vm.h"

#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct stuck {
    char socket[40];
    int say[2];   /* the child's words: one byte each */
    int owner[2]; /* the child watches owner[0] */
    pid_t pid;
};

enum word { READY = 'r', STOPPING = 's', FORGOTTEN = 'f' };

static void say(struct stuck *s, enum word w)
{
    char c = (char)w;
    write_full(s->say[1], &c, 1);
}

static enum word hear(struct stuck *s)
{
    char c = 0;
    assert_int_equal(read_full(s->say[0], &c, 1), 0);
    return (enum word)c;
}

/* A VMM whose main thread does nothing any more after its loop has ended. */
static void child(struct stuck *s, bool forget)
{
    static struct vm_config config;
    static struct timeline timeline;
    static struct vm vm;
    static struct control control;
    static const struct tty tty;
    struct err e;

    alarm(60);
    control_block_signals();
    config_init(&config);
    config.vsock_path = s->socket;
    timeline_init(&timeline, now_ns());
    vm.config = &config;
    vm.timeline = &timeline;
    pthread_mutex_init(&vm.end_lock, NULL);
    if (loop_create(&vm.loop, &e) || control_start(&control, &vm, &tty, s->owner[0], &e))
        _exit(99);
    if (forget) {
        control_forget_vm(&control);
        memset(&vm, 0xa5, sizeof(vm)); /* who touches it now crashes */
        say(s, FORGOTTEN);
    } else {
        say(s, READY);
        loop_run(vm.loop); /* until vm_end() */
        say(s, vm.end.reason == END_STOPPED || vm.end.reason == END_OWNER_GONE ? STOPPING : READY);
    }
    for (;;)
        pause();
}

static void start(struct stuck *s, bool forget)
{
    strcpy(s->socket, "/tmp/cubby-control-XXXXXX");
    int fd = mkstemp(s->socket);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(pipe(s->say), 0);
    assert_int_equal(pipe(s->owner), 0);
    s->pid = fork();
    assert_true(s->pid >= 0);
    if (s->pid == 0) {
        close(s->owner[1]);
        child(s, forget);
    }
    close(s->owner[0]);
    assert_int_equal(hear(s), forget ? FORGOTTEN : READY);
}

static void expect_left_at_once(struct stuck *s)
{
    int status;
    struct stat st;
    assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 130);
    assert_int_equal(stat(s->socket, &st), -1);
    close(s->say[0]);
    close(s->say[1]);
    close(s->owner[1]);
}

static void second_signal_leaves_at_once(void **state)
{
    (void)state;
    struct stuck s;
    start(&s, false);
    kill(s.pid, SIGINT);
    assert_int_equal(hear(&s), STOPPING);
    usleep(400000); /* not the same wish any more */
    kill(s.pid, SIGINT);
    expect_left_at_once(&s);
}

static void patience_has_an_end(void **state)
{
    (void)state;
    struct stuck s;
    start(&s, false);
    kill(s.pid, SIGTERM);
    assert_int_equal(hear(&s), STOPPING);
    expect_left_at_once(&s);
}

static void owner_that_is_gone_ends_it_too(void **state)
{
    (void)state;
    struct stuck s;
    start(&s, false);
    assert_int_equal(write_full(s.owner[1], "a byte", 6), 0);
    close(s.owner[1]);
    assert_int_equal(hear(&s), STOPPING);
    s.owner[1] = -1;
    usleep(400000);
    kill(s.pid, SIGTERM);
    expect_left_at_once(&s);
}

static void vm_that_is_being_taken_apart_is_not_touched(void **state)
{
    (void)state;
    struct stuck s;
    start(&s, true);
    kill(s.pid, SIGTERM);
    usleep(400000);
    kill(s.pid, SIGTERM);
    expect_left_at_once(&s);
}

static void terminal_is_raw_but_for_one_key_and_comes_back(void **state)
{
    (void)state;
    int master, slave, saved = dup(STDIN_FILENO);
    struct termios before = {0}, raw = {0}, after = {0};
    struct tty t = {0};
    assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
    dup2(slave, STDIN_FILENO);
    tcgetattr(STDIN_FILENO, &before);
    tty_make_raw(&t);
    tcgetattr(STDIN_FILENO, &raw);
    tty_restore(&t);
    tty_restore(&t);
    tcgetattr(STDIN_FILENO, &after);
    dup2(saved, STDIN_FILENO);
    close(saved);
    close(master);
    close(slave);
    assert_true(t.raw);
    assert_false(raw.c_lflag & (ICANON | ECHO));
    assert_true(raw.c_lflag & ISIG);
    assert_int_equal(raw.c_cc[VINTR], TTY_ESCAPE);
    assert_int_equal(raw.c_cc[VSUSP], _POSIX_VDISABLE);
    assert_int_equal(before.c_lflag, after.c_lflag);
    assert_int_equal(before.c_iflag, after.c_iflag);
    assert_int_equal(before.c_oflag, after.c_oflag);
    assert_memory_equal(before.c_cc, after.c_cc, sizeof(before.c_cc));
}

static void stdin_that_is_no_terminal_is_left_alone(void **state)
{
    (void)state;
    int fds[2], saved = dup(STDIN_FILENO);
    struct tty t = {0};
    assert_int_equal(pipe(fds), 0);
    dup2(fds[0], STDIN_FILENO);
    tty_make_raw(&t);
    tty_restore(&t);
    dup2(saved, STDIN_FILENO);
    close(saved);
    close(fds[0]);
    close(fds[1]);
    assert_false(t.raw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(second_signal_leaves_at_once),
        cmocka_unit_test(patience_has_an_end),
        cmocka_unit_test(owner_that_is_gone_ends_it_too),
        cmocka_unit_test(vm_that_is_being_taken_apart_is_not_touched),
        cmocka_unit_test(terminal_is_raw_but_for_one_key_and_comes_back),
        cmocka_unit_test(stdin_that_is_no_terminal_is_left_alone),
    };
    return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
