/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helpers for tests: make the process run out of descriptors at a chosen point, and read back what was
 * logged. For programs that use cmocka.
 */
#ifndef CUBBY_TESTS_VIRTIO_FAULTS_H
#define CUBBY_TESTS_VIRTIO_FAULTS_H

#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* The number that the next descriptor will have. */
static inline int fds_next(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(fd);
    return fd;
}

/* From now on `more` descriptors can be opened, and the next one is EMFILE. Returns the old limit. */
static inline struct rlimit fds_limit(int more)
{
    struct rlimit old, now;
    getrlimit(RLIMIT_NOFILE, &old);
    now = old;
    now.rlim_cur = (rlim_t)(fds_next() + more);
    setrlimit(RLIMIT_NOFILE, &now);
    return old;
}

static inline void fds_unlimit(const struct rlimit *old)
{
    setrlimit(RLIMIT_NOFILE, old);
}

/*
 * Calls `create`, which opens descriptors, with room for 0, 1, 2 … of them until it succeeds. Each failure
 * must be -EMFILE and leave none behind. Returns how often it failed; `destroy` undoes the success.
 */
static inline int fds_run_out(int (*create)(void *arg), void (*destroy)(void *arg), void *arg)
{
    for (int more = 0; more < 64; more++) {
        int before = fds_next();
        struct rlimit old = fds_limit(more);
        int ret = create(arg);
        fds_unlimit(&old);
        if (ret == 0) {
            destroy(arg);
            assert_int_equal(fds_next(), before);
            return more;
        }
        assert_int_equal(ret, -EMFILE);
        assert_int_equal(fds_next(), before);
    }
    fail_msg("it never succeeds");
    return -1;
}

/* Sends stderr to a file until log_captured(), which returns how many lines came and puts stderr back. */
struct log_capture {
    FILE *file;
    int saved;
};

static inline void log_capture(struct log_capture *c)
{
    fflush(stderr);
    c->file = tmpfile();
    assert_non_null(c->file);
    c->saved = dup(STDERR_FILENO);
    dup2(fileno(c->file), STDERR_FILENO);
}

/* `text`, if not NULL, receives the start of what was logged. */
static inline int log_captured(struct log_capture *c, char *text, size_t cap)
{
    fflush(stderr);
    dup2(c->saved, STDERR_FILENO);
    close(c->saved);
    rewind(c->file);
    int lines = 0;
    size_t len = 0;
    for (int ch = fgetc(c->file); ch != EOF; ch = fgetc(c->file)) {
        lines += ch == '\n';
        if (text && len + 1 < cap)
            text[len++] = (char)ch;
    }
    if (text)
        text[len] = '\0';
    fclose(c->file);
    return lines;
}

#endif
