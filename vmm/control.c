/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one poll(2) over a signalfd, the owner's descriptor and an eventfd that ends the
 * thread. An orderly end passes through the main thread, which may wait for a disk that does not answer or a
 * console that nobody reads. So this thread keeps watching, and leaves the process by itself when it is asked
 * twice or waits too long.
 */
#include "vmm/control.h"
#include "base/io.h"
#include "base/own.h"
#include "vmm/tty.h"
#include "vmm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define PATIENCE_MS  5000 /* from the first request until the process is left without ado */
#define EXIT_AT_ONCE 130
#define SAME_WISH_NS (300 * NSEC_PER_MSEC)

static void fill_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
}

void control_block_signals(void)
{
    sigset_t set;
    fill_signals(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void leave_at_once(struct control *c)
{
    tty_restore(c->tty);
    if (c->config->vsock_path)
        unlink(c->config->vsock_path);
    _exit(EXIT_AT_ONCE);
}

static void on_signal(struct control *c)
{
    struct signalfd_siginfo info;
    if (read(c->signal_fd, &info, sizeof(info)) != sizeof(info))
        return;
    /* timeout(1) and a terminal's process group may deliver one wish twice. */
    if (c->stopping && now_ns() - c->asked_ns < SAME_WISH_NS)
        return;
    if (c->stopping)
        leave_at_once(c);
    c->stopping = true;
    c->asked_ns = now_ns();
    pthread_mutex_lock(&c->lock);
    if (c->vm)
        vm_end(c->vm, END_STOPPED, "stopped by SIG%s", sigabbrev_np((int)info.ssi_signo));
    pthread_mutex_unlock(&c->lock);
}

/* Bytes from the owner mean nothing; the end of them means that it is gone. */
static void on_owner(struct control *c, short events)
{
    char ignored[64];
    ssize_t n = events & POLLIN ? read(c->owner_fd, ignored, sizeof(ignored)) : 0;
    if (n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN)))
        return;
    c->owner_fd = -1; /* poll(2) passes over it from now on */
    c->stopping = true;
    pthread_mutex_lock(&c->lock);
    if (c->vm)
        vm_end(c->vm, END_OWNER_GONE, "the process that owned this VM is gone");
    pthread_mutex_unlock(&c->lock);
}

static void *watch(void *arg)
{
    struct control *c = arg;
    pthread_setname_np(pthread_self(), "control");
    for (;;) {
        struct pollfd fds[] = {
            {.fd = c->quit_fd, .events = POLLIN},
            {.fd = c->signal_fd, .events = POLLIN},
            {.fd = c->owner_fd, .events = POLLIN},
        };
        int r = poll(fds, ARRAY_LEN(fds), c->stopping ? PATIENCE_MS : -1);
        if (r == 0)
            leave_at_once(c);
        if (r < 0)
            continue; /* EINTR: a debugger was attached */
        if (fds[0].revents)
            return NULL;
        if (fds[1].revents)
            on_signal(c);
        if (fds[2].revents)
            on_owner(c, fds[2].revents);
    }
}

int control_start(struct control *c, struct vm *vm, const struct tty *tty, int owner_fd, struct err *e)
{
    *c = (struct control){.vm = vm, .config = vm->config, .tty = tty, .owner_fd = owner_fd, .signal_fd = -1};
    c->quit_fd = -1;
    pthread_mutex_init(&c->lock, NULL);
    if (owner_fd >= 0 && fcntl(owner_fd, F_GETFD) < 0)
        return err_set(e, -EBADF, "--die-with: %d is not an open descriptor", owner_fd);
    sigset_t set;
    fill_signals(&set);
    c->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    c->quit_fd = eventfd(0, EFD_CLOEXEC);
    if (c->signal_fd < 0 || c->quit_fd < 0)
        return err_sys(e, "cannot watch for signals");
    int r = pthread_create(&c->thread, NULL, watch, c);
    if (r)
        return err_set(e, -r, "cannot start the thread that watches for signals: %s", strerror(r));
    c->started = true;
    return 0;
}

void control_forget_vm(struct control *c)
{
    pthread_mutex_lock(&c->lock);
    c->vm = NULL;
    pthread_mutex_unlock(&c->lock);
}

void control_stop(struct control *c)
{
    const uint64_t one = 1;
    if (c->started) {
        write_full(c->quit_fd, &one, sizeof(one));
        pthread_join(c->thread, NULL);
    }
    c->started = false;
    fd_closep(&c->signal_fd);
    fd_closep(&c->quit_fd);
    c->signal_fd = c->quit_fd = -1;
    pthread_mutex_destroy(&c->lock);
}
