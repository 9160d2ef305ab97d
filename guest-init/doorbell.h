/* SPDX-License-Identifier: Apache-2.0 */
/* Telling the VMM where PID 1 is (proto/doorbell.h). Implemented in arch/<name>/doorbell.c. */
#ifndef CUBBY_GUEST_INIT_DOORBELL_H
#define CUBBY_GUEST_INIT_DOORBELL_H

#include "proto/doorbell.h"

#include <stdbool.h>

/* Asks for access. False where there is none (no right, a kernel without port access): rings are silent then.
 */
bool doorbell_open(void);

/* Rings; call it only between a doorbell_open() that returned true and doorbell_close(). */
void doorbell_ring(enum doorbell what);

/* Gives access up. Before the first fork(): children would inherit it, and keep it over execve(). */
void doorbell_close(void);

#endif
