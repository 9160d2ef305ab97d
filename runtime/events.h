/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What cubby-vmm tells about its life: JSON objects, one a line (vmm/status.h, cubby-vmm(1)). The VMM handles
 * a hostile guest, so what it says is checked like any stranger's word: bounded lines, bounded texts, unknown
 * members and events ignored.
 */
#ifndef CUBBY_RUNTIME_EVENTS_H
#define CUBBY_RUNTIME_EVENTS_H

#include <stdbool.h>
#include <stddef.h>

#define EVENT_LINE_MAX   (256 * 1024)
#define EVENT_NAME_MAX   48
#define EVENT_DETAIL_MAX 512
#define EVENT_TAIL_MAX   8192

enum vmm_event_kind {
    VMM_OTHER,   /* well-formed, of no interest here */
    VMM_RUNNING, /* vCPUs run */
    VMM_MARK,    /* `name` is the boundary */
    VMM_DISK,    /* the host failed a request of a disk; `detail` says why */
    VMM_ENDED,   /* `name` is the reason; the last event */
    VMM_FAILED,  /* the VM could not be set up; `detail` says why */
};

struct vmm_event {
    enum vmm_event_kind kind;
    char name[EVENT_NAME_MAX];
    char detail[EVENT_DETAIL_MAX]; /* one printable line; may be empty */
    char tail[EVENT_TAIL_MAX];     /* the console's last lines, printable; may be empty */
};

/* Reads one line (without its line feed). 0, or -EPROTO when it is not such an object. */
int vmm_event_parse(const char *line, size_t len, struct vmm_event *ev);

/* Cuts a stream of bytes into lines. */
struct line_reader {
    char *buf;
    size_t len, cap;
    size_t start; /* of the first line not yet given out */
};

/* Reads once from `fd` (non-blocking). 1 when bytes came, 0 at the end of the stream, -EAGAIN, -EMSGSIZE for
 * a line without end, or another negative errno. */
int line_reader_fill(struct line_reader *r, int fd);
/* The next whole line, valid until the next fill; false when there is none. */
bool line_reader_next(struct line_reader *r, const char **line, size_t *len);
void line_reader_fini(struct line_reader *r);

#endif
