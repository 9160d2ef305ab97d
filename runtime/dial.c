/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: the bytes behind the line belong to the agent, so the line is looked at before it is
 * taken. */
#include "runtime/dial.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define OK_MAX 32

int dial_take_ok(int fd)
{
    char line[OK_MAX];
    ssize_t n = recv(fd, line, sizeof(line), MSG_PEEK | MSG_DONTWAIT);
    if (n == 0)
        return -ECONNREFUSED;
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    const char *end = memchr(line, '\n', (size_t)n);
    if (!end)
        return n == OK_MAX ? -EPROTO : 0;
    if (end - line < 4 || memcmp(line, "OK ", 3) != 0)
        return -EPROTO;
    n = recv(fd, line, (size_t)(end - line) + 1, MSG_DONTWAIT);
    return n > 0 ? 1 : -EPROTO;
}
