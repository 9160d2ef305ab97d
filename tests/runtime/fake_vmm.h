/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A test double for cubby-vmm, its guest and the agent in it, for what must be shown without KVM: the test
 * program itself, started under the name cubby-vmm. $FAKE_VMM says how the VM behaves, the command of an
 * execution how the agent does. It speaks through the real codecs of proto/, and can break every rule. Real
 * guests follow in tests/lab/.
 */
#ifndef CUBBY_TESTS_RUNTIME_FAKE_VMM_H
#define CUBBY_TESTS_RUNTIME_FAKE_VMM_H

#include "base/io.h"
#include "base/own.h"
#include "proto/detached.h"
#include "proto/exec.h"
#include "proto/ports.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAKE_KEPT_AT (8 << 20) /* on the disk, where a fresh one has nothing */

static inline void fake_event(const char *json);

/* ---- the agent: one execution
 * -----------------------------------------------------------------------------*/

struct fake {
    int fd;
    struct frame_reader in;
    struct exec_request q;
    uint64_t credit[STREAMS];
    bool killed, stdin_eof;
    int signaled;
    uint32_t owed; /* credit for stdin that is not given back yet */
};

static inline void fake_send(struct fake *f, const void *frame, size_t len)
{
    if (len == 0 || send(f->fd, frame, len, MSG_NOSIGNAL) != (ssize_t)len) {
        close(f->fd);
        pthread_exit(NULL);
    }
}

static inline void fake_data(struct fake *f, uint8_t type, const void *data, size_t len)
{
    static const size_t cap = FRAME_HEADER + STREAM_CHUNK_MAX;
    uint8_t *frame = malloc(cap);
    frame_header_put(frame, type, (uint32_t)len);
    memcpy(frame + FRAME_HEADER, data, len);
    /* In pieces: the socket is blocking. */
    for (size_t at = 0; at < FRAME_HEADER + len;) {
        ssize_t n = send(f->fd, frame + at, FRAME_HEADER + len - at, MSG_NOSIGNAL);
        if (n <= 0) {
            free(frame);
            close(f->fd);
            pthread_exit(NULL);
        }
        at += (size_t)n;
    }
    free(frame);
}

/* The next frame; the connection's end ends the thread. */
static inline struct frame fake_read(struct fake *f)
{
    struct frame frame;
    while (frame_reader_next(&f->in, &frame) == 0) {
        uint8_t *at;
        size_t room;
        frame_reader_space(&f->in, &at, &room);
        ssize_t n = recv(f->fd, at, room, 0);
        if (n <= 0) {
            close(f->fd);
            pthread_exit(NULL);
        }
        frame_reader_filled(&f->in, (size_t)n);
    }
    return frame;
}

static inline void fake_started(struct fake *f)
{
    uint8_t frame[MSG_FRAME_MAX];
    const struct msg_started m = {.exec_id = 1, .pid = 42};
    fake_send(f, frame, msg_started_encode(&m, frame, sizeof(frame)));
}

static inline void fake_exited(struct fake *f, struct msg_exited m)
{
    uint8_t frame[MSG_FRAME_MAX];
    m.wall_ns = 5000000;
    m.max_rss = 1 << 20;
    fake_send(f, frame, msg_exited_encode(&m, frame, sizeof(frame)));
}

static inline void fake_exit_code(struct fake *f, int code)
{
    fake_exited(f, (struct msg_exited){.how = HOW_EXITED, .code = (uint8_t)code});
}

static inline void fake_eof(struct fake *f, enum stream s)
{
    uint8_t frame[MSG_FRAME_MAX];
    fake_send(f, frame, msg_stream_eof_encode(s, frame, sizeof(frame)));
}

static inline void fake_error(struct fake *f, int stage, int errnum, const char *text)
{
    uint8_t frame[MSG_FRAME_MAX];
    struct msg_error m = {.stage = (uint16_t)stage, .errnum = (uint32_t)errnum};
    snprintf(m.text, sizeof(m.text), "%s", text);
    fake_send(f, frame, msg_error_encode(&m, frame, sizeof(frame)));
}

