/* SPDX-License-Identifier: Apache-2.0
 *
 * lab-agent: PID 1 of the lab. Once boot.c has put the root file system together, it runs
 * one command and tells the host how it ended.
 *
 * Theory of operation. The agent opens the four virtio-serial ports, says
 * LAB_READY and waits for LAB_START, which holds the command, its environment,
 * its working directory and whether it wants a terminal. It forks the command
 * with pipes (or a pseudo-terminal) for stdio and then moves bytes between
 * these and the ports in one poll() loop, nothing ever blocking. When the
 * command's process has ended, what is left in its pipes is moved too;
 * whatever it left running in the background is not waited for. File systems
 * are synced, LAB_EXIT goes out, and the agent sleeps until the host pulls the
 * plug: a machine whose every change is thrown away needs no shutdown.
 *
 * A single thread; all state is in `struct agent`. Any failure of the agent
 * itself is a line on the console and the end of PID 1, that is a kernel
 * panic, which the host reports with the console's tail.
 */
#include "boot.h"
#include "wire.h"

#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

enum { IN, OUT, ERR, NFLOWS };

struct agent {
    int control;
    int sigchld;
    struct frame_reader reader;
    struct lab_start start;
    const char *cwd;
    char **argv, **envp, **shares;
    struct flow flow[NFLOWS];
    int child_stdio[3]; /* the command's ends; closed after fork */
    int pty;            /* master, or -1 */
    uint64_t stdin_total;
    pid_t pid;
    bool exited;
    int status; /* as from waitpid() */
};

/* --- the ports ---------------------------------------------------------- */

/* The nodes appear a moment after the driver is loaded. Their names hold the
 * number of the virtio device too, which depends on how many others there are. */
static int port_open(enum lab_port port, int flags)
{
    char pattern[32];

    snprintf(pattern, sizeof(pattern), "/dev/vport*p%d", port);
    for (int tries = 0; tries < 1000; tries++) {
        glob_t found;
        int fd = -1;

        if (glob(pattern, 0, NULL, &found) == 0)
            fd = open(found.gl_pathv[0], flags | O_NONBLOCK | O_CLOEXEC);
        globfree(&found);
        if (fd >= 0)
            return fd;
        usleep(10000);
    }
    fatal(pattern);
}

static void control_send(struct agent *a, uint32_t type, const void *data, size_t len)
{
    if (frame_send(a->control, type, data, len) < 0)
        fatal("writing the control port");
}

/* Waits for a whole frame. */
static void control_wait(struct agent *a)
{
    for (;;) {
        struct pollfd p = {.fd = a->control, .events = POLLIN};
        int rc;

        if (poll(&p, 1, -1) < 0 && errno != EINTR)
            fatal("poll");
        rc = frame_read(&a->reader, a->control);
        if (rc == 1)
            return;
        if (rc == -EPIPE)
            usleep(10000); /* the host is not connected yet */
        else if (rc < 0)
            fatal("reading the control port");
    }
}

/* --- the command -------------------------------------------------------- */

static char **take_strings(char **cursor, const char *limit, uint32_t count)
{
    char **list = calloc((size_t)count + 1, sizeof(*list));

    if (!list)
        fatal("memory");
    for (uint32_t i = 0; i < count; i++) {
        if (*cursor >= limit) {
            errno = EBADMSG;
            fatal("LAB_START is short");
        }
        list[i] = *cursor;
        *cursor += strlen(*cursor) + 1; /* the reader put a NUL at the end */
    }
    return list;
}

static void receive_start(struct agent *a)
{
    char *cursor, *limit;

    control_send(a, LAB_READY, NULL, 0);
    control_wait(a);
    if (a->reader.head.type != LAB_START || a->reader.head.len < sizeof(a->start)) {
        errno = EBADMSG;
        fatal("expected LAB_START");
    }
    memcpy(&a->start, a->reader.payload, sizeof(a->start));
    cursor = a->reader.payload + sizeof(a->start);
    limit = a->reader.payload + a->reader.head.len;
    a->cwd = take_strings(&cursor, limit, 1)[0];
    a->argv = take_strings(&cursor, limit, a->start.argc);
    if (!a->argv[0])
        fatal("LAB_START has no command");
    a->envp = take_strings(&cursor, limit, a->start.envc);
    a->shares = take_strings(&cursor, limit, a->start.sharec);
    a->reader = (struct frame_reader){0}; /* the strings stay allocated */
}

