/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one loop; its sources are the listening socket, a signalfd, the sessions and their
 * executions. Death of a process arrives as SIGCHLD, which counts for nothing by itself (signals merge):
 * waitid(2) is asked until there is nobody left to wait for. Each reaped process may have been the last of
 * some tree, so those that wait for that look again. What callbacks mark as over is freed between two rounds
 * of the loop, when no callback is on the stack.
 */
#include "guest-init/agent.h"

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "guest-init/detached.h"
#include "guest-init/exec.h"
#include "guest-init/files.h"
#include "guest-init/session.h"
#include "guest-init/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define OVERLOAD_PAUSE_MS 100u
#define OWN_STOP_GRACE_MS 5000u /* when the stop is asked for from inside */
#define KILLED_STOP_MS    2000u /* for SIGKILL to take effect */

void agent_arm(struct agent *a, struct loop_timer *t, uint64_t delay_ms, loop_timer_fn *fn)
{
    if (loop_timer_arm(a->loop, t, delay_ms * NSEC_PER_MSEC, fn) < 0)
        fn(t);
}

bool agent_add_session(struct agent *a, struct session *s)
{
    if (a->session_count == AGENT_SESSIONS_MAX)
        return false;
    a->sessions[a->session_count++] = s;
    return true;
}

void agent_drop_exec(struct agent *a, struct exec *x)
{
    for (uint32_t i = 0; i < a->exec_count; i++)
        if (a->execs[i] == x) {
            a->execs[i] = a->execs[--a->exec_count];
            return;
        }
}

/* Executions that only linger make room, their processes go on, unwatched; then the oldest that is kept. */
static struct exec *dispensable(struct agent *a)
{
    for (uint32_t i = 0; i < a->exec_count; i++) {
        struct exec *x = a->execs[i];
        if (x->state == EXEC_LINGERING && !x->viewers && !detached_is_kept(x))
            return x;
    }
    return detached_oldest(a);
}

bool agent_add_exec(struct agent *a, struct exec *x)
{
    struct exec *old = a->exec_count == AGENT_EXECS_MAX ? dispensable(a) : NULL;
    if (old) {
        agent_drop_exec(a, old);
        exec_destroy(old);
    }
    if (a->exec_count == AGENT_EXECS_MAX)
        return false;
    a->execs[a->exec_count++] = x;
    return true;
}

static void sweep(struct agent *a)
{
    if (!a->sweep)
        return;
    a->sweep = false;
    for (uint32_t i = a->session_count; i-- > 0;)
        if (a->sessions[i]->phase == SESSION_OVER) {
            session_destroy(a->sessions[i]);
            a->sessions[i] = a->sessions[--a->session_count];
        }
    for (uint32_t i = a->exec_count; i-- > 0;)
        if (a->execs[i]->state == EXEC_OVER) {
            exec_destroy(a->execs[i]);
            a->execs[i] = a->execs[--a->exec_count];
        }
}

/* --- processes that ended --- */

static void leader_ended(struct agent *a, pid_t pid, int status, const struct rusage *usage)
{
    for (uint32_t i = 0; i < a->exec_count; i++)
        if (a->execs[i]->tree.leader == pid && !a->execs[i]->reaped) {
            exec_leader_ended(a->execs[i], status, usage);
            return;
        }
    transfer_ended(a, pid, status);
}

static void reap(struct agent *a)
{
    struct rusage usage;
    int status;
    pid_t pid;
    while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0)
        leader_ended(a, pid, status, &usage);
    for (uint32_t i = 0; i < a->exec_count; i++)
        exec_check_tree(a->execs[i]);
}

static void signal_event(struct loop_source *src, uint32_t events)
{
    (void)events;
    struct agent *a = CONTAINER_OF(src, struct agent, signals);
    struct signalfd_siginfo info;
    while (read(a->signal_fd, &info, sizeof(info)) == sizeof(info))
        switch (info.ssi_signo) {
        case SIGUSR1: /* halt and poweroff of BusyBox */
        case SIGUSR2:
            agent_stop(a, BYE_POWEROFF, OWN_STOP_GRACE_MS);
            break;
        case SIGTERM: /* reboot of BusyBox */
        case SIGINT:
            agent_stop(a, BYE_REBOOT, OWN_STOP_GRACE_MS);
            break;
        default:
            break; /* SIGCHLD: below, once for all of them */
        }
    reap(a);
}