/* Takes one frame of the host and notes what it says; stdin's bytes go back to stdout when `echo` is set. */
static inline void fake_listen(struct fake *f, bool echo)
{
    struct msg_window w;
    struct msg_signal s;
    struct frame frame = fake_read(f);
    if (frame.type == FRAME_WINDOW && msg_window_decode(&frame, &w) == 0)
        f->credit[w.stream] += w.credit;
    if (frame.type == FRAME_SIGNAL && msg_signal_decode(&frame, &s) == 0)
        f->signaled = s.signo;
    if (frame.type == FRAME_KILL)
        f->killed = true;
    if (frame.type == FRAME_STREAM_EOF)
        f->stdin_eof = true;
    if (frame.type == FRAME_STDIN && echo) {
        uint8_t reply[MSG_FRAME_MAX];
        fake_data(f, FRAME_STDOUT, frame.payload, frame.len);
        f->owed += frame.len;
        const struct msg_window m = {.stream = STREAM_STDIN, .credit = f->owed};
        fake_send(f, reply, msg_window_encode(&m, reply, sizeof(reply)));
        f->owed = 0;
    }
}

static inline void fake_flood(struct fake *f, uint8_t type, enum stream s, size_t total)
{
    static const char bytes[STREAM_CHUNK_MAX] = {0};
    while (total > 0) {
        while (f->credit[s] == 0)
            fake_listen(f, false);
        size_t n = total < sizeof(bytes) ? total : sizeof(bytes);
        if (n > f->credit[s])
            n = (size_t)f->credit[s];
        fake_data(f, type, bytes, n);
        f->credit[s] -= n;
        total -= n;
    }
}

#define FAKE_HAIL_LEN (128 << 10) /* fits a socket */

/* At a signal, many small frames: single bytes of credit for stdin. */
static inline void fake_hail(struct fake *f)
{
    uint8_t *frames = malloc(FAKE_HAIL_LEN);
    const struct msg_window m = {.stream = STREAM_STDIN, .credit = 1};
    for (size_t at = 0; at < FAKE_HAIL_LEN;)
        at += msg_window_encode(&m, frames + at, FAKE_HAIL_LEN - at);
    while (!f->signaled)
        fake_listen(f, false);
    ssize_t ignored = send(f->fd, frames, FAKE_HAIL_LEN, MSG_NOSIGNAL);
    (void)ignored;
    free(frames);
    fake_read(f);
}

static inline void fake_violate(struct fake *f, const char *how)
{
    static const char bytes[STREAM_CHUNK_MAX] = {0};
    uint8_t frame[MSG_FRAME_MAX];
    if (strcmp(how, "unknown-type") == 0) {
        frame_header_put(frame, (enum frame_type)0x7F, 0);
        fake_send(f, frame, FRAME_HEADER);
    } else if (strcmp(how, "too-long") == 0) {
        frame_header_put(frame, FRAME_STDOUT, STREAM_CHUNK_MAX + 1);
        fake_send(f, frame, FRAME_HEADER);
    } else if (strcmp(how, "beyond-credit") == 0) {
        for (uint64_t sent = 0; sent <= f->credit[STREAM_STDOUT]; sent += sizeof(bytes))
            fake_data(f, FRAME_STDOUT, bytes, sizeof(bytes));
    } else if (strcmp(how, "after-eof") == 0) {
        fake_eof(f, STREAM_STDOUT);
        fake_data(f, FRAME_STDOUT, "x", 1);
    } else if (strcmp(how, "twice-started") == 0) {
        fake_started(f);
    } else if (strcmp(how, "error-when-running") == 0) {
        fake_error(f, STAGE_CWD, ENOENT, "late");
    } else if (strcmp(how, "window-for-stdout") == 0) {
        const struct msg_window m = {.stream = STREAM_STDOUT, .credit = 1};
        fake_send(f, frame, msg_window_encode(&m, frame, sizeof(frame)));
    } else if (strcmp(how, "window-overflow") == 0) {
        const struct msg_window m = {.stream = STREAM_STDIN, .credit = STREAM_WINDOW_MAX};
        fake_send(f, frame, msg_window_encode(&m, frame, sizeof(frame)));
    } else if (strcmp(how, "attached") == 0) {
        const struct msg_attached m = {.exec_id = 1, .state = ITEM_RUNNING};
        fake_send(f, frame, msg_attached_encode(&m, frame, sizeof(frame)));
    } else if (strcmp(how, "skipped-after-eof") == 0) {
        const struct msg_skipped m = {.stream = STREAM_STDERR, .bytes = 1};
        fake_eof(f, STREAM_STDERR);
        fake_send(f, frame, msg_skipped_encode(&m, frame, sizeof(frame)));
    } else if (strcmp(how, "skipped") == 0 || strcmp(how, "skipped-twice") == 0) {
        const struct msg_skipped m = {.stream = STREAM_STDOUT, .bytes = 1};
        fake_send(f, frame, msg_skipped_encode(&m, frame, sizeof(frame)));
        if (how[7])
            fake_send(f, frame, msg_skipped_encode(&m, frame, sizeof(frame)));
    } else if (strcmp(how, "stdin-eof-twice") == 0) {
        fake_eof(f, STREAM_STDIN);
        fake_eof(f, STREAM_STDIN);
    } else if (strcmp(how, "item") == 0) {
        const struct msg_item m = {.exec_id = 1, .state = ITEM_RUNNING};
        fake_send(f, frame, msg_item_encode(&m, frame, sizeof(frame)));
    } else if (strcmp(how, "list-end") == 0) {
        fake_send(f, frame, msg_list_end_encode(0, frame, sizeof(frame)));
    } else if (strcmp(how, "control-frame") == 0) {
        fake_send(f, frame, msg_ping_encode(FRAME_PONG, 1, frame, sizeof(frame)));
    }
    for (;;)
        fake_read(f);
}

