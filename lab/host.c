/* SPDX-License-Identifier: Apache-2.0
 *
 * lab-host: runs QEMU, and is for its caller what the command would be.
 *
 *   lab-host [--timeout S] [--boot-timeout S] [--share DIR]... [--verbose]
 *            [--option QEMU-ARGUMENT]... -- QEMU ARG... -- CMD ARG...
 *
 * Theory of operation. lab-host makes five socket pairs: one for the machine's
 * serial console and one for each virtio-serial port (wire.h). QEMU inherits
 * one end of each and gets `-chardev socket,fd=N` arguments appended for them;
 * nothing has a name in the file system, so there is nothing to clean up. QEMU
 * is started in a session of its own, so that a terminal's Ctrl-C does not
 * reach it, and with a parent-death signal, so that it ends with us however we
 * end. One poll() loop moves bytes. The caller's own descriptors are never made
 * non-blocking (that would change them for other processes too): writes are
 * small enough not to wait, and should one wait all the same, the signals that
 * matter interrupt it, the deadline's SIGALRM among them.
 *
 * The last lines of the console are kept and shown when the machine fails.
 *
 * Exit code: the command's; 124 when its time was up; 125 when the lab failed.
 * Ctrl-C, SIGTERM and SIGHUP are passed on to the command, and end all after
 * two seconds or when they come again.
 */
#include "wire.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>

enum { IN, OUT, ERR, NFLOWS };
enum { CONSOLE = 0 }; /* the socket pair beside those of enum lab_port */
enum { EXIT_TIMEOUT = 124, EXIT_LAB = 125 };
enum { GRACE_S = 2, TAIL_LINES = 30, MAX_SHARES = 8, MAX_QEMU_ARGS = 256 };

enum state { BOOTING, RUNNING, ENDED };

struct host {
    char **qemu; /* argv, NULL-ended, ours to extend */
    int qemu_argc;
    char **command;
    char *shares[MAX_SHARES];
    uint32_t share_count;
    unsigned timeout_s, boot_timeout_s;
    bool verbose;

    enum state state;
    int fds[PORT_END];   /* our ends */
    int pairs[PORT_END]; /* QEMU's ends */
    pid_t qemu_pid;
    struct frame_reader reader;
    struct flow flow[NFLOWS];
    bool stdin_ended, tty, stderr_tty;
    bool told_broken[NFLOWS];
    struct lab_exit exit;
    char tail[16384]; /* the console, the newest bytes at the end */
    size_t tail_len;
};

/* Written by signal handlers; one machine per process. */
static volatile sig_atomic_t got_signal, got_signals, got_alarm, got_winch, got_child;
static struct termios saved_termios;
static bool termios_changed;

/* --- ends --------------------------------------------------------------- */

static void terminal_restore(void)
{
    if (termios_changed)
        tcsetattr(0, TCSADRAIN, &saved_termios);
    termios_changed = false;
}

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
    char line[1024] = "lab: ";
    va_list ap;
    int n;

    va_start(ap, format);
    n = vsnprintf(line + 5, sizeof(line) - 7, format, ap);
    va_end(ap);
    if (n < 0)
        return;
    strcat(line, "\n");
    write_all(2, line, strlen(line));
}

/* Where the kernel says why it panicked; NULL: it has not. */
static const char *find_panic(const struct host *h)
{
    return memmem(h->tail, sizeof(h->tail), "Kernel panic", 12);
}

/* The last lines. A panic's first line tells most, and the trace behind it may be longer than that: it
 * depends on what the stack happened to hold. */
static const char *last_lines(const struct host *h)
{
    const char *first = h->tail + sizeof(h->tail) - h->tail_len, *panic = find_panic(h);
    int lines = 0;

    for (const char *q = h->tail + sizeof(h->tail) - 1; q > first; q--)
        if (q[-1] == '\n' && ++lines >= TAIL_LINES && (!panic || q <= panic))
            return q;
    return first;
}

