/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A blocking client of the agent, and an agent to talk to: a child process that serves on a Unix socket, with
 * control groups where this machine lets us make one. Everything ends at the alarm() that a test sets.
 */
#ifndef CUBBY_TESTS_GUEST_INIT_CLIENT_H
#define CUBBY_TESTS_GUEST_INIT_CLIENT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/own.h"
#include "guest-init/agent.h"
#include "proto/detached.h"
#include "proto/exec.h"
#include "proto/ports.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define TEST_DEADLINE_S 60

struct served {
    pid_t pid;
    char dir[64], socket[96], group[96];
    int box_group; /* of the agent's executions, or -1: this machine has no cgroup2 for us */
    int host;      /* the agent's control connection, our end */
};

/* The agent's bound on kept output; 0: its own. */
static size_t serve_keep_max;

static inline int make_group(struct served *v)
{
    static const char *const roots[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    for (size_t i = 0; i < ARRAY_LEN(roots); i++) {
        char probe[128];
        snprintf(probe, sizeof(probe), "%s/cgroup.procs", roots[i]);
        snprintf(v->group, sizeof(v->group), "%s/cubby-test-%d", roots[i], getpid());
        if (access(probe, W_OK) == 0 && mkdir(v->group, 0755) == 0)
            return open(v->group, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    v->group[0] = '\0';
    return -1;
}

static inline _Noreturn void serve(const struct served *v, int control)
{
    struct err e;
    struct agent *a;
    struct agent_config c = {.listen_fd = unix_listen(v->socket, 512, &e), .box_group = v->box_group};
    c.keep_max = serve_keep_max;
    c.ready = (struct msg_ready){.version_min = 1, .version_max = 1, .cpus = 3, .release = "test"};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (agent_create(&a, &c, &e) < 0) {
        fprintf(stderr, "agent: %s\n", e.text);
        _exit(1);
    }
    agent_connect_control(a, control);
    int ret = agent_run(a);
    agent_say_bye(a, "bye", 1000);
    agent_destroy(a);
    exit(ret < 0); /* not _exit(): LeakSanitizer looks at the end */
}

static inline void serve_start(struct served *v, bool with_groups)
{
    int pair[2];
    *v = (struct served){.box_group = -1};
    snprintf(v->dir, sizeof(v->dir), "/tmp/cubby-agent-XXXXXX");
    assert_non_null(mkdtemp(v->dir));
    snprintf(v->socket, sizeof(v->socket), "%s/agent", v->dir);
    if (with_groups)
        v->box_group = make_group(v);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(fd_set_nonblock(pair[1], 1), 0);
    v->pid = fork();
    if (v->pid == 0) {
        close(pair[0]);
        serve(v, pair[1]);
    }
    close(pair[1]);
    v->host = pair[0];
}

static inline void put(int fd, const void *frame, size_t len)
{
    assert_true(len > 0);
    size_t done = 0;
    while (done < len) {
        ssize_t n = send(fd, (const char *)frame + done, len - done, MSG_NOSIGNAL);
        assert_true(n > 0);
        done += (size_t)n;
    }
}

/* The agent's exit status: 0 when it stopped as it was told, and leaked nothing. */
static inline int serve_stop(struct served *v)
{
    uint8_t frame[32];
    int status = -1;
    put(v->host, frame, msg_shutdown_encode(&(struct msg_shutdown){1000}, frame, sizeof(frame)));
    shutdown(v->host, SHUT_WR);
    while (read(v->host, frame, sizeof(frame)) > 0) {}
    close(v->host);
    assert_int_equal(waitpid(v->pid, &status, 0), v->pid);
    unlink(v->socket);
    rmdir(v->dir);
    if (v->box_group >= 0) {
        close(v->box_group);
        assert_int_equal(rmdir(v->group), 0); /* every execution took its group away */
    }
    return status;
}

struct client {
    int fd;
    struct frame_reader in;
};

static inline void client_connect(struct client *c, const struct served *v)
{
    struct err e;
    for (int i = 0; i < 200; i++) { /* the agent may still be on its way to listen() */
        c->fd = unix_connect(v->socket, &e);
        if (c->fd >= 0)
            break;
        usleep(20000);
    }
    assert_true(c->fd >= 0);
    assert_int_equal(fd_set_nonblock(c->fd, 0), 0);
    frame_reader_init(&c->in, FRAME_FROM_GUEST);
}

static inline void client_close(struct client *c)
{
    close(c->fd);
    frame_reader_fini(&c->in);
}

/* The next frame; false at the end of the connection. */
static inline bool client_next(struct client *c, struct frame *f)
{
    int ret;
    while ((ret = frame_reader_next(&c->in, f)) == 0) {
        uint8_t *at;
        size_t room;
        assert_int_equal(frame_reader_space(&c->in, &at, &room), 0);
        ssize_t n = recv(c->fd, at, room, 0);
        if (n <= 0) {
            assert_false(frame_reader_partial(&c->in));
            return false;
        }
        frame_reader_filled(&c->in, (size_t)n);
    }
    assert_int_equal(ret, 1);
    return true;
}

static inline void client_expect(struct client *c, struct frame *f, enum frame_type type)
{
    assert_true(client_next(c, f));
    assert_string_equal(frame_name(f->type), frame_name((uint8_t)type));
}

static inline void client_hello(struct client *c)
{
    uint8_t frame[64];
    struct frame f;
    struct msg_hello m = {1, 1};
    put(c->fd, frame, msg_hello_encode(&m, frame, sizeof(frame)));
    client_expect(c, &f, FRAME_HELLO);
    assert_int_equal(msg_hello_decode(&f, &m), 0);
    assert_int_equal(m.version_min, 1);
    assert_int_equal(m.version_max, 1);
}

static inline void client_exec(struct client *c, const struct exec_request *q)
{
    struct err e = {0};
    size_t size = exec_request_size(q);
    CLEANUP(mem_freep) uint8_t *frame = malloc(size);
    assert_non_null(frame);
    if (exec_request_encode(q, frame, size, &e) < 0)
        fail_msg("%s", e.text);
    put(c->fd, frame, size);
}

static inline void client_credit(struct client *c, enum stream stream, uint32_t credit)
{
    uint8_t frame[32];
    struct msg_window m = {(uint8_t)stream, credit};
    put(c->fd, frame, msg_window_encode(&m, frame, sizeof(frame)));
}

static inline void client_kill(struct client *c)
{
    uint8_t frame[32];
    put(c->fd, frame, msg_kill_encode(frame, sizeof(frame)));
}

static inline void client_signal(struct client *c, int signo, enum signal_scope scope)
{
    uint8_t frame[32];
    struct msg_signal m = {(uint8_t)signo, (uint8_t)scope};
    put(c->fd, frame, msg_signal_encode(&m, frame, sizeof(frame)));
}

static inline void client_stdin(struct client *c, const void *data, size_t len)
{
    uint8_t header[FRAME_HEADER];
    frame_header_put(header, FRAME_STDIN, (uint32_t)len);
    put(c->fd, header, sizeof(header));
    put(c->fd, data, len);
}

static inline void client_stdin_eof(struct client *c)
{
    uint8_t frame[32];
    put(c->fd, frame, msg_stream_eof_encode(STREAM_STDIN, frame, sizeof(frame)));
}

/* A new connection whose request is this ATTACH or REMOVE. */
static inline void client_request(struct client *c, const struct served *v, const void *frame, size_t len)
{
    client_connect(c, v);
    client_hello(c);
    put(c->fd, frame, len);
}

static inline void client_attach(struct client *c, const struct served *v, const struct msg_attach *m)
{
    uint8_t frame[64];
    client_request(c, v, frame, msg_attach_encode(m, frame, sizeof(frame)));
}

#define OUTPUT_MAX 65536u

/* What came of an execution; streams are cut at OUTPUT_MAX, their lengths are not. */
struct outcome {
    bool started, exited, error;
    char out[OUTPUT_MAX + 1], err[OUTPUT_MAX + 1];
    size_t out_len, err_len;
    bool out_eof, err_eof, in_eof;
    uint64_t credit; /* given for stdin */
    bool attached;
    struct msg_attached attach;
    uint64_t skipped[STREAMS];
    struct msg_started start;
    struct msg_exited exit;
    struct msg_error why;
};

static inline void collect(char *to, size_t *len, const struct frame *f)
{
    if (*len < OUTPUT_MAX) {
        size_t n = f->len < OUTPUT_MAX - *len ? f->len : OUTPUT_MAX - *len;
        memcpy(to + *len, f->payload, n);
        to[*len + n] = '\0';
    }
    *len += f->len;
}

/* Takes note of a frame, and gives credit back for what it brought. */
static inline void outcome_note(struct client *c, struct outcome *o, const struct frame *f)
{
    struct msg_window w;
    struct msg_skipped skipped;
    enum stream stream;
    assert_false(o->exited || o->error); /* these are the last */
    switch (f->type) {
    case FRAME_STARTED:
        assert_int_equal(msg_started_decode(f, &o->start), 0);
        o->started = true;
        break;
    case FRAME_ATTACHED:
        assert_int_equal(msg_attached_decode(f, &o->attach), 0);
        o->started = o->attached = true;
        break;
    case FRAME_SKIPPED:
        assert_int_equal(msg_skipped_decode(f, &skipped), 0);
        o->skipped[skipped.stream] += skipped.bytes;
        break;
    case FRAME_STDOUT:
        assert_true(o->started && !o->out_eof);
        collect(o->out, &o->out_len, f);
        client_credit(c, STREAM_STDOUT, f->len);
        break;
    case FRAME_STDERR:
        assert_true(o->started && !o->err_eof);
        collect(o->err, &o->err_len, f);
        client_credit(c, STREAM_STDERR, f->len);
        break;
    case FRAME_STREAM_EOF:
        assert_int_equal(msg_stream_eof_decode(f, &stream), 0);
        *(stream == STREAM_STDIN ? &o->in_eof : stream == STREAM_STDOUT ? &o->out_eof : &o->err_eof) = true;
        break;
    case FRAME_WINDOW:
        assert_int_equal(msg_window_decode(f, &w), 0);
        assert_int_equal(w.stream, STREAM_STDIN);
        o->credit += w.credit;
        break;
    case FRAME_EXITED:
        assert_int_equal(msg_exited_decode(f, &o->exit), 0);
        o->exited = true;
        break;
    case FRAME_ERROR:
        assert_int_equal(msg_error_decode(f, &o->why), 0);
        o->error = true;
        break;
    default:
        fail_msg("unexpected %s", frame_name(f->type));
    }
}

/* Until the connection ends. */
static inline void client_finish(struct client *c, struct outcome *o)
{
    struct frame f;
    while (client_next(c, &f))
        outcome_note(c, o, &f);
    client_close(c);
}

/* Until STARTED. */
static inline void client_started(struct client *c, struct outcome *o)
{
    struct frame f;
    while (!o->started && !o->error && client_next(c, &f))
        outcome_note(c, o, &f);
    assert_true(o->started);
}

/* Until the process is reaped; the test's alarm() is the deadline. */
static inline void await_death(pid_t pid)
{
    while (kill(pid, 0) == 0)
        usleep(10000);
}

static inline struct exec_request request_of(const char *const *argv)
{
    return (struct exec_request){.argv = argv,
                                 .flags = EXEC_STDOUT | EXEC_STDERR,
                                 .grace_ms = 500,
                                 .window_out = 1u << 20,
                                 .window_err = 1u << 20};
}

static inline void begin(struct client *c, const struct served *v, const struct exec_request *q,
                         struct outcome *o)
{
    memset(o, 0, sizeof(*o));
    client_connect(c, v);
    client_hello(c);
    client_exec(c, q);
}

static inline void run(const struct served *v, const struct exec_request *q, struct outcome *o)
{
    struct client c;
    begin(&c, v, q, o);
    client_finish(&c, o);
}

/* `sh -c script`, its output with the outcome. */
static inline void run_sh(const struct served *v, const char *script, struct outcome *o)
{
    const char *argv[] = {"sh", "-c", script, NULL};
    struct exec_request q = request_of(argv);
    run(v, &q, o);
}

#endif