static int watch_signals(struct agent *a, struct err *e)
{
    static const int watched[] = {SIGCHLD, SIGTERM, SIGINT, SIGUSR1, SIGUSR2};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(watched); i++)
        sigaddset(&set, watched[i]);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return err_sys(e, "cannot block signals");
    if (getpid() != 1 && prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return err_sys(e, "cannot become a child subreaper");
    a->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (a->signal_fd < 0)
        return err_sys(e, "cannot make a signalfd");
    int ret = loop_add(a->loop, &a->signals, a->signal_fd, EPOLLIN, signal_event);
    return ret < 0 ? err_set(e, ret, "cannot watch signals: %s", strerror(-ret)) : 0;
}

/* --- new connections --- */

static void accept_event(struct loop_source *src, uint32_t events);

static void accept_again(struct loop_timer *t)
{
    struct agent *a = CONTAINER_OF(t, struct agent, accept_timer);
    if (!a->stopping && !a->listener.loop &&
        loop_add(a->loop, &a->listener, a->config.listen_fd, EPOLLIN, accept_event) < 0)
        agent_arm(a, &a->accept_timer, OVERLOAD_PAUSE_MS, accept_again);
}

/* Who has had its result longest, and did not close, makes room. */
static void make_room(struct agent *a)
{
    uint32_t oldest = a->session_count;
    for (uint32_t i = 0; i < a->session_count; i++)
        if (a->sessions[i]->phase == SESSION_CLOSING &&
            (oldest == a->session_count || a->sessions[i]->closing_ns < a->sessions[oldest]->closing_ns))
            oldest = i;
    if (oldest == a->session_count)
        return;
    session_destroy(a->sessions[oldest]);
    a->sessions[oldest] = a->sessions[--a->session_count];
}

static void turn_away(int fd)
{
    struct msg_error m = {
        .stage = STAGE_RESOURCE, .errnum = EAGAIN, .text = "too many connections to the agent"};
    uint8_t frame[MSG_FRAME_MAX];
    ssize_t ignored = send(fd, frame, msg_error_encode(&m, frame, sizeof(frame)), MSG_NOSIGNAL);
    (void)ignored;
    fd_closep(&fd);
}

