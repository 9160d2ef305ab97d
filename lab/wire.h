/* SPDX-License-Identifier: Apache-2.0
 *
 * What the two ends of the lab share: the frames of the control port, and the
 * "flow" that carries the bytes of one standard stream.
 *
 * Theory of operation. The machine has four virtio-serial ports. Three carry
 * nothing but the bytes of stdin, stdout and stderr, so that a reader who
 * ignores one of them stalls only that one. The fourth, "control", carries
 * frames: a type, a length, a payload. Bytes on different ports are not
 * ordered with respect to each other, which is why the frames that end a
 * stream (LAB_STDIN_EOF, LAB_EXIT) say how many bytes it had: the receiver is
 * done when it has seen that many.
 *
 * Both ends are built from the same source on the same machine at the same
 * time, so frames are plain structs and there is no version.
 */
#ifndef CUBBY_LAB_WIRE_H
#define CUBBY_LAB_WIRE_H

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Ports by number: /dev/vport*p<N> inside, "nr=<N>" on QEMU's command line. */
enum lab_port { PORT_CONTROL = 1, PORT_STDIN, PORT_STDOUT, PORT_STDERR, PORT_END };

enum lab_type {
    LAB_READY = 1, /* agent: send me LAB_START */
    LAB_START,     /* host: struct lab_start, then NUL-ended strings */
    LAB_STARTED,   /* agent: the command's process exists */
    LAB_EXIT,      /* agent: struct lab_exit; the last frame */
    LAB_STDIN_EOF, /* host: struct lab_u64, bytes of stdin in all */
    LAB_SIGNAL,    /* host: struct lab_u64, signal for the command's group */
    LAB_WINSIZE,   /* host: struct lab_winsize */
    LAB_BROKEN,    /* host: struct lab_u64, nobody reads this port's stream */
};

struct lab_frame {
    uint32_t type;
    uint32_t len; /* of the payload that follows */
};

struct lab_u64 {
    uint64_t value;
};

struct lab_winsize {
    uint16_t rows, cols;
};

/* Followed by cwd, argc arguments, envc "NAME=value" strings, and the paths of
 * the writable shares, whose 9p tags are share0, share1... */
struct lab_start {
    uint32_t argc, envc, sharec;
    uint8_t tty;        /* stdin and stdout are one terminal */
    uint8_t stderr_tty; /* and stderr too */
    struct lab_winsize size;
};

struct lab_exit {
    uint64_t stdout_bytes, stderr_bytes;
    uint32_t code; /* as a shell says it: 0-255, 128+N for signal N */
};

enum { LAB_FRAME_MAX = 8 << 20 };

/* Writes all of it; waits where it must. Returns 0 or -errno (-EINTR too: the
 * caller's signal handlers decide whether to go on). */
static inline int write_all(int fd, const void *data, size_t len)
{
    const char *p = data;

    while (len > 0) {
        ssize_t n = write(fd, p, len);

        if (n >= 0) {
            p += n;
            len -= (size_t)n;
            continue;
        }
        if (errno == EAGAIN) {
            struct pollfd wait = {.fd = fd, .events = POLLOUT};

            if (poll(&wait, 1, -1) >= 0)
                continue;
        }
        return -errno;
    }
    return 0;
}

static inline int frame_send(int fd, uint32_t type, const void *payload, size_t len)
{
    struct lab_frame head = {.type = type, .len = (uint32_t)len};
    int rc = write_all(fd, &head, sizeof(head));

    return rc ? rc : write_all(fd, payload, len);
}

/* A frame being received: as much of it as has come. Zeroed to begin with. */
struct frame_reader {
    struct lab_frame head;
    char *payload; /* len bytes and a NUL, owned; valid until the next read */
    size_t have;   /* bytes of head and payload so far */
};

/* Reads once from fd. Returns 1 when the frame is whole, 0 when more is
 * needed, -errno on failure; -EPIPE at end of file. */
static inline int frame_read(struct frame_reader *r, int fd)
{
    size_t head = sizeof(r->head);
    ssize_t n;

    if (r->have >= head && r->have == head + r->head.len) {
        free(r->payload);
        *r = (struct frame_reader){0};
    }
    if (r->have < head)
        n = read(fd, (char *)&r->head + r->have, head - r->have);
    else
        n = read(fd, r->payload + (r->have - head), head + r->head.len - r->have);
    if (n == 0)
        return -EPIPE;
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    r->have += (size_t)n;
    if (r->have == head) {
        if (r->head.len > LAB_FRAME_MAX)
            return -EMSGSIZE;
        r->payload = calloc(1, (size_t)r->head.len + 1);
        if (!r->payload)
            return -ENOMEM;
    }
    return r->have >= head && r->have == head + r->head.len;
}

/*
 * One direction of one stream: bytes read from `from` go to `to`, in order.
 * A sink that is gone or full (EPIPE, ENOSPC) makes it `broken`, with `error`
 * saying why: bytes are then counted and dropped. Either end is -1 when there is none (any more).
 */
struct flow {
    int from, to;
    bool broken;
    int error;
    size_t chunk;   /* most bytes in one write; PIPE_BUF if `to` may block */
    uint64_t moved; /* bytes written or dropped so far */
    size_t start, end;
    char buf[32768];
};

static inline bool flow_empty(const struct flow *f)
{
    return f->start == f->end;
}

/* What to poll for: the source while the buffer is empty, else the sink. */
static inline struct pollfd flow_poll(const struct flow *f)
{
    if (flow_empty(f))
        return (struct pollfd){.fd = f->from, .events = POLLIN};
    return (struct pollfd){.fd = f->broken ? -1 : f->to, .events = POLLOUT};
}

/* Writes what it can without waiting (if `to` is non-blocking or was polled). */
static inline void flow_drain(struct flow *f)
{
    while (!flow_empty(f)) {
        size_t len = f->end - f->start;
        ssize_t n = (ssize_t)len;

        if (!f->broken) {
            n = write(f->to, f->buf + f->start, len < f->chunk ? len : f->chunk);
            if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
            if (n < 0) {
                f->broken = true;
                f->error = errno;
                continue;
            }
        }
        f->start += (size_t)n;
        f->moved += (uint64_t)n;
        if (f->chunk == PIPE_BUF)
            return; /* only this much was promised by poll() */
    }
    f->start = f->end = 0;
}

/* Moves what it can once poll() has said something about the flow.
 * Returns false when the source has ended; its fd is left to the caller. */
static inline bool flow_pump(struct flow *f)
{
    ssize_t n;

    if (!flow_empty(f)) {
        flow_drain(f);
        return true;
    }
    f->start = f->end = 0;
    n = read(f->from, f->buf, sizeof(f->buf));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0)
        return false; /* EIO is how a terminal says end of file */
    f->end = (size_t)n;
    if (f->chunk != PIPE_BUF || f->broken)
        flow_drain(f);
    return true;
}

#endif
