/* SPDX-License-Identifier: Apache-2.0 */
/* How long to wait before another attempt. */
#ifndef CUBBY_OCI_BACKOFF_H
#define CUBBY_OCI_BACKOFF_H

#include <stdint.h>

#define BACKOFF_MAX_MS 30000

/*
 * Milliseconds to wait after the attempt with this number (from 1): `base_ms`, doubled for each attempt, at
 * most BACKOFF_MAX_MS, then somewhere between half and one and a half of that, so that clients that failed
 * together do not come back together.
 */
uint64_t backoff_ms(uint64_t base_ms, unsigned attempt);

/* The same with the random number given. */
uint64_t backoff_jitter(uint64_t base_ms, unsigned attempt, uint16_t random);

#endif
