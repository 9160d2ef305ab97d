/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our own stdin, stdout and stderr, used without ever blocking and without changing them: O_NONBLOCK belongs
 * to the open file, which other processes share (a shell whose terminal turns non-blocking misbehaves).
 */
#ifndef CUBBY_CLI_STREAM_H
#define CUBBY_CLI_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define STREAM_BUFFER 65536u

enum stream_kind {
    STREAM_REOPENED, /* a pipe or terminal, opened again for us alone: non-blocking */
    STREAM_SOCKET,   /* send and recv take a flag for each call */
    STREAM_FILE,     /* never blocks for long */
    STREAM_CAREFUL,  /* whatever else: poll, then at most PIPE_BUF bytes */
};

struct stream {
    int fd; /* what is read, written and polled */
    bool owned;
    enum stream_kind kind;
    bool ended; /* read: end of file; write: nobody reads any more, or a failure */
    int error;  /* errno of that failure; 0 for an end */
    bool stuck; /* the last call would have blocked: poll before the next */
    uint8_t data[STREAM_BUFFER];
    size_t at, len; /* bytes data[at, at + len) wait to go on */
};

/* `writing`: stdout or stderr. */
void stream_open(struct stream *s, int fd, bool writing);
void stream_close(struct stream *s);

/* Fills the empty buffer with one read. Sets ended, stuck, error. */
void stream_fill(struct stream *s);
/* Writes what waits, as far as it goes. Sets ended, stuck, error; then what waits is dropped. */
void stream_drain(struct stream *s);

#endif