static inline const char *fake_arg(const struct fake *f, int i)
{
    for (int k = 0; k <= i; k++) {
        if (!f->q.argv[k])
            return "";
    }
    return f->q.argv[i];
}

/* "memory processes CPU", and a line "resource soft hard" for each resource. */
static inline void fake_limits(struct fake *f)
{
    char line[96];
    snprintf(line, sizeof(line), "%llu %u %u\n", (unsigned long long)f->q.memory_max, f->q.pids_max,
             f->q.cpu_millis);
    fake_data(f, FRAME_STDOUT, line, strlen(line));
    for (uint32_t i = 0; i < f->q.rlimit_count; i++) {
        const struct exec_rlimit *l = &f->q.rlimit[i];
        snprintf(line, sizeof(line), "%u %llu %llu\n", l->resource, (unsigned long long)l->soft,
                 (unsigned long long)l->hard);
        fake_data(f, FRAME_STDOUT, line, strlen(line));
    }
}

static inline void fake_run_started(struct fake *f, const char *what)
{
    if (strcmp(what, "exit") == 0) {
        fake_exit_code(f, atoi(fake_arg(f, 1)));
    } else if (strcmp(what, "signal") == 0) {
        fake_exited(f, (struct msg_exited){.how = HOW_SIGNALED, .signo = (uint8_t)atoi(fake_arg(f, 1))});
    } else if (strcmp(what, "timeout") == 0) {
        fake_exited(f, (struct msg_exited){.how = HOW_TIMED_OUT, .signo = SIGTERM});
    } else if (strcmp(what, "oom") == 0) {
        uint32_t flags = f->q.memory_max ? EXIT_OOM | EXIT_MEMORY_LIMIT : EXIT_OOM;
        fake_exited(f, (struct msg_exited){.how = HOW_OOM_KILLED, .signo = SIGKILL, .flags = flags});
    } else if (strcmp(what, "inner-oom") == 0) {
        uint32_t flags = f->q.memory_max ? EXIT_OOM | EXIT_MEMORY_LIMIT : EXIT_OOM;
        fake_exited(f, (struct msg_exited){.how = HOW_EXITED, .code = 3, .flags = flags});
    } else if (strcmp(what, "bomb") == 0) {
        fake_exited(f, (struct msg_exited){.how = HOW_EXITED, .code = 2, .flags = EXIT_PIDS_LIMIT});
    } else if (strcmp(what, "limits") == 0) {
        fake_limits(f);
        fake_exit_code(f, 0);
    } else if (strcmp(what, "say") == 0) {
        fake_data(f, FRAME_STDOUT, fake_arg(f, 1), strlen(fake_arg(f, 1)));
        fake_data(f, FRAME_STDERR, fake_arg(f, 2), strlen(fake_arg(f, 2)));
        fake_eof(f, STREAM_STDOUT);
        fake_eof(f, STREAM_STDERR);
        fake_exit_code(f, 0);
    } else if (strcmp(what, "env") == 0) {
        for (const char *const *v = f->q.envp; *v; v++) {
            fake_data(f, FRAME_STDOUT, *v, strlen(*v));
            fake_data(f, FRAME_STDOUT, "\n", 1);
        }
        fake_exit_code(f, 0);
    } else if (strcmp(what, "flood") == 0) {
        fake_flood(f, FRAME_STDOUT, STREAM_STDOUT, strtoul(fake_arg(f, 1), NULL, 10));
        fake_flood(f, FRAME_STDERR, STREAM_STDERR, strtoul(fake_arg(f, 2), NULL, 10));
        fake_exit_code(f, 0);
    } else if (strcmp(what, "pour") == 0) { /* until SIGPIPE */
        while (!f->signaled) {
            struct pollfd pfd = {.fd = f->fd, .events = POLLIN};
            if (f->credit[STREAM_STDOUT] == 0 || poll(&pfd, 1, 0) > 0)
                fake_listen(f, false);
            else
                fake_flood(f, FRAME_STDOUT, STREAM_STDOUT, 100);
        }
        fake_exited(f, (struct msg_exited){.how = HOW_SIGNALED, .signo = (uint8_t)f->signaled});
    } else if (strcmp(what, "cat") == 0) {
        while (!f->stdin_eof)
            fake_listen(f, true);
        fake_exit_code(f, 0);
    } else if (strcmp(what, "deaf") == 0) { /* closes its stdin, ends when it is told */
        fake_eof(f, STREAM_STDIN);
        while (!f->killed)
            fake_listen(f, false);
        fake_exited(f, (struct msg_exited){.how = HOW_SIGNALED, .signo = SIGKILL, .flags = EXIT_KILLED});
    } else if (strcmp(what, "hang") == 0) {
        while (!f->killed && !f->signaled)
            fake_listen(f, false);
        int signo = f->killed ? SIGKILL : f->signaled;
        fake_exited(f, (struct msg_exited){.how = HOW_SIGNALED, .signo = (uint8_t)signo});
    } else if (strcmp(what, "where") == 0) { /* folder, user, arguments */
        for (int i = -2; i < 0 || fake_arg(f, i)[0]; i++) {
            const char *word = i == -2 ? f->q.cwd : i == -1 ? f->q.user : fake_arg(f, i);
            fake_data(f, FRAME_STDOUT, word ? word : "-", word ? strlen(word) : 1);
            fake_data(f, FRAME_STDOUT, "\n", 1);
        }
        fake_exit_code(f, 0);
    } else if (strcmp(what, "keep") == 0) { /* on the box's disk: descriptor 6 of the VMM */
        fake_exit_code(f, pwrite(6, fake_arg(f, 1), 8, FAKE_KEPT_AT) == 8 && fdatasync(6) == 0 ? 0 : 1);
    } else if (strcmp(what, "kept") == 0) {
        char text[8];
        if (pread(6, text, sizeof(text), FAKE_KEPT_AT) == sizeof(text))
            fake_data(f, FRAME_STDOUT, text, sizeof(text));
        fake_exit_code(f, 0);
    } else if (strcmp(what, "disk-failed") == 0) {
        fake_event("{\"event\":\"disk-failed\",\"detail\":\"No space left on device\",\"t_ns\":8}");
        fake_exit_code(f, 0);
    } else if (strcmp(what, "hail") == 0) {
        fake_hail(f);
    } else if (strcmp(what, "violate") == 0) {
        fake_violate(f, fake_arg(f, 1));
    } else if (strcmp(what, "close") == 0) {
        fake_data(f, FRAME_STDOUT, "last", 4);
        return;
    } else if (strcmp(what, "crash") == 0) {
        fake_data(f, FRAME_STDOUT, "last", 4);
        kill(getpid(), SIGKILL);
    }
}

