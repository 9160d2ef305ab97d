/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events for the program that owns this VM: one JSON object a line, written to a descriptor of its choice. An
 * owner that sees the end of the stream without "ended" knows that the VMM was killed.
 *
 *   {"event":"created","pid":7,"t_ns":…}              the VM exists, sockets accept clients
 *   {"event":"running","t_ns":…}                      vCPUs run
 *   {"event":"mark","name":"agent-ready","t_ns":…}    a boundary passed: names of timeline.h
 *   {"event":"disk-failed","detail":"…","t_ns":…}     the host failed a request, told once for each disk
 *   {"event":"ended","reason":"panic","detail":"…","t_ns":…,"exits":{…},"console_tail":"…"}
 *
 * t_ns: nanoseconds since the VMM's main().
 */
#ifndef CUBBY_VMM_STATUS_H
#define CUBBY_VMM_STATUS_H

#include "base/err.h"

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct status {
    pthread_mutex_t lock; /* one line at a time */
    int fd;               /* -1: nobody asked */
    bool owned;           /* fd is closed by status_fini() */
};

/* `to`: NULL for no events, a descriptor's number, or a path to create or append to. */
int status_init(struct status *s, const char *to, struct err *e);
/* Safe on an initialised one only. */
void status_fini(struct status *s);

/*
 * Writes {"event": name, "t_ns": t_ns, …members of `more`}; steals `more` (NULL: none). Any thread. An owner
 * that does not read, or is gone, costs an event and nothing else: the descriptor's other end gets at most
 * some 15 short lines per VM, which fit any pipe.
 */
void status_event(struct status *s, const char *name, uint64_t t_ns, json_t *more);

#endif
