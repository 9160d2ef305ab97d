/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: lines are gathered in a buffer that grows to EVENT_LINE_MAX and no further, each is
 * parsed by jansson, and what is of interest is copied out, cut to size and made printable. Texts that were
 * cut stay valid UTF-8: text_make_printable() replaces half a character.
 */
#include "runtime/events.h"

#include "runtime/errors.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_CHUNK 4096

static void copy_text(const json_t *object, const char *key, char *out, size_t cap, int lines)
{
    const char *text = json_string_value(json_object_get(object, key));
    snprintf(out, cap, "%s", text ? text : "");
    text_make_printable(out, lines);
}

/* The last bytes of a long text are the ones that tell. */
static void copy_tail(const json_t *object, char *out, size_t cap)
{
    const char *text = json_string_value(json_object_get(object, "console_tail"));
    size_t len = text ? strlen(text) : 0;
    if (len >= cap)
        text += len - (cap - 1);
    snprintf(out, cap, "%s", text ? text : "");
    text_make_printable(out, 1);
}

static int interpret(const json_t *object, struct vmm_event *ev)
{
    const char *event = json_string_value(json_object_get(object, "event"));
    if (!event)
        return -EPROTO;
    if (strcmp(event, "running") == 0) {
        ev->kind = VMM_RUNNING;
    } else if (strcmp(event, "mark") == 0) {
        ev->kind = VMM_MARK;
        copy_text(object, "name", ev->name, sizeof(ev->name), 0);
    } else if (strcmp(event, "disk-failed") == 0) {
        ev->kind = VMM_DISK;
        copy_text(object, "detail", ev->detail, sizeof(ev->detail), 0);
    } else if (strcmp(event, "ended") == 0) {
        ev->kind = VMM_ENDED;
        copy_text(object, "reason", ev->name, sizeof(ev->name), 0);
        copy_text(object, "detail", ev->detail, sizeof(ev->detail), 0);
        copy_tail(object, ev->tail, sizeof(ev->tail));
    } else if (strcmp(event, "failed") == 0) {
        ev->kind = VMM_FAILED;
        copy_text(object, "detail", ev->detail, sizeof(ev->detail), 0);
    }
    return 0;
}

int vmm_event_parse(const char *line, size_t len, struct vmm_event *ev)
{
    ev->kind = VMM_OTHER;
    ev->name[0] = ev->detail[0] = ev->tail[0] = '\0';
    json_t *object = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
    int ret = json_is_object(object) ? interpret(object, ev) : -EPROTO;
    json_decref(object);
    return ret;
}

/* Makes room for one more read: by forgetting lines that were given out, then by growing. */
static int make_room(struct line_reader *r)
{
    if (r->start > 0) {
        memmove(r->buf, r->buf + r->start, r->len - r->start);
        r->len -= r->start;
        r->start = 0;
    }
    if (r->cap - r->len >= READ_CHUNK)
        return 0;
    if (r->len >= EVENT_LINE_MAX)
        return -EMSGSIZE;
    size_t cap = r->cap ? 2 * r->cap : 2 * READ_CHUNK;
    char *bigger = realloc(r->buf, cap);
    if (!bigger)
        return -ENOMEM;
    r->buf = bigger;
    r->cap = cap;
    return 0;
}

int line_reader_fill(struct line_reader *r, int fd)
{
    int ret = make_room(r);
    if (ret < 0)
        return ret;
    ssize_t n;
    do {
        n = read(fd, r->buf + r->len, r->cap - r->len);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    r->len += (size_t)n;
    return n > 0;
}

bool line_reader_next(struct line_reader *r, const char **line, size_t *len)
{
    if (r->start == r->len)
        return false;
    const char *from = r->buf + r->start;
    const char *end = memchr(from, '\n', r->len - r->start);
    if (!end)
        return false;
    *line = from;
    *len = (size_t)(end - from);
    r->start += *len + 1;
    return true;
}

void line_reader_fini(struct line_reader *r)
{
    free(r->buf);
    *r = (struct line_reader){0};
}
