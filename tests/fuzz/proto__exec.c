/* SPDX-License-Identifier: Apache-2.0 */
/* An EXEC payload by itself: the fuzzer reaches its fields without having to get a frame's length right. */
#include "proto/exec.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct exec_request q;
    struct err e = {0};
    uint8_t *copy = malloc(size + 1); /* its end is the end of a block: reads beyond it are found */
    if (!copy)
        return 0;
    memcpy(copy, data, size);
    int ret = exec_request_decode(&q, copy, size, &e);
    if (ret < 0 && (e.code != ret || !e.text[0]))
        abort(); /* each refusal says why */
    if (ret == 0) {
        size_t used = 0;
        for (const char *const *arg = q.argv; *arg; arg++)
            used += strlen(*arg);
        for (const char *const *env = q.envp; *env; env++)
            used += strlen(*env);
        if (used > size || !q.argv[0])
            abort();
        exec_request_fini(&q);
    }
    free(copy);
    return 0;
}
