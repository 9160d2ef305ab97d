/* SPDX-License-Identifier: Apache-2.0 */
/* What a VMM may tell, in pieces of any size: lines of events, none of which may crash, overflow or come out
 * unprintable. */
#include "runtime/events.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text, size_t cap)
{
    size_t len = strnlen(text, cap);
    if (len == cap)
        abort();
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x20 && text[i] != '\n')
            abort();
    }
}

static void check_lines(struct line_reader *r)
{
    const char *line;
    size_t len;
    struct vmm_event ev;
    while (line_reader_next(r, &line, &len)) {
        if (memchr(line, '\n', len))
            abort();
        if (vmm_event_parse(line, len, &ev) < 0)
            continue;
        check_text(ev.name, sizeof(ev.name));
        check_text(ev.detail, sizeof(ev.detail));
        check_text(ev.tail, sizeof(ev.tail));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct line_reader r = {0};
    int fds[2];
    if (size == 0 || size > 60000 || pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0)
        return 0;
    size_t piece = (size_t)data[0] * 16 + 1;
    for (size_t at = 1; at < size; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        if (write(fds[1], data + at, n) != (ssize_t)n)
            abort();
        while (line_reader_fill(&r, fds[0]) > 0)
            check_lines(&r);
    }
    line_reader_fini(&r);
    close(fds[0]);
    close(fds[1]);
    return 0;
}
