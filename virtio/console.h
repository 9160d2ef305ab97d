/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-console (virtio 1.2 §5.3): the guest's kernel log and terminal (hvc0) on port 0, and up to two more
 * ports as plain byte channels (/dev/vport0p1, or by name under /dev/virtio-ports/).
 *
 * One port without input is the cheap form: two queues and no control messages. With input or more ports the
 * device offers MULTIPORT: only the control messages say when the guest is ready for input, and Linux throws
 * away what comes before. A driver that does not take MULTIPORT has port 0 only, and its input at once.
 *
 * A host side that does not keep up never blocks a vCPU or the loop. Each port holds at most CONSOLE_BUFFER
 * bytes of output; when they are there, the guest's queue is not served until the sink takes some:
 *   - port 0: the guest's kernel spins while it waits for its console, with interrupts off. So when the sink
 *     has taken nothing for `stall_ms`, the OLDEST output is dropped from then on, until the sink takes
 *     bytes again. A sink that nobody reads costs the guest one stall, and the sink what was oldest.
 *   - other ports: a guest's process sleeps in write(2), so nothing is ever dropped.
 * A sink that fails for good (EPIPE, EIO) swallows all further output; one that is full (ENOSPC) loses what
 * does not fit.
 */
#ifndef CUBBY_VIRTIO_CONSOLE_H
#define CUBBY_VIRTIO_CONSOLE_H

#include "base/err.h"
#include "base/gmem.h"
#include "base/loop.h"
#include "virtio/vdev.h"

#include <stddef.h>
#include <stdint.h>

#define CONSOLE_PORTS_MAX 3           /* two queues each, and two for control: VDEV_QUEUES_MAX */
#define CONSOLE_TAIL      (16 * 1024) /* bytes of port 0's output that are kept for error reports */
#define CONSOLE_BUFFER    (64 * 1024) /* bytes of output on their way to a sink, per port */
#define CONSOLE_NAME_MAX  31          /* bytes */
#define CONSOLE_STALL_MS  1000

struct console_port_config {
    int in_fd;        /* bytes for the guest: terminal, pipe, socket, file; -1: none */
    int out_fd;       /* sink of the guest's bytes; -1: none (port 0's tail is kept all the same) */
    const char *name; /* ports ≥ 1: 1 to CONSOLE_NAME_MAX bytes for the guest; NULL: without a name */
};

struct console_config {
    struct console_port_config port[CONSOLE_PORTS_MAX];
    unsigned nports;     /* 1 … CONSOLE_PORTS_MAX */
    uint16_t cols, rows; /* of the terminal; both 0: no size is offered */
    uint32_t stall_ms;   /* see above; 0: CONSOLE_STALL_MS */
};

/*
 * Creates the device. The descriptors stay the caller's: the console works on copies, and opens pipes and
 * terminals anew so that only its own copy is non-blocking (where that cannot be done, as for sockets, the
 * caller's open file becomes non-blocking too). `mem` and `loop` must outlive the device; it ends by its
 * destroy operation, which waits up to `stall_ms` for a slow sink to take the last output. The process must
 * ignore SIGPIPE. 0, or a negative errno with a text.
 */
int console_create(struct vdev **out, const struct console_config *cfg, struct gmem *mem, struct loop *loop,
                   struct err *e);

/*
 * Copies the newest output of port 0 into `buf`, at most cap - 1 bytes, and a NUL behind them; returns how
 * many bytes (raw: any byte may occur, the first line may be cut). Any thread, from vmmio_create() until the
 * device's end.
 */
size_t console_tail(struct vdev *d, char *buf, size_t cap);

/* The terminal has a new size. Told to the guest when the device was created with a size. Any thread. */
void console_resize(struct vdev *d, uint16_t cols, uint16_t rows);

#endif