/* Gives the agent's end of one stdio descriptor, and stores the command's. */
static int stdio_pipe(struct agent *a, int which)
{
    int fds[2];
    int ours;

    if (pipe2(fds, O_CLOEXEC) < 0)
        fatal("pipe");
    a->child_stdio[which] = fds[which == 0 ? 0 : 1];
    ours = fds[which == 0 ? 1 : 0];
    fcntl(ours, F_SETFL, O_NONBLOCK);
    return ours;
}

static void set_winsize(struct agent *a, const struct lab_winsize *size)
{
    struct winsize ws = {.ws_row = size->rows, .ws_col = size->cols};

    if (a->pty >= 0)
        ioctl(a->pty, TIOCSWINSZ, &ws);
}

static void open_pty(struct agent *a)
{
    char name[64];
    int slave;

    a->pty = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (a->pty < 0 || grantpt(a->pty) < 0 || unlockpt(a->pty) < 0 ||
        ptsname_r(a->pty, name, sizeof(name)) != 0)
        fatal("pseudo-terminal");
    set_winsize(a, &a->start.size);
    slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0)
        fatal(name);
    a->child_stdio[0] = a->child_stdio[1] = slave;
    if (a->start.stderr_tty)
        a->child_stdio[2] = slave;
}

static void open_stdio(struct agent *a)
{
    a->pty = -1;
    if (a->start.tty) {
        open_pty(a);
        a->flow[IN].to = a->flow[OUT].from = a->pty;
    } else {
        a->flow[IN].to = stdio_pipe(a, 0);
        a->flow[OUT].from = stdio_pipe(a, 1);
    }
    a->flow[ERR].from = a->start.tty && a->start.stderr_tty ? -1 : stdio_pipe(a, 2);
    for (int i = 0; i < NFLOWS; i++)
        a->flow[i].chunk = sizeof(a->flow[i].buf);
}

static _Noreturn void run_command(struct agent *a)
{
    static const struct rlimit files = {.rlim_cur = 1024, .rlim_max = 1 << 20};
    sigset_t none;
    int error;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setrlimit(RLIMIT_NOFILE, &files);
    setsid();
    if (a->pty >= 0)
        ioctl(a->child_stdio[0], TIOCSCTTY, 0);
    for (int i = 0; i < 3; i++)
        if (dup2(a->child_stdio[i], i) < 0)
            _exit(126);
    if (chdir(a->cwd) < 0) {
        fprintf(stderr, "lab: cannot enter %s inside the lab: %s\n", a->cwd, strerror(errno));
        _exit(126);
    }
    environ = a->envp;
    execvp(a->argv[0], a->argv);
    error = errno;
    fprintf(stderr, "lab: %s: %s\n", a->argv[0], strerror(error));
    _exit(error == ENOENT || error == ENOTDIR ? 127 : 126);
}

static void start_command(struct agent *a)
{
    a->pid = fork();
    if (a->pid < 0)
        fatal("fork");
    if (a->pid == 0)
        run_command(a);
    for (int i = 0; i < 3; i++) /* with a terminal, several are one */
        if (i == 0 || a->child_stdio[i] != a->child_stdio[0])
            close(a->child_stdio[i]);
    control_send(a, LAB_STARTED, NULL, 0);
}

/* --- while it runs ------------------------------------------------------ */

static void stdin_close(struct agent *a)
{
    struct flow *in = &a->flow[IN];

    if (in->to < 0)
        return;
    if (a->pty >= 0)
        kill(-a->pid, SIGHUP); /* the terminal went away */
    else
        close(in->to);
    in->to = -1;
    in->broken = true;
}

static void reap(struct agent *a)
{
    struct signalfd_siginfo info;
    pid_t pid;
    int status;

    while (read(a->sigchld, &info, sizeof(info)) > 0)
        ;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid != a->pid)
            continue; /* an orphan */
        a->exited = true;
        a->status = status;
    }
}

static uint64_t u64_payload(const struct frame_reader *r)
{
    struct lab_u64 v = {0};

    if (r->head.len == sizeof(v))
        memcpy(&v, r->payload, sizeof(v));
    return v.value;
}

