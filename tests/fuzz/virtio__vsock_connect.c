/* SPDX-License-Identifier: Apache-2.0 */
/* The CONNECT line from a hostile client: however it is split, it means the same. First byte: where to split.
 */
#include "virtio/vsock_connect.h"

#include <errno.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int feed_all(const char *text, size_t len, size_t step, size_t *taken, uint32_t *port)
{
    struct vsock_line l = {0};
    int ret = 0;
    *taken = 0;
    while (ret == 0 && *taken < len) {
        size_t part = len - *taken < step ? len - *taken : step, used;
        ret = vsock_line_feed(&l, text + *taken, part, &used, port);
        if (used > part || (ret == 0 && used != part))
            abort();
        *taken += used;
    }
    return ret;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const char *text = (const char *)data + 1;
    size_t len = size - 1, step = data[0] % 33 + 1, taken_whole, taken_parts;
    uint32_t port_whole = 0, port_parts = 0;
    int whole = feed_all(text, len, len, &taken_whole, &port_whole);
    int parts = feed_all(text, len, step, &taken_parts, &port_parts);
    if (whole != parts || port_whole != port_parts || (whole != 0 && whole != 1 && whole != -EPROTO))
        abort();
    /* A line that is complete ends with its newline, and is short. */
    if (whole == 1 &&
        (taken_whole != taken_parts || text[taken_whole - 1] != '\n' || taken_whole > VSOCK_LINE_MAX))
        abort();
    return 0;
}