static inline void fake_run(struct fake *f)
{
    const char *what = fake_arg(f, 0);
    f->credit[STREAM_STDOUT] = f->q.window_out;
    f->credit[STREAM_STDERR] = f->q.window_err;
    if (strcmp(what, "missing") == 0) {
        fake_error(f, STAGE_LOOKUP, ENOENT, "command 'missing' not found\033[2J");
    } else if (strcmp(what, "refused") == 0) {
        fake_error(f, STAGE_LOOKUP, EACCES, "'refused' is not executable");
    } else if (strcmp(what, "badformat") == 0) {
        fake_error(f, STAGE_EXECVE, ENOEXEC, "no program");
    } else if (strcmp(what, "nouser") == 0) {
        fake_error(f, STAGE_USER, ENOENT, "no such user");
    } else if (strcmp(what, "error") == 0) {
        fake_error(f, atoi(fake_arg(f, 1)), atoi(fake_arg(f, 2)), "");
    } else if (strcmp(what, "early-data") == 0) {
        fake_data(f, FRAME_STDOUT, "x", 1);
        fake_read(f);
    } else {
        fake_started(f);
        fake_run_started(f, what);
    }
}

/* Answers to LIST, ATTACH and REMOVE that cannot be. */
static inline void fake_answer(struct fake *f, const char *how)
{
    uint8_t frame[MSG_FRAME_MAX];
    struct msg_item item = {.exec_id = 7, .state = ITEM_RUNNING};
    if (strcmp(how, "other-id") == 0) {
        const struct msg_attached m = {.exec_id = 8, .state = ITEM_RUNNING};
        fake_send(f, frame, msg_attached_encode(&m, frame, sizeof(frame)));
    } else if (strcmp(how, "started") == 0) {
        fake_started(f);
    } else if (strcmp(how, "exited") == 0) {
        fake_exit_code(f, 0);
    } else if (strcmp(how, "same-item-twice") == 0) {
        fake_send(f, frame, msg_item_encode(&item, frame, sizeof(frame)));
        fake_send(f, frame, msg_item_encode(&item, frame, sizeof(frame)));
    } else if (strcmp(how, "wrong-count") == 0) {
        fake_send(f, frame, msg_item_encode(&item, frame, sizeof(frame)));
        fake_send(f, frame, msg_list_end_encode(2, frame, sizeof(frame)));
    } else if (strcmp(how, "endless-list") == 0) {
        for (item.exec_id = 1;; item.exec_id++)
            fake_send(f, frame, msg_item_encode(&item, frame, sizeof(frame)));
    } else if (strcmp(how, "mute") == 0) {
        for (;;)
            fake_read(f);
    }
}

