/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors of set-up paths: a negative errno for code, a sentence for people. By value, without allocation, so
 * that it serves PID 1, a process under seccomp and a library alike. Hot paths return a bare negative errno
 * instead.
 *
 * The sentence says what failed, on which object, and why, without a final full stop:
 *     return err_sys(e, "cannot open disk image '%s'", path);   →  "cannot open disk image 'x': No such
 * file…"
 */
#ifndef CUBBY_BASE_ERR_H
#define CUBBY_BASE_ERR_H

#define ERR_TEXT_MAX 512

struct err {
    int code;                /* 0, or a negative errno */
    char text[ERR_TEXT_MAX]; /* NUL-terminated; cut with "…" when too long */
};

/* Fills *e (which may be NULL) with `code` (negative errno) and the text; returns `code`. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same with code = -errno, and ": " strerror(errno) added to the text. Returns -errno. */
int err_sys(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts "context: " in front of the text that is there already; returns e->code (or `-EINVAL` when e is NULL).
 */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
