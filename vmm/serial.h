/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 16550 UART, as little of it as a kernel's early console needs: bytes out, no bytes in, no interrupt. It
 * exists for debugging what happens before virtio-console works (earlycon=uart8250,io,0x3f8).
 */
#ifndef CUBBY_VMM_SERIAL_H
#define CUBBY_VMM_SERIAL_H

#include "vmm/bus.h"

#include <pthread.h>
#include <stdint.h>

#define SERIAL_PORTS 8
#define SERIAL_LINE  128 /* bytes that are gathered before they are written */

struct serial {
    pthread_mutex_t lock; /* any vCPU may write */
    int out_fd;           /* not owned; a sink that blocks holds up the vCPU */
    uint8_t ier, lcr, mcr, scratch;
    uint16_t divisor;
    unsigned len;
    char line[SERIAL_LINE];
};

extern const struct bus_ops serial_ops; /* owner: struct serial */

void serial_init(struct serial *s, int out_fd);
/* Writes what is left of a line. */
void serial_fini(struct serial *s);

#endif
