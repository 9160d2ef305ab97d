/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: ioperm(2) allows this process the one port; OUT then exits to the VMM, which answers
 * at once. Linux hands the permission on to children and keeps it over execve(2), so that PID 1 holds it only
 * while it has no children: otherwise any user in the box could ring.
 */
#include "guest-init/doorbell.h"

#include <stdint.h>
#include <sys/io.h>

bool doorbell_open(void)
{
    return ioperm(DOORBELL_PORT, 1, 1) == 0;
}

void doorbell_ring(enum doorbell what)
{
    __asm__ volatile("outb %0, %1" : : "a"((uint8_t)what), "Nd"((uint16_t)DOORBELL_PORT));
}

void doorbell_close(void)
{
    ioperm(DOORBELL_PORT, 1, 0);
}
