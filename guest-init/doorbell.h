/* SPDX-License-Identifier: Apache-2.0 */
/* Telling the VMM where PID 1 is (proto/doorbell.h). Implemented in arch/<name>/doorbell.c. */
#ifndef CUBBY_GUEST_INIT_DOORBELL_H
#define CUBBY_GUEST_INIT_DOORBELL_H

#include "proto/doorbell.h"

#include <stdbool.h>

/* Asks for access. False where there is none (no right, a kernel without port access): rings are silent then.
 */
bool doorbell_open(void);

/* Rings; call it only after doorbell_open() returned true. */
void doorbell_ring(enum doorbell what);

#endif
