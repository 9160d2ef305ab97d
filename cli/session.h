/* SPDX-License-Identifier: Apache-2.0 */
/* One command in one box, connected with our own stdin, stdout, stderr, terminal and signals, until it ends.
 */
#ifndef CUBBY_CLI_SESSION_H
#define CUBBY_CLI_SESSION_H

#include "cli/stream.h"
#include "cli/terminal.h"
#include "cubby.h"

#include <stdbool.h>

struct session {
    struct cubby_exec *exec;
    int signal_fd; /* owned */
    bool interactive, tty;
    struct terminal terminal;
    struct stream in, out, err;
    unsigned interrupts; /* signals that ask to end, so far */
    int aborted_by;      /* the signal that made us give up; 0: none */
};

/*
 * Blocks the signals that are passed on and opens a descriptor for them, which becomes readable when one
 * comes. To be called before anything that takes time. 0, or -1.
 */
int session_catch_signals(struct session *s);
/* Whether a signal that asks to end is waiting; takes it, and notes it in aborted_by. */
bool session_interrupted(struct session *s);

/* Carries bytes and signals until the command has ended and all its output is written, or a signal made us
 * give up (aborted_by). */
void session_run(struct session *s);
void session_fini(struct session *s);

#endif
