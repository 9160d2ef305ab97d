/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: bytes are collected until the newline, then the whole line is judged at once. The line
 * is bounded, so a client that never sends a newline is refused when the buffer is full.
 */
#include "virtio/vsock_connect.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static const char *skip_blanks(const char *p)
{
    return p + strspn(p, " \t");
}

/* `line` is without its newline. The last port number means "any" (VMADDR_PORT_ANY) and cannot be connected
 * to. */
static int parse_line(const char *line, uint32_t *port)
{
    static const char word[] = "CONNECT";
    if (strncasecmp(line, word, strlen(word)) != 0)
        return -EPROTO;
    const char *p = line + strlen(word);
    const char *digits = skip_blanks(p);
    if (digits == p || *digits < '0' || *digits > '9')
        return -EPROTO;
    uint64_t value = 0;
    for (p = digits; *p >= '0' && *p <= '9'; p++) {
        value = 10 * value + (uint64_t)(*p - '0');
        if (value >= UINT32_MAX)
            return -EPROTO;
    }
    p = skip_blanks(p);
    if (*p == '\r')
        p++;
    if (*p != '\0')
        return -EPROTO;
    *port = (uint32_t)value;
    return 1;
}

int vsock_line_feed(struct vsock_line *l, const char *data, size_t len, size_t *taken, uint32_t *port)
{
    const char *newline = memchr(data, '\n', len);
    size_t part = newline ? (size_t)(newline - data) : len;
    *taken = newline ? part + 1 : part;
    /* One byte stays free for the newline, or for the NUL that takes its place. */
    if (part > VSOCK_LINE_MAX - 1 - l->len)
        return -EPROTO;
    memcpy(l->text + l->len, data, part);
    l->len += part;
    if (!newline)
        return 0;
    l->text[l->len] = '\0';
    /* A NUL among the bytes would hide what is behind it. */
    return strlen(l->text) == l->len ? parse_line(l->text, port) : -EPROTO;
}