static void print_tail(const struct host *h)
{
    const char *p = last_lines(h);
    const char *end = h->tail + sizeof(h->tail);

    if (h->tail_len == 0) {
        say("the machine's console is empty");
        return;
    }
    say("the machine's console, last lines:");
    while (p < end) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        int len = (int)((eol ? eol : end) - p);

        while (len > 0 && p[len - 1] == '\r')
            len--;
        dprintf(2, "lab: | %.*s\n", len, p);
        p = eol ? eol + 1 : end;
    }
}

static void stop_qemu(struct host *h)
{
    if (h->qemu_pid <= 0)
        return;
    kill(h->qemu_pid, SIGKILL);
    while (waitpid(h->qemu_pid, NULL, 0) < 0 && errno == EINTR)
        ;
    h->qemu_pid = 0;
}

/* Ends lab-host: the machine first, then the terminal, then ourselves. */
static _Noreturn void finish(struct host *h, int code)
{
    stop_qemu(h);
    terminal_restore();
    exit(code);
}

static _Noreturn void fail(struct host *h, const char *what)
{
    int error = errno;

    terminal_restore();
    say("%s: %s", what, strerror(error));
    finish(h, EXIT_LAB);
}

static _Noreturn void finish_by_signal(struct host *h, int sig)
{
    stop_qemu(h);
    terminal_restore();
    signal(sig, SIG_DFL);
    raise(sig);
    exit(128 + sig);
}

/* --- signals and deadlines ------------------------------------------------ */

static void on_signal(int sig)
{
    switch (sig) {
    case SIGALRM:
        got_alarm = 1;
        break;
    case SIGWINCH:
        got_winch = 1;
        break;
    case SIGCHLD:
        got_child = 1;
        break;
    default:
        got_signal = sig;
        got_signals++;
    }
}

static const int handled[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGALRM, SIGWINCH, SIGCHLD};