static inline void fake_greet(struct fake *f)
{
    uint8_t frame[MSG_FRAME_MAX];
    const char *version = getenv("FAKE_VERSION");
    uint16_t chosen = (uint16_t)(version ? atoi(version) : 1);
    const struct msg_hello hello = {.version_min = chosen, .version_max = chosen};
    struct err e;
    fake_read(f); /* HELLO */
    fake_send(f, frame, msg_hello_encode(&hello, frame, sizeof(frame)));
    struct frame exec = fake_read(f);
    const char *answer = getenv("FAKE_ANSWER");
    if (answer && exec.type != FRAME_EXEC) {
        fake_answer(f, answer);
        return;
    }
    uint8_t *copy = malloc(exec.len + 1);
    memcpy(copy, exec.payload, exec.len);
    if (exec_request_decode(&f->q, copy, exec.len, &e) < 0)
        fake_error(f, STAGE_PROTOCOL, EPROTO, e.text);
    else
        fake_run(f);
}

static void *fake_connection(void *arg)
{
    struct fake f = {.fd = *(int *)arg};
    const char *ok = getenv("FAKE_OK");
    char line[32] = "";
    free(arg);
    for (size_t n = 0; n < sizeof(line) - 1 && !strchr(line, '\n'); n++) {
        if (recv(f.fd, line + n, 1, 0) != 1)
            return NULL;
    }
    if (strcmp(line, "CONNECT 1025\n") != 0) {
        close(f.fd);
        return NULL;
    }
    frame_reader_init(&f.in, FRAME_FROM_HOST);
    fake_send(&f, ok ? ok : "OK 1073741824\n", strlen(ok ? ok : "OK 1073741824\n"));
    fake_greet(&f);
    shutdown(f.fd, SHUT_WR);
    for (char sink[4096]; recv(f.fd, sink, sizeof(sink), 0) > 0;)
        ;
    close(f.fd);
    return NULL;
}

