/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a pipe or terminal is opened a second time by its name in /proc/self/fd, which gives
 * an open file of our own that may be non-blocking. Where that is not possible, poll(2) goes before each
 * call, and no more is written than a pipe with any room takes at once (PIPE_BUF).
 */
#include "cli/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int reopen(int fd, bool writing)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, (writing ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

void stream_open(struct stream *s, int fd, bool writing)
{
    struct stat st;
    s->fd = fd;
    s->owned = s->ended = s->stuck = false;
    s->error = 0;
    s->at = s->len = 0;
    s->kind = STREAM_CAREFUL;
    if (fstat(fd, &st) < 0)
        return;
    if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) {
        s->kind = STREAM_FILE;
    } else if (S_ISSOCK(st.st_mode)) {
        s->kind = STREAM_SOCKET;
    } else if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
        int own = reopen(fd, writing);
        if (own >= 0) {
            s->fd = own;
            s->owned = true;
            s->kind = STREAM_REOPENED;
        }
    }
}

void stream_close(struct stream *s)
{
    if (s->owned)
        close(s->fd);
    s->owned = false;
    s->fd = -1;
}

static bool would_block(const struct stream *s, short events)
{
    struct pollfd pfd = {.fd = s->fd, .events = events};
    return s->kind == STREAM_CAREFUL && poll(&pfd, 1, 0) == 0;
}

/* What a call returned: true when it moved bytes. */
static bool took(struct stream *s, ssize_t n)
{
    s->stuck = n < 0 && errno == EAGAIN;
    if (n > 0)
        return true;
    if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        s->ended = true;
        s->error = n < 0 ? errno : 0;
    }
    return false;
}

void stream_fill(struct stream *s)
{
    if (s->ended || s->len > 0)
        return;
    if (would_block(s, POLLIN)) {
        s->stuck = true;
        return;
    }
    ssize_t n = s->kind == STREAM_SOCKET ? recv(s->fd, s->data, sizeof(s->data), MSG_DONTWAIT)
                                         : read(s->fd, s->data, sizeof(s->data));
    if (took(s, n)) {
        s->at = 0;
        s->len = (size_t)n;
    } else if (s->error == EIO) {
        s->error = 0; /* a terminal that was hung up has ended */
    }
}

void stream_drain(struct stream *s)
{
    while (s->len > 0 && !s->ended) {
        if (would_block(s, POLLOUT)) {
            s->stuck = true;
            return;
        }
        const uint8_t *from = s->data + s->at;
        size_t len = s->kind == STREAM_CAREFUL && s->len > PIPE_BUF ? PIPE_BUF : s->len;
        ssize_t n = s->kind == STREAM_SOCKET ? send(s->fd, from, len, MSG_DONTWAIT | MSG_NOSIGNAL)
                                             : write(s->fd, from, len);
        if (took(s, n)) {
            s->at += (size_t)n;
            s->len -= (size_t)n;
        } else if (s->stuck) {
            return;
        }
    }
    if (s->len == 0)
        s->at = 0;
    if (s->ended) {
        s->len = 0;
        if (s->error == EPIPE || s->error == ECONNRESET)
            s->error = 0;
    }
}
