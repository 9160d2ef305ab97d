/* SPDX-License-Identifier: Apache-2.0 */
/* What is said when a VM has ended: the last event, the timeline, and a line for people. */
#ifndef CUBBY_VMM_REPORT_H
#define CUBBY_VMM_REPORT_H

#include "vmm/end.h"

struct vm;

/* After vm_run(), before vm_destroy(). A timeline that cannot be written is logged, and changes nothing. */
void report_end(struct vm *vm, const struct end *end);

#endif