static void signals_install(void)
{
    struct sigaction sa = {.sa_handler = on_signal}; /* no SA_RESTART, on purpose */

    for (size_t i = 0; i < sizeof(handled) / sizeof(handled[0]); i++) {
        struct sigaction old;

        /* What the caller ignores (nohup) stays ignored. */
        if (sigaction(handled[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN && handled[i] != SIGCHLD &&
            handled[i] != SIGALRM)
            continue;
        sigaction(handled[i], &sa, NULL);
    }
    signal(SIGPIPE, SIG_IGN);
}

/* SIGALRM after so many seconds (0: never), then each second: one that comes
 * just before a blocking call would else be lost. */
static void deadline_set(unsigned seconds)
{
    struct itimerval t = {.it_value.tv_sec = seconds, .it_interval.tv_sec = 1};

    got_alarm = 0;
    setitimer(ITIMER_REAL, &t, NULL);
}

static void handle_deadline(struct host *h)
{
    terminal_restore();
    if (got_signal)
        finish_by_signal(h, got_signal); /* the grace is over */
    if (h->state == BOOTING) {
        say("the machine did not boot within %u s", h->boot_timeout_s);
        print_tail(h);
        finish(h, EXIT_LAB);
    }
    say("%s: no end after %u s", h->command[0], h->timeout_s);
    print_tail(h);
    finish(h, EXIT_TIMEOUT);
}

static void control_send(struct host *h, uint32_t type, const void *data, size_t len)
{
    if (frame_send(h->fds[PORT_CONTROL], type, data, len) < 0 && !got_alarm && !got_signal)
        fail(h, "writing to the machine");
}

static void handle_signal(struct host *h, int *seen)
{
    struct lab_u64 sig = {.value = (uint64_t)got_signal};

    if (h->state == BOOTING || got_signals > 1)
        finish_by_signal(h, got_signal);
    *seen = got_signals;
    deadline_set(GRACE_S);
    control_send(h, LAB_SIGNAL, &sig, sizeof(sig));
}

/* --- the command ---------------------------------------------------------- */

static struct lab_winsize winsize_get(void)
{
    struct winsize ws = {0};

    ioctl(0, TIOCGWINSZ, &ws);
    return (struct lab_winsize){.rows = ws.ws_row, .cols = ws.ws_col};
}

static size_t put_strings(FILE *f, char **list)
{
    size_t n = 0;

    for (; list[n]; n++)
        fwrite(list[n], 1, strlen(list[n]) + 1, f);
    return n;
}

/* The machine is up: hands over the command. */
static void send_start(struct host *h)
{
    struct lab_start start = {.tty = h->tty, .stderr_tty = h->stderr_tty, .size = winsize_get()};
    char *data = NULL, *cwd = getcwd(NULL, 0);
    size_t len = 0;
    FILE *f = open_memstream(&data, &len);

    if (!f)
        fail(h, "memory");
    if (!cwd)
        fail(h, "current directory");
    fwrite(&start, 1, sizeof(start), f);
    fwrite(cwd, 1, strlen(cwd) + 1, f);
    start.argc = (uint32_t)put_strings(f, h->command);
    start.envc = (uint32_t)put_strings(f, environ);
    start.sharec = (uint32_t)put_strings(f, h->shares);
    if (fclose(f) != 0)
        fail(h, "memory");
    memcpy(data, &start, sizeof(start));
    control_send(h, LAB_START, data, len);
    free(data);
    free(cwd);
}

static void terminal_raw(struct host *h)
{
    struct termios raw;

    if (!h->tty || tcgetattr(0, &saved_termios) < 0)
        return;
    raw = saved_termios;
    cfmakeraw(&raw);
    if (tcsetattr(0, TCSADRAIN, &raw) == 0)
        termios_changed = true;
}

static void handle_frame(struct host *h)
{
    switch (h->reader.head.type) {
    case LAB_READY:
        send_start(h);
        break;
    case LAB_STARTED:
        h->state = RUNNING;
        h->flow[IN].from = 0;
        terminal_raw(h);
        deadline_set(h->timeout_s);
        break;
    case LAB_EXIT:
        if (h->reader.head.len == sizeof(h->exit))
            memcpy(&h->exit, h->reader.payload, sizeof(h->exit));
        h->state = ENDED;
        break;
    default:
        break;
    }
}

/* --- bytes ---------------------------------------------------------------- */

static void console_read(struct host *h, int *fd)
{
    char buf[4096];
    ssize_t n = read(*fd, buf, sizeof(buf));
    size_t len = (size_t)n, keep = sizeof(h->tail) - len;

    if (n == 0)
        *fd = -1;
    if (n <= 0)
        return;
    if (h->verbose)
        write_all(2, buf, len);
    memmove(h->tail, h->tail + len, keep);
    memcpy(h->tail + keep, buf, len);
    h->tail_len = h->tail_len + len > sizeof(h->tail) ? sizeof(h->tail) : h->tail_len + len;
}

static void stdin_pump(struct host *h)
{
    struct flow *in = &h->flow[IN];

    if (!flow_pump(in)) {
        in->from = -1;
        h->stdin_ended = true;
    }
    if (h->stdin_ended && flow_empty(in)) {
        struct lab_u64 total = {.value = in->moved};

        control_send(h, LAB_STDIN_EOF, &total, sizeof(total));
    }
}

static void output_pump(struct host *h, int which, enum lab_port port)
{
    struct flow *f = &h->flow[which];
    struct lab_u64 p = {.value = port};

    if (!flow_pump(f))
        f->from = -1;
    if (!f->broken || h->told_broken[which])
        return;
    h->told_broken[which] = true;
    if (f->error != EPIPE)
        say("writing the command's std%s: %s", which == OUT ? "out" : "err", strerror(f->error));
    control_send(h, LAB_BROKEN, &p, sizeof(p));
}

static bool output_done(const struct flow *f, uint64_t total)
{
    return f->broken || f->moved >= total || (f->from < 0 && flow_empty(f));
}

/* QEMU is gone, and LAB_EXIT was not heard: says why as well as can be. */
static _Noreturn void machine_lost(struct host *h)
{
    int status = 0;

    while (waitpid(h->qemu_pid, &status, 0) < 0 && errno == EINTR)
        ;
    h->qemu_pid = 0;
    terminal_restore();
    if (find_panic(h))
        say("the machine's kernel panicked%s", h->state == BOOTING ? " while booting" : "");
    else if (WIFSIGNALED(status))
        say("QEMU was killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != 0)
        say("QEMU failed with exit code %d", WEXITSTATUS(status));
    else
        say("the machine was switched off before %s had ended", h->command[0]);
    print_tail(h);
    finish(h, EXIT_LAB);
}

static void console_drain(struct host *h)
{
    struct pollfd p = {.fd = h->fds[CONSOLE], .events = POLLIN};

    while (p.fd >= 0 && poll(&p, 1, 0) > 0)
        console_read(h, &p.fd);
}

static void handle_control(struct host *h)
{
    int rc = frame_read(&h->reader, h->fds[PORT_CONTROL]);

    if (rc == 1)
        handle_frame(h);
    else if (rc < 0)
        h->fds[PORT_CONTROL] = -1; /* QEMU is going; SIGCHLD follows */
}

static void host_turn(struct host *h, const sigset_t *unblocked)
{
    static int signals_seen;
    struct pollfd p[NFLOWS + 2];

    for (int i = 0; i < NFLOWS; i++)
        p[i] = flow_poll(&h->flow[i]);
    p[NFLOWS] = (struct pollfd){.fd = h->fds[PORT_CONTROL], .events = POLLIN};
    p[NFLOWS + 1] = (struct pollfd){.fd = h->fds[CONSOLE], .events = POLLIN};
    if (ppoll(p, NFLOWS + 2, NULL, unblocked) < 0) {
        if (errno != EINTR)
            fail(h, "poll");
        memset(p, 0, sizeof(p));
    }
    sigprocmask(SIG_SETMASK, unblocked, NULL); /* writes may be interrupted */
    if (p[NFLOWS + 1].revents)
        console_read(h, &h->fds[CONSOLE]);
    if (p[OUT].revents)
        output_pump(h, OUT, PORT_STDOUT);
    if (p[ERR].revents)
        output_pump(h, ERR, PORT_STDERR);
    if (p[IN].revents)
        stdin_pump(h);
    if (p[NFLOWS].revents)
        handle_control(h);

    if (got_alarm)
        handle_deadline(h);
    if (got_signals != signals_seen)
        handle_signal(h, &signals_seen);
    if (got_winch && h->tty && h->state == RUNNING) {
        struct lab_winsize size = winsize_get();

        got_winch = 0;
        control_send(h, LAB_WINSIZE, &size, sizeof(size));
    }
    if (got_child && h->state != ENDED) {
        console_drain(h);
        machine_lost(h);
    }
}

/* --- the machine ------------------------------------------------------------ */

static void qemu_arg(struct host *h, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void qemu_arg(struct host *h, const char *format, ...)
{
    va_list ap;

    if (h->qemu_argc >= MAX_QEMU_ARGS - 1) {
        errno = E2BIG;
        fail(h, "QEMU's command line");
    }
    va_start(ap, format);
    if (vasprintf(&h->qemu[h->qemu_argc++], format, ap) < 0)
        fail(h, "memory");
    va_end(ap);
}

static void make_ports(struct host *h)
{
    qemu_arg(h, "-device");
    qemu_arg(h, "virtio-serial-pci,max_ports=%d", PORT_END);
    for (int i = 0; i < PORT_END; i++) {
        int pair[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
            fail(h, "socketpair");
        h->fds[i] = pair[0];
        h->pairs[i] = pair[1];
        qemu_arg(h, "-chardev");
        qemu_arg(h, "socket,id=port%d,fd=%d", i, pair[1]);
        qemu_arg(h, i == CONSOLE ? "-serial" : "-device");
        if (i == CONSOLE)
            qemu_arg(h, "chardev:port%d", i);
        else
            qemu_arg(h, "virtserialport,chardev=port%d,nr=%d,name=cubby.%d", i, i, i);
    }
}

static void start_qemu(struct host *h)
{
    pid_t self = getpid();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    h->qemu_pid = fork();
    if (h->qemu_pid < 0)
        fail(h, "fork");
    if (h->qemu_pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != self)
            _exit(EXIT_LAB);
        setsid();
        dup2(null, 0);
        dup2(h->pairs[CONSOLE], 1); /* QEMU's own complaints join the console */
        dup2(h->pairs[CONSOLE], 2);
        for (int i = 0; i < PORT_END; i++)
            fcntl(h->pairs[i], F_SETFD, 0);
        execvp(h->qemu[0], h->qemu);
        dprintf(2, "%s: %s\n", h->qemu[0], strerror(errno));
        _exit(EXIT_LAB);
    }
    close(null);
    for (int i = 0; i < PORT_END; i++)
        close(h->pairs[i]);
}

/* --- the command line ------------------------------------------------------- */

static _Noreturn void usage(void)
{
    say("lab-host is started by lab/run; see lab/run --help");
    exit(EXIT_LAB);
}

static void parse(struct host *h, int argc, char **argv)
{
    int i = 1;

    for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
        bool more = i + 1 < argc;

        if (!strcmp(argv[i], "--verbose"))
            h->verbose = true;
        else if (!strcmp(argv[i], "--timeout") && more)
            h->timeout_s = (unsigned)strtoul(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--boot-timeout") && more)
            h->boot_timeout_s = (unsigned)strtoul(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--share") && more && h->share_count < MAX_SHARES - 1)
            h->shares[h->share_count++] = argv[++i];
        else
            usage();
    }
    h->qemu = calloc(MAX_QEMU_ARGS, sizeof(char *));
    if (!h->qemu)
        fail(h, "memory");
    for (i++; i < argc && strcmp(argv[i], "--") != 0; i++)
        qemu_arg(h, "%s", argv[i]);
    h->command = argv + i + 1;
    if (i + 1 >= argc || h->qemu_argc == 0)
        usage();
}

int main(int argc, char **argv)
{
    static struct host h = {.timeout_s = 600, .boot_timeout_s = 180};
    sigset_t blocked, unblocked;

    parse(&h, argc, argv);
    signals_install();
    sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof(handled) / sizeof(handled[0]); i++)
        sigaddset(&blocked, handled[i]);
    sigprocmask(SIG_UNBLOCK, &blocked, &unblocked);
    sigprocmask(SIG_SETMASK, NULL, &unblocked);

    make_ports(&h);
    start_qemu(&h);
    h.tty = isatty(0) && isatty(1);
    h.stderr_tty = isatty(2);
    h.flow[IN] = (struct flow){.from = -1, .to = h.fds[PORT_STDIN], .chunk = PIPE_BUF};
    h.flow[OUT] = (struct flow){.from = h.fds[PORT_STDOUT], .to = 1, .chunk = PIPE_BUF};
    h.flow[ERR] = (struct flow){.from = h.fds[PORT_STDERR], .to = 2, .chunk = PIPE_BUF};
    deadline_set(h.boot_timeout_s);
    while (h.state != ENDED || !output_done(&h.flow[OUT], h.exit.stdout_bytes) ||
           !output_done(&h.flow[ERR], h.exit.stderr_bytes)) {
        sigprocmask(SIG_BLOCK, &blocked, NULL);
        host_turn(&h, &unblocked);
    }
    finish(&h, (int)h.exit.code);
}
