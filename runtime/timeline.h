/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The boundaries of a box's life: those that the runtime passes, joined with those of the VMM's own timeline
 * (vmm/timeline.h, cubby-vmm(1)), all counted from the moment at which the VMM's process was asked for.
 */
#ifndef CUBBY_RUNTIME_TIMELINE_H
#define CUBBY_RUNTIME_TIMELINE_H

#include "cubby.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

enum timeline_mark {
    MARK_SPAWN,        /* 0: the VMM's process is asked for */
    MARK_READY,        /* the agent's READY has come */
    MARK_EXEC_SENT,    /* the first execution is on its way */
    MARK_EXEC_STARTED, /* its STARTED has come */
    MARK_EXEC_RESULT,  /* its EXITED has come */
    MARK_STOPPED,      /* the VMM's process is gone */
    MARKS,
};

/* Guarded by its box's lock. */
struct timeline {
    uint64_t at_ns[MARKS]; /* CLOCK_MONOTONIC; 0: not passed */
    json_t *vmm;           /* what the VMM wrote when it ended, or NULL; owned */
};

/* Stamps `mark` with the time now, unless it was. */
void timeline_stamp(struct timeline *t, enum timeline_mark mark);
/* Reads the VMM's file; one that is not there or cannot be understood leaves the runtime's own marks. */
void timeline_load(struct timeline *t, const char *path);
void timeline_fini(struct timeline *t);

/* Fills at most `cap` of `marks`, in the order of cubby_box_timeline(); returns how many there are. */
size_t timeline_list(const struct timeline *t, struct cubby_mark *marks, size_t cap);
/* The same as JSON text, which the caller frees; NULL without memory. */
char *timeline_text(const struct timeline *t);

#endif
