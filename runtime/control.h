/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control connection: PID 1 of the guest connects out to us once, when it can serve, and says READY.
 * Later it is asked over this connection to shut down, and says BYE before it does (docs/protocol.md section
 * 6).
 */
#ifndef CUBBY_RUNTIME_CONTROL_H
#define CUBBY_RUNTIME_CONTROL_H

#include "base/err.h"
#include "proto/msg.h"

#include <stdbool.h>

struct control {
    int fd; /* owned, non-blocking; -1: not connected, or lost */
    struct frame_reader reader;
    bool ready; /* READY has come: `hello` holds */
    struct msg_ready hello;
    bool bye; /* BYE has come: `last_word` holds */
    struct msg_bye last_word;
    bool out_of_memory; /* the guest's kernel killed some process for want of memory */
};

void control_init(struct control *c);
/* Takes over a connection that was accepted. */
void control_attach(struct control *c, int fd);
/* Reads and handles what is there, without waiting. 0, or a negative errno with a text: the connection is
 * closed then (-ENODATA: by the guest). */
int control_process(struct control *c, struct err *e);
/* Asks the guest to end all and power off. 0, or a negative errno when it cannot be asked. */
int control_shutdown(struct control *c, uint32_t grace_ms);
/* Safe on an initialised one and twice. */
void control_fini(struct control *c);

#endif