/* ---- the VM
 * -----------------------------------------------------------------------------------------------*/

static inline void fake_event(const char *json)
{
    char line[4096];
    int n = snprintf(line, sizeof(line), "%s\n", json);
    if (write(3, line, (size_t)n) != n)
        exit(1);
}

static inline void fake_ready(const char *vsock, const char *mode)
{
    char path[128];
    uint8_t frame[MSG_FRAME_MAX];
    struct msg_ready m = {.version_min = 1,
                          .version_max = 1,
                          .cpus = 1,
                          .memory_bytes = 1 << 28,
                          .init_ns = 1,
                          .root_ns = 2,
                          .agent_ns = 3};
    snprintf(m.release, sizeof(m.release), "6.12-fake");
    if (strcmp(mode, "bad-version") == 0)
        m.version_min = m.version_max = 9;
    snprintf(path, sizeof(path), "%s_1024", vsock);
    int fd = unix_connect(path, NULL);
    if (fd < 0)
        exit(1);
    if (strcmp(mode, "bad-ready") == 0)
        send(fd, "garbage garbage garbage", 23, MSG_NOSIGNAL);
    else
        send(fd, frame, msg_ready_encode(&m, frame, sizeof(frame)), MSG_NOSIGNAL);
}

static inline void fake_write_timeline(char **argv)
{
    for (; *argv; argv++) {
        FILE *f = strcmp(*argv, "--timeline") == 0 && argv[1] ? fopen(argv[1], "w") : NULL;
        if (!f)
            continue;
        fprintf(f,
                "{\"version\":1,\"start_ns\":%llu,\"marks\":{\"main\":0,\"first-run\":1000},"
                "\"exits_until_ready\":{\"total\":7,\"by_kind\":{\"io\":3,\"mmio\":4},\"by_device\":{}},"
                "\"exits\":{\"total\":9,\"by_kind\":{\"mmio\":9}},\"end\":{\"reason\":\"stopped\",\"detail\":"
                "\"\"}}",
                (unsigned long long)now_ns());
        fclose(f);
    }
}

