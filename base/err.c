/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the text is written into the caller's struct with vsnprintf; a text that does not fit
 * ends in "…" so that nobody takes the cut sentence for the whole one.
 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char cut_mark[] = "…";

/* Puts the mark over the end of a full buffer, without leaving half a UTF-8 character in front of it. */
static void mark_cut(char *text, size_t cap)
{
    size_t at = cap - sizeof(cut_mark);
    while (at > 0 && ((unsigned char)text[at] & 0xC0) == 0x80)
        at--;
    memcpy(text + at, cut_mark, sizeof(cut_mark));
}

static void format_text(char *text, size_t cap, const char *fmt, va_list ap)
{
    int n = vsnprintf(text, cap, fmt, ap);
    if (n < 0)
        text[0] = '\0';
    else if ((size_t)n >= cap)
        mark_cut(text, cap);
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
    if (!e)
        return code;
    va_list ap;
    va_start(ap, fmt);
    format_text(e->text, sizeof(e->text), fmt, ap);
    va_end(ap);
    e->code = code;
    return code;
}

int err_sys(struct err *e, const char *fmt, ...)
{
    int saved = errno;
    if (!e)
        return -saved;
    char what[ERR_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    format_text(what, sizeof(what), fmt, ap);
    va_end(ap);
    return err_set(e, -saved, "%s: %s", what, strerror(saved));
}

int err_prefix(struct err *e, const char *fmt, ...)
{
    if (!e)
        return -EINVAL;
    char context[ERR_TEXT_MAX], old[ERR_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    format_text(context, sizeof(context), fmt, ap);
    va_end(ap);
    memcpy(old, e->text, sizeof(old));
    return err_set(e, e->code, "%s: %s", context, old);
}