static void handle_frame(struct agent *a)
{
    uint64_t value = u64_payload(&a->reader);
    struct flow *f;

    switch (a->reader.head.type) {
    case LAB_STDIN_EOF:
        a->stdin_total = value;
        break;
    case LAB_SIGNAL:
        kill(-a->pid, (int)value);
        break;
    case LAB_WINSIZE:
        if (a->reader.head.len == sizeof(struct lab_winsize))
            set_winsize(a, (struct lab_winsize *)(void *)a->reader.payload);
        break;
    case LAB_BROKEN:
        f = &a->flow[value == PORT_STDERR ? ERR : OUT];
        f->broken = true;
        flow_drain(f);
        if (f->from >= 0 && f->from != a->pty) {
            close(f->from); /* now the command gets its SIGPIPE */
            f->from = -1;
        }
        break;
    default:
        break;
    }
}

static void pump(struct agent *a, struct flow *f, bool source_ready)
{
    if (flow_empty(f) && !source_ready)
        return;
    if (flow_pump(f) || f == &a->flow[IN])
        return; /* a port without a reader on the host looks like EOF */
    if (f->from != a->pty)
        close(f->from);
    f->from = -1;
}

/* One round of the loop: waits for something to do, and does it. */
static void agent_turn(struct agent *a)
{
    struct pollfd p[NFLOWS + 2];

    for (int i = 0; i < NFLOWS; i++)
        p[i] = flow_poll(&a->flow[i]);
    p[NFLOWS] = (struct pollfd){.fd = a->control, .events = POLLIN};
    p[NFLOWS + 1] = (struct pollfd){.fd = a->sigchld, .events = POLLIN};
    if (poll(p, NFLOWS + 2, -1) < 0) {
        if (errno == EINTR)
            return;
        fatal("poll");
    }
    for (int i = 0; i < NFLOWS; i++)
        if (p[i].revents)
            pump(a, &a->flow[i], true);
    if (a->flow[IN].moved >= a->stdin_total)
        stdin_close(a);
    if (p[NFLOWS].revents & POLLIN) {
        int rc = frame_read(&a->reader, a->control);

        if (rc == 1)
            handle_frame(a);
        else if (rc < 0)
            fatal("reading the control port");
    }
    if (p[NFLOWS + 1].revents)
        reap(a);
}

/* The command has ended: moves what it left in its pipes and in our buffers,
 * but does not wait for more from what it left running. */
static void finish_output(struct agent *a, struct flow *f)
{
    for (;;) {
        struct pollfd source = {.fd = f->from, .events = POLLIN};
        struct pollfd sink = {.fd = f->to, .events = POLLOUT};

        if (flow_empty(f) && (f->from < 0 || poll(&source, 1, 0) <= 0))
            return;
        if (!flow_empty(f) && poll(&sink, 1, -1) < 0)
            continue;
        pump(a, f, true);
    }
}

static void report_exit(struct agent *a)
{
    struct lab_exit e = {
        .stdout_bytes = a->flow[OUT].moved,
        .stderr_bytes = a->flow[ERR].moved,
        .code =
            WIFSIGNALED(a->status) ? 128U + (unsigned)WTERMSIG(a->status) : (unsigned)WEXITSTATUS(a->status),
    };

    sync(); /* the shares; all else is memory */
    control_send(a, LAB_EXIT, &e, sizeof(e));
}

int main(void)
{
    static struct agent a = {.stdin_total = UINT64_MAX};
    sigset_t set;

    boot_machine();
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    a.sigchld = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (a.sigchld < 0)
        fatal("signalfd");

    a.flow[IN].from = port_open(PORT_STDIN, O_RDONLY);
    a.flow[OUT].to = port_open(PORT_STDOUT, O_WRONLY);
    a.flow[ERR].to = port_open(PORT_STDERR, O_WRONLY);
    a.control = port_open(PORT_CONTROL, O_RDWR);
    receive_start(&a);
    for (int i = 0; a.shares[i]; i++)
        boot_mount_share(i, a.shares[i]);
    open_stdio(&a);
    start_command(&a);
    while (!a.exited)
        agent_turn(&a);
    finish_output(&a, &a.flow[OUT]);
    finish_output(&a, &a.flow[ERR]);
    report_exit(&a);
    for (;;)
        pause();
}