/* Holds the boot up until somebody writes into the FIFO $FAKE_GATE. False when the box is ended before. */
static inline bool fake_gate(int signals)
{
    const char *gate = getenv("FAKE_GATE");
    if (!gate)
        return true;
    CLEANUP(fd_closep) int fd = open(gate, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct pollfd pfd[] = {
        {.fd = fd, .events = POLLIN}, {.fd = signals, .events = POLLIN}, {.fd = 4, .events = POLLIN}};
    poll(pfd, 3, -1);
    return pfd[0].revents;
}

/* Until SIGTERM or the end of the owner. */
static inline int fake_serve(int listener, int signals, char **argv)
{
    struct pollfd pfd[] = {
        {.fd = listener, .events = POLLIN}, {.fd = signals, .events = POLLIN}, {.fd = 4, .events = POLLIN}};
    for (;;) {
        poll(pfd, 3, -1);
        if (pfd[2].revents)
            return 0; /* the owner is gone */
        if (pfd[1].revents) {
            fake_write_timeline(argv);
            fake_event(
                "{\"event\":\"ended\",\"reason\":\"stopped\",\"detail\":\"\",\"console_tail\":\"bye\\n\"}");
            return 0;
        }
        int *fd = malloc(sizeof(*fd));
        *fd = accept(listener, NULL, NULL);
        pthread_t thread;
        fd_set_nonblock(*fd, 0);
        pthread_create(&thread, NULL, fake_connection, fd);
        pthread_detach(thread);
    }
}

static inline int fake_probe(void)
{
    const char *verdict = getenv("FAKE_PROBE");
    if (!verdict || strcmp(verdict, "usable") == 0)
        puts("{\"usable\":true,\"checks\":[{\"name\":\"device\",\"ok\":true,\"required\":true,\"detail\":"
             "\"there\","
             "\"remedy\":\"\"}]}");
    else if (strcmp(verdict, "slow") == 0)
        puts("{\"usable\":false,\"checks\":[{\"name\":\"guest-speed\",\"ok\":false,\"required\":true,"
             "\"detail\":\"slow\",\"remedy\":\"wait\"}]}");
    else if (strcmp(verdict, "hung") == 0)
        puts("{\"usable\":false,\"checks\":[{\"name\":\"guest-int3\",\"ok\":false,\"required\":true,"
             "\"detail\":\"cannot: KVM hung for 5 s\",\"remedy\":\"wait\"}]}");
    else if (strcmp(verdict, "unusable") == 0)
        puts("{\"usable\":false,\"checks\":[{\"name\":\"guest-iretq\",\"ok\":false,\"required\":true,"
             "\"detail\":\"cannot iretq\",\"remedy\":\"use another host\"}]}");
    else
        puts("what?");
    return 0;
}

static inline int fake_vmm_main(char **argv)
{
    const char *mode = getenv("FAKE_VMM") ? getenv("FAKE_VMM") : "ok", *vsock = "";
    signal(SIGPIPE, SIG_IGN);
    /* From the start: a box may be stopped at any time. */
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    int signals = signalfd(-1, &set, SFD_CLOEXEC);
    if (argv[1] && strcmp(argv[1], "--probe") == 0)
        return fake_probe();
    for (char **a = argv; *a; a++) {
        if (strcmp(*a, "--vsock") == 0 && a[1])
            vsock = a[1];
    }
    if (strcmp(mode, "setup") == 0 || strcmp(mode, "kvm") == 0) {
        fprintf(stderr, "cubby-vmm: cannot open %s\n",
                mode[0] == 'k' ? "'/dev/kvm': Permission denied" : "the kernel");
        return 125;
    }
    int listener = unix_listen(vsock, 64, NULL);
    fake_event("{\"event\":\"created\",\"pid\":1,\"t_ns\":5}");
    fake_event("{\"event\":\"running\",\"t_ns\":6}");
    if (strcmp(mode, "panic") == 0) {
        fake_event("{\"event\":\"ended\",\"reason\":\"panic\",\"detail\":\"no init\",\"console_tail\":\"[1] "
                   "Kernel \\u001b[31m"
                   "panic\\nsecond line\\n\"}");
        return 10;
    }
    if (strcmp(mode, "poweroff") == 0) {
        fake_event("{\"event\":\"ended\",\"reason\":\"poweroff\",\"detail\":\"\",\"console_tail\":\"\"}");
        return 0;
    }
    if (strcmp(mode, "die") == 0)
        kill(getpid(), SIGKILL);
    if (strcmp(mode, "mute") == 0)
        return 3;
    if (strcmp(mode, "silent") != 0 && fake_gate(signals))
        fake_ready(vsock, mode);
    fake_event("{\"event\":\"mark\",\"name\":\"agent-ready\",\"t_ns\":7}");
    return fake_serve(listener, signals, argv);
}

/* True when this process was started as the double; the test's main() then returns fake_vmm_main(argv). */
static inline bool is_fake_vmm(char **argv)
{
    const char *slash = argv[0] ? strrchr(argv[0], '/') : NULL;
    return argv[0] && strcmp(slash ? slash + 1 : argv[0], "cubby-vmm") == 0;
}

/* ---- assets with the double in them
 * -----------------------------------------------------------------------*/

static inline void fake_file(const char *dir, const char *name, const char *bytes, size_t len, long at)
{
    char path[300];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    fseek(f, at, SEEK_SET);
    fwrite(bytes, 1, len, f);
    fclose(f);
}

/* Fills the empty folder `dir`: cubby-vmm is this program, the rest looks right from outside. */
static inline void fake_assets(const char *dir)
{
    char path[300], self[300] = "";
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    snprintf(path, sizeof(path), "%s/cubby-vmm", dir);
    if (n <= 0 || symlink(self, path) < 0)
        exit(1);
    fake_file(dir, "vmlinux", "kernel", 6, 0);
    fake_file(dir, "initrd.cpio", "initrd", 6, 0);
    fake_file(dir, "default.ext4", "\x53\xEF", 2, 1080);
}

#endif
