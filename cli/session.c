/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one poll(2) over the execution, our signals, and those of our streams that something
 * waits for. Nothing is read from the box while our stdout does not take what was read before, so a slow
 * reader slows the command down as it would locally, and memory stays bounded: one buffer here, one in the
 * library, one pipe in the guest.
 *
 * Signals: what a terminal sends to a whole group of processes (INT, QUIT, HUP) goes to all processes of the
 * command, what is meant for one process (TERM, USR1, USR2) to its first. Until the command runs, the first
 * request to end is obeyed by us; afterwards the second, for commands that do not listen.
 */
#include "cli/session.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const struct {
    int signo;
    int tree; /* to all processes */
    bool end; /* asks to end: counts */
} passed_on[] = {
    {SIGINT, 1, true},  {SIGQUIT, 1, true},  {SIGHUP, 1, true},
    {SIGTERM, 0, true}, {SIGUSR1, 0, false}, {SIGUSR2, 0, false},
};

int session_catch_signals(struct session *s)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++)
        sigaddset(&set, passed_on[i].signo);
    sigaddset(&set, SIGWINCH);
    signal(SIGPIPE, SIG_IGN); /* EPIPE says it better */
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signal_fd < 0 ? -1 : 0;
}

void session_fini(struct session *s)
{
    terminal_restore(&s->terminal);
    if (s->signal_fd >= 0)
        close(s->signal_fd);
    s->signal_fd = -1;
}

/* ---- signals
 * ----------------------------------------------------------------------------------------------*/

static void resize(struct session *s)
{
    unsigned rows, cols;
    if (s->tty && terminal_size(STDIN_FILENO, &rows, &cols))
        cubby_exec_resize(s->exec, rows, cols);
}

static void on_signal(struct session *s, int signo)
{
    bool started = s->exec && cubby_exec_poll(s->exec, 0, 0) & CUBBY_IS_STARTED;
    if (signo == SIGWINCH && s->exec)
        resize(s);
    for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++) {
        if (passed_on[i].signo != signo)
            continue;
        if (passed_on[i].end && (s->interrupts++ > 0 || !started))
            s->aborted_by = signo;
        else if (started)
            cubby_exec_signal(s->exec, signo, passed_on[i].tree);
    }
}

static void take_signals(struct session *s)
{
    struct signalfd_siginfo info;
    while (!s->aborted_by && read(s->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        on_signal(s, (int)info.ssi_signo);
}

bool session_interrupted(struct session *s)
{
    take_signals(s);
    return s->aborted_by != 0;
}

/* ---- streams
 * ----------------------------------------------------------------------------------------------*/

/* From the box to one of our streams, until one of them has to be waited for. True when the stream is done
 * with. */
static bool move_out(struct session *s, struct stream *to, int which)
{
    while (!to->ended) {
        stream_drain(to);
        if (to->len > 0 && !to->ended)
            return false;
        if (to->ended)
            break;
        ssize_t n = cubby_exec_read(s->exec, which, to->data, sizeof(to->data));
        if (n == 0)
            return true;
        if (n < 0)
            return false;
        to->len = (size_t)n;
    }
    /* As for a local command whose pipe is closed: it may go on, and gets SIGPIPE when it writes. */
    cubby_exec_close_output(s->exec, which);
    return true;
}

static void drop_input(struct session *s)
{
    s->in.len = 0;
    s->in.ended = true;
    s->interactive = false;
}

/* From our stdin to the box. */
static void move_in(struct session *s)
{
    while (s->interactive) {
        if (s->in.len == 0 && !s->in.ended) {
            if (!(cubby_exec_poll(s->exec, 0, 0) & CUBBY_CAN_WRITE))
                return; /* do not take what we cannot pass on */
            stream_fill(&s->in);
        }
        if (s->in.len == 0) {
            if (s->in.ended && cubby_exec_close_stdin(s->exec) == 0)
                drop_input(s);
            return;
        }
        ssize_t n = cubby_exec_write(s->exec, s->in.data + s->in.at, s->in.len);
        if (n == CUBBY_EAGAIN)
            return;
        if (n < 0) {
            drop_input(s);
            return;
        }
        s->in.at += (size_t)n;
        s->in.len -= (size_t)n;
    }
}

/* ---- the loop
 * ---------------------------------------------------------------------------------------------*/

/* What the library holds does not make its descriptor readable, so nothing that we could act on may be left.
 */
static bool idle(const struct session *s, int bits, bool out_done, bool err_done)
{
    if (bits & CUBBY_CAN_READ_STDOUT && !out_done && s->out.len == 0)
        return false;
    if (bits & CUBBY_CAN_READ_STDERR && !err_done && s->err.len == 0)
        return false;
    return !(bits & CUBBY_CAN_WRITE && s->interactive && (s->in.len > 0 || s->in.ended));
}

static void wait_for_something(struct session *s, bool ended, bool out_done, bool err_done)
{
    int bits = cubby_exec_poll(s->exec, 0, 0);
    if (!idle(s, bits, out_done, err_done) || (bits & CUBBY_IS_ENDED && !ended))
        return;
    bool want_in = s->interactive && s->in.len == 0 && !s->in.ended && bits & CUBBY_CAN_WRITE;
    struct pollfd pfd[] = {
        /* An execution that is over stays readable; then only our streams are left to wait for. */
        {.fd = ended ? -1 : cubby_exec_fd(s->exec), .events = POLLIN},
        {.fd = s->signal_fd, .events = POLLIN},
        {.fd = !out_done && s->out.len > 0 ? s->out.fd : -1, .events = POLLOUT},
        {.fd = !err_done && s->err.len > 0 ? s->err.fd : -1, .events = POLLOUT},
        {.fd = want_in ? s->in.fd : -1, .events = POLLIN},
    };
    poll(pfd, sizeof(pfd) / sizeof(pfd[0]), -1);
}

void session_run(struct session *s)
{
    stream_open(&s->in, STDIN_FILENO, false);
    stream_open(&s->out, STDOUT_FILENO, true);
    stream_open(&s->err, STDERR_FILENO, true);
    bool out_done = false, err_done = false;
    while (!session_interrupted(s)) {
        bool ended = cubby_exec_poll(s->exec, 0, 0) & CUBBY_IS_ENDED;
        out_done = out_done || move_out(s, &s->out, CUBBY_STDOUT);
        err_done = err_done || move_out(s, &s->err, CUBBY_STDERR);
        if (ended && out_done && err_done)
            break;
        move_in(s);
        wait_for_something(s, ended, out_done, err_done);
    }
    stream_close(&s->in);
    stream_close(&s->out);
    stream_close(&s->err);
}