static void accept_event(struct loop_source *src, uint32_t events)
{
    (void)events;
    struct agent *a = CONTAINER_OF(src, struct agent, listener);
    int fd = accept4(a->config.listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    log_debug(LOG_INIT, "accept: %d", fd);
    if (fd >= 0 && a->session_count == AGENT_SESSIONS_MAX)
        make_room(a);
    if (fd >= 0 && a->session_count < AGENT_SESSIONS_MAX) {
        session_accept(a, fd);
    } else if (fd >= 0) {
        turn_away(fd);
    } else if (errno == ENFILE || errno == EMFILE || errno == ENOMEM || errno == ENOBUFS) {
        /* The connection stays in the queue and the socket readable: try later instead of spinning. */
        log_warn(LOG_INIT, "cannot accept a connection: %s", strerror(errno));
        loop_remove(&a->listener);
        agent_arm(a, &a->accept_timer, OVERLOAD_PAUSE_MS, accept_again);
    }
}

void agent_connect_control(struct agent *a, int fd)
{
    session_control(a, fd);
}

/* --- out of memory --- */

static void send_to_controls(struct agent *a, const void *frame, size_t len)
{
    for (uint32_t i = 0; i < a->session_count; i++)
        if (a->sessions[i]->phase == SESSION_CONTROL)
            conn_send(&a->sessions[i]->conn, frame, len);
}

static void oom_event(struct loop_source *src, uint32_t events)
{
    (void)events;
    struct agent *a = CONTAINER_OF(src, struct agent, oom_events);
    char text[512];
    ssize_t n = pread(a->oom_fd, text, sizeof(text) - 1, 0);
    text[n < 0 ? 0 : n] = '\0';
    uint64_t kills = keyed_value(text, "oom_kill");
    if (kills == a->oom_kills)
        return;
    a->oom_kills = kills;
    struct msg_event m = {
        .kind = EVENT_OOM, .value = kills, .text = "out of memory: the kernel killed a process"};
    uint8_t frame[MSG_FRAME_MAX];
    send_to_controls(a, frame, msg_event_encode(&m, frame, sizeof(frame)));
}

/* Not vital: without it the host only hears of it in the executions' results. */
static void watch_oom(struct agent *a)
{
    char text[512];
    if (a->config.box_group < 0)
        return;
    a->oom_fd = openat(a->config.box_group, "memory.events", O_RDONLY | O_CLOEXEC);
    /* The first read arms the file's notification (kernfs). */
    if (a->oom_fd >= 0 && pread(a->oom_fd, text, sizeof(text), 0) > 0)
        loop_add(a->loop, &a->oom_events, a->oom_fd, EPOLLPRI, oom_event);
}

/* --- life --- */

int agent_create(struct agent **out, const struct agent_config *config, struct err *e)
{
    struct agent *a = calloc(1, sizeof(*a));
    if (!a)
        return err_set(e, -ENOMEM, "no memory for the agent");
    a->config = *config;
    a->signal_fd = a->oom_fd = -1;
    int ret = loop_create(&a->loop, e);
    if (ret == 0)
        ret = watch_signals(a, e);
    if (ret == 0) {
        ret = loop_add(a->loop, &a->listener, config->listen_fd, EPOLLIN, accept_event);
        if (ret < 0)
            err_set(e, ret, "cannot watch the agent's socket: %s", strerror(-ret));
    }
    if (ret < 0) {
        a->config.listen_fd = a->config.box_group = -1;
        agent_destroy(a);
        return ret;
    }
    watch_oom(a);
    *out = a;
    return 0;
}

void agent_destroy(struct agent *a)
{
    if (!a)
        return;
    while (a->session_count)
        session_destroy(a->sessions[--a->session_count]);
    while (a->exec_count)
        exec_destroy(a->execs[--a->exec_count]);
    while (a->transfer_count)
        transfer_destroy(a->transfers[--a->transfer_count]);
    loop_destroy(a->loop);
    fd_closep(&a->signal_fd);
    fd_closep(&a->oom_fd);
    fd_closep(&a->config.listen_fd);
    fd_closep(&a->config.box_group);
    free(a);
}

int agent_run(struct agent *a)
{
    int ret = 0;
    while (ret == 0 && !(a->stopping && (a->exec_count + a->transfer_count == 0 || a->stopped))) {
        ret = loop_once(a->loop, -1);
        sweep(a);
    }
    return ret;
}

/* --- the stop --- */

static void stop_overdue(struct loop_timer *t)
{
    struct agent *a = CONTAINER_OF(t, struct agent, stop_timer);
    a->stopped = a->stop_killed;
    a->stop_killed = true;
    for (uint32_t i = 0; i < a->exec_count; i++) {
        struct exec *x = a->execs[i];
        viewers_hurry(x);
        exec_kill(x);
        viewers_go(x);
        exec_advance(x);
    }
    for (uint32_t i = 0; i < a->transfer_count; i++)
        transfer_stop(a->transfers[i], true);
    if (!a->stopped)
        agent_arm(a, &a->stop_timer, KILLED_STOP_MS, stop_overdue);
}

void agent_stop(struct agent *a, enum bye_reason why, uint32_t grace_ms)
{
    if (a->stopping)
        return;
    a->stopping = true;
    a->why = why;
    loop_remove(&a->listener);
    for (uint32_t i = 0; i < a->exec_count; i++) {
        exec_stop(a->execs[i], grace_ms);
        viewers_hurry(a->execs[i]);
        viewers_go(a->execs[i]);
        exec_advance(a->execs[i]); /* what was only kept is over now */
    }
    for (uint32_t i = 0; i < a->transfer_count; i++)
        transfer_stop(a->transfers[i], false);
    agent_arm(a, &a->stop_timer, grace_ms, stop_overdue);
    loop_stop(a->loop); /* wakes the loop when nothing else would */
}

void agent_say_bye(struct agent *a, const char *text, int timeout_ms)
{
    struct msg_bye m = {.reason = (uint8_t)a->why};
    uint8_t frame[MSG_FRAME_MAX];
    snprintf(m.text, sizeof(m.text), "%s", text);
    send_to_controls(a, frame, msg_bye_encode(&m, frame, sizeof(frame)));
    for (uint32_t i = 0; i < a->session_count; i++) {
        struct session *s = a->sessions[i];
        if (s->phase != SESSION_CONTROL)
            continue;
        conn_ignore_input(&s->conn);
        conn_finish(&s->conn);
        /* The host closes when it has the BYE: only then is it safe to turn the machine off. */
        char rest[64];
        struct pollfd p = {.fd = s->conn.fd, .events = POLLIN};
        while (poll(&p, 1, timeout_ms) == 1 && recv(p.fd, rest, sizeof(rest), 0) > 0) {}
    }
}
