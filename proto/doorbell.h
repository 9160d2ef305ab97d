/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doorbell: one byte that the guest's PID 1 writes to tell the VMM where it is. On x86 it is an I/O port,
 * so a ring costs one exit and needs no driver. The VMM stamps it into the timeline, and takes the last
 * POWEROFF, REBOOT or HALT as the reason of the end that follows; without one, a reset is the guest's crash.
 */
#ifndef CUBBY_PROTO_DOORBELL_H
#define CUBBY_PROTO_DOORBELL_H

#define DOORBELL_PORT 0x600 /* x86: outb */

enum doorbell {
    DOORBELL_INIT_STARTED = 0x01, /* first instruction of PID 1's main() */
    DOORBELL_ROOT_READY = 0x02,   /* root file system put together */
    DOORBELL_AGENT_READY = 0x03,  /* executions can be served; the ready connection follows */
    DOORBELL_POWEROFF = 0x10,     /* clean power-off comes next */
    DOORBELL_REBOOT = 0x11,       /* clean reset comes next */
    DOORBELL_INIT_FAILED = 0x12,  /* PID 1 cannot go on; the reason is on the console */
};

#endif
