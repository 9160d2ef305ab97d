/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: see the header. Where the kernel has no random numbers yet, the clock's low bits do.
 */
#include "oci/backoff.h"

#include "base/io.h"

#include <sys/random.h>

uint64_t backoff_jitter(uint64_t base_ms, unsigned attempt, uint16_t random)
{
    uint64_t delay = base_ms;
    for (unsigned i = 1; i < attempt && delay < BACKOFF_MAX_MS; i++)
        delay *= 2;
    if (delay > BACKOFF_MAX_MS)
        delay = BACKOFF_MAX_MS;
    return delay / 2 + delay * random / UINT16_MAX;
}

uint64_t backoff_ms(uint64_t base_ms, unsigned attempt)
{
    uint16_t random = 0;
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
        random = (uint16_t)now_ns();
    return backoff_jitter(base_ms, attempt, random);
}
